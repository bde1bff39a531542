"""Files built by hand to do harm: headers that state the impossible, little that becomes much."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from functools import cache

import numpy as np
import soundfile

from tests.faults.hostile_sources import RATE, encoded, ogg_pages, ogg_sum, source, tone, video


def wav(
    samples: bytes,
    *,
    rate: int = RATE,
    channels: int = 1,
    bits: int = 16,
    tag: int = 1,
    claimed: int | None = None,
    align: int | None = None,
    more: bytes = b"",
) -> bytes:
    """A WAV whose header says what it is told to say, possible or not."""
    align = channels * bits // 8 if align is None else align
    size = len(samples) if claimed is None else claimed
    head = struct.pack(
        "<HHIIHH", tag & 0xFFFF, channels & 0xFFFF, rate & 0xFFFFFFFF,
        rate * align & 0xFFFFFFFF, align & 0xFFFF, bits & 0xFFFF,
    )  # fmt: skip
    chunks = b"fmt " + struct.pack("<I", 16) + head + more
    chunks += b"data" + struct.pack("<I", size & 0xFFFFFFFF) + samples
    return b"RIFF" + struct.pack("<I", min(4 + len(chunks), 2**32 - 1)) + b"WAVE" + chunks


def flac_of_zeros(
    seconds: float, rate: int = RATE, channels: int = 1, *, says: int | None = None
) -> bytes:
    """Silence as FLAC, a few bytes for each 4,096 samples; `says` is the length that it states."""
    sink = io.BytesIO()
    block = np.zeros((rate, channels), np.int16)
    with soundfile.SoundFile(sink, "w", rate, channels, "PCM_16", format="FLAC") as file:
        for _ in range(int(seconds)):
            file.write(block)
        file.write(block[: round(rate * (seconds - int(seconds)))])
    data = bytearray(sink.getvalue())
    if says is not None:
        packed = struct.unpack_from(">Q", data, 18)[0] & ~(2**36 - 1) | says
        data[18:26] = struct.pack(">Q", packed)
    return bytes(data)


def ogg_page(body: bytes, granule: int, number: int, *, flags: int = 0, serial: int = 9) -> bytes:
    """A page that holds whole packets of at most 254 bytes each, or one packet."""
    lacing = b"\xff" * (len(body) // 255) + bytes([len(body) % 255])
    return ogg_page_of(lacing, body, granule, number, flags=flags, serial=serial)


def ogg_page_of(
    lacing: bytes, body: bytes, granule: int, number: int, *, flags: int = 0, serial: int = 9
) -> bytes:
    head = b"OggS\0" + struct.pack("<BqIII", flags, granule, serial, number, 0)
    page = bytearray(head + bytes([len(lacing)]) + lacing + body)
    page[22:26] = struct.pack("<I", ogg_sum(bytes(page)))
    return bytes(page)


_OPUS_HEAD = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, 312, 48_000, 0, 0)


def opus_of_silence(hours: float, *, ends: bool = True) -> bytes:
    """Opus whose packets are one byte each: two bytes for 60 ms that nobody said anything in."""
    pages = [
        ogg_page(_OPUS_HEAD, 0, 0, flags=2),
        ogg_page(b"OpusTags" + struct.pack("<I1sI", 1, b"x", 0), 0, 1),
    ]
    each = 255
    count = round(hours * 3600 / 0.06 / each)
    for number in range(count):
        flags = 4 if ends and number == count - 1 else 0
        granule = (number + 1) * each * 2_880
        pages.append(ogg_page_of(b"\x01" * each, b"\x18" * each, granule, number + 2, flags=flags))
    return b"".join(pages)


def opus_with_comments(count: int) -> bytes:
    """A short Opus file under so many comments of different names."""
    body = b"OpusTags" + struct.pack("<I1sI", 1, b"x", count)
    body += b"".join(
        struct.pack("<I", len(text)) + text for n in range(count) for text in [b"k%d=v" % n]
    )
    data, pages, most = source("opus.ogg"), [], 255 * 255
    serial = struct.unpack_from("<I", data, 14)[0]
    for start in range(0, len(body), most):
        part, is_last = body[start : start + most], start + most >= len(body)
        lacing = b"\xff" * (len(part) // 255) + (bytes([len(part) % 255]) if is_last else b"")
        granule, flags = (0 if is_last else -1), int(start > 0)
        number = 1 + len(pages)
        pages.append(ogg_page_of(lacing, part, granule, number, flags=flags, serial=serial))
    (_, head_end), _, *sound = ogg_pages(data)
    return data[:head_end] + b"".join(pages) + b"".join(data[start:end] for start, end in sound)


def ogg_of_streams(count: int) -> bytes:
    """So many logical streams, none of which ends."""
    return b"".join(ogg_page(_OPUS_HEAD, 0, 0, flags=2, serial=n) for n in range(count))


def box(name: bytes, *contents: bytes) -> bytes:
    """An MP4 box."""
    body = b"".join(contents)
    return struct.pack(">I4s", 8 + len(body), name) + body


def full(*numbers: int) -> bytes:
    """Version and flags of a box, and 32-bit numbers behind them."""
    return struct.pack(f">{1 + len(numbers)}I", 0, *(number & 0xFFFFFFFF for number in numbers))


def movie(
    *,
    stsz: Sequence[int] = (1, 16),
    stts: Sequence[int] = (1, 16, 1024),
    handler: bytes = b"soun",
    edits: int = 0,
    tracks: int = 1,
    fragments: Sequence[bytes] = (),
    seconds: int = 1,
    elsewhere: bytes = b"",
) -> bytes:
    """An MP4 of AAC whose tables say what they are told to say."""
    config = bytes.fromhex("0000000003190001000411401500000000000000000000000005021408060102")
    entry = box(
        b"mp4a", bytes(6), struct.pack(">HQHHHHI", 1, 0, 1, 16, 0, 0, RATE << 16),
        box(b"esds", config),
    )  # fmt: skip
    table = box(
        b"stbl", box(b"stsd", full(1), entry), box(b"stts", full(*stts)),
        box(b"stsc", full(1, 1, 2**31 - 1 if stsz[1] > 1000 else stsz[1], 1)),
        box(b"stsz", full(*stsz)), box(b"stco", full(1, 40)),
    )  # fmt: skip
    each = struct.pack(">III", seconds * 1000, 0, 2**16)
    edit = box(b"edts", box(b"elst", full(edits), each * edits)) if edits else b""
    media = box(
        b"mdia", box(b"mdhd", full(0, 0, RATE, seconds * RATE, 0)),
        box(b"hdlr", full(0), handler, bytes(13)),
        box(b"minf", box(b"smhd", full(0)), elsewhere, table),
    )  # fmt: skip
    track = box(b"trak", box(b"tkhd", full(0, 0, 1, 0, seconds * 1000), bytes(60)), edit, media)
    head = box(b"mvhd", full(0, 0, 1000, seconds * 1000, 0x10000), bytes(76))
    extends = box(b"mvex", box(b"trex", full(1, 1, 1024, 0, 0))) if fragments else b""
    moov = box(b"moov", head, track * tracks, extends)
    return (
        box(b"ftyp", b"isom", full(0)[:4], b"isom")
        + moov
        + box(b"mdat", bytes(64))
        + b"".join(fragments)
    )


def movie_elsewhere(path: bytes) -> bytes:
    """An MP4 that says that its samples are in another file."""
    alias = bytes(10) + b"\x01v" + bytes(26 + 12) + b"\x01f" + bytes(62 + 16)
    alias += struct.pack(">hh", 1, 1) + bytes(16)
    alias += struct.pack(">HH", 2, len(path)) + path + bytes(len(path) & 1) + b"\xff\xff\0\0"
    reference = box(b"dref", full(1), box(b"alis", bytes(4), alias))
    return movie(elsewhere=box(b"dinf", reference))


def fragment(count: int, flags: int = 0) -> bytes:
    """A fragment of so many samples, each of which takes no byte."""
    run = struct.pack(">II", flags, count)
    return box(
        b"moof", box(b"mfhd", full(1)),
        box(b"traf", box(b"tfhd", struct.pack(">II", 0x020000, 1)), box(b"trun", run)),
    ) + box(b"mdat", bytes(16))  # fmt: skip


def compressed_movie(megabytes: int) -> bytes:
    """A movie whose index decompresses to so many megabytes."""
    inner = zlib.compress(box(b"moov", bytes(megabytes * 2**20)), 9)
    cmvd = box(b"cmvd", struct.pack(">I", megabytes * 2**20 + 8), inner)
    moov = box(b"moov", box(b"cmov", box(b"dcom", b"zlib"), cmvd))
    return box(b"ftyp", b"qt  ", bytes(4)) + moov + box(b"mdat", bytes(64))


def element(name: str, body: bytes, *, size: int | None = None) -> bytes:
    """A Matroska element."""
    length = len(body) if size is None else size
    return bytes.fromhex(name) + struct.pack(">Q", length & (2**56 - 1) | 1 << 56) + body


def webm_of(*elements: bytes) -> bytes:
    head = element("1a45dfa3", element("4282", b"webm"))
    return head + element("18538067", b"".join(elements))


def webm_of_tracks(count: int) -> bytes:
    """So many tracks of two bytes each."""
    return webm_of(element("1654ae6b", b"\xae\x80" * count))


def safe_number(number: int) -> bytes:
    """A number of ID3: seven bits a byte."""
    return bytes(number >> shift & 127 for shift in (21, 14, 7, 0))


def id3_of_zlib(megabytes: int) -> bytes:
    """Two ID3 tags, the second with text that decompresses to so many megabytes, and an MP3."""
    text = zlib.compress(b"\3" + b"name\0" + b"x" * (megabytes * 2**20), 9)
    size = megabytes * 2**20 + 6

    frame = b"TXXX" + safe_number(len(text) + 4) + b"\x00\x09" + safe_number(size) + text
    tag = b"ID3\4\0\0" + safe_number(len(frame)) + frame
    return b"ID3\4\0\0" + safe_number(16) + bytes(16) + tag + source("speech.mp3")


def aiff_of_zlib(megabytes: int) -> bytes:
    """The same in a chunk of an AIFF."""
    data = bytearray(source("16.aiff"))
    tag = id3_of_zlib(megabytes)
    tag = tag[26 : len(tag) - len(source("speech.mp3"))]
    data += b"ID3 " + struct.pack(">I", len(tag)) + tag + b"\0" * (len(tag) & 1)
    data[4:8] = struct.pack(">I", len(data) - 8)
    return bytes(data)


def caf_with_names(count: int) -> bytes:
    """A CAF under so many names of different keys."""
    data = source("16.caf")
    names = b"".join(b"k%d\0v\0" % number for number in range(count))
    chunk = b"info" + struct.pack(">qI", len(names) + 4, count) + names
    at = data.index(b"data")
    return data[:at] + chunk + data[at:]


def id3_of(size: int) -> bytes:
    """An MP3 behind a picture of `size` bytes."""
    frame = b"APIC" + struct.pack(">IH", size, 0) + bytes(size)
    return b"ID3\3\0\0" + safe_number(size + 10) + frame + source("speech.mp3")


def mp3_of_changing_rates(frames: int) -> bytes:
    """Frames of silence whose rates alternate."""
    parts = []
    for n in range(frames):
        index = n % 3  # 44.1, 48, 32 kHz
        rate = (44_100, 48_000, 32_000)[index]
        head = 0xFFFB1000 | index << 10 | 0xC0  # 32 kbit/s, mono
        parts.append(struct.pack(">I", head) + bytes(144 * 32_000 // rate - 4))
    return b"".join(parts)


def ape_of_frames(count: int) -> bytes:
    """A Monkey's Audio header that promises so many frames."""
    descriptor = b"MAC " + struct.pack("<HHIIIIII", 3990, 0, 52, 24, 4, 0, 64, 0) + bytes(4 + 16)
    header = struct.pack("<HHIIIHHI", 1000, 0, 73_728, 73_728, count & 0xFFFFFFFF, 16, 1, RATE)
    return descriptor[:52] + header + bytes(4 + 64)


@cache
def wide_wav(kind: str) -> bytes:
    """A second at 192 kHz in 8 channels."""
    sink = io.BytesIO()
    soundfile.write(sink, tone(192_000, 8, 1.0), 192_000, subtype=kind, format="WAV")
    return sink.getvalue()


@cache
def wide_flac() -> bytes:
    """A second at 192 kHz in 8 channels of 24 bits."""
    sink = io.BytesIO()
    soundfile.write(sink, tone(192_000, 8, 1.0), 192_000, subtype="PCM_24", format="FLAC")
    return sink.getvalue()


@cache
def many_streams(count: int) -> bytes:
    """An AVI or Matroska of so many copies of one sound."""
    whole = encoded(tone(RATE), RATE, "matroska", "pcm_s16le")
    name = bytes.fromhex("1654ae6b")
    at = whole.index(name, whole.index(name) + 4)  # the first is in the list of what is where
    track_at = whole.index(b"\xae", at + 4)
    size_at = track_at + 1
    width = 9 - whole[size_at].bit_length()
    size = int.from_bytes(whole[size_at : size_at + width], "big") & (1 << 7 * width) - 1
    track = whole[track_at : size_at + width + size]
    tracks = element("1654ae6b", track * count)
    cluster = whole[whole.index(bytes.fromhex("1f43b675")) :]
    return webm_of(tracks) + cluster


def png_of_black(side: int) -> bytes:
    """A square picture, the first rows of it."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    rows = zlib.compress(bytes((3 * side + 1) * 200))
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def huge_pictures() -> list[bytes]:
    """Videos and pictures whose headers put them at 65,535 by 65,535."""
    found = []
    for data in (video(), video(sound=True), video(container="matroska", sound=True)):
        changed = bytearray(data)
        for match in (b"mp4v", b"avc1"):
            at = changed.find(match)
            if at > 0:
                changed[at + 28 : at + 32] = b"\xff\xff\xff\xff"
        for match in (b"\xb0\x81\x20", b"\xba\x81\x20"):  # width and height of Matroska
            at = changed.find(match)
            if at > 0:
                changed[at + 2] = 0xFF
        found.append(bytes(changed))
    return found
