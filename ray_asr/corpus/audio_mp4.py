"""MP4, M4A and QuickTime: the walk over their boxes.

Owns what the boxes promise, and the refusal of tables that are small in the file and huge once a
demuxer has spread them out: FFmpeg keeps an entry for each sample of a recording, and some boxes
state a number of samples without a byte for each. Must not know models or Ray; touches no sample.

Source: ISO/IEC 14496-12; QuickTime File Format (compressed movie resources).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ray_asr.corpus.audio_parts import BrokenError, CutError, Extent, PartCount

_CONTAINERS = frozenset(
    (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"moof", b"traf", b"mvex", b"udta",
     b"dinf", b"tref", b"sinf", b"schi", b"strk", b"strd", b"wave")
)  # fmt: skip
# FFmpeg takes these for a `moov` when one is inside.
_HIDING = frozenset((b"free", b"hoov"))
_DEEPEST = 12
_MOST_INDEX_BYTES = 16 * 2**20
# Old QuickTime counts moments instead of packets; MACE 6:1 has six of them in a byte.
_MOST_MOMENTS_A_BYTE = 8
_USUAL_EDITS = 16
_TRUN_FIELDS = (0x100, 0x200, 0x400, 0x800)  # each is 4 bytes a sample


def mp4_extent(data: memoryview) -> Extent:
    """What the boxes say of the length.

    Raises:
        CutError: the bytes end inside a box, or what must be there is not.
        BrokenError: the boxes contradict each other.
    """
    names = set[bytes]()
    tables = _Tables(len(data))
    for name, body, end in _boxes(data, 0, len(data)):
        if end > len(data):
            raise CutError
        tables.parts.add()
        names.add(name)
        tables.read(data, name, body, end)
    if b"moov" not in names or (tables.duration_s and not names & {b"mdat", b"moof"}):
        raise CutError
    duration_s = tables.duration_s or None
    return Extent(duration_s, min(tables.least_s, duration_s or 0.0))


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
            raise BrokenError("a box is smaller than its own header")
        yield name, body, end
        position = end


@dataclass(slots=True)
class _Track:
    """What the boxes of one track say."""

    is_sound: bool = False
    clock_hz: int = 0
    ticks: int = 0  # of its clock, by its header
    timed_ticks: float = 0.0  # by its table of times
    is_of_moments: bool = False  # each sample in the tables lasts one tick
    samples: int = 0
    sample_bytes: int = 0  # of each sample; 0 where each has its own size
    edits: int = 0

    @property
    def least_s(self) -> float:
        return min(self.ticks, self.timed_ticks) / self.clock_hz if self.clock_hz else 0.0


class _Tables:
    """The tables of a file, held against its size.

    Args:
        size: of the file, in bytes.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._samples_without_bytes = 0
        self.parts = PartCount()
        self.duration_s: float | None = None
        self.least_s = 0.0

    def read(self, data: memoryview, name: bytes, body: int, end: int) -> None:
        """Read one box that stands alone, and what is inside it."""
        self._read(data, name, body, end, _Track(), 0)

    def _read(
        self, data: memoryview, name: bytes, body: int, end: int, track: _Track, depth: int
    ) -> None:
        if name in _CONTAINERS or (
            name in _HIDING and bytes(data[body + 4 : body + 8]) in (b"moov", b"cmov")
        ):
            self._read_inside(data, name, body, end, track, depth + 1)
        elif name == b"cmov":
            moov = _decompressed(data[body:end])
            self._read_inside(moov, b"moov", 0, len(moov), track, depth + 1)
        elif name == b"mvhd" and not self.duration_s:
            clock_hz, ticks = _clock(data, body, end)
            self.duration_s = ticks / clock_hz if clock_hz else None
        elif name == b"mdhd":
            track.clock_hz, track.ticks = _clock(data, body, end)
        elif name == b"hdlr":
            track.is_sound = track.is_sound or bytes(data[body + 8 : body + 12]) == b"soun"
        elif name == b"trun":
            self._check_fragment(data, body, end)
        else:
            _read_table(data, name, body, end, track)

    def _read_inside(
        self, data: memoryview, name: bytes, body: int, end: int, track: _Track, depth: int
    ) -> None:
        if depth > _DEEPEST:
            raise BrokenError("its boxes are nested too deeply")
        if name == b"trak":
            track = _Track()
        # Some writers end a list with four zero bytes.
        stop = end if end - body >= 8 else body
        for child, start, child_end in _boxes_in(data, body, stop):
            self.parts.add()
            self._read(data, child, start, child_end, track, depth)
        if name == b"trak":
            self._check_track(track)

    def _check_track(self, track: _Track) -> None:
        moments = track.is_sound and track.is_of_moments
        room = self._size * (_MOST_MOMENTS_A_BYTE if moments else 1)
        if track.samples * max(1, track.sample_bytes) > room:
            raise BrokenError("it lists more samples than it has bytes")
        if track.edits > _USUAL_EDITS and track.edits * track.samples > self._size:
            raise BrokenError("its edit list repeats it over and over")
        if track.is_sound:
            self.least_s = max(self.least_s, track.least_s)

    def _check_fragment(self, data: memoryview, body: int, end: int) -> None:
        word, count = struct.unpack_from(">II", data, body)
        a_sample = 4 * sum(bool(word & field) for field in _TRUN_FIELDS)
        if a_sample:
            if count * a_sample > end - body:
                raise BrokenError("a fragment lists more samples than it describes")
            return
        self._samples_without_bytes += count
        if self._samples_without_bytes > self._size:
            raise BrokenError("its fragments list more samples than it has bytes")


def _boxes_in(data: memoryview, position: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """The boxes in a box; what does not fit in is cut off, and what is no box ends the list."""
    while position + 8 <= stop:
        size, name = struct.unpack_from(">I4s", data, position)
        body = position + 8
        if size == 1 and body + 8 <= stop:
            size = struct.unpack_from(">Q", data, body)[0]
            body += 8
        end = stop if size == 0 else min(position + size, stop)
        if end < body:
            return
        yield name, body, end
        position = end


def _clock(data: memoryview, body: int, end: int) -> tuple[int, int]:
    """Ticks a second and ticks of `mvhd` or `mdhd`; 0 ticks where the length is not known."""
    if end <= body:
        raise CutError
    is_wide = data[body] == 1
    clock_hz, ticks = struct.unpack_from(
        ">IQ" if is_wide else ">II", data, body + (20 if is_wide else 12)
    )
    is_known = ticks != (0xFFFFFFFFFFFFFFFF if is_wide else 0xFFFFFFFF)
    return clock_hz, ticks if is_known else 0


def _read_table(data: memoryview, name: bytes, body: int, end: int, track: _Track) -> None:
    if name == b"stsz":
        track.sample_bytes, count = struct.unpack_from(">II", data, body + 4)
        # Sizes of their own that are not there make FFmpeg drop the table.
        is_there = track.sample_bytes or 4 * count <= end - body
        track.samples = max(track.samples, count if is_there else 0)
    elif name == b"stz2":
        count = struct.unpack_from(">I", data, body + 8)[0]
        track.samples = max(track.samples, count if count <= 2 * (end - body) else 0)
    elif name == b"stts":
        count = min(struct.unpack_from(">I", data, body + 4)[0], (end - body - 8) // 8)
        if count <= 0:
            return
        pairs = np.frombuffer(data, ">u4", 2 * count, body + 8).reshape(-1, 2)
        track.is_of_moments = len(pairs) == 1 and bool(pairs[0, 1] == 1)
        track.timed_ticks = float(pairs[:, 0].astype(float) @ pairs[:, 1].astype(float))
    elif name == b"elst":
        entry = 20 if data[body : body + 1] == b"\x01" else 12
        count = struct.unpack_from(">I", data, body + 4)[0]
        track.edits += min(count, (end - body - 8) // entry)


def _decompressed(cmov: memoryview) -> memoryview:
    """The `moov` in a compressed one."""
    head = struct.unpack_from(">I4s4sI4sI", cmov, 0)
    if head[1] != b"dcom" or head[2] != b"zlib" or head[4] != b"cmvd":
        raise BrokenError("its compressed index is no such thing")
    inflate = zlib.decompressobj()
    try:
        moov = inflate.decompress(cmov[24:], _MOST_INDEX_BYTES)
    except zlib.error as error:
        raise BrokenError("its compressed index does not decompress") from error
    if head[5] > _MOST_INDEX_BYTES or inflate.unconsumed_tail:
        raise BrokenError("its compressed index is larger than a recording needs")
    return memoryview(moov)
