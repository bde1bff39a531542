"""Cut the training prompts into words and say them in another order.

Owns where a word of a recording begins and ends, and what new utterances are made of. There are
only some 440 different training prompts, which a recognizer soon knows by heart: it then writes
the prompt that it knows instead of the words that are said. The held-out prompts take no part.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import jiwer
import numpy as np
import torch
from prompts import SAMPLE_RATE, Prompt, read_g722, trim
from train_asr import alignment, load_model

FRAME = 960  # samples from one frame of features to the next: 60 ms
HOP = 80
FADE = 80
# A recording that the aligning model does not understand cannot be cut by it.
MAX_WORD_ERRORS = 0.6


@dataclass(frozen=True)
class Cut:
    """One recording with its words: word `i` is `wave[bounds[i]:bounds[i + 1]]`."""

    wave: np.ndarray
    words: list[str]
    bounds: list[int]


def holds_any(words: str, phrases: list[str]) -> bool:
    """Whether `words` are one of `phrases`, or hold one of several words."""
    return any(
        words == phrase or (" " in phrase and f" {phrase} " in f" {words} ") for phrase in phrases
    )


def quietest(wave: np.ndarray, low: int, high: int) -> int:
    """The sample in `[low, high)` around which 10 ms of `wave` are quietest."""
    at = np.arange(low, max(high, low + 1), HOP)
    power = [float((wave[max(0, a - HOP) : a + HOP] ** 2).mean()) for a in at]
    return int(at[int(np.argmin(power))])


class Cutter:
    """Finds words in recordings with the CTC branch of a model in training."""

    def __init__(self, work: Path, weights: Path, frontend) -> None:
        self._model, self._pieces, (self._mean, self._std) = load_model(work, weights)
        self._frontend = frontend

    @torch.no_grad()
    def cut(self, prompt: Prompt) -> Cut | None:
        """`prompt` in words, or None where the model does not follow it."""
        wave, words = read_g722(prompt.path), prompt.words.split()
        if len(words) == 1:
            return Cut(trim(wave), words, [0, len(trim(wave))])
        features, lengths = self._frontend(torch.from_numpy(wave)[None], torch.tensor([len(wave)]))
        speech = (features - self._mean) / self._std
        log_probs = self._model.ctc.log_softmax(self._model.encode(speech, lengths)[0])[0].numpy()
        best = log_probs.argmax(-1).tolist()
        heard = self._pieces.decode([b for a, b in zip([0, *best], best) if a != b])
        by_word = [self._pieces.encode(word) for word in words]
        if jiwer.wer(prompt.words, heard) > MAX_WORD_ERRORS or not all(by_word):
            return None
        ids = [piece for pieces in by_word for piece in pieces]
        if len(ids) + sum(a == b for a, b in zip(ids, ids[1:])) > len(log_probs):
            return None
        owner = alignment(log_probs, np.array(ids))
        bounds, done = [0], 0
        for pieces in by_word[:-1]:
            done += len(pieces)
            last = int(np.flatnonzero(owner == done - 1)[-1])
            first = int(np.flatnonzero(owner == done)[0])
            bounds.append(quietest(wave, last * FRAME, first * FRAME + FRAME // 2))
        return Cut(wave, words, [*bounds, len(wave)])


class Splices:
    """Random utterances from the words of `cuts`."""

    def __init__(self, cuts: list[Cut]) -> None:
        self._cuts = cuts
        self._places: dict[str, list[tuple[Cut, int]]] = {}
        for cut in cuts:
            for at, word in enumerate(cut.words):
                self._places.setdefault(word, []).append((cut, at))
        self._vocabulary = sorted(self._places)

    def draw(self, rng: random.Random) -> tuple[np.ndarray, str]:
        """(waveform `(T,)`, words): one to seven runs of one to three words."""
        waves, words = [], []
        for _ in range(rng.choices(range(1, 8), (2, 2, 3, 3, 3, 2, 1))[0]):
            if rng.random() < 0.6:  # every word alike, else every recording alike
                cut, at = rng.choice(self._places[rng.choice(self._vocabulary)])
            else:
                cut = rng.choice(self._cuts)
                at = rng.randrange(len(cut.words))
            end = min(at + rng.choices((1, 2, 3), (5, 3, 2))[0], len(cut.words))
            wave = cut.wave[cut.bounds[at] : cut.bounds[end]].copy()
            fade = min(FADE, len(wave) // 2)
            if fade:
                wave[:fade] *= np.linspace(0, 1, fade, dtype=np.float32)
                wave[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
            waves.append(wave)
            words += cut.words[at:end]
            if rng.random() < 0.2:
                waves.append(np.zeros(int(rng.uniform(0.0, 0.2) * SAMPLE_RATE), np.float32))
        ends = [np.zeros(int(rng.uniform(0.0, 0.15) * SAMPLE_RATE), np.float32) for _ in "12"]
        return np.concatenate([ends[0], *waves, ends[1]]), " ".join(words)
