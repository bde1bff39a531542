"""Which rows are tried again, and how what comes of them gets into the parts that are there."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_asr.config import Config, to_dict
from ray_asr.corpus.resume import part_places
from ray_asr.corpus.rows import read_unit
from ray_asr.corpus.units import Unit
from ray_asr.errors import ConfigError, DataError, RayAsrError
from ray_asr.job.compact import compact
from ray_asr.job.parts import PartWriter
from ray_asr.job.retry import FailedRows, retry
from ray_asr.job.verify import verify
from ray_asr.schema import Transcript
from tests.outputs import (
    LOCAL,
    SETTINGS,
    parts,
    read,
    rows_of,
    transcript_of,
    units_of,
    write_inputs,
    write_output,
)

IDS = {f"{n}.parquet": [f"{n}-{row}" for row in range(13)] for n in range(3)}


@pytest.fixture(scope="module", params=["as written", "compacted"])
def whole(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """An input and a finished output, in small parts or joined; not to be changed."""
    root = tmp_path_factory.mktemp("whole")
    source = write_inputs(root / "in", IDS)
    write_output(source, root / "out")
    if request.param == "compacted":
        compact(str(root / "out"))
    return source, root / "out"


@pytest.fixture
def job(whole: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    return whole[0], Path(shutil.copytree(whole[1], tmp_path / "out"))


def better(utterance_id: str | None) -> Transcript:
    return Transcript(utterance_id or "", "ok", text=f"now {utterance_id}", duration_ms=7)


def replaced(output: Path, chosen: list[Unit]) -> None:
    """What a run of these rows leaves."""
    writer = PartWriter(LOCAL, str(output), chosen, places=part_places(LOCAL, str(output)))
    for number, unit in reversed(list(enumerate(chosen))):
        writer.add(rows_of(unit, number, better))
    writer.finish()


@settings(max_examples=20)
@given(data=st.data())
def test_chosen_rows_are_read_alone_under_their_own_numbers(
    whole: tuple[Path, Path], data: st.DataObject
) -> None:
    unit = data.draw(st.sampled_from(units_of(whole[0])))
    chosen = data.draw(st.sets(st.integers(0, unit.num_rows - 1), min_size=1).map(sorted))
    some = Unit(*unit_fields(unit), chosen=tuple(chosen))
    assert some.part_name == unit.part_name
    assert some.num_rows == len(chosen)
    rows = rows_of(some, 3)
    everything = rows_of(unit, 3)
    assert rows["_row"].to_pylist() == chosen
    assert rows.equals(everything.take(chosen))
    assert sum(batch.num_rows for batch in read_unit(LOCAL, some)) == len(chosen)


def unit_fields(unit: Unit) -> tuple[str, int, int, tuple[int, int], tuple[int, int], int]:
    return (
        unit.path, unit.size, unit.modified_ns, unit.row_groups, unit.rows, unit.audio_bytes,
    )  # fmt: skip


def test_row_groups_without_a_chosen_row_are_not_read(tmp_path: Path) -> None:
    source = write_inputs(tmp_path / "in", {"a.parquet": [str(n) for n in range(12)]})
    path = next(source.iterdir())
    unit = Unit(str(path), 1, 1, (0, 3), (0, 12), 10, chosen=(9, 11))
    footer = pq.read_metadata(path)
    data = bytearray(path.read_bytes())
    for group in (0, 1):
        chunk = footer.row_group(group).column(1)
        start = chunk.dictionary_page_offset or chunk.data_page_offset
        data[start : start + chunk.total_compressed_size] = bytes(chunk.total_compressed_size)
    path.write_bytes(data)
    (batch,) = read_unit(LOCAL, unit)
    assert batch["utterance_id"].to_pylist() == ["9", "11"]


@settings(max_examples=6)
@given(data=st.data())
def test_chosen_rows_are_replaced_and_all_others_stay(
    whole: tuple[Path, Path], data: st.DataObject
) -> None:
    source, before = whole
    chosen = []
    for unit in data.draw(st.lists(st.sampled_from(units_of(source)), min_size=1, unique=True)):
        rows = data.draw(st.sets(st.integers(0, unit.num_rows - 1), min_size=1).map(sorted))
        chosen.append(Unit(*unit_fields(unit), chosen=tuple(rows)))
    again = {
        utterance_id
        for unit in chosen
        for utterance_id in rows_of(unit, 0)["utterance_id"].to_pylist()
    }
    with tempfile.TemporaryDirectory() as folder:
        output = Path(shutil.copytree(before, f"{folder}/out"))
        replaced(output, chosen)
        assert [part.name for part in parts(output)] == [part.name for part in parts(before)]
        for old, new in zip(parts(before), parts(output), strict=True):
            was, now = pq.read_table(old), pq.read_table(new)
            assert now.schema.equals(was.schema, check_metadata=True)
            assert now["utterance_id"].equals(was["utterance_id"])
            tried = pc.is_in(now["utterance_id"], pa.array(sorted(again)))
            kept = pc.invert(tried)
            assert now.filter(kept).equals(was.filter(kept))
            assert now["take"].equals(was["take"])
            for row in now.filter(tried).to_pylist():
                assert row["text"] == f"now {row['utterance_id']}"
                assert row["duration_ms"] == 7
        assert verify(str(output), str(source)).proven


def test_rows_that_are_not_those_of_the_part_are_refused(job: tuple[Path, Path]) -> None:
    source, output = job
    before = read(output)
    unit = next(unit for unit in units_of(source) if unit.num_rows > 2)
    some = Unit(*unit_fields(unit), chosen=(1,))
    writer = PartWriter(LOCAL, str(output), [some], places=part_places(LOCAL, str(output)))
    rows = rows_of(Unit(*unit_fields(unit), chosen=(2,)), 0, better)
    wrong = rows.set_column(rows.column_names.index("_row"), "_row", pa.array([1], pa.int64()))
    with pytest.raises(RayAsrError, match="have other ids"):
        writer.add(wrong)
    assert read(output).equals(before)


def failed_ids() -> set[str]:
    return {i for ids in IDS.values() for i in ids if transcript_of(i).status == "failed"}


def chosen_ids(source: Path, output: Path, failed: FailedRows) -> set[str]:
    work = failed.choose(LOCAL, str(output), units_of(source), frozenset())
    assert work.rows_in == sum(unit.num_rows for unit in work.pending)
    return {i for unit in work.pending for i in rows_of(unit, 0)["utterance_id"].to_pylist()}


def test_failed_rows_are_found_and_no_others(job: tuple[Path, Path]) -> None:
    source, output = job
    failed = FailedRows(())
    assert failed_ids()
    assert chosen_ids(source, output, failed) == failed_ids()
    assert (failed.found, failed.skipped) == (len(failed_ids()), 0)


def test_only_codes_that_are_asked_for(job: tuple[Path, Path]) -> None:
    source, output = job
    assert chosen_ids(source, output, FailedRows(["worker_died"])) == failed_ids()
    assert chosen_ids(source, output, FailedRows(["audio_empty", "row_timeout"])) == set()


def test_rows_whose_input_has_changed_are_skipped_and_counted(
    job: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source, output = job
    changed = Path(shutil.copytree(source, tmp_path / "changed"))
    failed = FailedRows(())
    assert chosen_ids(changed, output, failed) == set()
    assert failed.found == failed.skipped == len(failed_ids())
    assert "has changed" in caplog.text


def test_a_part_that_cannot_be_read_is_named(job: tuple[Path, Path]) -> None:
    source, output = job
    part = parts(output)[0]
    part.write_bytes(b"no rows")
    with pytest.raises(DataError, match=part.name):
        chosen_ids(source, output, FailedRows(()))


def recorded(output: Path, source: str) -> None:
    """A run as `job.summary` records it."""
    run = output / "_runs" / "20260101T000000-000000"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(yaml.safe_dump(to_dict(Config())))
    record = {"source": source, "config_fingerprint": SETTINGS["config_fingerprint"]}
    (run / "run.json").write_text(json.dumps(record))


def same(config: Config) -> Config:
    return config


def test_a_code_that_is_none_is_refused(job: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigError, match=r'no error code "bad luck": use one of audio_missing'):
        retry(str(job[1]), same, codes=["bad luck"])


def test_what_is_not_an_output_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"_job\.json"):
        retry(str(tmp_path), same)


def test_an_output_that_does_not_say_how_it_was_made_is_refused(job: tuple[Path, Path]) -> None:
    with pytest.raises(DataError, match="does not say how it was made"):
        retry(str(job[1]), same)


def test_an_address_with_secrets_has_to_be_named_again(job: tuple[Path, Path]) -> None:
    recorded(job[1], "s3://***@bucket/shards")
    with pytest.raises(ConfigError, match="name it again with --input"):
        retry(str(job[1]), same)
