"""How well a line or a subtitle ends behind a unit: what each break costs.

Owns the words and marks that say so, of English, Chinese and Japanese; what other languages have in
common with them (marks, short words before what they belong to) goes for those. Must not know
lines, times of subtitles, or files.

Source of the rules: the general requirements and the English guide of Netflix's Timed Text Style
Guides: break after punctuation, before conjunctions and prepositions; don't part an article or an
adjective from its noun, a first name from a last one, a subject pronoun, an auxiliary or a negation
from its verb. The costs themselves are ours.
"""

from __future__ import annotations

from ray_asr.results.subtitle_units import Unit, is_ideograph, letters_of

SENTENCE = 0.0
_CLAUSE = 2.5
_BEFORE_CONJUNCTION = 4.0
_BEFORE_PREPOSITION = 5.5
_PLAIN = 9.0
_SHORT_WORD = 12.0
_NAME = 13.0
_INSIDE_GROUP = 16.0
_LEAST = 0.5  # of a break that no mark stands at, whatever pause there is

_CLOSERS = "\"')]}\u2019\u201d\u00bb\u203a\uff09\uff3d\uff5d\u300d\u300f\u3011\u3009\u300b\uff02"
_ENDS = ".?!\u2026\u3002\uff1f\uff01\uff0e\uff61\u061f\u06d4\u0964\u22ef"
_PAUSES = ",;:\uff0c\uff1b\uff1a\u3001\uff64\u060c\u061b\u2013\u2014"


def _words(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


_ABBREVIATIONS = _words("mr mrs ms dr prof st vs jr sr eg ie")
_CONJUNCTIONS = _words(
    "and but or nor so because when while if that which who whose where although though since",
    "until unless whether whereas than",
)
_PREPOSITIONS = _words(
    "to of in on at by for with from into onto about after before between through over under",
    "without within against among around during toward towards upon via per like as",
)
# Without their apostrophes.
_HELD_TOGETHER = _words(
    "a an the my your his her its our their this these those some any every each no not very too",
    "more most mr mrs ms dr i you he she it we they who is are was were be been being am has have",
    "had do does did will would can could shall should may might must dont doesnt didnt isnt arent",
    "wasnt werent cant couldnt wont wouldnt im youre hes shes theyre ive youve weve theyve ill",
    "youll well theyll lets theres thats",
)

# Chinese: what belongs to the character before it, what to the one behind it, what begins a group.
_ZH_BACKWARD = frozenset("的地得了着过吗呢吧啊呀嘛们么之者性化个些里上下中间后前边")
_ZH_FORWARD = frozenset(
    "不没很最更太非把被将让给对从向在与和或跟及第每这那各再又也都就才只还要会能可应该请是"
)
_ZH_BEGINS = frozenset("但而并且因所如若虽当则却然于对在把被让从向请我你他她它这那")
# Japanese particles, which end a group.
_JA_PARTICLES = frozenset("はがをにでともへのやねよかば")


def break_cost(unit: Unit, following: Unit) -> float:
    """What it costs to end a line behind `unit`: 0 at the end of a sentence."""
    if unit.turn != following.turn:
        return SENTENCE
    cost = _cost_of_words(unit.text, following.text)
    pause_ms = following.start_ms - unit.end_ms
    if cost > _LEAST and pause_ms >= 150:
        cost = max(cost - min(pause_ms / 100, 6.0), min(cost, _LEAST))
    return cost


def _cost_of_words(text: str, following: str) -> float:
    bare = text.rstrip(_CLOSERS)
    word, following_word = letters_of(text), letters_of(following)
    if bare and bare[-1] in _ENDS and not (bare[-1] == "." and word in _ABBREVIATIONS):
        return SENTENCE
    if bare and bare[-1] in _PAUSES:
        return _CLAUSE
    if text and following and (is_ideograph(text[-1]) or is_ideograph(following[0])):
        return _cost_of_characters(text[-1], following[0])
    begins = following_word in _CONJUNCTIONS or following_word in _PREPOSITIONS
    if word in _CONJUNCTIONS or word in _PREPOSITIONS or (word in _HELD_TOGETHER and not begins):
        return _INSIDE_GROUP
    if following_word in _CONJUNCTIONS:
        return _BEFORE_CONJUNCTION
    if following_word in _PREPOSITIONS:
        return _BEFORE_PREPOSITION
    if text[:1].isupper() and following[:1].isupper():
        return _NAME
    return _SHORT_WORD if len(word) <= 2 else _PLAIN


def _cost_of_characters(last: str, first: str) -> float:
    """Between two characters, one of which stands without blanks."""
    if not (is_ideograph(last) and is_ideograph(first)):
        return _PLAIN - 2  # where the script changes a word does too
    is_kana, was_kana = _is_kana(first), _is_kana(last)
    if is_kana or was_kana:
        if last in _JA_PARTICLES and not _is_hiragana(first):
            return _BEFORE_PREPOSITION
        return _PLAIN if was_kana and not is_kana else _INSIDE_GROUP
    if first in _ZH_BACKWARD or last in _ZH_FORWARD:
        return _INSIDE_GROUP
    return _BEFORE_PREPOSITION if first in _ZH_BEGINS else _PLAIN + 1


def _is_kana(character: str) -> bool:
    return "\u3041" <= character <= "\u30ff"


def _is_hiragana(character: str) -> bool:
    return "\u3041" <= character <= "\u309f"
