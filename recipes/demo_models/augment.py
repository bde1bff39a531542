"""What happens to speech before a recognizer hears it: speed, gain, noise, bands and codecs.

Owns random changes to clean waveforms `(T,)` float32 at 16 kHz. Knows nothing about texts.
"""

from __future__ import annotations

import io
import random

import av
import numpy as np
import soxr
from prompts import SAMPLE_RATE


def change_speed(wave: np.ndarray, factor: float) -> np.ndarray:
    """Play `factor` times as fast, pitch and formants with it."""
    return soxr.resample(wave, SAMPLE_RATE * factor, SAMPLE_RATE, quality="MQ").astype(np.float32)


def add_noise(wave: np.ndarray, snr_db: float, rng: random.Random) -> np.ndarray:
    """Add noise of a random colour, from brown (steep) to white (flat), at `snr_db`."""
    count = len(wave)
    spectrum = np.fft.rfft(np.random.default_rng(rng.getrandbits(32)).standard_normal(count))
    spectrum /= np.maximum(np.arange(len(spectrum)), 1) ** rng.uniform(0.0, 1.0)
    noise = np.fft.irfft(spectrum, count)
    level = np.sqrt((wave**2).mean() / max((noise**2).mean(), 1e-12)) * 10 ** (-snr_db / 20)
    return (wave + level * noise).astype(np.float32)


def telephone(wave: np.ndarray) -> np.ndarray:
    """Through an 8 kHz line with mu-law companding (ITU-T G.711, mu = 255) and back."""
    narrow = np.clip(soxr.resample(wave, SAMPLE_RATE, 8000), -1, 1)
    coded = np.sign(narrow) * np.log1p(255 * np.abs(narrow)) / np.log(256)
    coded = np.round(coded * 127) / 127
    narrow = np.sign(coded) * np.expm1(np.abs(coded) * np.log(256)) / 255
    return soxr.resample(narrow, 8000, SAMPLE_RATE).astype(np.float32)


def through_codec(wave: np.ndarray, codec: str, bit_rate: int) -> np.ndarray:
    """Encode and decode with `codec` ("libmp3lame" or "libopus") at `bit_rate` bits a second."""
    container_format, rate = {"libmp3lame": ("mp3", 16_000), "libopus": ("ogg", 48_000)}[codec]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container_format) as out:
        stream = out.add_stream(codec, rate=rate, layout="mono")
        stream.bit_rate = bit_rate
        resampled = wave if rate == SAMPLE_RATE else soxr.resample(wave, SAMPLE_RATE, rate)
        frame = av.AudioFrame.from_ndarray(
            np.clip(resampled, -1, 1)[None].astype(np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate = rate
        resampler = av.AudioResampler(stream.codec_context.format, "mono", rate)
        for piece in resampler.resample(frame):
            out.mux(stream.encode(piece))
        out.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer) as source:
        resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE)
        pieces = [
            piece.to_ndarray().reshape(-1)
            for frame in source.decode(audio=0)
            for piece in resampler.resample(frame)
        ]
    return np.concatenate(pieces) if pieces else wave


def augment(wave: np.ndarray, rng: random.Random) -> np.ndarray:
    """One random version of `wave`: most get a new speed and gain, some noise, band or codec."""
    if rng.random() < 0.7:
        wave = change_speed(wave, rng.uniform(0.88, 1.14))
    if rng.random() < 0.35:
        wave = add_noise(wave, rng.uniform(12, 40), rng)
    kind = rng.random()
    if kind < 0.15:
        wave = telephone(wave)
    elif kind < 0.25:
        codec = rng.choice(["libmp3lame", "libopus"])
        wave = through_codec(wave, codec, rng.choice([16_000, 24_000, 32_000]))
    peak = float(np.abs(wave).max()) or 1.0
    return (wave * (10 ** rng.uniform(-1.0, 0.0) / peak)).astype(np.float32)
