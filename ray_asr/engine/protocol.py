"""What the job asks of a speech engine, whichever it is.

Owns the contract. Must not know Ray, Parquet, or any engine. A second engine, or a stand-in for
tests, satisfies this protocol and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from ray_asr.schema import Recognition, Span, Turn, Voices, Waveform


class SpeechStream(Protocol):
    """Voice activity of one recording that comes in pieces."""

    def accept(self, samples: Waveform, is_final: bool) -> list[Span]:
        """The stretches of speech that this piece completed, on the recording's clock.

        Together those of all pieces are what `Engine.detect_speech` finds in the whole.
        """
        ...


class Speakers(Protocol):
    """Tells apart who speaks, a whole recording at a time."""

    def voices(self, waveforms: Sequence[Waveform]) -> list[Voices]:
        """How the voice is in each stretch of speech, whichever recordings they are of."""
        ...

    def turns(self, spans: Sequence[Span], voices: Sequence[Voices]) -> list[Turn]:
        """Who speaks when, in the order of time, of one recording's spans and their voices.

        Speakers are "0", "1" and so on, as they come in.
        """
        ...


class Engine(Protocol):
    """Speech to text, in three steps that never lose a position.

    Every list that comes back has the length and the order of the list that went in. Nothing is
    matched by name. Waveforms are float32 mono `(T,)` at 16,000 Hz in [-1, 1].
    """

    @property
    def precision(self) -> str:
        """What the recognizer computes in: `fp32`, `bf16`, `fp16` or `int8`; known once loaded."""
        ...

    def load(self) -> None:
        """Load the models.

        Raises:
            ConfigError: a model cannot be had as it was named.
            EngineFatalError: the device is missing, or a model is broken.
        """
        ...

    def memory_share(self) -> float:
        """How much of the memory that it computes in is taken, 0 to 1; loads no model."""
        ...

    def detect_speech(self, waveforms: Sequence[Waveform]) -> list[list[Span]]:
        """The stretches of speech in each waveform, in order; none where all is silent."""
        ...

    def speech_stream(self) -> SpeechStream | None:
        """`detect_speech` for a recording in pieces; None where the model takes it whole only."""
        ...

    def speakers(self) -> Speakers | None:
        """What tells speakers apart; None where no model for that was asked for."""
        ...

    def recognize(self, waveforms: Sequence[Waveform]) -> list[Recognition]:
        """The words of each waveform, computed as one padded batch.

        A waveform in which nothing is recognized gives an empty text at its own position.

        Raises:
            BatchTooLargeError: it does not fit the device's memory; smaller ones may.
            EngineFatalError: the device is dead.
        """
        ...

    def recognize_all(
        self, batches: Iterable[Sequence[Waveform]]
    ) -> Iterator[Callable[[], list[Recognition]]]:
        """`recognize` for many batches, each prepared while the one before it is computed.

        Yields:
            For each batch, in order, what to call for its result; it raises as `recognize` does.
        """
        ...

    def punctuate(self, texts: Sequence[str]) -> list[str]:
        """Each text with punctuation marks; an empty text stays empty."""
        ...
