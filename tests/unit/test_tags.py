from __future__ import annotations

import pytest

from ray_asr.engine.tags import without_tags
from ray_asr.schema import Recognition, Word


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "<|zh|><|NEUTRAL|><|Speech|><|woitn|>开放时间早上九点至下午五点",
            Recognition("开放时间早上九点至下午五点", (), "zh", "NEUTRAL"),
        ),
        (
            "<|en|><|HAPPY|><|BGM|><|withitn|>It's 5 o'clock.",
            Recognition("It's 5 o'clock.", (), "en", "HAPPY", ("BGM",)),
        ),
        ("<|nospeech|><|EMO_UNKNOWN|><|Laughter|><|woitn|>", Recognition("", events=("Laughter",))),
        ("<|yue|><|EMO_UNKNOWN|><|Event_UNK|><|woitn|>係", Recognition("係", (), "yue")),
        (
            "<|ja|><|SAD|><|Cry|><|withitn|>はい<|Cry|>、<|Cough|>ええ",
            Recognition("はい、ええ", (), "ja", "SAD", ("Cry", "Cough")),
        ),
        ("a < b | c > d <", Recognition("a < b | c > d <")),
        ("<| not a tag", Recognition("<| not a tag")),
        ("", Recognition("")),
    ],
)
def test_tags_are_taken_out_and_told_apart(text: str, expected: Recognition) -> None:
    assert without_tags(Recognition(text)) == expected


def test_words_lose_tags_and_those_that_were_nothing_else_go() -> None:
    words = (Word("<|woitn|>", 0, 60), Word("<|en|>hello", 60, 120), Word("there", 120, 180))
    found = without_tags(Recognition("<|en|><|woitn|>hello there", words))
    assert found.words == (Word("hello", 60, 120), Word("there", 120, 180))
