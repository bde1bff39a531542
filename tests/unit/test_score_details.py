"""The file with the counts of each row, and the verb that writes it."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import ray_asr
from ray_asr import cli
from ray_asr.corpus.storage import open_filesystem, whole_file
from ray_asr.errors import ConfigError, DataError
from ray_asr.results.score import ErrorCounts, score
from tests.scored import uneven, write


def new_file(where: str) -> AbstractContextManager[pa.NativeFile]:
    return whole_file(*open_filesystem(where))


def test_details_have_the_counts_of_each_row(tmp_path: Path) -> None:
    rows = [
        {
            "utterance_id": "a",
            "text": "one too",
            "reference_text": "one two",
            "set": "x",
            "wer": "w",
        },
        {"utterance_id": "b", "status": "failed", "text": "", "reference_text": "one", "set": None},
        {"utterance_id": "c", "text": "cough", "reference_text": ""},
        {"utterance_id": "d", "text": "unscored", "reference_text": None},
    ]
    output, file = write(tmp_path / "run", rows), str(tmp_path / "details.parquet")
    found = score(
        output, by=["set", "wer", "status"], details=file, new_file=new_file, bootstrap_samples=0
    )
    table = pq.read_table(file)
    assert table.column_names[:4] == ["utterance_id", "status", "wer", "cer"]
    assert table.column_names[-2:] == ["set", "input_wer"]
    details = table.to_pylist()
    assert [row["utterance_id"] for row in details] == ["a", "b", "c"]
    assert [row["wer"] for row in details] == [0.5, 1.0, None]
    assert [row["set"] for row in details] == ["x", None, None]
    assert details[0]["input_wer"] == "w"
    assert [row["status"] for row in details] == ["ok", "failed", "ok"]
    assert all(row["exact"] for row in details)
    names = ("hits", "substitutions", "deletions", "insertions")
    assert ErrorCounts(*(sum(row[name] for row in details) for name in names)) == found.wer
    assert (
        ErrorCounts(*(sum(row[f"character_{name}"] for row in details) for name in names))
        == found.cer
    )


def test_details_are_there_whole_or_not_at_all(tmp_path: Path) -> None:
    output = write(tmp_path / "run", [{"text": "one", "reference_text": "one"}] * 1000)
    (tmp_path / "run" / "part-1.parquet").write_bytes(b"not parquet")
    (tmp_path / "out").mkdir()
    file = str(tmp_path / "out" / "details.parquet")
    with pytest.raises(DataError, match="part-1"):
        score(output, details=file, new_file=new_file)
    assert not list((tmp_path / "out").iterdir())


def test_details_do_not_get_among_the_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = write(tmp_path / "run", [{"text": "one", "reference_text": "one"}])
    monkeypatch.chdir(tmp_path)
    for folder, file in ((output, "run/d.parquet"), ("run/", f"{output}/sub/d.parquet")):
        with pytest.raises(ConfigError, match="would be read as a part of the output"):
            score(folder, details=file, new_file=new_file)
    score(output, details=f"{output}/_details.parquet", new_file=new_file)
    assert pq.read_table(f"{output}/_details.parquet").num_rows == 1
    with pytest.raises(DataError, match="name a file in a folder that is there"):
        score(output, details=str(tmp_path / "nowhere" / "d.parquet"), new_file=new_file)


# --- the function and the verb


def test_the_verb_does_what_the_function_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    rows = [
        {**row, "utterance_id": str(n), "text": f"Uh {row['text']}"}
        for n, row in enumerate(uneven(60))
    ]
    output = write(tmp_path / "run", rows)
    other = write(tmp_path / "other", rows[5:])
    replacements = tmp_path / "words.tsv"
    replacements.write_text("x\ta\n")
    details = tmp_path / "details.parquet"
    given = {
        "by": ["speaker", "status"], "normalize": "basic,fillers",
        "replacements": str(replacements),
        "against": other, "confidence": 0.9, "bootstrap_samples": 200, "bootstrap_by": "speaker",
        "seed": 5, "confusions": 3, "worst": 2, "details": str(details), "unit": "word",
    }  # fmt: skip
    found = ray_asr.score(output, **given)
    assert found.wer == ErrorCounts(hits=sum(1 + n % 8 for n in range(60)))
    assert pq.read_table(details).num_rows == 60
    details.unlink()
    flags = [
        part
        for name, value in given.items()
        for one in (value if isinstance(value, list) else [value])
        for part in (f"--{name.replace('_', '-')}", str(one))
    ]
    for form, expected in (([], found.table()), (["--json"], None)):
        with pytest.raises(SystemExit) as ended:
            cli.main(["score", output, *flags, *form])
        assert ended.value.code == 0
        said = capsys.readouterr().out
        if expected is None:
            assert json.loads(said) == json.loads(json.dumps(found.to_dict()))
        else:
            assert said == expected + "\n"
    assert pq.read_table(details).num_rows == 60
