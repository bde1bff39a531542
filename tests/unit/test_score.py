"""Scoring transcripts against references."""

from __future__ import annotations

import json
import math
from pathlib import Path

import jiwer
import kaldialign
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_asr.errors import ConfigError
from ray_asr.results import score as score_module
from ray_asr.results import tally as tally_module
from ray_asr.results.normalize import words
from ray_asr.results.score import ErrorCounts, GroupScore, normalize, score
from ray_asr.schema import Provenance, Transcript, transcripts_to_table
from tests.scored import fails, write

SENTENCES = st.lists(
    st.lists(st.sampled_from(["one", "two", "don't", "四", "五六", "x"]), max_size=6).map(" ".join),
    max_size=8,
)


def test_hand_computed_example(tmp_path: Path) -> None:
    output = write(
        tmp_path,
        [
            # "now" added, sat→sad, "the" lost: in characters, blanks aside, 3 + 1 + 3 errors in 17.
            {"text": "Now, the cat sad on mat.", "reference_text": "the cat sat on the mat"},
            {"text": "Hello world", "reference_text": "hello world"},
        ],
    )
    found = score(output)
    assert found.wer == ErrorCounts(hits=6, substitutions=1, deletions=1, insertions=1)
    assert found.wer.reference_units == 8
    assert found.wer.rate == 3 / 8
    assert found.cer.reference_units == 17 + 10
    assert found.cer.errors == 7
    assert found.rows_scored == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don\u2019t STOP!", "don't stop"),
        ("'quoted' dogs' o'clock ''", "quoted dogs o'clock"),
        ("\uff28\uff45\uff4c\uff4c\uff4f\uff0c  w\u3000orld", "hello w orld"),
        ("twenty-one, e.g. 3.5 %", "twenty one e g 3 5"),
        ("\u4f60\u597d\uff0c\u4e16\u754c\u3002", "\u4f60\u597d \u4e16\u754c"),
        (" \n...", ""),
    ],
)
def test_normalize(text: str, expected: str) -> None:
    assert normalize(text) == expected


@settings(max_examples=150, deadline=None)
@given(st.text())
def test_normalize_changes_nothing_twice(text: str) -> None:
    assert normalize(normalize(text)) == normalize(text)


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("auto", ["\u4f60", "\u597d", "hi", "\u4e16"]),
        ("word", ["\u4f60\u597dhi", "\u4e16"]),
        ("char", ["\u4f60", "\u597d", "h", "i", "\u4e16"]),
    ],
)
def test_what_a_word_is(unit: score_module.Unit, expected: list[str]) -> None:
    assert words("\u4f60\u597dhi \u4e16", unit) == expected


def test_chinese_words_are_characters_unless_told_otherwise(tmp_path: Path) -> None:
    output = write(
        tmp_path,
        [{"text": "\u4eca\u5929\u5929\u6c14", "reference_text": "\u4eca\u65e5\u5929\u6c14"}],
    )
    assert score(output).wer == ErrorCounts(hits=3, substitutions=1)
    assert score(output, unit="word").wer == ErrorCounts(substitutions=1)
    assert score(output, unit="char").wer == score(output).cer


@settings(max_examples=60, deadline=None)
@given(references=SENTENCES, texts=SENTENCES)
def test_counts_are_those_of_jiwer(
    references: list[str], texts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    pairs = list(zip(references, texts, strict=False))
    pairs += [("one", "one")]
    output = write(
        tmp_path_factory.mktemp("run"), [{"reference_text": r, "text": t} for r, t in pairs]
    )
    found = score(output, unit="word")
    expected = jiwer.process_words([r for r, _ in pairs], [t for _, t in pairs])
    blankless = [["".join(text.split()) for text in side] for side in zip(*pairs, strict=True)]
    characters = jiwer.process_characters(*blankless)
    for counts, by_jiwer in ((found.wer, expected), (found.cer, characters)):
        assert counts == ErrorCounts(
            by_jiwer.hits, by_jiwer.substitutions, by_jiwer.deletions, by_jiwer.insertions
        )
    assert found.wer.rate == pytest.approx(expected.wer)


@settings(max_examples=60, deadline=None)
@given(
    sets=st.lists(st.sampled_from(["set a", "set b", None]), min_size=1, max_size=8),
    data=st.data(),
)
def test_groups_add_up_to_the_whole(
    sets: list[str | None], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    sentence = st.sampled_from(["", "one", "one two", "three one two"])
    rows = [
        {"set": name, "text": data.draw(sentence), "reference_text": data.draw(sentence)}
        for name in sets
    ]
    found = score(write(tmp_path_factory.mktemp("run"), rows), by=["set", "status"])
    whole = GroupScore(found.rows_scored, found.wer, found.cer)
    for groups in found.groups.values():
        assert sum(groups.values(), GroupScore()) == whole
    assert set(found.groups["set"]) == {name or "(none)" for name in sets}


def test_failed_and_silent_rows_lose_all_their_words(tmp_path: Path) -> None:
    output = write(
        tmp_path,
        [
            {"status": "failed", "text": "", "reference_text": "one two"},
            {"status": "no_speech", "text": "", "reference_text": "three"},
            {"status": "failed", "text": "never said", "reference_text": ""},
        ],
    )
    found = score(output)
    assert found.wer == ErrorCounts(deletions=3)
    assert found.wer.rate == 1.0
    assert (found.rows_failed, found.rows_no_speech, found.rows_scored) == (2, 1, 3)


def test_empty_reference_counts_insertions_and_null_is_unscored(tmp_path: Path) -> None:
    output = write(
        tmp_path,
        [
            {"text": "a cough", "reference_text": ""},
            {"text": "anything", "reference_text": None},
            {"text": None, "reference_text": "..."},
        ],
    )
    found = score(output)
    assert found.wer == ErrorCounts(insertions=2)
    assert math.isnan(found.wer.rate)
    assert (found.rows_scored, found.rows_unscored) == (2, 1)
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["wer"]["rate"] is None
    assert " - " in found.table()


def test_separate_references_are_matched_by_id_and_all_count(tmp_path: Path) -> None:
    output = write(tmp_path / "run", [{"text": "one"}, {"text": "two"}, {"text": "three"}])
    reference = write(
        tmp_path / "references",
        [
            {"utterance_id": 2, "reference_text": "three"},
            {"utterance_id": 0, "reference_text": "on"},
            {"utterance_id": 9, "reference_text": "never transcribed"},
            {"utterance_id": 8, "reference_text": None},
        ],
    )
    found = score(output, reference, by=["status"])
    assert found.wer == ErrorCounts(hits=1, substitutions=1, deletions=2)
    assert (found.rows_scored, found.rows_unscored, found.rows_missing) == (3, 1, 1)
    assert found.groups["status"]["(no transcript)"].wer == ErrorCounts(deletions=2)
    assert score(output, f"{reference}/part-0.parquet") == score(output, reference)


def test_reference_file_wins_over_the_outputs_own_column(tmp_path: Path) -> None:
    output = write(tmp_path / "run", [{"text": "one", "reference_text": "zero"}])
    reference = write(tmp_path / "references", [{"reference_text": "one"}])
    assert score(output, reference).wer.errors == 0


def test_parts_may_differ_in_columns_and_hidden_files_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, [{"text": "one", "reference_text": "one", "set": "a"}], "part-1")
    write(tmp_path, [{"text": "two"}], "part-0")
    write(tmp_path, [{"text": "lost", "reference_text": "one"}], ".part-2")
    write(tmp_path / "_runs", [{"text": "lost", "reference_text": "one"}])
    (tmp_path / "_job.json").write_text("{}")
    found = score(str(tmp_path), by=["set"])
    assert (found.rows_scored, found.rows_unscored) == (1, 1)
    assert found.groups["set"]["a"].wer == ErrorCounts(hits=1)


def test_paths_may_be_relative_or_uris(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = write(tmp_path / "run", [{"text": "one", "reference_text": "one"}])
    monkeypatch.chdir(output)
    assert score(".") == score("../run/") == score(Path(output).as_uri()) == score(output)


def test_rows_of_the_data_contract_are_scored(tmp_path: Path) -> None:
    transcripts = [Transcript("a", "ok", "one two"), Transcript("b", "failed", error_code="x")]
    table = transcripts_to_table(transcripts, Provenance("model", "1", "print"))
    table = table.append_column("reference_text", pa.array(["one two", "three"]))
    pq.write_table(table, tmp_path / "part-0.parquet")
    found = score(str(tmp_path), by=["model_id"])
    assert found.wer == ErrorCounts(hits=2, deletions=1)
    assert list(found.groups["model_id"]) == ["model"]


def test_more_rows_than_a_batch(tmp_path: Path) -> None:
    rows = [{"text": "one", "reference_text": "one two"}] * 1300
    assert score(write(tmp_path, rows)).wer == ErrorCounts(hits=1300, deletions=1300)


def test_table_names_every_group(tmp_path: Path) -> None:
    rows = [{"text": "one", "reference_text": "two", "set": "a"}]
    table = score(write(tmp_path, rows), by=["set"]).table()
    assert "100.00 %" in table
    assert "set=a" in table


def test_what_cannot_be_scored_says_what_to_do(tmp_path: Path) -> None:
    output = write(tmp_path / "run", [{"text": "one", "reference_text": "one"}])
    bare = write(tmp_path / "bare", [{"text": "one"}])
    null = write(tmp_path / "null", [{"text": "one", "reference_text": None}])
    other = write(tmp_path / "other", [{"utterance_id": "x", "reference_text": "one"}])
    (tmp_path / "empty").mkdir()
    fails("does not exist; check the path", str(tmp_path / "nowhere"))
    fails("holds no .parquet files; give", str(tmp_path / "empty"))
    fails("check the path", "nosuch://bucket/run")
    fails("no column 'reference_text', only utterance_id, status, text; give a", bare)
    fails("none of the 1 rows of .* has a reference; give a", null)
    fails("no column 'set', only utterance_id, status, text, reference_text", output, by=["set"])
    fails("no column 'text', only .*; give the folder", other)
    fails("no column 'reference_text'.*; give a", output, bare)
    fails(r"no utterance_id .*the first one is 'x'\); give", bare, other)
    with pytest.raises(ConfigError, match="auto, word, char"):
        score(output, unit="syllable")  # type: ignore[arg-type]


def test_ambiguous_references_are_refused(tmp_path: Path) -> None:
    twice = [{"utterance_id": "a", "text": "x", "reference_text": text} for text in ("x", "y")]
    both = write(tmp_path / "both", twice)
    one = write(tmp_path / "one", twice[:1])
    fails("two texts for utterance_id a", one, both)
    fails("utterance_id a twice", both, one)


def test_broken_part_file_is_named(tmp_path: Path) -> None:
    output = write(tmp_path, [{"text": "one", "reference_text": "one"}])
    (tmp_path / "part-1.parquet").write_bytes(b"not parquet")
    fails("part-1.parquet cannot be read", output)


# --- what an error rate is called and how it is shown


@pytest.mark.parametrize(
    ("reference", "unit", "metric"),
    [
        ("one two", "auto", "WER"),
        ("今天天气", "auto", "CER"),
        ("打开 gps", "auto", "MER"),
        ("", "auto", "WER"),
        ("one two", "char", "CER"),
        ("今天 天气", "word", "WER"),
    ],
)
def test_the_unit_is_chosen_by_the_references_and_said(
    reference: str, unit: score_module.Unit, metric: str, tmp_path: Path
) -> None:
    found = score(write(tmp_path, [{"text": "x", "reference_text": reference}]), unit=unit)
    assert found.metric == found.to_dict()["metric"] == metric
    assert f"{metric}: errors per " in found.table()
    assert found.table().splitlines()[0].count("CER") == 1


def test_what_was_done_to_texts_is_said(tmp_path: Path) -> None:
    output = write(tmp_path, [{"text": "Uh, Colour!", "reference_text": "color"}])
    plain = score(output)
    assert plain.wer == ErrorCounts(substitutions=1, insertions=1)
    assert "compared after: Unicode NFKC; lower case; punctuation to blanks" in plain.table()
    other = score(output, normalize="basic,fillers", replacements={"colour": "color"})
    assert other.wer == ErrorCounts(hits=1)
    assert "; 1 replacements; no hesitations" in other.table()
    told = other.to_dict()
    assert told["normalization"] == ["nfkc", "case", "punctuation", "fillers"]
    assert told["replacements"] == 1
    nothing = score(output, normalize="none")
    assert nothing.wer == ErrorCounts(substitutions=1, insertions=1)
    assert "compared after: nothing, split at blanks" in nothing.table()


@settings(max_examples=40)
@given(references=SENTENCES, texts=SENTENCES, normalize_=st.sampled_from(["none", "basic"]))
def test_counts_are_those_of_kaldialign(
    references: list[str], texts: list[str], normalize_: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    pairs = [*zip(references, texts, strict=False), ("one", "one")]
    output = write(
        tmp_path_factory.mktemp("run"), [{"reference_text": r, "text": t} for r, t in pairs]
    )
    found = score(output, normalize=normalize_)
    for counts, unit in ((found.wer, "auto"), (found.cer, "char")):
        sides = [[words(text, unit) for text in side] for side in zip(*pairs, strict=True)]
        expected = kaldialign.batch_error_rate(*sides)
        assert counts.errors == expected["total"]
        assert counts.reference_units == expected["ref_len"]


def test_a_table_has_no_orders_and_no_line_of_others(tmp_path: Path) -> None:
    rows = [
        {
            "utterance_id": "id\n\x1b[2Jforged line", "text": "\x1b]0;title\x07",
            "set": "a\nb\x1b[31m", "reference_text": "\u202ewhat\x00",
        }
    ]  # fmt: skip
    found = score(write(tmp_path, rows), by=["set"], worst=1, normalize="none")
    assert not set(found.table()) & set("\x1b\x07\x00\u202e")
    assert not any(line.startswith(("forged", "b")) for line in found.table().splitlines())
    json.loads(json.dumps(found.to_dict(), allow_nan=False))


def test_a_column_of_many_values_is_shown_in_part_and_given_whole(tmp_path: Path) -> None:
    rows = [{"text": "a", "reference_text": "a", "set": f"s{n:03}"} for n in range(120)]
    rows += [{"text": "a", "reference_text": "a", "set": "s119"}]
    found = score(write(tmp_path, rows), by=["set"])
    assert len(found.groups["set"]) == 120
    assert "s119" in found.table()
    assert "set: 70 more values are in the JSON" in found.table()


def test_more_values_than_can_be_kept_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tally_module, "MOST_VALUES", 9)
    rows = [{"text": "a", "reference_text": "a"}] * 10
    fails(
        "'utterance_id' has more than 9 values; group", write(tmp_path, rows), by=["utterance_id"]
    )


def test_a_column_of_too_many_values_has_no_intervals_but_all_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        {"text": "a b" if n % 3 else "a c", "reference_text": "a b", "set": f"s{n % 8}"}
        for n in range(200)
    ]
    output = write(tmp_path, rows)
    whole = score(output, by=["set", "status"])
    assert all(group.wer_interval for group in whole.groups["set"].values())
    monkeypatch.setattr(tally_module, "_MOST_SUMS", 7 * 4 * 1000)
    found = score(output, by=["set", "status"])
    assert not any(group.wer_interval for group in found.groups["set"].values())
    assert [g.wer for g in found.groups["set"].values()] == [
        g.wer for g in whole.groups["set"].values()
    ]
    assert found.groups["status"] == whole.groups["status"]


def test_columns_that_are_no_text_are_refused(tmp_path: Path) -> None:
    output = write(tmp_path / "run", [{"text": "one", "reference_text": "one"}])
    numbers = write(tmp_path / "numbers", [{"text": "one", "reference_text": 7}])
    fails("of row 0 is no text; give columns of text", numbers)
    fails("of reference .* is no text .*; give a column of text", output, numbers)
    broken = pa.array([b"\xff\xfe"]).cast(pa.binary()).view(pa.string())
    table = pa.table({"utterance_id": ["0"], "text": ["one"], "reference_text": broken})
    pq.write_table(table, tmp_path / "broken.parquet")
    fails("broken.parquet cannot be read", str(tmp_path / "broken.parquet"))
    fails("broken.parquet cannot be read", output, str(tmp_path / "broken.parquet"))


def test_a_hostile_id_is_one_id(tmp_path: Path) -> None:
    ids = ["", "a\x00b", "../../x", "\u202e", "x" * 10_000, "'; drop", "0"]
    rows = [{"utterance_id": id_, "text": "one", "reference_text": "one"} for id_ in ids]
    output = write(tmp_path / "run", rows)
    found = score(output, output, by=["utterance_id"])
    assert found.wer == ErrorCounts(hits=7)
    assert set(found.groups["utterance_id"]) == set(ids)
