"""Three pools give what one worker gives, whatever is wrong with a row."""

from __future__ import annotations

import pyarrow as pa
import pytest

from ray_asr.corpus.chunks import fold, unfold
from ray_asr.corpus.rows import ROW, UNIT, WAVEFORM
from ray_asr.errors import ConfigError, ErrorCode, RowError
from ray_asr.job.long_recording import Limits
from ray_asr.job.stages import DetectStage, PunctuateStage, RecognizeStage
from ray_asr.job.worker import TranscribeWorker
from tests.fakes import PROVENANCE, FakeEngine, decoded_rows, joined, level_is, silence, tone
from tests.unit.test_long_recording import encoded, minutes, rows_of


def split(engine: FakeEngine, chunk: pa.Table) -> pa.Table:
    stages = [
        DetectStage(lambda: engine, 60.0, Limits()),
        RecognizeStage(lambda: engine, 60.0, Limits()),
        PunctuateStage(lambda: engine, 60.0, Limits(), "en", PROVENANCE),
    ]
    for stage in stages:
        (chunk,) = stage(chunk)
    return chunk


def fused(engine: FakeEngine, chunk: pa.Table) -> pa.Table:
    (table,) = TranscribeWorker(lambda: engine, 60.0, "en", PROVENANCE)(chunk)
    return table


CELLS = {
    "a": joined(tone(0.5), silence(0.5), tone(0.7, 0.3)),
    "bad audio": RowError(ErrorCode.AUDIO_CORRUPT, "the data cannot be decoded."),
    "silent": silence(1.0),
    "loud": tone(0.4, 0.9),
    "b": tone(0.6, 0.2),
}


@pytest.mark.parametrize(
    "faults",
    [
        {},
        {"fails_on": level_is(573)},
        {"fails_in_vad": level_is(573)},
        {"fails_to_punctuate": lambda text: "573" in text},
        {"fails_on_batches": True},
        {"hears_nothing": True},
        {"fits_s": 0.65},
    ],
)
def test_split_gives_what_fused_gives(faults: dict) -> None:
    rows = decoded_rows(
        CELLS, tags=pa.array([["x"], None, [], ["y"], None]), **{UNIT: [0] * 5, ROW: range(5)}
    )
    apart, together = (run(FakeEngine(**faults), fold(rows)) for run in (split, fused))
    assert apart.equals(together)
    assert apart.column_names[-3:] == ["tags", UNIT, ROW]


def test_a_long_recording_is_searched_where_it_is_recognized() -> None:
    rows = rows_of(long=encoded(minutes(10.5)), short=encoded(tone(1.0)))
    assert split(FakeEngine(), fold(rows)).equals(fused(FakeEngine(), fold(rows)))


def test_audio_goes_no_further_than_recognition() -> None:
    chunk = fold(decoded_rows(CELLS))
    for stage in (DetectStage, RecognizeStage):
        (chunk,) = stage(FakeEngine, 60.0, Limits())(chunk)
    assert unfold(chunk)[WAVEFORM].null_count == len(CELLS)


def test_an_engine_that_does_not_load_ends_the_job_as_itself() -> None:
    class Broken(FakeEngine):
        def load(self) -> None:
            raise ConfigError("no such model.")

    stage = DetectStage(Broken, 60.0, Limits())
    with pytest.raises(ConfigError, match="no such model"):
        list(stage(fold(decoded_rows(CELLS))))
