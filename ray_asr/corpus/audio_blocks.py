"""Decoded blocks: what they are, and those of plain samples and of libsndfile.

Owns the bytes as a file to read, and the word on bytes that a decoder refuses. Must not know FFmpeg
(`audio_ffmpeg`), models or Ray.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import soundfile as sf

from ray_asr.corpus.audio_headers import UNKNOWN, Header
from ray_asr.errors import ErrorCode, RowError

# Of all channels together: most utterances are one block, which is not copied.
_BLOCK_SAMPLES = 262_144
# A decoder has so many seconds of CPU for the next samples (opening included).
_PATIENCE_S = 10.0


class Block(NamedTuple):
    """Decoded samples `(T, channels)` at the recording's own rate."""

    sample_rate_hz: int
    samples: npt.NDArray[np.float32]


class BytesFile(io.RawIOBase):
    """A memoryview as a file to read, without a copy of it; seeks outside of it are clamped.

    It ends early for a reader who reads on and on and makes nothing of it.
    """

    def __init__(self, data: memoryview) -> None:
        super().__init__()
        self._data = data
        self._position = 0
        self.is_given_up = False
        self.go_on()

    def go_on(self) -> None:
        """The reader has made something of what it read: its time begins anew."""
        self._thread = threading.get_ident()  # CPU time is a thread's own
        self._until_s = time.thread_time() + _PATIENCE_S

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to where the bytes are, and say where that is."""
        origins = {io.SEEK_CUR: self._position, io.SEEK_END: len(self._data)}
        self._position = min(max(0, origins.get(whence, 0) + offset), len(self._data))
        return self._position

    def tell(self) -> int:
        """Where it is."""
        return self._position

    def readinto(self, buffer: Any, /) -> int:  # its type, Buffer, is new in Python 3.12
        """Fill the buffer, as far as there are bytes, and say how far."""
        if self._thread != threading.get_ident():
            self.go_on()
        if self.is_given_up or time.thread_time() > self._until_s:
            self.is_given_up = True
            return 0
        found = self._data[self._position : self._position + len(buffer)]
        buffer[: len(found)] = found
        self._position += len(found)
        return len(found)

    def at_end(self) -> bool:
        """Whether everything has been read."""
        return self._position >= len(self._data)


def pcm16_blocks(data: memoryview, channels: int, rate: int) -> Iterator[Block]:
    """Plain 16-bit samples, scaled as libsndfile does, which takes longer to open a file."""
    values = np.frombuffer(data, "<i2").reshape(-1, channels)
    frames = max(1, _BLOCK_SAMPLES // channels)
    for start in range(0, len(values), frames):
        yield Block(rate, values[start : start + frames].astype(np.float32) * np.float32(2**-15))


def libsndfile_blocks(header: Header) -> Iterator[Block]:
    """What libsndfile makes of WAV, FLAC and Ogg Vorbis."""
    data = header.data
    if header.open_size_at is not None:  # libsndfile takes 0 at its word
        patched = bytearray(data)
        patched[header.open_size_at : header.open_size_at + 4] = b"\xff" * 4
        data = memoryview(patched)
    file = BytesFile(data)
    try:
        with sf.SoundFile(cast(BinaryIO, file)) as sound:
            frames = max(1, _BLOCK_SAMPLES // sound.channels)
            while len(samples := sound.read(frames, dtype="float32", always_2d=True)):
                yield Block(sound.samplerate, np.asarray(samples, np.float32))
                if len(samples) < frames:  # it ended there
                    return
                file.go_on()
    except sf.SoundFileError as error:
        if file.is_given_up:
            raise no_progress(header) from error
        if header.promised_samples is not None and file.at_end():
            raise RowError(
                ErrorCode.AUDIO_TRUNCATED, f"the {header.kind} data ends before its header says."
            ) from error
        raise corrupt(header) from error


def no_progress(header: Header) -> RowError:
    """What is said of bytes that a decoder goes through on and on."""
    what = "" if header.kind == UNKNOWN else f"{header.kind} "
    return RowError(
        ErrorCode.AUDIO_CORRUPT, f"no samples came of the {what}data in {_PATIENCE_S:g} s of work."
    )


def corrupt(header: Header) -> RowError:
    """What is said of bytes that a decoder refuses."""
    if header.kind == UNKNOWN:
        return RowError(ErrorCode.AUDIO_NOT_AUDIO, "the bytes are no audio format that is known.")
    return RowError(ErrorCode.AUDIO_CORRUPT, f"the {header.kind} data cannot be decoded.")
