"""The sound of single rows of an output, for players in a page.

Owns the way from a row of the output to its row of the input, and how much of it is taken. Must not
know the page, models or Ray. What is at hand is given, in bounded time and memory; what is not is
left out without a word: a page without players is a page.
"""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import soundfile

from ray_asr.config import InputConfig
from ray_asr.corpus.audio import decode_pieces
from ray_asr.corpus.resume import part_places
from ray_asr.corpus.rows import ENCODED, ENCODED_NAME, ID, WAVEFORM, decode_rows, read_unit
from ray_asr.corpus.units import Unit
from ray_asr.errors import DataError, RowError
from ray_asr.results.report_rows import Clip, ShownRow
from ray_asr.schema import SAMPLE_RATE_HZ, Waveform

_CLIP_S = 15.0
_BEFORE_S = 0.3  # of silence before speech
_MOST_CLIPS = 8
# Recordings that would take long to read and to decode are left out.
_LONGEST_S, _MOST_BYTES = 1800.0, 256 * 2**20
# By libsndfile's name: every browser plays it, at a tenth of the bytes. Else 16-bit WAV.
_SMALL = "MP3"


def read_clips(
    filesystem: pafs.FileSystem,
    folder: str,
    source: pafs.FileSystem,
    units: Sequence[Unit],
    config: InputConfig,
    rows: Sequence[ShownRow],
    until: float | None = None,
) -> dict[tuple[str, int], Clip]:
    """The sound of as many of `rows` as can be had.

    Args:
        filesystem: where the output is.
        folder: the output.
        source: where the input is.
        units: of the input.
        config: how the input is read.
        rows: of the output.
        until: by the monotonic clock, when no other row is begun.
    """
    by_part = {unit.part_name: unit for unit in units}
    try:
        found = part_places(filesystem, folder).values()
    except (DataError, OSError):
        return {}  # what joined files hold is not known
    places = sorted(found, key=lambda place: (place.file, place.first))
    clips: dict[tuple[str, int], Clip] = {}
    for row in rows:
        if len(clips) == _MOST_CLIPS or (until is not None and time.monotonic() > until):
            break
        name = row.file.rpartition("/")[2]
        place = next(
            (p for p in reversed(places) if p.file == name and p.first <= row.number), None
        )
        unit = by_part.get(place.part) if place else None
        if place is None or unit is None or not _is_small(row, unit):
            continue
        number = row.number - place.first
        if number >= unit.rows[1] - unit.rows[0]:
            continue
        try:
            clip = _clip(source, replace(unit, chosen=(number,)), config, row)
        except (RowError, DataError, pa.ArrowException, OSError, ValueError):
            continue  # gone, moved, or no sound: its transcript is shown without
        if clip is not None:
            clips[row.file, row.number] = clip
    return clips


def _is_small(row: ShownRow, unit: Unit) -> bool:
    return 0 < row.duration_ms <= 1000 * _LONGEST_S and unit.audio_bytes <= _MOST_BYTES


def _clip(source: pafs.FileSystem, unit: Unit, config: InputConfig, row: ShownRow) -> Clip | None:
    """The beginning of what is said in a row; None where the input has another row there."""
    (batch,) = read_unit(source, unit)
    tables = [table for table, _ in decode_rows(batch, config, _LONGEST_S)]
    (values,) = pa.concat_tables(tables).to_pylist()
    if values[ID] != row.text("utterance_id"):
        return None
    length_s = row.duration_ms / 1000
    start_s = 0.0
    if length_s > _CLIP_S:
        start_s = min(max(0.0, _speech_begins_s(row) - _BEFORE_S), length_s - _CLIP_S)
    if values[WAVEFORM] is not None:
        waveform = np.frombuffer(values[WAVEFORM], np.float32)
    elif values[ENCODED] is not None:
        pieces = decode_pieces(
            values[ENCODED], start_s + _CLIP_S, path_hint=values[ENCODED_NAME] or ""
        )
        waveform = next(pieces)
    else:
        return None
    first = round(start_s * SAMPLE_RATE_HZ)
    part = waveform[first : first + round(_CLIP_S * SAMPLE_RATE_HZ)]
    return Clip(_address(part), start_s, len(part) / SAMPLE_RATE_HZ, length_s <= _CLIP_S)


def _speech_begins_s(row: ShownRow) -> float:
    segments = row.values.get("segments")
    first = segments[0] if isinstance(segments, list) and segments else None
    start_ms = first.get("start_ms") if isinstance(first, Mapping) else None
    return start_ms / 1000 if isinstance(start_ms, int) else 0.0


def _address(waveform: Waveform) -> str:
    """The sound as an address that holds all of it."""
    small = _SMALL in soundfile.available_formats()
    sink = io.BytesIO()
    if small:
        soundfile.write(sink, waveform, SAMPLE_RATE_HZ, format=_SMALL)
    else:
        soundfile.write(sink, waveform, SAMPLE_RATE_HZ, format="WAV", subtype="PCM_16")
    kind = "audio/mpeg" if small else "audio/wav"
    return f"data:{kind};base64,{base64.b64encode(sink.getvalue()).decode()}"
