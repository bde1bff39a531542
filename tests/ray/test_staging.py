"""Models come to each node once: of a store, and of a hub, on a cluster of several raylets.

The same file is the driver: a process has one Ray, and the other tests have theirs. Each raylet has
a cache folder of its own, as each node has.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from ray_asr.demo import model_folder
from tests.conftest import speech_table, write_shard
from tests.hubs import environment, hub
from tests.model.test_fetching import NAMES
from tests.ray.heads import ROOT
from tests.stores import ACCESS_KEY, REGION, SECRET_KEY, make_bucket, proxy, s3_server

BUCKET = "models"
NODES = 2


def drive(folder: str, address: str, recordings: str) -> None:
    """A job on two nodes, then a third node, whose copy is damaged; says what came of it."""
    import ray
    from ray.cluster_utils import Cluster

    from ray_asr.config import Config, with_settings
    from ray_asr.errors import RayAsrError
    from ray_asr.job.pipeline import check_models, transcribe_path
    from ray_asr.job.staging import on_this_node, stage, staging_of

    hubs_address = os.environ["HF_ENDPOINT"]

    def add(name: str) -> Any:
        here = environment(hubs_address, Path(folder, name))
        return cluster.add_node(num_cpus=2, env_vars=here, object_store_memory=100 * 2**20)

    cluster = Cluster()
    head = {"num_cpus": 0, "object_store_memory": 100 * 2**20, "include_dashboard": False}
    cluster.add_node(**head)
    for number in range(NODES):
        add(f"node{number}")
    ray.init(cluster.address, log_to_driver=False, logging_level="error")
    settings = {
        "model": address, "vad_model": "fsmn-vad", "punc_model": "", "hub": "hf", "ncpu": 1,
        "num_actors": 3, "autoscale": False, "unit_mb": 0.1, "stages": "fused",
    }  # fmt: skip
    config = check_models(with_settings(Config(), settings))
    summary = transcribe_path(recordings, f"{folder}/out", config)
    said: dict[str, Any] = {"rows": [summary.rows_out, summary.rows_failed]}
    # Three processes of a node that comes later begin at once.
    late = add("late")
    on_it = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(late.node_id, soft=False)
    task = ray.remote(on_this_node).options(num_cpus=0, scheduling_strategy=on_it, max_retries=0)
    ray.get([task.remote(staging_of(config.engine)) for _ in range(3)])
    (copy,) = Path(folder, "late").glob("cache/ray_asr/models/*/tokens.json")
    copy.write_text(copy.read_text() + " ")
    try:
        stage(config.engine)
    except RayAsrError as error:
        said["error"] = str(error)
    ray.shutdown()
    cluster.shutdown()
    sys.stdout.write(f"SAID {json.dumps(said)}\n")


@pytest.mark.long
@pytest.mark.timeout(280)
def test_each_node_has_each_model_once(embedded_speech: list[dict[str, str]]) -> None:
    import pyarrow.parquet as pq

    from ray_asr.corpus.storage import open_filesystem, write_whole
    from ray_asr.engine.model_files import digest

    asr, vad = model_folder("model"), model_folder("vad_model")
    short = [item for item in embedded_speech if item["format"] == "wav"][:6]
    query = f"scheme=http&region={REGION}"
    with (
        tempfile.TemporaryDirectory(prefix="ra_", ignore_cleanup_errors=True) as folder,
        s3_server() as port,
        proxy(port) as before,
        hub({NAMES["hf"]: vad}) as models,
    ):
        user = f"{ACCESS_KEY}:{SECRET_KEY.replace('/', '%2F').replace('+', '%2B')}"
        address = f"s3://{user}@{BUCKET}/asr/?endpoint_override=127.0.0.1:{before.port}&{query}"
        make_bucket(port, BUCKET)
        store, inside = open_filesystem(address)
        for file in asr.iterdir():
            write_whole(store, f"{inside}/{file.name}", file.read_bytes())
        before.lines.clear()
        write_shard(speech_table(short), Path(folder, "in", "a.parquet"), row_group_size=1)
        env = {
            **os.environ, **environment(models.address, Path(folder, "driver")),
            "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT),
            "RAY_TMPDIR": folder,
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "tests.ray.test_staging", folder, address, f"{folder}/in"],
            capture_output=True, text=True, timeout=240, check=False, env=env, cwd=ROOT,
        )  # fmt: skip
        lines = [line[5:] for line in done.stdout.splitlines() if line.startswith("SAID ")]
        assert lines, done.stderr[-3000:]
        said = json.loads(lines[0])
        assert said["rows"] == [len(short), 0]
        gets = [line for line in before.lines if line.startswith("GET /models/asr/model.pt")]
        where = ["driver", *(f"node{number}" for number in range(NODES)), "late"]
        copies = [
            list(Path(folder, name).glob("cache/ray_asr/models/*/model.pt")) for name in where
        ]
        assert [len(copy) for copy in copies] == [1] * len(where)
        assert {digest(copy[0].parent) for copy in copies[:-1]} == {digest(asr)}
        ranges = len(gets) / len(where)
        assert ranges == int(ranges), gets  # each of them took the file once
        # The driver fetches no model of a hub; the others have asked for each file once.
        assert dict(models.sent) == dict.fromkeys(models.sent, NODES + 1)
        assert set(models.sent) == {file.name for file in vad.iterdir()}
        assert said["error"].startswith("on the node ")
        assert "is not what the job began with: delete that folder" in said["error"]
        (part, *_) = Path(folder, "out").glob("part-*.parquet")
        row = pq.read_table(part).to_pylist()[0]
        assert row["model_revision"] == digest(asr)
        assert row["model_id"].startswith(f"s3://***@{BUCKET}/asr/")
        text = "".join(file.read_text() for file in Path(folder, "out").rglob("*.json"))
        assert SECRET_KEY[:6] not in text + done.stderr


if __name__ == "__main__":
    drive(*sys.argv[1:])
