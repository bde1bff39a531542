"""Encoded bytes → 16 kHz mono float32.

Owns decoding, mixing down, resampling, and saying why a recording cannot be decoded. Must not know
models or Ray. Never starts a process. Whatever the bytes are, memory and time are bounded: by the
length that a recording may have, and by the refusal of what a decoder would blow up.

libsndfile decodes WAV, FLAC and Vorbis, where it is up to six times faster. FFmpeg decodes the
rest: of MP3 libsndfile complains on the process's stderr, and in Opus it keeps the samples that
the header says to skip.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import soxr

from ray_asr.corpus.audio_blocks import Block, libsndfile_blocks, pcm16_blocks
from ray_asr.corpus.audio_ffmpeg import ffmpeg_blocks
from ray_asr.corpus.audio_headers import FLAC, MP3, MP3_SPARE_S, WAV, Header, read_header
from ray_asr.errors import ErrorCode, RowError
from ray_asr.schema import SAMPLE_RATE_HZ, Waveform

MAX_DURATION_S = 6 * 3600.0

_RATES_HZ = range(1_000, 768_001)
# What decoding may cost: a recording of more channels and higher rates counts as a longer one.
_MOST_SAMPLES_A_SECOND = 8 * 48_000
_MOST_RATE_CHANGES = 100  # each makes a new resampler
_LONGEST_S = 1e9  # a header that says more is not believed
# What a decoder may leave out of a promised length: encoder delay and padding of MP3.
_MISSING_ALLOWED_S = {FLAC: 0.0, MP3: MP3_SPARE_S}


class _Samples:
    """Blocks of a waveform: one block is the waveform as it is, copied nowhere."""

    def __init__(self) -> None:
        self._blocks: list[Waveform] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, block: Waveform) -> None:
        if len(block):
            self._blocks.append(block)
            self._count += len(block)

    def waveform(self) -> Waveform:
        if len(self._blocks) == 1:
            return self._blocks[0]
        return np.concatenate(self._blocks) if self._blocks else np.empty(0, np.float32)


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
        max_duration_s: a longer recording is refused, in seconds: before it is decoded, where its
            container says so in more than one place, and else once that much is decoded.

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
    if header.least_s > max_duration_s:
        raise _too_long(max_duration_s)
    try:
        yield from _pieces(header, piece_s, max_duration_s)
    except MemoryError as error:
        raise RowError(
            ErrorCode.OUT_OF_MEMORY, "the decoded audio does not fit the memory that is left."
        ) from error


def _pieces(header: Header, piece_s: float, max_duration_s: float) -> Iterator[Waveform]:
    samples, came = _Samples(), False
    for block in _at_16_khz(_checked(_blocks(header), header, max_duration_s)):
        samples.append(block)
        if len(samples) >= piece_s * SAMPLE_RATE_HZ:
            yield samples.waveform()
            samples, came = _Samples(), True
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
    if header.problem is not None:
        return None
    if header.duration_s is None or header.duration_s > _LONGEST_S:
        return None
    return round(header.duration_s * 1000)


def _blocks(header: Header) -> Iterator[Block]:
    if header.pcm16 is not None:
        return pcm16_blocks(header.pcm16, header.channels, header.sample_rate_hz)
    if header.kind in (WAV, FLAC) or header.codec == "vorbis":
        return libsndfile_blocks(header)
    return ffmpeg_blocks(header)


def _checked(blocks: Iterator[Block], header: Header, max_duration_s: float) -> Iterator[Block]:
    """The blocks mixed to one channel, each checked, and their sum checked at the end."""
    seconds, count, work = 0.0, 0, 0
    for rate, samples in blocks:
        if rate not in _RATES_HZ:
            raise RowError(ErrorCode.AUDIO_CORRUPT, f"a sampling rate of {rate} Hz is not speech.")
        seconds += len(samples) / rate
        count += len(samples)
        work += samples.size
        if seconds > max_duration_s:
            raise _too_long(max_duration_s)
        if work > max_duration_s * _MOST_SAMPLES_A_SECOND:
            raise RowError(
                ErrorCode.AUDIO_TOO_LONG,
                f"the audio has more than {work} samples in {samples.shape[1]} channels of {rate} "
                f"Hz; it may have as many as {max_duration_s:g} s of 8 channels of 48000 Hz.",
            )
        with np.errstate(over="ignore", invalid="ignore"):
            mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
        yield Block(rate, _within_full_scale(mono))
    if header.promised_samples is None:
        return
    missing = header.promised_samples - count
    if missing > _MISSING_ALLOWED_S[header.kind] * header.sample_rate_hz:
        raise RowError(
            ErrorCode.AUDIO_TRUNCATED,
            f"the {header.kind} header promises {header.promised_samples} samples and {count} are "
            "there.",
        )


def _within_full_scale(mono: Waveform) -> Waveform:
    """Samples clipped to [-1, 1]; themselves where they are within it already."""
    lowest, highest = mono.min(initial=0.0), mono.max(initial=0.0)  # NaN where there is one
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        raise RowError(ErrorCode.AUDIO_NON_FINITE, "the audio has NaN or infinite samples.")
    return mono if lowest >= -1.0 and highest <= 1.0 else np.clip(mono, -1.0, 1.0)


def _at_16_khz(blocks: Iterator[Block]) -> Iterator[Waveform]:
    """Resample block by block; a change of rate in the middle starts anew there."""
    resampler: soxr.ResampleStream | None = None
    current_hz, changes = SAMPLE_RATE_HZ, 0
    nothing: Waveform = np.empty(0, np.float32)
    for rate, mono in blocks:
        if rate != current_hz:
            changes += 1
            if changes > _MOST_RATE_CHANGES:
                raise RowError(
                    ErrorCode.AUDIO_CORRUPT, "the sampling rate changes more than 100 times."
                )
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


def _too_long(max_duration_s: float) -> RowError:
    return RowError(ErrorCode.AUDIO_TOO_LONG, f"the audio is longer than {max_duration_s:g} s.")
