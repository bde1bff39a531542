"""Cues as a SubRip (SRT) or a WebVTT file.

Owns both formats and how text stays text in them. Must not know where cues come from.

Source: WebVTT as the W3C has it. SubRip has no standard: players take `<…>` for HTML, and `{…}` and
backslashes for orders of other subtitle formats, and there is no way to write them as text. So
these five characters become others that are read like them.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

from ray_asr.results.subtitle_cuts import Line
from ray_asr.results.subtitle_units import plain_text
from ray_asr.results.subtitles import Cue, label_of

_FOR_SUBRIP = str.maketrans({"<": "\u2039", ">": "\u203a", "{": "(", "}": ")", "\\": "/"})


def srt(cues: Sequence[Cue], *, has_labels: bool = False) -> str:
    """A SubRip file.

    Args:
        cues: in order.
        has_labels: say who speaks, where another one begins.
    """
    blocks: list[str] = []
    speaker = ""
    for number, cue in enumerate(cues, 1):
        lines = [
            f"{start}{line.text}".translate(_FOR_SUBRIP)
            for start, line in zip(_starts(cue, speaker, has_labels), cue.lines, strict=True)
        ]
        speaker = cue.lines[-1].speaker
        times = f"{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}"
        blocks.append("\n".join([str(number), times, *lines, ""]))
    return "\n".join(blocks)


def vtt(cues: Sequence[Cue], *, language: str = "", has_labels: bool = False) -> str:
    """A WebVTT file.

    Args:
        cues: in order.
        language: of the text; "" where it is not known.
        has_labels: say who speaks, in voice spans: a player need not show them.
    """
    header = ["WEBVTT"]
    if language:
        header += ["Kind: captions", f"Language: {_one_word(language)}"]
    blocks = ["\n".join([*header, ""])]
    for cue in cues:
        two = _speakers(cue.lines) > 1
        lines = [
            _voice(line) if has_labels and line.speaker
            else f"{'-' if two else ''}{html.escape(line.text, quote=False)}"
            for line in cue.lines
        ]  # fmt: skip
        times = f"{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}"
        blocks.append("\n".join([times, *lines, ""]))
    return "\n".join(blocks)


def _voice(line: Line) -> str:
    return f"<v {html.escape(line.speaker, quote=False)}>{html.escape(line.text, quote=False)}</v>"


def _starts(cue: Cue, speaker: str, has_labels: bool) -> list[str]:
    """Before each line: a label where the speaker changes, or a dash for each of two."""
    if not has_labels:
        return ["-" if _speakers(cue.lines) > 1 else ""] * len(cue.lines)
    before = [speaker, *(line.speaker for line in cue.lines)]
    return [
        label_of(line.speaker) if line.speaker != last else ""
        for line, last in zip(cue.lines, before, strict=False)
    ]


def _speakers(lines: Sequence[Line]) -> int:
    return len({line.speaker for line in lines})


def _one_word(text: str) -> str:
    return "".join(c for c in plain_text(text) if c.isalnum() or c in "-_")


def _clock(time_ms: int, point: str) -> str:
    seconds, milliseconds = divmod(time_ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{point}{milliseconds:03d}"
