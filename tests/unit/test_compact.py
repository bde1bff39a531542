"""Small parts become few files: which, what is in them, and where it is refused."""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import ray_asr
from ray_asr import cli
from ray_asr.corpus.compacted import COMPACTED_FILE
from ray_asr.corpus.lease import LEASE_FOLDER, held
from ray_asr.corpus.resume import JOB_FILE, parts_done
from ray_asr.errors import ConfigError, DataError
from ray_asr.job import compact as compacting
from ray_asr.job.compact import compact
from ray_asr.job.continuation import precision_of
from ray_asr.job.exchange import exchange, obstacle
from ray_asr.job.joining import PartFile, planned
from ray_asr.job.parts import PartWriter
from ray_asr.job.verify import verify
from tests.outputs import (
    LOCAL,
    SETTINGS,
    half_as_many_mb,
    names,
    parts,
    read,
    rows_of,
    units_of,
    write_inputs,
    write_output,
)

IDS = {f"{n}.parquet": [f"{n}-{row}" for row in range(9)] for n in range(4)}
ROWS = sum(map(len, IDS.values()))

pytestmark = pytest.mark.skipif(
    bool(obstacle(tempfile.gettempdir() + "/x")), reason="no exchange of folders here"
)


@pytest.fixture
def job(tmp_path: Path) -> tuple[Path, Path]:
    source = write_inputs(tmp_path / "in", IDS)
    write_output(source, tmp_path / "out")
    return source, tmp_path / "out"


def sequence(output: Path) -> pa.Table:
    """All rows in the order in which readers find them."""
    return ds.dataset(output, format="parquet").to_table().replace_schema_metadata(None)


def done(output: Path) -> frozenset[str]:
    return parts_done(LOCAL, str(output), SETTINGS)


def test_rows_and_their_order_stay_and_files_become_one(job: tuple[Path, Path]) -> None:
    source, output = job
    before, files, record = sequence(output), len(parts(output)), done(output)
    summary = compact(str(output))
    assert (summary.files_before, summary.files_after, summary.rows) == (files, 1, ROWS)
    assert sequence(output).equals(before)
    (joined,) = parts(output)
    assert joined.name.startswith("part-joined-")
    assert pq.read_metadata(joined).num_row_groups == 1
    assert done(output) == record
    assert verify(str(output), str(source)).proven
    assert names(output) == [COMPACTED_FILE, JOB_FILE, LEASE_FOLDER, "_runs", joined.name]
    assert (output / "_runs" / "one" / "summary.json").read_text() == "{}"
    assert names(output.parent) == ["in", "out"]
    assert precision_of(LOCAL, str(output), record) == "int8"


def test_no_name_of_a_file_is_used_again(job: tuple[Path, Path]) -> None:
    _, output = job
    seen: set[str] = set()
    while True:
        here = {part.name for part in parts(output)}
        assert not here & seen
        seen |= here
        if compact(str(output), target_mb=half_as_many_mb(output)).files_after == len(here):
            assert {part.name for part in parts(output)} == here
            return


def test_what_came_later_is_joined_too_and_nothing_is_done_twice(tmp_path: Path) -> None:
    source = write_inputs(tmp_path / "in", IDS)
    output = tmp_path / "out"
    units = write_output(source, output, skip=lambda number: number % 3 == 0)
    compact(str(output))
    missing = [unit.part_name for unit in units[::3]]
    assert done(output) == {unit.part_name for unit in units} - {*missing}
    assert verify(str(output), str(source)).units_missing == len(missing)
    late = units_of(source)[::3]
    writer = PartWriter(LOCAL, str(output), late)
    for number, unit in enumerate(late):
        writer.add(rows_of(unit, number))
    writer.finish()
    assert compact(str(output)).files_after == 1
    assert verify(str(output), str(source)).proven
    assert done(output) == {unit.part_name for unit in units}


def test_files_of_other_columns_are_not_joined(tmp_path: Path) -> None:
    source = write_inputs(tmp_path / "in", IDS)
    write_inputs(source, {"z.parquet": ["z0", "z1", "z2", "z3", "z4"]}, speaker=["s"] * 5)
    output = tmp_path / "out"
    write_output(source, output)
    assert compact(str(output)).files_after == 2
    assert verify(str(output), str(source)).proven


def test_large_files_are_left_as_they_are(job: tuple[Path, Path]) -> None:
    _, output = job
    inodes = {part.stat().st_ino for part in parts(output)}
    largest = max(part.stat().st_size for part in parts(output))
    small = [part for part in parts(output) if part.stat().st_size < largest]
    assert small
    compact(str(output), target_mb=2 * largest / 2**20)
    assert inodes & {part.stat().st_ino for part in parts(output)}
    assert sequence(output).num_rows == ROWS


def test_precisions_of_joined_rows_are_all_named(job: tuple[Path, Path]) -> None:
    _, output = job
    part = parts(output)[-1]
    table = pq.read_table(part)
    pq.write_table(table.replace_schema_metadata({"_precision": "bf16"}), part)
    record = done(output)
    compact(str(output))
    assert precision_of(LOCAL, str(output), record) == "bf16, int8"


def test_another_one_at_work_is_not_disturbed(job: tuple[Path, Path]) -> None:
    _, output = job
    before = names(output)
    with held(LOCAL, str(output), "transcribe"), pytest.raises(DataError, match="is in use"):
        compact(str(output))
    assert names(output) == [*before[:1], LEASE_FOLDER, *before[1:]]


def test_the_claim_is_there_on_both_sides_of_the_exchange(
    job: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, output = job
    seen: list[list[str]] = []

    def watched(one: str, other: str) -> None:
        seen.append(names(Path(other) / LEASE_FOLDER))
        exchange(one, other)
        seen.append(names(Path(other) / LEASE_FOLDER))

    monkeypatch.setattr(compacting, "exchange", watched)
    compact(str(output))
    assert seen[0] == seen[1]
    assert len(seen[0]) == 1
    assert names(output / LEASE_FOLDER) == []


@pytest.mark.parametrize("why", ["mount point", "no exchange", "exchange fails"])
def test_where_it_cannot_be_nothing_changes(
    job: tuple[Path, Path], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, output = job
    before = {path.name: path.stat().st_ino for path in parts(output)}
    if why == "mount point":
        monkeypatch.setattr(os.path, "ismount", lambda path: path == str(output))
    elif why == "no exchange":
        monkeypatch.setattr(sys, "platform", "darwin")
    else:

        def fails(one: str, other: str) -> None:
            raise OSError(16, "Device or resource busy")

        monkeypatch.setattr(compacting, "exchange", fails)
    with pytest.raises(ConfigError, match="nothing has changed; use --to FOLDER"):
        compact(str(output))
    assert {path.name: path.stat().st_ino for path in parts(output)} == before
    assert names(output.parent) == ["in", "out"]


def test_an_output_behind_a_link_is_exchanged_where_it_is(job: tuple[Path, Path]) -> None:
    source, output = job
    link = output.parent / "link"
    link.symlink_to(output)
    compact(str(link))
    assert link.is_symlink()
    assert len(parts(output)) == 1
    assert verify(str(link), str(source)).proven


def test_a_new_output_is_complete_and_goes_on(job: tuple[Path, Path]) -> None:
    source, output = job
    before, record = names(output), done(output)
    new = output.parent / "new"
    summary = compact(str(output), to=str(new))
    assert (summary.files_after, summary.rows) == (1, ROWS)
    assert names(output) == before
    assert read(new).equals(read(output))
    assert done(new) == record
    assert verify(str(new), str(source)).proven
    assert (new / "_runs" / "one" / "summary.json").read_text() == "{}"
    assert len(names(new)) == 5


def test_a_new_output_that_was_cut_short_is_begun_again(job: tuple[Path, Path]) -> None:
    source, output = job
    new = output.parent / "new"
    compact(str(output), to=str(new))
    (new / JOB_FILE).unlink()
    (new / compacting.BEGUN_FILE).write_text("{}")
    with pytest.raises(DataError):
        verify(str(new), str(source))
    compact(str(output), to=str(new))
    assert verify(str(new), str(source)).proven
    assert len(parts(new)) == 1


@pytest.mark.parametrize("kind", ["used", "itself", "inside", "an output"])
def test_a_new_output_must_be_new(job: tuple[Path, Path], kind: str) -> None:
    _, output = job
    new = {"itself": output, "inside": output / "new"}.get(kind, output.parent / "new")
    if kind == "used":
        new.mkdir()
        (new / "mine.txt").write_text("mine")
    if kind == "an output":
        compact(str(output), to=str(new))
    before = names(output), names(new) if new.exists() else []
    with pytest.raises((ConfigError, DataError)):
        compact(str(output), to=str(new))
    assert (names(output), names(new) if new.exists() else []) == before


def test_a_part_that_cannot_be_read_is_named_and_nothing_changes(job: tuple[Path, Path]) -> None:
    _, output = job
    part = parts(output)[3]
    part.write_bytes(part.read_bytes()[:-20])
    before = [path.name for path in parts(output)]
    with pytest.raises(DataError, match=part.name):
        compact(str(output))
    assert [path.name for path in parts(output)] == before


def test_a_record_that_is_lost_is_said(job: tuple[Path, Path]) -> None:
    source, output = job
    compact(str(output))
    (output / COMPACTED_FILE).unlink()
    for look in (lambda: verify(str(output), str(source)), lambda: done(output)):
        with pytest.raises(DataError, match="does not say which parts part-joined"):
            look()


def test_a_joined_file_that_lost_rows_is_found(job: tuple[Path, Path]) -> None:
    source, output = job
    compact(str(output))
    (joined,) = parts(output)
    table = pq.read_table(joined)
    swapped = table.take([1, 0, *range(2, table.num_rows)])
    pq.write_table(swapped, joined)
    found = verify(str(output), str(source))
    assert found.by_kind == {"wrong_id": 1}
    assert found.findings[0].rows == (0, 1)
    pq.write_table(table.slice(1), joined)
    assert verify(str(output), str(source)).by_kind == {"row_count": 1}


def test_a_part_that_stands_alone_and_joined_is_found(job: tuple[Path, Path]) -> None:
    source, output = job
    part = parts(output)[0]
    data = part.read_bytes()
    compact(str(output))
    part.write_bytes(data)
    found = verify(str(output), str(source))
    assert found.by_kind == {"twice": 1}
    assert found.rows_out > ROWS


def test_groups_of_any_sizes_hold_each_file_once(job: tuple[Path, Path]) -> None:
    schema, other = pa.schema([("a", pa.int64())]), pa.schema([("a", pa.string())])
    draw = random.Random(3)
    for _ in range(200):
        files = [
            PartFile(str(n), draw.randrange(1, 400), 1, draw.choice([schema, schema, other]), ())
            for n in range(draw.randrange(1, 30))
        ]
        joints = planned(files, 256)
        assert sorted(f.name for j in joints for f in j.files) == sorted(f.name for f in files)
        assert len({joint.name for joint in joints}) == len(joints)
        for joint in joints:
            assert joint.size <= 256 or len(joint.files) == 1
            assert len({str(file.schema) for file in joint.files}) == 1


def test_the_verb_says_what_it_did(
    job: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = job
    for said in ("now", "nothing to join"):
        with pytest.raises(SystemExit) as ended:
            cli.main(["compact", str(output)])
        assert ended.value.code == 0
        assert said in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        cli.main(["compact", str(output), "--target-mb", "0"])
    assert ended.value.code == 2
    assert ray_asr.compact(output).files_after == 1
    assert ray_asr.verify(output, source).proven
    assert json.loads((output / COMPACTED_FILE).read_text())["files"].keys() == {
        part.name for part in parts(output)
    }
