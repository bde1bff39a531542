"""Ids and names are text: whatever they are, the job writes nothing outside its output."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from ray_asr.config import Config, EngineConfig, with_settings
from ray_asr.corpus.pack import pack
from ray_asr.job.pipeline import transcribe_path
from tests.conftest import write_shard
from tests.fakes import FakeEngine, tone, wav_bytes

pytestmark = pytest.mark.usefixtures("ray_local")

IDS = [
    "../../../../etc/evil", "/etc/evil", "a/../b", "..", ".", "", "C:\\evil", "nul\0inside",
    "line\nbreak", "\r\n\t", "\x1b]0;title\x07", "\u202egnp.exe", "x" * 10_000, "%2e%2e%2f",
    "s3://bucket/key", "$(touch evil)", "'; drop table", "<script>alert(1)</script>", "--help",
    "part-0", "_runs", "普通话", "👩\u200d🚀",
]  # fmt: skip


def fake_engine(config: EngineConfig) -> FakeEngine:
    return FakeEngine()


def tree(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def test_ids_stay_what_they_are_and_where_they_are(tmp_path: Path) -> None:
    table = pa.table(
        {
            "utterance_id": IDS,
            "audio": pa.array([wav_bytes(tone(0.3))] * len(IDS), pa.binary()),
            "note": [f"of {utterance_id}" for utterance_id in IDS],
        }
    )
    write_shard(table, tmp_path / "in" / "shard.parquet", row_group_size=5)
    before = tree(tmp_path)
    settings = {"model": "demo", "vad_model": "demo", "punc_model": "demo", "ncpu": 1}
    config = with_settings(Config(), {**settings, "num_actors": 1, "autoscale": False})
    transcribe_path(str(tmp_path / "in"), str(tmp_path / "out"), config, make_engine=fake_engine)
    rows = ds.dataset(tmp_path / "out", format="parquet").to_table().to_pylist()
    assert sorted(row["utterance_id"] for row in rows) == sorted(IDS)
    assert all(row["note"] == f"of {row['utterance_id']}" for row in rows)
    new = tree(tmp_path) - before
    assert new
    assert all(path.partition("/")[0] == "out" for path in new), new
    names = {Path(path).name for path in new}
    assert not any("evil" in name or "script" in name for name in names), names


def test_ids_of_a_manifest_name_no_file_of_the_shards(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    (source / "a.wav").write_bytes(wav_bytes(tone(0.3)))
    lines = [
        {"audio_filepath": "a.wav", "text": "x", "utterance_id": utterance_id}
        for utterance_id in IDS
    ]
    lines.append({"audio_filepath": "../gone.wav", "utterance_id": "../../../evil\n"})
    manifest = source / "manifest.jsonl"
    manifest.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    before = tree(tmp_path)
    summary = pack(str(manifest), str(tmp_path / "shards"))
    assert summary.rows == len(IDS)
    shards = ds.dataset(tmp_path / "shards", format="parquet").to_table()
    assert sorted(shards["utterance_id"].to_pylist()) == sorted(IDS)
    assert tree(tmp_path) - before == {
        "shards", "shards/shard-00000-of-00001.parquet", "shards/_pack",
        "shards/_pack/unreadable.jsonl",
    }  # fmt: skip
    left_out = (tmp_path / "shards" / "_pack" / "unreadable.jsonl").read_text(encoding="utf-8")
    assert [json.loads(line)["utterance_id"] for line in left_out.splitlines()] == [
        "../../../evil\n"
    ]
