"""What the job asks of a speech engine, whichever it is.

Owns the contract. Must not know Ray, Parquet, or any engine. A second engine, or a stand-in for
tests, satisfies this protocol and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ray_asr.schema import Recognition, Span, Waveform


class Engine(Protocol):
    """Speech to text, in three steps that never lose a position.

    Every list that comes back has the length and the order of the list that went in. Nothing is
    matched by name. Waveforms are float32 mono `(T,)` at 16,000 Hz in [-1, 1].
    """

    def load(self) -> None:
        """Load the models.

        Raises:
            ConfigError: a model cannot be had as it was named.
            EngineFatalError: the device is missing, or a model is broken.
        """
        ...

    def detect_speech(self, waveform: Waveform) -> list[Span]:
        """The stretches of speech in `waveform`, in order; none where all is silent."""
        ...

    def recognize(self, waveforms: Sequence[Waveform]) -> list[Recognition]:
        """The words of each waveform, computed as one padded batch.

        A waveform in which nothing is recognized gives an empty text at its own position.
        """
        ...

    def punctuate(self, texts: Sequence[str]) -> list[str]:
        """Each text with punctuation marks; an empty text stays empty."""
        ...
