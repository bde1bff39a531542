"""Damage: what is done to whole files, each from a seeded generator of random numbers."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from random import Random

from tests.faults.hostile_sources import with_sums

Mutation = Callable[[Random, bytes], bytes]

# Numbers on which size arithmetic stumbles.
EXTREMES = (
    0, 1, 2, 3, 7, 8, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000,
    0xFFFFFFFE, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0x8000000000000000, 0xFFFFFFFFFFFFFFFF,
)  # fmt: skip
_BOXES = re.compile(
    rb"ftyp|moov|mvhd|trak|tkhd|edts|elst|mdia|mdhd|hdlr|minf|stbl|stsd|esds|stts|stsc|stsz|stco|"
    rb"moof|traf|tfhd|tfdt|trun|mdat|udta|meta|ilst"
)
_ELEMENTS = re.compile(
    rb"\x1a\x45\xdf\xa3|\x18\x53\x80\x67|\x15\x49\xa9\x66|\x16\x54\xae\x6b|\x1f\x43\xb6\x75|"
    rb"\x1c\x53\xbb\x6b|\x12\x54\xc3\x67|\x2a\xd7\xb1|\x44\x89|\x63\xa2|\xae|\xa3|\xe1"
)
_CHUNKS = re.compile(rb"RIFF|RF64|WAVE|fmt |data|ds64|fact|LIST|PEAK|COMM|SSND|desc|pakt|strh|hdrl")


def flip_bits(random: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 2, 8, 64))):
        changed[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(changed)


def flip_bits_in_head(random: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 2, 4, 12))):
        changed[random.randrange(min(len(data), 300))] ^= 1 << random.randrange(8)
    return bytes(changed)


def overwrite(random: Random, data: bytes) -> bytes:
    start, end = _run(random, data)
    new = random.choice(
        (bytes(end - start), b"\xff" * (end - start), random.randbytes(end - start))
    )
    return data[:start] + new + data[end:]


def remove(random: Random, data: bytes) -> bytes:
    start, end = _run(random, data)
    return data[:start] + data[end:]


def repeat(random: Random, data: bytes) -> bytes:
    start, end = _run(random, data)
    return data[:end] + data[start:end] * random.choice((1, 1, 2, 30)) + data[end:]


def insert(random: Random, data: bytes) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + random.randbytes(random.choice((1, 3, 16, 400, 5_000))) + data[at:]


def swap(random: Random, data: bytes) -> bytes:
    """Two stretches change places."""
    a, b, c = sorted(random.randrange(len(data) + 1) for _ in range(3))
    return data[:a] + data[b:c] + data[a:b] + data[c:]


def cut(random: Random, data: bytes) -> bytes:
    return data[: random.randrange(len(data))]


def cut_in_head(random: Random, data: bytes) -> bytes:
    return data[: random.randrange(min(len(data), 120))]


def without_start(random: Random, data: bytes) -> bytes:
    return data[random.randrange(1, len(data)) :]


def extreme_number(random: Random, data: bytes) -> bytes:
    """An extreme number anywhere in the head."""
    return _write_number(random, data, random.randrange(min(len(data), 400)))


def lying_size(random: Random, data: bytes) -> bytes:
    """Fields of the container that state sizes, counts or times, with other values."""
    fields = number_fields(data)
    for _ in range(random.choice((1, 1, 2, 3))):
        if fields:
            data = _write_number(random, data, random.choice(fields))
    return data


def number_fields(data: bytes) -> list[int]:
    """Where the container has its numbers, as far as its kind is known."""
    if data[:4] in (b"RIFF", b"RF64", b"FORM", b"caff"):
        return [at + 4 + more for at in _found(_CHUNKS, data) for more in (0, 4, 6, 8, 12, 16, 18)]
    if data[:4] == b"fLaC":
        return list(range(4, 42))
    if data[:4] == b"OggS":
        pages = [match.start() for match in re.finditer(b"OggS", data)]
        return [at + more for at in pages for more in (5, 6, 14, 18, 26, 27, 28, 36, 38, 40, 45)]
    if data[4:8] == b"ftyp":
        return [at + more for at in _found(_BOXES, data) for more in (-4, 4, 8, 12, 16, 20)]
    if data[:4] == b"\x1a\x45\xdf\xa3":
        return [at + more for at in _found(_ELEMENTS, data) for more in (1, 2, 4, 5)]
    return list(range(min(len(data), 64)))


def _found(pattern: re.Pattern[bytes], data: bytes) -> list[int]:
    return [match.start() for match in pattern.finditer(data)][:300]


def _run(random: Random, data: bytes) -> tuple[int, int]:
    """A stretch of the file, short or long."""
    start = random.randrange(len(data))
    return start, min(len(data), start + random.choice((1, 4, 16, 64, 500, 4_000)))


def _write_number(random: Random, data: bytes, at: int) -> bytes:
    at = max(0, min(at, len(data) - 1))
    kind = random.choice(("<B", "<H", ">H", "<I", ">I", "<Q", ">Q"))
    width = struct.calcsize(kind)
    value = random.choice(EXTREMES) if random.random() < 0.8 else random.getrandbits(64)
    new = struct.pack(kind, value & (1 << 8 * width) - 1)
    return data[:at] + new + data[at + width :]


def with_right_sums(mutation: Mutation) -> Mutation:
    """The mutation, after which an Ogg file's check sums are right: decoders see what it did."""
    return lambda random, data: with_sums(mutation(random, data))


MUTATIONS: dict[str, tuple[Mutation, ...]] = {
    "flipped bits": (flip_bits, flip_bits_in_head),
    "changed bytes": (overwrite, remove, repeat, insert, swap),
    "cut": (cut, cut_in_head, without_start),
    "lying numbers": (lying_size, extreme_number),
}
