"""Around FunASR while it loads: weights alone, and no folder that nobody has looked at.

Owns what is refused, what a trusted model is let have, and the switches of torch and FunASR that
hold either. Must not know how a model is loaded or called.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ray_asr.engine.checkpoints import NOTES
from ray_asr.engine.model_trust import (
    CODE,
    WEIGHTS,
    Concern,
    concerns,
    concerns_of_name,
)
from ray_asr.errors import ConfigError
from ray_asr.private_folders import private_folder

# Torch's own, which count whatever a caller of `torch.load` asks for, or asks nothing.
_WEIGHTS_ONLY = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
_NOT_ONLY = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
_FETCHING = "funasr.download.download_model_from_hub"
_FETCHERS = ("get_or_download_model_dir", "get_or_download_model_dir_hf")
# With a dictionary of its own a model has jieba load what it kept in the temporary folder, whoever
# put it there.
_JIEBA_DICTIONARY = "jieba_usr_dict"
_JIEBA_FOLDER = "~/.cache/ray_asr/jieba"


def permitted(found: list[Concern], kind: str, trust: bool) -> list[Concern]:
    """What a model asks for and may have, where its maker is trusted.

    Args:
        found: what it asks for.
        kind: `model`, `vad_model` or `punc_model`.
        trust: `engine.trust_model`.

    Raises:
        ConfigError: it asks for anything, and is not trusted.
    """
    if found and not trust:
        raise ConfigError(
            f"engine.{kind}: {'; '.join(concern.what for concern in found)}; it is refused, since "
            "it may run code: name another model, or trust who made this one with --trust-model."
        )
    return found


def check_folder(folder: Path, kind: str, options: Mapping[str, Any], trust: bool) -> list[Concern]:
    """`permitted` of what a model's folder asks for.

    Raises:
        ConfigError: as `permitted`, or its configuration cannot be read.
    """
    try:
        found = concerns(folder, options)
    except (ValueError, OSError) as error:
        raise ConfigError(f"engine.{kind}: {error}; name a FunASR model folder.") from error
    return permitted(found, kind, trust)


class _Refused(BaseException):
    """Past FunASR, which goes on after any `Exception` while it fetches a model."""

    def __init__(self, error: ConfigError) -> None:
        super().__init__(error)
        self.error = error


@contextlib.contextmanager
def guarded(
    name: str, kind: str, options: Mapping[str, Any], trust: bool, let_have: list[Concern]
) -> Iterator[None]:
    """While the model `name` is loaded, from a folder or from its hub.

    A folder that comes from a hub is looked at as soon as it is there, before FunASR reads it.

    Args:
        name: as FunASR is given it.
        kind: `model`, `vad_model` or `punc_model`.
        options: what `AutoModel` is given besides.
        trust: `engine.trust_model`.
        let_have: gets what the model is let have.

    Raises:
        ConfigError: as `check_folder`.
    """
    let_have += permitted(concerns_of_name(name, options), kind, trust)

    def look(folder: str) -> None:
        found = check_folder(Path(folder), kind, options, trust)
        let_have.extend(found)
        kinds = {concern.kind for concern in found}
        if WEIGHTS in kinds:
            os.environ.pop(_WEIGHTS_ONLY, None)
            os.environ[_NOT_ONLY] = "1"
        if CODE in kinds:  # FunASR imports it by the name of its module
            sys.path.append(os.path.abspath(folder))
        if os.path.exists(os.path.join(folder, _JIEBA_DICTIONARY)):
            tokenizer = importlib.import_module("jieba").dt
            tokenizer.tmp_dir = str(private_folder(Path(_JIEBA_FOLDER).expanduser()))

    with _weights_only(), _looking(look):
        place = _place(name, str(options.get("hub", "ms")))
        if os.path.isdir(place):
            look(place)
        try:
            yield
        except _Refused as refused:
            raise refused.error from None


@contextlib.contextmanager
def _weights_only() -> Iterator[None]:
    """Have `torch.load` run nothing, and read what old checkpoints note beside weights as nothing.

    Torch's own default since 2.6 holds only for callers that say nothing, and an environment that
    other programs set up may turn it off.
    """
    from torch.serialization import safe_globals

    before = {name: os.environ.pop(name, None) for name in (_WEIGHTS_ONLY, _NOT_ONLY)}
    os.environ[_WEIGHTS_ONLY] = "1"
    try:
        with safe_globals([_nothing(module, name) for module, name in NOTES]):
            yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


class _Nothing:
    """Whatever it is made of."""

    def __new__(cls, *_: Any, **__: Any) -> _Nothing:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def _nothing(module: str, name: str) -> Callable[..., Any]:
    """A class that torch takes for the one of that name in a checkpoint."""
    return type(name, (_Nothing,), {"__module__": module, "__qualname__": name})


@contextlib.contextmanager
def _looking(look: Callable[[str], None]) -> Iterator[None]:
    """Have FunASR's fetching functions show what they have fetched."""
    module = importlib.import_module(_FETCHING)
    with contextlib.ExitStack() as stack:
        for name in _FETCHERS:
            fetch = getattr(module, name)
            stack.callback(setattr, module, name, fetch)
            setattr(module, name, partial(_fetched, fetch, look))
        yield


def _fetched(
    fetch: Callable[..., str], look: Callable[[str], None], *given: Any, **options: Any
) -> str:
    folder = fetch(*given, **options)
    try:
        look(folder)
    except ConfigError as error:
        raise _Refused(error) from error
    return folder


def _place(name: str, hub: str) -> str:
    """Where FunASR looks first: a folder of a hub's own name for a model counts before the hub."""
    maps = importlib.import_module("funasr.download.name_maps_from_hub")
    return (maps.name_maps_hf if hub == "hf" else maps.name_maps_ms).get(name, name)
