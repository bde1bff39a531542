"""How much sooner ray_asr finds speech than FunASR does, on one core.

    python benchmarks/vad.py [--minutes 10] [--repeat 5] [--model DIR]...

Shows, for the embedded FSMN-VAD and for the published architecture with random weights, the speed
of `FsmnVad.detect` against FunASR's own `AutoModel.generate`, one recording a call, on utterances
of 2 to 10 s and on one recording of all of them; and that the segments are the same. Both run in
this process with one thread on the same decoded audio, by turns. Speeds are seconds of audio for a
second of CPU time, medians; ratios are taken within a repetition first. Parts of ours are timed
for themselves below.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ray_asr.demo import model_folder
from ray_asr.engine.bench_audio import decode_plain, utterances
from ray_asr.engine.loading import load_auto_model
from ray_asr.engine.untrained_vad import build_untrained_vad
from ray_asr.engine.vad import FsmnVad
from ray_asr.schema import SAMPLE_RATE_HZ

Segments = list[list[tuple[int, int]]]


def say(line: str = "") -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def recordings(minutes: float) -> list[np.ndarray]:
    from ray_asr.corpus.audio import decode

    encoded, _ = utterances(decode, minutes * 60, "WAV")
    return [decode_plain(data) for data in encoded]


def theirs(auto: Any, waveforms: list[np.ndarray]) -> Segments:
    found = [auto.generate(input=torch.from_numpy(waveform)) for waveform in waveforms]
    return [[tuple(segment) for segment in results[0]["value"]] for results in found]


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    """What the call takes of a core, and its result; waiting for one is not counted."""
    started = time.process_time()
    result = call()
    return time.process_time() - started, result


def compare(name: str, auto: Any, waveforms: list[np.ndarray], repeat: int) -> bool:
    """Prints a line; whether all segments are the same."""
    vad = FsmnVad(auto)
    audio_s = sum(map(len, waveforms)) / SAMPLE_RATE_HZ
    vad.detect(waveforms[:2])
    theirs(auto, waveforms[:1])
    speeds: list[tuple[float, float]] = []
    same = True
    for _ in range(repeat):
        their_s, expected = seconds(lambda: theirs(auto, waveforms))
        our_s, found = seconds(lambda: vad.detect(waveforms))
        speeds.append((audio_s / our_s, audio_s / their_s))
        same = same and found == expected
    ratios = [ours / funasr for ours, funasr in speeds]
    ours, funasr = (statistics.median(column) for column in zip(*speeds, strict=True))
    say(
        f"| {name} | {len(waveforms)} | {ours:,.0f} | {funasr:,.0f} "
        f"| {statistics.median(ratios):.1f} | {min(ratios):.1f}-{max(ratios):.1f} "
        f"| {sum(map(len, expected))}{'' if same else ', NOT THE SAME'} |"
    )
    return same


def parts(auto: Any, waveforms: list[np.ndarray], repeat: int) -> str:
    """How fast log-mel energies and the network are by themselves."""
    vad = FsmnVad(auto)
    whole = np.concatenate(waveforms)
    with torch.inference_mode():
        energies = vad._features.fbank([whole])[0][0]
        fbank_s = min(seconds(lambda: vad._features.fbank([whole]))[0] for _ in range(repeat))
        scores_s = min(
            seconds(lambda: vad._scores(energies, vad._scores.memory()))[0] for _ in range(repeat)
        )
    audio_s = len(whole) / SAMPLE_RATE_HZ
    return f"energies {audio_s / fbank_s:,.0f}x, scores {audio_s / scores_s:,.0f}x real time"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--model", type=Path, action="append", default=[])
    args = parser.parse_args()
    waveforms = recordings(args.minutes)
    with tempfile.TemporaryDirectory() as folder:
        models = {"embedded": model_folder("vad_model")}
        models["published, untrained"] = build_untrained_vad(Path(folder))
        models |= {path.name: path for path in args.model}
        loaded = {
            name: load_auto_model(str(path), "vad_model", device="cpu", ncpu=1)
            for name, path in models.items()
        }
    torch.set_num_threads(1)
    say("| model | recordings | ours, x real time | FunASR | ratio | least-most | segments |")
    say("|---|---|---|---|---|---|---|")
    same = True
    for name, auto in loaded.items():
        for audio in (waveforms, [np.concatenate(waveforms)]):
            same = compare(name, auto, audio, args.repeat) and same
    say()
    for name, auto in loaded.items():
        say(f"{name}: {parts(auto, waveforms, args.repeat)}")
    if not same:
        sys.exit("segments differ from FunASR's")


if __name__ == "__main__":
    main()
