from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ray_asr
from ray_asr import cli
from ray_asr.corpus.resume import JOB_FILE
from ray_asr.errors import DataError
from ray_asr.job.findings import Verification
from ray_asr.job.verify import verify
from ray_asr.schema import SCHEMA_VERSION
from tests.outputs import parts, write_inputs, write_output

IDS = {
    "a.parquet": [f"a{n}" for n in range(11)],
    "deeper/b.parquet": [f"b{n}" for n in range(7)],
    "c.parquet": ["one"],
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An input, and the output of a finished job; not to be changed."""
    root = tmp_path_factory.mktemp("whole")
    source = write_inputs(root / "in", IDS)
    write_output(source, root / "out")
    return source, root / "out"


@pytest.fixture
def job(whole: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """The same, to be damaged."""
    source, output = whole
    return source, Path(shutil.copytree(output, tmp_path / "out"))


def looked_at(output: Path, source: Path) -> Verification:
    return verify(str(output), str(source))


def kinds(output: Path, source: Path) -> set[str]:
    return set(looked_at(output, source).by_kind)


def replace(part: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(part)), part)


def with_value(table: pa.Table, name: str, row: int, value: Any) -> pa.Table:
    field = table.schema.field(name)
    values = table[name].to_pylist()
    values[row] = value
    return table.set_column(table.column_names.index(name), field, pa.array(values, field.type))


def test_a_finished_output_is_proven(whole: tuple[Path, Path]) -> None:
    source, output = whole
    found = looked_at(output, source)
    assert found.proven, found.table()
    assert (found.rows_in, found.rows_out, found.units_missing) == (19, 19, 0)
    assert sum(found.by_status.values()) == 19
    assert len(found.by_status) == 3
    assert found.findings == []
    assert found.notes == []
    assert "each of the 19 rows" in found.sentence()


def test_one_row_groups_slices_are_read_in_one_pass(tmp_path: Path) -> None:
    source = write_inputs(tmp_path / "in", {"a.parquet": [str(n) for n in range(50)]}, 1000)
    units = write_output(source, tmp_path / "out")
    assert len({unit.row_groups for unit in units}) == 1 < len(units)
    assert looked_at(tmp_path / "out", source).proven
    first = tmp_path / "out" / units[0].part_name
    first.rename(tmp_path / "out" / units[1].part_name)
    assert {"wrong_id", "row_count"} & kinds(tmp_path / "out", source)


def drop_row(draw: st.DataObject, output: Path) -> None:
    def change(table: pa.Table) -> pa.Table:
        row = draw.draw(st.integers(0, table.num_rows - 1))
        return pa.concat_tables([table.slice(0, row), table.slice(row + 1)])

    replace(draw.draw(st.sampled_from(parts(output))), change)


def double_row(draw: st.DataObject, output: Path) -> None:
    def change(table: pa.Table) -> pa.Table:
        row = draw.draw(st.integers(0, table.num_rows - 1))
        return pa.concat_tables([table.slice(0, row + 1), table.slice(row)])

    replace(draw.draw(st.sampled_from(parts(output))), change)


def one_row_for_another(draw: st.DataObject, output: Path) -> None:
    def change(table: pa.Table) -> pa.Table:
        rows = list(range(table.num_rows))
        at = draw.draw(st.sampled_from(rows))
        rows[at] = draw.draw(st.sampled_from([row for row in rows if row != at]))
        return table.take(rows)

    large = [part for part in parts(output) if pq.read_metadata(part).num_rows > 1]
    replace(draw.draw(st.sampled_from(large)), change)


def swap_ids(draw: st.DataObject, output: Path) -> None:
    def change(table: pa.Table) -> pa.Table:
        ids = table["utterance_id"].to_pylist()
        one, other = draw.draw(
            st.lists(st.integers(0, len(ids) - 1), min_size=2, max_size=2, unique=True)
        )
        return with_value(
            with_value(table, "utterance_id", one, ids[other]), "utterance_id", other, ids[one]
        )

    large = [part for part in parts(output) if pq.read_metadata(part).num_rows > 1]
    replace(draw.draw(st.sampled_from(large)), change)


def drop_part(draw: st.DataObject, output: Path) -> None:
    draw.draw(st.sampled_from(parts(output))).unlink()


def swap_parts(draw: st.DataObject, output: Path) -> None:
    one, other = draw.draw(
        st.lists(st.sampled_from(parts(output)), min_size=2, max_size=2, unique=True)
    )
    one.rename(output / "aside")
    other.rename(one)
    (output / "aside").rename(other)


def foreign_part(draw: st.DataObject, output: Path) -> None:
    part = draw.draw(st.sampled_from(parts(output)))
    shutil.copy(part, output / part.name.replace("part-", "part-0"))


def null(draw: st.DataObject, output: Path) -> None:
    name = draw.draw(
        st.sampled_from(["error_code", "error_message", "status", "text", "segments", "model_id"])
    )
    part = draw.draw(st.sampled_from(parts(output)))
    replace(part, lambda table: with_value(table, name, 0, None))


def wrong_type(draw: st.DataObject, output: Path) -> None:
    name, kind = draw.draw(
        st.sampled_from(
            [
                ("duration_ms", pa.int32()), ("text", pa.large_string()),
                ("error_code", pa.binary()), ("take", pa.int64()), ("language", pa.null()),
            ]
        )
    )  # fmt: skip

    def change(table: pa.Table) -> pa.Table:
        index = table.column_names.index(name)
        column = table[name].cast(kind) if kind != pa.null() else pa.nulls(table.num_rows)
        return table.set_column(index, name, column)

    replace(draw.draw(st.sampled_from(parts(output))), change)


def other_columns(draw: st.DataObject, output: Path) -> None:
    change = draw.draw(
        st.sampled_from(
            [
                lambda table: table.drop_columns(["take"]),
                lambda table: table.drop_columns(["status"]),
                lambda table: table.append_column("more", pa.nulls(table.num_rows, pa.string())),
                lambda table: table.select(table.column_names[::-1]),
            ]
        )
    )
    replace(draw.draw(st.sampled_from(parts(output))), change)


def inconsistent_row(draw: st.DataObject, output: Path) -> None:
    def change(table: pa.Table) -> pa.Table:
        row = draw.draw(st.integers(0, table.num_rows - 1))
        was = table.slice(row, 1).to_pylist()[0]
        choices = {
            "ok": [("text", ""), ("error_code", "worker_died"), ("status", "no_speech")],
            "no_speech": [("text", "words"), ("status", "ok"), ("status", "failed")],
            "failed": [("error_code", ""), ("error_code", "bad luck"), ("text", "words")],
        }[was["status"]]
        name, value = draw.draw(
            st.sampled_from([*choices, ("status", "fine"), ("duration_ms", -1),
                             ("config_fingerprint", "another")])
        )  # fmt: skip
        return with_value(table, name, row, value)

    replace(draw.draw(st.sampled_from(parts(output))), change)


def cut_file(draw: st.DataObject, output: Path) -> None:
    part = draw.draw(st.sampled_from(parts(output)))
    data = part.read_bytes()
    part.write_bytes(data[: draw.draw(st.integers(0, len(data) - 1))])


def turned_bit(draw: st.DataObject, output: Path) -> None:
    part = draw.draw(st.sampled_from(parts(output)))
    data = bytearray(part.read_bytes())
    chunk = pq.read_metadata(part).row_group(0).column(draw.draw(st.sampled_from([0, 1, 2])))
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    at = start + chunk.total_compressed_size - 1 - draw.draw(st.integers(0, 3))
    data[at] ^= 1 << draw.draw(st.integers(0, 7))
    part.write_bytes(data)


DAMAGES = [
    drop_row, double_row, one_row_for_another, swap_ids, drop_part, swap_parts, foreign_part, null,
    wrong_type, other_columns, inconsistent_row, cut_file, turned_bit,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@settings(max_examples=8)
@given(data=st.data())
def test_each_damage_is_found(
    whole: tuple[Path, Path], damage: Callable[[st.DataObject, Path], None], data: st.DataObject
) -> None:
    source, output = whole
    with tempfile.TemporaryDirectory() as folder:
        damaged = Path(shutil.copytree(output, f"{folder}/out"))
        damage(data, damaged)
        found = looked_at(damaged, source)
        assert not found.proven
        assert "not proven" in found.table()
        assert all(finding.file and finding.detail for finding in found.findings)


@settings(max_examples=15)
@given(
    names=st.dictionaries(
        st.sampled_from(["a.parquet", "b.parquet", "c/d.parquet"]),
        st.lists(st.none() | st.text(max_size=4), min_size=1, max_size=12),
        min_size=1,
    ),
    row_group_size=st.integers(1, 12),
)
def test_what_is_not_damaged_is_proven_whatever_the_ids(
    names: dict[str, list[str | None]], row_group_size: int
) -> None:
    names = {name: [None if i is None else i.replace("\0", "") for i in ids]
             for name, ids in names.items()}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        typed = {name: pa.array(ids, pa.string()) for name, ids in names.items()}
        source = write_inputs(Path(folder) / "in", typed, row_group_size)
        write_output(source, Path(folder) / "out")
        found = looked_at(Path(folder) / "out", source)
        assert found.proven, found.table()
        ids = [i for of_file in names.values() for i in of_file if i is not None]
        assert bool(found.notes) == (len(ids) > len(set(ids)))


@pytest.mark.parametrize(
    ("damage", "kind", "said"),
    [
        (lambda out: parts(out)[0].write_bytes(b"no rows"), "unreadable", "cannot be read"),
        (lambda out: (out / "notes.txt").write_text("x"), "foreign_file", "not ray_asr's"),
        (lambda out: (out / "_switch.json").write_text("{}"), "restart", "--restart"),
    ],
)
def test_findings_say_what_and_where(
    job: tuple[Path, Path], damage: Callable[[Path], Any], kind: str, said: str
) -> None:
    source, output = job
    damage(output)
    found = looked_at(output, source)
    assert set(found.by_kind) == {kind}
    assert said in found.table()


def test_rows_are_named(job: tuple[Path, Path]) -> None:
    source, output = job
    part = next(p for p in parts(output) if pq.read_metadata(p).num_rows > 2)
    replace(part, lambda table: with_value(table, "utterance_id", 2, "no such"))
    (finding,) = looked_at(output, source).findings
    assert (finding.file, finding.kind, finding.count, finding.rows) == (
        part.name, "wrong_id", 1, (2,),
    )  # fmt: skip
    assert "'no such'" in finding.detail
    assert f"{part.name} row 2: " in finding.line()


def test_a_job_that_is_not_finished_says_what_is_missing(tmp_path: Path) -> None:
    source = write_inputs(tmp_path / "in", IDS)
    units = write_output(source, tmp_path / "out", skip=lambda number: number % 2 == 0)
    found = looked_at(tmp_path / "out", source)
    rows = sum(unit.num_rows for unit in units[::2])
    assert (found.units_missing, found.rows_missing) == (len(units[::2]), rows)
    assert found.by_kind == {}
    assert f"({rows} rows) are not done: the same transcribe command" in found.sentence()


def test_parts_of_input_that_has_changed_are_foreign(
    job: tuple[Path, Path], tmp_path: Path
) -> None:
    source, output = job
    changed = Path(shutil.copytree(source, tmp_path / "in2"))
    found = looked_at(output, changed)  # a path is part of what an input file is
    assert set(found.by_kind) == {"foreign_part"}
    assert found.units_missing == found.units
    assert found.rows_out == 19


def test_ids_that_stand_twice_in_the_input_are_a_note_with_both_places(tmp_path: Path) -> None:
    ids = {"a.parquet": ["x", "y", "z", "w", "y2"], "b.parquet": ["v", "y"]}
    source = write_inputs(tmp_path / "in", ids)
    write_output(source, tmp_path / "out")
    found = looked_at(tmp_path / "out", source)
    assert found.proven
    (note,) = found.notes
    assert note.startswith("1 rows of the input have the id of another one")
    assert f"'y' (row 1 of {source}/a.parquet and row 1 of {source}/b.parquet)" in note


def test_what_was_half_written_is_a_note(job: tuple[Path, Path]) -> None:
    source, output = job
    (output / "_writing.part-x.parquet").write_bytes(b"half")
    found = looked_at(output, source)
    assert found.proven
    assert "1 files were left half-written" in found.table()


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (None, "holds no _job.json"),
        ("{", "cannot be read"),
        (json.dumps({"schema_version": 0}), "schema version 0"),
        (json.dumps({"schema_version": SCHEMA_VERSION}), "does not say how the input was cut"),
    ],
)
def test_what_is_not_an_output_is_refused(
    job: tuple[Path, Path], record: str | None, said: str
) -> None:
    source, output = job
    (output / JOB_FILE).unlink()
    if record is not None:
        (output / JOB_FILE).write_text(record)
    with pytest.raises(DataError, match=said):
        looked_at(output, source)


def test_a_missing_input_is_refused(job: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        looked_at(job[1], tmp_path / "nowhere")


def test_the_verb_prints_and_ends_with_the_code_for_data(
    job: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = job
    with pytest.raises(SystemExit) as ended:
        cli.main(["verify", str(output), str(source)])
    assert ended.value.code == 0
    assert "proven: each of the 19 rows" in capsys.readouterr().out
    parts(output)[0].unlink()
    with pytest.raises(SystemExit) as ended:
        cli.main(["verify", str(output), str(source), "--json"])
    assert ended.value.code == 3
    said = json.loads(capsys.readouterr().out)
    assert said["proven"] is False
    assert said["units_missing"] == 1
    assert not ray_asr.verify(output, source).proven
