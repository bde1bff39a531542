"""How far a run is: rows, audio-hours, and when it will be done.

Owns the wording of progress lines. Must not know Ray, or where the lines are seen.
"""

from __future__ import annotations

import logging
import time

from ray_asr.live import Live

logger = logging.getLogger(__name__)


class Progress:
    """Says how far it is now and then, and once at the end; used with `with`.

    Args:
        rows_total: rows that this run has to do.
        every_s: least time between two lines of a log, in seconds.
    """

    def __init__(self, rows_total: int, every_s: float = 10.0) -> None:
        self._rows_total = rows_total
        self._live = Live(logger, every_s, stays=True)
        self._started = time.monotonic()

    def __enter__(self) -> Progress:
        self._live.__enter__()
        if self._live.is_seen:
            self._live.say(f"0/{self._rows_total} rows, models are being loaded")
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.__exit__(*exception)

    def update(self, rows: int, audio_ms: int, also: str = "") -> None:
        """Say where the run is, and what else there is to say, unless that was a moment ago."""
        if rows < self._rows_total and not self._live.due():
            return
        line = self.line(rows, audio_ms, time.monotonic() - self._started)
        share = rows / self._rows_total if self._rows_total else 1.0
        self._live.say(f"{line}; {also}" if also else line, share)

    def line(self, rows: int, audio_ms: int, elapsed_s: float) -> str:
        """One line: done, speed, and the time left at the pace so far."""
        share = rows / self._rows_total if self._rows_total else 1.0
        speed = audio_ms / 1000 / elapsed_s if elapsed_s else 0.0
        ending = "done" if share >= 1 else "just begun"
        if 0 < share < 1:
            left_s = elapsed_s * (1 - share) / share
            at = time.strftime("%H:%M:%S", time.localtime(time.time() + left_s))
            ending = f"done at about {at} (in {left_s:.0f} s)"
        return (
            f"{rows}/{self._rows_total} rows ({100 * share:.0f} %), "
            f"{audio_ms / 3_600_000:.3f} audio-hours, {speed:.1f}x real time, {ending}"
        )
