"""A Ray of one's own: nobody outside hears it, nobody else reads its files, nothing stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

_LOOK = """
import json, os, stat, sys
from pathlib import Path
import psutil, ray
from ray_asr.job.pipeline import connect

def listening(process):
    try:
        sockets = process.net_connections("inet")
        return [s.laddr.ip for s in sockets if s.status == psutil.CONN_LISTEN]
    except psutil.Error:
        return []

connect("local")
ray.get(ray.remote(lambda: 1).remote())
own = psutil.Process()
started = [own, *own.children(recursive=True)]
place = Path(ray._private.worker._global_node.get_temp_dir_path())
print(json.dumps({
    "listening": {f"{p.name()} {p.pid}": listening(p) for p in started},
    "place": str(place),
    "rights": [stat.S_IMODE(folder.stat().st_mode) for folder in place.parents],
    "owner": place.parent.stat().st_uid,
}))
"""


@pytest.mark.parametrize("temporary", ["short", "long"])
def test_nobody_outside_hears_it_or_reads_its_files_and_it_leaves_nothing(temporary: str) -> None:
    with tempfile.TemporaryDirectory(prefix="lr_") as root:
        folder = root if temporary == "short" else f"{root}/{'x' * 80}"
        os.makedirs(folder, exist_ok=True)
        ran = subprocess.run(
            [sys.executable, "-c", _LOOK],
            env={**os.environ, "TMPDIR": folder, "RAY_TMPDIR": folder},
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        found = json.loads(ran.stdout.splitlines()[-1])
        heard = {address for addresses in found["listening"].values() for address in addresses}
        assert heard, "nothing was looked at"
        assert heard <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}, found["listening"]
        place = Path(found["place"])
        assert found["rights"][0] == 0o700
        assert found["owner"] == os.getuid()
        assert place.is_relative_to(root) == (temporary == "short")
        assert not place.parent.exists()
