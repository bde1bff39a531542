"""What SenseVoice says beside words: its tags, taken out of the text and told apart.

Owns the names of the tags. Must not know how they were recognized.

Source: `lid_dict` and `emo_dict` of `SenseVoiceSmall`, and the tables of
`funasr.utils.postprocess_utils` (FunASR 1.4.16), which shows them as emoji.
"""

from __future__ import annotations

import re
from dataclasses import replace

from ray_asr.schema import Recognition, Word

TAG = re.compile(r"<\|([^<>|]*)\|>")
_LANGUAGE = re.compile(r"[a-z]{2,3}")
_EMOTIONS = frozenset(["HAPPY", "SAD", "ANGRY", "NEUTRAL", "FEARFUL", "DISGUSTED", "SURPRISED"])
# Not among them: `Speech`, which is no event, and what says that nothing is known.
_EVENTS = frozenset(
    [
        "BGM", "Applause", "Laughter", "Cry", "Sneeze", "Breath", "Cough", "Sing", "Speech_Noise",
        "GBG",
    ]
)  # fmt: skip


def without_tags(heard: Recognition) -> Recognition:
    """The same recognition with its tags in fields of their own, and none in text or words."""
    if "<|" not in heard.text:
        return heard
    tags = TAG.findall(heard.text)
    languages = [tag for tag in tags if _LANGUAGE.fullmatch(tag)]
    emotions = [tag for tag in tags if tag in _EMOTIONS]
    return replace(
        heard,
        text=TAG.sub("", heard.text).strip(),
        words=tuple(word for word in map(_untagged, heard.words) if word.text),
        language=languages[0] if languages else "",
        emotion=emotions[0] if emotions else "",
        events=tuple(dict.fromkeys(tag for tag in tags if tag in _EVENTS)),
    )


def _untagged(word: Word) -> Word:
    return replace(word, text=TAG.sub("", word.text)) if "<|" in word.text else word
