"""Kills a job's parts at seeded random times and lets it go on: is each id there exactly once?

    python -m tests.faults.kills --kills 50 --seed 0

Two nodes of Ray on this machine, and the job as a driver of its own, over and over: each time one
of them is killed with SIGKILL, at a time that the seed decides: the driver, one actor, the second
node's raylet, with a spot node's notice before or without, or everything at once. Where the driver
was among them the same command is given again; a job that came to its end is held against its
input, and the next one begins. Prints a JSON record; ends with 1 where an id was lost or doubled,
or has failed that should not have.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tests.fakes import tone, wav_bytes, write_input
from tests.ray.heads import BIN, ROOT, free_port, head_command

FILES, ROWS_A_FILE, BAD_EVERY = 8, 24, 17
VICTIMS = ("driver", "actor", "raylet", "spot node", "all")
ALIVE = 0  # the state of a node
PREEMPTION = 2  # of Ray's reasons to drain a node
NOTICE_S = 3.0
PATIENCE_S = 60.0  # for a node to come up
# From when a driver has begun: into its start, its work, and its end.
LATEST_S = 14.0
LATE_S = 300.0  # a job without kills takes a twentieth of it


def write_inputs(folder: Path) -> tuple[list[str], set[str]]:
    """Shards of one-second rows; all ids, and those of the bad rows."""
    ids: list[str] = []
    bad: set[str] = set()
    for number in range(FILES):
        names = [f"{number}-{row}" for row in range(ROWS_A_FILE)]
        audio = [
            b"no audio" if (number * ROWS_A_FILE + row) % BAD_EVERY == 0
            else wav_bytes(tone(1.0, level=0.1 + row / 100))
            for row in range(ROWS_A_FILE)
        ]  # fmt: skip
        write_input(folder / f"{number}.parquet", audio, ids=names, row_group_size=6)
        ids += names
        bad |= {name for name, data in zip(names, audio, strict=True) if data == b"no audio"}
    return ids, bad


@dataclass
class Nodes:
    """A head and a second node, each `ray start` with all that it started."""

    folder: str
    environment: dict[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    port: int = 0
    count: int = 0
    _added: float = 0.0

    def start(self) -> None:
        self.port = free_port()
        # One actor has a place on each node, and reading too.
        command = head_command(f"{self.folder}/{self.count}", 2, self.port)
        self._start(command)
        self.wait_for(1)
        self.add_node()

    def add_node(self) -> None:
        self._added = time.monotonic()
        self._start(
            [
                str(BIN / "ray"), "start", f"--address=127.0.0.1:{self.port}", "--block",
                "--num-cpus=2", f"--object-store-memory={200 * 2**20}",
                "--min-worker-port=0", "--max-worker-port=0",
                f"--dashboard-agent-listen-port={free_port()}",
                f"--dashboard-agent-grpc-port={free_port()}",
                f"--metrics-export-port={free_port()}",
            ]
        )  # fmt: skip

    def _start(self, command: list[str]) -> None:
        self.count += 1
        log = open(f"{self.folder}/node-{self.count}.log", "wb")  # noqa: SIM115
        self.processes.append(
            subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        )
        log.close()

    def wait_for(self, count: int) -> None:
        """Until so many nodes are there."""
        from ray._raylet import GcsClient
        from ray.exceptions import RaySystemError, RpcError

        late = time.monotonic() + 5 * PATIENCE_S
        while time.monotonic() < late:
            with contextlib.suppress(RpcError, RaySystemError):
                nodes = GcsClient(address=f"127.0.0.1:{self.port}").get_all_node_info(timeout=1)
                if sum(node.state == ALIVE for node in nodes.values()) >= count:
                    return
            time.sleep(0.3)
            if count == len(self.processes) == 2 and time.monotonic() > self._added + PATIENCE_S:
                kill_all(self.processes.pop())  # a head gives up nodes that a busy machine slows
                self.add_node()
        raise RuntimeError(f"no {count} node(s) came up; see {self.folder}/node-*.log")

    def kill_raylet(self) -> bool:
        """The second node's, and what else ran there; whether it was there to be killed."""
        raylets = raylets_of(self.processes[-1])
        for raylet in raylets:
            raylet.kill()
        if raylets:
            self.processes[-1].wait(60)
            kill_all(self.processes.pop())
        return bool(raylets)

    def preempt(self) -> bool:
        """Notice to the second node, and then its end, which Ray may have brought about by then."""
        if not raylets_of(self.processes[-1]):
            return False
        self.give_notice()
        for raylet in raylets_of(self.processes[-1]):
            raylet.kill()
        kill_all(self.processes.pop())
        return True

    def give_notice(self) -> None:
        """Tell Ray that the second node goes soon, as a cloud's notice makes the autoscaler do."""
        from ray._raylet import GcsClient
        from ray.exceptions import RaySystemError

        deadline_ms = int(1000 * (time.time() + NOTICE_S))
        for _ in range(5):
            with contextlib.suppress(RaySystemError):  # a client of Ray's may be shut down early
                client = GcsClient(address=f"127.0.0.1:{self.port}")
                for node_id, node in client.get_all_node_info(timeout=10).items():
                    if node.state == ALIVE and not node.is_head_node:
                        client.drain_node(node_id.hex(), PREEMPTION, "its time is up", deadline_ms)
                break
        time.sleep(NOTICE_S)

    def kill(self) -> None:
        for process in self.processes:
            kill_all(process)
        self.processes.clear()


def descendants(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """A process and what it started, as far as it is still its own."""
    try:
        own = psutil.Process(process.pid)
        return [own, *own.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def raylets_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return [one for one in descendants(process) if one.name() == "raylet"]


def kill_all(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to a process and all that it started, those with another parent by now included."""
    for one in descendants(process):
        try:
            one.kill()
        except psutil.NoSuchProcess:
            continue
    for one in psutil.process_iter(["pid"]):
        try:
            if os.getsid(one.pid) == process.pid:
                one.kill()
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    process.wait(60)


def kill_actor(nodes: Nodes, rng: random.Random) -> bool:
    """One process of the recognizing pool; whether there was one."""
    workers = [
        process
        for node in nodes.processes
        for process in descendants(node)
        if "TranscribeWorker" in " ".join(process.cmdline())
    ]
    if not workers:
        return False
    rng.choice(workers).kill()
    return True


def ids_of(output: Path) -> collections.Counter[str]:
    """What a reader finds, at any time: it raises where a part is not whole."""
    found: collections.Counter[str] = collections.Counter()
    for part in output.glob("part-*.parquet"):
        found.update(pq.read_table(part, columns=["utterance_id"])["utterance_id"].to_pylist())
    return found


def failed_ids(output: Path) -> set[str]:
    rows = pq.read_table(output, columns=["utterance_id", "status"])
    return set(rows.filter(pc.field("status") == "failed")["utterance_id"].to_pylist())


class Harness:
    """Jobs and kills, until there were enough."""

    def __init__(self, folder: Path, kills: int, seed: int) -> None:
        self.rng = random.Random(seed)
        self.folder = folder
        self.wanted = kills
        self.ids, self.bad = write_inputs(folder / "in")
        # A node's processes must be told from any other's, and from a driver's.
        environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
        environment.pop("RAY_ADDRESS", None)
        self.environment = environment
        self.nodes = Nodes(str(folder), environment)
        self.driver: subprocess.Popen[bytes] | None = None
        self.record: dict[str, int] = dict.fromkeys(VICTIMS, 0)
        self.jobs = self.resumed = self.lost = self.doubled = self.wrong = self.ended_alone = 0

    def run(self) -> None:
        victims = [VICTIMS[i % len(VICTIMS)] for i in range(self.wanted)]
        self.rng.shuffle(victims)
        self.nodes.start()
        try:
            while victims:
                victims = self._job(victims)
        finally:
            if self.driver is not None:
                kill_all(self.driver)
            self.nodes.kill()

    def _job(self, victims: list[str]) -> list[str]:
        """One output to its end; the victims that are left."""
        output = self.folder / f"out-{self.jobs}"
        self.jobs += 1
        self._begin(output)
        while victims:
            if self._ends_within(self.rng.uniform(0.5, LATEST_S), output):
                break
            if self._kill(victims[0], output):
                victims = victims[1:]
            found = ids_of(output)
            self.doubled += sum(count > 1 for count in found.values())
        late = time.monotonic() + LATE_S
        while not self._ends_within(10.0, output):
            if time.monotonic() > late:
                raise RuntimeError(f"the job hangs; see {self.folder}/driver.log")
        found = ids_of(output)
        self.lost += len(set(self.ids) - set(found))
        self.doubled += sum(count > 1 for count in found.values())
        self.doubled += len(set(found) - set(self.ids))
        self.wrong += len(self.bad ^ failed_ids(output))
        if list(output.glob("_writing*")):
            raise AssertionError("a part that was never whole is left behind")
        return victims

    def _begin(self, output: Path) -> None:
        self.nodes.wait_for(2)  # the job wants both
        address = f"127.0.0.1:{self.nodes.port}"
        command = [
            sys.executable, "-m", "tests.faults.driver", str(self.folder / "in"), str(output),
            address,
        ]  # fmt: skip
        log = open(f"{self.folder}/driver.log", "ab")  # noqa: SIM115
        self.driver = subprocess.Popen(
            command, cwd=ROOT, env=self.environment, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        log.close()

    def _ends_within(self, seconds: float, output: Path) -> bool:
        """Whether the job came to its end; a driver that gave up is started again."""
        assert self.driver is not None
        try:
            code = self.driver.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        if code:
            self.ended_alone += 1
            if self.ended_alone > self.wanted:
                raise RuntimeError(f"the driver ends by itself; see {self.folder}/driver.log")
            self._resume(output)
        return code == 0

    def _resume(self, output: Path) -> None:
        self.resumed += 1
        self._begin(output)

    def _kill(self, victim: str, output: Path) -> bool:
        assert self.driver is not None
        if victim == "actor" and not kill_actor(self.nodes, self.rng):
            return False
        if victim in ("raylet", "spot node"):
            gone = self.nodes.kill_raylet() if victim == "raylet" else self.nodes.preempt()
            if not gone:
                return False
            self.nodes.add_node()
        if victim in ("driver", "all"):
            if victim == "all":
                os.kill(self.driver.pid, signal.SIGKILL)
                self.nodes.kill()
                self.nodes.start()
            kill_all(self.driver)
            self._resume(output)
        self.record[victim] += 1
        return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began = time.monotonic()
    folder = tempfile.mkdtemp(prefix="rk_")  # a short path, as Ray's sockets want it
    harness = Harness(Path(folder), options.kills, options.seed)
    harness.run()  # where it raises, its logs stay
    shutil.rmtree(folder, ignore_errors=True)
    print(
        json.dumps(
            {
                "kills": harness.record,
                "jobs": harness.jobs,
                "resumed": harness.resumed,
                "drivers_that_gave_up": harness.ended_alone,
                "ids": len(harness.ids) * harness.jobs,
                "lost": harness.lost,
                "twice": harness.doubled,
                "wrong": harness.wrong,
                "seconds": round(time.monotonic() - began),
            }
        )
    )
    sys.exit(1 if harness.lost or harness.doubled or harness.wrong else 0)


if __name__ == "__main__":
    main()
