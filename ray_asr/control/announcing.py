"""The word of an actor's process that it is there, before it loads anything.

Owns what actors leave in Ray's key-value store for their driver, and its reading. Must not know
what an actor does. A pool counts an actor from when it has loaded; that one has a place, and which
process it is, nothing else of Ray's says.
"""

from __future__ import annotations

import os
from collections.abc import Callable
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


def any_announced(name: str) -> bool:
    """Whether an actor of a pool's control has had a place."""
    return bool(internal_kv._internal_kv_list(_mark(name)))


def forget_announced(name: str) -> None:
    """Take the pool's words out of the store."""
    for key in internal_kv._internal_kv_list(_mark(name)):
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
