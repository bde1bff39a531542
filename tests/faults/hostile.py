"""Hostile inputs: for a seed and a number always the same bytes, and what must come of them.

`case(seed, index)` is one input. The kinds are drawn in proportion to what they cost and what they
may find; what is expected of an input is stated where it is known, and else only that it yields
exactly one row, within bounds.
"""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import numpy as np

from tests.faults import hostile_forged as forged
from tests.faults.hostile_bombs import BOMBS
from tests.faults.hostile_mutations import EXTREMES, MUTATIONS, with_right_sums
from tests.faults.hostile_sources import (
    LONGER_S,
    NAMES,
    RATE,
    SECONDS,
    encoded,
    picture,
    source,
    tone,
    video,
)

OK = "ok"
_FAILED = frozenset(
    ("audio_empty", "audio_truncated", "audio_not_audio", "audio_no_stream", "audio_corrupt",
     "audio_non_finite", "audio_too_long", "out_of_memory")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """One hostile input.

    Attributes:
        id: its seed, number, kind and what it is, in words.
        kind: of what sort it is: a line of the table.
        data: the encoded bytes.
        hint: the name of the recording.
        expected: the outcomes that are right ("ok" or an error code); empty where any is.
        duration_ms: the least and the most length of an "ok"; None where any is right.
        max_duration_s: `input.max_duration_s`, where it is not the default.
    """

    id: str
    kind: str
    data: bytes
    hint: str = ""
    expected: frozenset[str] = frozenset()
    duration_ms: tuple[int, int] | None = None
    max_duration_s: float | None = None


@dataclass(frozen=True, slots=True)
class _Made:
    """What a maker of inputs makes."""

    name: str
    data: bytes
    expected: tuple[str, ...] = ()
    seconds: float | None = None
    hint: str = ""


def case(seed: int, index: int) -> Case:
    """The input of that number."""
    random = Random(f"{seed}/{index}")
    kind = random.choices(list(_KINDS), [weight for weight, _ in _KINDS.values()])[0]
    return _case(f"{seed}/{index}", kind, _KINDS[kind][1](random))


def bomb_names() -> list[str]:
    """What a few bytes can be made to become."""
    return [name for name, *_ in BOMBS]


def bomb(name: str) -> Case:
    """The bomb of that name."""
    (found,) = [_Made(name, make(), *rest) for one, make, *rest in BOMBS if one == name]
    return _case("a", "bomb", found)


def _case(number: str, kind: str, made: _Made) -> Case:
    length = None
    if made.seconds is not None:
        length = (round(1000 * made.seconds) - 30, round(1000 * (made.seconds + LONGER_S)))
    name = f"{number} {kind}: {made.name}"
    return Case(name, kind, made.data, made.hint, frozenset(made.expected), length)


def _whole(random: Random) -> _Made:
    name = random.choice(NAMES)
    is_exact = not name.startswith(("speech", "alac.caf", "wma"))
    seconds = SECONDS if is_exact else None
    return _Made(name, source(name), (OK,), seconds, f"x.{name.split('.')[-1]}")


def _mutated(kind: str) -> Callable[[Random], _Made]:
    def make(random: Random) -> _Made:
        name, data = random.choice(NAMES), b""
        data, said = source(name), [name]
        for _ in range(random.choice((1, 1, 1, 2, 4))):
            mutation = random.choice(MUTATIONS[kind])
            said.append(mutation.__name__)
            if random.random() < 0.6:
                mutation = with_right_sums(mutation)
            data = mutation(random, data if len(data) > 1 else b"\0\0")
        return _Made(" ".join(said), data, (), None, f"x.{name.split('.')[-1]}")

    return make


def _extreme_wav(random: Random) -> _Made:
    rate = random.choice((0, 1, 999, 1_000, 8_000, 192_000, 768_000, 768_001, 2**31, 2**32 - 1))
    channels = random.choice((0, 1, 2, 8, 255, 256, 1024, 1025, 65_535))
    bits = random.choice((0, 1, 4, 8, 12, 16, 20, 24, 32, 48, 64, 65_535))
    tag = random.choice((1, 1, 1, 3, 2, 6, 7, 0x11, 0x31, 0x55, 0xFFFE, 0, 0xFFFF))
    claimed = random.choice((None, None, None, *EXTREMES))
    align = random.choice((None, None, 0, 1, 2, 65_535))
    more = random.choice(
        (b"", b"", b"LIST" + struct.pack("<I", random.choice(EXTREMES) & 0xFFFFFFFF) + bytes(12),
         b"cue " + struct.pack("<II", 4, 0xFFFFFFFF),
         b"ds64" + struct.pack("<IQQ", 28, 2**64 - 1, 1))
    )  # fmt: skip
    data = forged.wav(
        random.randbytes(random.choice((0, 1, 2, 300, 20_000))),
        rate=rate, channels=channels, bits=bits, tag=tag, claimed=claimed, align=align, more=more,
    )  # fmt: skip
    return _Made(f"{rate} Hz {channels} channels {bits} bits tag {tag} claims {claimed}", data)


def _floats(random: Random) -> _Made:
    bits = random.choice((32, 64))
    kind = np.dtype(f"<f{bits // 8}")
    values = np.full(RATE, 0.25, kind)
    special, outcome = random.choice(
        ((np.nan, "audio_non_finite"), (np.inf, "audio_non_finite"), (-np.inf, "audio_non_finite"),
         (3e38, OK), (-3e38, OK), (1e-45, OK), (1.5, OK))
    )  # fmt: skip
    values[random.randrange(RATE)] = special
    data = forged.wav(values.tobytes(), tag=3, bits=bits)
    return _Made(f"{bits} bits with {special}", data, (outcome,), 1.0)


def _short(random: Random) -> _Made:
    count = random.choice((0, 1, 1, 2, 3, 10, 100))
    outcomes = (OK,) if count else ("audio_empty",)
    samples = tone(RATE)[:count]
    bits, rate = random.choice((8, 16, 24, 32)), random.choice((8_000, RATE, 44_100, 192_000))
    if random.random() < 0.5:
        data = forged.wav(bytes(count * bits // 8), bits=bits, rate=rate)
        # So few samples that none is left at 16 kHz.
        is_none = count * RATE < rate and rate != RATE
        return _Made(
            f"{count} samples of a WAV", data, (OK, "audio_empty") if is_none else outcomes
        )
    container, codec = random.choice(
        (
            ("flac", "flac"),
            ("ogg", "libopus"),
            ("mp4", "aac"),
            ("adts", "aac"),
            ("wav", "pcm_s16le"),
        )
    )
    if not count:
        data = forged.flac_of_zeros(0.0)
        return _Made("FLAC without samples", data, outcomes)
    data = encoded(samples, RATE, container, codec)
    return _Made(f"{count} samples of {codec} in {container}", data, (OK, *_FAILED))


def _wide(random: Random) -> _Made:
    name, data = random.choice(
        (("24 bits", forged.wide_wav("PCM_24")), ("float", forged.wide_wav("FLOAT")),
         ("16 bits", forged.wide_wav("PCM_16")), ("32 bits", forged.wide_wav("PCM_32")),
         ("FLAC", forged.wide_flac()))
    )  # fmt: skip
    return _Made(f"192 kHz 8 channels {name}", data, (OK,), 1.0)


def _glued(random: Random) -> _Made:
    names = [random.choice(NAMES) for _ in range(random.choice((2, 2, 3)))]
    data = b"".join(source(name) for name in names)
    return _Made(" + ".join(names), data, (), None, f"x.{names[0].split('.')[-1]}")


def _nested(random: Random) -> _Made:
    name = random.choice(NAMES)
    inner = source(name)
    outer, data = random.choice(
        (
            ("a WAV's samples", forged.wav(inner + bytes(len(inner) & 1))),
            ("an MP4's mdat", forged.box(b"ftyp", b"isom", bytes(4)) + forged.box(b"mdat", inner)),
            ("a Matroska cluster", forged.webm_of(forged.element("1f43b675", inner))),
            ("an ID3 tag", b"ID3\4\0\0" + forged.safe_number(len(inner)) + inner),
            ("an Ogg page", forged.ogg_page(inner[:60_000], 0, 0, flags=2)),
        )
    )  # fmt: skip
    return _Made(f"{name} in {outer}", data)


def _other(random: Random) -> _Made:
    name = random.choice(
        ("nothing", "zeros", "noise", "text", "gzip", "zip", "pdf", "png", "jpeg", "json", "magic",
         "0xff")
    )  # fmt: skip
    size = random.choice((1, 2, 3, 4, 7, 12, 100, 5_000, 300_000))
    not_audio = ("audio_not_audio",)
    if name == "nothing":
        return _Made(name, b"", ("audio_empty",))
    if name in ("png", "jpeg"):
        data = picture("png" if name == "png" else "mjpeg")
        return _Made(
            name, data, ("audio_no_stream",) if name == "png" else ("audio_no_stream", *not_audio)
        )
    if name == "zip":
        sink = io.BytesIO()
        with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(zipfile.ZipInfo("x.wav"), bytes(size))
        return _Made(name, sink.getvalue(), not_audio)
    plain = {
        "zeros": bytes(size),
        "text": (b"once upon a time " * size)[:size],
        "pdf": b"%PDF-1.4\n" + bytes(size),
        "gzip": gzip.compress(bytes(size * 100), mtime=0),
        "json": b'{"audio": "' + b"A" * size + b'"}',
    }
    if name in plain:
        return _Made(name, plain[name], not_audio)
    if name == "0xff":
        return _Made(name, b"\xff" * size)
    if name == "magic":
        magic = source(random.choice(NAMES))[: random.choice((4, 8, 12, 16, 40))]
        return _Made("magic and noise", magic + random.randbytes(size))
    return _Made(name, random.randbytes(size))


def _reaching(random: Random) -> _Made:
    name = random.choice(list(REACHING))
    return _Made(name, REACHING[name]("file:///etc/hostname"), ("audio_not_audio",))


# What makes a player open other files: each of an address.
REACHING: dict[str, Callable[[str], bytes]] = {
    "HLS": lambda a: (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{a}\n#EXT-X-ENDLIST\n".encode()
    ),
    "HLS key": lambda a: (
        f'#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXT-X-KEY:METHOD=AES-128,URI="{a}"\n#EXTINF:9,\n{a}\n'
    ).encode(),
    "M3U": lambda a: f"#EXTM3U\n{a}\n".encode(),
    "PLS": lambda a: f"[playlist]\nNumberOfEntries=1\nFile1={a}\n".encode(),
    "ffconcat": lambda a: f"ffconcat version 1.0\nfile '{a}'\n".encode(),
    "concat address": lambda a: f"concat:{a}|{a}".encode(),
    "address": lambda a: a.encode(),
    "data address": lambda a: b"data:audio/wav;base64,UklGRgAAAABXQVZF",
    "DASH": lambda a: (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT9S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011">'
        '<Period><AdaptationSet mimeType="audio/mp4"><Representation id="1" bandwidth="9">'
        f"<BaseURL>{a}</BaseURL></Representation></AdaptationSet></Period></MPD>"
    ).encode(),
    "SDP": lambda a: (
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 4000 RTP/AVP 0\n"
    ),
    "SMIL": lambda a: f'<smil><body><audio src="{a}"/></body></smil>'.encode(),
    "ASX": lambda a: f'<asx version="3.0"><entry><ref href="{a}"/></entry></asx>'.encode(),
    "ASF reference": lambda a: f"[Reference]\r\nRef1={a}\r\n".encode(),
    "subtitles": lambda a: f"1\n00:00:00,000 --> 00:00:09,000\n{a}\n".encode(),
    "script": lambda a: f"movie={a}".encode(),
}


def _bomb(random: Random) -> _Made:
    name, make, expected, seconds = random.choice(BOMBS)
    return _Made(name, make(), expected, seconds)


def _pictures(random: Random) -> _Made:
    made = [(f"huge {n}", data) for n, data in enumerate(forged.huge_pictures())]
    made += [("silent video", video()), ("video with sound", video(sound=True))]
    name, data = random.choice(made)
    outcomes = {"silent video": ("audio_no_stream",), "video with sound": (OK,)}
    return _Made(name, data, outcomes.get(name, ()))


# Kind → how often, and what makes it.
_KINDS: dict[str, tuple[float, Callable[[Random], _Made]]] = {
    "whole files": (6, _whole),
    **{name: (14, _mutated(name)) for name in MUTATIONS},
    "extreme WAV": (10, _extreme_wav),
    "special floats": (3, _floats),
    "few samples": (5, _short),
    "192 kHz, 8 channels": (1, _wide),
    "two files in one": (5, _glued),
    "files in files": (4, _nested),
    "other bytes": (6, _other),
    "reaching out": (2, _reaching),
    "bombs": (1, _bomb),
    "pictures": (1, _pictures),
}
