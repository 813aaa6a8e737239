"""Genre KLD: how far the genre that a classifier predicts for generated music is from the one it should have.

Three readings have a name each, as no number means anything without one; all use natural logarithms and are means over
clips.

``label``
    The paper's words (Sec. 4.2): the divergence of the predicted probabilities from the ground-truth label. For a
    one-hot label q that is KL(q || p) = -ln p(label). It needs a classifier that knows the ten AIST++ genres.
``reference``
    KL(p_real || p_generated) between the probabilities predicted for the true music and for the generated one. It goes
    with any classifier, and is what one trained on other genres, such as the published MS-SincResNet, can say.
``dmd``
    What vtan05/dmd computes, the public code of MDM in Table 1 and the only one of this field that states a genre KLD:
    the sum of scipy's kl_div over the logits for the true and for the generated music, each scaled from its smallest to
    its largest value onto 0 to 1, which are no probabilities. It is infinite unless the same genre comes last in both;
    that code leaves such clips out, and so does this, with their number beside it.

The paper's authors published no code for it. In the first two, no probability counts as less than `SMALLEST`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from d2m_cli.errors import AudioError
from d2m_cli.ground.genres import GENRE_CODES, genre_code
from d2m_cli.ground.words import count

Array = NDArray[np.float64]

GENRES = tuple(sorted(GENRE_CODES))
"""Codes of the ten AIST++ genres in the order of one-hot labels and probabilities."""
SMALLEST = 1e-6
"""Least probability: one clip that a classifier is wrong and sure about adds 13.8 at most."""
GENRE_COLUMNS = ("genre.kld_label", "genre.kld_reference", "genre.kld_dmd", "genre.accuracy")
"""What `GenreClip.values` holds, in its order; the last is better when higher, the others when lower."""


class Classifier(Protocol):
    """A network that tells genres apart.

    Attributes
    ----------
    name
        Goes into the heads of tables.
    classes
        Names of its genres, in the order of the probabilities; `GENRES` where it knows those of AIST++.
    same_music
        Names of the backbones that learned from the very music that it learned from.
    """

    @property
    def name(self) -> str: ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def same_music(self) -> tuple[str, ...]: ...

    def genres(self, samples: NDArray[np.floating[Any]], rate: int) -> Array:
        """Probabilities (classes,) of (n,) or (channels, n) samples; AudioError where they are too short."""
        ...


@dataclass(frozen=True, repr=False)
class GenreClip:
    """What a classifier predicts for one clip.

    Attributes
    ----------
    classes
        Of the classifier.
    generated
        (classes,) probabilities of the generated music.
    reference
        The same of the true music, or None where there is none.
    label
        Code of the true genre, or None where it is not known.
    """

    classes: tuple[str, ...]
    generated: Array
    reference: Array | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        for side in (self.generated, self.reference):
            if side is not None and (
                side.shape != (len(self.classes),) or not (side >= 0.0).all() or abs(side.sum() - 1.0) > 1e-4
            ):
                raise ValueError(f"probabilities must be ({len(self.classes)},) and add up to 1, not {side}")
        if self.label is not None and self.label not in GENRES:
            raise ValueError(f"a genre label must be one of {', '.join(GENRES)}, not {self.label!r}")

    def __repr__(self) -> str:
        return f"GenreClip(predicted={self.classes[int(self.generated.argmax())]}, label={self.label})"

    def values(self) -> list[float]:
        """`GENRE_COLUMNS` of this clip; NaN where it has none."""
        line = [np.nan] * len(GENRE_COLUMNS)
        if self.label in self.classes:
            line[0] = label_divergence(self.generated, self.classes.index(self.label))
            line[3] = float(self.classes[int(self.generated.argmax())] == self.label)
        if self.reference is not None:
            line[1] = divergence(self.reference, self.generated)
            scaled = dmd_divergence(self.reference, self.generated)
            line[2] = scaled if np.isfinite(scaled) else np.nan
        return line


@dataclass(frozen=True)
class GenreScores:
    """What a data set scores; each figure is None where no clip has it.

    Attributes
    ----------
    classifier
        Its name; figures by different classifiers have nothing in common.
    clips
        How many were classified.
    kld_label, kld_reference, kld_dmd
        Smaller is nearer; see the head of this file.
    dmd_clips
        How many clips `kld_dmd` is the mean of.
    accuracy
        Share of clips whose most likely genre is the true one; chance is 0.1.
    notes
        What to know before trusting them, in words.
    left_out
        (name, reason) of clips that can't be classified.
    """

    classifier: str
    clips: int
    kld_label: float | None
    kld_reference: float | None
    kld_dmd: float | None
    dmd_clips: int
    accuracy: float | None
    notes: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Recording:
    """Sound of one clip, with its name for reports.

    Attributes
    ----------
    name
        Of the clip.
    samples
        (n,) or (channels, n).
    rate
        Hz.
    """

    name: str
    samples: NDArray[np.floating[Any]]
    rate: int


def classify_clip(
    classifier: Classifier, generated: Recording, reference: Recording | None = None, label: str | None = None
) -> GenreClip:
    """Classify one clip, and the true music beside it.

    Parameters
    ----------
    classifier
        What predicts genres.
    generated, reference
        The generated and, where there is one, the true music.
    label
        Code or name of the true genre.

    Raises
    ------
    AudioError
        One of them can't be classified; the text says which.
    UsageError
        The label is none of the ten genres.
    """
    return GenreClip(
        classifier.classes,
        _probabilities(classifier, generated),
        None if reference is None else _probabilities(classifier, reference),
        None if label is None else genre_code(label),
    )


def genre_scores(classifier: str, clips: Sequence[GenreClip], left_out: Sequence[tuple[str, str]] = ()) -> GenreScores:
    """Means over clips.

    Parameters
    ----------
    classifier
        Its name.
    clips
        Of one data set.
    left_out
        (name, reason) of clips that could not be classified, kept for the table.
    """
    values = np.array([clip.values() for clip in clips]).reshape(-1, len(GENRE_COLUMNS))
    there = np.isfinite(values)
    label, reference, dmd, accuracy = (
        float(values[there[:, column], column].mean()) if there[:, column].any() else None
        for column in range(len(GENRE_COLUMNS))
    )
    notes = []
    foreign = [clip for clip in clips if clip.label is not None and clip.label not in clip.classes]
    if foreign:
        notes.append(f"{classifier} knows {', '.join(foreign[0].classes)}: no label of AIST++ is among them")
    compared, finite = int(there[:, 1].sum()), int(there[:, 2].sum())
    if compared > finite:
        lost = f"infinite for {compared - finite} of {count(compared, 'clip')}"
        notes.append(
            f"kld_dmd: {f'mean of the other {finite}' if finite else 'no mean'}, since it is {lost} (in which another "
            "genre comes last than in the true music)"
        )
    return GenreScores(
        classifier, len(clips), label, reference, dmd, int(there[:, 2].sum()), accuracy, tuple(notes), tuple(left_out)
    )


def label_divergence(probabilities: Array, label: int) -> float:
    """KL(one-hot || probabilities) = -ln p(label)."""
    return float(-np.log(max(float(probabilities[label]), SMALLEST)))


def divergence(true: Array, predicted: Array) -> float:
    """KL(true || predicted) of two distributions, the probabilities of `predicted` no less than `SMALLEST`."""
    counts = true > 0.0
    return float((true[counts] * np.log(true[counts] / np.maximum(predicted[counts], SMALLEST))).sum())


def dmd_divergence(true: Array, predicted: Array) -> float:
    """Sum of x ln(x / y) - x + y over logits scaled onto 0 to 1; infinite unless the same class comes last in both.

    Logits are the logarithms of probabilities up to a constant, which the scaling removes.
    """
    from scipy.special import kl_div

    return float(kl_div(_scaled_logits(true), _scaled_logits(predicted)).sum())


def _scaled_logits(probabilities: Array) -> Array:
    logits = np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))
    span = logits.max() - logits.min()
    return np.asarray((logits - logits.min()) / span if span > 0.0 else np.zeros_like(logits))


def _probabilities(classifier: Classifier, clip: Recording) -> Array:
    try:
        predicted = np.asarray(classifier.genres(clip.samples, clip.rate), dtype=np.float64)
    except AudioError as error:
        raise AudioError(f"{clip.name}: {error}") from error
    if not np.isfinite(predicted).all():
        raise AudioError(f"{clip.name}: {classifier.name} gives values for it that are not numbers; listen to the file")
    return predicted
