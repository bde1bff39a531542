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
_BEFORE_VERB = 7.0
_PLAIN = 9.0
_SHORT_WORD = 12.0
_NAME = 13.0
_INSIDE_GROUP = 16.0
_INSIDE_WORD = 24.0
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
_AUXILIARIES = _words(
    "is are was were am has have had do does did will would can could shall should may might must",
    "dont doesnt didnt isnt arent wasnt werent cant couldnt wont wouldnt",
)
_MAY_END_A_GROUP = _words("you it her his this these those some any more most who")
_HELD_TOGETHER = _AUXILIARIES | _words(
    "a an the my your its our their every each no not very too mr mrs ms dr i he she we they be",
    "been being im youre hes shes theyre ive youve weve theyve ill youll well theyll lets theres",
    "thats",
)

# Chinese words: what belongs to the one before it, what to the one behind it, what begins a group.
_ZH_BACKWARD = _words(
    "的 地 得 了 着 过 吗 呢 吧 啊 呀 嘛 们 么 之 者 个 些 里 上 下 中 间 后 前 边 内 外 时 来 去",
    "等",
)
_ZH_FORWARD = _words(
    "的 不 没 没有 很 最 更 太 非 非常 把 被 将 让 给 对 从 向 在 与 和 或 跟 及 第 每 这 那 各 再",
    "又 也 都 就 才 只 还 要 会 能 可 可以 能够 应该 请 是 为 为了 以 用 由 于 比 当 以及 或者",
    "因为 所以 但是 如果 虽然 而且 一",
)
_ZH_CONJUNCTIONS = _words(
    "但 但是 而 而且 并 并且 因为 所以 因此 如果 虽然 或 或者 和 与 以及 然而 然后 于是 不过 比如",
    "例如 则 却",
)
_ZH_PREPOSITIONS = _words(
    "在 对 对于 关于 把 被 让 从 向 请 为 为了 由 由于 通过 根据 按照 以 用 当 给 跟 比 除了",
)
_ZH_PRONOUNS = _words(
    "我 你 您 他 她 它 我们 你们 他们 她们 它们 咱们 大家 这 那 这个 那个 这些 那些"
)
# Japanese particles, which end a group.
_JA_PARTICLES = frozenset("はがをにでともへのやねよかば")


def break_cost(unit: Unit, following: Unit) -> float:
    """What it costs to end a line behind `unit`: 0 at the end of a sentence."""
    if unit.turn != following.turn:
        return SENTENCE
    cost = _cost(unit, following)
    pause_ms = following.start_ms - unit.end_ms
    if cost > _LEAST and pause_ms >= 150:
        cost = max(cost - min(pause_ms / 100, 6.0), min(cost, _LEAST))
    return cost


def _cost(unit: Unit, following: Unit) -> float:
    bare = unit.text.rstrip(_CLOSERS)
    if bare[-1:] in _ENDS and not (bare[-1:] == "." and letters_of(bare) in _ABBREVIATIONS):
        return SENTENCE if bare else _PLAIN
    if bare[-1:] in _PAUSES:
        return _CLAUSE
    if unit.word and following.word:
        return _cost_of_chinese(unit, following)
    if is_ideograph(unit.text[-1]) or is_ideograph(following.text[0]):
        return _cost_of_kana(unit.text[-1], following.text[0])
    return _cost_of_words(unit.text, following.text)


def _cost_of_words(text: str, following: str) -> float:
    word, following_word = letters_of(text), letters_of(following)
    begins = following_word in _CONJUNCTIONS or following_word in _PREPOSITIONS
    if word in _CONJUNCTIONS or word in _PREPOSITIONS or word in _HELD_TOGETHER:
        return _INSIDE_GROUP
    if word in _MAY_END_A_GROUP and not begins:
        return _INSIDE_GROUP
    if following_word in _CONJUNCTIONS:
        return _BEFORE_CONJUNCTION
    if following_word in _PREPOSITIONS:
        return _BEFORE_PREPOSITION
    if following_word in _AUXILIARIES:
        return _BEFORE_VERB
    if text[:1].isupper() and following[:1].isupper():
        return _NAME
    return _SHORT_WORD if len(word) <= 2 else _PLAIN


def _cost_of_chinese(unit: Unit, following: Unit) -> float:
    if not unit.ends_word:
        return _INSIDE_WORD
    if following.word in _ZH_BACKWARD:
        return _INSIDE_GROUP + 2
    if unit.word in _ZH_FORWARD:
        return _INSIDE_GROUP
    if following.word in _ZH_CONJUNCTIONS:
        return _BEFORE_CONJUNCTION
    if following.word in _ZH_PREPOSITIONS:
        return _BEFORE_PREPOSITION
    return _BEFORE_VERB if following.word in _ZH_PRONOUNS else _PLAIN


def _cost_of_kana(last: str, first: str) -> float:
    """Between two characters, one of which stands without blanks, where no words are known."""
    if not (is_ideograph(last) and is_ideograph(first)):
        return _PLAIN - 2  # where the script changes a word does too
    if last in _JA_PARTICLES and not _is_hiragana(first):
        return _BEFORE_PREPOSITION
    if _is_kana(last) and not _is_kana(first):
        return _PLAIN
    return _INSIDE_GROUP if _is_kana(last) or _is_kana(first) else _PLAIN + 1


def _is_kana(character: str) -> bool:
    return "\u3041" <= character <= "\u30ff"


def _is_hiragana(character: str) -> bool:
    return "\u3041" <= character <= "\u309f"
