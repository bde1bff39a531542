"""Decoded blocks that FFmpeg makes.

Owns what FFmpeg may do: it may open nothing but the given bytes (of the formats it would recognise
by itself, playlists would make it fetch other files), and of the streams in them no pictures, whose
size a header of a few bytes can put at gigabytes. Must not know models or Ray.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator
from functools import cache

import av
import av.container
import av.error
import numpy as np
import numpy.typing as npt

from ray_asr.corpus.audio_blocks import Block, BytesFile, corrupt, no_progress
from ray_asr.corpus.audio_headers import ADTS, G722, MP3, MP4, OGG, UNKNOWN, WEBM, Header
from ray_asr.errors import ErrorCode, RowError

_MOST_STREAMS = 200
_LARGE_TAG_BYTES = 2**16  # decompressed, a smaller one is at most 66 MB
# Refused packets are junk between frames in formats that have no container around them.
_REFUSED_ALLOWED = {MP3: 0.05, ADTS: 0.05}
_FFMPEG_NAMES = {OGG: "ogg", MP3: "mp3", MP4: "mov", WEBM: "matroska", ADTS: "aac", G722: "g722"}
# What FFmpeg may take unknown bytes for. Images are there to be told from noise.
_FFMPEG_GUESSES = (
    "ac3,aiff,amr,ape,asf,au,avi,caf,dsf,eac3,flv,mpeg,mpegts,tta,voc,w64,wv,"
    "bmp_pipe,gif,gif_pipe,jpeg_pipe,png_pipe,tiff_pipe,webp_pipe"
)
_INTEGER_SCALES = {"u8": 2.0**7, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63}


@cache
def _sound_decoders() -> str:
    """The decoders that FFmpeg may use while it looks into a file: none of pictures."""
    names: list[str] = []
    for name in sorted(av.codecs_available):
        with contextlib.suppress(ValueError):  # of an encoder alone
            if av.Codec(name, "r").type == "audio":
                names.append(name)
    return ",".join(names)


def _without_large_tags(data: memoryview) -> memoryview:
    """The bytes with the names of large ID3 tags blotted out: what is in them may be compressed."""
    large = [
        tag.start()
        for tag in re.finditer(rb"ID3[\x02-\x04].[^\x80-\xff]{5}", data, re.DOTALL)
        if _LARGE_TAG_BYTES < _id3_bytes(tag[0]) <= len(data) - tag.start()
    ]
    if not large:
        return data
    changed = bytearray(data)
    for start in large:
        changed[start : start + 3] = bytes(3)
    return memoryview(changed)


def _id3_bytes(head: bytes) -> int:
    return head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]


def ffmpeg_blocks(header: Header) -> Iterator[Block]:
    """What FFmpeg makes of the best sound in the bytes."""
    name = _FFMPEG_NAMES.get(header.kind)
    has_tags_inside = header.kind in (UNKNOWN, ADTS)
    file = BytesFile(_without_large_tags(header.data) if has_tags_inside else header.data)
    try:
        with av.open(
            file,
            format=name,
            container_options={
                "format_whitelist": name or _FFMPEG_GUESSES,
                "codec_whitelist": _sound_decoders(),
                "protocol_whitelist": "none",  # the name of none: nothing is opened by its name
                "max_streams": str(_MOST_STREAMS),
            },
            metadata_errors="ignore",
        ) as container:
            for block in _ffmpeg_stream_blocks(container, header):
                yield block
                file.go_on()
    # PyAV raises ValueError itself where FFmpeg hands it something it has no name for.
    except (av.error.FFmpegError, ValueError) as error:
        raise (no_progress(header) if file.is_given_up else corrupt(header)) from error
    if file.is_given_up:
        raise no_progress(header)


def _ffmpeg_stream_blocks(
    container: av.container.InputContainer, header: Header
) -> Iterator[Block]:
    stream = container.streams.best("audio")
    if not isinstance(stream, av.AudioStream):
        raise RowError(ErrorCode.AUDIO_NO_STREAM, "the media file has no audio stream.")
    if stream.codec_context is None:
        raise corrupt(header)
    stream.codec_context.thread_count = 1  # a task decodes on the one core that it was given
    refused = packets = 0
    last_error: av.error.InvalidDataError | None = None
    for packet in container.demux(stream):
        packets += 1
        try:
            frames = packet.decode()
        except av.error.InvalidDataError as error:
            refused, last_error = refused + 1, error
            continue
        for frame in frames:
            if isinstance(frame, av.AudioFrame) and frame.samples:
                yield Block(frame.sample_rate, _frame_samples(frame))
    if refused > math.ceil(packets * _REFUSED_ALLOWED.get(header.kind, 0.0)):
        raise corrupt(header) from last_error


def _frame_samples(frame: av.AudioFrame) -> npt.NDArray[np.float32]:
    """A frame's samples `(T, channels)`, integers scaled to [-1, 1)."""
    values = frame.to_ndarray()
    layout = frame.format
    values = values.T if layout.is_planar else values.reshape(-1, frame.layout.nb_channels)
    samples = values.astype(np.float32)
    name = layout.packed.name
    if name in _INTEGER_SCALES:
        if name == "u8":
            samples -= 128.0
        samples /= _INTEGER_SCALES[name]
    return samples
