"""Daft's class UDF on its native runner, as its guide to stateful functions teaches it.

Owns the row "daft". Whether the class gets a process of its own is left to Daft, where one
instance is asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import daft
from case import decode, finish, generate, last_ready, load, read_spec, signal_ready, written
from daft import DataType


def transcriber(processes: int, batch_size: int, gpus: float) -> Any:
    @daft.cls(max_concurrency=processes, gpus=gpus, use_process=True if processes > 1 else None)
    class Transcriber:
        def __init__(self, spec: dict[str, Any]) -> None:
            self.model = load(spec)
            signal_ready(spec)

        @daft.method.batch(return_dtype=DataType.string(), batch_size=max(16, batch_size))
        def text(self, audio: daft.Series) -> list[str]:
            waveforms = [decode(data) for data in audio.to_pylist()]
            return generate(self.model, waveforms, batch_size)

    return Transcriber


def main() -> None:
    spec = read_spec()
    processes, batch_size = spec["options"]["processes"], spec["options"]["batch_size"]
    gpus = 0.0 if spec["device"] == "cpu" else 1 / processes
    model = transcriber(processes, batch_size, gpus)(spec)
    output = Path(spec["work"], "transcripts")
    rows = daft.read_parquet(f"{spec['shards']}/*.parquet")
    rows = rows.select("utterance_id", model.text(rows["audio"]).alias("text"))
    rows.write_parquet(str(output))
    ended, texts = written(output)
    finish(spec, last_ready(spec), ended, texts)


if __name__ == "__main__":
    main()
