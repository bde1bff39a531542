"""Models of a hub: which one a name stands for, and its folder on this machine.

Owns the way to ModelScope and Hugging Face, which is FunASR's own, and what is done where there is
none. Must not know Ray, or how a model is loaded.

FunASR 1.4.16 goes on after any failed download, drops the revision on Hugging Face, and has a hub
that cannot be reached tried again and again; a copy that is there already is then not found.
"""

from __future__ import annotations

import ast
import importlib
import logging
import os
import re
import socket
import threading
import urllib.request
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from ray_asr.errors import ConfigError, RayAsrError
from ray_asr.kept_error import KeptError
from ray_asr.redaction import redacted

# Of each hub: the variable that names another server, the usual server, and the variables by which
# its own library, or people, say that it is not to be asked.
_SERVERS = {
    "ms": ("MODELSCOPE_ENDPOINT", "https://modelscope.cn"),
    "hf": ("HF_ENDPOINT", "https://huggingface.co"),
}
OFFLINE_VARIABLES = {
    "ms": ("MODELSCOPE_OFFLINE",),
    "hf": ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"),
}
_YES = ("1", "true", "yes", "on")
_USUAL = ("", "master", "main")  # names of the revision that is meant where none is
_ANSWER_S = 5.0
_ERRNO = re.compile(r"\[Errno -?\d+\] ([^\n()\"']+)")
_MOST_SAID = 200

logger = logging.getLogger(__name__)


def is_offline(hub: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment says that a hub is not to be asked."""
    return any(environment.get(name, "").strip().lower() in _YES for name in OFFLINE_VARIABLES[hub])


def not_fetched(what: str, hub: str, said: str) -> ConfigError:
    """The error of a model that could not be fetched.

    Args:
        what: which model.
        hub: whose it is.
        said: why, in the words of those who tried.
    """
    cause = _ERRNO.search(said)
    reason = cause[1] if cause else said.strip().partition("\n")[0][:_MOST_SAID].rstrip(".")
    return ConfigError(
        f"{what} could not be fetched from its hub, {hub} ({redacted(reason.strip())}): check the "
        "name and the network, or name a folder that holds the model's files."
    )


def find(what: str, name: str, hub: str, revision: str, *, offline: bool = False) -> Path | None:
    """The folder of a hub's model where no hub can or need be asked; None where it is to be.

    Args:
        what: which model this is, for messages.
        name: as FunASR knows it, a short name or the hub's own.
        hub: `ms` or `hf`.
        revision: a branch, tag or commit; `master` is the hub's usual one.
        offline: only a copy that is here already will do.

    Raises:
        ConfigError: it is not here, and its hub may not or cannot be asked.
    """
    repository = repository_of(name, hub)
    if os.path.isdir(repository):  # which counts before the hub for FunASR, too
        return Path(repository)
    if offline or is_offline(hub):
        folder = _kept(repository, hub, revision)
        if folder is None:
            raise ConfigError(
                f"{what} is not on this machine, and its hub, {hub}, is not to be asked "
                f"(engine.offline, or {' or '.join(OFFLINE_VARIABLES[hub])}): fetch it while there "
                "is a network, or name a folder that holds the model's files."
            )
        return folder
    if reason := _unreachable(hub):
        folder = _kept(repository, hub, revision)
        if folder is None:
            raise not_fetched(what, hub, reason)
        logger.warning(
            "%s: its hub, %s, is not reached (%s); the copy of it on this machine is used.",
            what, hub, reason,
        )  # fmt: skip
        return folder
    return None


def download(what: str, name: str, hub: str, revision: str) -> Path:
    """Have FunASR fetch a model, or what of it has changed; arguments as of `find`.

    Raises:
        ConfigError: it cannot be had.
    """
    with KeptError(RayAsrError) as tried:
        return Path(_download(repository_of(name, hub), hub, revision))
    error = tried.error
    raise not_fetched(what, hub, str(error) or type(error).__name__) from error


def repository_of(name: str, hub: str) -> str:
    """The hub's own name of a model that FunASR has a short name for; any other name as it is."""
    return _short_names(hub).get(name, name)


@cache
def _short_names(hub: str) -> dict[str, str]:
    """FunASR's table, read from its source: importing it would import torch."""
    package = find_spec("funasr")
    assert package is not None
    assert package.origin is not None
    source = Path(package.origin).parent / "download" / "name_maps_from_hub.py"
    for statement in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign):
            names = [target.id for target in statement.targets if isinstance(target, ast.Name)]
            if f"name_maps_{hub}" in names:
                return dict(ast.literal_eval(statement.value))
    return {}


def _download(repository: str, hub: str, revision: str) -> str:
    if hub == "hf" and revision not in _USUAL:
        return str(
            importlib.import_module("huggingface_hub").snapshot_download(
                repository, revision=revision
            )
        )
    module = importlib.import_module("funasr.download.download_model_from_hub")
    fetch = module.get_or_download_model_dir_hf if hub == "hf" else module.get_or_download_model_dir
    return str(fetch(repository, revision))


def _kept(repository: str, hub: str, revision: str) -> Path | None:
    """The folder of a model that was fetched before, found without asking anybody."""
    which = None if hub == "hf" and revision in _USUAL else revision
    module = "huggingface_hub"
    if hub == "ms":  # whose older package imports torch
        newer = find_spec("modelscope_hub") is not None
        module = "modelscope_hub.compat" if newer else "modelscope.hub.snapshot_download"
    with KeptError(RayAsrError) as tried:
        snapshot = importlib.import_module(module).snapshot_download
        folder = Path(snapshot(repository, revision=which, local_files_only=True))
        return folder if folder.is_dir() else None
    logger.debug("%s is not kept here: %s", repository, tried.error)
    return None


def _unreachable(hub: str) -> str:
    """Why a hub's server, or the proxy before it, takes no connection; "" where it takes one.

    Asked at once and once: the hubs' own libraries try for many seconds.
    """
    variable, usual = _SERVERS[hub]
    address = os.environ.get(variable) or usual
    server = urlsplit(address if "://" in address else f"https://{address}")
    host = server.hostname or ""
    proxies = urllib.request.getproxies()
    proxy = proxies.get(server.scheme) or proxies.get("all")
    if proxy and not urllib.request.proxy_bypass(host):
        server = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        host = server.hostname or ""
    port = server.port or (443 if server.scheme == "https" else 80)
    said: list[str] = []

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout=_ANSWER_S).close()
            said.append("")
        except OSError as error:
            said.append(error.strerror or str(error) or type(error).__name__)

    # A name is looked up for as long as the system likes.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(2 * _ANSWER_S)
    return said[0] if said else f"no answer within {2 * _ANSWER_S:.0f} s"
