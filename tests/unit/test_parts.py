from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_asr.corpus.rows import ROW, UNIT
from ray_asr.corpus.units import Unit
from ray_asr.errors import RayAsrError
from ray_asr.job.parts import PartWriter, Tally
from ray_asr.schema import TRANSCRIPT_SCHEMA
from tests.fakes import transcript_rows

PROPERTY = settings(max_examples=25, deadline=None, database=None)
LOCAL = pafs.LocalFileSystem()
SIZES = st.lists(st.integers(1, 6), min_size=1, max_size=5)


def units_of(sizes: list[int]) -> list[Unit]:
    return [Unit(f"in/{n}.parquet", 10, 1, (0, 1), (0, rows), 10) for n, rows in enumerate(sizes)]


def rows_of(sizes: list[int]) -> list[tuple[int, int]]:
    return [(unit, row) for unit, rows in enumerate(sizes) for row in range(rows)]


def written(folder: str | Path) -> list[str]:
    return sorted(file.name for file in Path(folder).iterdir())


def add_in_pieces(writer: PartWriter, rows: list[tuple[int, int]], lengths: list[int]) -> None:
    """Rows cut into tables of these lengths, the last length as often as it takes."""
    start = 0
    while start < len(rows):
        length = lengths.pop(0) if lengths else 3
        writer.add(transcript_rows(rows[start : start + length]))
        start += length


@st.composite
def shuffled(draw: st.DrawFn) -> tuple[list[int], list[tuple[int, int]], list[int]]:
    """Sizes of units, all their rows in any order, and lengths to cut these into tables."""
    sizes = draw(SIZES)
    rows = draw(st.permutations(rows_of(sizes)))
    return sizes, list(rows), draw(st.lists(st.integers(1, 8), max_size=20))


@PROPERTY
@given(shuffled())
def test_tables_in_any_order_and_cut_give_whole_parts(
    case: tuple[list[int], list[tuple[int, int]], list[int]],
) -> None:
    sizes, rows, lengths = case
    units = units_of(sizes)
    with tempfile.TemporaryDirectory() as folder:
        writer = PartWriter(LOCAL, folder, units)
        add_in_pieces(writer, rows, lengths)
        writer.finish()
        assert written(folder) == sorted(unit.part_name for unit in units)
        for number, unit in enumerate(units):
            part = pq.read_table(f"{folder}/{unit.part_name}")
            assert part.column_names == [*TRANSCRIPT_SCHEMA.names, "take"]
            expected = [f"u{number}-r{row}" for row in range(sizes[number])]
            assert part["utterance_id"].to_pylist() == expected
            assert part["take"].to_pylist() == [100 * number + row for row in range(sizes[number])]
        assert writer.written == len(units)
        assert writer.received.rows == sum(sizes)
        assert writer.received.audio_ms == 1000 * sum(sizes)


@PROPERTY
@given(shuffled(), st.data())
def test_a_missing_row_raises_and_writes_nothing_of_its_unit(
    case: tuple[list[int], list[tuple[int, int]], list[int]], data: st.DataObject
) -> None:
    sizes, rows, lengths = case
    lost = data.draw(st.sampled_from(rows))
    units = units_of(sizes)
    with tempfile.TemporaryDirectory() as folder:
        writer = PartWriter(LOCAL, folder, units)
        add_in_pieces(writer, [row for row in rows if row != lost], lengths)
        with pytest.raises(RayAsrError, match="run the same command again"):
            writer.finish()
        others = [unit.part_name for n, unit in enumerate(units) if n != lost[0]]
        assert written(folder) == sorted(others)


@PROPERTY
@given(shuffled(), st.data())
def test_a_row_that_stands_for_another_raises_and_writes_nothing_of_its_unit(
    case: tuple[list[int], list[tuple[int, int]], list[int]], data: st.DataObject
) -> None:
    sizes, rows, lengths = case
    lost = data.draw(st.sampled_from(rows))
    row = data.draw(
        st.sampled_from([-1, *range(sizes[lost[0]] + 1)]).filter(lambda r: r != lost[1])
    )
    wrong = [(lost[0], row) if r == lost else r for r in rows]
    units = units_of(sizes)
    with tempfile.TemporaryDirectory() as folder:
        writer = PartWriter(LOCAL, folder, units)
        with pytest.raises(RayAsrError, match="fault in ray_asr"):
            add_in_pieces(writer, wrong, lengths)
        assert units[lost[0]].part_name not in written(folder)


@pytest.mark.parametrize("cut", [1, 2, 4])
def test_more_rows_than_a_unit_has_raise(tmp_path: Path, cut: int) -> None:
    writer = PartWriter(LOCAL, str(tmp_path), units_of([3]))
    rows = [(0, 0), (0, 1), (0, 1), (0, 2)]
    with pytest.raises(RayAsrError, match="fault in ray_asr"):
        add_in_pieces(writer, rows, [cut] * 4)
    assert written(tmp_path) == []


def test_a_row_that_comes_again_after_its_part_was_written_raises(tmp_path: Path) -> None:
    units = units_of([2, 1])
    writer = PartWriter(LOCAL, str(tmp_path), units)
    writer.add(transcript_rows([(0, 0), (0, 1)]))
    before = (tmp_path / units[0].part_name).read_bytes()
    with pytest.raises(RayAsrError, match="fault in ray_asr"):
        writer.add(transcript_rows([(0, 1), (1, 0)]))
    assert (tmp_path / units[0].part_name).read_bytes() == before


def test_a_unit_that_comes_twice_does_not_stand_for_one_that_is_missing(tmp_path: Path) -> None:
    writer = PartWriter(LOCAL, str(tmp_path), units_of([1, 1]))
    with pytest.raises(RayAsrError, match="fault in ray_asr"):
        add_in_pieces(writer, [(0, 0), (0, 0)], [1, 1])


def test_a_part_is_there_as_soon_as_its_unit_is_whole(tmp_path: Path) -> None:
    units = units_of([2, 2])
    writer = PartWriter(LOCAL, str(tmp_path), units)
    writer.add(transcript_rows([(0, 1), (1, 0)]))
    assert written(tmp_path) == []
    writer.add(transcript_rows([(0, 0)]))
    assert written(tmp_path) == [units[0].part_name]
    writer.add(transcript_rows([(1, 1)]))
    assert written(tmp_path) == sorted(unit.part_name for unit in units)


def test_the_error_says_how_many_units_are_missing(tmp_path: Path) -> None:
    writer = PartWriter(LOCAL, str(tmp_path), units_of([1, 1, 1]))
    writer.add(transcript_rows([(1, 0)]))
    with pytest.raises(RayAsrError, match="2 of 3 units"):
        writer.finish()


def test_no_units_are_done_at_once(tmp_path: Path) -> None:
    PartWriter(LOCAL, str(tmp_path), []).finish()
    assert written(tmp_path) == []


def test_a_table_without_rows_changes_nothing(tmp_path: Path) -> None:
    writer = PartWriter(LOCAL, str(tmp_path), units_of([1]))
    writer.add(transcript_rows([(0, 0)]).slice(0, 0))
    assert (writer.received.rows, writer.written) == (0, 0)


def test_writing_a_part_again_replaces_it(tmp_path: Path) -> None:
    for status in ("failed", "ok"):
        writer = PartWriter(LOCAL, str(tmp_path), units_of([2]))
        writer.add(transcript_rows([(0, 0), (0, 1)], status))
        writer.finish()
    assert len(written(tmp_path)) == 1
    assert pq.read_table(tmp_path)["status"].to_pylist() == ["ok", "ok"]


def test_columns_of_many_kinds_reach_the_part(tmp_path: Path) -> None:
    numbers = [(0, 2), (0, 0), (0, 1)]
    extra = {
        "category": pa.array(["x", "y", "x"]).dictionary_encode(),
        "nested": pa.array([[{"a": 1}], None, []], pa.list_(pa.struct([("a", pa.int8())]))),
        "nothing": pa.nulls(3),
    }
    table = transcript_rows(numbers)
    for name, column in extra.items():
        table = table.append_column(name, column)
    writer = PartWriter(LOCAL, str(tmp_path), units_of([3]))
    for start in range(3):
        writer.add(table.slice(start, 1))
    writer.finish()
    part = pq.read_table(tmp_path)
    for name, column in extra.items():
        values = column.to_pylist()
        assert part[name].to_pylist() == [values[1], values[2], values[0]]


def test_units_of_files_with_other_columns_stand_in_one_output(tmp_path: Path) -> None:
    units = units_of([1, 1])
    writer = PartWriter(LOCAL, str(tmp_path), units)
    writer.add(transcript_rows([(0, 0)]))
    writer.add(transcript_rows([(1, 0)]).drop_columns(["take"]))
    writer.finish()
    (tmp_path / "_runs").mkdir()
    (tmp_path / "_job.json").write_text("{}")
    rows = ds.dataset(tmp_path, format="parquet").to_table()
    assert sorted(rows["utterance_id"].to_pylist()) == ["u0-r0", "u1-r0"]
    assert not {UNIT, ROW} & set(rows.column_names)


def test_rows_of_a_unit_that_came_with_another_files_columns_are_one_part(tmp_path: Path) -> None:
    writer = PartWriter(LOCAL, str(tmp_path), units_of([2]))
    writer.add(transcript_rows([(0, 1)]))
    other = transcript_rows([(0, 0)])
    writer.add(other.append_column("theirs", pa.nulls(1, pa.string())))
    (part,) = tmp_path.glob("part-*")
    assert pq.read_table(part)["utterance_id"].to_pylist() == ["u0-r0", "u0-r1"]


def test_a_tally_counts_rows_by_status() -> None:
    tally = Tally()
    for status, count in (("ok", 3), ("failed", 1), ("no_speech", 2), ("ok", 1)):
        tally.add(transcript_rows([(0, n) for n in range(count)], status))
    assert tally.rows == 7
    assert tally.by_status == {"ok": 4, "no_speech": 2, "failed": 1}
    assert tally.audio_ms == 7000
