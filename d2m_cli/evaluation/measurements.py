"""What every model measures on every clip of one system, and the scores that follow from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from d2m_cli.errors import AudioError
from d2m_cli.evaluation.models import Models, Sound, detect
from d2m_cli.evaluation.pairing import ClipFacts
from d2m_cli.evaluation.results import GenreResult, SystemResult, TextScore
from d2m_cli.evaluation.rhythm.detections import Detections
from d2m_cli.evaluation.rhythm.scores import Estimate, Pair
from d2m_cli.evaluation.rhythm.summary import Difference, Summary, difference
from d2m_cli.ground.statistics import bootstrap, paired_bootstrap
from d2m_cli.media.audio import Samples

if TYPE_CHECKING:
    from d2m_cli.evaluation.genre.divergence import Classifier, GenreClip
    from d2m_cli.evaluation.sound.embedding import Embedder, EmbeddingSet
    from d2m_cli.evaluation.sound.frechet import Distance


@dataclass(frozen=True)
class ReferenceClip:
    """What is known of one clip's reference, found once for all systems."""

    detections: Detections
    genres: Mapping[str, NDArray[np.float64] | AudioError | None]
    """By classifier; None where there is no sound, an error where it can't be classified."""


def reference_genres(
    classifiers: Sequence[Classifier], name: str, sound: Sound | None
) -> dict[str, NDArray[np.float64] | AudioError | None]:
    """What each classifier predicts for the true music of a clip; see `ReferenceClip.genres`."""
    from d2m_cli.evaluation.genre.divergence import Recording, classify_clip

    if sound is None:
        return dict.fromkeys(classifier.name for classifier in classifiers)
    found: dict[str, NDArray[np.float64] | AudioError | None] = {}
    for classifier in classifiers:
        try:
            found[classifier.name] = classify_clip(classifier, Recording(name, *sound)).generated
        except AudioError as error:
            found[classifier.name] = error
    return found


class Embeddings:
    """Embeddings of a set of clips, gathered one by one."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder
        self.sets: list[EmbeddingSet] = []

    def add(self, name: str, samples: Samples, rate: int) -> None:
        """Embed one clip."""
        from d2m_cli.evaluation.sound.embedding import embed_clips

        self.sets.append(embed_clips([(name, samples, rate)], self.embedder))

    def remarks(self, whose: str = "") -> list[str]:
        """What was left out, and silence, in words."""
        found, side = [], f"{whose}: " if whose else ""
        for part in self.sets:
            found += [f"{side}{name}: not in FAD and KAD ({self.embedder.name}): {why}" for name, why in part.left_out]
            found += [f"{side}{name}: silence counts in FAD and KAD ({self.embedder.name})" for name in part.silent]
        return found

    def together(self) -> EmbeddingSet:
        """All clips as one set."""
        from d2m_cli.evaluation.sound.embedding import EmbeddingSet

        def joined(name: str) -> tuple[Any, ...]:
            return tuple(one for part in self.sets for one in getattr(part, name))

        frames = np.concatenate([part.frames for part in self.sets])
        return EmbeddingSet(
            self.embedder.name, frames, joined("clips"), joined("counts"), joined("left_out"), joined("silent")
        )


class Measurements:
    """What is measured of one system, clip by clip."""

    def __init__(self, models: Models) -> None:
        self.models = models
        self.pairs: list[Pair] = []
        self.embeddings = {embedder.name: Embeddings(embedder) for embedder in models.embedders}
        self.genres: dict[str, list[GenreClip | None]] = {classifier.name: [] for classifier in models.classifiers}
        self.unclassified: dict[str, list[tuple[str, str]]] = {classifier.name: [] for classifier in models.classifiers}
        self.text: list[float] = []
        self.no_text_score: list[str] = []

    def add(self, clip: ClipFacts, true: ReferenceClip, samples: Samples, rate: int) -> None:
        """Measure one clip."""
        self.pairs.append(Pair(clip.name, clip.song, true.detections, detect(samples, rate)))
        for own in self.embeddings.values():
            own.add(clip.name, samples, rate)
        for classifier in self.models.classifiers:
            try:
                predicted = _genre(classifier, clip, true.genres[classifier.name], samples, rate)
            except AudioError as error:
                predicted = None
                self.unclassified[classifier.name].append((clip.name, str(error)))
            self.genres[classifier.name].append(predicted)
        score = np.nan
        if self.models.clap is not None and clip.prompt:
            try:
                score = self.models.clap.score(samples, rate, clip.prompt)
            except AudioError as error:
                self.no_text_score.append(f"{clip.name}: no CLAP score: {error}")
        self.text.append(score)

    def result(
        self, rhythm: Summary, real: Mapping[str, Embeddings], songs: Sequence[str], resamples: int, seed: int
    ) -> SystemResult:
        """Scores of the system, once every clip is measured.

        Parameters
        ----------
        rhythm
            Its rhythm scores.
        real
            Embeddings of the true music, by embedder.
        songs
            Song of each clip, by which intervals are drawn.
        resamples, seed
            Of the intervals.
        """
        from d2m_cli.evaluation.sound.frechet import fad, fad_infinity, kad

        distances: list[Distance] = []
        for key, own in self.embeddings.items():
            if real[key].sets:
                sets = real[key].together(), own.together()
                distances += [fad(*sets), fad_infinity(*sets), kad(*sets)]
        return SystemResult(
            rhythm.system.name,
            rhythm,
            tuple(distances),
            tuple(self._genres(key, songs, resamples, seed) for key in self.genres),
            self._text(songs, resamples, seed),
            (*(remark for own in self.embeddings.values() for remark in own.remarks()), *self.no_text_score),
        )

    def genre_table(self, classifier: str) -> NDArray[np.float64]:
        """(clips, `GENRE_COLUMNS`); NaN for what it could not classify."""
        from d2m_cli.evaluation.genre.divergence import GENRE_COLUMNS

        nothing = [np.nan] * len(GENRE_COLUMNS)
        return np.array([nothing if clip is None else clip.values() for clip in self.genres[classifier]])

    def _genres(self, classifier: str, songs: Sequence[str], resamples: int, seed: int) -> GenreResult:
        from d2m_cli.evaluation.genre.divergence import GENRE_COLUMNS, genre_scores

        known = [clip for clip in self.genres[classifier] if clip is not None]
        table = self.genre_table(classifier)
        estimates = {
            measure: estimate
            for measure, column in zip(GENRE_COLUMNS, table.T, strict=True)
            if (estimate := _mean(column, songs, resamples, seed)) is not None
        }
        return GenreResult(genre_scores(classifier, known, self.unclassified[classifier]), estimates)

    def _text(self, songs: Sequence[str], resamples: int, seed: int) -> TextScore | None:
        values = np.array(self.text)
        score = _mean(values, songs, resamples, seed)
        return None if score is None else TextScore(score, int(np.isfinite(values).sum()))

    def differences(
        self, other: Measurements, songs: Sequence[str], resamples: int, seed: int
    ) -> tuple[Difference, ...]:
        """How much higher genre and CLAP scores are than those of another system on the same clips."""
        from d2m_cli.evaluation.genre.divergence import GENRE_COLUMNS

        found: list[Difference] = []
        for name in self.genres:
            tables = self.genre_table(name).T, other.genre_table(name).T
            for measure, mine, theirs in zip(GENRE_COLUMNS, *tables, strict=True):
                found += _difference(f"{measure} ({name})", mine, theirs, songs, resamples, seed)
        return (*found, *_difference("clap", np.array(self.text), np.array(other.text), songs, resamples, seed))


def _genre(
    classifier: Classifier,
    clip: ClipFacts,
    true: NDArray[np.float64] | AudioError | None,
    samples: Samples,
    rate: int,
) -> GenreClip:
    from d2m_cli.evaluation.genre.divergence import Recording, classify_clip

    if isinstance(true, AudioError):
        raise AudioError(f"the true music: {true}")
    return replace(classify_clip(classifier, Recording(clip.name, samples, rate), label=clip.genre), reference=true)


def _mean(values: NDArray[np.float64], songs: Sequence[str], resamples: int, seed: int) -> Estimate | None:
    """Mean of (clips,) values and its interval by song; None where there are none."""
    if not np.isfinite(values).any():
        return None
    interval = bootstrap(values[:, None], songs, _same, resamples, seed)
    low, high = (None if np.isnan(bound[0]) else float(bound[0]) for bound in (interval.low, interval.high))
    return Estimate(float(np.nanmean(values)), low, high)


def _difference(
    measure: str,
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    songs: Sequence[str],
    resamples: int,
    seed: int,
) -> list[Difference]:
    if not np.isfinite(first + second).any():
        return []
    found = paired_bootstrap(first[:, None], second[:, None], songs, _same, resamples, seed)
    line = (found.difference, found.interval.low, found.interval.high, found.p)
    return [difference(measure, *(float(value[0]) for value in line))]


def _same(means: NDArray[np.float64]) -> NDArray[np.float64]:
    return means
