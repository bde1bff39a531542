"""Alignments, held against jiwer, kaldialign and themselves."""

from __future__ import annotations

import random
from collections.abc import Sequence

import jiwer
import kaldialign
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_asr.results import align as align_module
from ray_asr.results.align import Alignment, align
from ray_asr.results.counts import ErrorCounts

WORDS = st.lists(
    st.sampled_from(["one", "two", "don't", "四", "五六", "x", "\u0301", "🙂"]), max_size=30
)
# Anything that is left of a text that was split at blanks.
HOSTILE = st.lists(
    st.text(min_size=1, max_size=4).filter(
        lambda word: len(word.split()) == 1 and word == word.strip()
    ),
    max_size=12,
)


def made_from(reference: Sequence[str], text: Sequence[str], alignment: Alignment) -> list[str]:
    """The text that an alignment's steps make of a reference, each step held to its word."""
    made: list[str] = []
    at = text_at = 0
    for tag, start, end, text_start, text_end in alignment.steps:
        assert (start, text_start) == (at, text_at)
        lengths = (end - start, text_end - text_start)
        assert {
            "equal": lengths[0] == lengths[1] and reference[start:end] == text[text_start:text_end],
            "replace": lengths[0] == lengths[1],
            "delete": lengths[1] == 0,
            "insert": lengths[0] == 0,
        }[tag]
        made += reference[start:end] if tag == "equal" else text[text_start:text_end]
        at, text_at = end, text_end
    assert (at, text_at) == (len(reference), len(text))
    return made


@settings(max_examples=200)
@given(reference=WORDS | HOSTILE, text=WORDS | HOSTILE)
def test_counts_are_those_of_jiwer_and_of_kaldialign(reference: list[str], text: list[str]) -> None:
    found = align(reference, text)
    assert found.is_exact
    assert made_from(reference, text, found) == text
    counts = found.counts()
    by_kaldialign = kaldialign.edit_distance(reference, text)
    assert counts.errors == by_kaldialign["total"]
    assert counts.reference_units == by_kaldialign["ref_len"]
    apart = jiwer.Compose([jiwer.ReduceToListOfListOfWords()])
    by_jiwer = jiwer.process_words(" ".join(reference), " ".join(text), apart, apart)
    assert counts == ErrorCounts(
        by_jiwer.hits, by_jiwer.substitutions, by_jiwer.deletions, by_jiwer.insertions
    )


@settings(max_examples=100)
@given(reference=st.text(max_size=40), text=st.text(max_size=40))
def test_strings_are_aligned_by_their_characters(reference: str, text: str) -> None:
    found = align(reference, text)
    assert "".join(made_from(reference, text, found)) == text
    assert found.counts() == align(list(reference), list(text)).counts()
    assert found.counts().errors == kaldialign.edit_distance(reference, text)["total"]


@settings(max_examples=200)
@given(
    reference=st.lists(st.sampled_from("abcd"), max_size=60),
    text=st.lists(st.sampled_from("abcd"), max_size=60),
    most_cells=st.integers(1, 400),
)
def test_pieces_are_an_alignment_too_and_never_a_better_one(
    reference: list[str], text: list[str], most_cells: int
) -> None:
    exact, found = align(reference, text), align(reference, text, most_cells)
    assert made_from(reference, text, found) == text
    assert exact.counts().errors <= found.counts().errors <= max(len(reference), len(text))
    assert found.is_exact or len(reference) * len(text) > most_cells


def long_text(seed: int, words: int = 6000) -> tuple[list[str], list[str], int]:
    """A long text of few different words, what was heard of it, and at most how many errors."""
    draw = random.Random(seed)
    reference = [f"w{min(int(draw.expovariate(0.02)), 400)}" for _ in range(words)]
    text: list[str] = []
    errors = 0
    for word in reference:
        fate = draw.random()
        errors += fate < 0.15
        if fate < 0.05:
            text.append("other")
        elif fate < 0.10:
            text += [word, "more"]
        elif fate >= 0.15:
            text.append(word)
    return reference, text, errors


@pytest.mark.parametrize("seed", range(3))
def test_a_long_text_loses_next_to_nothing_by_its_pieces(seed: int) -> None:
    reference, text, errors = long_text(seed)
    exact = align(reference, text).counts().errors
    found = align(reference, text, most_cells=250_000)
    assert not found.is_exact
    assert exact <= errors
    assert exact <= found.counts().errors <= 1.005 * exact


def test_what_was_skipped_or_made_up_at_length_is_found_in_pieces_too() -> None:
    reference, text, _ = long_text(7)
    middle = len(text) // 2
    made_up = [f"x{n % 13}" for n in range(2500)]
    text = [*text[: middle - 700], *made_up, *text[middle + 700 :]]
    exact = align(reference, text).counts().errors
    found = align(reference, text, most_cells=250_000)
    assert not found.is_exact
    assert made_from(reference, text, found) == text
    assert found.counts().errors <= 1.02 * exact


def test_texts_with_nothing_in_common_are_wrong_throughout() -> None:
    reference, text = ["a"] * 3000, ["b"] * 5000
    found = align(reference, text, most_cells=10_000)
    assert found.counts() == ErrorCounts(substitutions=3000, insertions=2000)
    assert align(reference, [], most_cells=1).counts() == ErrorCounts(deletions=3000)
    assert align([], text, most_cells=1).counts() == ErrorCounts(insertions=5000)


@pytest.mark.parametrize("characters", [align_module._CHARACTERS, 1000])
def test_any_number_of_different_words(characters: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than there are before the halves of UTF-16 pairs; more than characters."""
    monkeypatch.setattr(align_module, "_CHARACTERS", characters)
    reference = [f"word {number}" for number in range(60_000)]
    text = [*reference[:100], *reference[101:57_000], "new", *reference[57_000:59_990], "x", "y"]
    found = align(reference, text)
    assert found.counts() == ErrorCounts(59_989, 2, 9, 1)
    in_pieces = align(reference, text, most_cells=10**7)
    assert not in_pieces.is_exact
    assert in_pieces.counts() == found.counts()


def test_equal_texts_take_no_time_however_long() -> None:
    text = ["a", "b"] * 500_000
    assert align(text, list(text)).counts() == ErrorCounts(hits=1_000_000)
    assert align([], []).steps == []


def test_texts_of_the_same_words_that_are_others_are_cut_where_it_harms_least() -> None:
    reference, text = long_text(1)[0], long_text(2)[0][:5000]
    exact = align(reference, text).counts().errors
    found = align(reference, text, most_cells=250_000)
    assert not found.is_exact
    assert made_from(reference, text, found) == text
    assert exact <= found.counts().errors <= min(1.05 * exact, len(reference))
