"""FunASR's own ONNX runtime package with int8, on the same model exported by FunASR.

Owns the row "funasr-onnx". The export runs once, in a process of its own, before the clock.
Torch's newer exporter does not take FunASR's CIF predictor (a branch on data, torch 2.13), so the
older one is asked for, which FunASR was written for. funasr-onnx takes lists of paths only, which
it would decode with librosa; here it is handed the arrays, which costs it less.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from case import decode, finish, read_spec


def export(model: Path, folder: Path) -> None:
    import torch

    with contextlib.redirect_stdout(io.StringIO()):  # its notice of a tool that nothing needs here
        from funasr import AutoModel

    torch.onnx.export = functools.partial(torch.onnx.export, dynamo=False)
    writing = folder.with_name(f"{folder.name}.writing")
    shutil.rmtree(writing, ignore_errors=True)
    writing.mkdir(parents=True)
    for file in model.iterdir():
        os.symlink(file.resolve(), writing / file.name)
    auto = AutoModel(model=str(writing), device="cpu", disable_update=True)
    auto.export(type="onnx", quantize=True)
    (writing / "model.onnx").unlink()  # only the quantized one is measured
    writing.rename(folder)


def exported(spec: dict[str, Any]) -> Path:
    folder = Path(spec["cache"], "onnx")
    if not folder.exists():
        subprocess.run(
            [sys.executable, __file__, "--export", spec["model"], str(folder)], check=True
        )
    return folder


def main() -> None:
    spec = read_spec()
    if spec["device"] != "cpu":
        raise SystemExit("funasr-onnx's int8 is for CPUs: leave this case out on a GPU")
    folder = exported(spec)
    from funasr_onnx import Paraformer

    batch_size = spec["options"]["batch_size"]
    model = Paraformer(
        str(folder),
        batch_size=batch_size,
        quantize=True,
        intra_op_num_threads=spec["options"]["ncpu"],
    )
    model.load_data = lambda waveforms, _rate: waveforms
    audio = [(file.stem, file.read_bytes()) for file in sorted(Path(spec["files"]).iterdir())]
    model([decode(data) for _, data in audio[:1]])
    texts: dict[str, str] = {}
    started = time.time()
    for start in range(0, len(audio), batch_size):
        batch = audio[start : start + batch_size]
        results = model([decode(data) for _, data in batch])
        for (name, _), result in zip(batch, results, strict=True):
            texts[name] = result["preds"][0]
    finish(spec, started, time.time(), texts)


if __name__ == "__main__":
    if sys.argv[1] == "--export":
        export(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        main()
