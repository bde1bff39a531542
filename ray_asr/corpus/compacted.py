"""Joined part files: which parts each of them holds, and where in an output a part's rows stand.

Owns `_compacted.json` and its meaning. Must not know how files are joined, models or Ray.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import pyarrow.fs as pafs

from ray_asr.corpus.storage import write_whole
from ray_asr.errors import DataError

COMPACTED_FILE = "_compacted.json"
JOINED = "part-joined-"  # begins the name of a file that holds several parts

# The parts that a joined file holds, in order, each with its rows.
Parts = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the rows of one part stand.

    Attributes:
        part: the part's name, which says what unit it is of.
        file: the name of the file in the output folder.
        first: the part's first row in that file.
        rows: how many it has there; None where it is the whole file.
    """

    part: str
    file: str
    first: int = 0
    rows: int | None = None


def joined_files(
    filesystem: pafs.FileSystem, folder: str, names: Collection[str]
) -> dict[str, Parts]:
    """What the joined files among `names` hold.

    Args:
        filesystem: where the output is.
        folder: the output folder.
        names: of its part files.

    Raises:
        DataError: what a joined file holds is not known.
    """
    joined = sorted(name for name in names if name.startswith(JOINED))
    if not joined:
        return {}
    record = _record(filesystem, f"{folder}/{COMPACTED_FILE}")
    unknown = [name for name in joined if name not in record]
    if unknown:
        raise DataError(
            f"{folder}/{COMPACTED_FILE} does not say which parts {unknown[0]} holds: put it back "
            "as `ray-asr compact` wrote it, or name another output folder."
        )
    return {name: record[name] for name in joined}


def places(names: Collection[str], joined: Mapping[str, Parts]) -> Iterator[Place]:
    """Where every part stands, a part that stands twice twice, in the order of the files."""
    for name in sorted(names):
        if name not in joined:
            yield Place(name, name)
            continue
        first = 0
        for part, rows in joined[name]:
            yield Place(part, name, first, rows)
            first += rows


def parts_of(filesystem: pafs.FileSystem, folder: str, names: Collection[str]) -> dict[str, Place]:
    """Where each part of an output stands, by the part's name.

    Args and raises: as `joined_files`.
    """
    return {place.part: place for place in places(names, joined_files(filesystem, folder, names))}


def write_record(filesystem: pafs.FileSystem, folder: str, joined: Mapping[str, Parts]) -> None:
    """Leave `_compacted.json` in an output."""
    text = json.dumps({"files": {name: list(map(list, parts)) for name, parts in joined.items()}})
    write_whole(filesystem, f"{folder}/{COMPACTED_FILE}", text.encode())


def _record(filesystem: pafs.FileSystem, path: str) -> dict[str, Parts]:
    try:
        with filesystem.open_input_stream(path) as source:
            files = json.loads(source.read())["files"]
        return {
            name: tuple((str(part), int(rows)) for part, rows in parts)
            for name, parts in files.items()
        }
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"{path} cannot be read ({error!r}): put it back as `ray-asr compact` wrote it, or "
            "name another output folder."
        ) from error
