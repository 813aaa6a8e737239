"""Any number of systems scored on the same clips: rhythm, distance to real music, genre and text, and differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from d2m_cli.errors import InputError
from d2m_cli.evaluation.genre.judge import judge_genres
from d2m_cli.evaluation.measurements import (
    Measured,
    MeasuredSystem,
    TrueClip,
    embedding_remarks,
    measure,
)
from d2m_cli.evaluation.models import Models
from d2m_cli.evaluation.pairing import ClipFacts, Missing, Pairing
from d2m_cli.evaluation.results import Ceiling, Comparison, Evaluation, SystemResult
from d2m_cli.evaluation.rhythm.chance import DRAWS, TRUE_MUSIC
from d2m_cli.evaluation.rhythm.detections import Detections
from d2m_cli.evaluation.rhythm.scores import GROUPS, ONSET_GROUPS, Scores, score_pair
from d2m_cli.evaluation.rhythm.summary import Summary, compare, score_clips, summarise
from d2m_cli.ground.progress import Progress
from d2m_cli.ground.statistics import RESAMPLES
from d2m_cli.ground.words import count
from d2m_cli.media.audio import load_audio

DANCE = "the dance: its beats, or its accents where no steady beat was seen"
"""Where reference beats come from where there are no others, in words."""
UNEQUAL_SECONDS = 0.5
"""Difference in length of music and reference from which it is said."""
FEW_SONGS = 10
"""Songs under which intervals are a lower bound of the uncertainty; see `d2m_cli.ground.statistics`."""
FEW_SEEDS = 5
"""Seeds under which intervals are a lower bound of the uncertainty: the range of two seeds holds the mean of all that
there could be half of the time."""


def score_systems(
    pairing: Pairing,
    models: Models,
    progress: Progress,
    *,
    resamples: int = RESAMPLES,
    draws: int = DRAWS,
    seed: int = 0,
) -> Evaluation:
    """Score all systems of a pairing.

    Parameters
    ----------
    pairing
        From `d2m_cli.evaluation.pairing.pair_up`, with true music, dances or true beats. Beats are compared with the
        true ones, else with those of the dances, else with those of the true music.
    models
        What scores clips.
    progress
        Told where the work is.
    resamples, draws, seed
        Bootstrap resamples of the intervals, draws of each kind of chance, and the random seed of both.

    Raises
    ------
    InputError
        No clip is left whose audio can be read everywhere.
    UsageError
        A prompt is none that CLAP can read.
    """
    if pairing.reference is None and pairing.dances is None and pairing.beats is None:
        raise ValueError("a pairing without true music, dances or true beats can't be scored")
    if models.clap is not None:
        # Before the work, not in the middle of it.
        for prompt in sorted({clip.prompt for clip in pairing.clips if clip.prompt}):
            models.clap.read(prompt)
    clips, music, unreadable = _measure(pairing, models, progress)
    missing = (*pairing.missing, *unreadable)
    if not clips:
        reasons = "; ".join(one.lacks[0] for one in missing[-4:])
        raise InputError(f"no clip can be read in every folder: {reasons}")
    measured = [
        MeasuredSystem(name, tuple(seed.name for seed in seeds), models, clips, music[name])
        for name, seeds in pairing.systems.items()
    ]
    progress.say(f"chance floors: {draws} draws of each kind")
    played = TRUE_MUSIC if pairing.dances is None and pairing.reference is not None else "reference"
    with progress.busy("chance floors and intervals"):
        rhythm = _rhythm(measured, played, resamples, draws, seed)
        systems = tuple(one.result(rhythm[one.name], resamples, seed) for one in measured)
    no_verdict = ONSET_GROUPS if pairing.dances is not None or pairing.reference is None else ()
    comparisons = _comparisons(measured, rhythm, no_verdict, resamples, seed)
    number = len({clip.facts.song for clip in clips})
    notes = [*pairing.notes, *_few(number, measured)]
    for embedder in models.embedders:
        sets = [clip.music.embeddings[embedder.name] for clip in clips if clip.music is not None]
        notes += [f"the true music: {remark}" for remark in embedding_remarks(sets)]
    found = Evaluation(
        len(clips),
        number,
        _reference_in_words(pairing),
        systems,
        comparisons,
        missing,
        (*notes, *_remarks(systems, measured)),
        _ceiling(pairing, models, clips, resamples, seed),
        no_verdict,
    )
    files = {
        name: [seed.files[clip.facts.name] for seed in seeds for clip in clips]
        for name, seeds in pairing.systems.items()
    }
    return judge_genres(found, models.classifiers, files)


def _reference_in_words(pairing: Pairing) -> str:
    if pairing.beats is not None:
        return "true beats" if pairing.reference is None else "true beats, and the onsets of the true music"
    return "the true music" if pairing.dances is None else DANCE


def _few(songs: int, measured: Sequence[MeasuredSystem]) -> list[str]:
    """Whether songs or seeds are too few for intervals to say all."""
    notes = []
    if 1 < songs < FEW_SONGS:
        notes.append(f"intervals over {songs} songs are too narrow: read them as the least uncertainty there is")
    few = [f"{len(one.seeds)} of {one.name}" for one in measured if 1 < len(one.seeds) < FEW_SEEDS]
    if few:
        notes.append(f"intervals over few seeds ({', '.join(few)}) are too narrow: take {FEW_SEEDS} or more")
    single = [one.name for one in measured if len(one.seeds) == 1]
    if single:
        notes.append(
            f"one seed of {', '.join(single)}: intervals and verdicts leave out what another seed would change"
        )
    return notes


def _ceiling(
    pairing: Pairing, models: Models, clips: tuple[TrueClip, ...], resamples: int, seed: int
) -> Ceiling | None:
    """The true music, heard and judged as a system is."""
    music = tuple(clip.music for clip in clips if clip.music is not None)
    if not music:
        return None
    true = MeasuredSystem(TRUE_MUSIC, ("",), models, clips, (music,))
    scored = [(pair.name, (score_pair(pair.reference, pair.estimated),)) for pair in true.pairs]
    songs = {clip.facts.name: clip.facts.song for clip in clips}
    rhythm = score_clips(TRUE_MUSIC, scored, songs, resamples, seed)
    given = () if pairing.dances is not None else GROUPS if pairing.beats is None else ONSET_GROUPS
    return Ceiling(rhythm, given, true.genres(resamples, seed), true.text(resamples, seed))


def _comparisons(
    measured: Sequence[MeasuredSystem],
    rhythm: Mapping[str, Summary],
    no_verdict: Sequence[str],
    resamples: int,
    seed: int,
) -> tuple[Comparison, ...]:
    """Every two systems, on the same clips."""
    return tuple(
        Comparison(
            first.name,
            second.name,
            (
                *compare(
                    rhythm[first.name],
                    rhythm[second.name],
                    {clip.facts.name: clip.facts.song for clip in first.clips},
                    no_verdict,
                ),
                *first.differences(second, resamples, seed),
            ),
            (len(first.seeds), len(second.seeds)),
        )
        for first, second in combinations(measured, 2)
    )


Music = dict[str, tuple[tuple[Measured, ...], ...]]
"""What is heard of each system, by its seeds and the clips."""


def _measure(pairing: Pairing, models: Models, progress: Progress) -> tuple[tuple[TrueClip, ...], Music, list[Missing]]:
    """Hear every clip of every system; those that can be read everywhere, and the others."""
    kept: list[TrueClip] = []
    music: dict[str, list[list[Measured]]] = {name: [[] for _ in seeds] for name, seeds in pairing.systems.items()}
    missing: list[Missing] = []
    each = 1 + sum(map(len, music.values()))
    with progress.stage("scoring", len(pairing.clips) * each) as advance:
        for clip in pairing.clips:
            done = 0
            try:
                true = None if pairing.reference is None else _heard_true(models, clip, pairing.reference[clip.name])
                made: dict[str, list[Measured]] = {name: [] for name in music}
                for name, seeds in pairing.systems.items():
                    for seed in seeds:
                        made[name].append(_heard(models, clip, seed.files[clip.name]))
                        advance(1, f"{clip.name}, {name}")
                        done += 1
                longest = max(heard.detections.seconds for seeds in made.values() for heard in seeds)
                reference = _reference(pairing, models, clip, true, longest)
            except InputError as error:
                missing.append(Missing(clip.name, (str(error),)))
                advance(each - done, clip.name)
                continue
            kept.append(TrueClip(clip, reference, true))
            for name, each_seed in made.items():
                for run, heard in zip(music[name], each_seed, strict=True):
                    run.append(heard)
            advance(1, clip.name)
    return tuple(kept), {name: tuple(map(tuple, runs)) for name, runs in music.items()}, missing


def _heard(models: Models, clip: ClipFacts, path: Path) -> Measured:
    return measure(models, clip, *load_audio(path))


def _heard_true(models: Models, clip: ClipFacts, path: Path) -> Measured:
    samples, rate = load_audio(path)
    first = round(clip.passage.start * rate)
    seconds = clip.passage.duration
    samples = samples[:, first : None if seconds is None else first + round(seconds * rate)]
    if not samples.shape[1]:
        raise InputError(f"{path}: ends before {clip.passage} begins, which the music is for")
    return measure(models, clip, samples, rate)


def _reference(pairing: Pairing, models: Models, clip: ClipFacts, true: Measured | None, longest: float) -> Detections:
    """Beats and onsets that the music of one clip should meet."""
    if pairing.beats is not None:
        # Without true music nothing but what was made says how long the clip is.
        seconds = longest if true is None else true.detections.seconds
        known = pairing.beats[clip.name].of(clip.passage)
        beats, bpm = known.within(seconds), known.tempo(seconds)
        if true is None:
            return Detections.at(beats, seconds, bpm)
        return replace(true.detections, beats=beats, bpm=bpm)
    if pairing.dances is not None:
        assert models.dance is not None
        return models.dance(pairing.dances[clip.name], clip.passage)
    assert true is not None
    return true.detections


def _rhythm(
    measured: Sequence[MeasuredSystem], reference: str, resamples: int, draws: int, seed: int
) -> dict[str, Summary]:
    """Rhythm of each system; chance that no system has a part in is drawn once for all of them."""
    found: dict[str, Summary] = {}
    known: tuple[Scores, ...] = ()
    for system in measured:
        found[system.name] = summarise(system.pairs, system.name, resamples, draws, seed, known, reference)
        known = found[system.name].floors
    return found


def _remarks(systems: Sequence[SystemResult], measured: Sequence[MeasuredSystem]) -> list[str]:
    """Of all systems, with the name of the one that each is about; what is the same for all is said once."""
    found = {
        one.name: [*one.rhythm.remarks, *one.remarks, *_lengths(own)]
        for one, own in zip(systems, measured, strict=True)
    }
    lines: list[str] = []
    for name, own in found.items():
        for remark in own:
            shared = all(remark in others for others in found.values())
            lines.append(remark if shared else f"{name}: {remark}")
    return list(dict.fromkeys(lines))


def _lengths(system: MeasuredSystem) -> list[str]:
    several = len(system.seeds) > 1
    gaps = {
        f"{pair.seed}: {pair.name}" if several else pair.name: pair.estimated.seconds - pair.reference.seconds
        for pair in system.pairs
    }
    found = []
    for word, what, unequal in (
        ("shorter", "what is missing counts as missed", [name for name, gap in gaps.items() if gap < -UNEQUAL_SECONDS]),
        ("longer", "what is too much does not count", [name for name, gap in gaps.items() if gap > UNEQUAL_SECONDS]),
    ):
        if unequal:
            worst = max(unequal, key=lambda name: abs(gaps[name]))
            found.append(
                f"{count(len(unequal), 'clip is', 'clips are')} {word} than the reference by more than "
                f"{UNEQUAL_SECONDS} s ({what}), most of all {worst}: {abs(gaps[worst]):.2f} s"
            )
    return found
