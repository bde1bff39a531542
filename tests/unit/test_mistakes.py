"""The most frequent mistakes, and the rows with most of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ray_asr.errors import ConfigError
from ray_asr.results import mistakes as mistakes_module
from ray_asr.results.align import align
from ray_asr.results.mistakes import Confusions, Mistakes
from ray_asr.results.score import ErrorCounts, score
from tests.scored import write


def test_the_most_frequent_mistakes_come_first(tmp_path: Path) -> None:
    rows = [
        {"text": "a sad cat", "reference_text": "the sat cat"},
        {"text": "a cat dog", "reference_text": "the cat"},
        {"text": "cat", "reference_text": "the cat"},
    ]
    found = score(write(tmp_path, rows)).confusions
    assert found.substitutions == (("the", "a", 2), ("sat", "sad", 1))
    assert found.deletions == (("the", 1),)
    assert found.insertions == (("dog", 1),)
    assert found.is_exact
    output = str(tmp_path)
    assert score(output, confusions=1).confusions.substitutions == (("the", "a", 2),)
    assert score(output, confusions=0).confusions == Confusions()
    assert "the → a" in score(output).table()
    assert score(output).to_dict()["confusions"]["substitutions"][0] == {
        "reference": "the", "text": "a", "count": 2
    }  # fmt: skip


def test_the_worst_rows_are_shown_word_above_word(tmp_path: Path) -> None:
    rows = [
        {"utterance_id": "fine", "text": "one two", "reference_text": "one two"},
        {"utterance_id": "bad", "text": "on two 三 end more", "reference_text": "one two 四 end"},
        {"utterance_id": "lost", "status": "failed", "text": "", "reference_text": "one two"},
        {"utterance_id": "odd", "text": "two", "reference_text": "one"},
    ]
    found = score(write(tmp_path, rows), worst=3)
    assert [row.utterance_id for row in found.worst] == ["bad", "lost", "odd"]
    assert found.worst[0].counts == ErrorCounts(2, 2, 0, 1)
    assert found.worst[0].pairs == (
        ("one", "on"), ("two", "two"), ("四", "三"), ("end", "end"), ("", "more")
    )  # fmt: skip
    lines = found.table().splitlines()
    said = next(n for n, line in enumerate(lines) if line.startswith("bad: 3 errors in 4"))
    assert lines[said + 2 : said + 4] == [
        "said        one  two  四  end  ***",
        "recognized  on   two  三  end  more",
    ]
    assert "lost: 2 errors in 2, failed" in lines
    assert found.to_dict()["worst"][0]["reference"] == ["one", "two", "四", "end", ""]
    assert score(str(tmp_path)).worst == ()


def test_a_long_worst_row_is_shown_from_its_first_error_on(tmp_path: Path) -> None:
    reference = " ".join(["a"] * 500 + ["b"] * 500)
    text = " ".join(["a"] * 500 + ["c" * 100] * 500)
    (row,) = score(write(tmp_path, [{"text": text, "reference_text": reference}]), worst=1).worst
    assert row.counts.errors == 500
    assert row.pairs[:7] == (("…", "…"), *[("a", "a")] * 5, ("b", "c" * 39 + "…"))
    assert row.pairs[-1] == ("…", "…")
    assert len(row.pairs) == 81


@pytest.mark.parametrize("given", [{"worst": -1}, {"worst": 1001}, {"confusions": 10_001}])
def test_more_than_is_kept_is_refused(given: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="use 0 for none, or up to"):
        score(str(tmp_path), **given)  # type: ignore[arg-type]


def test_different_mistakes_without_end_are_kept_in_bounded_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mistakes_module, "_MOST_KEPT", 50)
    mistakes = Mistakes(confusions=2, worst=3)
    for number in range(2000):
        said, heard = (["the"], ["a"]) if number % 4 == 0 else ([f"w{number}"], [f"x{number}"])
        found = align(said, heard)
        mistakes.add(str(number), "ok", said, heard, found, found.counts())
    found = mistakes.confusions()
    assert found.substitutions[0] == ("the", "a", 500)
    assert not found.is_exact
    assert len(mistakes._substituted.counts) <= 100
    assert [row.utterance_id for row in mistakes.worst()] == ["0", "1", "2"]
