"""SenseVoice: one encoder pass and CTC for a whole batch, and word times by forced alignment.

Owns SenseVoice's queries and the alignment of its tokens to frames. Must not know Ray, Parquet or
audio.

Source of the queries, tokens and times: `SenseVoiceSmall.inference` of FunASR 1.4.16, which takes
the softmax of the whole batch again, and aligns on the device step by step, for each utterance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ray_asr.engine.tags import without_tags
from ray_asr.schema import Recognition, Word

_QUERIES = 4  # language, event, emotion and text norm stand in front of the frames
_UNKNOWN = 124  # the id FunASR gives to a piece that the tokenizer knows no id for
_FRAME_MS, _SHIFT_MS = 60, 30


@dataclass(frozen=True, slots=True)
class Aligned:
    """An utterance's text, and what its alignment needs.

    Attributes:
        pieces: the tokenizer's pieces of the text, without those of the queries.
        ids: their token ids, `(L,)`.
        scores: log-probabilities `(T, L + 1)` of blank and of each id.
    """

    text: str
    pieces: list[str]
    ids: list[int]
    scores: NDArray[np.float32]


class SenseVoiceRecognizer:
    """A batch of features to recognitions (see `recognizers.BatchRecognizer`)."""

    def __init__(
        self, model: Any, tokenizer: Any, options: Mapping[str, Any], language: str
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        language_id = model.lid_dict.get(language or options.get("language", "auto"), 0)
        norm = options.get("text_norm") or ("withitn" if options.get("use_itn") else "woitn")
        self._query_ids = [language_id, 1, 2, model.textnorm_dict[norm]]
        self._without_unknown_emotion = bool(options.get("ban_emo_unk", False))

    def forward(self, features: torch.Tensor, lengths: torch.Tensor) -> list[Aligned]:
        model = self._model
        queries = model.embed(torch.tensor([self._query_ids], device=features.device))
        speech = torch.cat([queries.expand(len(features), -1, -1).to(features), features], 1)
        frames = (lengths + _QUERIES).tolist()
        hidden, _ = model.encoder(speech, (lengths + _QUERIES).to(features.device))
        scores = model.ctc.log_softmax(hidden.float())
        if self._without_unknown_emotion:
            scores[:, :, model.emo_dict["unk"]] = -float("inf")
        best = scores.argmax(-1)
        host_best = best.cpu().numpy()
        texts = [self._read(host_best[i, :count]) for i, count in enumerate(frames)]
        wanted = [[model.blank_id, *ids] for _, _, ids in texts]
        # Where blank is the best, FunASR's alignment takes it for certain.
        scores[..., model.blank_id].masked_fill_(best == model.blank_id, 0.0)
        widest = max(map(len, wanted))
        columns = torch.tensor([ids + [model.blank_id] * (widest - len(ids)) for ids in wanted])
        columns = columns.to(scores.device)[:, None, :].expand(-1, scores.size(1), -1)
        chosen = scores.gather(2, columns).cpu().numpy()
        return [
            Aligned(text, pieces, ids, chosen[i, _QUERIES : frames[i], : len(ids) + 1])
            for i, (text, pieces, ids) in enumerate(texts)
        ]

    def _read(self, best: NDArray[np.int64]) -> tuple[str, list[str], list[int]]:
        """The text of an utterance's best path, its pieces and their ids."""
        changed = np.concatenate([[True], best[1:] != best[:-1]])
        tokens = best[changed & (best != self._model.blank_id)].tolist()
        text = self._tokenizer.decode(tokens)
        pieces = self._tokenizer.text2tokens(text)[_QUERIES:]
        ids = [
            token
            for of_piece in self._tokenizer.tokens2ids(pieces)
            for token in (of_piece or [_UNKNOWN])
        ]
        return text, pieces, ids

    def words(self, heard: list[Aligned]) -> list[Recognition]:
        paths = align([aligned.scores for aligned in heard], [aligned.ids for aligned in heard])
        return [
            without_tags(Recognition(aligned.text.strip(), tuple(_words(aligned.pieces, runs))))
            for aligned, runs in zip(heard, paths, strict=True)
        ]


def align(
    scores: Sequence[NDArray[np.float32]], ids: Sequence[Sequence[int]]
) -> list[list[tuple[int, int]]]:
    """The best CTC path of each utterance through its tokens, a batch in step.

    Args:
        scores: log-probabilities `(T, L + 1)` of blank and of each of the L tokens.
        ids: the L token ids; two alike in a row need a blank in between.

    Returns:
        First and last frame + 1 of each of the L tokens.
    """
    aligned: list[list[tuple[int, int]]] = [[] for _ in scores]
    chosen = [i for i, tokens in enumerate(ids) if tokens and len(scores[i])]
    if not chosen:
        return aligned
    longest = max(len(scores[i]) for i in chosen)
    states = 2 * max(len(ids[i]) for i in chosen) + 1
    # State 0, 2, 4... is blank, state 2k + 1 token k; two more in front can never be reached.
    emitted = np.full((longest, len(chosen), states), -np.inf, np.float32)
    may_skip = np.zeros((len(chosen), states), bool)
    for row, index in enumerate(chosen):
        frames, count = len(scores[index]), len(ids[index])
        emitted[:frames, row, 0 : 2 * count + 1 : 2] = scores[index][:, :1]
        emitted[:frames, row, 1 : 2 * count : 2] = scores[index][:, 1:]
        labels = np.zeros(states, np.int64)
        labels[1 : 2 * count : 2] = ids[index]
        may_skip[row, 2:] = labels[2:] != labels[:-2]
    best = np.full((len(chosen), states + 2), -np.inf, np.float32)
    best[:, 2:4] = emitted[0, :, :2]
    steps = np.zeros((longest, len(chosen), states), np.int8)
    reached = np.empty((longest, len(chosen), states), np.float32)
    reached[0] = best[:, 2:]
    for frame in range(1, longest):
        skipped = np.where(may_skip, best[:, :-2], -np.inf)
        options = np.stack([best[:, 2:], best[:, 1:-1], skipped])
        steps[frame] = options.argmax(0)
        best[:, 2:] = emitted[frame] + options.max(0)
        reached[frame] = best[:, 2:]
    for row, index in enumerate(chosen):
        frames, count = len(scores[index]), len(ids[index])
        ends = reached[frames - 1, row, 2 * count - 1 : 2 * count + 1]
        path = [2 * count - 1 + int(ends.argmax())]
        for frame in range(frames - 1, 0, -1):
            path.append(max(path[-1] - int(steps[frame, row, path[-1]]), 0))
        aligned[index] = _runs(path[::-1])
    return aligned


def _runs(path: Sequence[int]) -> list[tuple[int, int]]:
    """First frame and last frame + 1 of each stretch of a path in one token's state."""
    runs: list[tuple[int, int]] = []
    start = 0
    for state, group in groupby(path):
        end = start + len(list(group))
        if state % 2:
            runs.append((start, end))
        start = end
    return runs


def _words(pieces: Sequence[str], runs: Sequence[tuple[int, int]]) -> list[Word]:
    """Pieces joined to words with their times, as `SenseVoiceSmall.post` joins them."""
    if len(pieces) != len(runs):
        return []
    words: list[Word] = []
    previous: str | None = None
    for number, (piece, (start, end)) in enumerate(zip(pieces, runs, strict=True)):
        start_ms, end_ms = _ms(start), _ms(end)
        if piece == "▁":
            continue
        if number and piece.startswith("▁"):
            piece = piece[1:]
            words.append(Word(piece, start_ms, end_ms))
        elif number and _latin(previous) and _latin(piece) and words:
            piece = f"{previous}{piece}"
            words[-1] = Word(piece, words[-1].start_ms, end_ms)
        else:
            words.append(Word(piece, start_ms, end_ms))
        previous = piece
    return words


def _latin(piece: str | None) -> bool:
    return piece is not None and piece.isascii() and piece.isalpha()


def _ms(frame: int) -> int:
    # Through seconds, as FunASR goes: the rounding is a part of its result.
    return int(max((frame * _FRAME_MS - _SHIFT_MS) / 1000, 0) * 1000)
