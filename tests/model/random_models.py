"""Small model folders with random weights, of the classes that no embedded model is of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import yaml

from ray_asr.engine.untrained import architecture, build_untrained, vocabulary

_WIDTH = 32
_FINE_PREDICTOR = {
    "predictor": "CifPredictorV3",
    "predictor_conf": {
        "idim": _WIDTH, "threshold": 1.0, "l_order": 1, "r_order": 1, "tail_threshold": 0.45,
        "smooth_factor2": 0.25, "noise_threshold2": 0.01, "upsample_times": 3,
        "use_cif1_cnn": False, "upsample_type": "cnn_blstm",
    },
}  # fmt: skip
_SEACO = {
    "inner_dim": _WIDTH, "bias_encoder_type": "lstm", "bias_encoder_bid": False,
    "seaco_decoder": "ParaformerSANMDecoder",
    "seaco_decoder_conf": {
        "attention_heads": 4, "linear_units": 64, "num_blocks": 2, "dropout_rate": 0.1,
        "self_attention_dropout_rate": 0.1, "src_attention_dropout_rate": 0.1, "kernel_size": 21,
        "sanm_shfit": 0, "use_output_layer": False, "wo_input_layer": True,
    },
    "train_decoder": True,
}  # fmt: skip
TOKENS = 60


def random_model(folder: Path, kind: str, seed: int = 0) -> str:
    """A folder of the model class `kind`: what it says means nothing, but says it every time."""
    sizes = {"encoder_blocks": 3, "decoder_blocks": 2, "width": _WIDTH, "linear_units": 64}
    build_untrained(folder, vocabulary_size=TOKENS, seed=seed, **sizes)
    if kind == "Paraformer":
        return str(folder)
    config = architecture(**sizes)
    config["model"] = kind
    if kind == "SenseVoiceSmall":
        config = _sense_voice(folder, config)
    else:
        config |= _FINE_PREDICTOR
        if kind == "SeacoParaformer":
            config["model_conf"] |= {**_SEACO, "NO_BIAS": TOKENS - 1}
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    torch.save(_weights(config, kind, seed), folder / "model.pt")
    return str(folder)


def _weights(config: dict[str, Any], kind: str, seed: int) -> dict[str, torch.Tensor]:
    from funasr import AutoModel  # noqa: F401 - registers the classes
    from funasr.register import tables

    parts = {key: value for key, value in config.items() if key.partition("_")[0] in
             ("encoder", "decoder", "predictor", "ctc")}  # fmt: skip
    if config["model_conf"].get("seaco_decoder"):
        parts["predictor"] = config["predictor"]
    tokens = 200 if kind == "SenseVoiceSmall" else TOKENS
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = tables.model_classes.get(kind)(
            input_size=560, vocab_size=tokens, **config["model_conf"], **parts
        )
        for name, weight in model.named_parameters():
            if "cif_output" in name and name.endswith("bias"):
                torch.nn.init.constant_(weight, -1.2)
            elif "cif_output" in name:
                torch.nn.init.normal_(weight, std=0.05)
            elif "output_layer.bias" in name or "ctc_lo.bias" in name:
                torch.nn.init.normal_(weight, std=0.3)
    return model.state_dict()


def _sense_voice(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    import sentencepiece

    words = [token for token in vocabulary(4000) if token.isascii() and token.isalpha()]
    sentences = (" ".join(words[i::7][:40]) for i in range(40))
    with (folder / "bpe.model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences), model_writer=file, vocab_size=200,
            model_type="unigram", minloglevel=2, num_threads=1, hard_vocab_limit=False,
        )  # fmt: skip
    (folder / "tokens.json").unlink()
    return {
        "model": "SenseVoiceSmall",
        "model_conf": {"length_normalized_loss": True, "sos": 1, "eos": 2, "ignore_id": -1},
        "encoder": "SenseVoiceEncoderSmall",
        "encoder_conf": {
            "output_size": _WIDTH, "attention_heads": 4, "linear_units": 64, "num_blocks": 3,
            "tp_blocks": 2, "dropout_rate": 0.1, "positional_dropout_rate": 0.1,
            "attention_dropout_rate": 0.1, "input_layer": "pe",
            "pos_enc_class": "SinusoidalPositionEncoder", "normalize_before": True,
            "kernel_size": 11, "sanm_shfit": 0, "selfattention_layer_type": "sanm",
        },
        "frontend": config["frontend"],
        "frontend_conf": config["frontend_conf"],
        "tokenizer": "SentencepiecesTokenizer",
        "tokenizer_conf": {"unk_symbol": "<unk>", "split_with_space": True},
        "ctc_conf": {"dropout_rate": 0.0, "ctc_type": "builtin", "reduce": True,
                     "ignore_nan_grad": True},
    }  # fmt: skip


def random_speaker_model(folder: Path, seed: int = 0) -> str:
    """A folder of a small CAM++, in the form in which its hub has it."""
    from funasr import AutoModel  # noqa: F401 - registers the classes
    from funasr.register import tables

    sizes = {
        "feat_dim": 80, "embedding_size": 48, "growth_rate": 4, "bn_size": 2, "init_channels": 16,
        "config_str": "batchnorm-relu", "memory_efficient": True, "output_level": "segment",
    }  # fmt: skip
    config = {
        "model": "CAMPPlus", "model_conf": sizes, "frontend": "WavFrontend",
        "frontend_conf": {"fs": 16000},
    }  # fmt: skip
    files = {"init_param": "campplus.bin", "config": "config.yaml"}
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (folder / "configuration.json").write_text(json.dumps({"file_path_metas": files}))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = tables.model_classes.get("CAMPPlus")(**sizes)
        for name, value in model.named_buffers():  # as of a trained model: other than 0 and 1
            if name.endswith("running_mean"):
                value.normal_(std=0.2)
            elif name.endswith("running_var"):
                value.uniform_(0.5, 1.5)
    torch.save(model.state_dict(), folder / "campplus.bin")
    return str(folder)
