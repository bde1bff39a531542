"""Voices whose speakers are known, told apart."""

from __future__ import annotations

import numpy as np
import pytest

from ray_asr.engine.clustering import FEWEST, cluster


def voices(who: np.ndarray, spread: float, seed: int = 0, width: int = 192) -> np.ndarray:
    """A noisy embedding of each voice: its speaker's own direction and a scatter around it."""
    random = np.random.default_rng(seed)
    directions = random.standard_normal((int(who.max()) + 1, width))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    scatter = spread * random.standard_normal((len(who), width)) / np.sqrt(width)
    return (directions[who] + scatter).astype(np.float32)


def talk(speakers: int, count: int, seed: int = 1) -> np.ndarray:
    """Who speaks in each of `count` windows: turns of 3 to 11 windows, the first ones in order."""
    random = np.random.default_rng(seed)
    who: list[int] = []
    turn = 0
    while len(who) < count:
        speaker = turn if turn < speakers else int(random.integers(speakers))
        who += [speaker] * int(random.integers(3, 12))
        turn += 1
    return np.array(who[:count])


def agreement(found: np.ndarray, true: np.ndarray) -> float:
    """The share of windows whose cluster is mostly of their speaker."""
    right = sum(np.bincount(true[found == label]).max() for label in np.unique(found))
    return right / len(true)


@pytest.mark.parametrize("speakers", [2, 3, 5, 8])
@pytest.mark.parametrize("spread", [0.3, 0.8])
def test_known_speakers_are_found(speakers: int, spread: float) -> None:
    true = talk(speakers, 60 * speakers)
    found = cluster(voices(true, spread))
    assert found.max() + 1 == speakers
    assert agreement(found, true) == 1.0


def test_one_speaker_is_one() -> None:
    assert set(cluster(voices(np.zeros(200, int), 0.5)).tolist()) == {0}


def test_speakers_are_numbered_as_they_come_in() -> None:
    found = cluster(voices(talk(4, 200), 0.4)).tolist()
    first = [found.index(label) for label in range(max(found) + 1)]
    assert first == sorted(first)
    assert found[0] == 0


@pytest.mark.parametrize("count", [0, 1, FEWEST - 1])
def test_of_few_voices_nothing_is_said(count: int) -> None:
    true = np.arange(count) % 2
    data = voices(true, 0.1) if count else np.empty((0, 0), np.float32)
    assert cluster(data).tolist() == [0] * count


@pytest.mark.parametrize("wanted", [1, 2, 3])
def test_as_many_speakers_as_were_asked_for(wanted: int) -> None:
    found = cluster(voices(talk(3, 150), 0.4), wanted)
    assert found.max() + 1 == wanted


def test_the_same_voices_have_the_same_labels_whatever_ran_before() -> None:
    data = voices(talk(4, 240), 1.2)
    first = cluster(data)
    np.random.default_rng().standard_normal(10)
    np.random.seed(7)
    assert cluster(data).tolist() == first.tolist()


@pytest.mark.parametrize("preset", [0, 3])
def test_a_long_recording_is_cut_and_its_speakers_are_the_same_throughout(
    monkeypatch: pytest.MonkeyPatch, preset: int
) -> None:
    monkeypatch.setattr("ray_asr.engine.clustering.MOST", 200)
    true = talk(3, 1500)
    found = cluster(voices(true, 0.6), preset)
    assert found.max() + 1 == 3
    assert agreement(found, true) == 1.0


def test_somebody_who_speaks_once_in_a_long_recording_is_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ray_asr.engine.clustering.MOST", 150)
    true = talk(2, 900)
    true[600:640] = 2
    found = cluster(voices(true, 0.5))
    assert found.max() + 1 == 3
    assert agreement(found, true) == 1.0


@pytest.mark.parametrize("more", [0, 1])
def test_the_longest_that_is_clustered_at_once(monkeypatch: pytest.MonkeyPatch, more: int) -> None:
    monkeypatch.setattr("ray_asr.engine.clustering.MOST", 300)
    true = talk(2, 300 + more)
    found = cluster(voices(true, 0.5, width=24))
    assert found.max() + 1 == 2
    assert agreement(found, true) == 1.0


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_voices_that_are_all_the_same_are_one_speaker(value: float) -> None:
    found = cluster(np.full((40, 8), value, np.float32))
    assert len(found) == 40
    if value:
        assert set(found.tolist()) == {0}
