"""The speech that the package embeds: real recordings as WAV, FLAC, MP3 and Opus, with their text.

Owns which recordings go in, in which format, and the manifest beside them. Knows nothing of models
or training, but draws on the split of `prompts.py`: nothing that is written here was trained on.

    .venv/bin/python recipes/demo_models/build_speech.py [--out ray_asr/demo/speech]
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import shutil
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile as sf
import soxr
from prompts import (
    SAMPLE_RATE,
    Announcements,
    as_transcribed,
    join,
    load_prompts,
    read_g722,
    split,
    trim,
)

SPEECH = Path(__file__).resolve().parents[2] / "ray_asr" / "demo" / "speech"
SEED = 20
ANNOUNCEMENTS = 60
LONG_ITEMS = 40
LONG_PAUSE_S = (0.8, 3.0)
LONG_NOISE_DBFS = -60.0
MAX_BYTES = 8_000_000
# What a player makes of the second microphone: the same speech, farther away.
RIGHT_CHANNEL_GAIN = 0.7


@dataclass(frozen=True)
class Encoding:
    """How one file is written; `sample_rate_hz` of Opus is the rate that the encoder was given."""

    format: str
    sample_rate_hz: int
    channels: int

    @property
    def bytes_per_s(self) -> float:
        """About what a second takes."""
        pcm = 2.0 * self.sample_rate_hz * self.channels
        return {"wav": pcm, "flac": pcm / 2}.get(self.format, self.bit_rate / 8)

    @property
    def bit_rate(self) -> int:
        """Bits a second of the lossy formats: little, but speech stays itself."""
        mono = {8_000: 32_000, 16_000: 48_000, 44_100: 64_000}[self.sample_rate_hz]
        if self.format == "opus":
            mono = 28_000
        return mono if self.channels == 1 else mono * 3 // 2


# Every combination that exists (Opus has no 44.1 kHz), and the small ones as often as they fit.
ENCODINGS = [
    Encoding(container, rate, channels)
    for container in ("wav", "flac", "mp3", "opus")
    for rate in (8_000, 16_000, 44_100)
    for channels in (1, 2)
    if (container, rate) != ("opus", 44_100)
]
LONG_ENCODING = Encoding("opus", 16_000, 1)


@dataclass(frozen=True)
class Recording:
    """One recording to write: its id, the words in it, and its wave `(T,)` at 16 kHz."""

    name: str
    words: str
    wave: np.ndarray


def test_announcements(count: int, seed: int) -> list[tuple[str, str, np.ndarray]]:
    """The test set "announcements": `(id, words, wave (T,) at 16 kHz)`, no words twice.

    All are combinations that training never draws. A larger `count` continues a smaller one of the
    same seed.
    """
    training, _ = split(load_prompts())
    announcements, rng = Announcements(training), random.Random(seed)
    drawn: dict[str, np.ndarray] = {}
    while len(drawn) < count:
        parts = announcements.draw(rng, test=True)
        words = " ".join(part.words for part in parts)
        if words not in drawn:
            drawn[words] = join([read_g722(part.path) for part in parts], rng)
    return [
        (f"announcement-{number:03d}", words, wave)
        for number, (words, wave) in enumerate(drawn.items())
    ]


def held_out_prompts() -> list[Recording]:
    """The test set "prompts": the 60 held-out recordings as they are."""
    _, held_out = split(load_prompts())
    return [Recording(p.prompt_id.replace("/", "-"), p.words, read_g722(p.path)) for p in held_out]


def long_recording(
    prompts: list[Recording], announcements: list[Recording], seed: int
) -> tuple[Recording, list[dict[str, object]]]:
    """Prompts and announcements in turn, with pauses and a soft noise, and where each one lies."""
    rng = random.Random(seed)
    # The longest prompts are menus of 20 seconds: a few would leave room for nothing else.
    short = [prompt for prompt in prompts if len(prompt.wave) < 5 * SAMPLE_RATE]
    items = rng.sample(short, LONG_ITEMS // 2) + announcements[: LONG_ITEMS // 2]
    rng.shuffle(items)
    pieces, spans, at = [], [], 0
    for item in items:
        wave = trim(item.wave, 0.1)
        pause = np.zeros(int(rng.uniform(*LONG_PAUSE_S) * SAMPLE_RATE), np.float32)
        pieces += [pause, wave]
        start = at + len(pause)
        at = start + len(wave)
        spans.append(
            {
                "start_ms": start * 1000 // SAMPLE_RATE,
                "end_ms": at * 1000 // SAMPLE_RATE,
                "text": as_transcribed(item.words),
            }
        )
    pieces.append(np.zeros(SAMPLE_RATE, np.float32))
    clean = np.concatenate(pieces)
    noise = np.random.default_rng(seed).standard_normal(len(clean)).astype(np.float32)
    wave = clean + noise * np.float32(10 ** (LONG_NOISE_DBFS / 20))
    return Recording("long-000", " ".join(item.words for item in items), wave), spans


def assign(recordings: list[Recording], rng: random.Random) -> list[Encoding]:
    """An encoding for each recording: every one at least once, bulky ones for short recordings."""
    slots = list(ENCODINGS)
    small = sorted(ENCODINGS, key=lambda encoding: encoding.bytes_per_s)[:16]
    while len(slots) < len(recordings):
        slots += small[: len(recordings) - len(slots)]
    slots.sort(key=lambda encoding: -encoding.bytes_per_s)
    by_length = sorted(range(len(recordings)), key=lambda index: len(recordings[index].wave))
    chosen: list[Encoding] = [slots[0]] * len(recordings)
    third = -(-len(slots) // 3)
    for start in range(0, len(slots), third):
        # Within a third the lengths are mixed, so that no format is only ever heard on short ones.
        some = slots[start : start + third]
        rng.shuffle(some)
        for index, encoding in zip(by_length[start : start + third], some, strict=True):
            chosen[index] = encoding
    return chosen


def samples_of(wave: np.ndarray, encoding: Encoding) -> np.ndarray:
    """`wave` `(T,)` at 16 kHz as `(T', C)` at the encoding's rate."""
    if encoding.sample_rate_hz != SAMPLE_RATE:
        wave = soxr.resample(wave, SAMPLE_RATE, encoding.sample_rate_hz, quality="VHQ")
    wave = np.clip(wave, -1.0, 1.0).astype(np.float32)
    gains = np.asarray([1.0, RIGHT_CHANNEL_GAIN][: encoding.channels], np.float32)
    return wave[:, None] * gains


def write_lossy(path: Path, samples: np.ndarray, encoding: Encoding) -> None:
    """Write `samples` `(T, C)` as MP3 or Ogg/Opus, the same bytes each time."""
    codec, container = {"mp3": ("libmp3lame", "mp3"), "opus": ("libopus", "ogg")}[encoding.format]
    options = {"fflags": "+bitexact"}
    with av.open(str(path), "w", format=container, options=options) as output:
        stream = output.add_stream(codec, rate=encoding.sample_rate_hz)
        context = stream.codec_context
        context.layout = "mono" if encoding.channels == 1 else "stereo"
        context.format = "fltp" if codec == "libmp3lame" else "flt"
        context.bit_rate = encoding.bit_rate
        context.flags |= av.codec.context.Flags.bitexact
        planar = context.format.is_planar
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples.T if planar else samples.reshape(1, -1)),
            format=context.format.name,
            layout=context.layout.name,
        )
        frame.sample_rate, frame.pts = encoding.sample_rate_hz, 0
        frame.time_base = Fraction(1, encoding.sample_rate_hz)
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            output.mux(packet)


def write(path: Path, wave: np.ndarray, encoding: Encoding) -> None:
    """Encode `wave` `(T,)` at 16 kHz to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = samples_of(wave, encoding)
    if encoding.format in ("mp3", "opus"):
        write_lossy(path, samples, encoding)
    else:
        sf.write(path, samples, encoding.sample_rate_hz, "PCM_16", format=encoding.format.upper())


def check(path: Path, wave: np.ndarray, encoding: Encoding) -> float:
    """Decode `path` again and compare it with `wave`; returns the seconds that are in it.

    Raises:
        ValueError: if duration, channels, rate, level or waveform are not what went in.
    """
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        rate, channels = stream.rate, stream.channels
        resampler = av.AudioResampler(format="fltp", layout=stream.layout, rate=rate)
        frames = [f for frame in container.decode(audio=0) for f in resampler.resample(frame)]
    decoded = np.concatenate([frame.to_ndarray() for frame in frames], axis=1)
    seconds = decoded.shape[1] / rate
    back = soxr.resample(decoded.mean(0), rate, SAMPLE_RATE)
    sent = samples_of(wave, encoding).mean(1)
    sent = soxr.resample(sent, encoding.sample_rate_hz, SAMPLE_RATE)
    length = max(len(back), len(sent)) + SAMPLE_RATE // 10
    spectrum = np.fft.rfft(back, 2 * length) * np.conj(np.fft.rfft(sent, 2 * length))
    energy = float(np.sqrt((back**2).sum() * (sent**2).sum()))
    correlations = np.fft.irfft(spectrum) / energy
    lag = int(np.argmax(correlations))
    lag_s = (lag if lag <= length else lag - 2 * length) / SAMPLE_RATE
    level_db = 10 * float(np.log10((back**2).sum() / (sent**2).sum()))
    wanted_rate = 48_000 if encoding.format == "opus" else encoding.sample_rate_hz
    faults = {
        "duration": abs(seconds - len(wave) / SAMPLE_RATE) > 0.06,
        "channels": channels != encoding.channels,
        "rate": rate != wanted_rate,
        "waveform": correlations[lag] < 0.95 or abs(lag_s) > 0.06,
        "level": abs(level_db) > 1.0,
    }
    if any(faults.values()):
        raise ValueError(
            f"{path}: {[name for name, bad in faults.items() if bad]} ({seconds:.3f} s of "
            f"{len(wave) / SAMPLE_RATE:.3f}, {rate} Hz, correlation {correlations[lag]:.3f} at "
            f"{lag_s:.3f} s, {level_db:+.2f} dB)"
        )
    return seconds


def build(out: Path, seed: int) -> list[dict[str, object]]:
    """Write all recordings and the manifest under `out`; returns the manifest's rows."""
    drawn = [Recording(*row) for row in test_announcements(ANNOUNCEMENTS + LONG_ITEMS // 2, seed)]
    sets = {"prompts": held_out_prompts(), "announcements": drawn[:ANNOUNCEMENTS]}
    long, spans = long_recording(sets["prompts"], drawn[ANNOUNCEMENTS:], seed)
    rng, rows = random.Random(seed), []
    for name, recordings, encodings in [
        *((name, some, assign(some, rng)) for name, some in sets.items()),
        ("long", [long], [LONG_ENCODING]),
    ]:
        shutil.rmtree(out / name, ignore_errors=True)
        for recording, encoding in zip(recordings, encodings, strict=True):
            path = out / name / f"{recording.name}.{encoding.format}"
            write(path, recording.wave, encoding)
            seconds = check(path, recording.wave, encoding)
            rows.append(
                {
                    "audio_filepath": path.relative_to(out).as_posix(),
                    "duration": round(seconds, 3),
                    "text": as_transcribed(recording.words),
                    "set": name,
                    "format": encoding.format,
                    "sample_rate_hz": encoding.sample_rate_hz,
                    "channels": encoding.channels,
                }
            )
    write_jsonl(out / "manifest.jsonl", rows)
    write_jsonl(out / "long" / "long-000.spans.jsonl", spans)
    return rows


def write_jsonl(path: Path, rows: list[dict[str, object]]) -> None:
    """One JSON object a line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def main() -> None:
    """Build, check, and print what there is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=SPEECH)
    parser.add_argument("--seed", type=int, default=SEED)
    args = parser.parse_args()
    rows = build(args.out, args.seed)
    totals: dict[tuple[object, ...], np.ndarray] = collections.defaultdict(lambda: np.zeros(3))
    for row in rows:
        size = (args.out / str(row["audio_filepath"])).stat().st_size
        keys = [(row["format"], row["sample_rate_hz"], row["channels"]), (row["set"], "", "")]
        for key in [*keys, ("all", "", "")]:
            totals[key] += [1, float(str(row["duration"])), size]
    print(f"{'':14}{'Hz':>7}{'channels':>9}{'files':>7}{'seconds':>9}{'bytes':>11}")
    for key, (files, seconds, size) in sorted(totals.items(), key=lambda item: str(item[0])):
        name, rate, channels = key
        print(f"{name!s:14}{rate!s:>7}{channels!s:>9}{files:7.0f}{seconds:9.1f}{size:11,.0f}")
    if totals["all", "", ""][2] > MAX_BYTES:
        raise SystemExit(f"more than {MAX_BYTES:,} bytes: give fewer recordings to bulky formats")


if __name__ == "__main__":
    main()
