"""Encoded bytes → 16 kHz mono float32.

Owns decoding, mixing down, resampling, and saying why a recording cannot be decoded. Must not know
models or Ray. Never starts a process and never lets FFmpeg open anything but the given bytes: of
the formats it would recognise by itself, playlists would make it fetch other files.

libsndfile decodes WAV, FLAC and Vorbis, where it is up to six times faster. FFmpeg decodes the
rest: of MP3 libsndfile complains on the process's stderr, and in Opus it keeps the samples that
the header says to skip.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple, cast

import av
import av.container
import av.error
import numpy as np
import numpy.typing as npt
import soundfile as sf
import soxr

from ray_asr.corpus.audio_headers import (
    ADTS,
    FLAC,
    G722,
    MP3,
    MP4,
    OGG,
    UNKNOWN,
    WAV,
    WEBM,
    Header,
    read_header,
)
from ray_asr.errors import ErrorCode, RowError
from ray_asr.schema import SAMPLE_RATE_HZ, Waveform

MAX_DURATION_S = 6 * 3600.0

_BLOCK_SAMPLES = 65_536  # of all channels together
_RATES_HZ = range(1_000, 768_001)
# What a decoder may leave out of a promised length: encoder delay and padding of MP3.
_MISSING_ALLOWED_S = {FLAC: 0.0, MP3: 0.25}
# Refused packets are junk between frames in formats that have no container around them.
_REFUSED_ALLOWED = {MP3: 0.05, ADTS: 0.05}
_FFMPEG_NAMES = {OGG: "ogg", MP3: "mp3", MP4: "mov", WEBM: "matroska", ADTS: "aac", G722: "g722"}
# What FFmpeg may take unknown bytes for. Images are there to be told from noise.
_FFMPEG_GUESSES = (
    "ac3,aiff,amr,ape,asf,au,avi,caf,dsf,eac3,flv,mpeg,mpegts,tta,voc,w64,wv,"
    "bmp_pipe,gif,gif_pipe,jpeg_pipe,png_pipe,tiff_pipe,webp_pipe"
)
_INTEGER_SCALES = {"u8": 2.0**7, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63}


class _Block(NamedTuple):
    """Decoded samples `(T, channels)` at the recording's own rate."""

    sample_rate_hz: int
    samples: npt.NDArray[np.float32]


class _BytesFile(io.RawIOBase):
    """A memoryview as a file to read, without a copy of it; seeks outside of it are clamped."""

    def __init__(self, data: memoryview) -> None:
        super().__init__()
        self._data = data
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        origins = {io.SEEK_CUR: self._position, io.SEEK_END: len(self._data)}
        self._position = min(max(0, origins.get(whence, 0) + offset), len(self._data))
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any, /) -> int:  # its type, Buffer, is new in Python 3.12
        found = self._data[self._position : self._position + len(buffer)]
        buffer[: len(found)] = found
        self._position += len(found)
        return len(found)

    def at_end(self) -> bool:
        """Whether everything has been read."""
        return self._position >= len(self._data)


class _Samples:
    """A waveform that grows in place.

    Args:
        expected_s: how long it may become, in seconds, as far as its header says.
    """

    def __init__(self, expected_s: float | None) -> None:
        room_s = 30.0 if expected_s is None else max(0.0, min(30.0, expected_s))
        self._buffer: Waveform = np.empty(int(room_s * SAMPLE_RATE_HZ) + 1, np.float32)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, block: Waveform) -> None:
        end = self._count + len(block)
        if end > len(self._buffer):
            self._buffer.resize(max(end, 2 * len(self._buffer)), refcheck=False)
        self._buffer[self._count : end] = block
        self._count = end

    def waveform(self) -> Waveform:
        self._buffer.resize(self._count, refcheck=False)
        return self._buffer


def decode(
    data: bytes | bytearray | memoryview,
    *,
    path_hint: str = "",
    max_duration_s: float = MAX_DURATION_S,
) -> Waveform:
    """Decode one recording.

    Channels are averaged. Samples beyond full scale, of float files or from resampling, are
    clipped. A media file without sound, an image too, is `AUDIO_NO_STREAM`; bytes that nothing
    recognises are `AUDIO_NOT_AUDIO`.

    Args:
        data: WAV, FLAC, MP3, Ogg (Opus, Vorbis), MP4/M4A, WebM, ADTS AAC or raw G.722 (and what
            else FFmpeg finds); anything with a buffer, read without a copy.
        path_hint: the recording's name; only its suffix counts, and only `.g722`.
        max_duration_s: a longer recording is refused as soon as that much is decoded, in seconds.

    Returns:
        `(T,)` at 16,000 Hz in [-1, 1]; never empty.

    Raises:
        RowError: the one exception for any bytes; its code says what is wrong with them.
    """
    (waveform,) = decode_pieces(data, math.inf, path_hint=path_hint, max_duration_s=max_duration_s)
    return waveform


def decode_pieces(
    data: bytes | bytearray | memoryview,
    piece_s: float,
    *,
    path_hint: str = "",
    max_duration_s: float = MAX_DURATION_S,
) -> Iterator[Waveform]:
    """`decode`, a piece at a time: memory is bounded by a piece, whatever the recording's length.

    Args:
        data: as for `decode`.
        piece_s: the least length of a piece but the last, in seconds; pieces are at most a block
            of the decoder longer.
        path_hint: as for `decode`.
        max_duration_s: as for `decode`.

    Yields:
        `(T,)` at 16,000 Hz in [-1, 1]; one piece at least, none of them empty.

    Raises:
        RowError: as `decode`, once the damage is reached.
    """
    view = memoryview(data).cast("B")
    if not len(view):
        raise RowError(ErrorCode.AUDIO_EMPTY, "the audio has no bytes.")
    header = read_header(view, path_hint)
    if header.problem is not None:
        raise RowError(*header.problem)
    samples, came = _Samples(header.duration_s), False
    for block in _at_16_khz(_checked(_blocks(header), header, max_duration_s)):
        samples.append(block)
        if len(samples) >= piece_s * SAMPLE_RATE_HZ:
            yield samples.waveform()
            samples, came = _Samples(None), True
    last = samples.waveform()
    if len(last):
        yield last
    elif not came:
        raise RowError(ErrorCode.AUDIO_EMPTY, f"the {header.kind} audio holds no samples.")


def duration_ms(data: bytes | bytearray | memoryview, *, path_hint: str = "") -> int | None:
    """The length of a recording by its header, in milliseconds; None where the header is silent.

    Decodes nothing and never raises; a damaged or cut recording is None too.
    """
    header = read_header(memoryview(data).cast("B"), path_hint)
    if header.duration_s is None or header.problem is not None:
        return None
    return round(header.duration_s * 1000)


def _blocks(header: Header) -> Iterator[_Block]:
    if header.pcm16 is not None:
        return _pcm16_blocks(header.pcm16, header.channels, header.sample_rate_hz)
    if header.kind in (WAV, FLAC) or header.codec == "vorbis":
        return _libsndfile_blocks(header)
    return _ffmpeg_blocks(header)


def _checked(blocks: Iterator[_Block], header: Header, max_duration_s: float) -> Iterator[_Block]:
    """The blocks mixed to one channel, each checked, and their sum checked at the end."""
    seconds, count = 0.0, 0
    for rate, samples in blocks:
        if rate not in _RATES_HZ:
            raise RowError(ErrorCode.AUDIO_CORRUPT, f"a sampling rate of {rate} Hz is not speech.")
        seconds += len(samples) / rate
        count += len(samples)
        if seconds > max_duration_s:
            raise RowError(
                ErrorCode.AUDIO_TOO_LONG, f"the audio is longer than {max_duration_s:g} s."
            )
        with np.errstate(over="ignore", invalid="ignore"):
            mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
        if not np.isfinite(mono).all():
            raise RowError(ErrorCode.AUDIO_NON_FINITE, "the audio has NaN or infinite samples.")
        yield _Block(rate, np.clip(mono, -1.0, 1.0))
    if header.promised_samples is None:
        return
    missing = header.promised_samples - count
    if missing > _MISSING_ALLOWED_S[header.kind] * header.sample_rate_hz:
        raise RowError(
            ErrorCode.AUDIO_TRUNCATED,
            f"the {header.kind} header promises {header.promised_samples} samples and {count} are "
            "there.",
        )


def _at_16_khz(blocks: Iterator[_Block]) -> Iterator[Waveform]:
    """Resample block by block; a change of rate in the middle starts anew there."""
    resampler: soxr.ResampleStream | None = None
    current_hz = SAMPLE_RATE_HZ
    nothing: Waveform = np.empty(0, np.float32)
    for rate, mono in blocks:
        if rate != current_hz:
            if resampler is not None:
                yield np.clip(resampler.resample_chunk(nothing, last=True), -1.0, 1.0)
            current_hz, resampler = rate, None
            if rate != SAMPLE_RATE_HZ:
                resampler = soxr.ResampleStream(rate, SAMPLE_RATE_HZ, 1, dtype="float32")
        if resampler is None:
            yield mono
        else:
            yield np.clip(resampler.resample_chunk(mono), -1.0, 1.0)
    if resampler is not None:
        yield np.clip(resampler.resample_chunk(nothing, last=True), -1.0, 1.0)


def _pcm16_blocks(data: memoryview, channels: int, rate: int) -> Iterator[_Block]:
    """Plain 16-bit samples, scaled as libsndfile does, which takes longer to open a file."""
    values = np.frombuffer(data, "<i2").reshape(-1, channels)
    frames = max(1, _BLOCK_SAMPLES // channels)
    for start in range(0, len(values), frames):
        yield _Block(rate, values[start : start + frames].astype(np.float32) * np.float32(2**-15))


def _libsndfile_blocks(header: Header) -> Iterator[_Block]:
    data = header.data
    if header.open_size_at is not None:  # libsndfile takes 0 at its word
        patched = bytearray(data)
        patched[header.open_size_at : header.open_size_at + 4] = b"\xff" * 4
        data = memoryview(patched)
    file = _BytesFile(data)
    try:
        with sf.SoundFile(cast(BinaryIO, file)) as sound:
            frames = max(1, _BLOCK_SAMPLES // sound.channels)
            while len(samples := sound.read(frames, dtype="float32", always_2d=True)):
                yield _Block(sound.samplerate, np.asarray(samples, np.float32))
    except sf.SoundFileError as error:
        if header.promised_samples is not None and file.at_end():
            raise RowError(
                ErrorCode.AUDIO_TRUNCATED, f"the {header.kind} data ends before its header says."
            ) from error
        raise _corrupt(header) from error


def _ffmpeg_blocks(header: Header) -> Iterator[_Block]:
    options = {"format_whitelist": _FFMPEG_GUESSES} if header.kind == UNKNOWN else {}
    try:
        with av.open(
            _BytesFile(header.data),
            format=_FFMPEG_NAMES.get(header.kind),
            options=options,
            metadata_errors="ignore",
        ) as container:
            yield from _ffmpeg_stream_blocks(container, header)
    # PyAV raises ValueError itself where FFmpeg hands it something it has no name for.
    except (av.error.FFmpegError, ValueError) as error:
        raise _corrupt(header) from error


def _ffmpeg_stream_blocks(
    container: av.container.InputContainer, header: Header
) -> Iterator[_Block]:
    stream = container.streams.best("audio")
    if not isinstance(stream, av.AudioStream):
        raise RowError(ErrorCode.AUDIO_NO_STREAM, "the media file has no audio stream.")
    if stream.codec_context is None:
        raise _corrupt(header)
    stream.codec_context.thread_count = 1  # a task decodes on the one core that it was given
    refused = packets = 0
    last_error: av.error.InvalidDataError | None = None
    for packet in container.demux(stream):
        packets += 1
        try:
            frames = packet.decode()
        except av.error.InvalidDataError as error:
            refused, last_error = refused + 1, error
            continue
        for frame in frames:
            if isinstance(frame, av.AudioFrame) and frame.samples:
                yield _Block(frame.sample_rate, _frame_samples(frame))
    if refused > math.ceil(packets * _REFUSED_ALLOWED.get(header.kind, 0.0)):
        raise _corrupt(header) from last_error


def _frame_samples(frame: av.AudioFrame) -> npt.NDArray[np.float32]:
    """A frame's samples `(T, channels)`, integers scaled to [-1, 1)."""
    values = frame.to_ndarray()
    layout = frame.format
    values = values.T if layout.is_planar else values.reshape(-1, frame.layout.nb_channels)
    samples = values.astype(np.float32)
    name = layout.packed.name
    if name in _INTEGER_SCALES:
        if name == "u8":
            samples -= 128.0
        samples /= _INTEGER_SCALES[name]
    return samples


def _corrupt(header: Header) -> RowError:
    if header.kind == UNKNOWN:
        return RowError(ErrorCode.AUDIO_NOT_AUDIO, "the bytes are no audio format that is known.")
    return RowError(ErrorCode.AUDIO_CORRUPT, f"the {header.kind} data cannot be decoded.")
