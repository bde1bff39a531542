"""Which of a recording's voices are one speaker's: embeddings to labels.

Owns the clustering. Pure numpy: must not know audio or models. The same voices get the same labels
every time, whatever ran before.

Source: `ClusterBackend` and `SpectralCluster` of FunASR 1.4.16 (`models/campplus/cluster_backend`):
its steps and its numbers. Two things are other. Its k-means begins at random, here from fixed
seeds, ten times. From 2,048 voices on it takes UMAP and HDBSCAN, or k-means where the number of
speakers is known; here such a recording is cut into stretches that are clustered each by itself,
and their clusters are joined as FunASR joins those of one recording, so that memory does not grow
with the square of a recording's length.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]

FEWEST = 20  # of fewer voices nothing can be said: they are one speaker's
MOST = 2047  # voices that are clustered together
_MOST_SPEAKERS = 15
# Of its likenesses to others a voice keeps this share, the largest, and at least so many.
_KEPT_SHARE, _FEWEST_KEPT = 0.022, 6
_SAME = 0.78  # two clusters whose centres are as like as this are one speaker's
_STARTS, _MOST_STEPS = 10, 300


def cluster(voices: npt.NDArray[np.floating], speakers: int = 0) -> Labels:
    """The speaker of each voice, numbered as they come in.

    Args:
        voices: embeddings in the order of time, `(N, D)`.
        speakers: how many there are; 0: as many as are found.

    Returns:
        `(N,)`.
    """
    count = len(voices)
    if count < FEWEST:
        return np.zeros(count, np.int64)
    exact = voices.astype(np.float64)
    stretches = np.array_split(exact, -(-count // MOST))
    labels = np.empty(count, np.int64)
    start = found = 0
    for stretch in stretches:
        of_stretch = _spectral(stretch, speakers)
        labels[start : start + len(stretch)] = found + of_stretch
        start += len(stretch)
        found += int(of_stretch.max()) + 1
    if not speakers or len(stretches) > 1:
        labels = _joined(labels, exact, speakers)
    return _in_order(labels)


def _spectral(voices: Numbers, speakers: int) -> Labels:
    """Clusters of the graph in which each voice is tied to those that it is most like."""
    count = len(voices)
    likeness = _unit(voices)
    likeness = likeness @ likeness.T
    share = _FEWEST_KEPT / count if count * _KEPT_SHARE < _FEWEST_KEPT else _KEPT_SHARE
    cut_off = int((1 - share) * count)
    lowest = np.argsort(likeness, axis=1)[:, :cut_off]
    np.put_along_axis(likeness, lowest, 0.0, axis=1)
    likeness = (likeness + likeness.T) / 2
    np.fill_diagonal(likeness, 0.0)
    laplacian = np.diag(np.abs(likeness).sum(axis=1)) - likeness
    values, vectors = np.linalg.eigh(laplacian)
    # As many clusters as there are small eigenvalues in front of the widest gap.
    wanted = speakers or int(np.argmax(np.diff(values[: _MOST_SPEAKERS + 1]))) + 1
    return _k_means(vectors[:, :wanted], wanted)


def _unit(vectors: Numbers) -> Numbers:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)


def _k_means(points: Numbers, clusters: int) -> Labels:
    """The best of ten runs of Lloyd's algorithm, each from seeds that lie far apart."""
    best, least = np.zeros(len(points), np.int64), np.inf
    if clusters == 1:
        return best
    random = np.random.default_rng(0)
    for _ in range(_STARTS):
        centres = _seeds(points, clusters, random)
        distances = _distances(points, centres)
        labels = distances.argmin(axis=1)
        for _ in range(_MOST_STEPS):
            for index in range(clusters):
                if (mine := labels == index).any():
                    centres[index] = points[mine].mean(axis=0)
            distances = _distances(points, centres)
            before, labels = labels, distances.argmin(axis=1)
            if np.array_equal(before, labels):
                break
        spread = float(distances.min(axis=1).sum())
        if spread < least:
            best, least = labels, spread
    return np.unique(best, return_inverse=True)[1].reshape(-1)


def _seeds(points: Numbers, clusters: int, random: np.random.Generator) -> Numbers:
    """Points of which each is taken the likelier the farther it is from those before it."""
    chosen = [int(random.integers(len(points)))]
    nearest = _distances(points, points[chosen])[:, 0]
    while len(chosen) < clusters:
        total = nearest.sum()
        weights = nearest / total if total > 0 else None
        chosen.append(int(random.choice(len(points), p=weights)))
        nearest = np.minimum(nearest, _distances(points, points[chosen[-1:]])[:, 0])
    return points[chosen].copy()


def _distances(points: Numbers, centres: Numbers) -> Numbers:
    """Squared distances, `(N, K)`."""
    return ((points[:, None, :] - centres[None, :, :]) ** 2).sum(axis=2)


def _joined(labels: Labels, voices: Numbers, speakers: int) -> Labels:
    """Clusters of like voices made one, the likest first.

    Args:
        labels: of the voices.
        voices: `(N, D)`.
        speakers: how many are to be left; 0: as many as are unlike each other.
    """
    count = int(labels.max()) + 1
    sums = np.zeros((count, voices.shape[1]))
    np.add.at(sums, labels, voices)
    sizes = np.bincount(labels, minlength=count).astype(np.float64)
    now = np.arange(count)  # what each cluster has become
    left = list(range(count))
    while len(left) > max(speakers, 1):
        centres = _unit(sums[left] / sizes[left, None])
        likeness = centres @ centres.T
        likeness[np.tril_indices(len(left))] = -np.inf
        one, other = np.unravel_index(int(likeness.argmax()), likeness.shape)
        if not speakers and likeness[one, other] < _SAME:
            break
        kept, gone = left[int(one)], left[int(other)]
        sums[kept] += sums[gone]
        sizes[kept] += sizes[gone]
        now[now == gone] = kept
        left.remove(gone)
    return now[labels]


def _in_order(labels: Labels) -> Labels:
    """The same clusters, numbered from 0 as they first come."""
    _, first, positions = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[positions.reshape(-1)]
