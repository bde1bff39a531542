"""WebM and Matroska: the walk over their elements.

Owns what the elements promise, and the refusal of lists that a demuxer holds in memory: of an
element of two bytes it makes hundreds. Must not know models or Ray; touches no sample.

Source: RFC 8794 (EBML), RFC 9559 (Matroska).
"""

from __future__ import annotations

import struct
from collections import Counter

from ray_asr.corpus.audio_parts import BrokenError, CutError, Extent, PartCount
from ray_asr.corpus.audio_vorbis import SETUP, check_setup

_SEGMENT, _INFO, _CLUSTER = 0x18538067, 0x1549A966, 0x1F43B675
_TRACKS, _TAGS, _CHAPTERS, _CUES = 0x1654AE6B, 0x1254C367, 0x1043A770, 0x1C53BB6B
_SEEK_HEAD, _ATTACHMENTS = 0x114D9B74, 0x1941A469
_TIMESTAMP_SCALE, _DURATION = 0x2AD7B1, 0x4489
# The most bytes of all lists of a kind together. Cues: one for each second of 15 hours is 1 MB.
_MOST_BYTES = {
    _INFO: 2**20,
    _TRACKS: 2**20,
    _TAGS: 2**20,
    _CHAPTERS: 2**20,
    _SEEK_HEAD: 2**20,
    _CUES: 8 * 2**20,
}
_MOST_CHILDREN = {_TRACKS: 200, _ATTACHMENTS: 10_000}
_LONGEST_S = 1e15
_BLOCKS = frozenset((0xA3, 0xA0, 0xE7, 0xAB))  # what a cluster has for each packet
_MOST_OTHERS = 500_000


def webm_extent(data: memoryview) -> Extent:
    """What the elements say of the length.

    Raises:
        CutError: the bytes end inside an element.
        BrokenError: the elements contradict each other.
    """
    position, duration_s = 0, None
    blocks, others, list_bytes = PartCount(), PartCount(_MOST_OTHERS), Counter[int]()
    while position < len(data):
        name, body = _vint(data, position, keep_marker=True)
        (blocks if name in _BLOCKS else others).add()
        size, body = _vint(data, body, keep_marker=False)
        if size >= 0 and body + size > len(data):
            raise CutError
        if name == _SEGMENT or (name == _CLUSTER and size < 0):
            position = body  # live recorders leave both sizes open: look at what is inside
            continue
        if size < 0:
            raise BrokenError("an element has no size")
        list_bytes[name] += size
        if list_bytes[name] > _MOST_BYTES.get(name, len(data)):
            raise BrokenError("one of its lists is larger than a recording needs")
        if name in _MOST_CHILDREN:
            _check_children(data, body, body + size, _MOST_CHILDREN[name])
        if name == _TRACKS:
            _check_vorbis(bytes(data[body : body + size]))
        if name == _INFO:
            duration_s = _duration_s(data, body, body + size)
        position = body + size
    return Extent(duration_s)


def _vint(data: memoryview, position: int, *, keep_marker: bool) -> tuple[int, int]:
    """A number of Matroska and where it ends; all ones (an unknown size) is -1."""
    if position >= len(data):
        raise CutError
    length = 9 - data[position].bit_length()
    if length > 8:
        raise BrokenError("an element has no name")
    end = position + length
    if end > len(data):
        raise CutError
    value = int.from_bytes(data[position:end], "big")
    if keep_marker:
        return value, end
    mask = (1 << 7 * length) - 1
    return (-1 if value & mask == mask else value & mask), end


def _check_children(data: memoryview, position: int, stop: int, most: int) -> None:
    count = 0
    while position < stop:
        count += 1
        if count > most:
            raise BrokenError("one of its lists is longer than a recording needs")
        _, body = _vint(data, position, keep_marker=True)
        size, body = _vint(data, body, keep_marker=False)
        position = body + max(size, 0)


def _check_vorbis(tracks: bytes) -> None:
    """Look at the setup of the first Vorbis track, wherever it is."""
    at = tracks.find(SETUP)
    if at >= 0:
        check_setup(tracks[at : at + 2**17])


def _duration_s(data: memoryview, position: int, stop: int) -> float | None:
    scale_ns, ticks = 1_000_000, None
    while position < stop:
        name, body = _vint(data, position, keep_marker=True)
        size, body = _vint(data, body, keep_marker=False)
        position = body + max(size, 0)
        if name == _TIMESTAMP_SCALE and size <= 8:
            scale_ns = int.from_bytes(data[body:position], "big")
        elif name == _DURATION and size in (4, 8):
            ticks = struct.unpack_from(">f" if size == 4 else ">d", data, body)[0]
    return ticks * scale_ns / 1e9 if ticks is not None and 0 <= ticks < _LONGEST_S else None
