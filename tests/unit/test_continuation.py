"""What a later run must have in common with an earlier one, and what is said of earlier rows."""

from __future__ import annotations

import logging
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from ray_asr.config import Config, with_settings
from ray_asr.config_sections import MODEL_KINDS
from ray_asr.corpus.units import Unit
from ray_asr.job.continuation import (
    precision_of,
    say_what_differs,
    say_what_is_done,
    settings_to_match,
)
from ray_asr.job.parts import PartWriter
from ray_asr.job.utterance import PRECISION
from tests.fakes import transcript_rows
from tests.unit.test_loading import model_in

LOCAL = pafs.LocalFileSystem()
UNIT = Unit("in/a.parquet", 1, 1, (0, 1), (0, 2), 10)


def differing(one: Config, other: Config) -> set[str]:
    first, second = settings_to_match(one), settings_to_match(other)
    return {name for name in first | second if first.get(name) != second.get(name)}


@pytest.mark.parametrize("kind", MODEL_KINDS)
def test_a_model_retrained_in_its_folder_is_another(tmp_path: Path, kind: str) -> None:
    folder = model_in(tmp_path / "mine")
    config = with_settings(Config(), {kind: str(folder)})
    before = settings_to_match(config)
    assert settings_to_match(config) == before
    (folder / "model.pt").write_bytes(b"WEIGHTS")  # of the same size
    after = settings_to_match(config)
    assert {name for name in after if after[name] != before[name]} == {f"revision of engine.{kind}"}


def test_automatic_precision_is_bound_to_the_kind_of_device() -> None:
    on_cpu = Config()
    gpu = {"device": "cuda", "num_gpus": 1.0}
    on_gpu = with_settings(Config(), gpu)
    assert differing(on_cpu, on_gpu) == {"engine.precision"}
    assert differing(on_gpu, with_settings(on_gpu, {"device": "cuda:1"})) == set()
    fixed = with_settings(Config(), {"precision": "fp32"})
    assert differing(fixed, with_settings(fixed, gpu)) == set()


def test_speed_and_spread_need_not_match_but_units_must() -> None:
    faster = {"ncpu": 3, "num_actors": 2, "batch_size_s": 90.0, "stages": "split"}
    assert differing(Config(), with_settings(Config(), faster)) == set()
    assert differing(Config(), with_settings(Config(), {"unit_mb": 5.0})) == {"job.unit_mb"}


def written(folder: Path, precision: str) -> str:
    table = transcript_rows([(0, 0), (0, 1)]).replace_schema_metadata({PRECISION: precision})
    writer = PartWriter(LOCAL, str(folder), [UNIT])
    writer.add(table)
    writer.finish()
    return UNIT.part_name


def test_a_part_says_what_its_rows_were_computed_in(tmp_path: Path) -> None:
    part = written(tmp_path, "int8")
    assert precision_of(LOCAL, str(tmp_path), {part}) == "int8"


def test_a_part_that_does_not_say_is_not_known(tmp_path: Path) -> None:
    assert precision_of(LOCAL, str(tmp_path), frozenset()) == ""
    pq.write_table(pa.table({"text": ["x"]}), tmp_path / "part-a.parquet")
    (tmp_path / "part-b.parquet").write_bytes(b"no rows")
    for name in ("part-a.parquet", "part-b.parquet", "part-gone.parquet"):
        assert precision_of(LOCAL, str(tmp_path), {name}) == ""


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ("int8", {"fp32"}, "computed in fp32, rows that were there before in int8"),
        ("fp16", {"", "bf16", "fp16"}, "computed in bf16, rows that were there before in fp16"),
        ("int8", {"int8"}, ""),
        ("int8", {"int8", ""}, ""),
        ("int8", set(), ""),
        ("", {"int8"}, ""),
    ],
)
def test_rows_of_another_precision_are_not_mixed_in_unsaid(
    before: str, now: set[str], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert say_what_differs(before, now) == bool(said)
    assert said in caplog.text
    assert bool(caplog.text) == bool(said)


def test_it_is_said_how_much_is_done(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    other = Unit("in/b.parquet", 1, 1, (0, 1), (0, 3), 10)
    say_what_is_done("out", [UNIT, other], [UNIT, other], set())
    assert caplog.text == ""
    say_what_is_done("out", [UNIT, other], [other], {UNIT.part_name})
    assert "1 of 2 units (2 rows) are done already; 3 rows are left" in caplog.text
    say_what_is_done("out", [UNIT], [], {UNIT.part_name, "part-old.parquet"})
    assert "all 1 units (2 rows) are done already: nothing is left to do" in caplog.text
    assert "1 parts in out come from input that is no longer there" in caplog.text
