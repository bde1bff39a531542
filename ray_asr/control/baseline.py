"""What was measured on this hardware with this model, as a file that later jobs read.

Owns the baseline's form, its file, and what makes it another machine's. Must not know Ray, models,
or how a figure was measured.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from ray_asr.errors import ConfigError

SCHEMA_VERSION = 1
# Memory is told a little differently by one kernel and the next.
_MEMORY_TOLERANCE = 0.1

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Hardware:
    """The machines that were measured.

    Attributes:
        cpu: its model's name.
        nodes: of the cluster.
        cores: that compute, of all nodes together.
        memory_gb: of one node, in GiB.
        gpus: their names; none without.
    """

    cpu: str
    nodes: int
    cores: int
    memory_gb: float
    gpus: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Models:
    """The models that were measured; "" for none."""

    model: str
    revision: str
    vad_model: str = ""
    punc_model: str = ""
    spk_model: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """The audio that was measured with.

    Attributes:
        audio_s: of the longest runs, in seconds.
        utterances: rows in it.
    """

    audio_s: float
    utterances: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One setting and what it brought.

    Attributes:
        ncpu: cores of each recognizing actor.
        actors: that recognize.
        batch_size_s: padded seconds in a batch.
        precision: what the recognizer computed in.
        stages: `fused` or `split`.
        is_default: what a job takes without a baseline.
        x_real_time: seconds of audio a second, the median of the repetitions; 0 where it failed.
        x_least: the slowest repetition.
        x_most: the fastest repetition.
        repetitions: on the longest sample that it reached.
        sample_s: that sample's audio, in seconds.
        cpu_percent: of all cores of the machine; None where there are several machines.
        gpu_percent: of its GPU; None without one.
        memory_gb: more in use than before the run, at the most, in GiB; None as for the CPU.
        load_s: of the models in the slowest actor, in seconds.
        start_s: from the asking for the actors until all of them had loaded, in seconds.
        error: why it failed; "" where it did not.
    """

    ncpu: int
    actors: int
    batch_size_s: float
    precision: str
    stages: str
    is_default: bool = False
    x_real_time: float = 0.0
    x_least: float = 0.0
    x_most: float = 0.0
    repetitions: int = 0
    sample_s: float = 0.0
    cpu_percent: float | None = None
    gpu_percent: float | None = None
    memory_gb: float | None = None
    load_s: float | None = None
    start_s: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Baseline:
    """All that a run of the tuner found.

    Attributes:
        date: when, in UTC.
        versions: of the packages that count.
        entries: every setting that was tried.
        overhead_s: what a run took beside its audio and the loading, in seconds: the reading of the
            first chunk, and the end, where some actors have none.
    """

    date: str
    hardware: Hardware
    models: Models
    versions: Mapping[str, str]
    sample: Sample
    entries: tuple[Entry, ...]
    overhead_s: float = 0.0
    schema_version: int = field(default=SCHEMA_VERSION)

    def best(self) -> Entry:
        """The fastest setting of those that were measured on the longest sample.

        Raises:
            ConfigError: none was measured.
        """
        measured = [entry for entry in self.entries if not entry.error and entry.x_real_time > 0]
        if not measured:
            raise ConfigError(
                "the baseline has no setting that could be measured: run `ray-asr tune` again."
            )
        longest_s = max(entry.sample_s for entry in measured)
        return max(
            (entry for entry in measured if entry.sample_s >= 0.95 * longest_s),
            key=lambda entry: entry.x_real_time,
        )

    def default(self) -> Entry | None:
        """What a job takes without a baseline, where that could be measured."""
        return next((e for e in self.entries if e.is_default and not e.error), None)

    def steady(self, entry: Entry) -> float:
        """Speed of a setting in a long job, where what a run takes beside its audio counts little.

        At most twice what was measured: a sample that is all overhead says nothing.
        """
        if entry.x_real_time <= 0 or entry.sample_s <= 0:
            return entry.x_real_time
        took_s = entry.sample_s / entry.x_real_time
        return entry.sample_s / max(took_s - self.overhead_s, took_s / 2)

    def steady_best(self) -> float:
        """Speed of the fastest setting in a long job."""
        return self.steady(self.best())

    def curve_of_actors(self) -> list[tuple[int, float]]:
        """Speed against actors, all else as in the best setting."""
        return [(one.actors, one.x_real_time) for one in self.beside(self.best(), "actors")]

    def curve_of_batch(self) -> list[tuple[float, float]]:
        """Speed against padded seconds of a batch, all else as in the best setting."""
        alike = self.beside(self.best(), "batch_size_s")
        return [(one.batch_size_s, one.x_real_time) for one in alike]

    def beside(self, setting: Entry, varied: str) -> list[Entry]:
        """What was measured of settings that differ from one in nothing but `varied`, by that."""
        kept = {"ncpu", "actors", "batch_size_s", "precision", "stages"} - {varied}
        alike = {
            getattr(entry, varied): entry
            for entry in self.entries
            if entry.x_real_time > 0
            and not entry.error
            and all(getattr(entry, name) == getattr(setting, name) for name in kept)
        }
        return [alike[value] for value in sorted(alike)]

    def matches(self, hardware: Hardware, models: Models) -> list[str]:
        """What differs from this baseline, a phrase each; nothing where it holds."""
        differs = [
            f"{name} is {_shown(new)}, measured with {_shown(old)}"
            for name, old, new in (
                ("the CPU", self.hardware.cpu, hardware.cpu),
                ("the number of nodes", self.hardware.nodes, hardware.nodes),
                ("the number of cores", self.hardware.cores, hardware.cores),
                ("the GPU", self.hardware.gpus, hardware.gpus),
                ("the model", self.models.model, models.model),
                ("the model's revision", self.models.revision, models.revision),
                ("the voice activity model", self.models.vad_model, models.vad_model),
                ("the punctuation model", self.models.punc_model, models.punc_model),
                ("the speaker model", self.models.spk_model, models.spk_model),
            )
            if old != new
        ]
        before_gb, now_gb = self.hardware.memory_gb, hardware.memory_gb
        if abs(before_gb - now_gb) > _MEMORY_TOLERANCE * max(before_gb, now_gb):
            differs.append(f"memory is {now_gb:.1f} GB a node, measured with {before_gb:.1f}")
        return differs

    def to_dict(self) -> dict[str, Any]:
        """Plain values, with the curves for whoever reads the file."""
        found = {**asdict(self), "versions": dict(self.versions)}
        if any(not entry.error and entry.x_real_time > 0 for entry in self.entries):
            found["curve"] = {
                "actors": self.curve_of_actors(),
                "batch_size_s": self.curve_of_batch(),
            }
        return found

    def save(self, path: str | Path) -> None:
        """Write it whole: whoever reads `path` meets the old baseline or the new one.

        Raises:
            ConfigError: it cannot be written there.
        """
        target = Path(path)
        writing = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
            writing.write_text(text + "\n", encoding="utf-8")
            writing.replace(target)
        except OSError as error:
            raise ConfigError(
                f"the baseline cannot be written to {path} ({error.strerror}): name another file."
            ) from error
        finally:
            writing.unlink(missing_ok=True)


def load_baseline(path: str | Path) -> Baseline:
    """A baseline that `Baseline.save` wrote.

    Raises:
        ConfigError: there is none, it is damaged, or of a newer version.
    """
    again = "measure it with `ray-asr tune`"
    try:
        tree = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"the baseline {path} cannot be read ({error.strerror}): {again}."
        ) from error
    except ValueError as error:
        raise ConfigError(f"the baseline {path} is damaged ({error}): {again} again.") from error
    version = tree.get("schema_version") if isinstance(tree, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise ConfigError(
            f"the baseline {path} is of version {version}, and this ray_asr reads up to "
            f"{SCHEMA_VERSION}: {again} again, or use a newer ray_asr."
        )
    try:
        return Baseline(
            date=_checked(tree["date"], str),
            hardware=_record(Hardware, tree["hardware"]),
            models=_record(Models, tree["models"]),
            versions=dict(tree["versions"]),
            sample=_record(Sample, tree["sample"]),
            entries=tuple(_record(Entry, entry) for entry in tree["entries"]),
            overhead_s=float(_checked(tree.get("overhead_s", 0.0), int, float)),
            schema_version=_checked(version, int),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"the baseline {path} is damaged ({type(error).__name__}: {error}): {again} again."
        ) from error


_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "bool": (bool,),
    "float": (int, float),
    "float | None": (int, float, type(None)),
    "tuple[str, ...]": (list,),
}


def _record(cls: type[T], values: Any) -> T:
    """`values` as a `cls`, each of the type that it is declared with."""
    known = {leaf.name: str(leaf.type) for leaf in fields(cls)}  # pyright: ignore[reportArgumentType]
    checked = {
        name: _checked(value, *_KINDS[known[name]])
        for name, value in dict(values).items()
        if name in known
    }
    return cls(**{n: tuple(v) if isinstance(v, list) else v for n, v in checked.items()})


def _checked(value: Any, *kinds: type) -> Any:
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise ValueError(f"{value!r} is not {' or '.join(kind.__name__ for kind in kinds)}")
    return value


def _shown(value: str | int | Sequence[str]) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    return str(value) or "none"
