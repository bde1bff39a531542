"""Failed rows once more, on a real Ray: with an engine that has been mended meanwhile."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from ray_asr.config import Config, EngineConfig, with_settings
from ray_asr.corpus.lease import held
from ray_asr.corpus.storage import open_filesystem
from ray_asr.demo import model_folder
from ray_asr.engine.protocol import Engine
from ray_asr.errors import DataError
from ray_asr.job.compact import compact
from ray_asr.job.pipeline import transcribe_path
from ray_asr.job.retry import RetrySummary, retry
from ray_asr.job.verify import verify
from tests.fakes import FakeEngine, level_of, tone, wav_bytes, write_input

pytestmark = pytest.mark.usefixtures("ray_local")

ROWS, BAD = 12, {1, 4, 5, 10}
LOUD = 250  # mean level in thousandths, above which the engine fails


def is_loud(waveform: np.ndarray) -> bool:
    return level_of(waveform) > LOUD


def broken(engine: EngineConfig) -> Engine:
    """An engine that cannot do loud rows."""
    return FakeEngine(fails_on=is_loud)


def mended(engine: EngineConfig) -> Engine:
    """One that can."""
    return FakeEngine()


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory, ray_local: None) -> tuple[Path, Path]:
    """An input, and the output of a job in which the loud rows failed; not to be changed."""
    tmp_path = tmp_path_factory.mktemp("failed")
    for number in range(2):
        audio: list[bytes] = [
            wav_bytes(tone(1.0 + row / 10, level=0.6 if row in BAD else 0.2)) for row in range(ROWS)
        ]
        audio[7] = b"no audio"
        write_input(
            tmp_path / "in" / f"{number}.parquet", audio, row_group_size=3, take=list(range(ROWS))
        )
    given = {
        "model": str(model_folder("model")), "vad_model": "", "punc_model": "", "ncpu": 1,
        "num_actors": 1, "unit_mb": 0.1, "max_failed_ratio": 1.0,
    }  # fmt: skip
    source, output = tmp_path / "in", tmp_path / "out"
    config = with_settings(Config(), given)
    summary = transcribe_path(str(source), str(output), config, make_engine=broken)
    assert summary.rows_failed == 2 * (len(BAD) + 1)
    return source, output


@pytest.fixture
def job(failed: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """The same, the output to be changed."""
    return failed[0], Path(shutil.copytree(failed[1], tmp_path / "out"))


def rows(output: Path) -> dict[str, dict[str, object]]:
    table = ds.dataset(output, format="parquet").to_table()
    assert table.num_rows == 2 * ROWS
    return {row["utterance_id"]: row for row in table.to_pylist()}


def again(output: Path, **more: object) -> RetrySummary:
    return retry(str(output), lambda config: config, make_engine=mended, **more)


@pytest.mark.parametrize("compacted", [False, True])
def test_failed_rows_are_done_in_their_place(job: tuple[Path, Path], compacted: bool) -> None:
    source, output = job
    if compacted:
        compact(str(output))
    before = rows(output)
    order = {part.name: pq.read_table(part)["utterance_id"] for part in output.glob("part-*")}
    untouched = {
        part.name: part.read_bytes()
        for part in output.glob("part-*")
        if "failed" not in pq.read_table(part)["status"].to_pylist()
    }
    summary = again(output)
    assert summary.rows_failed_before == 2 * (len(BAD) + 1)
    assert (summary.run.rows_in, summary.run.rows_out) == (10, 10)
    assert (summary.run.rows_ok, summary.run.rows_failed, summary.rows_skipped) == (8, 2, 0)
    after = rows(output)
    for name, row in before.items():
        number = int(name.rpartition("-")[2])
        if number in BAD:
            assert after[name]["status"] == "ok"
            assert str(after[name]["text"]).startswith("Speech of ")
            assert after[name]["take"] == row["take"]
        else:
            assert after[name] == row
    for part in output.glob("part-*"):
        assert pq.read_table(part)["utterance_id"].equals(order[part.name])
        assert part.read_bytes() == untouched.get(part.name, part.read_bytes())
    assert verify(str(output), str(source)).proven


def test_other_codes_and_nothing_to_do_change_nothing(job: tuple[Path, Path]) -> None:
    _, output = job
    before = rows(output)
    summary = again(output, codes=["audio_empty"])
    assert "nothing to retry" in summary.table()
    assert rows(output) == before
    assert again(output, codes=["audio_not_audio"]).run.rows_failed == 2
    assert again(output, codes=["model_failed"]).run.rows_ok == 2 * len(BAD)
    assert again(output, codes=["model_failed"]).rows_failed_before == 0


def test_what_has_changed_is_skipped_and_the_rest_done(job: tuple[Path, Path]) -> None:
    source, output = job
    there = source / "0.parquet"
    aside = there.rename(there.parent / "_aside")
    try:
        pq.write_table(pq.read_table(aside).append_column("new", pa.nulls(ROWS)), there)
        summary = again(output)
    finally:
        aside.rename(there)
    assert (summary.rows_skipped, summary.run.rows_ok) == (5, len(BAD))
    assert "skipped  5" in summary.table()


def test_settings_that_decide_must_stay_and_nobody_else_be_at_work(
    job: tuple[Path, Path], tmp_path: Path
) -> None:
    source, output = job
    before = rows(output)
    with pytest.raises(DataError, match=r"engine\.language was '', now 'en'"):
        retry(str(output), lambda config: with_settings(config, {"language": "en"}))
    filesystem, folder = open_filesystem(str(output))
    with held(filesystem, folder, "transcribe"), pytest.raises(DataError, match="is in use"):
        again(output)
    assert rows(output) == before
    moved = Path(shutil.copytree(source, tmp_path / "moved"))
    assert again(output, source=str(moved)).rows_skipped == 2 * (len(BAD) + 1)
    assert verify(str(output), str(source)).proven
