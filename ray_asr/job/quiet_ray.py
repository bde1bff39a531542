"""What Ray says of itself while a job of ours starts and runs, kept from whoever looks at the job.

Owns which of Ray's words are left out, and for how long. Must not know what runs. Who sets Ray's
own variables for its log levels hears all of it.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator

_CORE_LEVEL = "RAY_BACKEND_LOG_LEVEL"
_DATA_LEVEL = "RAY_DATA_LOG_LEVEL"
_STDERR = 2


@contextlib.contextmanager
def quiet_start() -> Iterator[None]:
    """While this process connects: Ray's core tells only of what ends it from then on.

    It would call each pool of actors a danger (their function lies in the object store, as in every
    job of Ray Data), past all loggers, and it says aloud that it heeds the variable.
    """
    if _CORE_LEVEL in os.environ:
        yield
        return
    os.environ[_CORE_LEVEL] = "fatal"
    try:
        with _no_stderr():
            yield
    finally:
        del os.environ[_CORE_LEVEL]


@contextlib.contextmanager
def quiet_execution() -> Iterator[None]:
    """While a dataset of ours is executed: Ray Data does not announce it, since we do."""
    if _DATA_LEVEL in os.environ:
        yield
        return
    with at_least("ray.data", logging.ERROR), warnings.catch_warnings():
        # A short job is one whose pool has more actors than work; that is no news.
        warnings.filterwarnings("ignore", message="The minimum number of concurrent actors")
        yield


def quiet_end() -> None:
    """At its end this process gets no order of colours by a library of Ray's, pipe or not."""
    colors = sys.modules.get("colorama.initialise")
    if colors is not None:
        atexit.unregister(colors.reset_all)


@contextlib.contextmanager
def at_least(logger: str, level: int) -> Iterator[None]:
    """For a while a logger says nothing below this level."""
    found = logging.getLogger(logger)
    before = found.level
    found.setLevel(max(level, before))
    try:
        yield
    finally:
        found.setLevel(before)


@contextlib.contextmanager
def _no_stderr() -> Iterator[None]:
    """What is written to the process's stderr past Python is dropped."""
    try:
        kept = os.dup(_STDERR)
    except OSError:  # it is closed
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, _STDERR)
        yield
    finally:
        os.dup2(kept, _STDERR)
        os.close(nowhere)
        os.close(kept)
