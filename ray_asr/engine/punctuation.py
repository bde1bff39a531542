"""Punctuation of many texts in step, each of them as FunASR alone would have it.

Owns the batching of a CT-Transformer's forward passes. Must not know Ray, Parquet or audio.

FunASR walks one text in pieces of 20 words, and each piece begins behind the last full stop that
the piece before it found; what it makes of the marks is its own business and stays with it. Here
its `inference` runs for many texts at once, each in a thread that waits where it calls the model;
when all wait, one padded batch answers them.
"""

from __future__ import annotations

import queue
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

_MOST_TEXTS = 64


class LockstepPunctuation:
    """FunASR's punctuation for many texts.

    Args:
        auto: the `AutoModel` of a model that `supports` admits.
    """

    def __init__(self, auto: Any) -> None:
        self._model = auto.model
        self._options = auto.kwargs
        self._threads = ThreadPoolExecutor(_MOST_TEXTS, "punctuation")

    @staticmethod
    def supports(auto: Any) -> bool:
        """Whether the model is one whose `inference` waits for nothing but `punc_forward`."""
        return type(auto.model).__name__ == "CTTransformer"

    def __call__(self, texts: Sequence[str]) -> list[str]:
        """Each text with marks, in order; none of them blank. For use in `torch.inference_mode`."""
        by_length = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        punctuated = [""] * len(texts)
        for start in range(0, len(texts), _MOST_TEXTS):
            chosen = by_length[start : start + _MOST_TEXTS]
            for index, text in zip(chosen, self._in_step([texts[i] for i in chosen]), strict=True):
                punctuated[index] = text
        return punctuated

    def _in_step(self, texts: Sequence[str]) -> list[str]:
        asked: queue.SimpleQueue[_Seat | None] = queue.SimpleQueue()  # None: a text is done
        results = [self._threads.submit(self._one, t, _Seat(self._model, asked)) for t in texts]
        at_work = len(texts)
        while at_work:
            said = [asked.get() for _ in range(at_work)]
            waiting = [seat for seat in said if seat is not None]
            at_work = len(waiting)
            if waiting:
                self._answer(waiting)
        return [result.result() for result in results]

    def _answer(self, seats: Sequence[_Seat]) -> None:
        """One forward pass for all pieces; each seat gets its own scores `(1, T, marks)`."""
        import torch

        lengths = torch.cat([seat.length for seat in seats])
        pieces = [seat.piece[0] for seat in seats]
        padded = torch.nn.utils.rnn.pad_sequence(pieces, batch_first=True)
        try:
            scores, _ = self._model.punc_forward(padded, lengths)
        except (RuntimeError, MemoryError) as error:  # no text may wait for ever
            for seat in seats:
                seat.answer.set_exception(error)
            return
        for row, (seat, piece) in enumerate(zip(seats, pieces, strict=True)):
            seat.answer.set_result(scores[row : row + 1, : len(piece)])

    def _one(self, text: str, seat: _Seat) -> str:
        try:
            # FunASR fetches a text that begins like a URL; a blank in front keeps it a text.
            results = type(self._model).inference(
                seat, data_in=[f" {text}"], **{**self._options, "key": ["text"]}
            )
        finally:
            seat.leave()
        return str(results[0][0]["text"]).strip()


class _Seat:
    """What stands for the model in one text's `inference`: all of it but the forward pass."""

    def __init__(self, model: Any, asked: queue.SimpleQueue[_Seat | None]) -> None:
        self._model = model
        self._asked = asked
        self.piece: Any = None
        self.length: Any = None
        self.answer: Future[Any] = Future()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def punc_forward(self, text: Any, text_lengths: Any) -> tuple[Any, None]:
        """The scores of this text's piece `(1, T)`, once those of all other texts are asked for."""
        self.piece, self.length = text, text_lengths
        self.answer = Future()
        self._asked.put(self)
        return self.answer.result(), None

    def leave(self) -> None:
        """Say that this text needs nothing more."""
        self._asked.put(None)
