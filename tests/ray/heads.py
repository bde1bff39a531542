"""Heads of Ray for tests: private ports, folders and tokens; ended with all that they started."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def head_command(folder: str, num_cpus: int, port: int) -> list[str]:
    """`ray start` of a head on ports of its own, in the foreground."""
    return [
        str(BIN / "ray"), "start", "--head", "--block", f"--num-cpus={num_cpus}",
        f"--port={port}", f"--ray-client-server-port={free_port()}", f"--temp-dir={folder}/ray",
        f"--dashboard-agent-listen-port={free_port()}",
        f"--dashboard-agent-grpc-port={free_port()}", f"--metrics-export-port={free_port()}",
        "--min-worker-port=0", "--max-worker-port=0", f"--object-store-memory={200 * 2**20}",
    ]  # fmt: skip


def end_head(process: subprocess.Popen[bytes]) -> None:
    """End a head of `head_command` and the processes that it started, and no others.

    Nobody wants anything of them any more: they are asked, and soon after not asked again. A
    worker whose raylet has gone waits half a minute for it.
    """
    started = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    process.send_signal(signal.SIGTERM)
    _, alive = psutil.wait_procs(started, timeout=4)
    for one in alive:
        one.kill()
    psutil.wait_procs(alive, timeout=30)
    process.wait(30)
