"""A Vorbis stream whose setup describes codebooks that no encoder makes."""

from __future__ import annotations

import struct

from tests.faults.hostile_forged import ogg_page, ogg_page_of


class _Bits:
    """Writes numbers as bits, the lowest first."""

    def __init__(self) -> None:
        self._number = 0
        self._count = 0

    def put(self, *pairs: tuple[int, int]) -> None:
        """Put numbers, each with its width in bits."""
        for number, width in pairs:
            self._number |= number << self._count
            self._count += width

    def packet(self, head: bytes) -> bytes:
        return head + self._number.to_bytes((self._count + 7) // 8, "little")


def _setup(codebooks: int, entries_log2: int) -> bytes:
    """A dozen bytes for each codebook, of 2 to the `entries_log2` words of one length."""
    bits = _Bits()
    bits.put((codebooks - 1, 8))
    for _ in range(codebooks):
        bits.put((0x564342, 24), (1, 16), (1 << entries_log2, 24))
        bits.put((1, 1), (entries_log2 - 1, 5), (1 << entries_log2, entries_log2 + 1))
        bits.put((0, 4))
    bits.put((0, 6), (0, 16))  # one time, which is nothing
    bits.put((0, 6), (1, 16), (0, 5), (0, 2), (8, 4))  # one floor without partitions
    bits.put((0, 6), (0, 16), (0, 24), (0, 24), (0, 24), (0, 6), (0, 8), (0, 3), (0, 1))
    bits.put((0, 6), (0, 16), (0, 1), (0, 1), (0, 2), (0, 8), (0, 8), (0, 8))  # one mapping
    bits.put((0, 6), (0, 1), (0, 16), (0, 16), (0, 8), (1, 1))  # one mode, and the end
    return bits.packet(b"\x05vorbis")


def vorbis_of_codebooks(codebooks: int, entries_log2: int) -> bytes:
    """An Ogg file of so many codebooks of so many entries, and one packet of sound."""
    identity = b"\x01vorbis" + struct.pack("<IBIiiiBB", 0, 1, 16_000, 0, 64_000, 0, 0xB8, 1)
    comments = b"\x03vorbis" + struct.pack("<I1sIB", 1, b"x", 0, 1)
    setup = _setup(codebooks, entries_log2)
    lacing = bytes([len(comments)]) + b"\xff" * (len(setup) // 255) + bytes([len(setup) % 255])
    pages = [
        ogg_page(identity, 0, 0, flags=2),
        ogg_page_of(lacing, comments + setup, 0, 1),
        ogg_page(b"\0" * 10, 512, 2, flags=4),
    ]
    return b"".join(pages)
