"""An S3 server (moto's, a process of its own) and a proxy before it that breaks what passes.

The proxy answers some requests with a server's own errors, cuts some answers off in the middle, and
lets some come slowly: a share of all, drawn from a seed, each kind counted.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

ACCESS_KEY = "AKIATESTTESTTEST1234"
SECRET_KEY = "vErY/sEcReT+kEy0123456789abcdefABCDEF0123"
REGION = "eu-test-7"
_SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code>'
    b"<Message>Please reduce your request rate.</Message></Error>"
)
_INTERNAL = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>InternalError</Code>'
    b"<Message>We encountered an internal error. Please try again.</Message></Error>"
)
FAULTS = ("slow down", "internal error", "reset", "slow")


class Proxy(http.server.ThreadingHTTPServer):
    """A proxy on a free port of loopback.

    Args:
        upstream: the port of the server.
        broken: the share of requests that fail: half are turned away, half cut off in the middle.
        slow: the share that come slowly, beside those.
        seed: of the draws.

    Attributes:
        requests: how many came.
        injected: how many of each kind of `FAULTS` were done.
        lines: "METHOD /path?query" of each request.
        scripted: faults of the next requests that have a text in their line, by that text; the
            last of them is that of all others.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, upstream: int, broken: float = 0.0, slow: float = 0.0, seed: int = 0):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream
        self.broken, self.slow = broken, slow
        self.requests = 0
        self.injected: Counter[str] = Counter()
        self.scripted: dict[str, list[str]] = {}
        self.lines: list[str] = []
        self._draw = random.Random(seed)
        self._lock = threading.Lock()

    @property
    def port(self) -> int:
        return self.server_address[1]

    def fault(self, line: str) -> str:
        with self._lock:
            self.requests += 1
            self.lines.append(line)
            drawn, kind = self._draw.random(), self._draw.random()
            faults = next((faults for part, faults in self.scripted.items() if part in line), [""])
            fault = faults.pop(0) if len(faults) > 1 else faults[0]
            if not fault and drawn < self.broken:
                fault = FAULTS[int(kind * 3)]
            elif not fault and drawn < self.broken + self.slow:
                fault = "slow"
            return fault

    def done(self, fault: str) -> None:
        with self._lock:
            self.injected[fault] += 1

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is none of a test's business."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _pass_on(self) -> None:
        body = self._body()
        fault = self.server.fault(f"{self.command} {self.path}")
        if fault in ("slow down", "internal error"):
            self.server.done(fault)
            text = _SLOW_DOWN if fault == "slow down" else _INTERNAL
            self._answer(503 if fault == "slow down" else 500, [], text)
            return
        if fault == "denied":
            self._answer(403, [], b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>")
            return
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.upstream, timeout=60)
        kept = {
            name: value
            for name, value in self.headers.items()
            if name.lower() not in ("connection", "expect", "transfer-encoding", "content-length")
        }
        upstream.request(self.command, self.path, body, kept)
        response = upstream.getresponse()
        data = response.read()
        headers = [
            (name, value)
            for name, value in response.getheaders()
            if name.lower() not in ("connection", "transfer-encoding", "content-length", "server")
        ]
        length = response.getheader("Content-Length") or str(len(data))
        upstream.close()
        self._answer(response.status, headers, data, length, fault)

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return body
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(
        self,
        status: int,
        headers: list[tuple[str, str]],
        data: bytes,
        length: str = "",
        fault: str = "",
    ) -> None:
        if self.command == "HEAD":
            data = b""
        if fault == "reset" and not data:  # nothing to cut in the middle: the answer is lost
            self._reset()
            return
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(data)))
        self.end_headers()
        if fault == "reset":
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            self._reset()
            return
        if fault == "slow":
            self.server.done(fault)
            step = max(1, len(data) // 5)
            for start in range(0, len(data), step):
                time.sleep(0.05)
                self.wfile.write(data[start : start + step])
                self.wfile.flush()
            return
        self.wfile.write(data)

    def _reset(self) -> None:
        """Nothing lingers: the client gets a reset, not an end."""
        self.server.done("reset")
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()
        self.close_connection = True

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on


@contextlib.contextmanager
def s3_server() -> Iterator[int]:
    """Moto's server on a free port of loopback, ended at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            assert server.poll() is None, "moto's server ended"
            time.sleep(0.1)
        yield port
    finally:
        server.terminate()
        server.wait()


@contextlib.contextmanager
def proxy(upstream: int, broken: float = 0.0, slow: float = 0.0, seed: int = 0) -> Iterator[Proxy]:
    """A running `Proxy`."""
    with Proxy(upstream, broken, slow, seed) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def make_bucket(port: int, name: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("PUT", f"/{name}")
    assert connection.getresponse().status == 200
    connection.close()
