"""Folders in the form of Hugging Face's transformers: a language model, or a model around one.

Owns which of them FunASR has a class for, what they must hold, and what in them could run code or
fetch more. Must not know FunASR or torch: it reads names and JSON.

FunASR 1.4.16 gives such a folder to `AutoConfig`, `AutoTokenizer` (`FunASRNano`) or, by way of the
package qwen-asr, to `from_pretrained` (`Qwen3ASR`), with no word about code of the folder's own.
transformers then takes its own classes, and asks a terminal where `auto_map` names others; it
fetches kernels of an attention that is named like a repository, and the base of an adapter.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

CONFIG = "config.json"
QWEN3_ASR = "qwen3_asr"
# The language models of Fun-ASR, by transformers' name of their kind; each is layers and no more.
LLMS = frozenset(["qwen2", "qwen3"])
_ADAPTER = "adapter_config.json"
# Lists of tokens and of weights; nothing in them is a setting.
_NO_SETTINGS = ("tokenizer.json", "vocab.json", "added_tokens.json")
_OWN_CODE = ("auto_map", "custom_pipelines", "custom_generate", "trust_remote_code")
_KERNELS = ("attn_implementation", "_attn_implementation", "experts_implementation")
_WEIGHTS = (".safetensors", ".bin")
_PICKLED = (".bin", ".pt", ".pth", ".ckpt")
_MOST_SHOWN = 120


def kind_of(folder: Path) -> str:
    """Transformers' name for what a folder holds (`qwen3_asr`, `qwen3`); "" where it has none.

    Raises:
        ValueError: its configuration cannot be read.
    """
    if not (folder / CONFIG).is_file():
        return ""
    settings = _read(folder / CONFIG)
    return str(settings.get("model_type", "")) if isinstance(settings, Mapping) else ""


def missing(folder: Path) -> list[str]:
    """What a folder that is to hold weights lacks."""
    has_weights = any(file.suffix in _WEIGHTS for file in folder.iterdir())
    return [] if has_weights else ["model.safetensors"]


def pickled(folder: Path) -> list[Path]:
    """Weights in the form of `torch.save`, which transformers takes where there are no others."""
    return sorted(file for file in folder.iterdir() if file.suffix in _PICKLED)


def asks(folder: Path, known: Collection[str]) -> Iterator[str]:
    """What in a folder could run code or fetch more, a part of a sentence each.

    Args:
        folder: is there.
        known: the kinds of models that may be in it.

    Raises:
        ValueError: one of its files cannot be read; says which.
    """
    if (kind := kind_of(folder)) not in known:
        yield f"{folder} holds a model of a kind that may load others' code ({_short(kind)})"
    if (folder / _ADAPTER).exists():
        yield f"{folder / _ADAPTER} names a further model"
    for file in sorted(folder.glob("*.json")):
        if file.name in _NO_SETTINGS or file.name.endswith(".index.json"):
            continue
        for key, value in _all(_read(file)):
            if key in _OWN_CODE and value:
                yield f"{file} asks for code of its own ({key}: {_short(value)})"
            if key in _KERNELS and "/" in str(value):
                yield f"{file} asks for code of a hub ({key}: {_short(value)})"


def loading_asks(options: Any, file: Path) -> Iterator[str]:
    """The same of what a configuration of FunASR's gives to transformers besides a folder.

    Args:
        options: `llm_conf.load_kwargs`.
        file: that has them, for the message.
    """
    for key, value in options.items() if isinstance(options, Mapping) else ():
        plain = key in ("torch_dtype", "dtype", "attn_implementation")
        if not plain or "/" in str(value):
            yield f"{file} gives transformers what may be code ({key}: {_short(value)})"


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{file} cannot be read ({reason})") from error


def _all(value: Any) -> Iterator[tuple[str, Any]]:
    """Every setting of a tree, by its key; those that are trees themselves too."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key), inner
            yield from _all(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _all(inner)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"
