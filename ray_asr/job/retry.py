"""The failed rows of an output once more, each in its place.

Owns which rows those are and with which settings they run. Must not know how rows are transcribed:
they go through the job's own way, as units of which some rows are chosen.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs

from ray_asr.blocks import Block, Facts, Said
from ray_asr.config import Config, with_settings
from ray_asr.corpus.compacted import Place
from ray_asr.corpus.resume import part_places, recorded_job
from ray_asr.corpus.storage import open_filesystem
from ray_asr.corpus.units import Unit
from ray_asr.engine.funasr_engine import FunASREngine
from ray_asr.errors import ConfigError, DataError, ErrorCode
from ray_asr.job.continuation import Work, rows_of
from ray_asr.job.graph import MakeEngine
from ray_asr.job.part_files import open_part
from ray_asr.job.pipeline import transcribe_path
from ray_asr.job.row_checks import mask_of
from ray_asr.job.summary import RunSummary, latest_run
from ray_asr.redaction import HIDDEN, redacted
from ray_asr.schema import STATUS_FAILED
from ray_asr.shown import Shown

_READERS = 8
_ROWS_AT_ONCE = 65_536

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RetrySummary(Shown):
    """What became of failed rows.

    Attributes:
        rows_failed_before: that had failed, of the codes that were asked for.
        rows_skipped: of these, whose input is not there any more or has changed.
        run: the others.
    """

    rows_failed_before: int
    rows_skipped: int
    run: RunSummary

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return asdict(self)

    def blocks(self) -> list[Block]:
        """The retry in a few facts."""
        if not self.rows_failed_before:
            return [Said(f"nothing to retry: no such row of {self.run.output} has failed.")]
        facts = [*self.run.facts(), ("retried", f"{self.run.rows_out} rows that had failed")]
        if self.rows_skipped:
            facts.append(("skipped", f"{self.rows_skipped}, whose input has changed or is gone"))
        return [Facts(facts)]


def retry(
    output: str,
    change: Callable[[Config], Config],
    source: str = "",
    codes: Collection[str] = (),
    address: str | None = None,
    make_engine: MakeEngine = FunASREngine,
) -> RetrySummary:
    """Transcribe the failed rows of an output again, with the settings that it was made with.

    Each file that has such rows is written anew whole, its other rows as they were. Rows that fail
    again stay failed, with what there is to say now; `job.max_failed_ratio` is not applied, since
    rows that failed once are likely to.

    Args:
        output: the folder of the transcripts.
        change: the settings of the retry, of those of the last run; what decides transcripts must
            stay.
        source: the input; "" for that of the last run.
        codes: only rows with one of these error codes; all where empty.
        address: of the Ray cluster.
        make_engine: makes each actor's engine of its settings.

    Raises:
        ConfigError, DataError, PlanError: as `transcribe` raises them; nothing has changed.
    """
    known = [code.value for code in ErrorCode]
    unknown = sorted({*codes} - {*known})
    if unknown:
        raise ConfigError(f'there is no error code "{unknown[0]}": use one of {", ".join(known)}.')
    filesystem, folder = open_filesystem(output)
    fingerprint = str(recorded_job(filesystem, folder).get("config_fingerprint"))
    recorded = latest_run(filesystem, folder, fingerprint)
    if recorded is None:
        raise DataError(
            f"{redacted(output)} does not say how it was made, since no run of its settings is "
            "recorded in _runs: put that folder back, or make the output anew with `ray-asr "
            "transcribe`."
        )
    source = source or recorded.source
    if HIDDEN in source:
        raise ConfigError(
            f"the input's address held secrets, which are not recorded ({source}): name it again "
            "with --input."
        )
    settings = {
        f"{section}.{leaf}": value
        for section, leaves in recorded.settings.items()
        for leaf, value in leaves.items()
    }
    config = change(with_settings(Config(), settings))
    failed = FailedRows(codes)
    run = transcribe_path(
        source,
        output,
        with_settings(config, {"max_failed_ratio": 1.0}),
        address,
        make_engine,
        choose=failed.choose,
        purpose="retry",
    )
    return RetrySummary(failed.found, failed.skipped, run)


class FailedRows:
    """Finds the rows that have failed.

    Args:
        codes: why; for any reason where empty.

    Attributes:
        found: how many there are.
        skipped: how many of them cannot be read again.
    """

    def __init__(self, codes: Collection[str]) -> None:
        self._codes = codes
        self.found = 0
        self.skipped = 0

    def choose(
        self,
        filesystem: pafs.FileSystem,
        folder: str,
        units: Sequence[Unit],
        done: Collection[str],
    ) -> Work:
        """The units that have failed rows, these rows chosen."""
        places = part_places(filesystem, folder)
        by_file = sorted(places.values(), key=lambda place: (place.file, place.first))
        files = [list(group) for _, group in itertools.groupby(by_file, key=lambda p: p.file)]

        def of_file(here: list[Place]) -> dict[str, npt.NDArray[np.int64]]:
            return self._failed(filesystem, folder, here)

        with ThreadPoolExecutor(_READERS) as readers:
            rows = {
                part: at for of_one in readers.map(of_file, files) for part, at in of_one.items()
            }
        by_part = {unit.part_name: unit for unit in units}
        chosen = [_chosen(unit, rows[part]) for part, unit in by_part.items() if part in rows]
        self.found = sum(len(at) for at in rows.values())
        self.skipped = self.found - rows_of(chosen)
        if self.skipped:
            logger.warning(
                "%d failed rows in %d parts are skipped: their input is not there any more, or has "
                "changed.", self.skipped, len(rows.keys() - by_part.keys()),
            )  # fmt: skip
        if not self.found:
            logger.info("no row has failed: nothing is left to do.")
        return Work(rows_of(chosen), chosen, places)

    def _failed(
        self, filesystem: pafs.FileSystem, folder: str, here: list[Place]
    ) -> dict[str, npt.NDArray[np.int64]]:
        """The failed rows of the parts in one file, counted from each part's first."""
        path = f"{folder}/{here[0].file}"
        at: list[npt.NDArray[np.int64]] = []
        first = 0
        try:
            with filesystem.open_input_file(path) as source:
                for batch in open_part(source).iter_batches(
                    _ROWS_AT_ONCE, columns=["status", "error_code"], use_threads=False
                ):
                    found = mask_of("equal", batch["status"], pa.scalar(STATUS_FAILED))
                    if self._codes:
                        codes = pc.SetLookupOptions(pa.array(sorted(self._codes)))
                        found &= mask_of("is_in", batch["error_code"], options=codes)
                    at.append(np.flatnonzero(found) + first)
                    first += batch.num_rows
        except (pa.ArrowException, OSError, KeyError) as error:
            raise DataError(
                f"{path} cannot be read ({error}); delete it and run the same transcribe command "
                "again to have its rows written anew."
            ) from error
        rows = np.concatenate(at) if at else np.empty(0, np.int64)
        of_parts: dict[str, npt.NDArray[np.int64]] = {}
        for place in here:
            end = first if place.rows is None else place.first + place.rows
            mine = rows[(rows >= place.first) & (rows < end)] - place.first
            if len(mine):
                of_parts[place.part] = mine
        return of_parts


def _chosen(unit: Unit, rows: npt.NDArray[np.int64]) -> Unit:
    """The unit with these rows chosen of it."""
    if rows[-1] >= unit.num_rows:
        raise DataError(
            f"{unit.part_name} has more rows than its input {unit.path}; `ray-asr verify` says "
            "what is wrong with the output."
        )
    share = len(rows) / unit.num_rows
    return replace(unit, chosen=tuple(rows.tolist()), audio_bytes=int(share * unit.audio_bytes))
