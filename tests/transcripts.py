"""Finished outputs of chosen transcripts, made on the spot: what exports and readers start from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ray_asr.schema import Segment, Transcript, Word, transcripts_to_table
from tests.fakes import PROVENANCE

# Ids that are paths, orders, names of devices, or like one another.
HOSTILE_IDS = (
    "../../etc/passwd", "/etc/passwd", "..", ".", "", " ", "a\x00b", "con", "NUL.txt", "-rf",
    "a/b", "a_b", "a b", "A_B", "$(reboot)", "`id`", "x|", "\u202egnp.exe",
    "x" * 5000, "日本語/録音", "a\nb", "a--b", "a-", "é", "e\u0301", "index", "~", "a~b",
    "row", "\u2028", "speech:12",
)  # fmt: skip


def said(
    utterance_id: str,
    *texts: str,
    start_ms: int = 0,
    word_ms: int = 300,
    speakers: Sequence[str] = (),
    language: str = "en",
) -> Transcript:
    """A transcript of these segments, a second between them, their words evenly timed."""
    segments = []
    now = start_ms
    for number, text in enumerate(texts):
        tokens = text.split() if " " in text or text.isascii() else list(text)
        bare = ["".join(c for c in token if c.isalnum()).lower() for token in tokens]
        words = tuple(
            Word(word, now + n * word_ms, now + (n + 1) * word_ms)
            for n, word in enumerate(word for word in bare if word)
        )
        end_ms = words[-1].end_ms if words else now + word_ms
        speaker = speakers[number] if speakers else ""
        segments.append(Segment(now, end_ms, text, words, speaker))
        now = end_ms + 1000
    whole = " ".join(texts)
    return Transcript(utterance_id, "ok", whole, tuple(segments), now, language)


def write_output(folder: Path, *parts: Sequence[Transcript], **columns: Sequence[Any]) -> Path:
    """A part file for each list of transcripts; `columns` go over all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    first = 0
    for number, transcripts in enumerate(parts):
        table = transcripts_to_table(transcripts, PROVENANCE)
        for name, values in columns.items():
            chosen = values[first : first + len(transcripts)]
            column = chosen if isinstance(chosen, pa.Array) else pa.array(chosen)
            table = table.append_column(name, column)
        first += len(transcripts)
        pq.write_table(table, folder / f"part-{number:04d}.parquet", write_page_checksum=True)
    return folder
