"""An engine that gives back what is no result: its row fails, and no other one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from ray_asr.corpus.chunks import fold
from ray_asr.errors import RowError
from ray_asr.job import segments
from ray_asr.job.long_recording import Limits
from ray_asr.job.stages import DetectStage, PunctuateStage, RecognizeStage
from ray_asr.schema import Recognition, Span, Waveform, Word
from tests.fakes import (
    PROVENANCE,
    FakeEngine,
    decoded_rows,
    heard,
    level_is,
    level_of,
    text_of,
    tone,
    worker_of,
)

CELLS = {"a": tone(0.5, 0.4), "bad": tone(0.7, 0.9), "c": tone(0.6, 0.3)}
IS_BAD = level_is(level_of(CELLS["bad"]))
NAN: Any = float("nan")
NONE: Any = None


class Unsound(FakeEngine):
    """Gives `spans`, `heard` or `text` for the bad row, where they are given."""

    def __init__(self, **given: Any) -> None:
        super().__init__()
        self._given = given

    def _detect(self, waveform: Waveform) -> list[Span]:
        bad = IS_BAD(waveform) and "spans" in self._given
        return self._given["spans"] if bad else super()._detect(waveform)

    def _heard(self, waveform: Waveform) -> Recognition:
        bad = IS_BAD(waveform) and "heard" in self._given
        return self._given["heard"] if bad else super()._heard(waveform)

    def punctuate(self, texts: Sequence[str]) -> list[str]:
        bad = text_of(CELLS["bad"])
        better = super().punctuate(texts)
        if "text" not in self._given:
            return better
        return [self._given["text"] if t == bad else b for t, b in zip(texts, better, strict=True)]


def fused(engine: FakeEngine) -> list[dict[str, Any]]:
    (table,) = worker_of(engine)(fold(decoded_rows(CELLS)))
    return table.to_pylist()


def split(engine: FakeEngine) -> list[dict[str, Any]]:
    chunk = fold(decoded_rows(CELLS))
    for stage in (
        DetectStage(lambda: engine, 60.0, Limits()),
        RecognizeStage(lambda: engine, 60.0, Limits()),
        PunctuateStage(lambda: engine, 60.0, Limits(), "en", PROVENANCE),
    ):
        (chunk,) = stage(chunk)
    return chunk.to_pylist()


def only_the_bad_one_failed(rows: list[dict[str, Any]]) -> None:
    a, bad, c = rows
    assert (a["text"], c["text"]) == (heard(CELLS["a"]), heard(CELLS["c"]))
    assert (bad["utterance_id"], bad["status"], bad["error_code"]) == (
        "bad",
        "failed",
        "model_failed",
    )
    assert bad["error_message"]


UNSOUND = [
    {"spans": [Span(NAN, NAN)]},
    {"spans": [Span(0, NONE)]},
    {"spans": [Span(-10, 100)]},
    {"spans": [Span(300, 100)]},
    {"spans": 3},
    {"heard": NONE},
    {"heard": Recognition(NONE)},
    {"heard": Recognition(NAN)},
    {"heard": Recognition("half a character \ud83d")},
    {"heard": Recognition("a", (Word("a", NAN, 1),))},
    {"heard": Recognition("a", language=NONE)},
    {"heard": Recognition("a", emotion="half a character \ud83d")},
    {"heard": Recognition("a", events=NONE)},
    {"heard": Recognition("a", events=(3,))},  # type: ignore[arg-type]
    {"heard": Recognition("a", (Word(NONE, 0, 1),))},
    {"text": NAN},
    {"text": 3},
    {"text": "half a character \ud83d"},
]


@pytest.mark.parametrize("given", UNSOUND, ids=str)
@pytest.mark.parametrize("run", [fused, split])
def test_what_is_no_result_fails_its_row_alone(run: Any, given: dict[str, Any]) -> None:
    only_the_bad_one_failed(run(Unsound(**given)))


def test_times_may_be_numbers_of_numpy() -> None:
    word = Word("one", np.int64(1), np.int32(20))  # type: ignore[arg-type]
    rows = fused(Unsound(heard=Recognition("one", (word,)), spans=[Span(np.int64(0), 100)]))  # type: ignore[arg-type]
    assert [row["status"] for row in rows] == ["ok", "ok", "ok"]


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RecursionError("deep"), "model_failed"),
        (MemoryError("no more"), "out_of_memory"),
        (SystemExit(3), "model_failed"),
        (Unprintable(), "model_failed"),
        (StopIteration(), "model_failed"),
        (RuntimeError("half a character \ud83d"), "model_failed"),
    ],
)
@pytest.mark.parametrize("step", ["fails_in_vad", "fails_on"])
@pytest.mark.parametrize("run", [fused, split])
def test_whatever_a_model_raises_fails_its_row_alone(
    run: Any, step: str, error: Any, code: str
) -> None:
    engine = FakeEngine(**{step: IS_BAD}, error=error)  # type: ignore[arg-type]
    a, bad, c = run(engine)
    assert (a["status"], bad["status"], c["status"]) == ("ok", "failed", "ok")
    assert bad["error_code"] == code
    assert bad["error_message"]


@pytest.mark.parametrize("run", [fused, split])
def test_a_row_whose_parts_do_not_fit_together_fails_alone(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = segments.cut_like

    def broken(text: str, pieces: Sequence[str]) -> list[str]:
        return [] if text == heard(CELLS["bad"]) else ours(text, pieces)

    monkeypatch.setattr(segments, "cut_like", broken)
    only_the_bad_one_failed(run(FakeEngine()))


@pytest.mark.parametrize("given", [0, 1])
def test_batches_whose_results_stop_coming_are_asked_for_one_by_one(given: int) -> None:
    class Stops(FakeEngine):
        def recognize_all(self, batches: Iterable[Sequence[Waveform]]) -> Iterator[Any]:
            for number, outcome in enumerate(super().recognize_all(batches)):
                if number == given:
                    raise RuntimeError("the threads are gone")
                yield outcome

    (table,) = worker_of(Stops(), 0.8)(fold(decoded_rows(CELLS)))
    assert table["text"].to_pylist() == [heard(w) for w in CELLS.values()]


def test_memory_that_cannot_be_asked_for_stops_no_row() -> None:
    class Silent(FakeEngine):
        def memory_share(self) -> float:
            raise OSError("no such device")

    assert [row["status"] for row in fused(Silent())] == ["ok", "ok", "ok"]


def test_a_row_error_is_text_that_a_column_takes() -> None:
    assert RowError("audio_corrupt", "half \ud83d").message == "half ?"  # type: ignore[arg-type]
