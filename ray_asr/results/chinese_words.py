"""The words of Chinese text, which has no blanks between them.

Owns loading the dictionary, of the package jieba that FunASR brings. Must not know subtitles.
"""

from __future__ import annotations

import functools
import logging
import re
import tempfile
import warnings
from typing import Any

_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_KANA = re.compile("[\u3041-\u30ff]")


def is_chinese(text: str) -> bool:
    """Whether a text is written in Han characters alone, and not in kana too."""
    return bool(_HAN.search(text)) and not _KANA.search(text)


def chinese_words(text: str) -> list[str]:
    """The words and marks of `text` in order; together they are `text`."""
    return list(_tokenizer().cut(text))


@functools.cache
def _tokenizer() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is older than some rules of the language
        import jieba

    jieba.setLogLevel(logging.WARNING)
    tokenizer: Any = jieba.Tokenizer()
    # It keeps a cache where anybody on the machine may put another one, and would load that.
    with tempfile.TemporaryDirectory(prefix="ray_asr_") as folder:
        tokenizer.tmp_dir = folder
        tokenizer.initialize()
    return tokenizer
