"""Recordings with pauses and noise, and which of their frames are speech.

Owns the labels: a frame is speech where the clean recording, before any noise, is loud enough.
Knows nothing about models.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
from augment import change_speed, telephone
from noise import any_noise, at_level, babble, rms
from prompts import SAMPLE_RATE

FRAME, HOP = 400, 160
BELOW_PEAK_DB = 38.0
CLOSE_FRAMES, GROW_FRAMES, MIN_FRAMES = 25, 2, 3

Labelled = tuple[np.ndarray, np.ndarray]


def runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """Where `mask` `(T,)` is true: pairs of first and one past last."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def speech_samples(wave: np.ndarray) -> np.ndarray:
    """Which samples of a clean recording `(T,)` are speech, as bool `(T,)`.

    Loud is what lies within 38 dB of the recording's loud frames; breaks shorter than a quarter
    of a second are part of the speech around them.
    """
    padded = np.pad(wave, (FRAME // 2, FRAME))
    count = len(wave) // HOP + 1
    starts = np.arange(count) * HOP
    frames = padded[starts[:, None] + np.arange(FRAME)]
    level = 20 * np.log10(np.sqrt((frames**2).mean(1)) + 1e-7)
    loud = level > max(float(np.percentile(level, 95)) - BELOW_PEAK_DB, -75.0)
    mask = np.zeros(count, bool)
    for start, end in runs(loud):
        if end - start >= MIN_FRAMES:
            mask[max(0, start - GROW_FRAMES) : end + GROW_FRAMES] = True
    for start, end in runs(~mask):
        if start > 0 and end < count and end - start <= CLOSE_FRAMES:
            mask[start:end] = True
    return np.repeat(mask, HOP)[: len(wave)]


def frame_labels(mask: np.ndarray) -> np.ndarray:
    """Sample mask `(T,)` to a label for each 25 ms frame of a 10 ms grid, by its middle."""
    count = max(0, (len(mask) - FRAME) // HOP + 1)
    return mask[np.arange(count) * HOP + FRAME // 2].astype(np.int64)


def load_synthetic(folder: Path, per_voice: int) -> list[np.ndarray]:
    """The first `per_voice` sentences of each voice that `synthesize.py` left in `folder`."""
    waves = []
    for manifest in sorted(folder.glob("*.jsonl")):
        for line in manifest.read_text().splitlines()[:per_voice]:
            waves.append(sf.read(json.loads(line)["path"], dtype="float32")[0])
    return waves


def _speech_part(waves: list[np.ndarray], rng: random.Random) -> Labelled:
    wave = rng.choice(waves)
    if rng.random() < 0.3:
        wave = change_speed(wave, rng.uniform(0.88, 1.14))
    wave = at_level(wave, rng.uniform(-26.0, -20.0))
    mask = speech_samples(wave)
    spoken = np.flatnonzero(mask)
    if len(spoken) and rng.random() < 0.5:
        wave, mask = wave[spoken[0] : spoken[-1]], mask[spoken[0] : spoken[-1]]
    if rng.random() < 0.08:
        fade_db = np.linspace(0.0, rng.uniform(-60.0, -20.0), len(wave))
        wave, mask = wave * 10 ** (fade_db / 20), mask & (fade_db > -32.0)
    return wave.astype(np.float32), mask


def _assembled(waves: list[np.ndarray], count: int, rng: random.Random) -> Labelled:
    """`count` samples of utterances and digital pauses of 0.2 to 4 s."""
    parts: list[Labelled] = []

    def pause(low_s: float, high_s: float) -> None:
        length = int(rng.uniform(low_s, high_s) * SAMPLE_RATE)
        parts.append((np.zeros(length, np.float32), np.zeros(length, bool)))

    if rng.random() < 0.6:
        pause(0.1, 3.0)
    while sum(len(wave) for wave, _ in parts) < count:
        parts.append(_speech_part(waves, rng))
        if rng.random() < 0.9:
            pause(*rng.choice([(0.2, 1.0), (0.5, 4.0)]))
    wave = np.concatenate([wave for wave, _ in parts])
    mask = np.concatenate([mask for _, mask in parts])
    start = rng.randrange(len(wave) - count + 1)
    return wave[start : start + count], mask[start : start + count]


def _noise_only(count: int, rng: random.Random) -> np.ndarray:
    if rng.random() < 0.2:
        return np.full(count, rng.choice([0.0, 0.0, rng.uniform(-0.1, 0.1)]), np.float32)
    return at_level(any_noise(count, rng), rng.uniform(-80.0, -6.0))


def noisy(clean: np.ndarray, mask: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """`clean` plus `noise`, `snr_db` below the level of the speech in it."""
    level = 20 * np.log10(rms(clean[mask]) if mask.any() else 0.05)
    return clean + at_level(noise, float(level) - snr_db)


def make_clip(waves: list[np.ndarray], count: int, rng: random.Random) -> Labelled:
    """One training recording of `count` samples and its sample mask."""
    if rng.random() < 0.18:
        wave, mask = _noise_only(count, rng), np.zeros(count, bool)
    else:
        wave, mask = _assembled(waves, count, rng)
        kind = rng.random()
        if kind < 0.70:
            snr_db = rng.triangular(0.0, 40.0, 15.0)
            wave = noisy(wave, mask, any_noise(count, rng), snr_db)
        elif kind < 0.80:
            crowd = [rng.choice(waves) for _ in range(rng.randint(5, 9))]
            wave = noisy(wave, mask, babble(crowd, count, rng), rng.uniform(18.0, 35.0))
        gain = 10 ** rng.uniform(np.log10(0.05), 0.0)
        wave = wave * gain / max(float(np.abs(wave).max()), 1e-3)
    kind = rng.random()
    if kind < 0.12:
        wave = telephone(wave)
    elif kind < 0.25:
        wave = soxr.resample(soxr.resample(wave, SAMPLE_RATE, 8000), 8000, SAMPLE_RATE)
    wave = np.pad(wave, (0, max(0, count - len(wave))))[:count]
    return np.clip(wave, -1.0, 1.0).astype(np.float32), mask
