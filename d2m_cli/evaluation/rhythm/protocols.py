"""The rhythm metrics of Table 1, as the paper's words and public code of this field count them.

BCS is the share of the generated beats that are aligned, BHS that of the true beats that are, F1 the harmonic mean of
the two (Sec. 4.2). What a beat is, when two are aligned and how clips are averaged differs from one publication to the
next, and with it what the numbers mean; so each way has a name, and no number goes without one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from d2m_cli.evaluation.rhythm.detections import Detections


class Averaging(Enum):
    """How clips become one number.

    MEANS: BCS and BHS are means over clips; F1 is the harmonic mean of those two means (LORIS).
    CLIPS: F1 is the mean of the clips' own F1, too.
    UNBOUNDED: as MEANS, but BCS is the number of generated beats over that of true beats, and passes 1 where there are
    more of them; the public code states no F1, and the harmonic mean of such a BCS would not be one (CDCD).
    """

    MEANS = "F1 from the means of all clips"
    CLIPS = "mean of the clips' F1"
    UNBOUNDED = "BCS = generated / true beats, can pass 1; no F1"


@dataclass(frozen=True)
class Protocol:
    """One way to count.

    Attributes
    ----------
    name
        As tables print it.
    detector
        What counts as a beat: one of `d2m_cli.evaluation.rhythm.detections.DETECTORS`.
    tolerance
        Seconds within which two beats are aligned, each with at most one other; None where bins are compared.
    bins
        Bins a second, of which each holds a beat or none; None where beats are matched.
    averaging
        How clips become one number.
    source
        Where it comes from.
    """

    name: str
    detector: str
    tolerance: float | None
    bins: float | None
    averaging: Averaging
    source: str

    def count(self, reference: Detections, estimated: Detections) -> Counts:
        """Count the beats of one clip.

        Matched beats: what is generated after the end of the reference does not count; what is missing before it is
        missed. Bins: both are cut to the shorter one, as LORIS does.
        """
        true, made = reference.events(self.detector).tolist(), estimated.events(self.detector).tolist()
        if self.tolerance is not None:
            made = [time for time in made if time <= reference.seconds]
            return Counts(len(true), len(made), aligned(true, made, self.tolerance))
        assert self.bins is not None
        bins = min(math.ceil(clip.seconds * self.bins) for clip in (reference, estimated))
        filled = [{int(time * self.bins) for time in times if 0 <= time * self.bins < bins} for times in (true, made)]
        return Counts(len(filled[0]), len(filled[1]), len(filled[0] & filled[1]))

    def ratios(self, counts: Counts) -> tuple[float, float, float]:
        """BCS, BHS and F1 of one clip; what has no beats to divide by is 0, an F1 that is not stated NaN."""
        bhs = counts.hits / counts.reference if counts.reference else 0.0
        if self.averaging is Averaging.UNBOUNDED:
            return (counts.estimated / counts.reference if counts.reference else 0.0), bhs, math.nan
        bcs = counts.hits / counts.estimated if counts.estimated else 0.0
        return bcs, bhs, 2.0 * bcs * bhs / (bcs + bhs) if bcs + bhs > 0.0 else 0.0

    def overall_f1(self, means: NDArray[np.float64]) -> NDArray[np.float64]:
        """F1 of data sets, (...,), from their mean BCS, BHS and F1, (..., 3)."""
        if self.averaging is not Averaging.MEANS:
            return means[..., 2]
        total = means[..., 0] + means[..., 1]
        product = 2.0 * means[..., 0] * means[..., 1]
        return np.asarray(product / np.where(total > 0.0, total, 1.0), dtype=np.float64)


@dataclass(frozen=True)
class Counts:
    """Beats of one clip.

    Attributes
    ----------
    reference, estimated
        How many there are in the true and in the generated music (B_t and B_g of Sec. 4.2); bins where bins are
        compared.
    hits
        How many are aligned (B_a).
    """

    reference: int
    estimated: int
    hits: int


PAPER = Protocol(
    "paper", "loris_onsets", 0.2, None, Averaging.MEANS,
    "Sec. 4.2 in its words: LORIS's onsets and averages, with beats aligned within 0.2 s",
)  # fmt: skip
BINS5 = Protocol(
    "bins5", "loris_onsets", None, 5.0, Averaging.CLIPS,
    "Sec. 4.2 as other authors' code reads it: LORIS's onsets in bins of 0.2 s",
)  # fmt: skip
LORIS_BINS = Protocol(
    "loris", "loris_onsets", None, 1.0, Averaging.MEANS, "OpenGVLab/LORIS, beats_scores.py: bins of 1 s"
)
CDCD_BINS = Protocol(
    "cdcd", "cdcd_onsets", None, 1.0, Averaging.UNBOUNDED, "L-YeZhu/CDCD, inference_aist.py: bins of 1 s"
)
BEATS70 = Protocol(
    "beats70", "beats", 0.07, None, Averaging.CLIPS, "tracked beats, mir_eval's F-measure at its usual 0.07 s"
)
BEATS200 = Protocol(
    "beats200", "beats", 0.2, None, Averaging.CLIPS, "tracked beats, mir_eval's F-measure at the paper's 0.2 s"
)
PROTOCOLS = (PAPER, BINS5, LORIS_BINS, CDCD_BINS, BEATS70, BEATS200)


def aligned(reference: list[float], estimated: list[float], tolerance: float) -> int:
    """Largest number of pairs within a tolerance in which every time has one partner at most.

    Both lists rise. The same as the size of `mir_eval.util.match_events`, in one pass: of two times that could take the
    same partner the earlier one loses nothing by taking it first.
    """
    i = j = hits = 0
    while i < len(reference) and j < len(estimated):
        if estimated[j] + tolerance < reference[i]:
            j += 1
        elif estimated[j] - tolerance > reference[i]:
            i += 1
        else:
            hits, i, j = hits + 1, i + 1, j + 1
    return hits
