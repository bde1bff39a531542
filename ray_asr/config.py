"""The settings of a job: the whole tree, how it is loaded and fingerprinted.

The leaves stand in config_sections, what they may be in config_checks.

Knows nothing of Ray or FunASR. Every leaf has one name in the whole tree, so a keyword argument
or a command-line flag may use the leaf alone (`batch_size_s`) and a file or `--set` the full path
(`batch.batch_size_s`).
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import reprlib
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, cast

from ray_asr.config_checks import check_settings
from ray_asr.config_sections import (
    BatchConfig,
    ControlConfig,
    EngineConfig,
    InputConfig,
    JobConfig,
    padded_seconds,
)
from ray_asr.errors import ConfigError
from ray_asr.redaction import redacted, redacted_settings
from ray_asr.yaml_text import parse_yaml, read_yaml


@dataclass(frozen=True)
class Config:
    """All settings of one job."""

    input: InputConfig = field(default_factory=InputConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    batch: BatchConfig = field(default_factory=BatchConfig)
    job: JobConfig = field(default_factory=JobConfig)
    control: ControlConfig = field(default_factory=ControlConfig)

    def __post_init__(self) -> None:
        check_settings(self.input, self.engine, self.batch, self.job, self.control)

    @property
    def padded_s(self) -> float:
        """`batch.batch_size_s`, or what suits the device where that is 0, in seconds."""
        return padded_seconds(self.engine, self.batch)


SECTIONS: dict[str, type[Any]] = {
    "input": InputConfig,
    "engine": EngineConfig,
    "batch": BatchConfig,
    "job": JobConfig,
    "control": ControlConfig,
}
_SECTION_OF_LEAF = {leaf.name: name for name, cls in SECTIONS.items() for leaf in fields(cls)}


def _checked(path: str, annotation: Any, value: Any) -> Any:
    """`value` as the leaf's type, or a ConfigError that names it."""
    if annotation is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if annotation is str and value is None:
        return ""
    if typing.get_origin(annotation) is not None:
        if isinstance(value, Mapping):
            return dict(cast(Mapping[str, Any], value))
    elif isinstance(value, annotation) and not (annotation is int and isinstance(value, bool)):
        return value
    expected = "a mapping" if typing.get_origin(annotation) else annotation.__name__
    raise ConfigError(f"{path} is {reprlib.repr(value)}: it takes {expected}.")


def resolve_name(name: str) -> tuple[str, str]:
    """`batch_size_s` or `batch.batch_size_s` to its section and leaf.

    Raises:
        ConfigError: no such setting; the nearest name is offered.
    """
    section, _, leaf = name.rpartition(".")
    if leaf in _SECTION_OF_LEAF and section in ("", _SECTION_OF_LEAF[leaf]):
        return _SECTION_OF_LEAF[leaf], leaf
    known = [*_SECTION_OF_LEAF, *(f"{s}.{leaf}" for leaf, s in _SECTION_OF_LEAF.items())]
    near = difflib.get_close_matches(name, known, 1)
    hint = (
        f'; did you mean "{near[0]}"?' if near else f": the settings are {', '.join(known[:30])}."
    )
    raise ConfigError(f'there is no setting "{name}"{hint}')


def with_settings(config: Config, settings: Mapping[str, Any]) -> Config:
    """`config` with leaves replaced, named alone or by their full path."""
    changes: dict[str, dict[str, Any]] = {}
    for name, value in settings.items():
        section, leaf = resolve_name(name)
        annotation = typing.get_type_hints(SECTIONS[section])[leaf]
        changes.setdefault(section, {})[leaf] = _checked(f"{section}.{leaf}", annotation, value)
    sections = {name: replace(getattr(config, name), **leaves) for name, leaves in changes.items()}
    return replace(config, **sections)


def load_config(
    path: str | Path | None,
    sets: Iterable[str] = (),
    flags: Mapping[str, Any] | None = None,
    base: Config | None = None,
) -> Config:
    """The defaults (or `base`), then a YAML file, then `section.leaf=value`, then single values.

    They are checked once, all together: each may need another.

    Raises:
        ConfigError: the file cannot be read or is not a tree of known settings.
    """
    settings: dict[str, Any] = {}
    flags = flags or {}
    if path is not None:
        try:
            tree: Any = read_yaml(Path(path)) or {}
        except OSError as error:
            raise ConfigError(f"cannot read the configuration {path}: {error.strerror}.") from error
        except ValueError as error:
            raise ConfigError(f"{path} is not YAML: {error}.") from error
        if not isinstance(tree, dict) or not all(
            isinstance(leaves, dict) for leaves in cast(dict[str, Any], tree).values()
        ):
            raise ConfigError(f"{path} must hold sections of settings: {', '.join(SECTIONS)}.")
        for section, leaves in cast(dict[str, dict[str, Any]], tree).items():
            settings.update({f"{section}.{leaf}": value for leaf, value in leaves.items()})
    for assignment in sets:
        name, separator, text = assignment.partition("=")
        if not separator:
            raise ConfigError(f'--set {redacted(name)}: write it as "section.setting=value".')
        try:
            value = parse_yaml(text) if text.strip() else ""
        except ValueError as error:
            raise ConfigError(f"--set {name}: the value is not YAML.") from error
        settings[".".join(resolve_name(name.strip()))] = value
    settings.update({".".join(resolve_name(name)): value for name, value in flags.items()})
    return with_settings(base or Config(), settings)


def to_dict(config: Config) -> dict[str, dict[str, Any]]:
    """The tree as plain dictionaries, ready for YAML or JSON."""
    return {
        name: {
            leaf.name: dict(cast(Mapping[str, Any], value)) if isinstance(value, Mapping) else value
            for leaf in fields(section)
            for value in [getattr(section, leaf.name)]
        }
        for name, section in ((name, getattr(config, name)) for name in SECTIONS)
    }


def deciding_settings(config: Config) -> dict[str, Any]:
    """The settings that transcripts hang on: what a resumed run must match.

    Without secrets: they are written to the output, and another token is no other transcript.
    """
    tree = redacted_settings(to_dict(config))
    return {
        f"{name}.{leaf.name}": tree[name][leaf.name]
        for name, cls in SECTIONS.items()
        for leaf in dataclasses.fields(cls)
        if leaf.metadata["decides"]
    }


def fingerprint(config: Config) -> str:
    """Twelve hex digits that are equal exactly for settings that give equal transcripts."""
    canonical = json.dumps(deciding_settings(config), sort_keys=True, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]
