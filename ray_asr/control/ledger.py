"""Records of attempts in Ray's key-value store, and what is told to the driver there.

Owns the store behind `attempts.Attempts` where work runs in Ray's processes. Must not know what is
recorded. It lies with the head of the cluster, and outlives any process that writes to it.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Collection

import ray
from ray.experimental import internal_kv

_RENEWED = b"renewed"

logger = logging.getLogger(__name__)


class RayStore:
    """The records of one run (see `attempts.Store`).

    Args:
        name: of the run's `PoolControl`.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def put_new(self, key: str, value: str) -> bool:
        """Write it unless the key is there; whether it was written."""
        return not internal_kv._internal_kv_put(self._key(key), value.encode(), overwrite=False)

    def put(self, key: str, value: str) -> None:
        """Write it."""
        internal_kv._internal_kv_put(self._key(key), value.encode())

    def get(self, key: str) -> str | None:
        """What was written; None where nothing is."""
        value = internal_kv._internal_kv_get(self._key(key))
        return None if value is None else value.decode()

    def delete(self, key: str) -> None:
        """Take it away."""
        internal_kv._internal_kv_del(self._key(key))

    def task(self) -> str:
        """Ray's name of the task, an actor's constructor too; a retry has the same."""
        return ray.get_runtime_context().get_task_id() or ""

    def node(self) -> str:
        """Ray's name of the node."""
        return ray.get_runtime_context().get_node_id()

    def alive(self) -> Collection[str]:
        """Ray's names of the nodes that are there."""
        return {node["NodeID"] for node in ray.nodes() if node["Alive"]}

    def tell(self, line: str) -> None:
        """Have the driver log it."""
        self._tell(line.encode())

    def renewed(self) -> None:
        """Have the driver know that this process ends of itself, for another in its place."""
        self._tell(_RENEWED)

    def _key(self, key: str) -> bytes:
        return f"{self._name}/begun/{key}".encode()

    def _tell(self, value: bytes) -> None:
        place = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}".encode()
        internal_kv._internal_kv_put(_told(self._name) + place, value)


def _told(name: str) -> bytes:
    return f"{name}/told/".encode()


class Told:
    """What the processes of one run have told, on the driver's side.

    Args:
        name: of the run's `PoolControl`.

    Attributes:
        renewed: processes that ended of themselves, for others in their place.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.renewed = 0

    def log(self) -> None:
        """Log what nobody has looked at."""
        for key in sorted(internal_kv._internal_kv_list(_told(self._name))):
            value = internal_kv._internal_kv_get(key)
            internal_kv._internal_kv_del(key)
            if value == _RENEWED:
                self.renewed += 1
            elif value is not None:
                logger.warning("%s", value.decode())


def forget_attempts(name: str) -> None:
    """Take all of a run's records out of the store."""
    internal_kv._internal_kv_del(f"{name}/begun/".encode(), del_by_prefix=True)
    internal_kv._internal_kv_del(_told(name), del_by_prefix=True)
