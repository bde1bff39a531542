"""Names made of ids: valid where they are used, and no two alike.

Owns which names are valid: of files, and of Kaldi's ids. An id comes from anywhere; no name of a
file has a folder in it, or an order for a shell. Must not know formats.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable

from ray_asr.results.disk_table import DiskTable
from ray_asr.results.subtitle_units import plain_text

_MOST_BYTES = 160  # of a name; file systems take 255 with what stands behind it
_MARK = "~"  # before what tells names of the same letters apart; no clean name has it
# Names of devices, which Windows takes for files whatever stands behind the first dot.
_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", *(f"com{n}" for n in "0123456789"),
     *(f"lpt{n}" for n in "0123456789")]
)  # fmt: skip


class Names:
    """A new name for each id, in turn.

    Args:
        clean: makes an id valid.
        ignores_case: that two names which differ in case alone are alike, as for some disks.
    """

    def __init__(self, clean: Callable[[str], str], *, ignores_case: bool = False) -> None:
        self._clean = clean
        self._ignores_case = ignores_case
        self._taken = DiskTable()

    def new(self, utterance_id: str) -> str:
        """A name that none has been given before."""
        name = self._clean(utterance_id)
        if self._taken.add(self._key(name)):
            return name
        base = f"{name}{_MARK}{digest(utterance_id)[:8]}"
        count = int(self._taken.get(f"\0{base}") or 0)
        while True:
            count += 1
            name = base if count == 1 else f"{base}{_MARK}{count}"
            if self._taken.add(self._key(name)):
                break
        self._taken.put(f"\0{base}", str(count))
        return name

    def close(self) -> None:
        """Forget all names."""
        self._taken.close()

    def _key(self, name: str) -> str:
        return name.casefold() if self._ignores_case else name


def digest(text: str) -> str:
    """Hexadecimal digits that hang on the text alone."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def file_name(utterance_id: str) -> str:
    """A file's name, without a suffix: letters, digits, `.`, `_` and `-`."""
    text = re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", plain_text(utterance_id)))
    text = _cut(text.strip("._-")).strip("._-")
    if not text or text.partition(".")[0].casefold() in _DEVICES:
        return f"row_{text}".strip("_")
    return text


def kaldi_id(utterance_id: str) -> str:
    """An id for Kaldi: no blanks, and no character that sorts before `-`.

    Kaldi wants utterances in the order of their speakers. Where an utterance's id is its speaker's,
    `--`, and more, that is so if no id has `--` in it or `-` at an end.
    """
    text = re.sub(r"[^\w./:@=-]+", "_", unicodedata.normalize("NFC", plain_text(utterance_id)))
    text = re.sub("-{2,}", "-", text).strip("-")
    return _cut(text).strip("-") or "row"


def _cut(text: str) -> str:
    return text.encode()[:_MOST_BYTES].decode(errors="ignore")
