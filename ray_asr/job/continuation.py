"""What a run has to do with earlier ones on its output: what must be equal, what is done.

Owns the settings that are compared, and what a user is told of earlier rows. Must not know Ray or
what is inside a model.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from ray_asr.config import Config, deciding_settings, fingerprint
from ray_asr.config_sections import MODEL_KINDS
from ray_asr.corpus.compacted import Place
from ray_asr.corpus.resume import part_places
from ray_asr.corpus.units import Unit
from ray_asr.engine.loading import model_revision
from ray_asr.job.utterance import PRECISION

logger = logging.getLogger(__name__)


def settings_to_match(config: Config) -> dict[str, Any]:
    """What a later run on an output must have too, so that its rows are like those that are there.

    A folder's files count beside its name, since a retrained model may have taken its place.
    `engine.precision=auto` counts with the kind of device, on which hangs what it comes to: texts
    in int8 and in bfloat16 differ in some words, and no row says which it was computed in.
    """
    engine, settings = config.engine, deciding_settings(config)
    if engine.precision == "auto":
        settings["engine.precision"] = f"auto on {engine.device.partition(':')[0]}"
    for kind in MODEL_KINDS:
        settings[f"revision of engine.{kind}"] = model_revision(engine, kind)
    return {
        "job.unit_mb": config.job.unit_mb,
        "config_fingerprint": fingerprint(config),
        **settings,
    }


def rows_of(units: Sequence[Unit]) -> int:
    """How many rows units have together."""
    return sum(unit.num_rows for unit in units)


@dataclass(frozen=True, slots=True)
class Work:
    """What a run has to do on an output.

    Attributes:
        rows_in: rows that the run is about, those that are done among them.
        pending: the units that it does; where rows of one are chosen, these are replaced in the
            part that is there.
        places: where the parts of such units stand, by the part's name.
    """

    rows_in: int
    pending: Sequence[Unit]
    places: Mapping[str, Place] = field(default_factory=dict[str, Place])


# Of the units of an input, and the names of the parts that are done in a folder: what to do.
Choose = Callable[[pafs.FileSystem, str, Sequence[Unit], Collection[str]], Work]


def what_is_missing(
    filesystem: pafs.FileSystem, folder: str, units: Sequence[Unit], done: Collection[str]
) -> Work:
    """The units that have no part; says how far the output is."""
    pending = [unit for unit in units if unit.part_name not in done]
    say_what_is_done(folder, units, pending, done)
    return Work(rows_of(units), pending)


def say_what_is_done(
    output: str, units: Sequence[Unit], pending: Sequence[Unit], done: Collection[str]
) -> None:
    """Tell of the units that earlier runs did, and of parts that are no unit's any more.

    Args:
        output: the output folder.
        units: of the input.
        pending: those without a part.
        done: names of the parts that are there.
    """
    known, rows, left = len(units) - len(pending), rows_of(units), rows_of(pending)
    if not pending:
        logger.info("all %d units (%d rows) are done already: nothing is left to do.", known, rows)
    elif known:
        logger.info(
            "%d of %d units (%d rows) are done already; %d rows are left.",
            known, len(units), rows - left, left,
        )  # fmt: skip
    if len(done) > known:
        logger.warning(
            "%d parts in %s come from input that is no longer there or has changed; "
            "they stay as they are.", len(done) - known, output,
        )  # fmt: skip


def precision_of(filesystem: pafs.FileSystem, folder: str, parts: Collection[str]) -> str:
    """What the rows of the first of some parts were computed in; "" where that is not known.

    Of a part that was joined with others it is what all of these were computed in.
    """
    if not parts:
        return ""
    try:
        place = part_places(filesystem, folder)[min(parts)]
        with filesystem.open_input_file(f"{folder}/{place.file}") as source:
            metadata = pq.read_schema(source).metadata or {}
    except (pa.ArrowInvalid, OSError, KeyError):
        return ""
    return metadata.get(PRECISION.encode(), b"").decode()


def say_what_differs(before: str, now: Collection[str]) -> bool:
    """Warn where rows are computed otherwise than earlier ones; whether that was so.

    `auto` may come to different precisions on devices of one kind too, of which only their
    processes know.

    Args:
        before: from `precision_of`; several with commas.
        now: precisions of this run's rows, "" among them where one is not known.
    """
    others = sorted({*now} - {"", *before.split(", ")})
    if not before or not others:
        return False
    logger.warning(
        "rows of this run are computed in %s, rows that were there before in %s, so that some "
        "words may differ: for rows of one kind set engine.precision and use a new output.",
        ", ".join(others), before,
    )  # fmt: skip
    return True
