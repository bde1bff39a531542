"""Where models that are not named by a path stand on this machine, as far as this process knows.

Owns that knowledge. Must not know how a model gets there: whoever brought it says so here, before
the engine loads it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class Named(NamedTuple):
    """What tells one model from another.

    Attributes:
        name: a name of a hub, or an address of a store.
        hub: whose name it is; "" of an address.
        revision: which of the hub's; "" of an address.
    """

    name: str
    hub: str = ""
    revision: str = ""


_PLACES: dict[Named, Path] = {}


def is_address(name: str) -> bool:
    """Whether a model is named by its address in a store (`s3://bucket/model`)."""
    return "://" in name


def place(named: Named, folder: Path) -> None:
    """From now on `named` is found in `folder`."""
    _PLACES[named] = folder


def placed(named: Named) -> Path | None:
    """The folder of `named`; None where nobody brought it."""
    return _PLACES.get(named)


_BRINGERS: list[Callable[[], None]] = []


def bring_by(bringer: Callable[[], None]) -> None:
    """Before the next engine of this process loads, `bringer` puts its models in their places."""
    _BRINGERS[:] = [bringer]


def bring() -> None:
    """Have the models brought, where someone is to."""
    if _BRINGERS:
        _BRINGERS[-1]()
