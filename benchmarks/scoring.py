"""What it takes to score: many rows, and recordings of hours.

    python benchmarks/scoring.py --rows 1000000
    python benchmarks/scoring.py --hours 15

Rows have 12 words of a vocabulary of 20,000, one in ten of them heard wrong. A recording has 2.8
words a second. Each case is a process of its own, so that its memory is.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS_IN_A_PART = 100_000
WORDS_IN_A_ROW = 12
WORDS_IN_A_SECOND = 2.8
WRONG = 0.1
SYLLABLES = [
    first + then for first in "bcdfghklmnprstvw" for then in ("a", "e", "i", "o", "u", "an")
]


def vocabulary(draw: np.random.Generator) -> list[str]:
    return ["".join(draw.choice(SYLLABLES, draw.integers(1, 5))) for _ in range(20_000)]


def said(draw: np.random.Generator, known: list[str], words: int) -> list[str]:
    """Words as frequent as those of a language."""
    places = np.minimum(draw.zipf(1.2, words), len(known)) - 1
    return [known[place] for place in places]


def heard(draw: np.random.Generator, known: list[str], words: list[str], wrong: float) -> list[str]:
    result: list[str] = []
    for word, fate in zip(words, draw.random(len(words)), strict=True):
        if fate < 0.6 * wrong:
            result.append(known[int(fate * 1e9) % len(known)])
        elif fate >= 0.8 * wrong:
            result += [word, *([known[7]] if fate > 1 - 0.2 * wrong else [])]
    return result


def write_output(folder: Path, rows: int, seed: int) -> None:
    folder.mkdir()
    draw = np.random.default_rng(0)
    known = vocabulary(draw)
    pool = [said(draw, known, WORDS_IN_A_ROW) for _ in range(ROWS_IN_A_PART)]
    references = [" ".join(words) for words in pool]
    mistaken = np.random.default_rng(seed)
    texts = [" ".join(heard(mistaken, known, words, WRONG)) for words in pool]
    for start in range(0, rows, ROWS_IN_A_PART):
        count = min(ROWS_IN_A_PART, rows - start)
        table = pa.table(
            {
                "utterance_id": [f"recording-{n:09d}" for n in range(start, start + count)],
                "status": ["ok"] * count,
                "text": texts[:count],
                "reference_text": references[:count],
                "speaker": [f"speaker-{n % 997}" for n in range(count)],
            }
        )
        pq.write_table(table, folder / f"part-{start:09d}.parquet")


def many_rows(folder: str, **options: Any) -> str:
    import ray_asr

    found = ray_asr.score(folder, **options)
    interval = found.wer_interval
    sure = "" if interval is None else f", {100 * interval.low:.3f} to {100 * interval.high:.3f}"
    return f"WER {100 * found.wer.rate:.3f} %{sure}"


def long_row(hours: float, wrong: float, by_character: bool) -> str:
    from ray_asr.results.align import align

    draw = np.random.default_rng(1)
    known = vocabulary(draw)
    reference = said(draw, known, int(hours * 3600 * WORDS_IN_A_SECOND))
    text = heard(draw, known, reference, wrong) if wrong < 1 else said(draw, known, len(reference))
    sides = ("".join(reference), "".join(text)) if by_character else (reference, text)
    start = time.process_time()
    found = align(*sides)
    spent = time.process_time() - start
    errors = found.counts().errors
    return (
        f"{len(sides[0]):,} units, {errors:,} errors, "
        f"{'exact' if found.is_exact else 'in pieces'}: {spent:.1f} s of CPU"
    )


def measured(work: Callable[..., str], *args: Any, **options: Any) -> str:
    """What a process of its own says, with its seconds and its greatest memory."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (work, args, options))


def _measured(work: Callable[..., str], args: tuple[Any, ...], options: dict[str, Any]) -> str:
    start = time.process_time()
    result = work(*args, **options)
    spent = time.process_time() - start
    status = Path("/proc/self/status").read_text(encoding="ascii")
    memory = next(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line)
    return f"{result}; {spent:.1f} s of CPU, {memory // 1024} MiB at most"


def cases(rows: int, hours: float, root: Path) -> Iterator[tuple[str, str]]:
    if rows:
        one, other = str(root / "one"), str(root / "other")
        for folder, seed in ((one, 1), (other, 2)):
            write_output(Path(folder), rows, seed)
        yield "counts alone", measured(many_rows, one, bootstrap_samples=0, confusions=0)
        yield "as it is given", measured(many_rows, one)
        yield "by speaker", measured(many_rows, one, by=["speaker"], bootstrap_by="speaker")
        yield "a separate reference", measured(many_rows, one, reference=one)
        details = str(root / "details.parquet")
        yield "against another", measured(many_rows, one, against=other, details=details)
    if hours:
        for wrong in (0.05, 0.3, 1.0):
            for by_character in (False, True):
                name = f"{100 * wrong:.0f} % wrong, {'characters' if by_character else 'words'}"
                yield name, measured(long_row, hours, wrong, by_character)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--hours", type=float, default=0.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ray_asr_scoring_") as root:
        for name, result in cases(args.rows, args.hours, Path(root)):
            sys.stdout.write(f"{name:<28}{result}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
