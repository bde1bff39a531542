"""Features of everything the recognizer is trained and tested on, augmented, in files of one kind.

Owns the proportions of the training data. Reads the recordings and what `synthesize.py` left;
writes `<kind>.pt`: a list of (features `(T, 560)` float16 before normalisation, words).
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile as sf
import torch
from augment import augment
from funasr.frontends.wav_frontend import WavFrontend
from model_conf import FRONTEND
from prompts import (
    SAMPLE_RATE,
    Announcements,
    is_for_test,
    join,
    load_prompts,
    read_g722,
    split,
    trim,
)
from splice import Cutter, Splices, holds_any

PROMPT_VERSIONS = 10
ANNOUNCEMENTS = 4000
TEST_ANNOUNCEMENTS = 300
SPLICES = 9000
MAX_S = 20.0

Item = tuple[np.ndarray, str]


def recorded(rng: random.Random) -> Iterator[Item]:
    """Every training prompt, once as it is and several times augmented."""
    training, _ = split(load_prompts())
    for prompt in training:
        wave = read_g722(prompt.path)
        if len(wave) < MAX_S * SAMPLE_RATE:
            yield wave, prompt.words
            for _ in range(PROMPT_VERSIONS - 1):
                yield augment(trim(wave, rng.uniform(0.02, 0.25)), rng), prompt.words


def announced(rng: random.Random, count: int, test: bool) -> Iterator[Item]:
    """Assembled announcements, augmented for training and as they are for the test."""
    training, _ = split(load_prompts())
    grammar = Announcements(training)
    for _ in range(count):
        parts = grammar.draw(rng, test=test)
        wave = join([read_g722(part.path) for part in parts], rng)
        if not test:
            wave = augment(wave, rng)
        yield wave, " ".join(part.words for part in parts)


def spliced(rng: random.Random, count: int, work: Path, weights: Path) -> Iterator[Item]:
    """New utterances from the words of the training prompts, found by a model in training."""
    training, tested = split(load_prompts())
    cutter = Cutter(work, weights, WavFrontend(**FRONTEND))
    cuts = [cut for cut in map(cutter.cut, training) if cut]
    print(f"{len(cuts)} of {len(training)} prompts cut into words", flush=True)
    splices = Splices(cuts)
    for _ in range(count):
        wave, words = splices.draw(rng)
        if not is_for_test(words) and not holds_any(words, [p.words for p in tested]):
            yield augment(wave, rng), words


def held_out() -> Iterator[Item]:
    """The held-out prompts as they are."""
    for prompt in split(load_prompts())[1]:
        yield read_g722(prompt.path), prompt.words


def synthetic(manifest: Path, versions: int, rng: random.Random) -> Iterator[Item]:
    """Every synthetic sentence in `versions` augmentations."""
    for line in manifest.read_text().splitlines():
        item = json.loads(line)
        wave, _ = sf.read(item["path"], dtype="float32")
        for _ in range(versions):
            yield augment(wave, rng), item["words"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of synthesize.py, and for the results")
    parser.add_argument("kinds", nargs="+")
    parser.add_argument("--work", type=Path, help="folder of the training, for `spliced`")
    parser.add_argument("--weights", type=Path, help="weights that find the words, for `spliced`")
    parser.add_argument("--versions", type=int, default=2)
    parser.add_argument("--add", action="store_true", help="to what was made of a kind before")
    args = parser.parse_args()
    torch.set_num_threads(1)
    frontend = WavFrontend(**FRONTEND)
    for kind in args.kinds:
        rng, started = random.Random(kind), time.monotonic()
        items = {
            "recorded": lambda rng: recorded(rng),
            "spliced": lambda rng: spliced(rng, SPLICES, args.work, args.weights),
            "announced": lambda rng: announced(rng, ANNOUNCEMENTS, test=False),
            "test-announced": lambda rng: announced(rng, TEST_ANNOUNCEMENTS, test=True),
            "test-prompts": lambda rng: held_out(),
        }.get(
            kind, lambda rng, kind=kind: synthetic(args.data / f"{kind}.jsonl", args.versions, rng)
        )
        file = args.data / f"{kind}.pt"
        done, seconds = torch.load(file) if args.add else [], 0.0
        for wave, words in items(rng):
            if len(wave) < 0.2 * SAMPLE_RATE:
                continue
            features, _ = frontend(torch.from_numpy(wave)[None], torch.tensor([len(wave)]))
            done.append((features[0].half(), words))
            seconds += len(wave) / SAMPLE_RATE
        torch.save(done, file)
        print(f"{kind}: {len(done)} items, {seconds / 3600:.2f} h, "
              f"{time.monotonic() - started:.0f} s", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
