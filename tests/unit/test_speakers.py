"""Windows of voices, and what their labels come to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from ray_asr.engine.speakers import WindowedSpeakers
from ray_asr.schema import Span, Turn, Waveform
from tests.fakes import joined, silence, tone, voice_of

A, B = 300.0, 900.0


def speakers(preset: int = 0, at_once: int = 16) -> tuple[WindowedSpeakers, list[int]]:
    calls: list[int] = []

    def embed(windows: Sequence[Waveform]) -> np.ndarray:
        calls.append(len(windows))
        assert {len(window) for window in windows} == {24_000}
        return np.stack([voice_of(window) for window in windows])

    return WindowedSpeakers(embed, preset, at_once), calls


def told(*spoken: tuple[float, float], pause_s: float = 0.5) -> list[Turn]:
    """The turns of spans of (seconds, pitch), with a pause between them."""
    spans, waveforms, now = [], [], 0
    for seconds, hz in spoken:
        spans.append(Span(now, now + round(1000 * seconds)))
        waveforms.append(tone(seconds, hz=hz))
        now = spans[-1].end_ms + round(1000 * pause_s)
    model, _ = speakers()
    return model.turns(spans, model.voices(waveforms))


@pytest.mark.parametrize(
    ("seconds", "windows"),
    [(0.001, 1), (1.5, 1), (1.51, 2), (2.25, 2), (3.0, 3), (3.1, 4), (0.0, 0)],
)
def test_a_window_begins_every_three_quarters_of_a_second(seconds: float, windows: int) -> None:
    model, _ = speakers()
    (found,) = model.voices([tone(seconds)])
    assert len(found) == windows


def test_windows_of_many_stretches_go_through_the_model_together() -> None:
    model, calls = speakers(at_once=5)
    found = model.voices([tone(3.0), tone(0.2), silence(0), tone(4.5)])
    assert [len(voices) for voices in found] == [3, 1, 0, 5]
    assert calls == [5, 4]


def test_nothing_was_said() -> None:
    model, calls = speakers()
    assert model.turns([], model.voices([])) == []
    assert calls == []


def test_two_speakers_take_turns() -> None:
    found = told((9.0, A), (8.0, B), (6.0, A))
    assert found == [
        Turn(0, 9000, "0"),
        Turn(9500, 17_500, "1"),
        Turn(18_000, 24_000, "0"),
    ]


def test_the_speaker_changes_within_a_stretch_of_speech() -> None:
    model, _ = speakers()
    waveform = joined(tone(12.0, hz=A), tone(12.0, hz=B))
    (first, second) = model.turns([Span(0, 24_000)], model.voices([waveform]))
    assert (first.speaker, second.speaker) == ("0", "1")
    assert first.end_ms == second.start_ms
    assert abs(first.end_ms - 12_000) <= 750


def test_what_is_too_short_for_a_turn_goes_to_the_nearest() -> None:
    model, _ = speakers()
    spans = [Span(0, 12_000), Span(12_100, 12_500), Span(14_000, 26_000)]
    waveforms = [tone(12.0, hz=A), tone(0.4, hz=B), tone(12.0, hz=B)]
    found = model.turns(spans, model.voices(waveforms))
    assert [(turn.start_ms, turn.end_ms, turn.speaker) for turn in found] == [
        (0, 12_000, "0"),
        (12_100, 12_500, "0"),
        (14_000, 26_000, "1"),
    ]


def test_a_short_recording_has_one_speaker() -> None:
    assert {turn.speaker for turn in told((3.0, A), (3.0, B))} == {"0"}


def test_a_model_that_leaves_a_window_out_is_found_out() -> None:
    model = WindowedSpeakers(lambda windows: np.ones((len(windows) - 1, 4), np.float32), 0, 4)
    with pytest.raises(ValueError, match="2 of 3 windows"):
        model.voices([tone(3.0)])
