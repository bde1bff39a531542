"""A plain Ray Data actor pool, as Ray's guide to batch inference teaches it.

Owns the row "ray-data": read_parquet, a class for `map_batches`, write_parquet. Two settings are
better than the guide's: one actor instead of 32 reads Parquet footers, and the actor's threads are
all that the machine has (Ray would give it one for `num_cpus=1`; FunASR sets its own).
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_DATA_PARQUET_FOOTER_NUM_ACTORS", "1")

import ray
from case import decode, finish, generate, last_ready, load, read_spec, signal_ready, written
from ray.data import ActorPoolStrategy, DataContext


class Transcriber:
    def __init__(self, spec: dict[str, Any]) -> None:
        self.model = load(spec)
        self.batch_size = spec["options"]["batch_size"]
        signal_ready(spec)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        waveforms = [decode(data) for data in batch["audio"]]
        texts = generate(self.model, waveforms, self.batch_size)
        return {"utterance_id": batch["utterance_id"], "text": texts}


def started(seconds: float) -> None:
    """A task process, with what reading imports; starting it is not on the clock."""
    import pyarrow.dataset  # noqa: F401

    time.sleep(seconds)  # so that the next of these gets a process of its own


def main() -> None:
    spec = read_spec()
    ray.init(
        address="local",
        num_cpus=max(2, spec["cores"]),
        include_dashboard=False,
        log_to_driver=False,
        _temp_dir=spec["ray_folder"],
    )
    context = DataContext.get_current()
    context.enable_progress_bars = False
    ray.data.range(1).materialize()  # starts the actors that Ray Data keeps its books with
    task = ray.remote(num_cpus=1)(started)
    ray.get([task.remote(1.0) for _ in range(max(2, spec["cores"]))])
    context.wait_for_min_actors_s = 1800  # the clock starts when all models are loaded
    output = Path(spec["work"], "transcripts")
    (
        ray.data.read_parquet(spec["shards"], columns=["utterance_id", "audio"])
        .map_batches(
            Transcriber,
            fn_constructor_args=(spec,),
            batch_size=max(16, spec["options"]["batch_size"]),
            compute=ActorPoolStrategy(size=spec["options"]["processes"]),
            num_cpus=1,
            num_gpus=None if spec["device"] == "cpu" else 1 / spec["options"]["processes"],
        )
        .write_parquet(str(output))
    )
    ended, texts = written(output)
    finish(spec, last_ready(spec), ended, texts)
    ray.shutdown()


if __name__ == "__main__":
    main()
