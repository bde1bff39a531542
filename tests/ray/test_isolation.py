"""Rows that really end processes of a real Ray, or never end: each fails alone, and no other."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
import ray

from ray_asr.config import Config, EngineConfig, InputConfig, with_settings
from ray_asr.corpus import rows as columns
from ray_asr.job import graph
from ray_asr.job.isolation import DEATHS_ALONE, TIMEOUTS_ALONE
from ray_asr.job.pipeline import transcribe_dataset, transcribe_path
from ray_asr.schema import Recognition, Waveform
from tests.fakes import FakeEngine, heard, level_of, tone, wav_bytes, write_input

pytestmark = pytest.mark.usefixtures("ray_local")

CONFIG = with_settings(
    Config(),
    {
        "model": "demo", "vad_model": "demo", "punc_model": "demo", "precision": "fp32", "ncpu": 1,
        "num_actors": 1, "autoscale": False,
    },
)  # fmt: skip
SMALL_CHUNKS = {"max_single_segment_time": 1000, "batch_size_s": 1.0}
ABORTS, IS_KILLED, SLEEPS, HOLDS_THE_LOCK = 0.9, 0.8, 0.7, 0.6


def _is_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def _sleeps() -> None:
    time.sleep(600)


def _holds_the_lock() -> None:
    ctypes.PyDLL(None).sleep(600)


ACTS = {
    level_of(tone(0.2, ABORTS)): os.abort,
    level_of(tone(0.2, IS_KILLED)): _is_killed,
    level_of(tone(0.2, SLEEPS)): _sleeps,
    level_of(tone(0.2, HOLDS_THE_LOCK)): _holds_the_lock,
}


class DeadlyEngine(FakeEngine):
    """Does to its process what the level of a waveform says; leaves word of each process."""

    def __init__(self, folder: str, config: EngineConfig) -> None:
        super().__init__()
        self._folder = Path(folder)

    def load(self) -> None:
        self._folder.joinpath(f"pid-{os.getpid()}").touch()

    def _heard(self, waveform: Waveform) -> Recognition:
        ACTS.get(level_of(waveform), int)()
        return super()._heard(waveform)


def speech(count: int, bad: dict[int, float] | None = None) -> list[Waveform]:
    """Rows that are told apart by their levels."""
    levels = {row: 0.1 + 0.4 * row / count for row in range(count)} | (bad or {})
    return [tone(0.2, level) for level in levels.values()]


def run(
    folder: Path, waveforms: Sequence[Waveform], **settings: Any
) -> tuple[dict[str, dict[str, Any]], int]:
    """The output's rows by their id, which are once there, and how many actors' processes began."""
    source = write_input(folder / "in.parquet", [wav_bytes(w, subtype="FLOAT") for w in waveforms])
    config = with_settings(CONFIG, settings)
    engine = partial(DeadlyEngine, str(folder))
    transcribe_path(str(source), str(folder / "out"), config, make_engine=engine)
    return rows_of(folder), len(list(folder.glob("pid-*")))


def rows_of(folder: Path) -> dict[str, dict[str, Any]]:
    rows = ds.dataset(folder / "out", format="parquet").to_table().to_pylist()
    found = {row["utterance_id"]: row for row in rows}
    assert len(found) == len(rows)
    return found


def only_these_failed(
    rows: dict[str, dict[str, Any]], waveforms: Sequence[Waveform], bad: dict[int, str]
) -> None:
    assert list(rows) == [f"in-{number}" for number in range(len(waveforms))]
    assert {n: row["error_code"] for n, row in enumerate(rows.values()) if row["error_code"]} == bad
    for number, (row, waveform) in enumerate(zip(rows.values(), waveforms, strict=True)):
        assert row["text"] == ("" if number in bad else heard(waveform))


@pytest.mark.parametrize("stages", ["fused", "split"])
def test_rows_that_kill_their_process_fail_and_all_others_are_done(
    stages: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kills = {2: ABORTS, 5: IS_KILLED} if stages == "fused" else {2: ABORTS}
    waveforms = speech(9, kills)
    with caplog.at_level("WARNING", "ray_asr"):
        rows, processes = run(tmp_path, waveforms, stages=stages, max_failed_ratio=1.0)
    only_these_failed(rows, waveforms, dict.fromkeys(kills, "worker_died"))
    recognizers = processes - (2 if stages == "split" else 0)
    assert recognizers == 1 + 1 + DEATHS_ALONE * len(kills)
    assert caplog.text.count("they are done one at a time") == 1
    assert 'row "in-2" is given up: worker_died' in caplog.text


@pytest.mark.long
def test_endless_rows_end_with_their_time_even_where_c_holds_the_lock(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    waveforms = speech(6, {1: HOLDS_THE_LOCK, 4: SLEEPS})
    with caplog.at_level("WARNING", "ray_asr"):
        rows, processes = run(tmp_path, waveforms, row_timeout_s=1.0)
    only_these_failed(rows, waveforms, dict.fromkeys((1, 4), "row_timeout"))
    assert processes == 1 + 1 + TIMEOUTS_ALONE * 2
    assert "its time being up" in caplog.text


@pytest.mark.long
def test_actors_are_renewed_and_no_row_is_lost_or_harmed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    waveforms = [tone(0.8, 0.1 + 0.008 * n) for n in range(60)]
    with caplog.at_level("WARNING", "ray_asr"):
        rows, processes = run(tmp_path, waveforms, recycle_rows=15, **SMALL_CHUNKS)
    only_these_failed(rows, waveforms, {})
    assert processes == 3
    assert "died" not in caplog.text


# --- reading

OURS = columns._decode_cell, graph._read_bundles, graph._decode_block


def _decode_or_die(value: Any, hint: str, config: InputConfig) -> Any:
    data = bytes(value.as_buffer())
    if data.startswith(b"ABORT"):
        os.abort()
    if data.startswith(b"HANG"):
        time.sleep(600)
    return OURS[0](value, hint, config)


@contextlib.contextmanager
def _bad_decoder() -> Iterator[None]:
    """A decoder that some bytes crash, and small windows of chunks, in the process of a task."""
    before = graph._SORTED_S
    columns._decode_cell, graph._SORTED_S = _decode_or_die, 8.0
    try:
        yield
    finally:
        columns._decode_cell, graph._SORTED_S = OURS[0], before


def _read_with_a_bad_decoder(items: pa.Table, **more: Any) -> Iterator[pa.Table]:
    with _bad_decoder():
        yield from OURS[1](items, **more)


def _decode_with_a_bad_decoder(block: pa.Table, **more: Any) -> Iterator[pa.Table]:
    with _bad_decoder():
        yield from OURS[2](block, **more)


@pytest.mark.long
def test_a_reading_task_that_dies_between_its_chunks_loses_and_doubles_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "_read_bundles", _read_with_a_bad_decoder)
    waveforms = [tone(0.9, 0.1 + 0.004 * n) for n in range(100)]
    bad = {31: b"ABORT", 80: b"ABORT"}
    audio = [bad.get(n, wav_bytes(w, subtype="FLOAT")) for n, w in enumerate(waveforms)]
    source = write_input(tmp_path / "in.parquet", audio, row_group_size=40)
    config = with_settings(CONFIG, SMALL_CHUNKS)
    engine = partial(DeadlyEngine, str(tmp_path))
    transcribe_path(str(source), str(tmp_path / "out"), config, make_engine=engine)
    only_these_failed(rows_of(tmp_path), waveforms, dict.fromkeys(bad, "worker_died"))


def test_a_lazy_dataset_with_a_row_that_never_ends_has_all_its_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(graph, "_decode_block", _decode_with_a_bad_decoder)
    audio = [b"HANG" if number == 2 else wav_bytes(tone(0.3)) for number in range(5)]
    table = pa.table({"utterance_id": [str(number) for number in range(5)], "audio": audio})
    config = with_settings(CONFIG, {**SMALL_CHUNKS, "row_timeout_s": 1.0})
    rows = transcribe_dataset(ray.data.from_arrow(table), config).take_all()
    assert len(rows) == 5
    codes = {row["utterance_id"]: row["error_code"] for row in rows}
    assert codes == {"0": "", "1": "", "2": "row_timeout", "3": "", "4": ""}
