"""Words to favour: the forms in which they come, which model classes take them, and as what.

Owns what `engine.hotword` means. Must not know where a list of words is read, or Ray.

FunASR parses its hotwords for every batch anew, fetches what begins like a URL, opens what is
called .txt, and says nothing where a model has no use for them (read in 1.4.16). Here they are text
by the time they come to a model.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from itertools import islice
from typing import Any

from ray_asr.engine.model_trust import KNOWN_CLASSES
from ray_asr.errors import ConfigError
from ray_asr.redaction import redacted

SEACO, CONTEXTUAL, NANO, QWEN = "SeacoParaformer", "ContextualParaformer", "FunASRNano", "Qwen3ASR"
# The classes of FunASR's whose `inference` uses them.
TAKING = frozenset([SEACO, CONTEXTUAL, NANO, QWEN])
_LINES = re.compile(r"\r\n|\r|\n")
_WEIGHT = re.compile(r"\d+(\.\d+)?")
_MOST_NAMED = 5

logger = logging.getLogger(__name__)


def phrases(hotword: str) -> list[str]:
    """What is favoured by `engine.hotword`: each line of several, or each word of one line."""
    if "\n" not in hotword:
        return hotword.split()
    return [" ".join(line.split()) for line in _LINES.split(hotword) if line.strip()]


def of_list(text: str) -> str:
    """`engine.hotword` for the text of a file that has one word or phrase a line.

    The lists of FunASR's servers have a weight behind each word, which its models in Python do not
    take: where every line ends in a number, the numbers are left out. Empty lines and repetitions
    are left out too, so that what favours the same words is the same setting.
    """
    lines = [words for line in _LINES.split(text) if (words := line.split())]
    if all(len(words) > 1 and _WEIGHT.fullmatch(words[-1]) for words in lines):
        lines = [words[:-1] for words in lines]
    unique = list(dict.fromkeys(" ".join(words) for words in lines))
    if any(" " in phrase for phrase in unique):
        return "".join(f"{phrase}\n" for phrase in unique)
    return " ".join(unique)


def check_class(hotword: str, of_class: str, model: str) -> None:
    """Refuse words to favour where it is known that the model does not look at them.

    Args:
        hotword: the setting.
        of_class: FunASR's name of the model's class; "" where it is not known yet.
        model: how the model is called, for the message.

    Raises:
        ConfigError: says which models do.
    """
    if phrases(hotword) and of_class in KNOWN_CLASSES - TAKING:
        raise ConfigError(
            f'engine.hotword: the model "{redacted(model)}" is a {of_class}, which takes no '
            "hotwords: leave engine.hotword empty, or use a model that takes them, such as "
            "paraformer-zh (SeACo), a contextual Paraformer, Fun-ASR-Nano or Qwen3-ASR."
        )


def token_ids(
    model: Any, tokenizer: Any, frontend: Any, favoured: Sequence[str]
) -> list[list[int]] | None:
    """Tokens of each phrase, and the end mark, as SeACo and its elder sister take them.

    FunASR's own method cuts words to tokens. It is given them as one text, of which it makes a
    phrase of each word; with a blank at both ends it takes that for neither an address nor a file.

    Args:
        model: has FunASR's `generate_hotwords_list`.
        tokenizer: the model's.
        frontend: the model's; the list of word pieces is found beside its file.
        favoured: from `phrases`.

    Returns:
        None where nothing is favoured.
    """
    if not favoured:
        return None
    *of_words, end = model.generate_hotwords_list(
        f" {' '.join(favoured)} ", tokenizer=tokenizer, frontend=frontend
    )
    words = iter(of_words)
    ids = [
        [token for of_word in islice(words, len(phrase.split())) for token in of_word]
        for phrase in favoured
    ]
    _say_what_is_unknown(favoured, ids, getattr(tokenizer, "unk_id", None))
    return [*ids, end]


def _say_what_is_unknown(favoured: Sequence[str], ids: list[list[int]], unknown: Any) -> None:
    missed = [phrase for phrase, of in zip(favoured, ids, strict=True) if unknown in of]
    if missed:
        more = f" and {len(missed) - _MOST_NAMED} more" if len(missed) > _MOST_NAMED else ""
        logger.warning(
            "the model's vocabulary lacks tokens of %d of %d hotword(s), which are hardly favoured "
            "for that: %s%s.", len(missed), len(favoured), ", ".join(missed[:_MOST_NAMED]), more,
        )  # fmt: skip
