"""A hub on loopback that speaks as Hugging Face and as ModelScope do, as far as fetching takes."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


class Hub(http.server.ThreadingHTTPServer):
    """A server of model folders on a free port.

    Args:
        folders: of models, by the hub's names.

    Attributes:
        sent: how often each file was sent, by its name.
        asked: the revisions that were asked for.
        requests: how many came.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, folders: Mapping[str, Path]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folders = dict(folders)
        self.sent: Counter[str] = Counter()
        self.asked: set[str] = set()
        self.requests = 0
        self.lock = threading.Lock()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self._json({}, 404)

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        path, query = unquote(parts.path).strip("/"), parse_qs(parts.query)
        if path == "count":
            self._json(self.server.requests)
            return
        with self.server.lock:
            self.server.requests += 1
        for name, folder in self.server.folders.items():
            if path.startswith(f"api/models/{name}/revision/"):
                self._hugging_face(name, path.rpartition("/")[2])
            elif path.startswith(f"api/models/{name}/tree/"):
                self._json([{"type": "file", "path": file.name, "size": file.stat().st_size,
                             "oid": _digest(file)} for file in _files(folder)])  # fmt: skip
            elif path.startswith(f"{name}/resolve/"):
                self._file(folder / path.rpartition("/")[2])
            elif path == f"api/v1/models/{name}/repo/files":
                self.server.asked.update(query.get("Revision", []))
                files = [{"Path": file.name, "Name": file.name, "Type": "blob",
                          "Size": file.stat().st_size, "Sha256": _digest(file)}
                         for file in _files(folder)]  # fmt: skip
                self._json({"Code": 200, "Success": True, "Data": {"Files": files}})
            elif path == f"api/v1/models/{name}/repo":
                self._file(folder / query["FilePath"][0])
            else:
                continue
            return
        self._json({"Code": 404, "Message": "there is no such model"}, 404)

    def _hugging_face(self, name: str, revision: str) -> None:
        self.server.asked.add(revision)
        files = [{"rfilename": file.name} for file in _files(self.server.folders[name])]
        self._json({"id": name, "modelId": name, "sha": _COMMIT, "private": False, "tags": [],
                    "downloads": 0, "likes": 0, "siblings": files})  # fmt: skip

    def _file(self, file: Path) -> None:
        if not file.is_file():
            self._json({}, 404)
            return
        if self.command == "GET":
            with self.server.lock:
                self.server.sent[file.name] += 1
        self._answer(file.read_bytes(), "application/octet-stream", 200, _digest(file))

    def _json(self, value: Any, status: int = 200) -> None:
        self._answer(json.dumps(value).encode(), "application/json", status)

    def _answer(self, data: bytes, kind: str, status: int, etag: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        if etag:
            self.send_header("ETag", f'"{etag}"')
            self.send_header("X-Repo-Commit", _COMMIT)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


_COMMIT = "c0ffee" * 6 + "c0ff"


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file())


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@contextlib.contextmanager
def hub(folders: Mapping[str, Path]) -> Iterator[Hub]:
    """A running `Hub`."""
    with Hub(folders) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def environment(address: str, folder: Path) -> dict[str, str]:
    """What a process is started with that is to know this hub and keep its files in `folder`."""
    return {
        "HF_ENDPOINT": address, "MODELSCOPE_ENDPOINT": address,
        "HF_HOME": str(folder / "hf"), "MODELSCOPE_CACHE": str(folder / "ms"),
        "MODELSCOPE_HOME": str(folder / "ms_home"), "XDG_CACHE_HOME": str(folder / "cache"),
        "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "", "TRANSFORMERS_OFFLINE": "",
        "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1",
    }  # fmt: skip
