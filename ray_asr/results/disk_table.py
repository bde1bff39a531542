"""Texts by text, in a file of this machine: any number of them in little memory.

Owns the file. Must not know what the texts are.
"""

from __future__ import annotations

import sqlite3
import tempfile

_CACHE_KIB = 65_536


class DiskTable:
    """A table that is gone once it is closed."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ray_asr_")
        self._file = sqlite3.connect(f"{self._folder.name}/table", isolation_level=None)
        # Nobody reads it after a crash, so that nothing is done for one.
        for order in (
            "PRAGMA journal_mode = OFF",
            "PRAGMA synchronous = OFF",
            "PRAGMA locking_mode = EXCLUSIVE",
            f"PRAGMA cache_size = -{_CACHE_KIB}",
            "CREATE TABLE texts (name BLOB PRIMARY KEY, text BLOB) WITHOUT ROWID",
            "BEGIN",
        ):
            self._file.execute(order)

    def add(self, name: str, text: str = "") -> bool:
        """Keep a text under a name; False, and nothing done, where there is one."""
        row = name.encode(errors="surrogatepass"), text.encode(errors="surrogatepass")
        return self._file.execute("INSERT OR IGNORE INTO texts VALUES (?, ?)", row).rowcount == 1

    def put(self, name: str, text: str) -> None:
        """Keep a text under a name, instead of the one that is there."""
        row = name.encode(errors="surrogatepass"), text.encode(errors="surrogatepass")
        self._file.execute("INSERT OR REPLACE INTO texts VALUES (?, ?)", row)

    def get(self, name: str) -> str | None:
        """The text under a name; None where there is none."""
        found = self._file.execute(
            "SELECT text FROM texts WHERE name = ?", (name.encode(errors="surrogatepass"),)
        ).fetchone()
        return None if found is None else found[0].decode(errors="surrogatepass")

    def close(self) -> None:
        """Delete the file."""
        self._file.close()
        self._folder.cleanup()
