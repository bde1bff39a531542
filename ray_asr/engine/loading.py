"""FunASR models by name or folder, loaded without what loading does on the side.

Owns the shield around `AutoModel`'s construction: missing files and devices are errors here
(FunASR prints and goes on), its logging set-up, prints, version check and random seed stay inside.
Must not know Ray or Parquet.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import io
import logging
import pickle
import random
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ray_asr.config import EngineConfig
from ray_asr.demo import DEMO, model_folder
from ray_asr.engine.registry import auto_model
from ray_asr.errors import ConfigError, EngineFatalError

# What FunASR prints, and goes on with random weights.
_COMPLAINT = re.compile("init_param does not exist|miss key in ckpt")
_REQUIRED_FILES = ("config.yaml", "model.pt")

logger = logging.getLogger(__name__)


def resolve_model(name: str, kind: str) -> str:
    """`name` as FunASR is to be given it: the embedded folder for "demo", else as it is.

    Args:
        name: the setting's value.
        kind: `model`, `vad_model` or `punc_model`.

    Raises:
        ConfigError: a folder was named that does not hold a model.
    """
    folder = model_folder(kind) if name == DEMO else Path(name).expanduser()
    looks_local = name == DEMO or name.startswith((".", "/", "~")) or folder.is_dir()
    if not looks_local:
        return name
    if not folder.is_dir():
        raise ConfigError(f"engine.{kind}: there is no model folder {folder}; check the path.")
    if (folder / "configuration.json").exists():
        return str(folder)
    missing = [file for file in _REQUIRED_FILES if not (folder / file).is_file()]
    if missing:
        raise ConfigError(
            f"engine.{kind}: {folder} has no {' and no '.join(missing)}; a FunASR model folder "
            f"holds {', '.join(_REQUIRED_FILES)} and its token files."
        )
    return str(folder)


def model_identity(config: EngineConfig) -> tuple[str, str]:
    """(model id, revision) of the recognizer, for the columns of the output.

    A model of a hub has the revision it was asked for. A folder has twelve hex digits over its
    files' names and sizes and its configuration: other weights in the same architecture want
    another folder name.
    """
    folder = Path(resolve_model(config.model, "model"))
    if not folder.is_dir():
        return config.model, config.model_revision
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.iterdir() if path.is_file()):
        digest.update(f"{file.name} {file.stat().st_size}\n".encode())
        if file.suffix in (".yaml", ".json"):
            digest.update(file.read_bytes())
    return config.model, digest.hexdigest()[:12]


@contextlib.contextmanager
def _contained() -> Iterator[io.StringIO]:
    """Keep FunASR's prints, root-logger level and random seed from leaking out."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    python_state, numpy_state = random.getstate(), np.random.get_state()
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


# What a file that is damaged or of another architecture raises; a damaged pickle raises most.
_DAMAGED = (
    RuntimeError, ValueError, LookupError, EOFError, ImportError, MemoryError,
    pickle.UnpicklingError, struct.error,
)  # fmt: skip


def _give_back_memory() -> None:
    """What reading a checkpoint left with the allocator: as much again as the model itself."""
    with contextlib.suppress(OSError, AttributeError):  # another C library than glibc
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def load_auto_model(name: str, kind: str, *, device: str, ncpu: int, **options: Any) -> Any:
    """A FunASR `AutoModel` of one model, with `ncpu` threads on `device`.

    Raises:
        ConfigError: the model cannot be had as it was named.
        EngineFatalError: the device is missing, or files and architecture do not fit.
    """
    resolved = resolve_model(name, kind)
    with _contained() as said:
        import torch

        automodel = auto_model()
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise EngineFatalError(
                f"engine.device is {device}, but this process sees no CUDA device: "
                "give the actor a GPU (job.num_gpus) or set engine.device=cpu."
            )
        try:
            auto = automodel(
                model=resolved,
                device=device,
                ncpu=ncpu,
                disable_update=True,
                disable_pbar=True,
                disable_log=True,
                trust_remote_code=False,
                **options,
            )
        # What loading raises for a name or folder that does not work, FunASR's own choice.
        except (OSError, AssertionError, KeyError, AttributeError, TypeError) as error:
            raise ConfigError(
                f'engine.{kind}: the model "{name}" could not be loaded ({error}); name a model of '
                "the hub that this machine can reach, or a folder with config.yaml and model.pt."
            ) from error
        except _DAMAGED as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise EngineFatalError(f'engine.{kind}: "{name}" does not load ({reason}).') from error
    complaints = [line for line in said.getvalue().splitlines() if _COMPLAINT.search(line)]
    if complaints:
        raise EngineFatalError(
            f'engine.{kind}: the weights of "{name}" are missing or incomplete: {complaints[0]}.'
        )
    _give_back_memory()
    frontend = auto.kwargs.get("frontend")
    if frontend is not None and hasattr(frontend, "dither"):
        frontend.dither = 0.0  # random features would give other texts from run to run
    return auto
