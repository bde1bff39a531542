"""YAML from outside, as plain values of a bounded size.

Owns how such text is read. Must not know what it says, or who is to be told what is wrong with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

MOST_CHARACTERS = 2**20
# A few lines of aliases that stand for each other can stand for more than any memory holds.
MOST_VALUES = 1_000_000
# What PyYAML lets through of a value that does not fit its tag, as in `!!int ""`.
_MISFITS = (ValueError, LookupError, ArithmeticError, AttributeError, TypeError)


def read_yaml(path: Path, most_characters: int = MOST_CHARACTERS) -> Any:
    """The values in a UTF-8 file.

    Raises:
        OSError: it cannot be read.
        ValueError: as `parse_yaml`, or it is not UTF-8.
    """
    with path.open(encoding="utf-8") as source:
        return parse_yaml(source.read(most_characters + 1), most_characters)


def parse_yaml(text: str, most_characters: int = MOST_CHARACTERS) -> Any:
    """Mappings, lists, texts, numbers and dates; never an object of any other class.

    Raises:
        ValueError: it is not YAML, asks for other objects, or is too large, with its aliases
            counted as often as they are used.
    """
    if len(text) > most_characters:
        raise ValueError(f"it is longer than {most_characters} characters")
    loader = yaml.SafeLoader(text)
    try:
        document = loader.get_single_node()
        if document is None:
            return None
        if _size(document, {}) > MOST_VALUES:
            raise ValueError(
                f"with its aliases written out it holds more than {MOST_VALUES} values"
            )
        return _constructed(loader, document)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    finally:
        loader.dispose()


def _constructed(loader: yaml.SafeLoader, document: yaml.Node) -> Any:
    try:
        return loader.construct_document(document)
    except yaml.YAMLError:
        raise
    except _MISFITS as error:
        reason = str(error) or type(error).__name__
        raise ValueError(f"a value does not fit its type ({reason})") from error


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node stands for; `known` has those counted, 0 while they are."""
    size = known.get(id(node))
    if size is None:
        known[id(node)] = 0
        inside: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            inside = list(node.value)
        elif isinstance(node, yaml.MappingNode):
            inside = [part for pair in node.value for part in pair]
        size = known[id(node)] = 1 + sum(_size(part, known) for part in inside)
    elif size == 0:
        raise ValueError("an alias stands inside what it names")
    return size
