"""Inputs that do harm where their bytes are asked for: to see that `hostile_run` sees it."""

from __future__ import annotations

import os
import time

import numpy as np

from tests.faults.hostile import Case
from tests.faults.hostile_forged import wav


class Harmful(Case):
    """An input that crashes, hangs, or takes 480 MB, as its name says; or a short WAV."""

    __slots__ = ()

    def __init__(self, name: str) -> None:
        super().__init__(name, "harmful", wav(bytes(200)))

    def __getattribute__(self, field: str) -> object:
        found = object.__getattribute__(self, field)
        if field == "data":
            name = object.__getattribute__(self, "id")
            if name == "crashes":
                os.abort()
            if name == "hangs":
                while True:
                    time.monotonic()
            if name == "swells":
                np.ones(60 * 2**20)
        return found
