"""Ogg: the walk over its pages.

Owns what the pages promise, and the refusal of comments by the hundred thousand: FFmpeg looks each
up among all before it. Must not know models or Ray; touches no sample.

Source: RFC 3533 (Ogg), RFC 7845 (Opus in Ogg), the Vorbis I specification.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from ray_asr.corpus.audio_parts import BrokenError, CutError, Extent, PartCount
from ray_asr.corpus.audio_vorbis import check_setup

_MOST_AT_ONCE = 256  # logical streams that have begun and not ended
_MOST_COMMENTS = 10_000
_BEGINS, _ENDS = 2, 4  # flags of a page
_MOST_SAMPLES_A_PACKET = 8_192  # Opus has 5,760 of 48 kHz, Vorbis half a block of 8,192
# How the first packet of a codec begins, and its second, which holds the comments.
_COMMENTS_BEGIN = {
    b"OpusHead": b"OpusTags",
    b"\x01vorbis": b"\x03vorbis",
    b"\x80theora": b"\x81theora",
    b"\x7fFLAC": 4,  # a header of so many bytes
    b"Speex   ": 0,
    b"CELT    ": 0,
}


class _Stream(NamedTuple):
    codec: str
    clock_hz: int
    skipped: int  # samples in front of the first one that is heard


def ogg_extent(data: memoryview) -> Extent:
    """What the pages say of the length, and the codec of a file of one logical stream.

    Raises:
        CutError: the bytes end inside a page, or a stream has no last page.
        BrokenError: a page does not begin where the last one ends, or has what no recording has.
    """
    streams: dict[int, _Stream] = {}  # the first two: of several, none counts
    granules: dict[int, int] = {}
    running: dict[int, bytes | int | None] = {}  # how the comments begin, until they have been
    heads: dict[int, _Heads] = {}  # of Vorbis, until its three packets are there
    parts, comments, position, least = PartCount(), 0, 0, 0
    while position < len(data):
        parts.add()
        if data[position : position + 4] != b"OggS":
            if streams and not running:
                break  # what taggers leave behind the last page
            if len(data) - position < 4:
                raise CutError
            raise BrokenError("a page does not begin where the last one ends")
        flags, granule, serial = struct.unpack_from("<xBqI", data, position + 4)
        table = position + 27
        body = table + data[table - 1] if table <= len(data) else len(data) + 1
        lacing = bytes(data[table:body])
        end = body + sum(lacing)
        if end > len(data):
            raise CutError
        if flags & _BEGINS:
            if len(streams) < 2 or serial in streams:
                streams[serial] = _stream(data[body:end])
            running[serial] = _comments_begin(data[body:end])
            if len(running) > _MOST_AT_ONCE:
                raise BrokenError("it has more streams than a recording has")
            if data[body : body + 7] == b"\x01vorbis":
                heads[serial] = _Heads()
        elif (begin := running.get(serial)) is not None:
            running[serial] = None
            comments += _comments(data[body:end], begin)
            if comments > _MOST_COMMENTS:
                raise BrokenError("it has more comments than a recording has")
        if serial in heads and heads[serial].are_complete(lacing, data[body:end]):
            del heads[serial]
        if granule >= 0 and serial in streams:
            most = (len(lacing) - lacing.count(255)) * _MOST_SAMPLES_A_PACKET
            least += min(max(0, granule - granules.get(serial, 0)), most)
            granules[serial] = granule
        if flags & _ENDS:
            running.pop(serial, None)
            heads.pop(serial, None)
        position = end
    if running:
        raise CutError
    if len(streams) != 1:
        return Extent()
    ((serial, stream),) = streams.items()
    if not stream.clock_hz:
        return Extent()
    samples = max(0, granules.get(serial, 0) - stream.skipped)
    least_s = max(0, least - stream.skipped) / stream.clock_hz
    return Extent(samples / stream.clock_hz, least_s, stream.codec)


class _Heads:
    """The first three packets of a Vorbis stream."""

    def __init__(self) -> None:
        self._packets = [bytearray()]

    def are_complete(self, lacing: bytes, body: memoryview) -> bool:
        """Take a page; whether all three are there, the last of which is looked at then."""
        position = 0
        for size in lacing:
            self._packets[-1] += body[position : position + size]
            position += size
            if size == 255:
                continue
            if len(self._packets) == 3:
                check_setup(bytes(self._packets[-1]))
                return True
            self._packets.append(bytearray())
        return False


def _stream(packet: memoryview) -> _Stream:
    if packet[:8] == b"OpusHead":
        return _Stream("opus", 48_000, struct.unpack_from("<H", packet, 10)[0])
    if packet[:7] == b"\x01vorbis":
        return _Stream("vorbis", struct.unpack_from("<I", packet, 12)[0], 0)
    return _Stream("", 0, 0)


def _comments_begin(packet: memoryview) -> bytes | int | None:
    for magic, begin in _COMMENTS_BEGIN.items():
        if packet[: len(magic)] == magic:
            return begin
    return None


def _comments(page: memoryview, begin: bytes | int) -> int:
    """How many comments the packet has that begins on `page`, the second of its stream."""
    if isinstance(begin, bytes):
        if page[: len(begin)] != begin:
            raise BrokenError("its second page has no comments")
        begin = len(begin)
    try:
        vendor = struct.unpack_from("<I", page, begin)[0]
        return struct.unpack_from("<I", page, begin + 4 + vendor)[0]
    except struct.error as error:
        raise BrokenError("its comments do not begin on its second page") from error
