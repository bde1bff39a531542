"""Measures a voice detector's folder through FunASR's own `AutoModel.generate`.

Owns the detector's test: recordings assembled from held-out prompts, noise without speech, and
words alone. Reads nothing that `train_vad.py` trained on but the words alone, which it names so.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from augment import telephone, through_codec
from funasr import AutoModel
from noise import any_noise, at_level, babble, coloured, hum
from prompts import SAMPLE_RATE, load_prompts, read_g722, split
from vad_data import FRAME, HOP, frame_labels, noisy, runs, speech_samples

RECORDINGS = 12
JOINED_FRAMES = 80
COLLAR_FRAMES = 20
Change = Callable[[np.ndarray, np.ndarray, random.Random], np.ndarray]


class Detector:
    """Waveform `(T,)` to spans in ms, as FunASR gives them."""

    def __init__(self, folder: Path) -> None:
        self._model = AutoModel(
            model=str(folder), disable_update=True, device="cpu", ncpu=1, disable_pbar=True
        )

    def __call__(self, wave: np.ndarray) -> list[list[int]]:
        return self._model.generate(input=torch.from_numpy(wave.astype(np.float32)))[0]["value"]


def assemble(waves: list[np.ndarray], rng: random.Random) -> tuple[np.ndarray, np.ndarray]:
    """Four to six prompts, 1.2 to 4 s apart or, one time in three, 0.2 to 0.5 s."""
    parts = [np.zeros(int(rng.uniform(0.0, 2.5) * SAMPLE_RATE), np.float32)]
    masks = [np.zeros(len(parts[0]), bool)]
    for wave in rng.sample(waves, rng.randint(4, 6)):
        mask = speech_samples(wave)
        spoken = np.flatnonzero(mask)
        pause_s = rng.uniform(0.2, 0.5) if rng.random() < 0.33 else rng.uniform(1.2, 4.0)
        silence = np.zeros(int(pause_s * SAMPLE_RATE), np.float32)
        parts += [wave[spoken[0] : spoken[-1] + 1], silence]
        masks += [mask[spoken[0] : spoken[-1] + 1], np.zeros(len(silence), bool)]
    end = np.zeros(int(1.3 * SAMPLE_RATE), np.float32)
    return np.concatenate([*parts, end]), np.concatenate([*masks, end.astype(bool)])


def conditions(waves: list[np.ndarray]) -> dict[str, Change]:
    """What is done to an assembled recording, by name."""

    def noise(slope: float, snr_db: float) -> Change:
        return lambda wave, mask, rng: noisy(wave, mask, coloured(len(wave), slope, rng), snr_db)

    def crowd(wave: np.ndarray, mask: np.ndarray, rng: random.Random) -> np.ndarray:
        return noisy(wave, mask, babble(rng.sample(waves, 7), len(wave), rng), 20.0)

    found: dict[str, Change] = {"clean": lambda wave, mask, rng: wave}
    for snr_db in (30, 20, 10, 5, 0):
        found[f"white {snr_db} dB"] = noise(0.0, snr_db)
        found[f"pink {snr_db} dB"] = noise(0.5, snr_db)
    found["brown 5 dB"] = noise(1.0, 5.0)
    found["hum 50 Hz 5 dB"] = lambda w, m, rng: noisy(w, m, hum(len(w), 50.0, rng), 5.0)
    found["babble 20 dB"] = crowd
    found["gain 0.05"] = lambda w, m, rng: 0.05 * noise(0.5, 30.0)(w, m, rng)
    found["telephone"] = lambda w, m, rng: telephone(noise(0.5, 30.0)(w, m, rng))
    found["MP3 24 kb/s"] = lambda w, m, rng: through_codec(w, "libmp3lame", 24_000)
    found["Opus 16 kb/s"] = lambda w, m, rng: through_codec(w, "libopus", 16_000)
    return found


def score(spans: list[list[int]], labels: np.ndarray) -> dict[str, float]:
    """Counts of frames and segments for one recording.

    Speech with breaks shorter than 0.8 s is one segment, since that is how long the detector
    waits. A false alarm counts only farther than 0.2 s from any segment.
    """
    found = np.zeros(len(labels), bool)
    for start_ms, end_ms in spans:
        found[start_ms // 10 : end_ms // 10] = True
    joined = labels.astype(bool).copy()
    for start, end in runs(~joined):
        if start > 0 and end < len(joined) and end - start < JOINED_FRAMES:
            joined[start:end] = True
    near = np.convolve(joined, np.ones(2 * COLLAR_FRAMES + 1), "same") > 0
    result = {
        "speech": labels.sum(), "missed": (labels.astype(bool) & ~found).sum(),
        "silence": (~near).sum(), "false": (found & ~near).sum(),
        "padded_silence": (~joined).sum(), "padded_false": (found & ~joined).sum(),
        "segments": 0, "starts": 0, "ends": 0, "found": len(spans),
    }  # fmt: skip
    for start, end in runs(joined):
        result["segments"] += 1
        result["starts"] += any(abs(s - 10 * start) <= 200 for s, _ in spans)
        result["ends"] += any(abs(e - 10 * end) <= 200 for _, e in spans)
    return {name: float(value) for name, value in result.items()}


def measure_speech(detect: Detector, waves: list[np.ndarray]) -> None:
    """Prints a line a condition: misses, false alarms, boundaries within 200 ms."""
    print("| condition | missed | false alarms | with padding | segments found/true "
          "| starts | ends |\n|---|---|---|---|---|---|---|")  # fmt: skip
    for name, change in conditions(waves).items():
        rng, total = random.Random(f"vad {name}"), {}
        for _ in range(RECORDINGS):
            wave, mask = assemble(waves, rng)
            changed = change(wave, mask, rng)
            changed = np.pad(changed, (0, max(0, len(wave) - len(changed))))[: len(wave)]
            found = score(detect(np.clip(changed, -1, 1)), frame_labels(mask))
            total = {key: total.get(key, 0.0) + value for key, value in found.items()}
        print(f"| {name} | {total['missed'] / total['speech']:.2%} "
              f"| {total['false'] / total['silence']:.2%} "
              f"| {total['padded_false'] / total['padded_silence']:.2%} "
              f"| {total['found']:.0f}/{total['segments']:.0f} "
              f"| {total['starts'] / total['segments']:.1%} "
              f"| {total['ends'] / total['segments']:.1%} |", flush=True)  # fmt: skip


def silent_sounds(count: int) -> dict[str, np.ndarray]:
    """Sounds without speech, `count` samples each, by name."""
    rng, time_s = random.Random("silent"), np.arange(count) / SAMPLE_RATE
    found = {
        "digital silence": np.zeros(count), "DC 0.1": np.full(count, 0.1),
        "one bit": np.where(np.arange(count) % 997 == 0, 1 / 32768, 0.0),
        "full-scale square 50 Hz": np.sign(np.sin(2 * np.pi * 50 * time_s)),
        "dial tone": 0.1 * (np.sin(2 * np.pi * 350 * time_s) + np.sin(2 * np.pi * 440 * time_s)),
        "beeps": 0.3 * np.sin(2 * np.pi * 1000 * time_s) * (time_s % 1.0 < 0.3),
    }  # fmt: skip
    for level in (-90, -70, -50, -40, -30, -20, -10, -3):
        found[f"white {level} dB"] = at_level(coloured(count, 0.0, rng), level)
    for level in (-50, -30, -20, -10):
        found[f"pink {level} dB"] = at_level(coloured(count, 0.5, rng), level)
        found[f"brown {level} dB"] = at_level(coloured(count, 1.0, rng), level)
        found[f"hum 50 Hz {level} dB"] = at_level(hum(count, 50.0, rng), level)
        found[f"hum 60 Hz {level} dB"] = at_level(hum(count, 60.0, rng), level)
    return {name: np.clip(wave, -1, 1).astype(np.float32) for name, wave in found.items()}


def measure_rest(detect: Detector) -> None:
    """Prints what is found in sounds without speech, words alone and in ends of a recording."""
    wrong = {}
    for count in (8000, 160_000):
        for name, wave in silent_sounds(count).items():
            if spans := detect(wave):
                wrong[f"{name}, {count / SAMPLE_RATE} s"] = spans
    rng = random.Random("any noise")
    for index in range(60):
        level = rng.uniform(-70.0, -6.0)
        wave = at_level(any_noise(rng.randint(8000, 160_000), rng), level)
        if spans := detect(np.clip(wave, -1, 1)):
            wrong[f"random noise {index}, {level:.0f} dB"] = spans
    count = 2 * len(silent_sounds(8000)) + 60
    print(f"sounds without speech ({count}): {wrong or 'no segment'}")
    for kind, prompts in zip(("training", "held-out"), split(load_prompts()), strict=True):
        alone, missed = 0, []
        for prompt in prompts:
            wave = read_g722(prompt.path)
            spoken = np.flatnonzero(speech_samples(wave))
            wave = wave[spoken[0] : spoken[-1] + 1]
            if prompt.words.count(" ") == 0:
                alone += 1
                if not detect(wave):
                    missed.append(f"{prompt.words} ({len(wave) / SAMPLE_RATE:.2f} s)")
        print(f"{kind} words alone, without padding ({alone}): missed {missed or 'none'}")
    short = [len(detect(np.zeros(count, np.float32))) for count in (FRAME, FRAME + HOP, 5 * HOP)]
    print(f"segments in {FRAME}, {FRAME + HOP} and {5 * HOP} samples of silence: {short}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    detect = Detector(args.model)
    measure_speech(detect, [read_g722(p.path) for p in split(load_prompts())[1]])
    measure_rest(detect)


if __name__ == "__main__":
    main()
