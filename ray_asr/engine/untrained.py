"""A FunASR model folder with the published Paraformer-large architecture and random weights.

Owns the architecture's numbers and the folder's files, so that speed is measured without a
download: how long a model takes does not hang on what its weights say. Nothing that it
recognizes means anything. Must not know Ray or Parquet.

Source: iic/speech_paraformer-large_asr_nat-zh-cn-16k-common-vocab8404 (its config.yaml).
"""

from __future__ import annotations

import json
import math
import string
from pathlib import Path
from typing import Any

import yaml

from ray_asr.engine.registry import auto_model

# LFR frames a second (10 ms frames, every sixth kept): what the predictor sums over.
_FRAMES_PER_S = 1000 / 60
_CIF_WEIGHT_STD = 0.003  # moves the summed weights by a few per cent from input to input
_NEVER = -1e4  # the logit bias of tokens that no recognized text should hold

_SPECIAL = ("<blank>", "<s>", "</s>")
_UNKNOWN = "<unk>"
_FIRST_CHARACTER = 0x4E00


def architecture(
    *,
    encoder_blocks: int = 50,
    decoder_blocks: int = 16,
    width: int = 512,
    linear_units: int = 2048,
) -> dict[str, Any]:
    """FunASR's `config.yaml` of Paraformer-large, or of a smaller one of the same kind."""
    shared = {"attention_heads": 4, "linear_units": linear_units, "kernel_size": 11}
    return {
        "model": "Paraformer",
        "model_conf": {
            "ctc_weight": 0.0,
            "lsm_weight": 0.1,
            "length_normalized_loss": True,
            "predictor_weight": 1.0,
            "predictor_bias": 1,
            "sampling_ratio": 0.75,
        },
        "encoder": "SANMEncoder",
        "encoder_conf": {
            **shared,
            "output_size": width,
            "num_blocks": encoder_blocks,
            "dropout_rate": 0.1,
            "positional_dropout_rate": 0.1,
            "attention_dropout_rate": 0.1,
            "input_layer": "pe",
            "pos_enc_class": "SinusoidalPositionEncoder",
            "normalize_before": True,
            "sanm_shfit": 0,
            "selfattention_layer_type": "sanm",
        },
        "decoder": "ParaformerSANMDecoder",
        "decoder_conf": {
            **shared,
            "num_blocks": decoder_blocks,
            "att_layer_num": decoder_blocks,
            "dropout_rate": 0.1,
            "positional_dropout_rate": 0.1,
            "self_attention_dropout_rate": 0.1,
            "src_attention_dropout_rate": 0.1,
            "sanm_shfit": 0,
        },
        "predictor": "CifPredictorV2",
        "predictor_conf": {
            "idim": width,
            "threshold": 1.0,
            "l_order": 1,
            "r_order": 1,
            "tail_threshold": 0.45,
        },
        "frontend": "WavFrontend",
        "frontend_conf": {
            "fs": 16000,
            "window": "hamming",
            "n_mels": 80,
            "frame_length": 25,
            "frame_shift": 10,
            "lfr_m": 7,
            "lfr_n": 6,
            "dither": 0.0,
        },
        "tokenizer": "CharTokenizer",
        "tokenizer_conf": {"unk_symbol": _UNKNOWN, "split_with_space": True},
    }


def vocabulary(size: int = 8404) -> list[str]:
    """`size` tokens in the published order: special, characters, word pieces, unknown last."""
    pairs = [a + b for a in string.ascii_lowercase for b in string.ascii_lowercase]
    endings = [*string.ascii_lowercase, *pairs]
    pieces = [piece for ending in endings for piece in (f"{ending}@@", ending)]
    between = size - len(_SPECIAL) - 1
    pieces = pieces[: between // 5]
    characters = [chr(_FIRST_CHARACTER + i) for i in range(between - len(pieces))]
    return [*_SPECIAL, *characters, *pieces, _UNKNOWN]


def build_untrained(
    folder: Path,
    *,
    encoder_blocks: int = 50,
    decoder_blocks: int = 16,
    width: int = 512,
    linear_units: int = 2048,
    vocabulary_size: int = 8404,
    tokens_per_s: float = 4.0,
    seed: int = 0,
) -> Path:
    """Write the model folder; the defaults are the 220 M parameters of Paraformer-large.

    Args:
        folder: made where it is missing; its files are overwritten.
        encoder_blocks: self-attention blocks of the encoder.
        decoder_blocks: blocks of the decoder.
        width: of the hidden states; a multiple of 4, the number of heads.
        linear_units: of the feed-forward layers.
        vocabulary_size: tokens, 12 or more.
        tokens_per_s: how many tokens come out for a second of audio, about.
        seed: of the weights.

    Returns:
        `folder`, to be named as `engine.model`.
    """
    import torch

    config = architecture(
        encoder_blocks=encoder_blocks,
        decoder_blocks=decoder_blocks,
        width=width,
        linear_units=linear_units,
    )
    tokens = vocabulary(vocabulary_size)
    state = _weights(config, len(tokens), tokens_per_s, seed)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / "model.pt")
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (folder / "tokens.json").write_text(
        json.dumps(tokens, ensure_ascii=False, indent=0), encoding="utf-8"
    )
    (folder / "seg_dict").write_text(_segmentation(tokens), encoding="utf-8")
    (folder / "am.mvn").write_text(_normalization(config["frontend_conf"]))
    return folder


def _weights(
    config: dict[str, Any], vocabulary_size: int, tokens_per_s: float, seed: int
) -> dict[str, Any]:
    import torch

    auto_model()  # first, or the next line would import all of FunASR
    from funasr.models.paraformer.model import Paraformer

    frontend = config["frontend_conf"]
    parts = {
        name: config[name]
        for kind in ("encoder", "decoder", "predictor")
        for name in (kind, f"{kind}_conf")
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Any = Paraformer(
            input_size=frontend["n_mels"] * frontend["lfr_m"],
            vocab_size=vocabulary_size,
            **config["model_conf"],
            **parts,
        )
        # A frame's weight is sigmoid(bias): that many tokens a frame, near enough for any input.
        per_frame = tokens_per_s / _FRAMES_PER_S
        cif = model.predictor.cif_output
        torch.nn.init.normal_(cif.weight, std=_CIF_WEIGHT_STD)
        torch.nn.init.constant_(cif.bias, math.log(per_frame / (1 - per_frame)))
        with torch.no_grad():
            output = model.decoder.output_layer
            output.bias.zero_()
            output.bias[: len(_SPECIAL)] = _NEVER
            output.bias[-1] = _NEVER
    return model.state_dict()


def _segmentation(tokens: list[str]) -> str:
    """`seg_dict`: words, and the pieces that they are made of (hotwords are cut by it)."""
    endings = [token for token in tokens if token.isascii() and token.isalpha()]
    known = set(tokens)
    lines = [f"{token} {token}" for token in tokens if token.isalpha()]
    lines += [
        f"{first}{second} {first}@@ {second}"
        for first in endings
        for second in endings[:26]
        if len(first) == 2 and len(second) == 2 and f"{first}@@" in known
    ]
    return "\n".join(lines) + "\n"


def _normalization(frontend: dict[str, Any]) -> str:
    """`am.mvn`: shift and scale that bring log-mel speech near zero mean and unit variance."""
    size = frontend["n_mels"] * frontend["lfr_m"]
    shift, scale = " ".join(["-12.0"] * size), " ".join(["0.25"] * size)
    return (
        f"<Nnet>\n<Splice> {size} {size}\n[ 0 ]\n<AddShift> {size} {size}\n"
        f"<LearnRateCoef> 0 [ {shift} ]\n<Rescale> {size} {size}\n"
        f"<LearnRateCoef> 0 [ {scale} ]\n</Nnet>\n"
    )
