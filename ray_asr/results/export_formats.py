"""Exports of a line a row or a segment: JSONL, TXT, NeMo's manifest, lhotse's supervisions.

Owns what such a line says. Must not know where rows come from or how files are written.

Source: NeMo's manifest as `nemo.collections.asr` reads it (`audio_filepath`, `offset`, `duration`,
`text`, `lang`), lhotse's `SupervisionSegment`, `AlignmentItem` and `Recording` as they write
themselves.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from ray_asr.errors import DataError
from ray_asr.results.export_audio import AudioPaths
from ray_asr.results.export_names import Names
from ray_asr.results.export_place import Place
from ray_asr.results.export_rows import ExportRows, Row
from ray_asr.results.subtitle_units import plain_text

# Inside the texts of JSON: what a terminal or a reader of lines takes for more than text.
_ESCAPED = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


@dataclass(slots=True)
class Export:
    """One export on its way.

    Attributes:
        rows: what is exported.
        audio: where recordings lie.
        place: where it goes.
        language: of rows whose own language is not known.
        has_labels: whether speakers are said where a format need not.
        entries: what was written, by its name in the format's words.
        notes: what a reader of the summary should know.
    """

    rows: ExportRows
    audio: AudioPaths
    place: Place
    language: str = ""
    has_labels: bool = False
    entries: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, what: str, count: int = 1) -> None:
        """Count what was written."""
        self.entries[what] = self.entries.get(what, 0) + count


def json_line(record: Mapping[str, Any]) -> str:
    """A line of JSON without any character that is more than text; it reads as what was given."""
    try:
        text = json.dumps(record, ensure_ascii=False, allow_nan=False, default=json_value)
    except ValueError:  # a float that is no number
        text = json.dumps(json_value(record), ensure_ascii=False)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


def json_value(value: Any) -> Any:
    """A cell as JSON has it.

    Bytes as base64, times and dates in ISO 8601, durations in seconds, decimal numbers as text,
    what is not a number as null.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): json_value(leaf) for name, leaf in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_value(leaf) for leaf in value]
    return str(value)


def write_jsonl(export: Export) -> None:
    """All columns of each row, one object a line, with the same names in each."""
    names = export.rows.footers.names
    with export.place.lines() as write:
        for batch in export.rows.batches_taken():
            lines: list[str] = []
            for values in batch.to_pylist():
                record = {name: values.get(name) for name in names}
                if export.language and not record.get("language"):
                    record["language"] = export.language
                lines.append(json_line(record))
            write("".join(lines))
            export.add("lines", len(lines))


def write_txt(export: Export) -> None:
    """The id, a tab, and the text of each row on one line, with speakers where asked for."""
    with export.place.lines() as write:
        for batch in export.rows.rows(has_segments=export.has_labels):
            lines = [f"{plain_text(row.utterance_id)}\t{_said(export, row)}\n" for row in batch]
            write("".join(lines))
            export.add("lines", len(lines))


def _said(export: Export, row: Row) -> str:
    if not export.has_labels:
        return plain_text(row.text)
    words: list[str] = []
    last = ""
    for segment in row.segments:
        speaker = plain_text(segment.get("speaker"))
        words += [f"[{speaker}]"] if speaker and speaker != last else []
        words.append(plain_text(segment["text"]))
        last = speaker
    return " ".join(words)


def write_nemo(export: Export) -> None:
    """NeMo's manifest: a line for each segment of a recording."""
    export.audio.need("NeMo")
    with export.place.lines() as write:
        for batch in export.rows.rows(export.audio):
            lines: list[str] = []
            for row in batch:
                if not row.audio:
                    export.add("rows without a path, left out")
                    continue
                lines += [json_line(record) for record in _nemo_records(export, row)]
            write("".join(lines))
            export.add("segments", len(lines))


def _nemo_records(export: Export, row: Row) -> Iterator[dict[str, Any]]:
    for segment in row.segments:
        start_ms, end_ms = times_of(segment)
        record: dict[str, Any] = {
            "audio_filepath": row.audio,
            "offset": start_ms / 1000,
            "duration": (end_ms - start_ms) / 1000,
            "text": plain_text(segment["text"]),
            "utterance_id": row.utterance_id,
        }
        if language := row.language or export.language:
            record["lang"] = language
        if speaker := speaker_of(row.utterance_id, segment):
            record["speaker"] = speaker
        yield record


def write_lhotse(export: Export, sampling_rate: int) -> None:
    """Lhotse's manifests: `supervisions.jsonl.gz`, and `recordings.jsonl.gz` where paths are known.

    Args:
        export: what is exported.
        sampling_rate: of the recordings' files, which lhotse holds against them; 0 where it is not
            known, and then there are no recordings.
    """
    if sampling_rate < 0:
        raise DataError(f"sampling_rate is {sampling_rate}: use that of the files, such as 16000.")
    has_recordings = bool(sampling_rate) and export.audio.is_known
    if not has_recordings:
        missing = [] if sampling_rate else ["--sampling-rate"]
        missing += [] if export.audio.is_known else ["their paths (--audio-column or --input)"]
        export.notes.append(
            f"no recordings.jsonl.gz: that takes, of the files, {' and '.join(missing)}"
        )
    names = Names(lambda utterance_id: utterance_id)
    with ExitStack() as stack:
        stack.callback(names.close)
        supervise = stack.enter_context(export.place.lines("supervisions.jsonl.gz"))
        record = (
            stack.enter_context(export.place.lines("recordings.jsonl.gz"))
            if has_recordings
            else None
        )
        for batch in export.rows.rows(export.audio):
            for row in batch:
                if record and not row.audio:
                    export.add("rows without a path, left out")
                    continue
                name = names.new(row.utterance_id)
                for number, segment in enumerate(row.segments):
                    supervise(json_line(_supervision(export, row, segment, name, number)))
                export.add("supervisions", len(row.segments))
                if record:
                    record(json_line(_recording(row, name, sampling_rate)))
                    export.add("recordings")


def _supervision(
    export: Export, row: Row, segment: dict[str, Any], name: str, number: int
) -> dict[str, Any]:
    start_ms, end_ms = times_of(segment)
    record: dict[str, Any] = {
        "id": f"{name}-{number}",
        "recording_id": name,
        "start": start_ms / 1000,
        "duration": (end_ms - start_ms) / 1000,
        "channel": 0,
        "text": plain_text(segment["text"]),
    }
    if language := row.language or export.language:
        record["language"] = language
    if speaker := speaker_of(name, segment):
        record["speaker"] = speaker
    words = [
        [plain_text(word["text"]), word["start_ms"] / 1000,
         max(word["end_ms"] - word["start_ms"], 0) / 1000]
        for word in segment.get("words") or ()
    ]  # fmt: skip
    if words:
        record["alignment"] = {"word": words}
    if name != row.utterance_id:
        record["custom"] = {"utterance_id": row.utterance_id}
    return record


def _recording(row: Row, name: str, sampling_rate: int) -> dict[str, Any]:
    return {
        "id": name,
        "sources": [
            {"type": "url" if "://" in row.audio else "file", "channels": [0], "source": row.audio}
        ],
        "sampling_rate": sampling_rate,
        "num_samples": row.duration_ms * sampling_rate // 1000,
        "duration": row.duration_ms * sampling_rate // 1000 / sampling_rate,
        "channel_ids": [0],
    }


def times_of(segment: Mapping[str, Any]) -> tuple[int, int]:
    """When a segment begins and ends, in ms: no earlier than the recording, and later than that."""
    start_ms = max(segment.get("start_ms") or 0, 0)
    return start_ms, max(segment.get("end_ms") or 0, start_ms + 1)


def speaker_of(name: str, segment: Mapping[str, Any]) -> str:
    """A speaker's name: labels mean something in one recording alone."""
    speaker = plain_text(segment.get("speaker"))
    return f"{name}-{speaker}" if speaker else ""
