"""Commands as pages and manifests have them, held to the command lines that they are for.

A line is parsed by the program's own parser and not run: an option that is not there, an argument
too many, a setting that is unknown or has an impossible value raise as they would for a user.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click

from ray_asr.cli import cli as ray_asr_cli
from ray_asr.cli_options import FLAGS, config_of
from ray_asr.config import Config

ROOT = Path(__file__).parents[1]
_COMMENT = re.compile(r"(?:^|\s+)#\s.*$")
_ASSIGNMENT = re.compile(r"\w+=")
_MAKE_TARGETS = frozenset(
    re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
)


def code_lines(markdown: str) -> list[str]:
    """The lines of all indented blocks, those that go on after a backslash joined."""
    lines: list[str] = []
    for line in markdown.splitlines():
        if not line.startswith("    ") or not line.strip():
            continue
        text = _COMMENT.sub("", line[4:]).rstrip()
        if lines and lines[-1].endswith("\\"):
            lines[-1] = f"{lines[-1][:-1].rstrip()} {text.strip()}"
        else:
            lines.append(text)
    return [line for line in lines if line]


def commands_in(line: str) -> list[list[str]]:
    """The words of each command of a shell line, without variables that are set in front."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;>")
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in lexer:
        if word and set(word) <= set("&|;>"):
            found.append([])
        elif not found[-1] and _ASSIGNMENT.match(word):
            continue
        else:
            found[-1].append(word)
    return [words for words in found if words]


def check(words: list[str]) -> bool:
    """Hold one command to its program; whether it is one that is known here.

    Raises:
        click.ClickException, RayAsrError, AssertionError: it would not be taken.
    """
    program, rest = words[0].removeprefix(".venv/bin/").removeprefix("$(BIN)/"), words[1:]
    if any("…" in word for word in words):
        return False
    if program == "ray-asr":
        asr_settings(rest)
    elif program == "python" and rest and rest[0].endswith(".py"):
        assert (ROOT / rest[0]).is_file(), f"{rest[0]} is not there"
        if rest[0].startswith("jobs/"):
            asr_settings([Path(rest[0]).stem, *rest[1:]])
    elif program == "ray":
        _check_ray(rest)
    elif program == "make":
        targets = [word for word in rest if "=" not in word]
        assert set(targets) <= _MAKE_TARGETS, f"{targets} of {sorted(_MAKE_TARGETS)}"
    elif program in ("kubectl", "docker", "sed"):
        _check_files(rest)
    else:
        return False
    return True


def asr_settings(words: list[str]) -> Config | None:
    """What a `ray-asr` command comes to; None where its verb has no settings."""
    if not words or words[0].startswith("-"):
        return None
    verb = ray_asr_cli.commands[words[0]]
    # A verb keeps the names of its help from its first context, for all that come after.
    settings = ray_asr_cli.context_settings
    given: dict[str, Any] = verb.make_context(words[0], list(words[1:]), **settings).params
    if "sets" not in given:
        return None
    flags = {name: given[name] for name in FLAGS if given.get(name) is not None}
    # A file of settings is the reader's, and so is a baseline.
    return config_of(None, given["sets"], flags)


def _check_ray(words: list[str]) -> None:
    from ray.scripts.scripts import cli as ray_cli

    command: click.Command = ray_cli
    while isinstance(command, click.Group):
        name, words = words[0], words[1:]
        assert name in command.commands, f"ray has no command {name}"
        command = command.commands[name]
    sent: list[str] = []
    if "--" in words:
        at = words.index("--")
        words, sent = words[:at], words[at + 1 :]
    command.make_context(command.name, [*words, *(["--", *sent] if sent else [])])
    if sent:
        check(sent)
    if command.name == "exec":
        check(shlex.split(words[-1]))


def _check_files(words: list[str]) -> None:
    """Files of this repository that a command is given are there."""
    for word in words:
        if word.startswith("jobs/") or word == "cluster.yaml":
            assert list(ROOT.glob(word)), f"{word} is not there"
