"""Which waveforms are recognized together: groups by padded seconds, and the way back.

Owns the grouping rule. Must not know audio arrays or models: it sees durations only.

Source of the cost (count x longest): lhotse's `TimeConstraint`; the model computes the padding
as if it were speech.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def group_by_padded_seconds(durations_s: Sequence[float], batch_size_s: float) -> list[list[int]]:
    """Group indices so that count x longest stays within `batch_size_s`, longest first.

    Sorting makes neighbours alike, so little is padded; longest first brings the largest
    allocation to the front and leaves small groups for the end. One that is longer than
    `batch_size_s` stands alone.

    Args:
        durations_s: the duration of each waveform, in seconds.
        batch_size_s: the bound on padded seconds of one group.

    Returns:
        Groups that together hold every index exactly once.
    """
    order = sorted(range(len(durations_s)), key=lambda i: (-durations_s[i], i))
    groups: list[list[int]] = []
    longest_s = 0.0
    for index in order:
        if groups and longest_s * (len(groups[-1]) + 1) <= batch_size_s:
            groups[-1].append(index)
        else:
            groups.append([index])
            longest_s = durations_s[index]
    return groups


def scatter(groups: Sequence[Sequence[int]], results: Sequence[Sequence[T]]) -> list[T]:
    """Results of groups back in the order of the indices that were grouped.

    Raises:
        ValueError: a group has another number of results than indices.
    """
    pairs = [
        (index, result)
        for group, of_group in zip(groups, results, strict=True)
        for index, result in zip(group, of_group, strict=True)
    ]
    return [result for _, result in sorted(pairs, key=lambda pair: pair[0])]
