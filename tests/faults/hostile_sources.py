"""Whole files of every codec, made here or embedded: what hostile inputs are made from.

Each is the same bytes every time: writers are told to leave out what they draw or date.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
import soundfile

from ray_asr.demo import speech_folder

RATE = 16_000
SECONDS = 1.2
_BITS_TURNED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))

EMBEDDED = {
    "speech.wav": "prompts/added.wav",
    "speech.flac": "prompts/activated.flac",
    "speech.mp3": "prompts/call-fwd-unconditional.mp3",
    "speech.opus": "announcements/announcement-000.opus",
}
_SOUNDFILE = {  # name → format, subtype, rate, channels
    "u8.wav": ("WAV", "PCM_U8", 8_000, 1),
    "16.wav": ("WAV", "PCM_16", 44_100, 2),
    "24.wav": ("WAV", "PCM_24", 48_000, 2),
    "32.wav": ("WAV", "PCM_32", RATE, 1),
    "float.wav": ("WAV", "FLOAT", RATE, 2),
    "double.wav": ("WAV", "DOUBLE", RATE, 1),
    "ulaw.wav": ("WAV", "ULAW", 8_000, 1),
    "adpcm.wav": ("WAV", "IMA_ADPCM", RATE, 1),
    "ms-adpcm.wav": ("WAV", "MS_ADPCM", RATE, 1),
    "gsm.wav": ("WAV", "GSM610", 8_000, 1),
    "extensible.wav": ("WAVEX", "PCM_24", RATE, 2),
    "rf64.wav": ("RF64", "PCM_16", RATE, 1),
    "16.flac": ("FLAC", "PCM_16", 44_100, 2),
    "24.flac": ("FLAC", "PCM_24", RATE, 1),
    "vorbis.ogg": ("OGG", "VORBIS", RATE, 1),
    "stereo-vorbis.ogg": ("OGG", "VORBIS", 44_100, 2),
    "stereo.mp3": ("MP3", "MPEG_LAYER_III", 44_100, 2),
    "16.aiff": ("AIFF", "PCM_16", RATE, 1),
    "16.caf": ("CAF", "PCM_16", RATE, 1),
    "alac.caf": ("CAF", "ALAC_16", RATE, 1),
    "16.au": ("AU", "PCM_16", RATE, 1),
    "16.w64": ("W64", "PCM_16", RATE, 1),
    "16.voc": ("VOC", "PCM_16", RATE, 1),
}
_FFMPEG = {  # name → container, codec, rate, channels, options of the container
    "opus.ogg": ("ogg", "libopus", 48_000, 2, {}),
    "flac.ogg": ("ogg", "flac", RATE, 1, {}),
    "aac.m4a": ("mp4", "aac", 44_100, 2, {}),
    "fragmented.m4a": ("mp4", "aac", RATE, 1, {"movflags": "empty_moov+default_base_moof",
                                               "frag_duration": "300000"}),
    "alac.m4a": ("mov", "alac", RATE, 1, {}),
    "pcm.mov": ("mov", "pcm_s16le", RATE, 1, {}),
    "adts.aac": ("adts", "aac", RATE, 1, {}),
    "opus.webm": ("webm", "libopus", 48_000, 1, {}),
    "flac.mka": ("matroska", "flac", RATE, 1, {}),
    "pcm.mka": ("matroska", "pcm_s16le", RATE, 2, {}),
    "tone.g722": ("g722", "g722", RATE, 1, {}),
    "tone.ac3": ("ac3", "ac3", 48_000, 2, {}),
    "pcm.avi": ("avi", "pcm_s16le", RATE, 1, {}),
    "aac.ts": ("mpegts", "aac", RATE, 1, {}),
    "mp2.mpg": ("mpeg", "mp2", 44_100, 1, {}),
    "tone.tta": ("tta", "tta", RATE, 1, {}),
    "tone.wv": ("wv", "wavpack", RATE, 1, {}),
    "aac.flv": ("flv", "aac", 44_100, 1, {}),
    "wma.asf": ("asf", "wmav2", 44_100, 1, {}),
}  # fmt: skip
NAMES = (*EMBEDDED, *_SOUNDFILE, *_FFMPEG)
# Where the length is not the tone's: encoders that begin early and fill their last frame.
LONGER_S = 0.2


def tone(rate: int, channels: int = 1, seconds: float = SECONDS) -> np.ndarray:
    """A sweep with loud and soft stretches, `(T, channels)`, the same each time."""
    times = np.arange(round(rate * seconds)) / rate
    sweep = np.sin(2 * np.pi * (250 * times + 500 * times**2))
    loudness = 0.25 + 0.2 * np.sin(2 * np.pi * 3 * times)
    gains = np.linspace(1.0, 0.4, channels)
    return ((sweep * loudness)[:, None] * gains).astype(np.float32)


@cache
def source(name: str) -> bytes:
    """The whole file of that name."""
    if name in EMBEDDED:
        return (speech_folder() / EMBEDDED[name]).read_bytes()
    if name in _SOUNDFILE:
        kind, subtype, rate, channels = _SOUNDFILE[name]
        sink = io.BytesIO()
        soundfile.write(sink, tone(rate, channels), rate, subtype=subtype, format=kind)
        return renumbered(sink.getvalue()) if kind == "OGG" else undated(sink.getvalue())
    container, codec, rate, channels, options = _FFMPEG[name]
    bit_rate = 64_000 if codec == "wmav2" else 0
    return encoded(tone(rate, channels), rate, container, codec, options, bit_rate)


def encoded(
    samples: np.ndarray,
    rate: int,
    container: str,
    codec: str,
    options: dict[str, str] | None = None,
    bit_rate: int = 0,
) -> bytes:
    """`samples` `(T, channels)` through one of FFmpeg's encoders."""
    sink = io.BytesIO()
    layout = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}[samples.shape[1]]
    values = (samples * 32767).astype(np.int16).reshape(1, -1)
    with av.open(
        sink, "w", format=container, container_options={"fflags": "+bitexact", **(options or {})}
    ) as output:
        stream = output.add_stream(codec, rate=rate)
        stream.layout = layout
        if bit_rate:
            stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(values, format="s16", layout=layout)
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            if packet.size:  # the last one of FLAC is none
                output.mux(packet)
    return sink.getvalue()


def video(
    width: int = 32, height: int = 32, *, sound: bool = False, container: str = "mp4"
) -> bytes:
    """Five black pictures, with a tone beside them or without."""
    sink = io.BytesIO()
    with av.open(sink, "w", format=container, container_options={"fflags": "+bitexact"}) as output:
        pictures = output.add_stream("mpeg4", rate=5)
        pictures.width, pictures.height, pictures.pix_fmt = width, height, "yuv420p"
        voice = output.add_stream("aac", rate=RATE) if sound else None
        if voice is not None:
            voice.layout = "mono"
        for _ in range(5):
            picture = np.zeros((height, width, 3), np.uint8)
            output.mux(pictures.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(pictures.encode(None))
        if voice is not None:
            values = (tone(RATE) * 32767).astype(np.int16).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(values, format="s16", layout="mono")
            frame.sample_rate = RATE
            for packet in [*voice.encode(frame), *voice.encode(None)]:
                output.mux(packet)
    return sink.getvalue()


def picture(codec: str = "png") -> bytes:
    """A small picture."""
    context = av.CodecContext.create(codec, "w")
    context.width, context.height = 8, 8
    context.pix_fmt = "rgb24" if codec == "png" else "yuvj420p"
    context.time_base = Fraction(1)
    frame = av.VideoFrame.from_ndarray(np.zeros((8, 8, 3), np.uint8), format="rgb24")
    frame = frame.reformat(format=context.pix_fmt)
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])


def ogg_pages(data: bytes) -> Iterator[tuple[int, int]]:
    """Start and end of each page, as far as there are whole ones."""
    position = 0
    while data[position : position + 4] == b"OggS" and position + 27 <= len(data):
        count = data[position + 26]
        end = position + 27 + count + sum(data[position + 27 : position + 27 + count])
        if end > len(data):
            return
        yield position, end
        position = end


def ogg_sum(page: bytes) -> int:
    """The check sum of an Ogg page whose own is zero: zlib's polynomial, the bits turned."""
    state = zlib.crc32(page.translate(_BITS_TURNED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{state:032b}"[::-1], 2)


def with_sums(data: bytes) -> bytes:
    """An Ogg file whose check sums are right again, as far as its pages can be found."""
    fixed = bytearray(data)
    for start, end in ogg_pages(data):
        fixed[start + 22 : start + 26] = bytes(4)
        fixed[start + 22 : start + 26] = struct.pack("<I", ogg_sum(bytes(fixed[start:end])))
    return bytes(fixed)


def renumbered(data: bytes, serial: int = 77) -> bytes:
    """An Ogg file of one stream under a number that nobody drew."""
    fixed = bytearray(data)
    for start, _ in ogg_pages(data):
        fixed[start + 14 : start + 18] = struct.pack("<I", serial)
    return with_sums(bytes(fixed))


def undated(data: bytes) -> bytes:
    """A WAV whose chunk of peaks does not say when they were."""
    at = data.find(b"PEAK")
    return data if at < 0 else data[: at + 12] + bytes(4) + data[at + 16 :]


@cache
def _noise_in_opus() -> bytes:
    """Twenty seconds of soft noise in Opus."""
    noise = np.random.default_rng(5).normal(0, 0.003, (20 * 48_000, 1)).astype(np.float32)
    return encoded(noise, 48_000, "ogg", "libopus", bit_rate=8_000)


def write_long_opus(path: Path, hours: float) -> int:
    """Hours of soft noise in Opus, the same twenty seconds over and over; returns the bytes."""
    data = _noise_in_opus()
    pages = list(ogg_pages(data))
    heads, sound = pages[:2], pages[2:-1]
    begins = [struct.unpack_from("<q", data, start + 6)[0] for start, _ in sound]
    first = struct.unpack_from("<q", data, heads[-1][0] + 6)[0]
    length = begins[-1] - first
    rounds = round(hours * 3600 * 48_000 / length)
    written, number = 0, len(heads)
    with path.open("wb") as file:
        written += file.write(data[: heads[-1][1]])
        for turn in range(rounds):
            for index, (start, end) in enumerate(sound):
                page = bytearray(data[start:end])
                is_last = turn == rounds - 1 and index == len(sound) - 1
                page[5] = 4 if is_last else 0
                page[6:14] = struct.pack("<q", begins[index] + turn * length)
                page[18:22] = struct.pack("<I", number)
                page[22:26] = bytes(4)
                page[22:26] = struct.pack("<I", ogg_sum(bytes(page)))
                written += file.write(page)
                number += 1
    return written
