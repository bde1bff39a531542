"""Sounds without speech: coloured noise, hum, tones, clicks, and a babble of many voices.

Owns what a voice detector has to stay quiet on. Every function returns `(T,)` float32 at 16 kHz.
Knows nothing about labels or models.
"""

from __future__ import annotations

import random

import numpy as np
from prompts import SAMPLE_RATE

COLOURS = {"white": 0.0, "pink": 0.5, "brown": 1.0}


def rms(wave: np.ndarray) -> float:
    """Root mean square of `wave`, never zero."""
    return float(np.sqrt((wave.astype(np.float64) ** 2).mean()) + 1e-9)


def at_level(wave: np.ndarray, level_db: float) -> np.ndarray:
    """`wave` with a root mean square of `level_db` dB of full scale."""
    return (wave * (10 ** (level_db / 20) / rms(wave))).astype(np.float32)


def coloured(count: int, slope: float, rng: random.Random) -> np.ndarray:
    """Gaussian noise whose amplitude falls as frequency ** -slope, `count` samples."""
    spectrum = np.fft.rfft(np.random.default_rng(rng.getrandbits(32)).standard_normal(count))
    spectrum /= np.maximum(np.arange(len(spectrum)) * SAMPLE_RATE / max(count, 1), 20.0) ** slope
    return np.fft.irfft(spectrum, count).astype(np.float32)


def hum(count: int, base_hz: float, rng: random.Random) -> np.ndarray:
    """Mains hum at `base_hz` with some of its harmonics, the higher the weaker."""
    time = np.arange(count) / SAMPLE_RATE
    wave = np.sin(2 * np.pi * base_hz * time)
    for harmonic in range(2, rng.choice([2, 4, 8, 20]) + 1):
        phase = rng.uniform(0, 2 * np.pi)
        weight = rng.uniform(0, 1) / harmonic
        wave += weight * np.sin(2 * np.pi * base_hz * harmonic * time + phase)
    return wave.astype(np.float32)


def tones(count: int, rng: random.Random) -> np.ndarray:
    """Beeps and dial tones: one or two steady frequencies, switched on and off."""
    time = np.arange(count) / SAMPLE_RATE
    wave = sum(np.sin(2 * np.pi * rng.uniform(300, 1700) * time) for _ in range(rng.randint(1, 2)))
    if rng.random() < 0.7:
        wave = wave * (time % rng.uniform(0.2, 2.0) < rng.uniform(0.08, 0.6))
    return np.asarray(wave, np.float32)


def clicks(count: int, rng: random.Random) -> np.ndarray:
    """Single short bursts, a few of them in a second."""
    wave = np.zeros(count, np.float32)
    for _ in range(1 + int(count / SAMPLE_RATE * rng.uniform(0.5, 4))):
        length = min(count, rng.randint(2, 400))
        start = rng.randrange(count - length + 1)
        decay = np.exp(-np.arange(length) / (length / 4))
        wave[start : start + length] += decay * coloured(length, 0.0, rng) * rng.uniform(0.2, 3)
    return wave


def babble(waves: list[np.ndarray], count: int, rng: random.Random) -> np.ndarray:
    """Many voices at once, so that none can be followed."""
    wave = np.zeros(count, np.float32)
    for voice in waves:
        repeats = 2 + count // len(voice)
        shift = rng.randrange(len(voice))
        wave += at_level(np.tile(voice, repeats)[shift : shift + count], -20.0)
    return wave


def any_noise(count: int, rng: random.Random) -> np.ndarray:
    """A random kind of noise, sometimes two mixed, sometimes swelling; level about -20 dB."""
    kind = rng.random()
    if kind < 0.6:
        wave = coloured(count, rng.uniform(0.0, 1.2), rng)
    elif kind < 0.75:
        wave = hum(count, rng.choice([50, 60]) * rng.uniform(0.99, 1.01), rng)
    elif kind < 0.85:
        wave = tones(count, rng)
    elif kind < 0.92:
        wave = clicks(count, rng)
    else:
        wave = at_level(coloured(count, rng.uniform(0.0, 1.0), rng), rng.uniform(-45, -20))
        wave = wave + at_level(hum(count, rng.choice([50, 60]), rng), -22.0)
    if rng.random() < 0.3:
        period_s, depth = rng.uniform(0.5, 6.0), rng.uniform(0.1, 0.8)
        phase = 2 * np.pi * np.arange(count) / SAMPLE_RATE / period_s + rng.uniform(0, 6)
        wave = wave * (1 + depth * np.sin(phase))
    return at_level(wave, -20.0)
