"""How every verb of the command line speaks: help with examples, results, errors.

Owns the form: a section of examples in each help, the result alone on stdout and all else on
stderr, `--json`, an error in one sentence with the next step. Must not know the verbs.
"""

from __future__ import annotations

import contextlib
import difflib
import inspect
import json
import re
import sys
from collections.abc import Sequence
from typing import Any, Protocol

import click
from click.shell_completion import CompletionItem

from ray_asr.shown import Shown
from ray_asr.terminal import columns, paint_for, printable

_STDOUT = f"{__name__}.stdout"
# The end of a docstring: a line, or lines, of commands.
_EXAMPLES = re.compile(r"(?:^|\n)[ ]*Examples?:\s*(?P<commands>\S.*)\Z", re.DOTALL)
_STOPPED = "stopped: nothing more is done"
_GOES_ON = "stopped: what was written stays, and the same command does the rest"

JSON = click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")


class Result(Protocol):
    """What a verb comes to."""

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        ...

    def table(self) -> str:
        """For a terminal."""
        ...


def stdout() -> Any:
    """Where results go while a verb runs; `sys.stdout` is taken for all else then."""
    context = click.get_current_context(silent=True)
    return sys.stdout if context is None else context.meta.get(_STDOUT, sys.stdout)


def say(text: str, err: bool = False) -> None:
    """Print what may hold others' words."""
    click.echo(printable(text), file=sys.stderr if err else stdout())


def show(result: Result, as_json: bool = False) -> None:
    """Print what a verb came to, as JSON or as wide and as coloured as stdout takes it."""
    stream = stdout()
    if as_json:
        say(json.dumps(result.to_dict(), indent=2, ensure_ascii=False))
    elif isinstance(result, Shown):
        text = result.text_table(columns(stream), paint_for(stream))
        click.echo(text, file=stream, color=True)  # which texts have colour is decided
    else:
        say(result.table())


def complain(text: str) -> None:
    """Print a sentence about what went wrong."""
    name = paint_for(sys.stderr)("ray-asr:", "bad")
    click.echo(f"{name} {printable(text)}", file=sys.stderr, color=True)


class Place(click.ParamType):
    """A path or an address, as it is given; a shell completes it like a path."""

    name = "place"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """What the shell is to complete it with: files and folders."""
        return [CompletionItem(incomplete, type="file")]


class UnknownVerbError(click.UsageError):
    """A verb that is not there.

    Args:
        name: what was given.
        known: the verbs that are there.
        ctx: of the command line.
    """

    def __init__(self, name: str, known: Sequence[str], ctx: click.Context) -> None:
        super().__init__(f'there is no verb "{name}"', ctx)
        self.near = difflib.get_close_matches(name, known, n=2)


class StoppedError(click.exceptions.Abort):
    """Ctrl-C; says what is left behind."""


class _Formatter(click.HelpFormatter):
    def write_heading(self, heading: str) -> None:
        shown = paint_for(sys.stdout)(f"{heading}:", "head")
        self.write(f"{'':>{self.current_indent}}{shown}\n")


class _Context(click.Context):
    formatter_class = _Formatter


class Verb(click.Command):
    """A verb: its docstring ends with its examples, after `Example:` or `Examples:`.

    Args:
        goes_on: the same command does what is left where it was stopped.
        given: all else, as for any command of click.
    """

    context_class = _Context

    def __init__(self, *args: Any, goes_on: bool = False, **given: Any) -> None:
        super().__init__(*args, **given)
        text, self.examples = split_examples(inspect.cleandoc(self.help or ""))
        self.help = text
        self._stopped = _GOES_ON if goes_on else _STOPPED

    def get_short_help_str(self, limit: int = 45) -> str:
        """Its first paragraph, for the list of verbs, where it is wrapped and not cut."""
        return " ".join((self.help or "").partition("\n\n")[0].split()).removesuffix(".")

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples, a line each, as they can be copied."""
        if self.examples:
            formatter.write_paragraph()
            formatter.write_heading("Examples")
            for example in self.examples:
                formatter.write(f"  {example}\n")

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; what any library prints meanwhile goes to stderr."""
        ctx.meta[_STDOUT] = sys.stdout
        try:
            with contextlib.redirect_stdout(sys.stderr):
                return super().invoke(ctx)
        except KeyboardInterrupt:
            raise StoppedError(self._stopped) from None
        finally:
            del ctx.meta[_STDOUT]


class Verbs(click.Group):
    """All verbs."""

    command_class = Verb
    context_class = _Context

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb that is named; one that is not there is told with those like it."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            raise UnknownVerbError(name, list(self.commands), ctx)
        return super().resolve_command(ctx, args)


def split_examples(text: str) -> tuple[str, tuple[str, ...]]:
    """A docstring without its examples, and these."""
    found = _EXAMPLES.search(text)
    if found is None:
        return text, ()
    commands = (line.strip() for line in found["commands"].splitlines())
    return text[: found.start()].rstrip(), tuple(command for command in commands if command)


def usage_sentence(error: click.ClickException) -> str:
    """What was wrong with a command line, and what to do, in one sentence."""
    context = getattr(error, "ctx", None)
    path = "ray-asr" if context is None else context.command_path
    near: list[str] = getattr(error, "near", [])
    if isinstance(error, click.NoSuchOption):
        options = [] if context is None else _options_of(context.command)
        near = difflib.get_close_matches(error.option_name, options, n=2)
        said = f"there is no option {error.option_name}"
    else:
        said = " ".join(error.format_message().split()).rstrip(".")
        said = said[:1].lower() + said[1:]
    if near:
        return f"{said}: did you mean {' or '.join(near)}? See `{path} --help`."
    return f"{said}: see `{path} --help`."


def _options_of(command: click.Command) -> list[str]:
    return [name for param in command.params for name in param.opts if name.startswith("--")]
