"""What a weights file would import, read from its pickle without running it.

Owns the two forms of `torch.save`, as far as that takes. Must not know torch, which still has the
last word when it loads: a file that two readers take for two things must be harmless to both.
"""

from __future__ import annotations

import pickletools
import re
import tarfile
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_ZIP = b"PK\x03\x04"
# Of the older form: a magic number, a version, the machine, the object, the keys of its storages.
_PICKLES = 5
_MOST_PICKLE_BYTES = 64 * 2**20  # of a zip's member, which may be packed
_PROGRAM = re.compile(r"[^/]*/(code/|constants\.pkl$)")

# What torch's own reader of weights alone takes.
_WEIGHTS = re.compile(
    r"collections\.(OrderedDict|Counter)|_codecs\.encode|builtins\.(bytearray|set|complex)"
    r"|torch\.nn\.parameter\.Parameter|torch\.serialization\._get_layout"
    r"|torch\.(Size|Tensor|device)"
    r"|torch\._utils\._rebuild_\w+|torch\._tensor\._rebuild_from_type_v2"
    r"|torch\.storage\.(Typed|Untyped)Storage|torch\.(cuda\.|sparse\.)*\w+(Storage|Tensor)"
    r"|torch\.(bool|b?float\d+\w*|u?int\d+|complex\d+|q?u?int\d+(x\d)?|per_\w+)"
)
# What checkpoints of a training hold beside weights: its options, and numbers of numpy's.
NOTES = (
    ("argparse", "Namespace"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
)
_NOTED = frozenset(f"{module}.{name}" for module, name in NOTES)
# All that torch's reader of weights alone knows; GLOBAL is the one of them that imports.
_KNOWN = frozenset(
    [
        "APPEND", "APPENDS", "BINFLOAT", "BINGET", "BININT", "BININT1", "BININT2", "BINPERSID",
        "BINPUT", "BINUNICODE", "BUILD", "EMPTY_DICT", "EMPTY_LIST", "EMPTY_SET", "EMPTY_TUPLE",
        "GLOBAL", "LONG1", "LONG_BINGET", "LONG_BINPUT", "MARK", "NEWFALSE", "NEWOBJ", "NEWTRUE",
        "NONE", "PROTO", "REDUCE", "SETITEM", "SETITEMS", "SHORT_BINSTRING", "STOP", "TUPLE",
        "TUPLE1", "TUPLE2", "TUPLE3",
    ]
)  # fmt: skip


def foreign_names(file: Path) -> list[str]:
    """What a weights file asks for besides tensors and plain values; empty for one that is safe.

    A file of no known form has none: whatever reads it as weights will say so.

    Raises:
        OSError: it cannot be read.
    """
    with file.open("rb") as source:
        is_zip = source.read(len(_ZIP)) == _ZIP
    if is_zip:
        return sorted(set(_in_zip(file)))
    if _is_tar(file):
        return ["the .tar form of an old torch"]
    names: set[str] = set()
    with file.open("rb") as source:
        for _ in range(_PICKLES):
            found, is_whole = _in_pickle(source)
            names |= found
            if not is_whole:
                break
    return sorted(names)


def _is_tar(file: Path) -> bool:
    """Whether it is an archive with anything in it: a file of zeros passes for an empty one."""
    try:
        with tarfile.open(file, "r:") as archive:
            return archive.next() is not None
    except (tarfile.TarError, EOFError):
        return False


def _in_zip(file: Path) -> Iterator[str]:
    try:
        with zipfile.ZipFile(file) as archive:
            for record in archive.infolist():
                if _PROGRAM.match(record.filename):
                    yield "a TorchScript program"
                elif record.filename.endswith(".pkl"):
                    if record.file_size > _MOST_PICKLE_BYTES:
                        yield f"a pickle of {record.file_size} bytes"
                        continue
                    with archive.open(record) as source:
                        yield from _in_pickle(source)[0]
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError):
        return  # damaged, as torch will say


def _in_pickle(source: IO[bytes]) -> tuple[set[str], bool]:
    """The foreign names of one pickle, and whether it has an end; the source is left behind that.

    What a pickle imports counts even where it is cut: all before the cut would run.
    """
    names: set[str] = set()
    forms: set[str] = set()
    texts = ["", ""]
    try:
        for opcode, value, _ in pickletools.genops(source):
            if isinstance(value, str):
                texts = [texts[1], value]
            if opcode.name in ("GLOBAL", "INST"):
                name = _today(*str(value).split(" ", 1))
                if opcode.name == "INST" or (name not in _NOTED and not _WEIGHTS.fullmatch(name)):
                    names.add(name)
            elif opcode.name == "STACK_GLOBAL":
                name = _today(*texts)
                if _WEIGHTS.fullmatch(name):
                    forms.add("a pickle of protocol 4 or later")
                else:
                    names.add(name)
            elif opcode.name not in _KNOWN:
                forms.add(f"a pickle with {opcode.name}")
    except (ValueError, LookupError, ArithmeticError):
        return names, False
    # Of forms that torch does not read as weights alone one is enough to say.
    return names or set(sorted(forms)[:1]), True


def _today(module: str, name: str) -> str:
    """The name in Python 3 of what an old pickle may have by its name in Python 2."""
    if (module, name) in NAME_MAPPING:
        module, name = NAME_MAPPING[module, name]
    return f"{IMPORT_MAPPING.get(module, module)}.{name}"
