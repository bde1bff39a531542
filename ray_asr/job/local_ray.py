"""A Ray of one's own on this machine: heard by this machine alone, in a folder of this user alone.

Owns where such a Ray listens and where it keeps its files. Must not know what runs on it.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray
from ray._private import ray_constants

# The longest path that a Unix socket may have, and what Ray puts behind its folder.
_MOST_CHARACTERS = 107
_BEHIND = "/session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store"
_PREFIX, _INSIDE = "ra_", "r"


def private_place() -> str:
    """A new folder for Ray's files, which is removed when this process ends.

    Ray gives its own folder to everybody, so that it stands in one that nobody else may enter.
    """
    room = _MOST_CHARACTERS - len(f"/{_PREFIX}12345678/{_INSIDE}{_BEHIND}")
    wanted = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    parent = next((place for place in (wanted, "/tmp", "/var/tmp") if len(place) <= room), None)
    folder = tempfile.mkdtemp(prefix=_PREFIX, dir=parent)
    atexit.register(_remove, folder)
    return str(Path(folder, _INSIDE))


def _remove(folder: str) -> None:
    ray.shutdown()  # what writes there ends first
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def on_loopback() -> Iterator[None]:
    """While a Ray is started: it takes this machine for 127.0.0.1, as it does on a desktop.

    An address that is given by name is turned into one that others reach; only this switch, which
    Ray sets where a firewall would ask, keeps it.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
