"""FunASR without the models that nobody named.

`import funasr` imports all that it has, with what some of it wants besides (transformers, sklearn,
pandas): seconds of CPU for every process that loads one model. Owns how that is put off: a class is
imported when a configuration names it. Must not know which models there are.
"""

from __future__ import annotations

import importlib
import io
import logging
import pkgutil
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any

_PACKAGE = "funasr"
_TABLE = re.compile(r"\w+_classes")
# A table, a name where one is given, and the class or function that has it otherwise.
_REGISTERS = re.compile(
    r"""@tables\.register\(\s*["'](\w+)["'](?:\s*,\s*(?:key\s*=\s*)?["']([^"']+)["'])?\s*,?\s*\)"""
    r"(?=[ \t]*(?:#[^\n]*)?(?:\n@[^\n]*)*\n(?:class|def)\s+(\w+))"
)
# Of all that `AutoModel` imports the one part with a tail of its own: for telling speakers apart.
_CLUSTERING = "funasr.models.campplus.cluster_backend"

logger = logging.getLogger(__name__)


def auto_model() -> type[Any]:
    """FunASR's `AutoModel`, which imports the classes that a model names when it names them.

    A FunASR that this process has imported already stays as it is. What it prints meanwhile, of a
    tool that is not needed here, goes nowhere.
    """
    if _PACKAGE not in sys.modules:
        with _no_walk(), redirect_stdout(io.StringIO()):
            tables = importlib.import_module("funasr.register").tables
            for name in {*vars(tables), *vars(type(tables)), *(table for table, _ in registered())}:
                if _TABLE.fullmatch(name):
                    setattr(tables, name, _OnDemand(name, getattr(tables, name, {})))
            with _clustering_later():
                importlib.import_module("funasr.auto.auto_model")
    return importlib.import_module("funasr.auto.auto_model").AutoModel


@cache
def registered() -> dict[tuple[str, str], list[str]]:
    """The modules that register a name in a table, as their source has it: none is imported."""
    root = Path(importlib.import_module(_PACKAGE).__path__[0])
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for file in sorted(root.rglob("*.py")):
        text = file.read_text(encoding="utf-8", errors="replace")
        for table, name, definition in _REGISTERS.findall(text):
            module = ".".join((_PACKAGE, *file.relative_to(root).with_suffix("").parts))
            found[table, name or definition].append(module.removesuffix(".__init__"))
    return found


class _OnDemand(dict[str, Any]):
    """A table of classes that imports the one it is asked for.

    Where two modules register different classes under one name, the order of all imports decides:
    then, and where nothing registers a name, all is imported, as FunASR would have done.
    """

    def __init__(self, table: str, known: dict[str, Any]) -> None:
        super().__init__(known)
        self._table = table

    def get(self, name: str, default: Any = None) -> Any:
        if not name:  # a part that a configuration leaves out
            return default
        modules = registered().get((self._table, name), [])
        if len(modules) > 1 and not _same_source(modules):
            _import_all()
        elif name not in self:
            for module in modules:
                _imported(module)
            if name not in self:
                _import_all()
        return super().get(name, default)

    def __missing__(self, name: str) -> Any:
        found = self.get(name)
        if found is None:
            raise KeyError(name)
        return found


def _imported(module: str) -> None:
    try:
        importlib.import_module(module)
    except (ImportError, OSError, AttributeError) as error:  # of what it wants besides
        logger.debug("%s was not imported: %s", module, error)


@cache
def _import_all() -> None:
    """What `import funasr` does, which goes on past modules that want what is not installed."""
    logger.debug("all of FunASR is imported.")
    importlib.import_module(_PACKAGE).import_submodules(_PACKAGE)


def _same_source(modules: list[str]) -> bool:
    root = Path(importlib.import_module(_PACKAGE).__path__[0]).parent
    files = [root.joinpath(*module.split(".")).with_suffix(".py") for module in modules]
    return len({file.read_bytes() if file.is_file() else str(file) for file in files}) == 1


@contextmanager
def _no_walk() -> Iterator[None]:
    """While FunASR itself is imported it finds no modules to import."""
    walk = pkgutil.walk_packages

    def others(path: Any = None, prefix: str = "", onerror: Any = None) -> Iterator[Any]:
        return iter(()) if prefix == f"{_PACKAGE}." else walk(path, prefix, onerror)

    pkgutil.walk_packages = others
    try:
        yield
    finally:
        pkgutil.walk_packages = walk


@contextmanager
def _clustering_later() -> Iterator[None]:
    """`AutoModel` does without what clusters speakers until that is asked for."""

    def late(**options: Any) -> Any:
        return importlib.import_module(_CLUSTERING).ClusterBackend(**options)

    vars(sys)["modules"][_CLUSTERING] = None  # importing it is an ImportError
    try:
        yield
    finally:
        del sys.modules[_CLUSTERING]
    vars(importlib.import_module("funasr.auto.auto_model")).setdefault("ClusterBackend", late)
