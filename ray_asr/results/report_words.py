"""Figures as a reader likes them: few digits, and the unit that fits.

Owns how numbers and times are written in a report. Must not know what they are of.
"""

from __future__ import annotations

import math

TIMES = "\u00d7"  # the sign of multiplication
_BRIEF = {"seconds": "s", "minutes": "min", "hours": "h"}


def short(value: float) -> str:
    """A figure in few characters: 0.53, 12.5, 840, 12.3k, 4.1M."""
    for limit, divisor, letter in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= limit:
            return f"{value / divisor:.3g}{letter}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def count(value: float) -> str:
    """A whole number with its thousands apart."""
    return f"{round(value):,}"


def times(value: float) -> str:
    """How many times, with the sign of it: 0.84, 5.2, 52, 1,240."""
    if value >= 1000:
        return f"{value:,.0f} {TIMES}"
    return f"{value:.0f} {TIMES}" if value >= 100 else f"{value:.3g} {TIMES}"


def took(seconds: float) -> str:
    """A time that passed: 0.8 s, 14.2 s, 1 min 32 s, 3 h 05 min, 2 d 04 h."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 59.95 else "1 min 00 s"
    minutes, whole = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {whole:02d} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours:02d} h"


def audio(seconds: float) -> str:
    """Much audio, in the unit that it is counted in: 43 s, 12.4 minutes, 3.21 hours."""
    if seconds < 100:
        return f"{seconds:.3g} seconds"
    if seconds < 100 * 60:
        return f"{seconds / 60:.3g} minutes"
    hours = seconds / 3600
    return f"{hours:,.0f} hours" if hours >= 1000 else f"{hours:.3g} hours"


def brief_audio(seconds: float) -> str:
    """The same where there is little room: 43 s, 12.4 min, 3.21 h."""
    figure, _, unit = audio(seconds).partition(" ")
    return f"{figure} {_BRIEF[unit]}"


def clock(seconds: float) -> str:
    """A moment of a recording or of a run: 0:03, 12:07, 1:02:45."""
    minutes, whole = divmod(math.floor(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{whole:02d}" if hours else f"{minutes}:{whole:02d}"


def percent(share: float) -> str:
    """A share of a whole: 0.04 %, 3.2 %, 97 %; a little is never 0, and not quite all never 100."""
    value = 100 * share
    if 0 < value < 0.01:
        return "< 0.01 %"
    if 99 < value < 100:
        return f"{min(value, 99.99):.2f} %"
    return f"{value:.0f} %" if value >= 10 or value == 0 else f"{value:.2g} %"


def money(value: float) -> str:
    """An amount in a currency that nobody named: two digits, or more where it is small."""
    if value >= 0.1 or value == 0:
        return f"{value:,.2f}"
    return f"{value:.2g}" if value >= 1e-4 else f"{value:.1e}"
