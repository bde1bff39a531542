"""The options that several verbs of the command line have, and how they become a configuration.

Owns the flags of settings. Must not know the verbs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from ray_asr.cli_form import Place
from ray_asr.config import SECTIONS, Config, load_config

Command = TypeVar("Command", bound=Callable[..., Any])

# Settings that have a flag of their own; every other one is reached with --set.
FLAGS: dict[str, tuple[type, str]] = {
    "model": (str, 'FunASR model: a name, a folder, or "demo".'),
    "vad_model": (str, 'Voice activity model; "" for none.'),
    "punc_model": (str, 'Punctuation model; "" for none.'),
    "spk_model": (str, 'Speaker model, such as cam++; "" for none.'),
    "hub": (str, "Where named models come from: ms or hf."),
    "language": (str, "Language given to the model."),
    "hotword": (str, "Words to favour, by blanks, or a list of them: a .txt file or address."),
    "use_itn": (bool, "Digits and marks, where the model writes them."),
    "sentence_timestamp": (bool, "Segments end where punctuation does."),
    "preset_spk_num": (int, "Speakers in each recording (0: counted)."),
    "device": (str, "cpu or cuda."),
    "precision": (str, "auto, fp32, bf16, fp16 or int8."),
    "ncpu": (int, "Cores of each actor (0: chosen)."),
    "trust_model": (bool, "Let models run code of their own."),
    "num_actors": (int, "Recognizing actors (0: as many as fit)."),
    "num_gpus": (float, "GPUs of each actor: 0, or 1/n to share one."),
    "batch_size_s": (float, "Padded seconds in one model call."),
    "row_timeout_s": (float, "A row that takes longer, beside its own length, is failed."),
    "id_column": (str, "Input column of row ids."),
    "audio_column": (str, "Input column of audio: bytes, {bytes, path}, or paths."),
}


def _complete_setting(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    names = (
        f"{section}.{leaf}"
        for section, cls in SECTIONS.items()
        for leaf in cls.__dataclass_fields__
    )
    return [CompletionItem(f"{name}=") for name in names if name.startswith(incomplete)]


def settings_flags(*names: str) -> Callable[[Command], Command]:
    """The flags of these settings, and `--set` for any other."""

    def decorate(command: Command) -> Command:
        command = click.option(
            "--set",
            "sets",
            multiple=True,
            metavar="SECTION.SETTING=VALUE",
            help="Any other setting.",
            shell_complete=_complete_setting,
        )(command)
        command = click.option(
            "--config", "config_file", type=Place(), help="YAML file of settings."
        )(command)
        for name in reversed(names):
            kind, text = FLAGS[name]
            flag = f"--{name.replace('_', '-')}"
            given: dict[str, Any] = {"is_flag": True} if kind is bool else {"type": kind}
            if name.endswith("model") and kind is str:
                given["type"] = Place()
            command = click.option(flag, name, default=None, help=text, **given)(command)
        return command

    return decorate


def with_settings_flags(command: Command) -> Command:
    """The flags of all settings that have one."""
    return settings_flags(*FLAGS)(command)


def config_of(
    config_file: str | None,
    sets: tuple[str, ...],
    flags: dict[str, Any],
    base: Config | None = None,
) -> Config:
    """What the options come to, on top of `base` or the defaults."""
    given = {name: value for name, value in flags.items() if value is not None}
    return load_config(config_file, sets, given, base)


ADDRESS = click.option(
    "--address",
    default=None,
    help='Ray cluster; "local" starts one. Default: RAY_ADDRESS, else this machine.',
)
