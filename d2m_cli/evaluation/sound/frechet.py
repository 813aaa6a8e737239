"""How far a set of generated music is from a set of real music: FAD, FAD-infinity and KAD over any embedding.

FAD (Kilgour et al., "Fréchet Audio Distance", 2019) takes both sets for Gaussians. Its estimate is too high by an
amount that goes with 1 / clips, so figures from sets of different sizes do not compare; FAD-infinity (Gui et al.,
"Adapting Fréchet Audio Distance for Generative Music Evaluation", 2024) extrapolates that away. KAD (Chung et al.,
"KAD: No More FAD!", 2025) has neither that bias nor the Gaussians, and suits small sets best.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from d2m_cli.evaluation.sound.embedding import EmbeddingSet
from d2m_cli.ground.words import count

Array = NDArray[np.float64]

STEPS = 25
"""Sizes of part from which FAD-infinity is extrapolated; the number that microsoft/fadtk takes."""
KAD_SCALE = 100.0
"""What the public toolkit multiplies its score by."""
BLOCK = 1024
"""Rows of a kernel matrix that are computed at once."""


@dataclass(frozen=True)
class Distance:
    """One distance between two sets of clips.

    Attributes
    ----------
    kind
        "FAD", "FAD-infinity" or "KAD".
    embedding
        Name of the embedder; distances by different embedders have nothing in common.
    value
        Smaller is nearer; None where it can't be told, for the reason in `notes`. FAD-infinity and KAD can fall below 0
        between sets that are alike.
    reference_frames, estimated_frames
        Embeddings of the real and of the generated music.
    notes
        What to know before trusting it, in words.
    by_seed
        Where a system has several seeds, the distance of each of them, whose mean `value` is: a distance goes with the
        number of clips, so seeds are not put together.
    """

    kind: str
    embedding: str
    value: float | None
    reference_frames: int
    estimated_frames: int
    notes: tuple[str, ...] = ()
    by_seed: tuple[float | None, ...] = ()

    @property
    def column(self) -> str:
        """Head of a table's column."""
        return f"{self.kind} ({self.embedding})"


@dataclass(frozen=True)
class Gaussian:
    """A normal distribution.

    Attributes
    ----------
    mean
        (width,)
    root
        (k, width) with root.T @ root the covariance. Kept instead of the covariance because a few frames in many
        dimensions give a singular one, whose square root is lost in rounding.
    """

    mean: Array
    root: Array

    @classmethod
    def of(cls, frames: Array) -> Gaussian:
        """Mean and covariance (ddof 1) of (n, width) frames, n at least 2."""
        mean = frames.mean(axis=0)
        root = (frames - mean) / np.sqrt(len(frames) - 1)
        if len(root) > root.shape[1]:
            root = np.asarray(np.linalg.qr(root, mode="r"))
        return cls(mean, root)


def frechet_distance(first: Gaussian, second: Gaussian) -> float:
    """Squared Fréchet distance: |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)).

    With C = R'R, tr (C1 C2)^(1/2) is the sum of the singular values of R1 R2': real and never negative, whatever the
    rank. Where the two are alike, rounding leaves about 1e-15 of the variance, which is cut at 0.
    """
    apart = float(np.square(first.mean - second.mean).sum())
    spread = float(np.square(first.root).sum() + np.square(second.root).sum())
    shared = float(np.linalg.svd(first.root @ second.root.T, compute_uv=False).sum())
    return apart + max(0.0, spread - 2.0 * shared)


def fad(reference: EmbeddingSet, estimated: EmbeddingSet) -> Distance:
    """Fréchet audio distance.

    Parameters
    ----------
    reference, estimated
        Real and generated music, embedded by the same embedder.

    Returns
    -------
    Without a value where a set has a single clip: its frames are no sample of anything.

    Raises
    ------
    ValueError
        The sets were embedded by different embedders.
    """
    notes = _obstacles(reference, estimated)
    if notes:
        return _distance("FAD", reference, estimated, None, notes)
    value = frechet_distance(Gaussian.of(reference.frames), Gaussian.of(estimated.frames))
    return _distance("FAD", reference, estimated, value, _few_frames(reference, estimated))


def fad_infinity(reference: EmbeddingSet, estimated: EmbeddingSet, steps: int = STEPS, seed: int = 0) -> Distance:
    """FAD that an endless set of generated music would have.

    FAD of random parts of the generated set is fitted by a straight line over 1 / n, and read off at 0. This differs
    from microsoft/fadtk in two things. Parts are whole clips, not frames: the frames of a clip are alike, and a part
    with a few frames of every clip is no smaller a sample than the whole. And they are drawn without replacement, as in
    FID-infinity (Chong and Forsyth, 2020); drawn with it, the bias of the whole set stays in. The bias of the reference
    set stays in any case; it is the same for all systems.

    Parameters
    ----------
    reference, estimated
        As in `fad`.
    steps
        How many sizes of part at most, from a quarter of the clips (and more frames than an embedding has numbers) to
        all of them.
    seed
        The same seed draws the same parts.

    Returns
    -------
    Without a value where half of the clips have no more frames than an embedding has numbers.
    """
    kind = "FAD-infinity"
    notes = _obstacles(reference, estimated)
    if notes:
        return _distance(kind, reference, estimated, None, notes)
    clips = np.split(estimated.frames, np.cumsum(estimated.counts)[:-1])
    enough = int(np.ceil((estimated.frames.shape[1] + 1) / (len(estimated.frames) / len(clips))))
    smallest = max(enough, len(clips) // 4, 2)
    if len(clips) < 2 * smallest:
        few = (
            f"{count(len(clips), 'clip')} with {count(len(estimated.frames), 'frame')} are too few to extrapolate from"
        )
        return _distance(kind, reference, estimated, None, (f"{few}; it takes {2 * smallest} such clips",))
    rng = np.random.default_rng(seed)
    target = Gaussian.of(reference.frames)
    sizes = np.unique(np.linspace(smallest, len(clips), steps).astype(int))
    parts = [np.concatenate([clips[place] for place in rng.permutation(len(clips))[:size]]) for size in sizes.tolist()]
    _, intercept = np.polyfit(1.0 / sizes, [frechet_distance(target, Gaussian.of(part)) for part in parts], 1)
    return _distance(kind, reference, estimated, float(intercept), _few_frames(reference, estimated))


def kad(reference: EmbeddingSet, estimated: EmbeddingSet) -> Distance:
    """Kernel audio distance: 100 times the unbiased squared maximum mean discrepancy under a Gaussian kernel.

    The kernel is exp(-|x - y|^2 / (2 s^2)) with s the median distance between two frames of the reference set, as the
    toolkit's description has it; its code takes the median of its second argument, which is the generated set, and then
    systems are measured by different rulers.

    Parameters
    ----------
    reference, estimated
        As in `fad`.

    Returns
    -------
    Without a value where a set has a single clip, or where all frames of the reference are the same.
    """
    notes = _obstacles(reference, estimated)
    if notes:
        return _distance("KAD", reference, estimated, None, notes)
    bandwidth = median_distance(reference.frames)
    if bandwidth <= 0.0:
        return _distance("KAD", reference, estimated, None, ("the frames of the reference are all the same",))
    value = KAD_SCALE * squared_discrepancy(reference.frames, estimated.frames, bandwidth)
    return _distance("KAD", reference, estimated, value, ())


def squared_discrepancy(first: Array, second: Array, bandwidth: float) -> float:
    """Unbiased estimate of the squared maximum mean discrepancy under a Gaussian kernel.

    Parameters
    ----------
    first, second
        (m, width) and (n, width), m and n at least 2.
    bandwidth
        Of the kernel, in the unit of the frames.
    """

    def total(a: Array, b: Array) -> float:
        return sum(
            float(np.exp(-_squared_distances(a[start : start + BLOCK], b) / (2.0 * bandwidth**2)).sum())
            for start in range(0, len(a), BLOCK)
        )

    m, n = len(first), len(second)
    # A frame's kernel with itself is 1, and does not count.
    within = (total(first, first) - m) / (m * (m - 1)) + (total(second, second) - n) / (n * (n - 1))
    return within - 2.0 * total(first, second) / (m * n)


def median_distance(frames: Array) -> float:
    """Median Euclidean distance between two different rows of (n, width) frames."""
    pairs = [np.sqrt(_squared_distances(frames[row : row + 1], frames[row + 1 :])[0]) for row in range(len(frames) - 1)]
    return float(np.median(np.concatenate(pairs)))


def _squared_distances(first: Array, second: Array) -> Array:
    """(m, n) squared distances between rows."""
    product = first @ second.T
    squares = np.square(first).sum(axis=1)[:, None] + np.square(second).sum(axis=1)[None]
    return np.asarray(np.maximum(squares - 2.0 * product, 0.0))


def _distance(
    kind: str, reference: EmbeddingSet, estimated: EmbeddingSet, value: float | None, notes: tuple[str, ...]
) -> Distance:
    return Distance(kind, reference.embedding, value, len(reference.frames), len(estimated.frames), notes)


def _obstacles(reference: EmbeddingSet, estimated: EmbeddingSet) -> tuple[str, ...]:
    """Why there is no distance between two sets, in words; empty where nothing hinders."""
    if reference.embedding != estimated.embedding:
        raise ValueError(f"{reference.embedding} and {estimated.embedding} have nothing in common; embed both alike")
    found = []
    for side, whole in (("real", reference), ("generated", estimated)):
        if len(whole.clips) < 2 or len(whole.frames) < 2:
            there = f"{count(len(whole.clips), f'{side} clip')} with {count(len(whole.frames), 'frame')}"
            found.append(f"{there}: a distance between sets takes at least two clips")
    return tuple(found)


def _few_frames(reference: EmbeddingSet, estimated: EmbeddingSet) -> tuple[str, ...]:
    return tuple(
        f"{count(len(whole.frames), f'{side} frame')} in {whole.frames.shape[1]} dimensions: their covariance has "
        "gaps, so compare this figure only with others from as many frames"
        for side, whole in (("real", reference), ("generated", estimated))
        if len(whole.frames) <= whole.frames.shape[1]
    )
