"""Models that are on no node yet: brought to each node once, before its actors load them.

Owns which models these are, the task on each node that brings them, and what a later node does. An
address of a store is copied, a name of a hub is fetched by FunASR; both behind a lock of the node,
so that ten actors that begin at once bring one copy. Must not know what is in a model.
"""

from __future__ import annotations

import json
import logging
import os
import time
import uuid
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ray_asr.config import Config, EngineConfig
from ray_asr.config_sections import MODEL_KINDS
from ray_asr.corpus.node_cache import cache_folder, copied, key_of, locked, version_of
from ray_asr.engine.fetching import is_offline
from ray_asr.engine.loading import fetched, is_of_a_hub, model_revision, usable
from ray_asr.engine.places import Named, bring_by, is_address, place
from ray_asr.errors import ConfigError, DataError, RayAsrError
from ray_asr.job.ray_errors import own_error
from ray_asr.redaction import redacted

_SAID_EVERY_S = 10.0
# What this process began is one stage of its own: what a hub has now is looked at once in it.
_SESSION = uuid.uuid4().hex
_VERSIONS: dict[str, str] = {}

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A model that has to be brought.

    Attributes:
        kind: the setting that names it.
        named: what tells it from others.
        version: of an address, by its listing.
        digest: of an address, over what its files hold.
    """

    kind: str
    named: Named
    version: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Staging:
    """What the processes of a job do before they load models, wherever they run.

    Attributes:
        wanted: what has to be there.
        session: tells what was fetched for this job from what earlier ones fetched.
        offline: whether hubs are not to be asked.
        options: what FunASR is given besides, of which a model's files hang.
    """

    wanted: tuple[Wanted, ...]
    session: str
    offline: bool
    options: dict[str, Any]


def with_copies_here(config: Config) -> Config:
    """Copy the models that are named by an address to this machine, where they are looked at.

    Also notes in the settings where the environment says that hubs are not to be asked, which the
    nodes do not see.

    Raises:
        ConfigError: one cannot be read.
    """
    for kind in MODEL_KINDS:
        name = getattr(config.engine, kind)
        if is_address(name):
            try:
                version = _VERSIONS[name] = version_of(name)
                place(Named(name), copied(name, version))
            except DataError as error:
                raise ConfigError(f"engine.{kind}: {error}") from None
    if is_offline(config.engine.hub) and not config.engine.offline:
        return replace(config, engine=replace(config.engine, offline=True))
    return config


def staging_of(engine: EngineConfig) -> Staging:
    """What the processes that load these models have to have on their nodes first.

    Args:
        engine: its addresses have been copied here (`with_copies_here`).
    """
    wanted: list[Wanted] = []
    for kind in MODEL_KINDS:
        name = getattr(engine, kind)
        options = _options(engine, kind)
        if is_address(name):
            digest = model_revision(engine, kind)
            wanted.append(Wanted(kind, Named(name), _VERSIONS[name], digest))
        elif name and is_of_a_hub(name, kind, options):
            wanted.append(Wanted(kind, Named(name, engine.hub, engine.model_revision)))
    return Staging(tuple(wanted), _SESSION, engine.offline, dict(engine.funasr_options))


def _options(engine: EngineConfig, kind: str) -> dict[str, Any]:
    of_hub = {"hub": engine.hub, "model_revision": engine.model_revision}
    return {**(engine.funasr_options if kind == "model" else {}), **of_hub}


def before_loading(staging: Staging) -> None:
    """Have this process bring what is wanted to its node when its engine loads."""
    if staging.wanted:
        bring_by(partial(on_this_node, staging))


def on_this_node(staging: Staging) -> None:
    """Bring what is wanted to this machine, or wait for who does, and note where it is.

    Raises:
        ConfigError: a model cannot be had.
    """
    for wanted in staging.wanted:
        if is_address(wanted.named.name):
            place(wanted.named, _copy(wanted))
            continue
        folder = _fetched(wanted, staging)
        options = staging.options if wanted.kind == "model" else {}
        if usable(folder, wanted.named.name, wanted.kind, options) != wanted.named.name:
            place(wanted.named, folder)


def _copy(wanted: Wanted) -> Path:
    from ray_asr.engine.model_files import digest

    name = wanted.named.name
    try:
        folder = copied(name, wanted.version)
    except DataError as error:
        raise ConfigError(f"engine.{wanted.kind}: {error}") from None
    if digest(folder) != wanted.digest:
        raise ConfigError(
            f"engine.{wanted.kind}: the copy of {redacted(name)} in {folder} is not what the job "
            "began with: delete that folder and give the same command again."
        )
    return folder


def _fetched(wanted: Wanted, staging: Staging) -> Path:
    """A hub's model on this machine; within one session the hub is asked once a machine."""
    name, hub, revision = wanted.named
    key = f"{hub}-{key_of(name, revision)}"
    note = cache_folder() / f"{key}.json"
    with locked(key):
        known = _noted(note)
        folder = Path(known.get("folder", ""))
        if known.get("session") == staging.session and known.get("folder") and folder.is_dir():
            return folder
        folder = fetched(
            name, wanted.kind, hub=hub, model_revision=revision, offline=staging.offline
        ).absolute()
        temporary = note.with_suffix(f".{uuid.uuid4().hex[:8]}")
        temporary.write_text(json.dumps({"session": staging.session, "folder": str(folder)}))
        os.replace(temporary, note)
    return folder


def _noted(note: Path) -> dict[str, str]:
    try:
        return {str(k): str(v) for k, v in dict(json.loads(note.read_text())).items()}
    except (OSError, ValueError, TypeError):
        return {}


def stage(engine: EngineConfig) -> None:
    """Have the models on every node that may load them, each brought there once.

    A node that comes later, or is lost meanwhile, is none of this: its first actor brings them.

    Raises:
        ConfigError: a node cannot have one; says which.
    """
    staging = staging_of(engine)
    nodes = _nodes()
    if not staging.wanted or not nodes:
        return
    started = time.monotonic()
    names = ", ".join(redacted(wanted.named.name) for wanted in staging.wanted)
    logger.info("%d node(s) get what they lack of %s.", len(nodes), names)
    asked = {_ask(node_id, staging): address for node_id, address in nodes.items()}
    waiting = list(asked)
    while waiting:
        done, waiting = ray.wait(waiting, num_returns=1, timeout=_SAID_EVERY_S)
        if not done:
            logger.info(
                "%d of %d node(s) have their models after %.0f s.",
                len(asked) - len(waiting), len(asked), time.monotonic() - started,
            )  # fmt: skip
        for reference in done:
            try:
                ray.get(reference)
            except RayError as error:
                own = own_error(error)
                if not isinstance(own, RayAsrError):
                    logger.warning("the node %s is gone, or brings no model.", asked[reference])
                    logger.debug("its task ended: %s", error)
                    continue
                for other in waiting:
                    ray.cancel(other, force=True)
                raise _of_node(own, asked[reference], len(nodes)) from None
    logger.info("all nodes have their models after %.1f s.", time.monotonic() - started)


def _of_node(error: RayAsrError, address: str, nodes: int) -> RayAsrError:
    """The error, with the node that it is of where there are several."""
    if nodes > 1:
        error.args = (f"on the node {address}: {error}",)
    return error


def _nodes() -> dict[str, str]:
    """Id and address of each node that actors may be on."""
    return {
        node["NodeID"]: node["NodeManagerAddress"]
        for node in ray.nodes()
        if node["Alive"] and (node["Resources"].get("CPU") or node["Resources"].get("GPU"))
    }


def _ask(node_id: str, staging: Staging) -> Any:
    # One call a process: what FunASR takes of the memory goes with it.
    return (
        ray.remote(max_calls=1)(on_this_node)
        .options(
            num_cpus=0,
            max_retries=1,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False),
        )
        .remote(staging)
    )
