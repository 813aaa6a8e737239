"""Any number of systems scored on the same clips: rhythm, distance to real music, genre and text, and differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from d2m_cli.errors import InputError
from d2m_cli.evaluation.genre.judge import judge_genres
from d2m_cli.evaluation.measurements import Embeddings, Measurements, ReferenceClip, reference_genres
from d2m_cli.evaluation.models import Models
from d2m_cli.evaluation.pairing import ClipFacts, Missing, Pairing
from d2m_cli.evaluation.results import Comparison, Evaluation, SystemResult
from d2m_cli.evaluation.rhythm.chance import DRAWS
from d2m_cli.evaluation.rhythm.scores import Pair, Scores
from d2m_cli.evaluation.rhythm.summary import Summary, compare, summarise
from d2m_cli.ground.progress import Progress
from d2m_cli.ground.statistics import RESAMPLES
from d2m_cli.media.audio import load_audio

UNEQUAL_SECONDS = 0.5
"""Difference in length of music and reference from which it is said."""
FEW_SONGS = 10
"""Songs under which intervals are a lower bound of the uncertainty; see `d2m_cli.ground.statistics`."""


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
        From `d2m_cli.evaluation.pairing.pair_up`, with a reference.
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
    if models.clap is not None:
        # Before the work, not in the middle of it.
        for prompt in sorted({clip.prompt for clip in pairing.clips if clip.prompt}):
            models.clap.read(prompt)
    measured = {name: Measurements(models) for name in pairing.systems}
    real = {embedder.name: Embeddings(embedder) for embedder in models.embedders}
    clips, unreadable = _measure(pairing, models, measured, real, progress)
    missing = (*pairing.missing, *unreadable)
    if not clips:
        reasons = "; ".join(one.lacks[0] for one in missing[-4:])
        raise InputError(f"no clip can be read in every folder: {reasons}")
    progress.say(f"chance floors: {draws} draws of each kind")
    songs = [clip.song for clip in clips]
    rhythm = _rhythm({name: found.pairs for name, found in measured.items()}, resamples, draws, seed)
    systems = tuple(found.result(rhythm[name], real, songs, resamples, seed) for name, found in measured.items())
    comparisons = _comparisons(measured, rhythm, clips, resamples, seed)
    number = len(set(songs))
    notes = list(pairing.notes)
    if 1 < number < FEW_SONGS:
        notes.append(f"intervals over {number} songs are too narrow: read them as the least uncertainty there is")
    notes += [remark for embeddings in real.values() for remark in embeddings.remarks("the true music")]
    remarks = (*notes, *_remarks(systems, measured))
    found = Evaluation(len(clips), number, models.about_reference, systems, comparisons, missing, remarks)
    files = {name: [music[clip.name] for clip in clips] for name, music in pairing.systems.items()}
    return judge_genres(found, models.classifiers, files)


def _comparisons(
    measured: Mapping[str, Measurements],
    rhythm: Mapping[str, Summary],
    clips: Sequence[ClipFacts],
    resamples: int,
    seed: int,
) -> tuple[Comparison, ...]:
    """Every two systems, on the same clips."""
    songs = [clip.song for clip in clips]
    song_of = {clip.name: clip.song for clip in clips}
    return tuple(
        Comparison(
            first,
            second,
            (
                *compare(rhythm[first], rhythm[second], song_of),
                *measured[first].differences(measured[second], songs, resamples, seed),
            ),
        )
        for first, second in combinations(measured, 2)
    )


def _measure(
    pairing: Pairing,
    models: Models,
    measured: Mapping[str, Measurements],
    real: Mapping[str, Embeddings],
    progress: Progress,
) -> tuple[list[ClipFacts], list[Missing]]:
    """Measure every clip of every system; those that can be read everywhere, and the others."""
    if pairing.reference is None:
        raise ValueError("a pairing without reference can't be scored")
    kept: list[ClipFacts] = []
    missing: list[Missing] = []
    with progress.stage("scoring", len(pairing.clips) * (len(measured) + 1)) as advance:
        for clip in pairing.clips:
            try:
                detections, sound = models.reference(pairing.reference[clip.name])
                music = {name: load_audio(files[clip.name]) for name, files in pairing.systems.items()}
            except InputError as error:
                missing.append(Missing(clip.name, (str(error),)))
                advance(len(measured) + 1, clip.name)
                continue
            kept.append(clip)
            true = ReferenceClip(detections, reference_genres(models.classifiers, clip.name, sound))
            for embeddings in real.values():
                if sound is not None:
                    embeddings.add(clip.name, *sound)
            advance(1, clip.name)
            for name, (samples, rate) in music.items():
                measured[name].add(clip, true, samples, rate)
                advance(1, f"{clip.name}, {name}")
    return kept, missing


def _rhythm(systems: Mapping[str, Sequence[Pair]], resamples: int, draws: int, seed: int) -> dict[str, Summary]:
    """Rhythm of each system; chance that no system has a part in is drawn once for all of them."""
    found: dict[str, Summary] = {}
    known: tuple[Scores, ...] = ()
    for name, pairs in systems.items():
        found[name] = summarise(pairs, name, resamples, draws, seed, known)
        known = found[name].floors
    return found


def _remarks(systems: Sequence[SystemResult], measured: Mapping[str, Measurements]) -> list[str]:
    """Of all systems, with the name of the one that each is about; what is the same for all is said once."""
    found = {one.name: [*one.rhythm.remarks, *one.remarks, *_lengths(measured[one.name].pairs)] for one in systems}
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
