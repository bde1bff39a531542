"""The word of an actor's process, or of a reading task's, that it is there and has its CPU.

Owns what they leave in Ray's key-value store for their driver, and its reading. Must not know what
they do. A pool counts an actor from when it has loaded; that one has a place, and which process it
is, nothing else of Ray's says. A task that waits for a CPU is counted as one that runs.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import ray
from ray.experimental import internal_kv


class Announcing:
    """A worker's `make_engine` that says first that its process is there and begins to load.

    Args:
        name: of the `PoolControl`.
        make: what is called then.
    """

    def __init__(self, name: str, make: Callable[[], Any]) -> None:
        self._name = name
        self._make = make

    def __call__(self) -> Any:
        """Say so, and make it."""
        context = ray.get_runtime_context()
        actor = context.get_actor_id() or ""
        place = f"{context.get_node_id()} {os.getpid()}"
        internal_kv._internal_kv_put(_mark(self._name) + actor.encode(), place.encode())
        return self._make()


def _mark(name: str) -> bytes:
    return f"{name}/loading/".encode()


@contextlib.contextmanager
def reading(name: str) -> Iterator[None]:
    """Said of a task as long as it reads for the pool of the `PoolControl` so named."""
    context = ray.get_runtime_context()
    key = _reading(name) + (context.get_task_id() or "").encode()
    internal_kv._internal_kv_put(key, context.get_node_id().encode())
    try:
        yield
    finally:
        internal_kv._internal_kv_del(key)


def _reading(name: str) -> bytes:
    return f"{name}/reading/".encode()


def any_reading(name: str) -> bool:
    """Whether a task reads for a pool, on a node that is alive."""
    alive = {node["NodeID"].encode() for node in ray.nodes() if node["Alive"]}
    keys = internal_kv._internal_kv_list(_reading(name))
    return any(internal_kv._internal_kv_get(key) in alive for key in keys)


def any_announced(name: str) -> bool:
    """Whether an actor of a pool's control has had a place."""
    return bool(internal_kv._internal_kv_list(_mark(name)))


def forget_announced(name: str) -> None:
    """Take the pool's words out of the store."""
    for prefix in (_mark(name), _reading(name)):
        for key in internal_kv._internal_kv_list(prefix):
            internal_kv._internal_kv_del(key)


class ActorProcesses:
    """The processes of a pool's actors, those that are gone included.

    Args:
        name: of the `PoolControl`.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._known: dict[bytes, bytes] = {}
        self._by_node: dict[str, set[int]] = {}

    def look(self) -> dict[str, set[int]]:
        """Process ids by the node's id."""
        for key in internal_kv._internal_kv_list(_mark(self._name)):
            place = self._known.get(key)
            # An actor that was restarted has another process under its old key.
            found = internal_kv._internal_kv_get(key)
            if found and found != place:
                self._known[key] = found
                node_id, _, pid = found.decode().partition(" ")
                self._by_node.setdefault(node_id, set()).add(int(pid))
        return self._by_node
