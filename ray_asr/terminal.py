"""Text from anywhere, as a terminal may have it.

Owns what is not sent to a terminal as it is: transcripts, ids and file names are others' words, and
a terminal takes some of them for orders. Must not know where a text comes from.
"""

from __future__ import annotations

import logging
import re

# C0 and C1 controls but tab and newline, marks that turn the direction of all that follows, and
# halves of a pair of UTF-16, which no terminal's encoding has.
_ORDERS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    r"""`text` with control characters written out, such as `\u001b`; lines and tabs stay."""
    return _ORDERS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class PrintableFormatter(logging.Formatter):
    """A log record's line with control characters written out."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, or lines where it has a traceback."""
        return printable(super().format(record))
