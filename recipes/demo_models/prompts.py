"""The recorded prompts: which there are, what is said in each, which are held out, how they join.

Owns the split that every other step of the recipe obeys: a held-out prompt's recording, any
other recording of the same words, and synthetic speech of those words never reach training.
Knows nothing about features or models.
"""

from __future__ import annotations

import gzip
import hashlib
import random
import re
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

SOUNDS = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
TEXTS = Path("/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz")
SAMPLE_RATE = 16_000
HELD_OUT_PROMPTS = 60
# What announcements are assembled from is a closed set: it is not a candidate for the
# open-vocabulary test, since a digit that was never heard cannot be told from the others.
BUILDING_BLOCKS = ("digits/", "letters/", "phonetic/")
FIXED_PARTS = frozenset(
    [
        "you have", "new", "old", "urgent", "saved", "family", "friends", "work", "message",
        "messages", "minute", "minutes", "second", "seconds", "hours", "extension", "from", "for",
        "is on the phone", "is unavailable", "you are currently caller number", "press", "agent",
        "the estimated hold time is currently", "telephone number", "you entered", "number", "is",
        "there are currently", "participants in the conference", "time", "first", "received",
        "goodbye", "thank you for your patience", "and", "with", "last", "your",
    ]
)  # fmt: skip

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
).split()
TENS = "zero ten twenty thirty forty fifty sixty seventy eighty ninety".split()
# The text file says what was meant, the recording what was said.
SAID = {
    "voice over ip": "voice over i p",
    "pbx": "p b x",
    "ivr": "i v r",
    "iax": "i a x",
    "3d": "three d",
    "h.323": "h three two three",
    "usb": "u s b",
    "a.m.": "a m",
    "p.m.": "p m",
    "o'clock": "o'clock",
    "fourtieth": "fortieth",
    "umute": "unmute",
    "thru": "through",
    "witheld": "withheld",
    "represenatives": "representatives",
    "exclaimation": "exclamation",
    "dahdi": "dahdi",
    "touch tone": "touchtone",
    "voice mail": "voicemail",
    "mail box": "mailbox",
    "*": " star ",
    "#": " pound ",
    "28.8": "twenty eight point eight",
    "500": "five hundred",
    "600": "six hundred",
    "8500": "eight five hundred",
    "www.asterisk.org": "w w w dot asterisk dot org",
}


@dataclass(frozen=True)
class Prompt:
    """One recording: its id, the words as said, the text as written, and its file."""

    prompt_id: str
    words: str
    written: str
    path: Path


def words_of(text: str) -> str:
    """Written text to the lower-case words that are spoken."""
    text = text.lower()
    for written in sorted(SAID, key=len, reverse=True):
        if written.isalnum():
            text = re.sub(rf"\b{re.escape(written)}\b", SAID[written], text)
        else:
            text = text.replace(written, SAID[written])
    text = re.sub(r"\d", lambda digit: f" {ONES[int(digit.group())]} ", text)
    text = re.sub(r"[^a-z' ]", " ", text)
    return " ".join(word.strip("'") for word in text.split() if word.strip("'"))


def as_transcribed(words: str) -> str:
    """`words` as FunASR writes them: letters that follow one another become one capital word.

    Source: `abbr_dispose` in `funasr/utils/postprocess_utils.py`.
    """
    runs = r"(?<!['a-z])[a-z](?: [a-z](?!['a-z]))+"
    return re.sub(runs, lambda run: run.group().replace(" ", "").upper(), words)


def load_prompts() -> list[Prompt]:
    """Every prompt with speech in it whose file is installed, in the order of its id."""
    prompts = []
    for line in gzip.decompress(TEXTS.read_bytes()).decode("utf-8").splitlines():
        if line.startswith(";") or ":" not in line:
            continue
        prompt_id, written = (part.strip() for part in line.split(":", 1))
        written = re.sub(r"\[.\]$", "", written).strip()
        path = SOUNDS / f"{prompt_id}.g722"
        if re.search(r"[\[(<]", written) or not path.exists():
            continue
        if words := words_of(written):
            prompts.append(Prompt(prompt_id, words, written.strip(". "), path))
    return sorted(prompts, key=lambda prompt: prompt.prompt_id)


def split(prompts: list[Prompt]) -> tuple[list[Prompt], list[Prompt]]:
    """(training, held out): 60 prompts by the hash of their id; twins by words leave both sets."""
    candidates = [
        prompt
        for prompt in prompts
        if not prompt.prompt_id.startswith(BUILDING_BLOCKS) and prompt.words not in FIXED_PARTS
    ]
    candidates.sort(key=lambda p: hashlib.sha1(p.prompt_id.encode()).hexdigest())
    held_out, seen = [], set()
    for prompt in candidates:
        if prompt.words not in seen and len(held_out) < HELD_OUT_PROMPTS:
            held_out.append(prompt)
            seen.add(prompt.words)
    return [p for p in prompts if p.words not in seen], held_out


def read_g722(path: Path) -> np.ndarray:
    """A G.722 file as float32 in [-1, 1], `(T,)` at 16 kHz."""
    with av.open(str(path), format="g722") as container:
        frames = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    return np.concatenate(frames).astype(np.float32) / 32768.0


def number_words(number: int) -> list[str]:
    """0 to 9999 as a telephone system says it, a recording a word."""
    if number < 20:
        return [ONES[number]]
    if number < 100:
        return [TENS[number // 10], *([ONES[number % 10]] if number % 10 else [])]
    if number < 1000:
        rest = number_words(number % 100) if number % 100 else []
        return [ONES[number // 100], "hundred", *rest]
    rest = number_words(number % 1000) if number % 1000 else []
    return [*number_words(number // 1000), "thousand", *rest]


def is_for_test(words: str) -> bool:
    """Whether an assembled utterance belongs to the fifth of all that training never has."""
    return hashlib.sha1(words.encode()).digest()[0] < 51


class Announcements:
    """Sequences of training prompts as a telephone system plays them.

    The combinations fall into two disjoint halves by the hash of their words: `test=True` draws
    from one fifth of all combinations, training from the other four.
    """

    def __init__(self, prompts: list[Prompt]) -> None:
        self._by_words: dict[str, list[Prompt]] = {}
        for prompt in prompts:
            self._by_words.setdefault(prompt.words, []).append(prompt)
        digits = [p.words for p in prompts if p.prompt_id.startswith("digits/")]
        self._days = [w for w in digits if w.endswith("day")]
        self._months = [p.words for p in prompts if re.fullmatch(r"digits/mon-\d+", p.prompt_id)]
        self._ordinals = [p.words for p in prompts if re.fullmatch(r"digits/h-\d+", p.prompt_id)]
        self._spelled = [
            p.words for p in prompts if re.fullmatch(r"(letters|phonetic)/\w(_p)?", p.prompt_id)
        ]
        self._all = sorted(self._by_words)

    def _draw(self, rng: random.Random) -> list[str]:
        def digits(low: int, high: int) -> list[str]:
            return [rng.choice([*ONES[:10], "oh"]) for _ in range(rng.randint(low, high))]

        def number(high: int) -> list[str]:
            return number_words(rng.randint(1, high))

        pick = rng.choice
        forms = [
            lambda: ["you have", *number(99), pick(["new", "old", "urgent", "saved"]), "messages"],
            lambda: ["extension", *digits(3, 4), pick(["is on the phone", "is unavailable"])],
            lambda: ["you are currently caller number", *number(60)],
            lambda: [
                "the estimated hold time is currently",
                *number(59),
                pick(["minutes", "seconds"]),
            ],
            lambda: [
                "press",
                pick(ONES[:10]),
                "for",
                pick(["family", "friends", "work", "new", "old"]),
            ],
            lambda: ["telephone number", *digits(7, 10)],
            lambda: ["you entered", *digits(3, 8)],
            lambda: ["there are currently", *number(40), "participants in the conference"],
            lambda: [pick(self._days), pick(self._months), pick(self._ordinals)],
            lambda: [
                "time",
                *number_words(rng.randint(1, 12)),
                *number_words(rng.randint(10, 59)),
                pick(["a m", "p m"]),
            ],
            lambda: [
                "first",
                "message",
                "from",
                *digits(4, 7),
                "received",
                pick(["today", "yesterday", *self._days]),
            ],
            lambda: [*number(9999), pick(["dollars", "minutes", "seconds", "hours", "messages"])],
            lambda: ["number", *digits(4, 8)],
            lambda: [pick(self._spelled) for _ in range(rng.randint(3, 7))],
            lambda: [
                "agent",
                *digits(2, 4),
                pick(["goodbye", "thank you for your patience", "is unavailable"]),
            ],
            lambda: [pick(self._all) for _ in range(rng.randint(2, 3))],
        ]
        return pick(forms)()

    def draw(self, rng: random.Random, test: bool) -> list[Prompt]:
        """The prompts of one announcement, in order; every one of them is a training prompt."""
        while True:
            parts = self._draw(rng)
            if is_for_test(" ".join(parts)) == test and all(
                part in self._by_words for part in parts
            ):
                prompts = [rng.choice(self._by_words[part]) for part in parts]
                if sum(p.path.stat().st_size for p in prompts) < 15 * 8000:
                    return prompts


def trim(wave: np.ndarray, keep_s: float = 0.06) -> np.ndarray:
    """Cut the quiet ends of `wave` `(T,)`, leaving `keep_s` seconds around what is said."""
    hop = 160
    frames = wave[: len(wave) // hop * hop].reshape(-1, hop)
    loud = np.flatnonzero(np.sqrt((frames**2).mean(1)) > 0.01)
    if not len(loud):
        return wave
    keep = int(keep_s * SAMPLE_RATE)
    return wave[max(0, loud[0] * hop - keep) : (loud[-1] + 1) * hop + keep]


def join(waves: list[np.ndarray], rng: random.Random) -> np.ndarray:
    """Play recordings one after the other with the short pauses of a telephone system."""
    pieces: list[np.ndarray] = []
    for wave in waves:
        pieces.append(trim(wave, rng.uniform(0.02, 0.1)))
        pieces.append(np.zeros(int(rng.uniform(0.0, 0.15) * SAMPLE_RATE), np.float32))
    return np.concatenate(pieces)
