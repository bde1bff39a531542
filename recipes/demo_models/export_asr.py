"""The trained Paraformer as a folder in FunASR's own format.

Owns the folder's files. Weights are stored as float16, which halves the folder; FunASR copies
them into its float32 parameters when it loads them.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import torch
import yaml
from model_conf import FRONTEND, paraformer_conf


def kaldi_normalisation(mean: torch.Tensor, std: torch.Tensor) -> str:
    """`am.mvn`: shift by -mean, then scale by 1/std, each `(560,)`."""
    size = len(mean)
    shift = " ".join(f"{-value:.6f}" for value in mean.tolist())
    scale = " ".join(f"{1 / value:.6f}" for value in std.tolist())
    return (
        f"<Nnet>\n<Splice> {size} {size}\n[ 0 ]\n<AddShift> {size} {size}\n"
        f"<LearnRateCoef> 0 [ {shift} ]\n<Rescale> {size} {size}\n"
        f"<LearnRateCoef> 0 [ {scale} ]\n</Nnet>\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path, help="folder of train_asr.py")
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    conf: dict[str, Any] = paraformer_conf(dropout=0.0)
    conf.pop("input_size")
    config = {
        "model": "Paraformer",
        **conf,
        "ctc": "CTC",
        "frontend": "WavFrontend",
        "frontend_conf": FRONTEND,
        "tokenizer": "CharTokenizer",
        "tokenizer_conf": {"unk_symbol": "<unk>", "split_with_space": True},
    }
    (args.out / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    state = torch.load(args.work / "asr.pt")
    torch.save({name: value.half() for name, value in state.items()}, args.out / "model.pt")
    mean, std = torch.load(args.work / "norm.pt")
    (args.out / "am.mvn").write_text(kaldi_normalisation(mean, std))
    for name in ("tokens.json", "seg_dict"):
        shutil.copy(args.work / name, args.out / name)
    size = sum(file.stat().st_size for file in args.out.iterdir())
    print(f"{args.out}: {size / 2**20:.2f} MiB")


if __name__ == "__main__":
    main()
