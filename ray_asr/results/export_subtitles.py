"""A folder of subtitle files, one a row, with a map from ids to them.

Owns the files' names and folders. Must not know how a transcript is cut into subtitles.
"""

from __future__ import annotations

from contextlib import closing

from ray_asr.results.export_formats import Export, json_line
from ray_asr.results.export_names import Names, digest, file_name
from ray_asr.results.export_rows import Row
from ray_asr.results.subtitle_files import srt, vtt
from ray_asr.results.subtitles import CueStyle, make_cues

INDEX_FILE = "index.jsonl"
# Up to so many rows of the output stand in one folder, or in 256; more in 65,536.
_FLAT, _TWO_DIGITS = 1_000, 250_000


def write_subtitles(export: Export, suffix: str, style: CueStyle) -> None:
    """A file a row, and `index.jsonl` with the file of each id.

    Args:
        export: what is exported.
        suffix: `srt` or `vtt`.
        style: how long lines and cues may be.
    """
    count = export.rows.footers.rows
    names = Names(file_name, ignores_case=True)
    with (
        closing(names),
        export.place.lines(INDEX_FILE) as keep,
        export.place.small_files() as write,
    ):
        for batch in export.rows.rows():
            for row in batch:
                cues = make_cues(
                    row.segments, style, language=export.language, duration_ms=row.duration_ms
                )
                name = f"{_folder(row, count)}{names.new(row.utterance_id)}.{suffix}"
                if suffix == "srt":
                    text = srt(cues, has_labels=export.has_labels)
                else:
                    text = vtt(
                        cues, language=row.language or export.language,
                        has_labels=export.has_labels,
                    )  # fmt: skip
                write(name, text)
                too_fast = sum(cue.is_too_fast for cue in cues)
                keep(
                    json_line(
                        {"utterance_id": row.utterance_id, "file": name, "cues": len(cues),
                         "too_fast": too_fast, "duration_ms": row.duration_ms}
                    )
                )  # fmt: skip
                export.add("files")
                export.add("cues", len(cues))
                export.add("cues faster than the reading speed", too_fast)


def _folder(row: Row, count: int) -> str:
    digits = digest(row.utterance_id)
    if count <= _FLAT:
        return ""
    return f"{digits[:2]}/" if count <= _TWO_DIGITS else f"{digits[:2]}/{digits[2:4]}/"
