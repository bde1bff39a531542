"""Models that FunASR's own `inference` computes: what it is given, and what comes back.

Owns the contract of `model.inference` for the classes that `recognizers` does not compute: which of
the settings reach which class, under which name, and times in the forms that they have. Must not
know Ray, Parquet, or when a model is called.

Read in FunASR 1.4.16. Fun-ASR-Nano takes hotwords as a list, names languages in Chinese, and
computes its language model in the numbers that a call asks for; it decodes a batch at once where it
makes no times, else one utterance after the other. Qwen3-ASR takes any words as a context,
batches by itself, and has its aligner's seconds cut to whole ones and called milliseconds.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ray_asr.config import EngineConfig
from ray_asr.engine.forced_alignment import forced_align
from ray_asr.engine.hotwords import CONTEXTUAL, NANO, QWEN, SEACO, phrases, token_ids
from ray_asr.engine.recognizers import timed
from ray_asr.engine.tags import without_tags
from ray_asr.schema import Recognition, Word

logger = logging.getLogger(__name__)

# Classes whose language model knows half precision by itself; the rest of them stays in float32.
LANGUAGE_MODELS = frozenset([NANO, QWEN])
# What the prompts that Fun-ASR was trained on call the languages.
_IN_CHINESE = {
    "zh": "中文", "en": "英文", "yue": "粤语", "ja": "日文", "ko": "韩文", "vi": "越南语",
    "id": "印尼语", "th": "泰语", "ms": "马来语", "fil": "菲律宾语", "ar": "阿拉伯语",
    "hi": "印地语", "bg": "保加利亚语", "hr": "克罗地亚语", "cs": "捷克语", "da": "丹麦语",
    "nl": "荷兰语", "et": "爱沙尼亚语", "fi": "芬兰语", "el": "希腊语", "hu": "匈牙利语",
    "ga": "爱尔兰语", "lv": "拉脱维亚语", "lt": "立陶宛语", "mt": "马耳他语", "pl": "波兰语",
    "pt": "葡萄牙语", "ro": "罗马尼亚语", "sk": "斯洛伐克语", "sl": "斯洛文尼亚语", "sv": "瑞典语",
}  # fmt: skip
_ANY_LANGUAGE = ("", "auto", "none")
_NO_CHARACTER = "\ufffd"


def inference_options(auto: Any, config: EngineConfig, precision: str) -> dict[str, Any]:
    """What each call of `auto.model.inference` is given besides the audio.

    Args:
        auto: a FunASR `AutoModel`.
        config: what is asked for.
        precision: what the recognizer is to compute in.
    """
    favoured = phrases(config.hotword)
    known = {CONTEXTUAL: _of_a_list, SEACO: _of_a_list, NANO: _nano, QWEN: _qwen}
    make = known.get(type(auto.model).__name__, _of_any_other)
    return {"output_timestamp": True, **make(auto, config, favoured, precision)}


def _of_any_other(
    auto: Any, config: EngineConfig, favoured: Sequence[str], precision: str
) -> dict[str, Any]:
    given = {"language": config.language, "hotword": " ".join(favoured)}
    return {name: value for name, value in given.items() if value}


def _of_a_list(
    auto: Any, config: EngineConfig, favoured: Sequence[str], precision: str
) -> dict[str, Any]:
    tokenizer, frontend = auto.kwargs.get("tokenizer"), auto.kwargs.get("frontend")
    ids = token_ids(auto.model, tokenizer, frontend, favoured)
    # FunASR asks for them again before every batch.
    auto.model.generate_hotwords_list = lambda *_, **__: ids
    return {}


def _nano(
    auto: Any, config: EngineConfig, favoured: Sequence[str], precision: str
) -> dict[str, Any]:
    given: dict[str, Any] = {"llm_dtype": precision}
    # FunASR's own needs torchaudio.
    vars(importlib.import_module(type(auto.model).__module__))["forced_align"] = forced_align
    if config.language.strip().lower() not in _ANY_LANGUAGE:
        given["language"] = _IN_CHINESE.get(config.language.strip().lower(), config.language)
    if favoured:
        given["hotwords"] = list(favoured)
    return given


def _qwen(
    auto: Any, config: EngineConfig, favoured: Sequence[str], precision: str
) -> dict[str, Any]:
    if getattr(auto.model.qwen3_asr_model, "forced_aligner", None) is not None:
        logger.warning(
            "the times of Qwen3-ASR's aligner are left out: FunASR cuts them to whole seconds; "
            "forced_aligner is best left out too."
        )
    given: dict[str, Any] = {"output_timestamp": False}
    if config.language:
        given["language"] = config.language
    if favoured:
        given["context"] = " ".join(favoured)
    return given


def parameters_of(auto: Any) -> int:
    """How many numbers a recognizer has; Qwen3-ASR keeps its own where torch does not see them."""
    model = auto.model
    if type(model).__name__ == QWEN:
        model = model.qwen3_asr_model.model
    return sum(parameter.numel() for parameter in model.parameters())


def recognitions(results: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> list[Recognition]:
    """What was recognized for each key, in order; what a model leaves out is an empty text.

    Args:
        results: from `inference`; each says which key it is of.
        keys: as it was given them, no two alike.
    """
    by_key = {str(result["key"]): _recognition(result) for result in results}
    return [by_key.get(key, Recognition("")) for key in keys]


def _recognition(result: Mapping[str, Any]) -> Recognition:
    told = without_tags(Recognition(str(result.get("text", "")).strip()))
    if language := result.get("language"):
        told = replace(told, language=str(language))
    if pieces := result.get("timestamps"):
        return replace(told, words=words_of_pieces(pieces))
    return replace(told, words=timed(told.text, result.get("timestamp") or []).words)


def words_of_pieces(pieces: Sequence[Mapping[str, Any]]) -> tuple[Word, ...]:
    """Words of the pieces of a text that Fun-ASR times, marks left out.

    A piece begins a word where it has a blank in front, stands after a mark, or is of a script
    that has no blanks between words; any other goes on with the word before it.

    Args:
        pieces: `token`, and `start_time` and `end_time` in seconds.
    """
    words: list[Word] = []
    apart = True
    for piece in pieces:
        text = str(piece["token"])
        if _NO_CHARACTER in text:  # part of a character: which word it is of cannot be told
            return ()
        bare = text.strip()
        if not any(character.isalnum() for character in bare):
            apart = True
            continue
        start_ms, end_ms = (round(1000 * piece[name]) for name in ("start_time", "end_time"))
        apart = apart or text[0].isspace() or _has_no_blanks(bare[0])
        if apart or _has_no_blanks(words[-1].text[-1]):
            words.append(Word(bare, start_ms, max(start_ms, end_ms)))
        else:
            before = words[-1]
            words[-1] = Word(before.text + bare, before.start_ms, max(before.end_ms, end_ms))
        apart = text[-1].isspace()
    return tuple(words)


def _has_no_blanks(character: str) -> bool:
    """Whether it is of Chinese or Japanese."""
    return "\u3040" <= character <= "\u30ff" or "\u3400" <= character <= "\u9fff"
