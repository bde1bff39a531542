"""Small folders of the classes of FunASR that are built around a language model, random weights."""

from __future__ import annotations

import base64
import json
import string
from pathlib import Path
from typing import Any

import torch
import yaml

from ray_asr.engine.untrained import architecture, build_untrained

WIDTH = 32
_SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
_LLM = "Qwen3-tiny"
# As `SenseVoiceTokenizer` counts them behind 256 bytes; the blank of CTC is the last.
_CTC_TOKENS = 2000


def _bytes() -> list[str]:
    """All bytes, as byte-level tokenizers write them."""
    from tokenizers import pre_tokenizers

    return sorted(pre_tokenizers.ByteLevel.alphabet())


def language_model(folder: Path) -> None:
    """The configuration and tokenizer of a Qwen3 of two layers, whose tokens are bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config

    vocabulary = {token: number for number, token in enumerate([*_bytes(), *_SPECIALS])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>",
        additional_special_tokens=_SPECIALS,
    ).save_pretrained(folder)  # fmt: skip
    Qwen3Config(
        vocab_size=len(vocabulary), hidden_size=WIDTH, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, max_position_embeddings=4096,
        eos_token_id=vocabulary["<|im_end|>"], pad_token_id=vocabulary["<|endoftext|>"],
        tie_word_embeddings=False, initializer_range=0.2,
    ).save_pretrained(folder)  # fmt: skip


def nano(folder: Path, *, with_times: bool = False, seed: int = 0) -> str:
    """A folder of Fun-ASR-Nano in the form that hubs have it in."""
    shape = {"encoder_blocks": 2, "decoder_blocks": 1, "width": WIDTH, "linear_units": 64}
    build_untrained(folder, vocabulary_size=60, seed=seed, **shape)
    plain = architecture(**shape)
    for name in ("tokens.json", "seg_dict"):
        (folder / name).unlink()
    language_model(folder / _LLM)
    config: dict[str, Any] = {
        "model": "FunASRNano",
        "model_conf": {"length_normalized_loss": True},
        "audio_encoder": "SenseVoiceEncoderSmall",
        "audio_encoder_conf": {
            "output_size": WIDTH, "attention_heads": 4, "linear_units": 64, "num_blocks": 2,
            "tp_blocks": 1, "dropout_rate": 0.1, "positional_dropout_rate": 0.1,
            "attention_dropout_rate": 0.1, "input_layer": "pe",
            "pos_enc_class": "SinusoidalPositionEncoder", "normalize_before": True,
            "kernel_size": 11, "sanm_shfit": 0, "selfattention_layer_type": "sanm", "freeze": True,
        },
        "llm": _LLM,
        "llm_conf": {"hub": "hf", "freeze": True, "llm_dtype": "fp32", "init_param_path": _LLM},
        "audio_adaptor": "Transformer",
        "audio_adaptor_conf": {
            "downsample_rate": 1, "use_low_frame_rate": True, "ffn_dim": 64, "llm_dim": WIDTH,
            "encoder_dim": WIDTH, "n_layer": 1, "attention_heads": 4, "freeze": True,
        },
        "frontend": "WavFrontend",
        "frontend_conf": plain["frontend_conf"],
        "tokenizer": "HuggingfaceTokenizer",
        "tokenizer_conf": {"init_param_path": _LLM},
        "dataset_conf": {"do_think": False},
        "max_length": 16,
    }  # fmt: skip
    metas: dict[str, Any] = {
        "init_param": "model.pt", "config": "config.yaml",
        "frontend_conf": {"cmvn_file": "am.mvn"},
        "tokenizer_conf": {"init_param_path": _LLM}, "llm_conf": {"init_param_path": _LLM},
    }  # fmt: skip
    if with_times:
        lines = (f"{base64.b64encode(bytes([byte])).decode()} {byte}" for byte in range(256))
        (folder / "bytes.tiktoken").write_text("\n".join(lines))
        config |= {
            "ctc_decoder": "Transformer",
            "ctc_decoder_conf": {
                "downsample_rate": 1, "ffn_dim": 64, "llm_dim": WIDTH, "encoder_dim": WIDTH,
                "n_layer": 1, "attention_heads": 4,
            },
            "ctc_tokenizer": "SenseVoiceTokenizer",
            "ctc_tokenizer_conf": {"is_multilingual": True, "num_languages": 8749},
            "ctc_vocab_size": _CTC_TOKENS,
            "ctc_conf": {"dropout_rate": 0.0},
            "ctc_weight": 1.0,
        }  # fmt: skip
        metas["ctc_tokenizer_conf"] = {"vocab_path": "bytes.tiktoken"}
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    listed = {"framework": "pytorch", "file_path_metas": metas}
    (folder / "configuration.json").write_text(json.dumps(listed))
    torch.save(_weights(folder, config, seed), folder / "model.pt")
    return str(folder)


def _weights(folder: Path, config: dict[str, Any], seed: int) -> dict[str, torch.Tensor]:
    from funasr import AutoModel  # noqa: F401 - registers the classes
    from funasr.register import tables

    model_class = tables.model_classes.get("FunASRNano")
    assert model_class is not None
    here = {name: value for name, value in config.items() if name not in ("model", "model_conf")}
    here["llm_conf"] = {**config["llm_conf"], "init_param_path": str(folder / _LLM)}
    if "ctc_tokenizer_conf" in here:
        vocabulary = str(folder / "bytes.tiktoken")
        here["ctc_tokenizer_conf"] = {**here["ctc_tokenizer_conf"], "vocab_path": vocabulary}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class(input_size=560, **config["model_conf"], **here)
    # It says letters and blanks: any of them is likelier than what has the score 0.
    said = _bytes().index("Ġ"), *(_bytes().index(letter) for letter in string.ascii_lowercase)
    others = torch.ones(len(model.llm.lm_head.weight), dtype=torch.bool)
    others[list(said)] = False
    with torch.no_grad():
        model.llm.lm_head.weight[others] = 0.0
    return model.state_dict()


def qwen3_asr(folder: Path, seed: int = 0) -> str:
    """A folder of Qwen3-ASR in the form of transformers; needs the package qwen-asr."""
    from qwen_asr.core.transformers_backend import (  # pyright: ignore[reportMissingImports]
        Qwen3ASRConfig,
        Qwen3ASRForConditionalGeneration,
    )
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import Qwen2TokenizerFast, WhisperFeatureExtractor

    audio = {"audio_token": "<|audio_pad|>", "audio_bos_token": "<|audio_start|>",
             "audio_eos_token": "<|audio_end|>"}  # fmt: skip
    specials = [*_SPECIALS, *audio.values()]
    vocabulary = {token: number for number, token in enumerate([*_bytes(), *specials])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    Qwen2TokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>",
        unk_token=None, extra_special_tokens=audio,
    ).save_pretrained(folder)  # fmt: skip
    WhisperFeatureExtractor(feature_size=128).save_pretrained(folder)
    turns = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n"
        "{% if m.content is string %}{{ m.content }}"
        "{% else %}<|audio_start|><|audio_pad|><|audio_end|>{% endif %}<|im_end|>\n{% endfor %}"
        "<|im_start|>assistant\n"
    )
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": turns}))
    (folder / "processor_config.json").write_text('{"processor_class": "Qwen3ASRProcessor"}')
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = Qwen3ASRConfig(
            thinker_config={
                "audio_config": {
                    "num_mel_bins": 128, "encoder_layers": 1, "encoder_attention_heads": 4,
                    "encoder_ffn_dim": 64, "d_model": WIDTH, "output_dim": WIDTH,
                    "downsample_hidden_size": 8, "n_window": 50, "n_window_infer": 800,
                },
                "text_config": {
                    "vocab_size": len(vocabulary), "hidden_size": WIDTH, "intermediate_size": 64,
                    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
                    "head_dim": 8, "initializer_range": 0.2,
                    "rope_scaling": {"mrope_section": [2, 1, 1], "mrope_interleaved": True,
                                     "rope_type": "default"},
                },
                "audio_token_id": vocabulary["<|audio_pad|>"],
                "audio_start_token_id": vocabulary["<|audio_start|>"],
                "initializer_range": 0.2,
            },
        )  # fmt: skip
        model = Qwen3ASRForConditionalGeneration(config)
        for weight in model.parameters():
            if weight.dim() > 1:
                torch.nn.init.normal_(weight, std=0.2)
        model.generation_config.eos_token_id = vocabulary["<|im_end|>"]
        model.generation_config.pad_token_id = vocabulary["<|endoftext|>"]
    model.save_pretrained(folder)
    return str(folder)
