"""Encoded bytes → what their headers promise: container, length, whether all of it is there.

Owns the recognition of containers and the walk over their chunks, pages and boxes; touches no
sample. Must not know models or Ray. Needed because decoders return the part of a cut file that
they have and say nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

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
_EBML, _SEGMENT, _INFO, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1549A966, 0x1F43B675
_TIMESTAMP_SCALE, _DURATION = 0x2AD7B1, 0x4489


@dataclass(frozen=True, slots=True)
class Header:
    """What is known of an encoded recording before a sample is decoded.

    Attributes:
        kind: the container, one of the constants above.
        data: the bytes without leading tags.
        duration_s: the length by the header; None where it does not say.
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
    promised_samples: int | None = None
    sample_rate_hz: int = 0
    codec: str = ""
    channels: int = 0
    pcm16: memoryview | None = None
    open_size_at: int | None = None
    problem: tuple[ErrorCode, str] | None = None


class _CutError(Exception):
    """The bytes end inside something that they began."""


class _BrokenError(Exception):
    """The container contradicts itself."""


def read_header(data: memoryview, path_hint: str = "") -> Header:
    """Recognise the container by its first bytes and walk it; never raises.

    Args:
        data: the whole encoded recording, one byte an item.
        path_hint: its name; the suffix `.g722` alone says that raw bytes are G.722.
    """
    if path_hint.lower().endswith(".g722"):
        return Header(G722, data, len(data) / G722_BYTES_PER_S)
    data = data[_id3_size(data) :]
    kind = _kind(data)
    walk = _WALKS.get(kind)
    if walk is None:
        return Header(kind, data)
    try:
        return walk(data)
    except (_CutError, struct.error):
        problem = (ErrorCode.AUDIO_TRUNCATED, f"the {kind} data ends before its header says.")
    except _BrokenError as error:
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
    position, bytes_per_s, size64 = 12, 0, None
    rate = channels = 0  # of 16-bit integers
    while True:
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
        raise _CutError
    duration_s = size / bytes_per_s if bytes_per_s else None
    if not channels or open_size_at is not None:
        return Header(WAV, data, duration_s, open_size_at=open_size_at)
    pcm16 = data[body : body + size - size % (2 * channels)]
    return Header(WAV, data, duration_s, sample_rate_hz=rate, channels=channels, pcm16=pcm16)


def _only_chunks(data: memoryview, position: int) -> bool:
    """Whether RIFF chunks fill the rest exactly: then a data chunk of size 0 is really empty."""
    while position + 8 <= len(data):
        tag, size = struct.unpack_from("<4sI", data, position)
        if not (tag.isascii() and tag.decode("ascii").isprintable()):
            return False
        position += 8 + size + (size & 1)
    return len(data) <= position <= len(data) + 1


def _flac(data: memoryview) -> Header:
    position = 4
    rate = total = 0
    while True:
        start = struct.unpack_from(">I", data, position)[0]
        kind, size = start >> 24 & 127, start & 0xFFFFFF
        if position == 4:
            if kind != 0 or size < 34:
                raise _BrokenError("its stream description is missing")
            packed = struct.unpack_from(">Q", data, position + 4 + 10)[0]
            rate, total = packed >> 44, packed & (1 << 36) - 1
        position += 4 + size
        if position > len(data):
            raise _CutError
        if start >> 31:
            break
    if not rate:
        raise _BrokenError("its sampling rate is 0")
    if not total:
        return Header(FLAC, data)
    return Header(FLAC, data, total / rate, total, rate)


def _ogg(data: memoryview) -> Header:
    codecs: dict[int, tuple[str, int, int]] = {}  # serial → codec, rate of its clock, first sample
    granules: dict[int, int] = {}
    running: set[int] = set()
    position = 0
    while position < len(data):
        if data[position : position + 4] != b"OggS":
            if codecs and not running:
                break  # what taggers leave behind the last page
            if len(data) - position < 4:
                raise _CutError
            raise _BrokenError("a page does not begin where the last one ends")
        flags, granule, serial = struct.unpack_from("<xBqI", data, position + 4)
        table = position + 27
        body = table + data[table - 1] if table <= len(data) else len(data) + 1
        end = body + sum(data[table:body])
        if end > len(data):
            raise _CutError
        if flags & 2:
            codecs[serial] = _ogg_codec(data[body:end])
            running.add(serial)
        if granule >= 0:
            granules[serial] = granule
        if flags & 4:
            running.discard(serial)
        position = end
    if running:
        raise _CutError
    if len(codecs) != 1:
        return Header(OGG, data)
    ((serial, (codec, clock_hz, first)),) = codecs.items()
    if not clock_hz:
        return Header(OGG, data)
    return Header(OGG, data, max(0, granules.get(serial, 0) - first) / clock_hz, codec=codec)


def _ogg_codec(packet: memoryview) -> tuple[str, int, int]:
    if packet[:8] == b"OpusHead":
        return "opus", 48_000, struct.unpack_from("<H", packet, 10)[0]
    if packet[:7] == b"\x01vorbis":
        return "vorbis", struct.unpack_from("<I", packet, 12)[0], 0
    return "", 0, 0


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
        raise _BrokenError("no frame begins it")
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
        raise _CutError
    return Header(MP3, data, frames * samples / rate, frames * samples, rate)


def _boxes(data: memoryview, position: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of the contents of each box between `position` and `stop`."""
    while position < stop:
        size, name = struct.unpack_from(">I4s", data, position)
        body = position + 8
        if size == 1:
            size = struct.unpack_from(">Q", data, body)[0]
            body += 8
        end = stop if size == 0 else position + size
        if end < body:
            raise _BrokenError("a box is smaller than its own header")
        yield name, body, end
        position = end


def _mp4(data: memoryview) -> Header:
    duration_s, names = None, set[bytes]()
    for name, body, end in _boxes(data, 0, len(data)):
        if end > len(data):
            raise _CutError
        names.add(name)
        if name == b"moov":
            duration_s = _mp4_duration_s(data, body, end)
    if b"moov" not in names or (duration_s and not names & {b"mdat", b"moof"}):
        raise _CutError
    return Header(MP4, data, duration_s or None)


def _mp4_duration_s(data: memoryview, start: int, stop: int) -> float | None:
    for name, body, _ in _boxes(data, start, stop):
        if name == b"mvhd":
            wide = data[body] == 1
            scale, duration = struct.unpack_from(
                ">IQ" if wide else ">II", data, body + (20 if wide else 12)
            )
            unknown = 0xFFFFFFFFFFFFFFFF if wide else 0xFFFFFFFF
            return duration / scale if scale and duration != unknown else None
    return None


def _vint(data: memoryview, position: int, *, keep_marker: bool) -> tuple[int, int]:
    """A number of Matroska and where it ends; all ones (an unknown size) is -1."""
    if position >= len(data):
        raise _CutError
    length = 9 - data[position].bit_length()
    if length > 8:
        raise _BrokenError("an element has no name")
    end = position + length
    if end > len(data):
        raise _CutError
    value = int.from_bytes(data[position:end], "big")
    if keep_marker:
        return value, end
    mask = (1 << 7 * length) - 1
    return (-1 if value & mask == mask else value & mask), end


def _webm(data: memoryview) -> Header:
    position, duration_s = 0, None
    while position < len(data):
        name, body = _vint(data, position, keep_marker=True)
        size, body = _vint(data, body, keep_marker=False)
        if size >= 0 and body + size > len(data):
            raise _CutError
        if name == _SEGMENT or (name == _CLUSTER and size < 0):
            position = body  # live recorders leave both sizes open: look at what is inside
            continue
        if size < 0:
            raise _BrokenError("an element has no size")
        if name == _INFO:
            duration_s = _webm_duration_s(data, body, body + size)
        position = body + size
    return Header(WEBM, data, duration_s)


def _webm_duration_s(data: memoryview, position: int, stop: int) -> float | None:
    scale_ns, ticks = 1_000_000, None
    while position < stop:
        name, body = _vint(data, position, keep_marker=True)
        size, body = _vint(data, body, keep_marker=False)
        position = body + max(size, 0)
        if name == _TIMESTAMP_SCALE:
            scale_ns = int.from_bytes(data[body:position], "big")
        elif name == _DURATION and size in (4, 8):
            ticks = struct.unpack_from(">f" if size == 4 else ">d", data, body)[0]
    return ticks * scale_ns / 1e9 if ticks is not None and 0 <= ticks < 1e15 else None


_WALKS = {WAV: _wav, FLAC: _flac, OGG: _ogg, MP3: _mp3, MP4: _mp4, WEBM: _webm}
