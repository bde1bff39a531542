"""FSMN-VAD by its published architecture, with random weights: to measure and to test with.

Owns the published sizes and a model folder made of them. Must not know what the weights find:
they hear speech at random, for seconds or none.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
import yaml

from ray_asr.demo import model_folder
from ray_asr.engine.registry import auto_model

# Source: iic/speech_fsmn_vad_zh-cn-16k-common-pytorch, config.yaml.
PUBLISHED_ENCODER = {
    "input_dim": 400, "input_affine_dim": 140, "fsmn_layers": 4, "linear_dim": 250,
    "proj_dim": 128, "lorder": 20, "rorder": 0, "lstride": 1, "rstride": 0,
    "output_affine_dim": 140, "output_dim": 248,
}  # fmt: skip
_LONGEST_SEGMENT_MS = 60_000


def build_untrained_vad(folder: Path, encoder: Mapping[str, int] = PUBLISHED_ENCODER) -> Path:
    """Write a model folder that FunASR loads as `FsmnVADStreaming`.

    The silence that ends a segment gets shorter from chunk to chunk, as with the published model.

    Args:
        folder: is there, and gets `config.yaml`, `model.pt` and the embedded model's `am.mvn`.
        encoder: sizes as in `encoder_conf`.

    Returns:
        `folder`.
    """
    auto_model()  # first, or the next line would import all of FunASR
    from funasr.register import tables

    embedded = model_folder("vad_model")
    config = yaml.safe_load((embedded / "config.yaml").read_text(encoding="utf-8"))
    del config["max_end_silence_time"]
    config["model_conf"] |= {"max_single_segment_time": _LONGEST_SEGMENT_MS}
    config["encoder_conf"] = dict(encoder)
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    shutil.copy(embedded / "am.mvn", folder)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        network = tables.encoder_classes["FSMN"](**encoder)
        # Larger than a layer's first weights are, so that scores change from frame to frame.
        for parameter in network.parameters():
            parameter *= 1.6 if parameter.ndim > 1 else 1.0
        network.out_linear2.linear.weight[0] *= 20
        network.out_linear2.linear.bias[0] += 4.2
    weights = {f"encoder.{name}": weight for name, weight in network.state_dict().items()}
    torch.save(weights, folder / "model.pt")
    return folder
