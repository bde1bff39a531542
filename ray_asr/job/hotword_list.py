"""Words to favour that stand in a file: read once, by whoever starts the job.

Owns when `engine.hotword` names a file, and reading it. What the file holds takes the place of its
name: it goes to the actors by value, counts in the fingerprint, and is there for a later run. Must
not know models or Ray.
"""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from ray_asr.config import Config
from ray_asr.corpus.retries import explained
from ray_asr.corpus.storage import open_filesystem
from ray_asr.engine.hotwords import of_list
from ray_asr.errors import ConfigError, DataError
from ray_asr.redaction import redacted

_SUFFIX = ".txt"  # FunASR's rule for what names a file
_MOST_BYTES = 4 * 2**20


def with_hotwords(config: Config) -> Config:
    """`config` with the words themselves where `engine.hotword` names a list of them.

    Raises:
        ConfigError: the list cannot be read, is too long, or is no text.
    """
    named = config.engine.hotword.strip()
    if "\n" in config.engine.hotword or not (named.endswith(_SUFFIX) or "://" in named):
        return config
    hotword = of_list(_text(named))
    if not hotword:
        raise ConfigError(
            f"engine.hotword: {redacted(named)} holds no words: write one a line, or leave it out."
        )
    return replace(config, engine=replace(config.engine, hotword=hotword))


def _text(named: str) -> str:
    shown = redacted(named)
    try:
        filesystem, path = open_filesystem(named)
        with filesystem.open_input_file(path) as source:
            data = source.read(_MOST_BYTES + 1)
    except DataError as error:
        raise ConfigError(f"engine.hotword: {error}") from None
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(f"engine.hotword: {explained(error, shown)}") from None
    if len(data) > _MOST_BYTES:
        raise ConfigError(
            f"engine.hotword: {shown} has more than {_MOST_BYTES // 2**20} MiB: name a list of "
            "words, one a line."
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(
            f"engine.hotword: {shown} is not UTF-8: save it as UTF-8 text, one word a line."
        ) from None
