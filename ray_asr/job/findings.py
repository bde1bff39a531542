"""What a look at an output came to: findings, counts, and how they are shown.

Owns the words and the sentence at the end. Must not know how anything is found out.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ray_asr.blocks import Block, Cell, Facts, Said
from ray_asr.schema import STATUS_FAILED, STATUS_NO_SPEECH, STATUS_OK
from ray_asr.shown import Shown

# Of an output that is all wrong, so many findings are told of, and so many rows of each.
MOST_FINDINGS = 1000
MOST_ROWS = 5
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it must be.

    Attributes:
        kind: what sort of thing, in one word.
        file: the name of the file in the output.
        detail: a sentence.
        count: rows that it concerns.
        rows: the first of these, counted from 0 in the file; none where it is the whole file.
    """

    kind: str
    file: str
    detail: str
    count: int = 0
    rows: tuple[int, ...] = ()

    def line(self) -> str:
        """The finding in a line."""
        where = self.file
        if self.rows:
            shown = ", ".join(map(str, self.rows))
            more = ", …" if self.count > len(self.rows) else ""
            where += f" row{'s' if self.count > 1 else ''} {shown}{more}"
        return f"{where}: {self.detail}"


class Findings:
    """Findings of several threads: the first of them, and how many there are of each kind."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.kept: list[Finding] = []
        self.by_kind: Counter[str] = Counter()

    def add(
        self, kind: str, file: str, detail: str, count: int = 0, rows: Sequence[int] = ()
    ) -> None:
        """Take a finding (its fields are those of `Finding`)."""
        finding = Finding(kind, file, detail, count, tuple(map(int, rows[:MOST_ROWS])))
        with self._lock:
            self.by_kind[kind] += 1
            if len(self.kept) < MOST_FINDINGS:
                self.kept.append(finding)


@dataclass(frozen=True, slots=True)
class Verification(Shown):
    """What `verify` proved, or what it found.

    Attributes:
        rows_in: rows of the input, in `units` units of work.
        rows_out: rows that a reader of the output sees.
        rows_missing: rows of the `units_missing` units that have no part.
        by_status: rows that were looked at, by their status.
        findings: the first of what is not as it must be, and `by_kind` how many there are.
        notes: what does no harm, or is the input's own.
        wall_s: what it took, in seconds.
    """

    output: str
    source: str
    rows_in: int
    rows_out: int
    units: int
    units_missing: int
    rows_missing: int
    by_status: dict[str, int]
    findings: list[Finding] = field(default_factory=list)
    by_kind: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    wall_s: float = 0.0

    @property
    def proven(self) -> bool:
        """Whether each input row stands in the output once and as it must be, and nothing else."""
        return not self.by_kind and not self.units_missing

    def sentence(self) -> str:
        """The outcome, and the next step where there is one."""
        if self.proven:
            return (
                f"proven: each of the {self.rows_in} rows of {self.source} stands in {self.output} "
                "exactly once, and nothing else does."
            )
        words: list[str] = []
        if self.units_missing:
            words.append(
                f"{self.units_missing} of {self.units} units ({self.rows_missing} rows) are not "
                "done: the same transcribe command does them"
            )
        if self.by_kind:
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.by_kind.items()))
            words.append(f"there are findings ({kinds})")
        return f"not proven for {self.output}: {'; '.join(words)}."

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {"proven": self.proven, "sentence": self.sentence(), **asdict(self)}

    def blocks(self) -> list[Block]:
        """Counts, findings and the outcome."""
        status = ", ".join(
            f"{self.by_status.get(name, 0)} {name}"
            for name in (STATUS_OK, STATUS_NO_SPEECH, STATUS_FAILED)
        )
        facts: list[tuple[str, Cell]] = [
            ("rows", f"{self.rows_in} in, {self.rows_out} out"),
            ("status", status),
            ("units", f"{self.units - self.units_missing} of {self.units} done"),
        ]
        facts += [("found", finding.line()) for finding in self.findings[:_SHOWN]]
        left = sum(self.by_kind.values()) - _SHOWN
        if left > 0:
            facts.append(("", f"and {left} more; --json has {MOST_FINDINGS} at most"))
        facts += [("note", note) for note in self.notes]
        return [Facts(facts), Said(self.sentence(), "good" if self.proven else "bad")]
