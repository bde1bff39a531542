"""Stand-ins for what is slow: an engine without models, and inputs made on the spot.

`FakeEngine` satisfies `ray_asr.engine.protocol.Engine`. All that it says hangs on the waveform
alone, so that a test knows beforehand what a row's text must be.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from ray_asr.config import Config
from ray_asr.control.plan import ClusterResources, Node, Plan, make_plan
from ray_asr.corpus.rows import (
    ENCODED,
    ENCODED_NAME,
    ERROR_CODE,
    ERROR_MESSAGE,
    ID,
    ROW,
    UNIT,
    WAVEFORM,
)
from ray_asr.engine.protocol import Engine, Speakers
from ray_asr.engine.speakers import WindowedSpeakers
from ray_asr.errors import BatchTooLargeError, EngineFatalError, RowError
from ray_asr.job.worker import TranscribeWorker
from ray_asr.schema import (
    SAMPLE_RATE_HZ,
    Provenance,
    Recognition,
    Span,
    Transcript,
    Voices,
    Waveform,
    Word,
    transcripts_to_table,
)

FRAME = SAMPLE_RATE_HZ // 100  # 10 ms
LOUD = 0.01  # mean absolute level of a frame with speech in it
JOINED_MS = 100  # speech with shorter silence in between is one span

PROVENANCE = Provenance("fake", "1", "0123456789ab")


def tone(duration_s: float, level: float = 0.5, hz: float = 300.0) -> Waveform:
    """What the fake engine takes for speech; its text says how long and how loud it was."""
    times = np.arange(round(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return (level * np.sin(2 * np.pi * hz * times)).astype(np.float32)


def silence(duration_s: float) -> Waveform:
    return np.zeros(round(duration_s * SAMPLE_RATE_HZ), np.float32)


def joined(*waveforms: Waveform) -> Waveform:
    return np.concatenate(waveforms).astype(np.float32)


def level_of(waveform: Waveform) -> int:
    """Mean absolute level in thousandths, as it stands in the text."""
    return round(1000 * float(np.abs(waveform).mean())) if len(waveform) else 0


def text_of(waveform: Waveform) -> str:
    """What the fake engine recognizes: nothing where it is quiet."""
    if level_of(waveform) < 1000 * LOUD:
        return ""
    return f"speech of {len(waveform) * 1000 // SAMPLE_RATE_HZ} ms at level {level_of(waveform)}"


def voice_of(window: Waveform) -> Voices:
    """An embedding that says how high the tone in a window is, in hundreds of Hz up to 3 kHz."""
    loudest_hz = np.abs(np.fft.rfft(window)).argmax() * SAMPLE_RATE_HZ / len(window)
    voice = np.full(32, 0.01, np.float32)
    voice[round(float(loudest_hz) / 100)] = 1.0
    return voice


def punctuated_text(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}." if text else ""


class FakeEngine:
    """An engine of a few lines of numpy.

    Args:
        fails_on: recognizing a batch that holds such a waveform raises.
        fails_in_vad: detecting speech in such a waveform raises.
        fails_to_punctuate: punctuating a list that holds such a text raises.
        error: what is raised then; RuntimeError unless given.
        fails_on_batches: every batch of more than one waveform raises.
        dies_on: recognizing a batch that holds such a waveform raises EngineFatalError.
        hears_nothing: every recognized text is empty.
        tells_speakers: by how high the tones of a whole recording are.
        fails_to_tell: hearing the voice in such a waveform raises.
        heard_as: language, emotion and events of every waveform in which anything is heard.
        spans: given back by voice activity detection for every waveform, instead of its own.
        streams: whether it detects speech in recordings that come in pieces.
        fits_s: a batch of more padded seconds raises BatchTooLargeError.
    """

    precision = "fp32"

    def __init__(
        self,
        *,
        fails_on: Callable[[Waveform], bool] | None = None,
        fails_in_vad: Callable[[Waveform], bool] | None = None,
        fails_to_punctuate: Callable[[str], bool] | None = None,
        error: Exception | None = None,
        fails_on_batches: bool = False,
        dies_on: Callable[[Waveform], bool] | None = None,
        hears_nothing: bool = False,
        tells_speakers: bool = False,
        fails_to_tell: Callable[[Waveform], bool] | None = None,
        heard_as: tuple[str, str, tuple[str, ...]] = ("", "", ()),
        spans: Sequence[Span] | None = None,
        streams: bool = True,
        fits_s: float | None = None,
    ) -> None:
        self._streams = streams
        self._fits_s = fits_s
        self._fails_on = fails_on
        self._fails_in_vad = fails_in_vad
        self._fails_to_punctuate = fails_to_punctuate
        self._error = error or RuntimeError("the fake model broke")
        self._fails_on_batches = fails_on_batches
        self._dies_on = dies_on
        self._hears_nothing = hears_nothing
        self._tells_speakers = tells_speakers
        self._fails_to_tell = fails_to_tell
        self._heard_as = heard_as
        self._spans = spans
        self.loaded = 0
        self.memory_taken = 0.5
        self.batches_s: list[list[float]] = []  # seconds of each waveform of each call

    def load(self) -> None:
        self.loaded += 1

    def memory_share(self) -> float:
        return self.memory_taken

    def detect_speech(self, waveforms: Sequence[Waveform]) -> list[list[Span]]:
        return [self._detect(waveform) for waveform in waveforms]

    def speech_stream(self) -> FakeStream | None:
        return FakeStream(self) if self._streams else None

    def _detect(self, waveform: Waveform) -> list[Span]:
        if self._fails_in_vad and self._fails_in_vad(waveform):
            raise self._error
        if self._spans is not None:
            return list(self._spans)
        frames = waveform[: len(waveform) // FRAME * FRAME].reshape(-1, FRAME)
        spans: list[Span] = []
        for index in np.flatnonzero(np.abs(frames).mean(axis=1) > LOUD).tolist():
            start_ms = 10 * index
            if spans and start_ms - spans[-1].end_ms < JOINED_MS:
                spans[-1] = Span(spans[-1].start_ms, start_ms + 10)
            else:
                spans.append(Span(start_ms, start_ms + 10))
        return spans

    def speakers(self) -> Speakers | None:
        return WindowedSpeakers(self._embed, 0, 16) if self._tells_speakers else None

    def _embed(self, windows: Sequence[Waveform]) -> Voices:
        if self._fails_to_tell and any(self._fails_to_tell(window) for window in windows):
            raise self._error
        return np.stack([voice_of(window) for window in windows])

    def recognize(self, waveforms: Sequence[Waveform]) -> list[Recognition]:
        self.batches_s.append([len(waveform) / SAMPLE_RATE_HZ for waveform in waveforms])
        longest = max(len(waveform) for waveform in waveforms) / SAMPLE_RATE_HZ
        if self._fits_s is not None and len(waveforms) * longest > self._fits_s:
            raise BatchTooLargeError("the fake device is full.")
        if self._dies_on and any(self._dies_on(waveform) for waveform in waveforms):
            raise EngineFatalError("the fake device is gone.")
        if self._fails_on_batches and len(waveforms) > 1:
            raise self._error
        if self._fails_on and any(self._fails_on(waveform) for waveform in waveforms):
            raise self._error
        return [self._heard(waveform) for waveform in waveforms]

    def recognize_all(
        self, batches: Iterable[Sequence[Waveform]]
    ) -> Iterator[Callable[[], list[Recognition]]]:
        for batch in batches:
            yield partial(self.recognize, batch)

    def _heard(self, waveform: Waveform) -> Recognition:
        words = [] if self._hears_nothing else text_of(waveform).split()
        edges = np.linspace(0, len(waveform) * 1000 // SAMPLE_RATE_HZ, len(words) + 1)
        timed = zip(words, edges[:-1], edges[1:], strict=True)
        return Recognition(
            " ".join(words),
            tuple(Word(word, int(start), int(end)) for word, start, end in timed),
            *(self._heard_as if words else ()),
        )

    def punctuate(self, texts: Sequence[str]) -> list[str]:
        if self._fails_to_punctuate and any(self._fails_to_punctuate(text) for text in texts):
            raise self._error
        return [punctuated_text(text) for text in texts]


class FakeStream:
    """The spans of `FakeEngine.detect_speech`, each once it is known to have ended."""

    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine
        self._samples = silence(0)
        self._given = 0
        self.pieces_s: list[float] = []

    def accept(self, samples: Waveform, is_final: bool) -> list[Span]:
        self.pieces_s.append(len(samples) / SAMPLE_RATE_HZ)
        self._samples = joined(self._samples, samples)
        (spans,) = self._engine.detect_speech([self._samples])
        known_ms = len(self._samples) * 1000 // SAMPLE_RATE_HZ - JOINED_MS
        ended = [span for span in spans if is_final or span.end_ms < known_ms]
        new, self._given = ended[self._given :], len(ended)
        return new


def level_is(level: int) -> Callable[[Waveform], bool]:
    """Whether a waveform has this level in thousandths: picks rows out by how loud they are."""
    return lambda waveform: level_of(waveform) == level


def wav_bytes(
    waveform: np.ndarray, rate: int = SAMPLE_RATE_HZ, subtype: str = "PCM_16", kind: str = "WAV"
) -> bytes:
    """Encoded audio; `waveform` is `(T,)` or `(T, channels)`."""
    sink = io.BytesIO()
    soundfile.write(sink, waveform, rate, subtype=subtype, format=kind)
    return sink.getvalue()


def decoded_rows(
    cells: Mapping[str, Waveform | RowError], **extra: Sequence[Any] | pa.Array
) -> pa.Table:
    """Rows as they reach the worker: by id, a waveform or the error that decoding raised."""
    errors = [cell if isinstance(cell, RowError) else None for cell in cells.values()]
    waveforms = [None if isinstance(c, RowError) else c.tobytes() for c in cells.values()]
    columns: dict[str, Any] = {
        ID: pa.array(list(cells), pa.string()),
        WAVEFORM: pa.array(waveforms, pa.large_binary()),
        ENCODED: pa.nulls(len(cells), pa.large_binary()),
        ENCODED_NAME: pa.array([""] * len(cells), pa.string()),
        ERROR_CODE: pa.array([str(e.code) if e else "" for e in errors], pa.string()),
        ERROR_MESSAGE: pa.array([e.message if e else "" for e in errors], pa.string()),
    }
    return pa.table({**columns, **extra})


def transcript_rows(numbers: Sequence[tuple[int, int]], status: str = "ok") -> pa.Table:
    """Transcripts as they come back from the actors, for (unit, row) pairs; one second each."""
    transcripts = [
        Transcript(f"u{unit}-r{row}", status, text=f"text {unit} {row}", duration_ms=1000)
        for unit, row in numbers
    ]
    table = transcripts_to_table(transcripts, PROVENANCE)
    table = table.append_column("take", pa.array([100 * u + r for u, r in numbers], pa.int32()))
    table = table.append_column(UNIT, pa.array([unit for unit, _ in numbers], pa.int64()))
    return table.append_column(ROW, pa.array([row for _, row in numbers], pa.int64()))


def write_input(
    path: Path,
    audio: Sequence[Any] | pa.Array,
    *,
    ids: Sequence[Any] | None = None,
    row_group_size: int | None = None,
    **extra: Sequence[Any] | pa.Array,
) -> Path:
    """A Parquet file with `utterance_id`, `audio` and other columns; ids are `path-number`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = ids if ids is not None else [f"{path.stem}-{n}" for n in range(len(audio))]
    table = pa.table({"utterance_id": names, "audio": audio, **extra})
    pq.write_table(table, path, row_group_size=row_group_size)
    return path


def worker_of(engine: Engine, batch_size_s: float = 60.0, language: str = "en") -> TranscribeWorker:
    """A worker around `engine` as an actor would hold it."""
    return TranscribeWorker(lambda: engine, batch_size_s, language, PROVENANCE)


def transcribed(
    engine: Engine, cells: dict[str, Waveform | RowError], batch_size_s: float = 60.0
) -> dict[str, Transcript]:
    """Transcripts by id, after a look that they stand in the order of the rows."""
    transcripts = worker_of(engine, batch_size_s).transcribe(decoded_rows(cells))
    assert [transcript.utterance_id for transcript in transcripts] == list(cells)
    return {transcript.utterance_id: transcript for transcript in transcripts}


def heard(waveform: Waveform) -> str:
    return punctuated_text(text_of(waveform))


def planned(config: Config, cores: int = 2) -> Plan:
    """A plan for a cluster of one machine that is not there."""
    node = Node(ray_cpus=cores + 1, cores=cores, physical_cores=cores, numa_nodes=1, memory_gb=16.0)
    return make_plan(ClusterResources((node,), 1.0), None, config)
