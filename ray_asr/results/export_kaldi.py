"""A Kaldi data folder: `text`, `segments`, `utt2spk`, `spk2utt`, and `wav.scp` with `reco2dur`.

Owns Kaldi's ids and orders. Must not know where rows come from or how files are written.

Source: Kaldi's "Data preparation" and what its `utils/validate_data_dir.sh` holds such a folder
against: files sorted as by `LC_ALL=C sort`, utterances in the order of their speakers, the same
recordings in `wav.scp` and `reco2dur`. A path in `wav.scp` that ends in `|` is a command, which
Kaldi runs: a row with such a path is left out.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from typing import Any

from ray_asr.results.export_formats import Export, json_line, times_of
from ray_asr.results.export_names import Names, kaldi_id
from ray_asr.results.export_rows import Row
from ray_asr.results.sorted_lines import SortedLines
from ray_asr.results.subtitle_units import plain_text

_UNKNOWN = "unknown"  # the speaker of a segment without a label, where others of the row have one
# What Kaldi does not take for the path of a file: a command, standard input, a place in an archive.
_NO_FILE = re.compile(r"\A\||\|\Z|\A-\Z|\A\s|\s\Z|:\d+\Z|[\x00-\x1f\x7f]")


def write_kaldi(export: Export) -> None:
    """The folder, its utterances the segments of the rows, with a map from ids to Kaldi's."""
    if not export.audio.is_known:
        export.notes.append("no wav.scp: that takes the files' paths (--audio-column or --input)")
    names = Names(kaldi_id)
    utterances, recordings = SortedLines(), SortedLines()
    with ExitStack() as stack:
        for each in (names, utterances, recordings):
            stack.callback(each.close)
        with export.place.lines("ids.jsonl") as keep:
            for batch in export.rows.rows(export.audio):
                for row in batch:
                    if export.audio.is_known and _NO_FILE.search(row.audio or "-"):
                        export.add("rows without a path that is a file's, left out")
                        continue
                    name = names.new(row.utterance_id)
                    keep(json_line({"utterance_id": row.utterance_id, "recording": name}))
                    recordings.add(name, row.audio, f"{row.duration_ms / 1000:.3f}")
                    for fields in _utterances(row, name):
                        utterances.add(*fields)
        _write_utterances(export, utterances)
        if export.audio.is_known:
            _write_recordings(export, recordings)


def _utterances(row: Row, name: str) -> list[tuple[str, ...]]:
    """Id, recording, start, end, speaker and text of each segment."""
    has_speakers = any(plain_text(segment.get("speaker")) for segment in row.segments)
    found: list[tuple[str, ...]] = []
    taken: set[str] = set()
    for segment in row.segments:
        start_ms, end_ms = times_of(segment)
        end_ms = max(end_ms, start_ms + 10)  # Kaldi refuses what has no length
        speaker = name
        if has_speakers:
            speaker = f"{name}--{_label(segment)}"
        utterance = f"{speaker}--{start_ms:09d}-{end_ms:09d}"
        if utterance in taken:
            utterance = f"{utterance}-{len(taken)}"
        taken.add(utterance)
        found.append(
            (utterance, name, f"{start_ms / 1000:.3f}", f"{end_ms / 1000:.3f}", speaker,
             plain_text(segment["text"]))
        )  # fmt: skip
    return found


def _label(segment: dict[str, Any]) -> str:
    speaker = plain_text(segment.get("speaker"))
    return kaldi_id(speaker) if speaker else _UNKNOWN


def _write_utterances(export: Export, utterances: SortedLines) -> None:
    place = export.place
    with (
        place.lines("text") as text,
        place.lines("segments") as segments,
        place.lines("utt2spk") as utt2spk,
        place.lines("spk2utt") as spk2utt,
    ):
        last = ""
        for utterance, recording, start, end, speaker, words in utterances.merged():
            text(f"{utterance} {words}\n")
            segments(f"{utterance} {recording} {start} {end}\n")
            utt2spk(f"{utterance} {speaker}\n")
            # Speakers come in the order of their utterances, so that each is one run of lines.
            new = speaker != last
            spk2utt(f"{chr(10) if last and new else ''}{speaker if new else ''} {utterance}")
            last = speaker
            export.add("utterances")
        spk2utt("\n" if last else "")


def _write_recordings(export: Export, recordings: SortedLines) -> None:
    with export.place.lines("wav.scp") as scp, export.place.lines("reco2dur") as durations:
        for name, path, duration in recordings.merged():
            scp(f"{name} {path}\n")
            durations(f"{name} {duration}\n")
            export.add("recordings")
