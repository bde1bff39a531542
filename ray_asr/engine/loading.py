"""FunASR models by name or folder, loaded without what loading does on the side.

Owns the shield around `AutoModel`'s construction: missing files and devices are errors here
(FunASR prints and goes on), its logging set-up, prints, version check and random seed stay inside.
Must not know Ray or Parquet.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import pickle
import random
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ray_asr.config import EngineConfig
from ray_asr.demo import DEMO, EMBEDDED, model_folder
from ray_asr.engine.fetching import download, find, not_fetched
from ray_asr.engine.guard import check_folder, guarded
from ray_asr.engine.hotwords import check_class
from ray_asr.engine.itn import check_itn
from ray_asr.engine.model_files import digest, is_qwen3_asr, missing_files, model_class
from ray_asr.engine.model_trust import Concern, loads_itself
from ray_asr.engine.places import Named, is_address, placed
from ray_asr.engine.registry import auto_model
from ray_asr.errors import ConfigError, EngineFatalError
from ray_asr.memory import give_back_memory
from ray_asr.redaction import redacted

# What FunASR prints, and goes on with random weights, or without a class.
_COMPLAINT = re.compile("init_param does not exist|miss key in ckpt|Loading remote code failed")
# What it prints where a hub cannot be reached or does not know a name, and goes on without.
_FETCHING = re.compile(r"^Download: .*? failed!: (.*)", re.M | re.S)
# What FunASR builds of a package of its own, whatever a hub has.
_OF_A_PACKAGE = ("silero-vad", "silero_vad")

logger = logging.getLogger(__name__)


def resolve_model(name: str, kind: str, options: Mapping[str, Any] | None = None) -> str:
    """`name` as FunASR is to be given it: a folder where that is known, else as it is.

    Args:
        name: the setting's value.
        kind: `model`, `vad_model`, `punc_model` or `spk_model`.
        options: what FunASR is given besides (`engine.funasr_options`).

    Raises:
        ConfigError: a folder was named that does not hold a model with all its files, or an
            address of which no copy is here.
    """
    if name == DEMO and kind not in EMBEDDED:
        raise ConfigError(
            f"engine.{kind}: none is embedded; name one, such as cam++, or a folder of one."
        )
    options = options or {}
    named = Named(name)
    if not is_address(name):
        named = Named(name, str(options.get("hub", "")), str(options.get("model_revision", "")))
    if (copy := placed(named)) is not None:
        return _whole(copy, kind, options)
    if is_address(name):
        raise ConfigError(
            f"engine.{kind}: no copy of {redacted(name)} is on this machine; the verbs that start "
            "jobs bring one: name a folder here."
        )
    folder = model_folder(kind) if name == DEMO else Path(name).expanduser()
    looks_local = name == DEMO or name.startswith((".", "/", "~")) or folder.is_dir()
    return _whole(folder, kind, options) if looks_local else name


def _whole(folder: Path, kind: str, options: Mapping[str, Any]) -> str:
    """`folder`, where it holds a model with all its files."""
    if not folder.is_dir():
        raise ConfigError(f"engine.{kind}: there is no model folder {folder}; check the path.")
    try:
        missing = missing_files(folder, options)
    except ValueError as error:
        raise ConfigError(f"engine.{kind}: {error}; name a FunASR model folder.") from error
    if missing:
        raise ConfigError(
            f"engine.{kind}: {folder} has no {' and no '.join(missing)}; a FunASR model folder "
            "holds config.yaml, model.pt and what its configuration asks for: fetch it again, or "
            "name another."
        )
    return str(folder)


def check_model(config: EngineConfig, kind: str) -> None:
    """Refuse a model folder that FunASR could not load, or that could do more than be a model.

    Imports neither FunASR nor torch. A model of a hub is looked at when it is fetched.

    Args:
        config: names the models.
        kind: `model`, `vad_model`, `punc_model` or `spk_model`.

    Raises:
        ConfigError: says what is wrong with which file.
    """
    if not (name := getattr(config, kind)):
        return
    options = config.funasr_options if kind == "model" else {}
    folder = Path(resolve_model(name, kind, options))
    if folder.is_dir():
        with _saying_what_is_permitted(kind) as let_have:
            let_have += check_folder(folder, kind, options, config.trust_model)
        if kind == "model":
            of_class = model_class(folder)
            check_class(config.hotword, of_class, config.model)
            check_itn(config.use_itn, of_class, config.model)


@contextlib.contextmanager
def _saying_what_is_permitted(kind: str) -> Iterator[list[Concern]]:
    """A list of what a trusted model is let have, which is said at the end, come what may."""
    let_have: list[Concern] = []
    try:
        yield let_have
    finally:
        for concern in let_have:
            logger.warning(
                "engine.trust_model lets %s have what is refused otherwise: %s.", kind, concern.what
            )


def model_revision(config: EngineConfig, kind: str) -> str:
    """What tells a model from another of the same name; "" where none is named.

    A model of a hub has the revision it was asked for, a folder twelve hex digits over its files.

    Args:
        config: names the models.
        kind: `model`, `vad_model`, `punc_model` or `spk_model`.
    """
    if not (name := getattr(config, kind)):
        return ""
    options = config.funasr_options if kind == "model" else None
    folder = Path(resolve_model(name, kind, options))
    return digest(folder) if folder.is_dir() else config.model_revision


def model_identity(config: EngineConfig) -> tuple[str, str]:
    """(model id, revision) of the recognizer, for the columns of the output."""
    return redacted(config.model), model_revision(config, "model")


@contextlib.contextmanager
def _contained() -> Iterator[io.StringIO]:
    """Keep FunASR's prints, root-logger level and random seed from leaking out."""
    import torch

    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    python_state, numpy_state = random.getstate(), np.random.get_state()
    torch_state = torch.random.get_rng_state()
    on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    said = io.StringIO()
    # A root logger that has a handler is left alone by the `logging.basicConfig` of FunASR.
    guard = logging.NullHandler()
    root.addHandler(guard)
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(said):
            yield said
    finally:
        logging.disable(logging.NOTSET)
        root.handlers[:] = handlers
        root.setLevel(level)
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        torch.random.set_rng_state(torch_state)
        if on_gpus is None:  # they begin as they would have, with the seed of the CPU
            torch.cuda.manual_seed_all(torch.initial_seed())
        else:
            torch.cuda.set_rng_state_all(on_gpus)


# What loading raises for a name or folder that does not work, FunASR's own choice.
_NOT_THERE = (OSError, AssertionError, KeyError, AttributeError, TypeError)
# What a file that is damaged or of another architecture raises; a damaged pickle raises most.
_DAMAGED = (
    RuntimeError, ValueError, LookupError, EOFError, ImportError, MemoryError,
    pickle.UnpicklingError, struct.error,
)  # fmt: skip


def _why(model: str, hub: str, said: str, error: BaseException) -> ConfigError | EngineFatalError:
    """What keeps a model from loading, and what to do about it."""
    if fetching := _FETCHING.search(said):
        return not_fetched(model, hub, fetching[1])
    reason = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
    if isinstance(error, ImportError):
        return ConfigError(
            f"{model} needs a package that is not there ({reason}): install it on every node, or "
            "name another model."
        )
    if isinstance(error, _NOT_THERE):
        return ConfigError(
            f"{model} could not be loaded ({reason}); name a model of the hub that this machine "
            "can reach, or a folder with config.yaml and model.pt."
        )
    return EngineFatalError(
        f"{model} does not load ({reason}): its files are damaged, do not belong together, or are "
        "of a class that this FunASR lacks; fetch them again, or name another model."
    )


def is_of_a_hub(name: str, kind: str, options: Mapping[str, Any]) -> bool:
    """Whether a model has to be fetched from a hub, as far as this machine can tell.

    Args:
        name: the setting's value.
        kind: which setting it is.
        options: what FunASR is given besides.

    Raises:
        ConfigError: as `resolve_model`.
    """
    if "model_conf" in options or loads_itself(name) or name in _OF_A_PACKAGE:
        return False
    return not os.path.isdir(resolve_model(name, kind, options))


def fetched(
    name: str, kind: str, *, hub: str = "ms", model_revision: str = "", offline: bool = False
) -> Path:
    """The folder of a hub's model on this machine, fetched where it is not there yet.

    Args:
        name: of the hub, or FunASR's short name.
        kind: which setting it is.
        hub: `ms` or `hf`.
        model_revision: a branch, tag or commit; `master` is the usual one.
        offline: only a copy that is here already will do.

    Raises:
        ConfigError: it cannot be had.
    """
    what = f'engine.{kind}: the model "{redacted(name)}"'
    folder = find(what, name, hub, model_revision, offline=offline)
    if folder is None:
        with _contained():
            auto_model()  # so that fetching imports no more of FunASR than that
            folder = download(what, name, hub, model_revision)
    return folder


def usable(folder: Path, name: str, kind: str, options: Mapping[str, Any]) -> str:
    """What was fetched, as FunASR is to be given it.

    A class that is named like its model finds it by that name, and has its own idea of a folder.
    """
    try:
        names_its_class = bool(model_class(folder))
    except ValueError as error:
        raise ConfigError(f"engine.{kind}: {error}; fetch the model again.") from error
    return _whole(folder, kind, options) if names_its_class else name


def _given(resolved: str, llm_precision: Callable[[], str]) -> dict[str, Any]:
    """The model as `AutoModel` is to be told of it."""
    folder = Path(resolved)
    if folder.is_dir() and is_qwen3_asr(folder):
        # With a configuration, however empty, FunASR looks for none in the folder.
        return {
            "model": "Qwen3ASR", "model_path": resolved, "model_conf": {}, "dtype": llm_precision(),
        }  # fmt: skip
    return {"model": resolved}


def load_auto_model(
    name: str,
    kind: str,
    *,
    device: str,
    ncpu: int,
    trust: bool = False,
    offline: bool = False,
    llm_precision: Callable[[], str] = lambda: "fp32",
    **options: Any,
) -> Any:
    """A FunASR `AutoModel` of one model, with `ncpu` threads on `device`.

    Args:
        name: a folder, a name of the hub, or "demo".
        kind: `model`, `vad_model`, `punc_model` or `spk_model`.
        device: `cpu` or `cuda`.
        ncpu: compute threads.
        trust: whether it may have what is refused otherwise (`engine.trust_model`).
        offline: whether no hub is to be asked (`engine.offline`).
        llm_precision: says what the model computes in, where it has to be told while it is loaded.
        options: what `AutoModel` is given besides.

    Raises:
        ConfigError: the model cannot be had as it was named, or could do more than be a model.
        EngineFatalError: the device is missing, or files and architecture do not fit.
    """
    resolved = resolve_model(name, kind, options)
    if is_of_a_hub(name, kind, options):
        of_hub = {key: options[key] for key in ("hub", "model_revision") if key in options}
        folder = fetched(name, kind, offline=offline, **of_hub)
        resolved = usable(folder, name, kind, options)
    # FunASR runs code that a model's configuration names, unless its caller says no.
    own_code: dict[str, Any] = {} if trust else {"trust_remote_code": False}
    with _saying_what_is_permitted(kind) as let_have, _contained() as said:
        import torch

        automodel = auto_model()
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise EngineFatalError(
                f"engine.device is {device}, but this process sees no CUDA device: "
                "give the actor a GPU (job.num_gpus) or set engine.device=cpu."
            )
        with guarded(resolved, kind, options, trust, let_have):
            try:
                auto = automodel(
                    **{**options, **_given(resolved, llm_precision)},
                    device=device,
                    ncpu=ncpu,
                    disable_update=True,
                    disable_pbar=True,
                    disable_log=True,
                    # Else what a configuration has of these is written to, fetched or opened.
                    output_dir=None,
                    hotword=None,
                    **own_code,
                )
            except (*_NOT_THERE, *_DAMAGED) as error:
                what, hub = f'engine.{kind}: the model "{redacted(name)}"', options.get("hub", "ms")
                raise _why(what, hub, said.getvalue(), error) from error
    complaints = [line for line in said.getvalue().splitlines() if _COMPLAINT.search(line)]
    if complaints:
        raise EngineFatalError(
            f'engine.{kind}: the weights of "{redacted(name)}" are missing or incomplete: '
            f"{complaints[0]}."
        )
    give_back_memory()  # reading a checkpoint leaves as much again as the model itself
    frontend = auto.kwargs.get("frontend")
    if frontend is not None and hasattr(frontend, "dither"):
        frontend.dither = 0.0  # random features would give other texts from run to run
    return auto
