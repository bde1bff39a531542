"""What a row may do to the process that works on it, and what becomes of the row then.

Owns the rule by which a row is given up, and the time that work may take. Must not know Ray, or
what is done with rows. Work here is a chunk in an actor, or a run of rows in a reading task.

The rule. Work on several rows is begun and ended as a whole. Where an attempt at it ended with its
process, its rows are done one at a time, each begun and ended alone. A row that ended two processes
alone becomes `worker_died`, one whose time was up once alone `row_timeout`, and is not tried again;
all the others are done as ever. So a row that kills its process costs three of them, and an endless
one two. What ends processes from outside costs no row anything, unless it meets the same row twice
while that is alone.

Time. `faulthandler` ends a process whose time is up even where C code holds Python's lock. Work may
take `row_timeout_s` and the seconds of its audio, a long recording that for each of its pieces.
Nothing counts while a process waits for someone to take its results.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import pyarrow as pa

from ray_asr.control.attempts import Attempt, Attempts, Earlier, MemoryStore
from ray_asr.corpus.rows import ID
from ray_asr.errors import EngineFatalError, ErrorCode, RayAsrError, RowError
from ray_asr.job.utterance import duration_ms_of, marked

T = TypeVar("T")

DEATHS_ALONE = 2
TIMEOUTS_ALONE = 1
# Kept in the place of work in which a row was given up: whoever does it again begins one at a time.
_ALONE = "alone"
# What rows can do is bounded; whatever ends the process more often than they can ends the job.
_MOST_DEATHS_A_ROW, _MOST_DEATHS = DEATHS_ALONE + TIMEOUTS_ALONE, 20
_MOST_LOADS = 5
_STDERR = 2

logger = logging.getLogger(__name__)


class Whole:
    """Work on several rows, from its beginning to its end.

    Args:
        isolation: whose rule holds.
        attempt: at this work.
        rows: that it has.
        seconds: of audio that they have, where that is known.
    """

    def __init__(self, isolation: Isolation, attempt: Attempt, rows: int, seconds: float) -> None:
        self._isolation = isolation
        self._attempt = attempt
        self._seconds = seconds
        self._gave_up = False
        earlier = attempt.earlier
        self.alone = earlier.died > 0 or earlier.verdict == _ALONE
        if earlier.died == 1:
            ended = "was ended, its time being up" if earlier.over else "died"
            isolation.say(
                f"a process {ended} in its work on up to {rows} row(s): they are done one at a "
                "time."
            )
        if earlier.died > _MOST_DEATHS + _MOST_DEATHS_A_ROW * rows:
            raise RayAsrError(
                f"{earlier.died} processes died in work on the same {rows} row(s), more than its "
                "rows can be the cause of: look into Ray's logs for what ends them."
            )

    def allow(self) -> None:
        """The time of the work begins to count; not where rows are alone, whose own does."""
        if not self.alone:
            self._isolation.allow(self._attempt, self._seconds)

    def one(
        self, name: str, label: Callable[[], str], seconds: float | None, step: Callable[[], T]
    ) -> T:
        """What `step` gives for one row of this work.

        Args:
            name: of the row in this work.
            label: what the log calls it.
            seconds: of audio that it has; None: its time does not count.
            step: does it.

        Raises:
            RowError: it ended too many processes, and is not tried any more.
        """
        if not self.alone:
            return step()
        isolation = self._isolation
        attempt = self._attempt.part(name, isolation.allowed_s(seconds))
        if verdict := _verdict(attempt.earlier):
            self._gave_up = True
            attempt.give_up(str(verdict))
            if not attempt.earlier.verdict:
                isolation.say(f"{label()} is given up: {verdict}.")
            raise RowError(verdict, isolation.sentence(verdict))
        try:
            if seconds is not None:
                isolation.allow(attempt, seconds)
            return step()
        finally:
            isolation.stop()
            attempt.end()

    def end(self) -> None:
        """It is done, or has raised."""
        self._isolation.stop()
        if self._gave_up:
            self._attempt.give_up(_ALONE)
        else:
            self._attempt.end()


def _verdict(earlier: Earlier) -> ErrorCode | None:
    if earlier.verdict:
        return ErrorCode(earlier.verdict)
    if earlier.over >= TIMEOUTS_ALONE:
        return ErrorCode.ROW_TIMEOUT
    return ErrorCode.WORKER_DIED if earlier.died >= DEATHS_ALONE else None


class Isolation:
    """The rule for the work of one process.

    Args:
        attempts: at its work, in this process and in those before it.
        row_timeout_s: a row may take so long beside its own length, in seconds; 0: no bound.
        recycle_rows: after so many rows of chunks the process is renewed; 0: never.
        leave: ends the process.
    """

    def __init__(
        self,
        attempts: Attempts | None = None,
        row_timeout_s: float = 0.0,
        recycle_rows: int = 0,
        leave: Callable[[int], object] = os._exit,
    ) -> None:
        self._attempts = attempts or Attempts(MemoryStore())
        self._row_timeout_s = row_timeout_s
        self._recycle_rows = recycle_rows
        self._leave = leave
        self._rows_done = 0
        self._task = ""
        self._counting: Attempt | None = None

    def chunk(self, rows: pa.Table, work: Callable[[pa.Table], pa.Table]) -> pa.Table:
        """What `work` gives for `rows`, all at once or one at a time."""
        self._recycle()
        whole = self.begin("chunk", rows.num_rows, duration_ms_of(rows) / 1000)
        try:
            whole.allow()
            if whole.alone and rows.num_rows:
                each = (self._alone(whole, rows, n, work) for n in range(rows.num_rows))
                return pa.concat_tables(list(each))
            return work(rows)
        finally:
            whole.end()
            self._rows_done += rows.num_rows

    def _alone(
        self, whole: Whole, rows: pa.Table, number: int, work: Callable[[pa.Table], pa.Table]
    ) -> pa.Table:
        row = rows.slice(number, 1)

        def label() -> str:
            return f'row "{row.column(ID)[0]}"'

        try:
            return whole.one(str(number), label, duration_ms_of(row) / 1000, partial(work, row))
        except RowError as error:
            return work(marked(row, error))

    def begin(self, name: str, rows: int, seconds: float = 0.0) -> Whole:
        """Begin work on several rows; its time counts from `Whole.allow` on."""
        attempt = self._attempts.begin(name, self.allowed_s(seconds))
        return Whole(self, attempt, rows, seconds)

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        """Around the loading of models, which may end the process too.

        Raises:
            EngineFatalError: it has, again and again.
        """
        attempt = self._attempts.begin("load")
        if attempt.earlier.died >= _MOST_LOADS:
            attempt.end()
            raise EngineFatalError(
                f"{attempt.earlier.died} processes of one actor died while they loaded the models: "
                "look into Ray's logs for what ended them; memory may be short."
            )
        try:
            yield
        finally:
            attempt.end()

    def progress(self, seconds: float) -> None:
        """Work on a long recording goes on with a piece of so many seconds."""
        if self._row_timeout_s and self._counting is not None:
            self._counting.still(self.allowed_s(seconds))
            self.allow(self._counting, seconds)

    def allowed_s(self, seconds: float | None) -> float:
        """How long work on so many seconds of audio may take; 0: no bound."""
        return self._row_timeout_s + seconds if self._row_timeout_s and seconds is not None else 0.0

    def allow(self, attempt: Attempt, seconds: float) -> None:
        """The time of `attempt` counts from now, in the place of any other."""
        if allowed_s := self.allowed_s(seconds):
            faulthandler.dump_traceback_later(allowed_s, exit=True, file=_STDERR)
            self._counting = attempt

    def stop(self) -> None:
        """No time counts."""
        if self._counting is not None:
            faulthandler.cancel_dump_traceback_later()
            self._counting = None

    def say(self, line: str) -> None:
        """To this process's log, and to the driver's."""
        logger.warning("%s", line)
        self._attempts.store.tell(line)

    def sentence(self, verdict: ErrorCode) -> str:
        """Why a row was given up."""
        if verdict == ErrorCode.ROW_TIMEOUT:
            return (
                f"it took longer than job.row_timeout_s ({self._row_timeout_s:g} s) and its own "
                "length, with no other row beside it."
            )
        return f"{DEATHS_ALONE} processes died in the work on it, with no other row beside it."

    def _recycle(self) -> None:
        """End this process, if it has done its share: Ray gives its task to a new one.

        Only where a task begins: it would be begun anew, and what it has done would be for nothing.
        """
        task, self._task = self._task, self._attempts.store.task()
        if self._recycle_rows and self._rows_done >= self._recycle_rows and task != self._task:
            logger.info("%d rows are done: a new process goes on.", self._rows_done)
            self._attempts.store.renewed()
            self._leave(0)
