"""How sure an error rate is, and an output beside another one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from ray_asr.results.score import score
from tests.scored import fails, uneven, write


def test_intervals_hold_their_rates_and_repeat_with_their_seed(tmp_path: Path) -> None:
    output = write(tmp_path, uneven(700))
    found = score(output, by=["speaker"])
    for group in (found.total, *found.groups["speaker"].values()):
        for counts, interval in ((group.wer, group.wer_interval), (group.cer, group.cer_interval)):
            assert interval is not None
            assert interval.low < counts.rate < interval.high
    assert score(output, by=["speaker"]) == found
    assert score(output, seed=1).wer_interval != found.wer_interval
    narrow = score(output, confidence=0.5).wer_interval
    assert narrow is not None
    assert found.wer_interval is not None
    assert found.wer_interval.low < narrow.low < narrow.high < found.wer_interval.high
    assert "95 % interval" in found.table()
    assert "1,000 resamples of rows, seed 0" in found.table()
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["bootstrap"] == {"samples": 1000, "confidence": 0.95, "seed": 0, "by": None}
    assert told["wer"]["interval"]["low"] == found.wer_interval.low
    none = score(output, bootstrap_samples=0)
    assert none.wer_interval is None
    assert none.wer == found.wer
    assert "interval" not in none.table()


def test_an_interval_is_that_of_the_bootstrap_by_hand(tmp_path: Path) -> None:
    rows = uneven(400)
    found = score(write(tmp_path, rows), bootstrap_samples=4000).wer_interval
    errors = np.array([str(row["text"]).count("x") for row in rows])
    units = np.array([len(str(row["reference_text"]).split()) for row in rows])
    drawn = np.random.default_rng(1).integers(0, 400, (4000, 400))
    low, high = np.quantile(errors[drawn].sum(1) / units[drawn].sum(1), [0.025, 0.975])
    assert found is not None
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.06 * (high - low))


def test_parts_in_another_order_and_number_change_nothing_by_speaker(tmp_path: Path) -> None:
    rows = uneven(300)
    one = write(tmp_path / "one", rows)
    for number, start in enumerate((200, 0, 100)):
        write(tmp_path / "many", rows[start : start + 100], f"part-{number}")
    by_speaker = score(one, bootstrap_by="speaker")
    assert (
        by_speaker.wer_interval
        == score(str(tmp_path / "many"), bootstrap_by="speaker").wer_interval
    )
    assert by_speaker.wer_interval != score(one).wer_interval
    assert "resamples of all rows of a speaker" in by_speaker.table()


def test_rows_without_a_speaker_are_drawn_one_by_one(tmp_path: Path) -> None:
    rows = uneven(300)
    nobody = write(tmp_path / "nobody", [{**row, "speaker": None} for row in rows])
    table = pq.read_table(f"{nobody}/part-0.parquet")
    assert score(nobody, bootstrap_by="speaker").wer_interval == score(nobody).wer_interval
    assert table.column("speaker").null_count == 300


# --- beside another output


def test_an_output_is_compared_with_another_row_by_row(tmp_path: Path) -> None:
    here = uneven(400)
    there = [{**row, "utterance_id": str(n)} for n, row in enumerate(uneven(400, worse=9))]
    one, other = write(tmp_path / "one", here), write(tmp_path / "other", there[::-1])
    found = score(one, against=other)
    compared = found.comparison
    assert compared is not None
    assert found.wer == score(one).wer
    assert compared.wer.rate == found.wer.rate
    assert compared.wer.other_rate == score(other).wer.rate
    assert compared.wer.difference == pytest.approx(found.wer.rate - score(other).wer.rate)
    errors = [np.array([str(row["text"]).count("x") for row in side]) for side in (here, there)]
    assert compared.rows_better == (errors[0] < errors[1]).sum()
    assert (compared.rows, compared.rows_worse) == (400, 0)
    units = np.array([len(str(row["reference_text"]).split()) for row in here])
    drawn = np.random.default_rng(1).integers(0, 400, (4000, 400))
    differences = (errors[0] - errors[1])[drawn].sum(1) / units[drawn].sum(1)
    low, high = np.quantile(differences, [0.025, 0.975])
    interval = compared.wer.interval
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.1 * (high - low))
    assert interval.high < 0
    assert (compared.wer.better, compared.wer.worse) == (1.0, 0.0)
    assert "400 rows of both, better in" in found.table()
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))["comparison"]
    assert told["wer"]["difference"] == compared.wer.difference
    back = score(other, against=one).comparison
    assert back is not None
    assert back.wer.difference == -compared.wer.difference


def test_an_output_beside_itself_is_neither_better_nor_worse(tmp_path: Path) -> None:
    output = write(tmp_path, uneven(100))
    found = score(output, against=output, bootstrap_samples=0).comparison
    assert found is not None
    assert (found.wer.difference, found.wer.interval, found.wer.better) == (0.0, None, None)
    found = score(output, against=output).comparison
    assert found is not None
    assert found.wer.interval is None
    assert (found.wer.better, found.wer.worse) == (0.0, 0.0)


def test_rows_of_one_output_alone_are_counted_and_left_out(tmp_path: Path) -> None:
    rows = [
        {"utterance_id": name, "text": text, "reference_text": "one"}
        for name, text in (("a", "one"), ("b", "two"), ("", "x"), ("", "y"), ("c", "one"))
    ]
    one, other = write(tmp_path / "one", rows), write(tmp_path / "other", rows[1:])
    found = score(one, against=other).comparison
    assert found is not None
    assert (found.rows, found.rows_only_here, found.rows_only_there) == (2, 1, 0)
    back = score(other, against=one).comparison
    assert back is not None
    assert (back.rows, back.rows_only_here, back.rows_only_there) == (2, 0, 1)
    reference = write(
        tmp_path / "references",
        [{"utterance_id": name, "reference_text": "one"} for name in ("a", "b", "lost")],
    )
    found = score(one, reference, against=other).comparison
    assert found is not None
    # What neither has a transcript of is wrong in both; "a" has none there, and is wrong there.
    assert (found.rows, found.rows_better, found.rows_worse) == (3, 1, 0)


def test_outputs_that_cannot_be_compared_say_why(tmp_path: Path) -> None:
    rows = [{"text": "one", "reference_text": "one"}]
    one = write(tmp_path / "one", rows)
    foreign = write(tmp_path / "foreign", [{"utterance_id": "x", **rows[0]}])
    longer = write(tmp_path / "longer", [{"text": "one", "reference_text": "one two"}])
    twice = write(tmp_path / "twice", [{"utterance_id": "0", **rows[0]}] * 2)
    fails("has a score of none of these rows; compare outputs of one input", one, against=foreign)
    fails("other references for the same rows: give both the same", one, against=longer)
    fails("twice has an utterance_id twice", one, against=twice)
    fails("the output has an utterance_id twice", twice, against=one)
    fails("output to compare with .*nowhere does not exist", one, against=str(tmp_path / "nowhere"))
