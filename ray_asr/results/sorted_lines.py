"""Lines in the order of their bytes, more of them than there is memory for.

Owns the runs on disk and their merge: the order of `LC_ALL=C sort`. Must not know what lines are.
"""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_BETWEEN = "\0"  # sorts before any character, so that a line sorts by its first field first
_RUN_BYTES = 2**26
_LINE_BYTES = 64  # what a line takes beside its own bytes
_MOST_RUNS = 100  # files that are open at once


class SortedLines:
    """Collects lines of fields, then gives them sorted by the first field.

    Args:
        run_bytes: how much is held in memory.
    """

    def __init__(self, run_bytes: int = _RUN_BYTES) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ray_asr_")
        self._run_bytes = run_bytes
        self._lines: list[bytes] = []
        self._size = 0
        self._runs: list[Path] = []
        self._count = 0

    def add(self, *fields: str) -> None:
        """Keep a line; no field has a line break or a null character."""
        line = _BETWEEN.join(fields).encode(errors="replace") + b"\n"
        self._lines.append(line)
        self._size += len(line) + _LINE_BYTES
        if self._size >= self._run_bytes:
            self._end_run()

    def merged(self) -> Iterator[list[str]]:
        """All lines in order, each as its fields."""
        self._end_run()
        for line in self._merge():
            yield line[:-1].decode().split(_BETWEEN)

    def close(self) -> None:
        """Delete the runs."""
        self._folder.cleanup()

    def _end_run(self) -> None:
        if not self._lines:
            return
        self._lines.sort()
        self._write(self._lines)
        self._lines, self._size = [], 0
        if len(self._runs) >= _MOST_RUNS:
            runs = list(self._runs)
            self._write(self._merge())
            for run in runs:
                run.unlink()
            self._runs = self._runs[len(runs) :]

    def _write(self, lines: list[bytes] | Iterator[bytes]) -> None:
        path = Path(self._folder.name) / f"run-{self._count}"
        self._count += 1
        with path.open("wb") as file:
            file.writelines(lines)
        self._runs.append(path)

    def _merge(self) -> Iterator[bytes]:
        files: list[IO[bytes]] = []
        try:
            files += [run.open("rb") for run in self._runs]
            # A line's end sorts as what it is, which is before all but the mark between fields.
            yield from heapq.merge(*files)
        finally:
            for file in files:
                file.close()
