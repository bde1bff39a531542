from __future__ import annotations

import os
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_asr.config import Config, with_settings
from ray_asr.corpus.units import (
    MIB,
    Unit,
    bundle,
    cut_file,
    input_units,
    list_input,
    list_units,
)
from ray_asr.errors import DataError
from tests.fakes import write_input

PROPERTY = settings(max_examples=50, deadline=None, database=None)
LOCAL = pafs.LocalFileSystem()
FILE = pafs.FileInfo("in/a.parquet", pafs.FileType.File, size=1000, mtime_ns=123)
# A row group without rows weighs nothing.
GROUP = st.tuples(st.integers(0, 40), st.integers(0, 1000)).map(lambda g: g if g[0] else (0, 0))
GROUPS = st.lists(GROUP, max_size=12)
UNIT_BYTES = st.integers(1, 700)


def cover(units: list[Unit], groups: list[tuple[int, int]]) -> list[int]:
    """The rows of the file, counted from its first, that the units stand for, in their order."""
    firsts = [sum(rows for rows, _ in groups[:i]) for i in range(len(groups) + 1)]
    rows: list[int] = []
    for unit in units:
        first, last = unit.row_groups
        assert 0 <= unit.rows[0] < unit.rows[1] <= firsts[last] - firsts[first]
        rows.extend(range(firsts[first] + unit.rows[0], firsts[first] + unit.rows[1]))
    return rows


@PROPERTY
@given(GROUPS, UNIT_BYTES)
def test_units_hold_every_row_exactly_once_in_order(
    groups: list[tuple[int, int]], unit_bytes: int
) -> None:
    units = cut_file(FILE, groups, unit_bytes)
    assert cover(units, groups) == list(range(sum(rows for rows, _ in groups)))
    assert sum(unit.num_rows for unit in units) == sum(rows for rows, _ in groups)


@PROPERTY
@given(GROUPS, UNIT_BYTES)
def test_a_unit_stays_within_its_bytes_unless_it_is_one_row(
    groups: list[tuple[int, int]], unit_bytes: int
) -> None:
    for unit in cut_file(FILE, groups, unit_bytes):
        assert unit.audio_bytes <= unit_bytes or unit.num_rows == 1


def test_an_uneven_slice_stays_within_the_bytes_too() -> None:
    units = cut_file(FILE, [(5, 500)], 250)
    assert [unit.num_rows for unit in units if unit.num_rows * 100 > 250] == []


@PROPERTY
@given(GROUPS, UNIT_BYTES)
def test_part_names_are_unique_in_a_file(groups: list[tuple[int, int]], unit_bytes: int) -> None:
    names = [unit.part_name for unit in cut_file(FILE, groups, unit_bytes)]
    assert len(set(names)) == len(names)
    assert sorted(names) == names  # so that parts list in the order of the rows


@PROPERTY
@given(GROUPS, UNIT_BYTES)
def test_part_names_are_pure_functions_of_the_unit(
    groups: list[tuple[int, int]], unit_bytes: int
) -> None:
    units = cut_file(FILE, groups, unit_bytes)
    again = cut_file(
        pafs.FileInfo(FILE.path, FILE.type, size=FILE.size, mtime_ns=FILE.mtime_ns),
        groups,
        unit_bytes,
    )
    assert units == again
    assert [u.part_name for u in pickle.loads(pickle.dumps(units))] == [u.part_name for u in again]


def test_a_part_name_is_the_same_tomorrow() -> None:
    unit = Unit("in/a.parquet", 1000, 123, (0, 3), (0, 30), 999)
    assert unit.part_name == "part-" + unit.part_name[5:21] + "-00000-00003-0000000-0000030.parquet"
    assert unit.part_name[5:21] == "de4b901bf765f5c2"


@pytest.mark.parametrize(
    "other",
    [
        Unit("in/b.parquet", 1000, 123, (0, 3), (0, 30), 999),
        Unit("in/a.parquet", 1001, 123, (0, 3), (0, 30), 999),
        Unit("in/a.parquet", 1000, 124, (0, 3), (0, 30), 999),
        Unit("in/a.parquet", 1000, 123, (1, 3), (0, 30), 999),
        Unit("in/a.parquet", 1000, 123, (0, 2), (0, 30), 999),
        Unit("in/a.parquet", 1000, 123, (0, 3), (1, 30), 999),
        Unit("in/a.parquet", 1000, 123, (0, 3), (0, 29), 999),
    ],
)
def test_another_file_version_or_cut_is_another_part(other: Unit) -> None:
    assert other.part_name != Unit("in/a.parquet", 1000, 123, (0, 3), (0, 30), 999).part_name


@pytest.mark.parametrize(
    ("groups", "unit_bytes", "expected"),
    [
        ([], 100, []),
        ([(0, 0)], 100, []),
        ([(10, 50), (10, 50)], 100, [((0, 2), (0, 20))]),
        ([(10, 60), (10, 60)], 100, [((0, 1), (0, 10)), ((1, 2), (0, 10))]),
        ([(4, 200)], 100, [((0, 1), (0, 2)), ((0, 1), (2, 4))]),
        ([(2, 900)], 100, [((0, 1), (0, 1)), ((0, 1), (1, 2))]),
        ([(1, 900), (1, 10)], 100, [((0, 1), (0, 1)), ((1, 2), (0, 1))]),
        (
            [(1, 10), (4, 200), (1, 10)],
            100,
            [((0, 1), (0, 1)), ((1, 2), (0, 2)), ((1, 2), (2, 4)), ((2, 3), (0, 1))],
        ),
    ],
)
def test_cuts(
    groups: list[tuple[int, int]],
    unit_bytes: int,
    expected: list[tuple[tuple[int, int], tuple[int, int]]],
) -> None:
    assert [(u.row_groups, u.rows) for u in cut_file(FILE, groups, unit_bytes)] == expected


WEIGHTS = st.lists(st.integers(0, 3 * MIB), max_size=40)


@PROPERTY
@given(WEIGHTS, st.floats(0.1, 4))
def test_bundles_keep_all_units_in_order(weights: list[int], unit_mb: float) -> None:
    units = [Unit(str(n), 0, 0, (0, 1), (0, 1), weight) for n, weight in enumerate(weights)]
    bundles = bundle(units, unit_mb)
    assert [unit for of_task in bundles for unit in of_task] == units
    assert all(bundles)
    for of_task in bundles:
        assert len(of_task) == 1 or sum(u.audio_bytes for u in of_task) <= unit_mb * MIB


def test_many_small_files_are_read_by_few_tasks() -> None:
    units = [Unit(str(n), 0, 0, (0, 1), (0, 1), MIB // 100) for n in range(1000)]
    assert len(bundle(units, 1)) == 10


# --- files


def units_of(path: Path, unit_mb: float = 64.0) -> list[Unit]:
    return list_units(
        LOCAL, str(path), id_column="utterance_id", audio_column="audio", unit_mb=unit_mb
    )


def test_a_jobs_units_are_cut_as_its_settings_say(tmp_path: Path) -> None:
    table = pa.table({"key": [str(n) for n in range(10)], "wav": [os.urandom(1000)] * 10})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=1)
    settings = {"id_column": "key", "audio_column": "wav", "unit_mb": 0.004}
    filesystem, units = input_units(str(tmp_path), with_settings(Config(), settings))
    assert filesystem == LOCAL
    assert len(units) > 1
    assert sum(unit.num_rows for unit in units) == 10
    with pytest.raises(DataError, match='no column "utterance_id"'):
        input_units(str(tmp_path), Config())


def test_row_groups_of_any_size_are_covered(tmp_path: Path) -> None:
    for size in (1, 3, 100):
        write_input(tmp_path / f"{size}.parquet", [os.urandom(1000)] * 10, row_group_size=size)
    units = units_of(tmp_path, unit_mb=0.004)
    by_file = {
        name: [u for u in units if u.path.endswith(f"/{name}.parquet")] for name in (1, 3, 100)
    }
    for size, of_file in by_file.items():
        footer = pq.read_metadata(tmp_path / f"{size}.parquet")
        groups = [(footer.row_group(i).num_rows, 0) for i in range(footer.num_row_groups)]
        assert cover(of_file, groups) == list(range(10))


def test_a_unit_weighs_its_audio_alone(tmp_path: Path) -> None:
    audio = [os.urandom(5000) for _ in range(10)]
    notes = [os.urandom(5000) for _ in range(10)]
    for name, cells in (
        ("bytes", pa.array(audio)),
        ("struct", pa.array([{"bytes": a, "path": "x"} for a in audio])),
    ):
        write_input(tmp_path / f"{name}.parquet", cells, notes=notes)
        (unit,) = units_of(tmp_path / f"{name}.parquet")
        assert 50_000 <= unit.audio_bytes < 60_000


def test_audio_behind_paths_weighs_something(tmp_path: Path) -> None:
    write_input(tmp_path / "a.parquet", [f"{n}.wav" for n in range(1000)])
    assert len(units_of(tmp_path, unit_mb=10)) > 5


def test_audio_behind_paths_in_a_struct_weighs_something_too(tmp_path: Path) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = pa.array([{"bytes": None, "path": f"{n}.wav"} for n in range(1000)], kind)
    write_input(tmp_path / "a.parquet", cells)
    assert len(units_of(tmp_path, unit_mb=10)) > 5


def test_a_column_name_with_a_dot_is_weighed(tmp_path: Path) -> None:
    table = pa.table({"utterance_id": ["a"], "audio.bytes": [os.urandom(5000)]})
    pq.write_table(table, tmp_path / "a.parquet")
    (unit,) = list_units(
        LOCAL,
        str(tmp_path),
        id_column="utterance_id",
        audio_column="audio.bytes",
        unit_mb=64,
    )
    assert unit.audio_bytes >= 5000


def test_files_are_listed_by_name_at_any_depth(tmp_path: Path) -> None:
    for name in ("b.parquet", "a.parquet", "deep/er/c.parquet"):
        write_input(tmp_path / name, [b"x"])
    found = [Path(unit.path).relative_to(tmp_path).as_posix() for unit in units_of(tmp_path)]
    assert found == ["a.parquet", "b.parquet", "deep/er/c.parquet"]


def test_hidden_and_underscored_files_are_left_out(tmp_path: Path) -> None:
    for name in ("a.parquet", "_b.parquet", ".c.parquet", "_runs/d.parquet", "x/.y/e.parquet"):
        write_input(tmp_path / name, [b"x"])
    (tmp_path / "notes.txt").write_text("no input")
    assert [Path(file.path).name for file in list_input(LOCAL, str(tmp_path))] == ["a.parquet"]


def test_a_folder_below_a_hidden_one_is_input_when_it_is_named(tmp_path: Path) -> None:
    write_input(tmp_path / "_cache" / ".in" / "a.parquet", [b"x"])
    assert len(units_of(tmp_path / "_cache" / ".in")) == 1


def test_one_file_is_input_whatever_its_name(tmp_path: Path) -> None:
    path = write_input(tmp_path / "_shard.pq", [b"x", b"y"])
    assert [unit.num_rows for unit in units_of(path)] == [2]


def test_a_rewritten_file_is_another_unit(tmp_path: Path) -> None:
    path = write_input(tmp_path / "a.parquet", [b"x"])
    (before,) = units_of(path)
    assert units_of(path) == [before]
    os.utime(path, ns=(before.modified_ns, before.modified_ns + 1_000_000_000))
    (after,) = units_of(path)
    assert before.part_name != after.part_name


@pytest.mark.parametrize("missing", ["utterance_id", "audio"])
def test_a_missing_column_is_named_with_those_that_are_there(tmp_path: Path, missing: str) -> None:
    write_input(tmp_path / "a.parquet", [b"x"], note=["n"])
    columns = {"id_column": "utterance_id", "audio_column": "audio"}
    key = next(k for k, v in columns.items() if v == missing)
    with pytest.raises(DataError) as caught:
        list_units(LOCAL, str(tmp_path), **{**columns, key: "nope"}, unit_mb=1)
    assert 'no column "nope"' in str(caught.value)
    assert "utterance_id, audio, note" in str(caught.value)
    assert "a.parquet" in str(caught.value)


def test_an_audio_column_of_another_kind_is_refused(tmp_path: Path) -> None:
    write_input(tmp_path / "a.parquet", [1, 2])
    with pytest.raises(DataError, match="audio"):
        units_of(tmp_path)


def test_a_missing_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        units_of(tmp_path / "nothing")


def test_a_folder_without_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    with pytest.raises(DataError, match=r"no \.parquet file; .*ray-asr pack"):
        units_of(tmp_path)


def test_an_input_without_rows_is_refused(tmp_path: Path) -> None:
    write_input(tmp_path / "a.parquet", pa.array([], pa.binary()), ids=pa.array([], pa.string()))
    with pytest.raises(DataError, match="no rows"):
        units_of(tmp_path)


def test_an_empty_file_among_others_is_no_unit(tmp_path: Path) -> None:
    write_input(tmp_path / "a.parquet", pa.array([], pa.binary()), ids=pa.array([], pa.string()))
    write_input(tmp_path / "b.parquet", [b"x"])
    assert [Path(unit.path).name for unit in units_of(tmp_path)] == ["b.parquet"]


@pytest.mark.parametrize("data", [b"", b"PAR1", b"not parquet at all, but long enough to look at"])
def test_a_file_that_is_no_parquet_is_named(tmp_path: Path, data: bytes) -> None:
    write_input(tmp_path / "a.parquet", [b"x"])
    (tmp_path / "broken.parquet").write_bytes(data)
    with pytest.raises(DataError, match=r"broken\.parquet is not a readable Parquet file"):
        units_of(tmp_path)


def test_files_of_other_columns_or_types_are_read_by_other_tasks(tmp_path: Path) -> None:
    write_input(tmp_path / "a.parquet", [b"x"])
    write_input(tmp_path / "b.parquet", [b"x"])
    write_input(tmp_path / "c.parquet", [b"x"], take=[1])
    write_input(tmp_path / "d.parquet", [b"x"], take=["1"])
    bundles = bundle(units_of(tmp_path), 64.0)
    names = [[Path(unit.path).stem for unit in units] for units in bundles]
    assert names == [["a", "b"], ["c"], ["d"]]
