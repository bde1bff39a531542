"""The transcripts of a finished run in the formats of others.

Owns which formats there are, the order of an export's steps, and its summary. Must not know Ray or
the engine, nor what a format looks like inside.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from ray_asr.blocks import Block, Cell, Facts
from ray_asr.errors import ConfigError, DataError, StorageError
from ray_asr.live import Live
from ray_asr.redaction import redacted
from ray_asr.results.export_audio import AudioPaths
from ray_asr.results.export_formats import (
    Export,
    write_jsonl,
    write_lhotse,
    write_nemo,
    write_txt,
)
from ray_asr.results.export_hf import write_hf
from ray_asr.results.export_kaldi import write_kaldi
from ray_asr.results.export_place import Place, Storage
from ray_asr.results.export_rows import ExportRows
from ray_asr.results.export_subtitles import write_subtitles
from ray_asr.results.subtitle_units import plain_text
from ray_asr.results.subtitles import CueStyle
from ray_asr.schema import STATUS_OK
from ray_asr.shown import Shown

Format = Literal["jsonl", "txt", "srt", "vtt", "kaldi", "nemo", "lhotse", "hf"]
FORMATS: tuple[str, ...] = get_args(Format)
FILES = ("jsonl", "txt", "nemo")  # one file; the others are a folder of files
NAMES_AUDIO = ("kaldi", "nemo", "lhotse")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What is exported, and how.

    Attributes:
        statuses: of the rows to export, or `all`.
        ids: of the rows to export; all where it is empty.
        language: of the text where a row does not say it, and how subtitles count it.
        audio_column: of the output or the input, with the paths of the recordings; "" for
            `audio_path`.
        source: the job's input, where the output does not have the paths.
        audio_root: a folder or an address that relative paths start from.
        sampling_rate: of the recordings' files, for lhotse; 0 where it is not known.
        has_labels: say who speaks, in txt, srt and vtt.
        max_line_chars: see `CueStyle`, as the five below.
        max_lines: lines in a subtitle.
        max_cps: characters a second.
        min_cue_s: that a subtitle is shown.
        max_cue_s: that a subtitle is shown.
        gap_s: between two subtitles.
        overwrite: replace an export that is there.
    """

    statuses: Sequence[str] = (STATUS_OK,)
    ids: Sequence[str] = ()
    language: str = ""
    audio_column: str = ""
    source: str = ""
    audio_root: str = ""
    sampling_rate: int = 0
    has_labels: bool = False
    max_line_chars: int = 0
    max_lines: int = 2
    max_cps: float = 0.0
    min_cue_s: float = 0.833
    max_cue_s: float = 7.0
    gap_s: float = 0.083
    overwrite: bool = False

    def cue_style(self, form: str) -> CueStyle:
        """The style of subtitles; of WebVTT, labels take no room in lines."""
        return CueStyle(
            max_line_chars=self.max_line_chars,
            max_lines=self.max_lines,
            max_cps=self.max_cps,
            min_duration_ms=round(self.min_cue_s * 1000),
            max_duration_ms=round(self.max_cue_s * 1000),
            gap_ms=round(self.gap_s * 1000),
            has_labels=self.has_labels and form == "srt",
        )


@dataclass(frozen=True, slots=True)
class ExportSummary(Shown):
    """What was exported.

    Attributes:
        rows: of the output that were exported.
        left_out: rows that were not, by their status.
        entries: what was written, by its name in the format's words.
        notes: what the export does not have, and how it would.
        wall_s: what it took, in seconds.
    """

    output: str
    destination: str
    format: str
    rows: int
    left_out: Mapping[str, int] = field(default_factory=dict)
    entries: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()
    wall_s: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return asdict(self)

    def blocks(self) -> list[Block]:
        """The summary in a few facts."""
        written = ", ".join(f"{count:,} {name}" for name, count in self.entries.items())
        left = ", ".join(f"{count:,} {name}" for name, count in sorted(self.left_out.items()))
        facts: list[tuple[str, Cell]] = [
            ("exported", f"{self.rows:,} rows of {self.output}"),
            ("to", f"{self.destination} ({self.format})"),
            ("written", written or "nothing"),
        ]
        if left:
            facts.append(("left out", (f"{left} (--status all takes every row)", "warning")))
        facts += [("note", note) for note in self.notes]
        return [Facts(facts)]


def export(
    output: str, destination: str, form: str, options: ExportOptions, storage: Storage
) -> ExportSummary:
    """Write the transcripts of a run in another format.

    Rows pass by a few at a time, so that memory does not hang on how many there are.

    Args:
        output: folder of part files, a path or an address.
        destination: a file for `FILES`, a folder for the other formats.
        form: one of `FORMATS`.
        options: what is exported, and how.
        storage: opens and writes files.

    Raises:
        ConfigError: an option that cannot work.
        DataError: there is nothing to read, something is at the destination, or it cannot be
            written.
    """
    if form not in FORMATS:
        raise ConfigError(f"format is {form!r}; it can be {', '.join(FORMATS)}.")
    style = options.cue_style(form)
    began = time.monotonic()
    rows = ExportRows(output, options.statuses, options.ids, storage.open_filesystem)
    with closing(_audio_of(rows, output, form, options, storage)) as audio, Live(logger) as live:

        def say(count: int, share: float) -> None:
            if live.due():
                live.say(f"{count:,} rows are exported", share)

        rows.progress = say
        if form == "nemo":
            audio.need("NeMo")
        place = Place(destination, output, storage, form not in FILES)
        job = Export(rows, audio, place, plain_text(options.language), options.has_labels)
        try:
            place.clear(options.overwrite)
            place.mark({"format": form, "complete": False})
            _write(job, form, options, style)
            summary = ExportSummary(
                redacted(output), redacted(destination), form, rows.taken,
                dict(rows.left_out), dict(job.entries), tuple(job.notes),
                round(time.monotonic() - began, 3),
            )  # fmt: skip
            place.mark({"format": form, "complete": True, "rows": rows.taken, **job.entries})
        except StorageError:
            raise
        except OSError as error:
            raise DataError(
                f"the destination {redacted(destination)} cannot be written ({error}); name a "
                "place that can be, or make room."
            ) from error
    return summary


def _audio_of(
    rows: ExportRows, output: str, form: str, options: ExportOptions, storage: Storage
) -> AudioPaths:
    """Where recordings lie, for the formats that say so."""
    if form not in NAMES_AUDIO:
        return AudioPaths(output, lambda column: False, "", "", "", storage.open_filesystem)
    return AudioPaths(
        output, rows.has, options.audio_column, options.source, options.audio_root,
        storage.open_filesystem,
    )  # fmt: skip


def _write(job: Export, form: str, options: ExportOptions, style: CueStyle) -> None:
    if form in ("srt", "vtt"):
        write_subtitles(job, form, style)
    elif form == "lhotse":
        write_lhotse(job, options.sampling_rate)
    else:
        writers = {
            "jsonl": write_jsonl, "txt": write_txt, "kaldi": write_kaldi, "nemo": write_nemo,
            "hf": write_hf,
        }  # fmt: skip
        writers[form](job)
