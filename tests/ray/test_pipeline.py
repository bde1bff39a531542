"""The whole job on a real Ray with the embedded FunASR models: rows in, one row each out."""

from __future__ import annotations

import io
import json
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest
import ray
import soundfile

import ray_asr
from ray_asr.config import Config, with_settings
from ray_asr.demo import model_folder, speech_folder
from ray_asr.errors import ConfigError, DataError, EngineFatalError, PlanError, TooManyFailuresError
from ray_asr.job.pipeline import transcribe_path
from ray_asr.results.score import score
from ray_asr.schema import TRANSCRIPT_SCHEMA
from tests.conftest import speech_table, write_shard

pytestmark = pytest.mark.usefixtures("ray_local")

SUMMARY_FIELDS = {
    "rows_in", "rows_out", "rows_ok", "rows_no_speech", "rows_failed", "rows_resumed", "audio_s",
    "wall_s", "rtfx", "cpu_percent_mean", "gpu_percent_mean", "actors_max", "ncpu", "precision",
    "batch_size_s", "model_id",
}  # fmt: skip
DEMO = {
    "model": "demo", "vad_model": "demo", "punc_model": "demo", "language": "en", "ncpu": 1,
    "num_actors": 1,
}  # fmt: skip


def demo_config(**settings: Any) -> Config:
    return with_settings(Config(), {**DEMO, **settings})


def read(output: Path) -> pa.Table:
    return ds.dataset(output, format="parquet").to_table()


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, embedded_speech: list[dict[str, str]]):
    """(input, output, summary) of one job over two files with row groups of several sizes."""
    root = tmp_path_factory.mktemp("job")
    spoken = [item for item in embedded_speech if item["set"] == "announcements"][:24]
    write_shard(speech_table(spoken[:15]), root / "in" / "a.parquet", row_group_size=4)
    write_shard(speech_table(spoken[15:]), root / "in" / "deeper" / "b.parquet", row_group_size=100)
    write_shard(speech_table(spoken[:2]), root / "in" / "_ignored" / "c.parquet")
    summary = transcribe_path(str(root / "in"), str(root / "out"), demo_config(unit_mb=0.3))
    return root / "in", root / "out", summary


def test_every_input_row_is_one_output_row_of_the_contract(done) -> None:
    source, output, summary = done
    rows, asked = read(output), ds.dataset(source, format="parquet").to_table()
    assert sorted(rows["utterance_id"].to_pylist()) == sorted(asked["utterance_id"].to_pylist())
    assert rows.schema.names[: len(TRANSCRIPT_SCHEMA)] == TRANSCRIPT_SCHEMA.names
    for field in TRANSCRIPT_SCHEMA:
        assert rows.schema.field(field.name).type == field.type
    assert set(rows.schema.names) - set(TRANSCRIPT_SCHEMA.names) == {"reference_text", "format"}
    assert (summary.rows_in, summary.rows_out, summary.rows_failed) == (24, 24, 0)


def test_transcripts_are_what_was_said(done) -> None:
    _, output, _ = done
    assert score(str(output)).wer.rate < 0.1


def test_segments_and_words_lie_inside_the_recording_and_in_order(done) -> None:
    _, output, _ = done
    for row in read(output).to_pylist():
        assert row["segments"], row
        assert " ".join(s["text"] for s in row["segments"]).split() == row["text"].split()
        times = [
            t for s in row["segments"] for w in s["words"] for t in (w["start_ms"], w["end_ms"])
        ]
        assert times == sorted(times)
        assert times[0] >= 0
        assert times[-1] <= row["duration_ms"]


def test_the_run_leaves_its_settings_and_its_summary(done) -> None:
    _, output, summary = done
    left = json.loads((output / "_runs" / summary.run_id / "summary.json").read_text())
    assert set(left) >= SUMMARY_FIELDS
    assert (output / "_runs" / summary.run_id / "config.yaml").exists()


def test_each_unit_is_one_part_and_small_units_make_several(done) -> None:
    _, output, _ = done
    parts = sorted(path.name for path in output.glob("part-*.parquet"))
    assert len(parts) > 2
    assert not list(output.glob("_writing*"))


def test_the_same_command_does_only_what_is_missing(done, tmp_path: Path, embedded_speech) -> None:
    source, output, _ = done
    shutil.copytree(source, tmp_path / "in", copy_function=shutil.copy2)
    shutil.copytree(output, tmp_path / "out")
    # Units carry their file's path: the copied input is other input, so go on in place.
    before = {path.name: path.stat().st_mtime_ns for path in output.glob("part-*")}
    again = transcribe_path(str(source), str(output), demo_config(unit_mb=0.3))
    assert (again.rows_out, again.rows_resumed) == (0, 24)
    lost = sorted(output.glob("part-*"))[0]
    lost_rows = read(lost).num_rows
    lost.unlink()
    new = [item for item in embedded_speech if item["set"] == "prompts"][:3]
    write_shard(speech_table(new), source / "new.parquet")
    more = transcribe_path(str(source), str(output), demo_config(unit_mb=0.3))
    assert more.rows_out == lost_rows + 3
    counts = Counter(read(output)["utterance_id"].to_pylist())
    assert len(counts) == 27
    assert set(counts.values()) == {1}
    kept = {path.name: path.stat().st_mtime_ns for path in output.glob("part-*")}
    assert all(kept[name] == time for name, time in before.items() if name != lost.name)


def test_another_configuration_on_the_same_output_is_refused(done) -> None:
    source, output, _ = done
    before = sorted(path.name for path in output.rglob("*"))
    with pytest.raises(DataError, match=r"max_single_segment_time.*another output"):
        transcribe_path(
            str(source), str(output), demo_config(unit_mb=0.3, max_single_segment_time=5000)
        )
    assert sorted(path.name for path in output.rglob("*")) == before


def test_batch_and_cores_may_differ_on_the_same_output(done) -> None:
    source, output, _ = done
    settings = {"unit_mb": 0.3, "batch_size_s": 30.0, "ncpu": 2}
    assert transcribe_path(str(source), str(output), demo_config(**settings)).rows_out in (0, 3)


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"audio_column": "sound"}, DataError, 'no column "sound"'),
        ({"id_column": "key"}, DataError, 'no column "key"'),
        ({"model": "/nowhere/model"}, ConfigError, "no model folder"),
        ({"ncpu": 64}, PlanError, "64 cores"),
        ({"num_actors": 50, "ncpu": 1}, PlanError, "50 actor"),
    ],
)
def test_what_cannot_work_is_one_sentence_and_starts_nothing(
    done, tmp_path: Path, settings, error, says
) -> None:
    source, _, _ = done
    with pytest.raises(error, match=says) as caught:
        transcribe_path(str(source), str(tmp_path / "out"), demo_config(**settings))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_stages_in_pools_of_their_own_give_the_same_rows(done, tmp_path: Path) -> None:
    source, output, fused = done
    settings = demo_config(unit_mb=0.3, stages="split")
    summary = transcribe_path(str(source), str(tmp_path / "out"), settings)
    assert (summary.precision, fused.precision) == ("int8", "int8")
    assert summary.rows_out == read(tmp_path / "out").num_rows
    apart, together = (read(path).sort_by("utterance_id") for path in (tmp_path / "out", output))
    ours = [name for name in together.column_names if name != "config_fingerprint"]
    assert apart.select(ours).equals(together.filter(mask_of(apart, together)).select(ours))


def mask_of(some: pa.Table, more: pa.Table) -> pa.Array:
    """Which rows of `more` are in `some`: other tests may have added to an output."""
    return pc.is_in(more["utterance_id"], some["utterance_id"].combine_chunks())


@pytest.mark.parametrize("source", ["missing", "empty"])
def test_missing_and_empty_input_are_refused(tmp_path: Path, source: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError):
        transcribe_path(str(tmp_path / source), str(tmp_path / "out"), demo_config())
    assert not (tmp_path / "out").exists()


def test_a_model_that_does_not_load_ends_the_job_with_its_own_error_and_holds_no_core(
    done, tmp_path: Path
) -> None:
    source, _, _ = done
    shutil.copytree(model_folder("model"), tmp_path / "broken")
    (tmp_path / "broken" / "model.pt").write_bytes(b"these are no weights")
    settings = {"model": str(tmp_path / "broken"), "vad_model": "", "punc_model": ""}
    with pytest.raises(EngineFatalError, match="does not load") as raised:
        transcribe_path(str(source), str(tmp_path / "out"), demo_config(**settings))
    assert type(raised.value) is EngineFatalError
    assert "\n" not in str(raised.value), "Ray's words are not the user's"
    total = ray.cluster_resources()["CPU"]
    deadline = time.monotonic() + 60
    while (free := ray.available_resources().get("CPU", 0.0)) < total:
        assert time.monotonic() < deadline, f"{free:g} of {total:g} CPUs are free"
        time.sleep(0.2)
    assert raised.value.__traceback__ is not None, "it holds on to the frames of the run"


def test_a_dataset_is_transcribed_lazily_and_composes(embedded_speech) -> None:
    spoken = [item for item in embedded_speech if item["set"] == "announcements"][:4]
    table = speech_table(spoken)
    rows = table.append_column("audio_struct", _structs(table)).drop_columns(["audio"])
    dataset = ray.data.from_arrow(rows)
    transcripts = ray_asr.transcribe(dataset, audio_column="audio_struct", **DEMO)
    lengths = transcripts.map(lambda row: {"id": row["utterance_id"], "chars": len(row["text"])})
    found = {row["id"]: row["chars"] for row in lengths.take_all()}
    assert sorted(found) == sorted(item["audio_filepath"] for item in spoken)
    assert all(found.values())


def _structs(table: pa.Table) -> pa.Array:
    audio = table["audio"].combine_chunks()
    paths = pa.array([""] * len(audio), pa.string())
    return pa.StructArray.from_arrays([audio, paths], names=["bytes", "path"])


def _wav(samples: np.ndarray, subtype: str = "PCM_16") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, 16_000, format="WAV", subtype=subtype)
    return file.getvalue()


def _video_without_sound() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def bad_rows() -> dict[str, tuple[bytes | None, str]]:
    """Ten kinds of rows that cannot be transcribed, and the code of each."""
    speech = speech_folder()
    flac = next(iter(sorted(speech.glob("announcements/*.flac")))).read_bytes()
    opus = next(iter(sorted(speech.glob("announcements/*.opus")))).read_bytes()
    spoken = _wav(np.sin(np.arange(16_000) / 20).astype(np.float32) / 2)
    holes = np.zeros(8_000, np.float32)
    holes[4_000] = np.nan
    endless = np.full(8_000, np.inf, np.float32)
    return {
        "null": (None, "audio_missing"),
        "empty": (b"", "audio_empty"),
        "no samples": (_wav(np.zeros(0, np.float32)), "audio_empty"),
        "text": (b"this is a letter, not a recording\n" * 20, "audio_not_audio"),
        "cut wav": (spoken[:20_000], "audio_truncated"),
        "cut flac": (flac[: len(flac) // 2], "audio_truncated"),
        "cut opus": (opus[: len(opus) * 2 // 3], "audio_truncated"),
        "silent film": (_video_without_sound(), "audio_no_stream"),
        "not a number": (_wav(holes, "FLOAT"), "audio_non_finite"),
        "infinite": (_wav(endless, "FLOAT"), "audio_non_finite"),
    }


def test_a_thousand_rows_with_fifty_bad_ones_are_a_thousand_rows(tmp_path: Path, embedded_speech):
    short = sorted(embedded_speech, key=lambda item: item["duration"])[:6]
    good = [(speech_folder() / item["audio_filepath"]).read_bytes() for item in short]
    bad = list(bad_rows().values()) * 5
    cells: list[bytes | None] = [good[i % len(good)] for i in range(1000)]
    expected = [""] * 1000
    for index, (data, code) in enumerate(bad):
        cells[index * 20 + 7], expected[index * 20 + 7] = data, code
    table = pa.table(
        {
            "utterance_id": [f"row-{i:04d}" for i in range(1000)],
            "audio": pa.array(cells, pa.binary()),
        }
    )
    write_shard(table, tmp_path / "in" / "rows.parquet", row_group_size=150)
    summary = transcribe_path(str(tmp_path / "in"), str(tmp_path / "out"), demo_config())
    rows = read(tmp_path / "out").sort_by("utterance_id")
    assert rows["utterance_id"].to_pylist() == table["utterance_id"].to_pylist()
    assert rows["error_code"].to_pylist() == expected
    assert summary.rows_out == 1000
    assert summary.rows_failed == 50
    failed = rows.filter(ds.field("status") == "failed")
    assert all(failed["error_message"].to_pylist())
    assert set(failed["text"].to_pylist()) == {""}


def test_silence_is_no_speech_and_too_many_failures_end_with_their_own_error(tmp_path: Path):
    table = pa.table(
        {
            "utterance_id": ["quiet", "broken", "text"],
            "audio": [_wav(np.zeros(32_000, np.float32)), b"", b"no audio at all"],
        }
    )
    write_shard(table, tmp_path / "in" / "rows.parquet")
    with pytest.raises(TooManyFailuresError, match="2 of 3 rows failed"):
        transcribe_path(str(tmp_path / "in"), str(tmp_path / "out"), demo_config())
    rows = {row["utterance_id"]: row for row in read(tmp_path / "out").to_pylist()}
    assert rows["quiet"]["status"] == "no_speech"
    assert rows["quiet"]["duration_ms"] == 2000
    assert rows["broken"]["error_code"] == "audio_empty"
