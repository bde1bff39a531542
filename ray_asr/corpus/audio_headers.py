"""Encoded bytes → what their headers promise: container, length, whether all of it is there.

Owns the recognition of containers and the walk over the chunks of WAV, FLAC and MP3; the others
have modules of their own. Touches no sample. Must not know models or Ray. Needed because decoders
return the part of a cut file that they have and say nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from ray_asr.corpus.audio_mp4 import mp4_extent
from ray_asr.corpus.audio_ogg import ogg_extent
from ray_asr.corpus.audio_parts import BrokenError, CutError, Extent, PartCount
from ray_asr.corpus.audio_webm import webm_extent
from ray_asr.errors import ErrorCode

WAV, FLAC, OGG, MP3, MP4, WEBM, ADTS, G722, UNKNOWN = (
    "wav",
    "flac",
    "ogg",
    "mp3",
    "mp4",
    "webm",
    "adts",
    "g722",
    "unknown",
)
G722_BYTES_PER_S = 8_000
MP3_SPARE_S = 0.25  # at most, of what an encoder adds in front and behind

# Recorders that cannot seek back leave a size at or near the largest value (sox 0x7ffff000).
_WAV_OPEN_END = 0x7FFFF000
_WAV_LINEAR = (1, 3, 0xFFFE)  # PCM, float, extensible: a frame is block_align bytes
_MP3_SEARCHED_BYTES = 65_536
_MP3_KBPS = {  # (is MPEG-1, layer) → kbit/s by index; Source: ISO 11172-3 and 13818-3
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MP3_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_MOST_TAGS = 100  # ID3 tags, one behind the other


@dataclass(frozen=True, slots=True)
class Header:
    """What is known of an encoded recording before a sample is decoded.

    Attributes:
        kind: the container, one of the constants above.
        data: the bytes without leading tags.
        duration_s: the length by the header; None where it does not say.
        least_s: the recording is at least so long, or damaged; 0 where that is not known.
        promised_samples: what the header promises to decode to, a channel; None where it makes no
            promise that a decoder can be held to.
        sample_rate_hz: of `promised_samples`.
        codec: of an Ogg file with one logical stream: "opus", "vorbis", or "" for anything else.
        channels: of `pcm16`.
        pcm16: the samples of a WAV of plain 16-bit integers, which need no decoder; None otherwise.
        open_size_at: offset of a WAV data size of 0 that stands for "until the end".
        problem: why the bytes cannot be whole, as code and sentence; None where nothing was found.
    """

    kind: str
    data: memoryview
    duration_s: float | None = None
    least_s: float = 0.0
    promised_samples: int | None = None
    sample_rate_hz: int = 0
    codec: str = ""
    channels: int = 0
    pcm16: memoryview | None = None
    open_size_at: int | None = None
    problem: tuple[ErrorCode, str] | None = None


def read_header(data: memoryview, path_hint: str = "") -> Header:
    """Recognise the container by its first bytes and walk it; never raises.

    Args:
        data: the whole encoded recording, one byte an item.
        path_hint: its name; the suffix `.g722` alone says that raw bytes are G.722.
    """
    if path_hint.lower().endswith(".g722"):
        seconds = len(data) / G722_BYTES_PER_S
        return Header(G722, data, seconds, seconds)
    tags = 0
    while size := _id3_size(data):
        data, tags = data[size:], tags + 1
        if tags > _MOST_TAGS:
            problem = (ErrorCode.AUDIO_CORRUPT, "the audio has more ID3 tags than a recording has.")
            return Header(UNKNOWN, data, problem=problem)
    kind = _kind(data)
    walk = _WALKS.get(kind)
    if walk is None:
        return Header(kind, data)
    try:
        return walk(data)
    except (CutError, struct.error):
        problem = (ErrorCode.AUDIO_TRUNCATED, f"the {kind} data ends before its header says.")
    except BrokenError as error:
        problem = (ErrorCode.AUDIO_CORRUPT, f"the {kind} data is damaged: {error}.")
    return Header(kind, data, problem=problem)


def _id3_size(data: memoryview) -> int:
    if len(data) < 10 or data[:3] != b"ID3":
        return 0
    size = (data[6] & 127) << 21 | (data[7] & 127) << 14 | (data[8] & 127) << 7 | data[9] & 127
    return min(len(data), 10 + size)


def _kind(data: memoryview) -> str:
    start = bytes(data[:12])
    if start[:4] in (b"RIFF", b"RF64") and start[8:12] in (b"WAVE", b""):
        return WAV
    magics = {b"fLaC": FLAC, b"OggS": OGG, b"\x1a\x45\xdf\xa3": WEBM}
    if start[:4] in magics:
        return magics[start[:4]]
    if start[4:8] in (b"ftyp", b"moov", b"mdat", b"moof", b"styp"):
        return MP4
    if len(start) > 1 and start[0] == 0xFF and start[1] & 0xF6 == 0xF0:
        return ADTS
    return MP3 if _first_mp3_frame(data) is not None else UNKNOWN


def _wav(data: memoryview) -> Header:
    position, bytes_per_s, size64, chunks = 12, 0, None, PartCount()
    rate = channels = 0  # of 16-bit integers
    while True:
        chunks.add()
        tag, size = struct.unpack_from("<4sI", data, position)
        body = position + 8
        if tag == b"data":
            break
        if tag == b"ds64":
            size64 = struct.unpack_from("<Q", data, body + 8)[0]
        if tag == b"fmt ":
            code, count, hz, mean_rate, align, bits = struct.unpack_from("<HHIIHH", data, body)
            bytes_per_s = hz * align if code in _WAV_LINEAR else mean_rate
            if code == 1 and bits == 16 and align == 2 * count and count:
                rate, channels = hz, count
        position = body + size + (size & 1)
    there = len(data) - body
    if size == 0xFFFFFFFF and size64 is not None:
        size = size64
    open_size_at = None
    if size == 0 and there and not _only_chunks(data, body):
        size, open_size_at = there, body - 4
    elif _WAV_OPEN_END <= size <= 0xFFFFFFFF and size > there:
        size = there
    if size > there:
        raise CutError
    duration_s = size / bytes_per_s if bytes_per_s else None
    if not channels or open_size_at is not None:
        return Header(WAV, data, duration_s, open_size_at=open_size_at)
    pcm16 = data[body : body + size - size % (2 * channels)]
    least_s = duration_s or 0.0
    return Header(
        WAV, data, duration_s, least_s, sample_rate_hz=rate, channels=channels, pcm16=pcm16
    )


def _only_chunks(data: memoryview, position: int) -> bool:
    """Whether RIFF chunks fill the rest exactly: then a data chunk of size 0 is really empty."""
    chunks = PartCount()
    while position + 8 <= len(data):
        chunks.add()
        tag, size = struct.unpack_from("<4sI", data, position)
        if not (tag.isascii() and tag.decode("ascii").isprintable()):
            return False
        position += 8 + size + (size & 1)
    return len(data) <= position <= len(data) + 1


def _flac(data: memoryview) -> Header:
    position = 4
    rate = total = 0
    blocks = PartCount()
    while True:
        blocks.add()
        start = struct.unpack_from(">I", data, position)[0]
        kind, size = start >> 24 & 127, start & 0xFFFFFF
        if position == 4:
            if kind != 0 or size < 34:
                raise BrokenError("its stream description is missing")
            packed = struct.unpack_from(">Q", data, position + 4 + 10)[0]
            rate, total = packed >> 44, packed & (1 << 36) - 1
        position += 4 + size
        if position > len(data):
            raise CutError
        if start >> 31:
            break
    if not rate:
        raise BrokenError("its sampling rate is 0")
    if not total:
        return Header(FLAC, data)
    return Header(FLAC, data, total / rate, total / rate, total, rate)


def _mp3_frame(data: memoryview, position: int) -> tuple[int, int, int] | None:
    """Bytes, samples a channel and rate of the frame at `position`; None where none begins."""
    if position + 4 > len(data):
        return None
    word = struct.unpack_from(">I", data, position)[0]
    version, layer = word >> 19 & 3, 4 - (word >> 17 & 3)
    kbps_index, rate_index, padding = word >> 12 & 15, word >> 10 & 3, word >> 9 & 1
    if word >> 21 != 0x7FF or version == 1 or layer not in (2, 3) or rate_index == 3:
        return None
    if kbps_index in (0, 15):
        return None
    rate = _MP3_RATES[version][rate_index]
    samples = 1152 if version == 3 or layer == 2 else 576
    size = samples // 8 * _MP3_KBPS[version == 3, layer][kbps_index] * 1000 // rate + padding
    return size, samples, rate


def _first_mp3_frame(data: memoryview) -> int | None:
    """Where the first of three frames in a row begins (or of as many as there are)."""
    head = bytes(data[:_MP3_SEARCHED_BYTES])
    candidate = head.find(b"\xff")
    while candidate >= 0:
        position, frames = candidate, 0
        while frames < 3 and position < len(data):
            frame = _mp3_frame(data, position)
            if frame is None:
                break
            frames, position = frames + 1, position + frame[0]
        # A file of one or two frames, the last of them cut, is MP3 if it begins with one.
        if frames == 3 or (frames and candidate == 0 and position >= len(data)):
            return candidate
        candidate = head.find(b"\xff", candidate + 1)
    return None


def _mp3(data: memoryview) -> Header:
    start = _first_mp3_frame(data) or 0
    frame = _mp3_frame(data, start)
    if frame is None:
        raise BrokenError("no frame begins it")
    size, samples, rate = frame
    is_mpeg1, is_mono = data[start + 1] >> 3 & 3 == 3, data[start + 3] >> 6 == 3
    tag = start + 4 + ((17 if is_mono else 32) if is_mpeg1 else (9 if is_mono else 17))
    if data[tag : tag + 4] not in (b"Xing", b"Info"):
        return Header(MP3, data, (len(data) - start) / size * samples / rate)
    flags = struct.unpack_from(">I", data, tag + 4)[0]
    if not flags & 1:
        return Header(MP3, data)
    frames = struct.unpack_from(">I", data, tag + 8)[0]
    if flags & 2 and struct.unpack_from(">I", data, tag + 12)[0] > len(data):
        raise CutError
    seconds = frames * samples / rate
    return Header(MP3, data, seconds, seconds - MP3_SPARE_S, frames * samples, rate)


def _walked(kind: str, extent_of: Callable[[memoryview], Extent]) -> Callable[[memoryview], Header]:
    def walk(data: memoryview) -> Header:
        extent = extent_of(data)
        return Header(kind, data, extent.duration_s, extent.least_s, codec=extent.codec)

    return walk


_WALKS: dict[str, Callable[[memoryview], Header]] = {
    WAV: _wav,
    FLAC: _flac,
    MP3: _mp3,
    OGG: _walked(OGG, ogg_extent),
    MP4: _walked(MP4, mp4_extent),
    WEBM: _walked(WEBM, webm_extent),
}
