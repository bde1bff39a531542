"""Texts for synthetic speech: general English, telephone talk, and recombined training prompts.

Owns what synthetic voices say. Never yields the words of a held-out prompt, alone or inside a
longer sentence. Knows nothing about audio.
"""

from __future__ import annotations

import random
import re
from pathlib import Path

from prompts import ONES, Prompt, number_words

FORTUNES = Path("/usr/share/games/fortunes")

SUBJECTS = (
    "the caller|your party|the operator|a representative|the system|this mailbox|your password|"
    "the conference leader|the administrator|the directory|your account|the recording|our office|"
    "the customer|the service|this line|your telephone|the server|the moderator|the next caller|"
    "an agent|the user|the greeting|this feature|that option|your request|the channel|the network|"
    "your voicemail|the last message|the number you entered|the person at this extension|"
    "the volume|the blacklist|the internet connection|the test|the menu|this program"
).split("|")
PREDICATES = (
    "is not available at this time|has been changed|has been removed|will be answered shortly|"
    "is now activated|has been disabled|is already in use|could not be found|is currently busy|"
    "has left the office|will be disconnected|is being recorded|was not accepted|is now locked|"
    "has been forwarded|must be at least four digits long|is full|has been cancelled|is empty|"
    "has been reset|cannot be deleted|is no longer in service|will return your call|has expired|"
    "does not match|was successfully completed|is temporarily out of order|has been unlocked|"
    "will join you in a moment|may be monitored for quality|is about to end|has been paused|"
    "is waiting on the line|was invalid|can be reached at home|has been added to the list|"
    "is set to the default|needs a new battery|was marked as private|will be transferred now"
).split("|")
REQUESTS = (
    "please hold|please wait|please stay on the line|please leave your name|please say your name|"
    "please enter your account number|please press any key|please speak after the beep|"
    "please hang up and dial again|please record your greeting|please choose an option|"
    "please enter your date of birth|please repeat the number|please listen carefully|"
    "please select a folder|please enter your mailbox number|please confirm your choice|"
    "please return to the previous menu|please type your personal code|please check your settings|"
    "please visit our web site|please report this problem|please turn down the volume"
).split("|")
TAILS = (
    "followed by the star key|and try once more|before you continue|or dial zero for assistance|"
    "while we look up your record|for further information|at the sound of the beep|if you wish|"
    "to speak with an operator|until the music stops|using the keys on your telephone|right now|"
    "to cancel this request|to go back one step|when you have finished|to skip this message|"
    "in order to continue|to hear your options again|for the sales department|at any moment|"
    "to exit the program|to toggle the speaker|to reach technical support|to save your recording|"
    "without leaving a message|to enable caller identification|for directory assistance|"
    "to remove this entry|to increase the speed|to decrease the volume|as soon as possible"
).split("|")
ACTIONS = (
    "listen to|delete|save|forward|repeat|skip|record|change|send|review|erase|cancel|accept|"
    "reject|mark|return to|leave|lock|unlock|mute|enter|dial|transfer|update|confirm|open|close|"
    "start|stop|play|reset|disable|enable|restore|extend|invite|remove|identify|describe|choose"
).split("|")
OBJECTS = (
    "the message|your greeting|your password|the conference|this call|the recording|the menu|"
    "a new number|your name|all participants|the previous folder|the volume|the list|your mailbox|"
    "the caller|an urgent message|the file|another extension|the directory|the current settings|"
    "a temporary greeting|the playback speed|the first entry|your speaking volume|the audio|"
    "the envelope|the recipient|your personal options|the channel|the default level|the speed dial"
).split("|")

KEYS = [*ONES[:10], "star", "pound"]
WAYS = ["press", "dial", "say", "enter"]
MODALS = ["may", "can", "cannot", "must", "will"]
WHEN = ["if", "when", "because", "after"]
COUNTED = ["you have", "there are", "we found"]
THINGS = ["calls", "messages", "entries", "callers", "minutes", "users"]


def held_out_guard(held_out: list[Prompt]):
    """A test for texts: True where the words of a held-out prompt stand in it."""
    singles = {p.words for p in held_out}
    longer = [f" {p.words} " for p in held_out if p.words.count(" ") >= 2]

    def blocked(text: str) -> bool:
        return text in singles or any(words in f" {text} " for words in longer)

    return blocked


def fortune_sentences() -> list[str]:
    """General English sentences of 3 to 14 plain words."""
    found: set[str] = set()
    for path in sorted(FORTUNES.iterdir()):
        if path.suffix or path.name in ("ascii-art", "tao") or path.is_symlink():
            continue
        text = path.read_text(encoding="utf-8", errors="ignore")
        for entry in text.split("\n%\n"):
            flat = re.sub(r"\s+", " ", re.sub(r"[\"`_()]|--.*|\t.*", " ", entry))
            for sentence in re.split(r"(?<=[.!?;:])\s|, ", flat):
                plain = sentence.strip(" .!?,;:'").lower().replace("-", " ")
                if re.fullmatch(r"[a-z' ]+", plain) and 3 <= len(plain.split()) <= 14:
                    found.add(" ".join(w.strip("'") for w in plain.split() if w.strip("'")))
    return sorted(found)


class Sentences:
    """Draws texts; the same random generator gives the same texts."""

    def __init__(self, training: list[Prompt], held_out: list[Prompt]) -> None:
        self._blocked = held_out_guard(held_out)
        self._prompts = [p.words for p in training]
        self._long_prompts = [w for w in self._prompts if w.count(" ") >= 2]
        self._general = fortune_sentences()
        self.vocabulary = sorted(
            {w for text in self._general + self._prompts for w in text.split()}
        )

    def _telephone(self, rng: random.Random) -> str:
        pick = rng.choice

        def number() -> str:
            return " ".join(number_words(rng.randint(1, 9999)))

        forms = [
            lambda: f"{pick(SUBJECTS)} {pick(PREDICATES)}",
            lambda: f"{pick(REQUESTS)} {pick(TAILS)}",
            lambda: f"press {pick(KEYS)} to {pick(ACTIONS)} {pick(OBJECTS)}",
            lambda: f"to {pick(ACTIONS)} {pick(OBJECTS)} {pick(WAYS)} {pick(ONES[:10])}",
            lambda: f"you {pick(MODALS)} {pick(ACTIONS)} {pick(OBJECTS)} {pick(TAILS)}",
            lambda: f"{pick(ACTIONS)} {pick(OBJECTS)} or {pick(ACTIONS)} {pick(OBJECTS)}",
            lambda: f"{pick(WHEN)} {pick(SUBJECTS)} {pick(PREDICATES)} {pick(REQUESTS)}",
            lambda: f"{pick(COUNTED)} {number()} {pick(THINGS)}",
            lambda: " ".join(pick(ONES[:10]) for _ in range(rng.randint(2, 7))),
        ]
        return pick(forms)()

    def _recombined(self, rng: random.Random) -> str:
        first, second = (
            rng.choice(self._long_prompts).split(),
            rng.choice(self._long_prompts).split(),
        )
        start = rng.randrange(len(first))
        end = rng.randrange(len(second))
        return " ".join(
            first[start : start + rng.randint(2, 6)] + second[end : end + rng.randint(2, 6)]
        )

    def draw(self, rng: random.Random) -> str:
        """One text of 1 to about 16 words."""
        while True:
            kind = rng.random()
            if kind < 0.30:
                text = rng.choice(self._general)
            elif kind < 0.62:
                text = self._telephone(rng)
            elif kind < 0.78:
                text = self._recombined(rng)
            elif kind < 0.90:
                text = rng.choice(self._prompts)
            else:
                text = " ".join(rng.choice(self.vocabulary) for _ in range(rng.randint(1, 4)))
            if len(text) > 100:
                words = text.split()
                start = rng.randrange(max(1, len(words) - 14))
                text = " ".join(words[start : start + 14])
            if not self._blocked(text):
                return text
