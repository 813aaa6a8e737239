"""What every model hears in every clip, and the scores of a system that follow from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from d2m_cli.errors import AudioError
from d2m_cli.evaluation.models import Models, detect
from d2m_cli.evaluation.pairing import ClipFacts
from d2m_cli.evaluation.results import GenreResult, SystemResult, TextScore
from d2m_cli.evaluation.rhythm.detections import Detections
from d2m_cli.evaluation.rhythm.scores import Estimate, Pair
from d2m_cli.evaluation.rhythm.summary import Difference, Summary, difference
from d2m_cli.ground.statistics import bootstrap, paired_bootstrap
from d2m_cli.media.audio import Samples

if TYPE_CHECKING:
    from d2m_cli.evaluation.genre.divergence import GenreClip
    from d2m_cli.evaluation.sound.embedding import EmbeddingSet
    from d2m_cli.evaluation.sound.frechet import Distance

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """What the models hear in the music of one clip, generated or true.

    Attributes
    ----------
    detections
        Its beats and onsets.
    embeddings
        By embedder.
    genres
        By classifier, probabilities or why there are none.
    text
        CLAP score of the clip's prompt, why there is none, or None where none was asked for.
    """

    detections: Detections
    embeddings: Mapping[str, EmbeddingSet]
    genres: Mapping[str, Array | AudioError]
    text: float | AudioError | None


def measure(models: Models, clip: ClipFacts, samples: Samples, rate: int) -> Measured:
    """Let every model hear the music of one clip."""
    from d2m_cli.evaluation.genre.divergence import Recording, classify_clip
    from d2m_cli.evaluation.sound.embedding import embed_clips

    genres: dict[str, Array | AudioError] = {}
    for classifier in models.classifiers:
        try:
            genres[classifier.name] = classify_clip(classifier, Recording(clip.name, samples, rate)).generated
        except AudioError as error:
            genres[classifier.name] = error
    text: float | AudioError | None = None
    if models.clap is not None and clip.prompt:
        try:
            text = models.clap.score(samples, rate, clip.prompt)
        except AudioError as error:
            text = error
    return Measured(
        detect(samples, rate),
        {embedder.name: embed_clips([(clip.name, samples, rate)], embedder) for embedder in models.embedders},
        genres,
        text,
    )


@dataclass(frozen=True)
class TrueClip:
    """What is known of one clip, whoever makes music for it.

    Attributes
    ----------
    facts
        Song, genre and prompt.
    reference
        The beats to meet.
    music
        The true music, where there is any.
    """

    facts: ClipFacts
    reference: Detections
    music: Measured | None


@dataclass(frozen=True)
class MeasuredSystem:
    """Everything that was heard of one system.

    Attributes
    ----------
    name
        Of the system.
    seeds
        Names of its seeds.
    models
        What listened.
    clips
        One of each clip.
    music
        (seeds) of (clips), in the order of both.
    """

    name: str
    seeds: tuple[str, ...]
    models: Models
    clips: tuple[TrueClip, ...]
    music: tuple[tuple[Measured, ...], ...]

    @property
    def songs(self) -> list[str]:
        """Of each clip."""
        return [clip.facts.song for clip in self.clips]

    @property
    def pairs(self) -> list[Pair]:
        """Beats of the music of every seed beside those that it should meet."""
        return [
            Pair(clip.facts.name, clip.facts.song, clip.reference, heard.detections, seed)
            for seed, clip, heard in self._all()
        ]

    def result(self, rhythm: Summary, resamples: int, seed: int) -> SystemResult:
        """Scores of the system.

        Parameters
        ----------
        rhythm
            Its rhythm scores.
        resamples, seed
            Of the intervals.
        """
        return SystemResult(
            self.name,
            rhythm,
            self._distances(),
            self.genres(resamples, seed),
            self.text(resamples, seed),
            tuple(self._remarks()),
            self.seeds,
        )

    def genres(self, resamples: int, seed: int) -> tuple[GenreResult, ...]:
        """What each classifier predicts."""
        return tuple(self._genre(classifier.name, resamples, seed) for classifier in self.models.classifiers)

    def text(self, resamples: int, seed: int) -> TextScore | None:
        """How well the music follows its prompts."""
        values = self._text_values()
        score = _mean(values, self.songs, resamples, seed)
        return None if score is None else TextScore(score, int(np.isfinite(values).any(axis=0).sum()))

    def differences(self, other: MeasuredSystem, resamples: int, seed: int) -> tuple[Difference, ...]:
        """How much higher genre and CLAP scores are than those of another system on the same clips."""
        from d2m_cli.evaluation.genre.divergence import GENRE_COLUMNS

        found: list[Difference] = []
        for classifier in self.models.classifiers:
            tables = [np.moveaxis(one._genre_values(classifier.name), -1, 0) for one in (self, other)]
            for measure_name, mine, theirs in zip(GENRE_COLUMNS, *tables, strict=True):
                name = f"{measure_name} ({classifier.name})"
                found += _difference(name, mine, theirs, self.songs, resamples, seed)
        texts = self._text_values(), other._text_values()
        return (*found, *_difference("clap", *texts, self.songs, resamples, seed))

    def _all(self) -> list[tuple[str, TrueClip, Measured]]:
        return [
            (seed, clip, heard)
            for seed, run in zip(self.seeds, self.music, strict=True)
            for clip, heard in zip(self.clips, run, strict=True)
        ]

    def _told(self, seed: str, remark: str) -> str:
        return remark if len(self.seeds) == 1 else f"{seed}: {remark}"

    def _distances(self) -> tuple[Distance, ...]:
        from d2m_cli.evaluation.sound.frechet import fad, fad_infinity, kad

        found: list[Distance] = []
        for embedder in self.models.embedders:
            real = true_embeddings(self.clips, embedder.name)
            if real is not None:
                made = [joined([heard.embeddings[embedder.name] for heard in run]) for run in self.music]
                found += [_over_seeds([distance(real, one) for one in made]) for distance in (fad, fad_infinity, kad)]
        return tuple(found)

    def _genre_clip(self, classifier: str, clip: TrueClip, heard: Measured) -> GenreClip | AudioError:
        from d2m_cli.evaluation.genre.divergence import GenreClip

        predicted = heard.genres[classifier]
        # What the true music is compared with is not itself.
        true = None if clip.music is None or clip.music is heard else clip.music.genres[classifier]
        if isinstance(true, AudioError):
            return AudioError(f"the true music: {true}")
        if isinstance(predicted, AudioError):
            return predicted
        (classes,) = (one.classes for one in self.models.classifiers if one.name == classifier)
        return GenreClip(classes, predicted, true, clip.facts.genre)

    def _genre_values(self, classifier: str) -> Array:
        """(seeds, clips, `GENRE_COLUMNS`); NaN for what it could not classify."""
        from d2m_cli.evaluation.genre.divergence import GENRE_COLUMNS

        found = [self._genre_clip(classifier, clip, heard) for _, clip, heard in self._all()]
        nothing = [np.nan] * len(GENRE_COLUMNS)
        values = [nothing if isinstance(one, AudioError) else one.values() for one in found]
        return np.array(values).reshape(len(self.seeds), len(self.clips), len(GENRE_COLUMNS))

    def _genre(self, classifier: str, resamples: int, seed: int) -> GenreResult:
        from d2m_cli.evaluation.genre.divergence import GENRE_COLUMNS, genre_scores

        known: list[GenreClip] = []
        left_out: list[tuple[str, str]] = []
        for name, clip, heard in self._all():
            one = self._genre_clip(classifier, clip, heard)
            if isinstance(one, AudioError):
                left_out.append((self._told(name, clip.facts.name), str(one)))
            else:
                known.append(one)
        estimates = {
            column: estimate
            for column, values in zip(GENRE_COLUMNS, np.moveaxis(self._genre_values(classifier), -1, 0), strict=True)
            if (estimate := _mean(values, self.songs, resamples, seed)) is not None
        }
        return GenreResult(genre_scores(classifier, known, left_out), estimates)

    def _text_values(self) -> Array:
        """(seeds, clips); NaN where there is none."""
        found = [heard.text if isinstance(heard.text, float) else np.nan for _, _, heard in self._all()]
        return np.array(found, dtype=np.float64).reshape(len(self.seeds), len(self.clips))

    def _remarks(self) -> list[str]:
        """Clips that an embedder or CLAP could not take."""
        found = []
        for embedder in self.models.embedders:
            for seed, run in zip(self.seeds, self.music, strict=True):
                sets = [heard.embeddings[embedder.name] for heard in run]
                found += [self._told(seed, remark) for remark in embedding_remarks(sets)]
        return found + [
            self._told(seed, f"{clip.facts.name}: no CLAP score: {heard.text}")
            for seed, clip, heard in self._all()
            if isinstance(heard.text, AudioError)
        ]


def true_embeddings(clips: Sequence[TrueClip], embedder: str) -> EmbeddingSet | None:
    """Embeddings of the true music of all clips, or None where there is no true music."""
    sets = [clip.music.embeddings[embedder] for clip in clips if clip.music is not None]
    return joined(sets) if sets else None


def joined(sets: Sequence[EmbeddingSet]) -> EmbeddingSet:
    """Several sets by one embedder as one."""
    from d2m_cli.evaluation.sound.embedding import EmbeddingSet

    def together(name: str) -> tuple[Any, ...]:
        return tuple(chain.from_iterable(getattr(part, name) for part in sets))

    frames = np.concatenate([part.frames for part in sets])
    return EmbeddingSet(
        sets[0].embedding, frames, together("clips"), together("counts"), together("left_out"), together("silent")
    )


def embedding_remarks(sets: Sequence[EmbeddingSet]) -> list[str]:
    """What was left out, and silence, in words."""
    found = []
    for part in sets:
        found += [f"{name}: not in FAD and KAD ({part.embedding}): {why}" for name, why in part.left_out]
        found += [f"{name}: silence counts in FAD and KAD ({part.embedding})" for name in part.silent]
    return found


def _over_seeds(found: Sequence[Distance]) -> Distance:
    """Mean of the distances of several seeds; a single one as it is."""
    if len(found) == 1:
        return found[0]
    values = [one.value for one in found if one.value is not None]
    return replace(
        found[0],
        value=float(np.mean(values)) if values else None,
        estimated_frames=sum(one.estimated_frames for one in found),
        notes=tuple(dict.fromkeys(chain.from_iterable(one.notes for one in found))),
        by_seed=tuple(one.value for one in found),
    )


def _mean(values: Array, songs: Sequence[str], resamples: int, seed: int) -> Estimate | None:
    """Mean of (seeds, clips) values and its interval by song and seed; None where there are none."""
    if not np.isfinite(values).any():
        return None
    interval = bootstrap(values[..., None], songs, _same, resamples, seed)
    low, high = (None if np.isnan(bound[0]) else float(bound[0]) for bound in (interval.low, interval.high))
    return Estimate(float(np.nanmean(values)), low, high)


def _difference(
    name: str, first: Array, second: Array, songs: Sequence[str], resamples: int, seed: int
) -> list[Difference]:
    """Of (seeds, clips) values; none where no clip has both."""
    if not (np.isfinite(first).any(axis=0) & np.isfinite(second).any(axis=0)).any():
        return []
    found = paired_bootstrap(first[..., None], second[..., None], songs, _same, resamples, seed)
    line = (found.difference, found.interval.low, found.interval.high, found.p)
    return [difference(name, *(float(value[0]) for value in line))]


def _same(means: Array) -> Array:
    return means
