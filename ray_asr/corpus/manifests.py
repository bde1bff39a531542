"""Folders, Kaldi directories and JSONL manifests → a list of recordings to pack.

Owns what the sources of `pack` look like. Reads listings and manifests, never audio. Must not know
Ray, models or how shards are written.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pyarrow.fs as pafs

from ray_asr.corpus.storage import open_filesystem, read_whole
from ray_asr.errors import DataError, StorageError
from ray_asr.redaction import redacted

# What `audio.decode` reads.
AUDIO_SUFFIXES = tuple(
    f".{suffix}"
    for suffix in ("wav", "flac", "mp3", "ogg", "opus", "m4a", "aac", "mp4", "webm", "g722")
)
COLUMNS = ("utterance_id", "audio", "duration_ms", "reference_text", "audio_path")

_NEMO_KEYS = frozenset({"audio_filepath", "duration", "text", "offset", "utterance_id"})
_FUNASR_KEYS = frozenset({"key", "source", "target", "utterance_id"})
_ARK = re.compile(r"\.ark:\d+$")


@dataclass(frozen=True, slots=True)
class Recording:
    """One file that becomes one row.

    Attributes:
        path: where it is, in its filesystem's own form; `store` says in which filesystem.
        audio_path: the path as the source names it, without secrets.
        origin: what named it, for messages.
        reference_text: None where the source gives none; "" says that nothing is said.
        text_path: a file that holds the reference text; "" where `reference_text` is it.
        claimed_ms: the duration by the manifest, for what does not say its own.
        extras: further columns, the same names for every recording of a source.
    """

    utterance_id: str
    path: str
    audio_path: str
    origin: str
    size: int = 0
    store: int = 0
    reference_text: str | None = None
    text_path: str = ""
    claimed_ms: int | None = None
    extras: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recordings:
    """What a source names.

    Attributes:
        filesystems: what `Recording.store` counts.
        found: the recordings that are there, in the order of the source.
        missing: id and reason of those that are not.
    """

    filesystems: tuple[pafs.FileSystem, ...]
    found: list[Recording]
    missing: list[tuple[str, str]]


def check_unique(named: Iterable[tuple[str, str]]) -> None:
    """Ids are unique over the whole source.

    Args:
        named: each id and what names it.

    Raises:
        DataError: an id comes twice; both places are named.
    """
    seen: dict[str, str] = {}
    for utterance_id, origin in named:
        first = seen.setdefault(utterance_id, origin)
        if first is not origin:
            raise DataError(
                f'the id "{utterance_id}" comes twice, in {first} and in {origin}; ids must be '
                "unique, so rename one."
            )


def list_folder(filesystem: pafs.FileSystem, root: str) -> Recordings:
    """Every audio file below `root`, by path; its id is the path from `root`, suffix included.

    A `.txt` file of the same stem is the reference text. What starts with "." is left out.
    """
    files = {
        info.path: info
        for info in filesystem.get_file_info(pafs.FileSelector(root, recursive=True))
        if info.type == pafs.FileType.File
    }
    found: list[Recording] = []
    for path in sorted(files):
        relative = posixpath.relpath(path, root)
        stem, suffix = posixpath.splitext(path)
        hidden = any(part.startswith(".") for part in relative.split("/"))
        if hidden or suffix.lower() not in AUDIO_SUFFIXES:
            continue
        text_path = f"{stem}.txt" if f"{stem}.txt" in files else ""
        size = files[path].size or 0
        found.append(Recording(relative, path, relative, path, size=size, text_path=text_path))
    return Recordings((filesystem,), found, [])


def read_kaldi(filesystem: pafs.FileSystem, scp: str) -> Recordings:
    """A `wav.scp` of `<id> <path>` lines, with the `text` beside it where there is one.

    Relative paths start at the folder of `wav.scp`.

    Raises:
        DataError: an entry is a command or points into an archive, or `segments` cuts recordings.
    """
    folder = posixpath.dirname(scp)
    texts: dict[str, str] = {}
    if _is_file(filesystem, f"{folder}/segments"):
        raise DataError(
            f"{folder}/segments cuts recordings into utterances, which pack does not do; move it "
            "away to pack whole recordings."
        )
    if _is_file(filesystem, f"{folder}/text"):
        for _, line in _lines(filesystem, f"{folder}/text"):
            utterance_id, *words = line.split(maxsplit=1)
            texts[utterance_id] = "".join(words)
    entries: list[Recording] = []
    for number, line in _lines(filesystem, scp):
        origin = f"{scp} line {number}"
        utterance_id, *rest = line.split(maxsplit=1)
        path = rest[0].strip() if rest else ""
        if not path:
            raise DataError(f'{origin} has no path; write it as "<id> <path>".')
        if path.endswith("|"):
            raise DataError(
                f"{origin} is a command; ray_asr runs none, so write its output to a file and name "
                "that."
            )
        if _ARK.search(path):
            raise DataError(f"{origin} points into an archive; unpack it and name the files.")
        text = texts.get(utterance_id)
        entries.append(Recording(utterance_id, path, redacted(path), origin, reference_text=text))
    return _located(entries, filesystem, folder)


def read_jsonl(filesystem: pafs.FileSystem, path: str) -> Recordings:
    """A manifest with one JSON object a line, of NeMo (`audio_filepath`) or FunASR (`source`).

    The id is `utterance_id`, or FunASR's `key`, or the path as written. Relative paths start at
    the manifest's folder. Other keys that every line has with a plain value become text columns.

    Raises:
        DataError: a line is no such object, or asks for a part of a recording (`offset`).
    """
    entries = [
        _jsonl_entry(line, f"{path} line {number}") for number, line in _lines(filesystem, path)
    ]
    if entries:
        common = set(entries[0].extras).intersection(*(entry.extras for entry in entries))
        names = [name for name in entries[0].extras if name in common]
        entries = [replace(e, extras={name: e.extras[name] for name in names}) for e in entries]
    return _located(entries, filesystem, posixpath.dirname(path))


def _jsonl_entry(line: str, origin: str) -> Recording:
    try:
        values: Any = json.loads(line)
    except ValueError as error:
        raise DataError(f"{origin} is not JSON; write one object a line.") from error
    if not isinstance(values, dict):
        raise DataError(f"{origin} is not a JSON object; write one object a line.")
    entry = cast(dict[str, Any], values)
    is_nemo = "audio_filepath" in entry
    path = entry.get("audio_filepath" if is_nemo else "source")
    if not isinstance(path, str) or not path:
        raise DataError(f'{origin} has neither "audio_filepath" (NeMo) nor "source" (FunASR).')
    if entry.get("offset"):
        raise DataError(
            f"{origin} asks for a part of a recording (offset), which pack does not cut; cut it "
            "into a file of its own."
        )
    shown = redacted(path)
    named = entry.get("utterance_id", shown if is_nemo else entry.get("key", shown))
    text = entry.get("text" if is_nemo else "target")
    seconds = entry.get("duration") if is_nemo else None
    claimed_ms = None
    if isinstance(seconds, (int, float)) and 0 <= seconds < 1e9:
        claimed_ms = round(seconds * 1000)
    known = {*(_NEMO_KEYS if is_nemo else _FUNASR_KEYS), *COLUMNS}
    return Recording(
        str(named),
        path,
        shown,
        origin,
        reference_text=None if text is None else str(text),
        claimed_ms=claimed_ms,
        extras={
            key: value if isinstance(value, str) else json.dumps(value)
            for key, value in entry.items()
            if key not in known and isinstance(value, (str, int, float, bool))
        },
    )


def _located(entries: Iterable[Recording], filesystem: pafs.FileSystem, folder: str) -> Recordings:
    """Entries whose `path` is as written → recordings with their filesystem, path and size."""
    filesystems = [filesystem]
    located: list[Recording] = []
    for entry in entries:
        path, store = posixpath.normpath(posixpath.join(folder, entry.path)), 0
        if "://" in entry.path:
            other, path = open_filesystem(entry.path)
            known = (i for i, each in enumerate(filesystems) if each is other)
            equal = (i for i, each in enumerate(filesystems) if each.equals(other))
            store = next(known, next(equal, len(filesystems)))
            if store == len(filesystems):
                filesystems.append(other)
        located.append(replace(entry, path=path, store=store))
    found: list[Recording] = []
    missing: list[tuple[str, str]] = []
    sizes: dict[tuple[int, str], int | None] = {}
    for store, each in enumerate(filesystems):
        paths = list({entry.path for entry in located if entry.store == store})
        for info in each.get_file_info(paths) if paths else []:
            is_file = info.type == pafs.FileType.File
            sizes[store, info.path] = (info.size or 0) if is_file else None
    for entry in located:
        size = sizes[entry.store, entry.path]
        if size is None:
            missing.append((entry.utterance_id, f"{entry.audio_path} is not there"))
        else:
            found.append(replace(entry, size=size))
    check_unique((entry.utterance_id, entry.origin) for entry in located)
    return Recordings(tuple(filesystems), found, missing)


def _is_file(filesystem: pafs.FileSystem, path: str) -> bool:
    return filesystem.get_file_info(path).type == pafs.FileType.File


def _lines(filesystem: pafs.FileSystem, path: str) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, stripped, with their numbers from 1."""
    try:
        text = read_whole(filesystem, path).decode("utf-8-sig")
    except StorageError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text ({error}).") from error
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line.strip()
