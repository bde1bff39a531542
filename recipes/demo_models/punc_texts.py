"""Punctuated English for the punctuation model: (word, mark) pairs and nothing else.

Owns the texts, their marks and which of them are held out. Knows nothing about models.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence

from prompts import ONES, SAID, Announcements, Prompt, number_words, words_of
from sentences import (
    ACTIONS,
    FORTUNES,
    OBJECTS,
    PREDICATES,
    REQUESTS,
    SUBJECTS,
    TAILS,
    held_out_guard,
)

PUNC_LIST = ["<unk>", "_", "\uff0c", "。", "\uff1f", "、"]
IGNORED, NONE, COMMA, PERIOD, QUESTION = 0, 1, 2, 3, 4
MARKS = {",": COMMA, ";": COMMA, ":": COMMA, ".": PERIOD, "!": PERIOD, "?": QUESTION}
TITLES = re.compile(r"\b(Mr|Mrs|Ms|Dr|St|Jr|Sr|vs|etc|Prof|Gen|Capt|Col|[A-Za-z])\.")
CONJUNCTIONS = ["if", "when", "because", "after", "while"]
OPENINGS = [
    "i am sorry",
    "sorry",
    "thank you",
    "please note",
    "attention",
    "yes",
    "no",
    "hello",
    "welcome",
    "okay",
    "all right",
]
GREETINGS = [
    "thank you for calling",
    "thank you",
    "goodbye",
    "welcome to the directory",
    "hello",
    "congratulations",
    "one moment please",
    "good morning",
    "thank you very much",
]
MESSAGE_KINDS = ["new", "old", "urgent", "saved"]
COUNTED = ["callers", "participants", "messages", "entries"]
PLACES = ["in the queue", "in the conference", "in this folder"]
QUESTION_STARTS = [
    "would you like to",
    "do you want to",
    "can you",
    "did you",
    "are you ready to",
    "may i",
    "should i",
    "why do you want to",
    "when did you",
    "how can i",
    "could you please",
    "who will",
    "will you",
]
QUESTION_ENDS = ["", "", " now", " or cancel it", " or delete it"]
QUESTIONS = [
    "what is your name",
    "who is calling please",
    "how may i help you",
    "are you still there",
    "can you hear me",
    "which folder",
    "which extension would you like to call",
    "is anybody there",
    "what number are you calling",
    "is this the right number",
    "what would you like to do",
    "where are you calling from",
    "how many callers are waiting",
    "what time is it",
]
STATES = ["correct", "ready", "still there", "been deleted", "been saved", "locked", "empty"]
JOINS = ["and", "or"]
MODALS = ["may", "can", "must", "will"]
ORDERS = ["first", "next", "otherwise", "finally", "then", "however"]

Sentence = list[tuple[str, int]]


def words_in(sentence: Sentence) -> str:
    """The words without marks."""
    return " ".join(word for word, _ in sentence)


def parse(text: str) -> Sentence:
    """Plain words and marks, such as a template has."""
    return [(word.rstrip(",.?!;:"), MARKS.get(word[-1], NONE)) for word in text.lower().split()]


def fortune_entries() -> list[list[Sentence]]:
    """Every entry's sentences, in order; a sentence with digits or symbols ends a run."""
    entries = []
    for path in sorted(FORTUNES.iterdir()):
        if path.suffix or path.name in ("ascii-art", "tao") or path.is_symlink():
            continue
        text = path.read_text(encoding="utf-8", errors="ignore")
        for entry in text.split("\n%\n"):
            flat = re.sub(r"\n\s*(--|\(By ).*", "", entry, flags=re.DOTALL)
            flat = re.sub(r"\s+", " ", re.sub(r"[\"`_*()\[\]]|''", " ", flat))
            flat = re.sub(r"\s*--+\s*|\s+-\s+", ", ", TITLES.sub(r"\1", flat))
            flat = re.sub(r"\s*\.\.+\s*(?=[a-z])", ", ", flat)
            flat = re.sub(r"[,;:\s]*([.?!])[.?!]*", r"\1", flat)
            flat = re.sub(r"\s*([,;:])[,;:\s]*", r"\1 ", flat)
            run: list[Sentence] = []
            for piece in re.split(r"(?<=[.!?])\s+", flat):
                sentence = parse(piece.replace("-", " "))
                words = [word for word, _ in sentence]
                plain = all(re.fullmatch(r"[a-z]+('[a-z]*)*", word) for word in words)
                if plain and 2 <= len(words) <= 40 and sentence[-1][1] in (PERIOD, QUESTION):
                    run.append(sentence)
                elif run:
                    entries.append(run)
                    run = []
            if run:
                entries.append(run)
    return entries


def is_held_out(entry: list[Sentence]) -> bool:
    """A tenth of all entries, by the hash of their first sentence."""
    return hashlib.sha1(words_in(entry[0]).encode()).digest()[0] < 26


def prompt_sentence(prompt: Prompt) -> Sentence:
    """A prompt's words with the marks of its written text; it ends as a sentence."""
    written = prompt.written.lower()
    for abbreviation, said in SAID.items():
        if "." in abbreviation:
            written = written.replace(abbreviation, said)
    sentence: Sentence = []
    for part, mark in re.findall(r"(.+?)(?:([,.;:?!])+(?=\s|$)|$)\s*", written):
        words = words_of(part).split()
        sentence += [(word, NONE) for word in words[:-1]]
        sentence += [(word, MARKS.get(mark, NONE)) for word in words[-1:]]
    if words_in(sentence) != prompt.words:
        sentence = [(word, NONE) for word in prompt.words.split()]
    last = sentence[-1][1]
    sentence[-1] = (sentence[-1][0], QUESTION if last == QUESTION else PERIOD)
    return sentence


def _choices(rng: random.Random) -> str:
    """A menu of one to four choices."""
    pick, keys = rng.choice, [*ONES[:10], "star", "pound"]
    count, verb = rng.randint(1, 4), pick(["press", "dial", "say"])
    if rng.random() < 0.5:
        parts = [f"to {pick(ACTIONS)} {pick(OBJECTS)}, {verb} {pick(keys)}" for _ in range(count)]
        return pick([". ", ", "]).join(parts) + "."
    parts = [f"{verb} {pick(keys)} to {pick(ACTIONS)} {pick(OBJECTS)}" for _ in range(count)]
    if count > 1 and rng.random() < 0.3:
        parts[-1] = "or " + parts[-1]
    return ", ".join(parts) + "."


def template(rng: random.Random) -> str:
    """Telephone talk with its marks."""

    def pick(choices: Sequence[str]) -> str:
        return rng.choice(choices)

    number = " ".join(number_words(rng.randint(1, 999)))
    forms = [
        lambda: _choices(rng),
        lambda: _choices(rng),
        lambda: f"{pick(SUBJECTS)} {pick(PREDICATES)}. {pick(REQUESTS)}.",
        lambda: f"{pick(REQUESTS)} {pick(TAILS)}.",
        lambda: f"{pick(CONJUNCTIONS)} {pick(SUBJECTS)} {pick(PREDICATES)}, {pick(REQUESTS)}.",
        lambda: f"{pick(OPENINGS)}, {pick(SUBJECTS)} {pick(PREDICATES)}.",
        lambda: f"{pick(GREETINGS)}. {pick(REQUESTS)}.",
        lambda: f"you have {number} {pick(MESSAGE_KINDS)} messages. {_choices(rng)}",
        lambda: f"there are {number} {pick(COUNTED)} {pick(PLACES)}.",
        lambda: f"{pick(QUESTION_STARTS)} {pick(ACTIONS)} {pick(OBJECTS)}{pick(QUESTION_ENDS)}?",
        lambda: f"{pick(QUESTIONS)}?",
        lambda: f"{pick(['is', 'was', 'has'])} {pick(OBJECTS)} {pick(STATES)}?",
        lambda: f"{pick(ACTIONS)} {pick(OBJECTS)}, {pick(OBJECTS)}, {pick(JOINS)} {pick(OBJECTS)}.",
        lambda: f"you {pick(MODALS)} {pick(ACTIONS)} {pick(OBJECTS)} {pick(TAILS)}.",
        lambda: f"{pick(ORDERS)}, {pick(ACTIONS)} {pick(OBJECTS)}.",
    ]
    return rng.choice(forms)()


class PunctuatedTexts:
    """Draws runs of sentences; the same random generator gives the same runs."""

    def __init__(self, training: list[Prompt], held_out: list[Prompt]) -> None:
        blocked = held_out_guard(held_out)
        self._blocked = blocked
        entries = fortune_entries()
        self.held_out = [entry for entry in entries if is_held_out(entry)]
        tested = {words_in(sentence) for entry in self.held_out for sentence in entry}
        self.entries = [
            entry
            for entry in entries
            if not any(words_in(s) in tested or blocked(words_in(s)) for s in entry)
        ]
        self.prompts = [prompt_sentence(prompt) for prompt in training]
        self._spoken = [s for s in self.prompts if len(s) > 2]
        self._grammar = Announcements(training)

    def _piece(self, rng: random.Random) -> list[Sentence]:
        kind = rng.random()
        if kind < 0.55:
            entry = rng.choice(self.entries)
            start = rng.randrange(len(entry))
            return entry[start : start + 6]
        if kind < 0.72:
            return [rng.choice(self._spoken)]
        if kind < 0.92:
            return [parse(template(rng))]
        words = [w for part in self._grammar.draw(rng, test=False) for w in part.words.split()]
        return [[*((word, NONE) for word in words[:-1]), (words[-1], PERIOD)]]

    def draw(self, rng: random.Random) -> Sentence:
        """One to six sentences, sometimes broken off, where the last mark is then ignored."""
        while True:
            if rng.random() < 0.08:
                run = list(rng.choice(self.prompts))
            else:
                wanted, found = rng.randint(1, 6), list[Sentence]()
                while len(found) < wanted:
                    found += self._piece(rng)
                run = [pair for sentence in found[:wanted] for pair in sentence]
            if self._blocked(words_in(run)):
                continue
            if rng.random() < 0.4 and len(run) > 6:
                run = run[: rng.randint(5, len(run) - 1)]
                run[-1] = (run[-1][0], IGNORED)
            return run[:90]
