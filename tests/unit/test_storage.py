from __future__ import annotations

from pathlib import Path

import pytest

from ray_asr.corpus.storage import open_filesystem
from ray_asr.errors import DataError
from tests.fakes import write_input


def test_paths_and_uris_name_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_input(tmp_path / "a.parquet", [b"x"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    found = {
        open_filesystem(p)[1] for p in ("a.parquet", "~/a.parquet", f"file://{tmp_path}/a.parquet")
    }
    assert found == {str(tmp_path / "a.parquet")}


def test_an_address_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(DataError, match="gopher://there/it cannot be opened"):
        open_filesystem("gopher://there/it")
