"""A line that says how far something is, where it can be seen: terminal, notebook or log.

Owns which of them it is, the pace, and that nothing else is written into the line. Must not know
what is said. In a terminal one line is written over and over; in a notebook one display is; where
there is neither, as in a pipe or a job's log, a line is logged now and then.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from ray_asr.notebook_kernel import in_notebook
from ray_asr.rich_html import progress_html
from ray_asr.terminal import can_rewrite, cells, columns, cut, one_line

# Set to "log", it has lines logged in a terminal and in a notebook too.
ENVIRONMENT = "RAY_ASR_PROGRESS"
_DELAY_S = 1.0
_TERMINAL_EVERY_S = 0.2
_NOTEBOOK_EVERY_S = 0.5
_CLEAR = "\r\x1b[K"
_BAR = 20
_COLUMNS = 80
_LEAST_BAR = 8

_lock = threading.RLock()
_standing: list[Live] = []  # the outermost first


class Live:
    """One line; used with `with`, and then it ends with that.

    Inside another one it has no line of its own: what it says stands behind the other's words. What
    is done within a second needs none either.

    Args:
        logger: of the lines where they are logged.
        every_s: least time between two of these, in seconds.
        stays: whether its last words stand there afterwards; not where a result says more.
    """

    def __init__(
        self, logger: logging.Logger, every_s: float = 10.0, *, stays: bool = False
    ) -> None:
        self._logger = logger
        self._stays = stays
        self._every_s = every_s
        self._last = time.monotonic()
        self._place: _Log | _Terminal | _Notebook | _Inside = _Log(logger)
        self._text, self._share = "", 0.0

    def __enter__(self) -> Live:
        with _lock:
            self._place = _place(self._logger)
            _standing.append(self)
        if self._place.every_s is not None:
            self._every_s = self._place.every_s
            self._last = time.monotonic() + _DELAY_S - self._every_s
        return self

    def __exit__(self, *_: object) -> None:
        with _lock:
            self._place.end(self._stays)
            _standing.remove(self)

    @property
    def is_seen(self) -> bool:
        """Whether somebody looks at it while it changes."""
        return self._place.every_s is not None

    def due(self, is_last: bool = False) -> bool:
        """Whether it is time to say something: again, or for the last time."""
        if is_last and self._text:
            return True
        return time.monotonic() - self._last >= self._every_s

    def say(self, text: str, share: float = 0.0) -> None:
        """Say it now.

        Args:
            text: a line.
            share: how far it is, 0 to 1.
        """
        self._last = time.monotonic()
        self._text, self._share = one_line(text), share
        self._place.show(self._text, share)

    def _beside(self, text: str) -> None:
        """What one inside this one says."""
        self._place.show(f"{self._text}: {text}" if self._text else text, self._share)


@contextlib.contextmanager
def out_of_the_way() -> Iterator[None]:
    """While something else is written to the terminal: the line is not there."""
    with _lock:
        place = _standing[0]._place if _standing else None
        if isinstance(place, _Terminal):
            place.hide()
            try:
                yield
            finally:
                place.draw()
        else:
            yield


class LiveHandler(logging.StreamHandler[Any]):
    """Log lines that do not run into the line that says how far something is."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record on lines of its own."""
        with out_of_the_way():
            super().emit(record)


def _place(logger: logging.Logger) -> _Log | _Terminal | _Notebook | _Inside:
    if _standing and not isinstance(_standing[0]._place, _Log):
        return _Inside(_standing[-1])
    if os.environ.get(ENVIRONMENT) == "log":
        return _Log(logger)
    if in_notebook():
        return _Notebook()
    return _Terminal(sys.stderr) if can_rewrite(sys.stderr) else _Log(logger)


class _Log:
    every_s: float | None = None

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def show(self, text: str, share: float) -> None:
        self._logger.info("%s", text)

    def end(self, stays: bool) -> None:
        pass


class _Inside:
    def __init__(self, outer: Live) -> None:
        self._outer = outer
        self.every_s = outer._place.every_s

    def show(self, text: str, share: float) -> None:
        self._outer._beside(text)

    def end(self, stays: bool) -> None:
        pass


class _Terminal:
    every_s: float | None = _TERMINAL_EVERY_S

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._text, self._share = "", 0.0

    def show(self, text: str, share: float) -> None:
        with _lock:
            self._text, self._share = text, share
            self.draw()

    def draw(self) -> None:
        if not self._text:
            return
        room = (
            columns(self._stream) or _COLUMNS
        ) - 1  # a line that fills the last column may go on to the next
        # What stands behind the semicolon may be cut for the bar, and the bar for what is before.
        wide = min(_BAR, room - 3 - cells(self._text.partition(";")[0]))
        line = f"{self._bar(wide)} {self._text}" if wide >= _LEAST_BAR else self._text
        self._write(f"{_CLEAR}{cut(line, room)}")

    def hide(self) -> None:
        if self._text:
            self._write(_CLEAR)

    def end(self, stays: bool) -> None:
        """Leave the last words standing, whole and without the bar; or nothing."""
        if self._text:
            self._write(f"{_CLEAR}{self._text}\n" if stays else _CLEAR)
            self._text = ""

    def _bar(self, wide: int) -> str:
        full = round(wide * min(max(self._share, 0.0), 1.0))
        done, left = "█░" if "utf" in (self._stream.encoding or "").lower() else "#."
        return done * full + left * (wide - full)

    def _write(self, text: str) -> None:
        encoding = self._stream.encoding or "utf-8"
        with contextlib.suppress(OSError, ValueError):  # nobody looks any more
            self._stream.write(text.encode(encoding, "replace").decode(encoding))
            self._stream.flush()


class _Notebook:
    every_s: float | None = _NOTEBOOK_EVERY_S

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, text: str, share: float) -> None:
        from IPython.display import display

        shown = {"text/html": progress_html(share, text), "text/plain": text}
        if self._handle is None:
            self._handle = display(shown, raw=True, display_id=True)
        else:
            self._handle.update(shown, raw=True)

    def end(self, stays: bool) -> None:
        if self._handle is not None and not stays:
            self._handle.update({"text/html": "", "text/plain": ""}, raw=True)
