"""Any number of systems judged on the same clips: rhythm, nearness to real music, genre and text, and what differs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from d2m_cli import __version__
from d2m_cli.errors import AudioError, InputError
from d2m_cli.evaluation.pairing import ClipFacts, Missing, Pairing
from d2m_cli.evaluation.rhythm.chance import DRAWS
from d2m_cli.evaluation.rhythm.detections import Heard
from d2m_cli.evaluation.rhythm.scores import Estimate, Pair, Scores
from d2m_cli.evaluation.rhythm.summary import Difference, Summary, compare, difference, summarise
from d2m_cli.ground.progress import Progress
from d2m_cli.ground.statistics import RESAMPLES, bootstrap, paired_bootstrap
from d2m_cli.media.audio import Samples, load_audio

if TYPE_CHECKING:
    from d2m_cli.evaluation.genre.divergence import Classifier, GenreClip, GenreScores
    from d2m_cli.evaluation.sound.clap_score import Clap
    from d2m_cli.evaluation.sound.embedding import Embedder, EmbeddingSet
    from d2m_cli.evaluation.sound.frechet import Distance

FORMAT, FORMAT_VERSION = "d2m-evaluation", 1
UNEQUAL_SECONDS = 0.5
"""Difference in length of music and reference from which it is said."""
FEW_SONGS = 10
"""Under which intervals are a lower bound of the doubt; see `d2m_cli.ground.statistics`."""


class Reference(Protocol):
    """Where the beats that count come from."""

    def __call__(self, path: Path) -> tuple[Heard, tuple[Samples, int] | None]:
        """Beats of one clip, and its sound where it has one."""
        ...


@dataclass(frozen=True)
class Judges:
    """What listens.

    Attributes
    ----------
    reference
        Gives the beats that count: `true_music`, or `danced` for clips without true music.
    embedders
        For FAD, FAD-infinity and KAD; used where there is true music.
    classifiers
        For genre KLD and accuracy.
    clap
        For the CLAP score of prompts, or None.
    """

    reference: Reference
    embedders: tuple[Embedder, ...] = ()
    classifiers: tuple[Classifier, ...] = ()
    clap: Clap | None = None


@dataclass(frozen=True)
class TextScore:
    """How well music follows its prompts.

    Attributes
    ----------
    score
        Mean cosine of sound and text in CLAP, -1 to 1, with its interval by song.
    clips
        How many have a prompt and can be heard.
    """

    score: Estimate
    clips: int


@dataclass(frozen=True)
class GenreResult:
    """What one classifier says of a system.

    Attributes
    ----------
    scores
        Means over clips.
    estimates
        By `d2m_cli.evaluation.genre.divergence.GENRE_COLUMNS` those that there are, with their intervals by song.
    """

    scores: GenreScores
    estimates: Mapping[str, Estimate]


@dataclass(frozen=True)
class SystemResult:
    """What one system scores.

    Attributes
    ----------
    name
        Of the system.
    rhythm
        Rhythm scores and chance floors.
    distances
        FAD, FAD-infinity and KAD by each embedder.
    genres
        By each classifier.
    text
        None without CLAP or prompts.
    remarks
        What the embedders, the classifiers and CLAP could not hear, in words.
    """

    name: str
    rhythm: Summary
    distances: tuple[Distance, ...]
    genres: tuple[GenreResult, ...]
    text: TextScore | None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Two systems on the same clips."""

    first: str
    second: str
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Evaluation:
    """All that was found.

    Attributes
    ----------
    clips, songs
        How many were judged.
    reference
        What the beats were compared with, in words.
    systems, comparisons
        In the order of the systems.
    missing
        Clips that only some systems have, or that can't be heard.
    remarks
        What qualifies the figures, in words.
    """

    clips: int
    songs: int
    reference: str
    systems: tuple[SystemResult, ...]
    comparisons: tuple[Comparison, ...]
    missing: tuple[Missing, ...]
    remarks: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The same as values that JSON can hold; what is not a number is null."""
        document: dict[str, Any] = {"format": FORMAT, "format_version": FORMAT_VERSION, "d2m": __version__}
        document |= asdict(self)
        for system, found in zip(document["systems"], self.systems, strict=True):
            system["rhythm"] = found.rhythm.to_json()
        plain = _plain(document)
        assert isinstance(plain, dict)
        return plain


def true_music(path: Path) -> tuple[Heard, tuple[Samples, int] | None]:
    """Beats of the true music, from a sound file or a video."""
    samples, rate = load_audio(path)
    return _listen(samples, rate), (samples, rate)


def judge(
    pairing: Pairing,
    judges: Judges,
    progress: Progress,
    *,
    about_reference: str,
    resamples: int = RESAMPLES,
    draws: int = DRAWS,
    seed: int = 0,
) -> Evaluation:
    """Judge all systems of a pairing.

    Parameters
    ----------
    pairing
        From `d2m_cli.evaluation.pairing.pair_up`.
    judges
        What listens.
    progress
        Told where the work is.
    about_reference
        What the beats are compared with, in words, for the record.
    resamples, draws, seed
        Of intervals and of chance.

    Raises
    ------
    InputError
        No clip is left that can be heard everywhere.
    UsageError
        A prompt is none that CLAP can read.
    """
    if judges.clap is not None:
        # Said before the work, not in the middle of it.
        for prompt in sorted({clip.prompt for clip in pairing.clips if clip.prompt}):
            judges.clap.read(prompt)
    gathered = {name: _Gathered(judges) for name in pairing.systems}
    real = {embedder.name: _Frames(embedder) for embedder in judges.embedders}
    kept: list[ClipFacts] = []
    missing = list(pairing.missing)
    if pairing.reference is None:
        raise ValueError("a pairing without reference can't be judged")
    with progress.stage("listening", len(pairing.clips) * (len(gathered) + 1)) as advance:
        for clip in pairing.clips:
            try:
                reference, sound = judges.reference(pairing.reference[clip.name])
                heard = {name: load_audio(files[clip.name]) for name, files in pairing.systems.items()}
            except InputError as error:
                missing.append(Missing(clip.name, (str(error),)))
                advance(len(gathered) + 1, clip.name)
                continue
            kept.append(clip)
            true = _True(reference, sound, _genres_of(judges.classifiers, clip.name, sound))
            for frames in real.values():
                if sound is not None:
                    frames.add(clip.name, *sound)
            advance(1, clip.name)
            for name, (samples, rate) in heard.items():
                gathered[name].add(clip, true, samples, rate)
                advance(1, f"{clip.name}, {name}")
    if not kept:
        reasons = "; ".join(one.lacks[0] for one in missing[-4:])
        raise InputError(f"no clip can be heard everywhere: {reasons}")
    progress.say(f"chance floors: {draws} draws of each kind")
    songs = [clip.song for clip in kept]
    rhythm = _rhythm({name: found.pairs for name, found in gathered.items()}, resamples, draws, seed)
    systems = tuple(found.result(rhythm[name], real, songs, resamples, seed) for name, found in gathered.items())
    comparisons = tuple(
        Comparison(first, second, _compare(gathered[first], gathered[second], songs, resamples, seed))
        for first, second in combinations(gathered, 2)
    )
    number = len(set(songs))
    notes = list(pairing.notes)
    if 1 < number < FEW_SONGS:
        notes.append(f"intervals over {number} songs are too narrow: read them as the least doubt there is")
    notes += [remark for frames in real.values() for remark in frames.remarks("the true music")]
    return Evaluation(
        len(kept), number, about_reference, systems, comparisons, tuple(missing), (*notes, *_remarks(systems, gathered))
    )


def _rhythm(systems: Mapping[str, Sequence[Pair]], resamples: int, draws: int, seed: int) -> dict[str, Summary]:
    """Rhythm of each system; chance that no system has a part in is drawn once for all of them."""
    found: dict[str, Summary] = {}
    known: tuple[Scores, ...] = ()
    for name, pairs in systems.items():
        found[name] = summarise(pairs, name, resamples, draws, seed, known)
        known = found[name].floors
    return found


def _remarks(systems: Sequence[SystemResult], gathered: Mapping[str, _Gathered]) -> list[str]:
    """Of all systems, with the name of the one that each is about; what is the same for all is said once."""
    found = {one.name: [*one.rhythm.remarks, *one.remarks, *_lengths(gathered[one.name].pairs)] for one in systems}
    lines: list[str] = []
    for name, own in found.items():
        for remark in own:
            shared = all(remark in others for others in found.values())
            lines.append(remark if shared else f"{name}: {remark}")
    return list(dict.fromkeys(lines))


def _lengths(pairs: Sequence[Pair]) -> list[str]:
    gaps = {pair.name: pair.estimated.seconds - pair.reference.seconds for pair in pairs}
    found = []
    for word, what, unequal in (
        ("shorter", "what is missing counts as missed", [name for name, gap in gaps.items() if gap < -UNEQUAL_SECONDS]),
        ("longer", "what is too much does not count", [name for name, gap in gaps.items() if gap > UNEQUAL_SECONDS]),
    ):
        if unequal:
            worst = max(unequal, key=lambda name: abs(gaps[name]))
            found.append(
                f"{len(unequal)} clips are {word} than their reference by more than {UNEQUAL_SECONDS} s ({what}), most "
                f"of all {worst}: {abs(gaps[worst]):.2f} s"
            )
    return found


@dataclass(frozen=True)
class _True:
    """What is known of one clip's reference, found once for all systems."""

    heard: Heard
    sound: tuple[Samples, int] | None
    genres: Mapping[str, NDArray[np.float64] | AudioError | None]
    """By classifier; None where there is no sound, an error where it can't be heard."""


def _genres_of(
    classifiers: Sequence[Classifier], name: str, sound: tuple[Samples, int] | None
) -> dict[str, NDArray[np.float64] | AudioError | None]:
    from d2m_cli.evaluation.genre.divergence import Recording, hear_genre

    if sound is None:
        return dict.fromkeys(classifier.name for classifier in classifiers)
    found: dict[str, NDArray[np.float64] | AudioError | None] = {}
    for classifier in classifiers:
        try:
            found[classifier.name] = hear_genre(classifier, Recording(name, *sound)).generated
        except AudioError as error:
            found[classifier.name] = error
    return found


class _Frames:
    """Embeddings of a set of clips, gathered one by one."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder
        self.sets: list[EmbeddingSet] = []

    def add(self, name: str, samples: Samples, rate: int) -> None:
        from d2m_cli.evaluation.sound.embedding import embed_clips

        self.sets.append(embed_clips([(name, samples, rate)], self.embedder))

    def remarks(self, whose: str = "") -> list[str]:
        """What it could not hear, in words."""
        found, side = [], f"{whose}: " if whose else ""
        for part in self.sets:
            found += [f"{side}{name}: not in FAD and KAD ({self.embedder.name}): {why}" for name, why in part.left_out]
            found += [f"{side}{name}: silence counts in FAD and KAD ({self.embedder.name})" for name in part.silent]
        return found

    def together(self) -> EmbeddingSet:
        from d2m_cli.evaluation.sound.embedding import EmbeddingSet

        def joined(name: str) -> tuple[Any, ...]:
            return tuple(one for part in self.sets for one in getattr(part, name))

        frames = np.concatenate([part.frames for part in self.sets])
        return EmbeddingSet(
            self.embedder.name, frames, joined("clips"), joined("counts"), joined("left_out"), joined("silent")
        )


class _Gathered:
    """What is known of one system, clip by clip."""

    def __init__(self, judges: Judges) -> None:
        self.judges = judges
        self.pairs: list[Pair] = []
        self.frames = {embedder.name: _Frames(embedder) for embedder in judges.embedders}
        self.genres: dict[str, list[GenreClip | None]] = {classifier.name: [] for classifier in judges.classifiers}
        self.unheard: dict[str, list[tuple[str, str]]] = {classifier.name: [] for classifier in judges.classifiers}
        self.text: list[float] = []
        self.unread: list[str] = []

    def add(self, clip: ClipFacts, true: _True, samples: Samples, rate: int) -> None:
        self.pairs.append(Pair(clip.name, clip.song, true.heard, _listen(samples, rate)))
        for frames in self.frames.values():
            frames.add(clip.name, samples, rate)
        for classifier in self.judges.classifiers:
            try:
                heard = _genre(classifier, clip, true.genres[classifier.name], samples, rate)
            except AudioError as error:
                heard = None
                self.unheard[classifier.name].append((clip.name, str(error)))
            self.genres[classifier.name].append(heard)
        score = np.nan
        if self.judges.clap is not None and clip.prompt:
            try:
                score = self.judges.clap.score(samples, rate, clip.prompt)
            except AudioError as error:
                self.unread.append(f"{clip.name}: no CLAP score: {error}")
        self.text.append(score)

    def result(
        self, rhythm: Summary, real: Mapping[str, _Frames], songs: Sequence[str], resamples: int, seed: int
    ) -> SystemResult:
        from d2m_cli.evaluation.sound.frechet import fad, fad_infinity, kad

        distances: list[Distance] = []
        for key, frames in self.frames.items():
            if real[key].sets:
                sets = real[key].together(), frames.together()
                distances += [fad(*sets), fad_infinity(*sets), kad(*sets)]
        return SystemResult(
            rhythm.system.name,
            rhythm,
            tuple(distances),
            tuple(self._genres(key, songs, resamples, seed) for key in self.genres),
            self._text(songs, resamples, seed),
            (*(remark for frames in self.frames.values() for remark in frames.remarks()), *self.unread),
        )

    def genre_table(self, classifier: str) -> NDArray[np.float64]:
        """(clips, `GENRE_COLUMNS`); NaN for what it could not hear."""
        from d2m_cli.evaluation.genre.divergence import GENRE_COLUMNS

        nothing = [np.nan] * len(GENRE_COLUMNS)
        return np.array([nothing if clip is None else clip.values() for clip in self.genres[classifier]])

    def _genres(self, classifier: str, songs: Sequence[str], resamples: int, seed: int) -> GenreResult:
        from d2m_cli.evaluation.genre.divergence import GENRE_COLUMNS, genre_scores

        heard = [clip for clip in self.genres[classifier] if clip is not None]
        table = self.genre_table(classifier)
        estimates = {
            measure: estimate
            for measure, column in zip(GENRE_COLUMNS, table.T, strict=True)
            if (estimate := _mean(column, songs, resamples, seed)) is not None
        }
        return GenreResult(genre_scores(classifier, heard, self.unheard[classifier]), estimates)

    def _text(self, songs: Sequence[str], resamples: int, seed: int) -> TextScore | None:
        values = np.array(self.text)
        score = _mean(values, songs, resamples, seed)
        return None if score is None else TextScore(score, int(np.isfinite(values).sum()))


def _genre(
    classifier: Classifier,
    clip: ClipFacts,
    true: NDArray[np.float64] | AudioError | None,
    samples: Samples,
    rate: int,
) -> GenreClip:
    from d2m_cli.evaluation.genre.divergence import Recording, hear_genre

    if isinstance(true, AudioError):
        raise AudioError(f"the true music: {true}")
    return replace(hear_genre(classifier, Recording(clip.name, samples, rate), label=clip.genre), reference=true)


def _mean(values: NDArray[np.float64], songs: Sequence[str], resamples: int, seed: int) -> Estimate | None:
    """Mean of (clips,) values and its interval by song; None where there are none."""
    if not np.isfinite(values).any():
        return None
    interval = bootstrap(values[:, None], songs, _same, resamples, seed)
    low, high = (None if np.isnan(bound[0]) else float(bound[0]) for bound in (interval.low, interval.high))
    return Estimate(float(np.nanmean(values)), low, high)


def _compare(
    first: _Gathered, second: _Gathered, songs: Sequence[str], resamples: int, seed: int
) -> tuple[Difference, ...]:
    from d2m_cli.evaluation.genre.divergence import GENRE_COLUMNS

    found = list(compare(first.pairs, second.pairs, resamples, seed))
    for name in first.genres:
        tables = first.genre_table(name).T, second.genre_table(name).T
        for measure, mine, other in zip(GENRE_COLUMNS, *tables, strict=True):
            found += _difference(f"{measure} ({name})", mine, other, songs, resamples, seed)
    return (*found, *_difference("clap", np.array(first.text), np.array(second.text), songs, resamples, seed))


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


def _listen(samples: Samples, rate: int) -> Heard:
    with warnings.catch_warnings():
        # Said once at the end, with the name of the clip.
        warnings.simplefilter("ignore", UserWarning)
        return Heard.listen(samples, rate)


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def danced(estimate: Callable[[Path], Any]) -> Reference:
    """The dance itself as the reference: kinematic beats of poses, for clips without true music.

    Parameters
    ----------
    estimate
        Gives the poses of a video or of a pose file.
    """
    from d2m_cli.evaluation.rhythm.dance_beats import watch

    def look(path: Path) -> tuple[Heard, tuple[Samples, int] | None]:
        return watch(estimate(path)), None

    return look
