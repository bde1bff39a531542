"""The setup of a Vorbis stream: how large the codebooks become that it describes.

Owns the refusal of codebooks that no encoder makes: a dozen bytes describe one of four million
entries, a stream may have 256 of them, and decoders lay them out before the first sample. Must not
know models or Ray; touches no sample.

Source: Vorbis I specification, 3.2.1 and 4.2.4.
"""

from __future__ import annotations

import re

import numpy as np

from ray_asr.corpus.audio_parts import BrokenError

SETUP = b"\x05vorbis"  # how the packet begins
_MOST_BYTES = 2**18  # encoders make 4 kB of it
_MOST_VALUES = 4_000_000  # of all codebooks; encoders make a hundred thousand
_SYNC = b"BCV"


def check_setup(packet: bytes) -> None:
    """Look at a setup packet.

    Raises:
        BrokenError: its codebooks are larger than any encoder's.
    """
    if not packet.startswith(SETUP):
        return
    if len(packet) > _MOST_BYTES:
        raise BrokenError("its codebooks are larger than a recording needs")
    bits = np.unpackbits(np.frombuffer(packet, np.uint8), bitorder="little")
    # The first look takes each mark of a codebook for one; the second one reads them.
    if _values_at_marks(bits) > _MOST_VALUES and _values(bits[8 * len(SETUP) :]) > _MOST_VALUES:
        raise BrokenError("its codebooks are larger than a recording needs")


def _values_at_marks(bits: np.ndarray) -> int:
    values = 0
    for shift in range(8):
        data = np.packbits(bits[shift:], bitorder="little").tobytes()
        for mark in re.finditer(_SYNC, data):
            values += _size(data[mark.end() : mark.end() + 5])
    return values


def _size(head: bytes) -> int:
    dimensions, entries = int.from_bytes(head[:2], "little"), int.from_bytes(head[2:], "little")
    return entries * max(1, dimensions)


def _values(bits: np.ndarray) -> int:
    """How many values all codebooks have, until there are too many or one is no codebook."""
    digits, values = _Digits(bits), 0
    try:
        for _ in range(digits.number(8) + 1):
            if digits.number(24) != int.from_bytes(_SYNC, "little"):
                return values
            dimensions, entries = digits.number(16), digits.number(24)
            values += entries * max(1, dimensions)
            if values > _MOST_VALUES:
                return values
            digits.skip_lengths(entries)
            digits.skip_lookup(dimensions, entries)
    except EOFError:
        return values
    return values


class _Digits:
    """Reads numbers out of bits, the lowest bit first."""

    def __init__(self, bits: np.ndarray) -> None:
        self._bits = bits
        self._plain = bits.tobytes()
        self._position = 0

    def number(self, width: int) -> int:
        """The next number of `width` bits.

        Raises:
            EOFError: there are not so many left.
        """
        found = self._bits[self._position : self._position + width]
        self._position += width
        if len(found) < width:
            raise EOFError
        return int.from_bytes(np.packbits(found, bitorder="little").tobytes(), "little")

    def skip_lengths(self, entries: int) -> None:
        """Pass the lengths of a codebook's words."""
        if self.number(1):  # each length has a run of words
            self.number(5)
            done = 0
            while done < entries:
                done += self.number((entries - done).bit_length())
                if self._position > len(self._bits):
                    raise EOFError
        elif self.number(1):  # a bit says whether there is a length
            for _ in range(entries):
                if self._position >= len(self._plain):
                    raise EOFError
                self._position += 6 if self._plain[self._position] else 1
        else:
            self._position += 5 * entries

    def skip_lookup(self, dimensions: int, entries: int) -> None:
        """Pass the table of a codebook's values."""
        kind = self.number(4)
        if not kind:
            return
        self._position += 64
        width = self.number(4) + 1
        self._position += 1
        count = _root(entries, dimensions) if kind == 1 else entries * dimensions
        self._position += width * count


def _root(entries: int, dimensions: int) -> int:
    """The largest number whose power of `dimensions` is at most `entries`."""
    if not dimensions:
        return 0
    root = int(entries ** (1 / dimensions)) + 1
    while root**dimensions > entries:
        root -= 1
    return root
