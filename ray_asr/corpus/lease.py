"""Who may write an output: one run at a time, on any file system, and until it is dead.

Owns the claims `_lease/<owner>.json`, their heartbeat, and when a claim is taken for dead. Must not
know what is written. No file system here has a lock that holds on all of them, so a claim is a file
that its owner alone writes: each writes its own before it looks for others, so that of two at once
one at least sees the other, and the smaller name stays (Lamport's bakery).

A holder that was stopped for longer than its claim lives, and goes on, may write beside the next
one until it looks again. Since a part's name and its rows hang on its unit alone, each id is there
once all the same; what is kept apart is the work.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import psutil
import pyarrow as pa
import pyarrow.fs as pafs

from ray_asr.corpus.storage import write_whole
from ray_asr.errors import DataError

LEASE_FOLDER = "_lease"
HEARTBEAT_S = 10.0
_BEATS_MISSED = 6  # so many in a row, and a claim is dead

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Claim:
    """What an owner says of itself.

    Attributes:
        owner: its name, unlike any other's; claims are ordered by it where two begin at once.
        purpose: what it does, for whoever is refused.
        host: its machine's name, and `machine` what tells whether process ids mean the same there.
        pid: its process, and `born` when that began, in seconds since 1970.
        holds: whether it has the output, or wants it.
        beats: grows with every heartbeat.
    """

    owner: str
    purpose: str
    host: str
    machine: str
    pid: int
    born: float
    holds: bool = False
    beats: int = 0

    def is_gone(self) -> bool:
        """Whether its process is known to have ended: only on its own machine can one know."""
        if self.machine != _machine():
            return False
        try:
            return abs(psutil.Process(self.pid).create_time() - self.born) > 1.0
        except psutil.NoSuchProcess:
            return True

    def is_here(self) -> bool:
        """Whether its process runs on this machine."""
        return self.machine == _machine() and not self.is_gone()


def _machine() -> str:
    """What two processes share that see the same process ids, until the next start."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as source:
            return f"{source.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        return f"{platform.node()} {psutil.boot_time():.0f}"


class Lease:
    """One claim on an output, from its first word to its release.

    Args:
        filesystem: where the output is.
        folder: the output folder; it is made where it is not there.
        purpose: what is done with it, in two or three words ("transcribe").
        heartbeat_s: time between two signs of life, in seconds.
    """

    def __init__(
        self, filesystem: pafs.FileSystem, folder: str, purpose: str, heartbeat_s: float
    ) -> None:
        self._filesystem = filesystem
        self._folder = folder
        self._claims = f"{folder}/{LEASE_FOLDER}"
        self._heartbeat_s = heartbeat_s
        self._expires_s = _BEATS_MISSED * heartbeat_s
        self._claim = Claim(
            owner=uuid.uuid4().hex[:12],
            purpose=purpose,
            host=platform.node(),
            machine=_machine(),
            pid=os.getpid(),
            born=psutil.Process().create_time(),
        )
        self._made_folder = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name="lease", daemon=True)
        self._lost = ""

    def check(self) -> None:
        """Go on only where the output is still ours.

        Raises:
            DataError: another run has taken it over, or no sign of life could be left for long.
        """
        if self._lost:
            raise DataError(self._lost)

    def acquire(self) -> None:
        """Wait until nobody else can have the output, and take it.

        Raises:
            DataError: another one has it and lives; nothing is left behind.
        """
        there = self._filesystem.get_file_info(self._folder).type
        self._made_folder = there == pafs.FileType.NotFound
        self._filesystem.create_dir(self._claims, recursive=True)
        self._write()
        try:
            self._wait_for_others()
            self._claim = replace(self._claim, holds=True)
            self._write()
        except BaseException:
            self._withdraw()
            raise
        self._thread.start()

    def release(self) -> None:
        """Let others have the output."""
        self._stop.set()
        self._thread.join()
        self._withdraw()

    def _wait_for_others(self) -> None:
        first_seen: dict[str, Claim] = {}
        while True:
            self._beat()  # its time of change is the store's own clock
            others = self._others()
            dead = [o for o, silent_s in others if o.is_gone() or silent_s > self._expires_s]
            for other in dead:
                self._bury(other)
            if len(dead) == len(others):
                return
            for other, silent_s in others:
                if other in dead:
                    continue
                before = first_seen.setdefault(other.owner, other)
                if before is other:
                    self._say_that_it_waits(other, silent_s)
                lives = other.is_here() or other.beats > before.beats
                if lives and (other.holds or other.owner < self._claim.owner):
                    raise DataError(
                        f"the output {self._folder} is in use: {other.purpose} runs on it on host "
                        f"{other.host}, process {other.pid}. Wait for it or end it, then run the "
                        "same command again; what it has done by then stays."
                    )
            time.sleep(min(1.0, self._heartbeat_s / 10))

    def _say_that_it_waits(self, other: Claim, silent_s: float) -> None:
        if not other.is_here() and not other.is_gone():
            logger.info(
                "%s on host %s, process %d, has claimed %s; its last sign of life is %.0f s old: "
                "waiting for the next one, %.0f s at most.",
                other.purpose, other.host, other.pid, self._folder, max(silent_s, 0.0),
                self._expires_s - silent_s,
            )  # fmt: skip

    def _others(self) -> list[tuple[Claim, float]]:
        """Every other claim, and for how long it has been silent by the store's own clock."""
        selector = pafs.FileSelector(self._claims, allow_not_found=True)
        times = {
            file.base_name: file.mtime_ns or 0
            for file in self._filesystem.get_file_info(selector)
            if file.extension == "json" and not file.base_name.startswith("_")
        }
        mine = f"{self._claim.owner}.json"
        now = times.pop(mine, 0)
        claims = ((self._read(name), (now - then) / 1e9) for name, then in times.items())
        return [(claim, silent_s) for claim, silent_s in claims if claim is not None]

    def _read(self, name: str) -> Claim | None:
        """A claim; None where it has gone meanwhile."""
        try:
            with self._filesystem.open_input_stream(f"{self._claims}/{name}") as source:
                return Claim(**json.loads(source.read()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, pa.ArrowInvalid) as error:
            raise DataError(
                f"{self._claims}/{name} cannot be read ({error}); delete it if no other run is at "
                "work there."
            ) from error

    def _bury(self, other: Claim) -> None:
        logger.warning(
            "%s on host %s, process %d, has died while it had %s; its work is taken over.",
            other.purpose, other.host, other.pid, self._folder,
        )  # fmt: skip
        self._delete(other.owner)

    def _beat_on(self) -> None:
        """Signs of life, until the end or until somebody else has the output."""
        alive_at = time.monotonic()
        while not self._stop.wait(self._heartbeat_s):
            try:
                if any(other.holds for other, _ in self._others()):
                    self._lost = (
                        f"the output {self._folder} was taken over by another run, since this one "
                        "gave no sign of life; run the same command again when that one has ended."
                    )
                    return
                self._beat()
                alive_at = time.monotonic()
            except (OSError, DataError) as error:
                if time.monotonic() - alive_at > self._expires_s:
                    self._lost = (
                        f"no sign of life could be left in {self._claims} for "
                        f"{self._expires_s:.0f} s ({error}); run the same command again."
                    )
                    return

    def _beat(self) -> None:
        self._claim = replace(self._claim, beats=self._claim.beats + 1)
        self._write()

    def _write(self) -> None:
        text = json.dumps(asdict(self._claim), indent=2)
        path = f"{self._claims}/{self._claim.owner}.json"
        write_whole(self._filesystem, path, text.encode(), durable=False)

    def _withdraw(self) -> None:
        with contextlib.suppress(OSError):  # it expires, too
            self._delete(self._claim.owner)
            within = self._filesystem.get_file_info(pafs.FileSelector(self._folder))
            nothing_came = all(file.base_name == LEASE_FOLDER for file in within)
            if self._made_folder and nothing_came and not self._others():
                self._filesystem.delete_dir(self._folder)

    def _delete(self, owner: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._filesystem.delete_file(f"{self._claims}/{owner}.json")


@contextlib.contextmanager
def held(
    filesystem: pafs.FileSystem, folder: str, purpose: str, heartbeat_s: float = HEARTBEAT_S
) -> Iterator[Lease]:
    """Have an output to oneself.

    Args:
        filesystem: where it is.
        folder: the output folder.
        purpose: what is done with it, in two or three words.
        heartbeat_s: time between two signs of life, in seconds; a claim without any for six times
            as long is dead.

    Raises:
        DataError: another one that lives has it, or it cannot be made.
    """
    lease = Lease(filesystem, folder, purpose, heartbeat_s)
    try:
        lease.acquire()
    except OSError as error:
        raise DataError(
            f"the output {folder} cannot be made ({error}); name a folder that can be written."
        ) from error
    try:
        yield lease
    finally:
        lease.release()
