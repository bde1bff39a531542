"""Speech to measure with: the embedded recordings, cut anew to utterances of 2 to 10 seconds.

Owns the cutting rule, so that every part of the benchmark hears the same audio. Must not know
Ray, Parquet or models. Recordings are decoded by whoever asks, since decoding is another wing's.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator

import numpy as np
import soundfile

from ray_asr.demo import speech_folder
from ray_asr.schema import SAMPLE_RATE_HZ, Waveform

SHORTEST_S, LONGEST_S = 2.0, 10.0
# More than this is the same utterances again: they are computed anew, but need no more memory.
MOST_DIFFERENT_S = 3600.0
_SUBTYPE = "PCM_16"


def cut_stream(stream: Waveform, audio_s: float, seed: int) -> Iterator[Waveform]:
    """Utterances of 2 to 10 s, evenly spread, that add up to `audio_s` or a little more.

    The stream is walked round and round; each round cuts it at other places.
    """
    random = np.random.default_rng(seed)
    position, total = 0, 0.0
    while total < audio_s:
        length = int(random.uniform(SHORTEST_S, LONGEST_S) * SAMPLE_RATE_HZ)
        piece = np.take(stream, range(position, position + length), mode="wrap")
        position = (position + length) % len(stream)
        total += length / SAMPLE_RATE_HZ
        yield piece


def utterances(
    decode: Callable[[bytes], Waveform], audio_s: float, container: str = "FLAC", seed: int = 0
) -> tuple[list[bytes], float]:
    """Encoded utterances of the embedded speech, and their seconds together.

    Args:
        decode: encoded bytes to 16 kHz samples.
        audio_s: how much is wanted; at most an hour of it differs, the rest is that hour again.
        container: "FLAC" or "WAV", 16 bits.
        seed: of the order of recordings and of the cuts.
    """
    lines = (speech_folder() / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    names = [json.loads(line)["audio_filepath"] for line in lines]
    order = np.random.default_rng(seed).permutation(len(names))
    stream = np.concatenate([decode((speech_folder() / names[i]).read_bytes()) for i in order])
    encoded: list[bytes] = []
    durations_s: list[float] = []
    for piece in cut_stream(stream, min(audio_s, MOST_DIFFERENT_S), seed):
        encoded.append(encode(piece, container))
        durations_s.append(len(piece) / SAMPLE_RATE_HZ)
    different, total_s = len(encoded), sum(durations_s)
    while total_s < audio_s:
        index = len(encoded) % different
        encoded.append(encoded[index])
        total_s += durations_s[index]
    return encoded, total_s


def encode(waveform: Waveform, container: str) -> bytes:
    """`waveform` as the bytes of a 16-bit file."""
    sink = io.BytesIO()
    soundfile.write(sink, waveform, SAMPLE_RATE_HZ, subtype=_SUBTYPE, format=container)
    return sink.getvalue()


def decode_plain(data: bytes) -> Waveform:
    """16 kHz mono samples of what libsndfile knows; a plain reader for machines without PyAV."""
    samples, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    if rate != SAMPLE_RATE_HZ:
        import soxr

        mono = soxr.resample(mono, rate, SAMPLE_RATE_HZ)
    return np.ascontiguousarray(mono, dtype=np.float32)
