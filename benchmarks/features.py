"""How much sooner ray_asr computes the recognizer's features than FunASR does, on one core.

    python benchmarks/features.py [--minutes 10] [--repeat 5]

Shows the speed of `FeatureExtractor` on batches of 16 utterances of 2 to 10 s against FunASR's own
`WavFrontend` (kaldi-native-fbank), one utterance a call, with the embedded recognizer's settings,
and how far apart the features are. Both run in this process with one thread, by turns. Speeds are
seconds of audio for a second of CPU time, medians; ratios are taken within a repetition first.
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

import numpy as np
import torch
from vad import recordings, say, seconds

from ray_asr.demo import model_folder
from ray_asr.engine.features import FeatureExtractor
from ray_asr.engine.loading import load_auto_model
from ray_asr.schema import SAMPLE_RATE_HZ

BATCH = 16


def theirs(frontend: Any, waveforms: list[np.ndarray]) -> list[torch.Tensor]:
    found = []
    for waveform in waveforms:
        features, _ = frontend(torch.from_numpy(waveform)[None], torch.tensor([len(waveform)]))
        found.append(features[0])
    return found


def ours(extractor: FeatureExtractor, waveforms: list[np.ndarray]) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    for start in range(0, len(waveforms), BATCH):
        features, lengths = extractor(waveforms[start : start + BATCH])
        found += [row[:length] for row, length in zip(features, lengths.tolist(), strict=True)]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    waveforms = recordings(args.minutes)
    folder = str(model_folder("model"))
    frontend = load_auto_model(folder, "model", device="cpu", ncpu=1).kwargs["frontend"]
    extractor = FeatureExtractor(frontend)
    torch.set_num_threads(1)
    audio_s = sum(map(len, waveforms)) / SAMPLE_RATE_HZ
    ours(extractor, waveforms[:BATCH])
    speeds = []
    for _ in range(args.repeat):
        their_s, expected = seconds(lambda: theirs(frontend, waveforms))
        our_s, found = seconds(lambda: ours(extractor, waveforms))
        speeds.append((audio_s / our_s, audio_s / their_s))
    ratios = [own / funasr for own, funasr in speeds]
    own, funasr = (statistics.median(column) for column in zip(*speeds, strict=True))
    apart = max(float((a - b).abs().max()) for a, b in zip(found, expected, strict=True))
    say(f"ours {own:,.0f}x real time, FunASR's {funasr:,.0f}x: {statistics.median(ratios):.1f} "
        f"({min(ratios):.1f}-{max(ratios):.1f}); at most {apart:.1e} apart")  # fmt: skip


if __name__ == "__main__":
    main()
