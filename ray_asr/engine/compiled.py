"""Python loops as machine code.

Owns how they are compiled and kept. Must not know what they compute.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba
from numba.extending import overload

# What `compiled_for` asks an array's type for.
FLOAT32 = numba.types.float32


def compiled(fastmath: bool | set[str] = False) -> Callable[[Callable[..., Any]], Any]:
    """A decorator: machine code for this processor that lets go of Python's lock.

    It is kept on disk for the next process, beside the source or in the user's cache, where a
    folder lets it. numba sees that the file of a function has changed, not that another one has
    from which it calls something: after such a change, touch the file that calls.

    Args:
        fastmath: which of LLVM's liberties with floats the compiler has; True: all of them.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": fastmath}

    def compile_(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:  # no folder to write to
            return numba.njit(**options)(function)

    return compile_


def compiled_for(fastmath: bool | set[str] = False) -> Callable[[Callable[..., Any]], Any]:
    """A decorator: machine code that hangs on the types of what it is given, for `compiled` code.

    The function is called with numba's types of the arguments and returns the function for these.

    Args:
        fastmath: which of LLVM's liberties with floats the compiler has; True: all of them.
    """

    def compile_(choose: Callable[..., Any]) -> Any:
        @functools.wraps(choose)
        def called(*_: Any) -> None:
            raise TypeError(f"{choose.__name__} is for compiled code alone.")

        overload(called, jit_options={"nogil": True, "fastmath": fastmath})(choose)
        return called

    return compile_
