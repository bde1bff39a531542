"""`pack` on a real Ray of this machine."""

import io
import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import soundfile as sf

from ray_asr.corpus.pack import pack
from ray_asr.errors import ConfigError, DataError

pytestmark = pytest.mark.usefixtures("ray_local")


def wav(seconds: float) -> bytes:
    file = io.BytesIO()
    sf.write(file, np.zeros(int(16_000 * seconds), np.float32), 16_000, format="WAV")
    return file.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "recordings"
    for index in range(12):
        path = root / f"s{index % 3}" / f"{index:02d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(wav(0.5 + index / 10))
        path.with_suffix(".txt").write_text(f"text {index}\n", encoding="utf-8")
    (root / "s0" / "empty.wav").write_bytes(b"")
    return root


def read(destination: Path) -> list[dict]:
    return ds.dataset(destination, format="parquet").to_table().to_pylist()


def test_folder_becomes_bounded_shards_with_every_recording(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    summary = pack(str(folder), str(out), shard_mb=0.15, row_group_mb=0.08, num_tasks=2)
    rows = read(out)
    wanted = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.wav"))
    assert sorted(row["utterance_id"] for row in rows) == wanted
    assert (summary.rows, summary.unreadable) == (13, ())
    assert summary.shards > 2
    assert summary.audio_s == pytest.approx(sum(0.5 + i / 10 for i in range(12)), abs=0.01)
    for row in rows:
        assert row["audio"] == (folder / row["audio_path"]).read_bytes()
        assert row["reference_text"] == (
            None if "empty" in row["utterance_id"] else f"text {int(row['utterance_id'][3:5])}"
        )
    names = sorted(os.listdir(out))
    assert names == [
        f"shard-{i:05d}-of-{summary.shards:05d}.parquet" for i in range(summary.shards)
    ]
    for name in names:
        footer = pq.read_metadata(out / name)
        for i in range(footer.num_row_groups):
            group = footer.row_group(i)
            assert group.num_rows == 1 or group.column(1).total_compressed_size < 0.09 * 2**20


def test_same_source_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        pack(str(folder), str(tmp_path / name), shard_mb=0.2)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_missing_files_are_reported_and_written_down(folder: Path, tmp_path: Path) -> None:
    manifest = folder / "m.jsonl"
    entries = [{"audio_filepath": name, "set": "a"} for name in ("s0/00.wav", "s0/gone.wav")]
    manifest.write_text("\n".join(map(json.dumps, entries)), encoding="utf-8")
    out = tmp_path / "shards"
    summary = pack(str(manifest), str(out))
    assert [row["set"] for row in read(out)] == ["a"]
    assert summary.unreadable == (("s0/gone.wav", "s0/gone.wav is not there"),)
    assert "s0/gone.wav is not there" in summary.table()
    line = (out / "_pack" / "unreadable.jsonl").read_text(encoding="utf-8")
    assert json.loads(line)["utterance_id"] == "s0/gone.wav"


def test_shards_can_be_packed_again_into_smaller_ones(folder: Path, tmp_path: Path) -> None:
    pack(str(folder), str(tmp_path / "one"))
    summary = pack(str(tmp_path / "one"), str(tmp_path / "two"), row_group_mb=0.05)
    assert summary.rows == 13
    assert read(tmp_path / "one") == read(tmp_path / "two")
    (shard,) = (tmp_path / "two").iterdir()
    assert pq.read_metadata(shard).num_row_groups > 5


def test_duplicate_id_writes_nothing(folder: Path, tmp_path: Path) -> None:
    scp = tmp_path / "wav.scp"
    scp.write_text(f"x {folder}/s0/00.wav\nx {folder}/s1/01.wav\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"line 1 and in .* line 2"):
        pack(str(scp), str(tmp_path / "shards"))
    assert not (tmp_path / "shards").exists()


def test_destination_that_holds_something_is_refused(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    out.mkdir()
    (out / "mine.txt").write_text("keep", encoding="utf-8")
    with pytest.raises(DataError, match=r"already holds mine\.txt"):
        pack(str(folder), str(out))
    assert os.listdir(out) == ["mine.txt"]


def test_sources_without_recordings_are_refused(tmp_path: Path) -> None:
    out = str(tmp_path / "shards")
    with pytest.raises(DataError, match="does not exist"):
        pack(str(tmp_path / "nowhere"), out)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no recordings"):
        pack(str(tmp_path / "empty"), out)
    (tmp_path / "x.csv").write_text("a", encoding="utf-8")
    with pytest.raises(DataError, match="no source that pack knows"):
        pack(str(tmp_path / "x.csv"), out)
    with pytest.raises(ConfigError, match="row_group_mb"):
        pack(str(tmp_path / "empty"), out, row_group_mb=4096)
    assert not Path(out).exists()


def test_nothing_stays_where_no_recording_can_be_read(tmp_path: Path) -> None:
    cells = pa.array(
        [{"bytes": None, "path": "gone.wav"}],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    pq.write_table(pa.table({"audio": cells}), tmp_path / "t.parquet")
    out = tmp_path / "shards"
    with pytest.raises(DataError, match="none of the 1 recordings"):
        pack(str(tmp_path / "t.parquet"), str(out))
    assert list(out.iterdir()) == []
