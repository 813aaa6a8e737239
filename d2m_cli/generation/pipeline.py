"""From one video to its music: poses, rhythm, and what is composed to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from d2m_cli.backbones.base import full_sampling
from d2m_cli.errors import NoPersonError
from d2m_cli.generation.compose import Take, Tell, compose
from d2m_cli.generation.generated import Generated
from d2m_cli.generation.models import Models, Seeing, TrackModels
from d2m_cli.generation.track import lay_track
from d2m_cli.ground.options import option
from d2m_cli.ground.progress import Report
from d2m_cli.pose.dancers import only_dancer
from d2m_cli.rhythm.sequence import Rhythm, RhythmGrid

if TYPE_CHECKING:
    from d2m_cli.generation.music import Music
    from d2m_cli.generation.options import GenerateOptions
    from d2m_cli.media.timeline import Timeline
    from d2m_cli.pose.track import Poses

LOOKING = 0.3
"""Share of looking in the way from a video to its music, roughly."""

NOBODY = "nobody was found in the picture: the music is by the prompt alone"
NOBODY_TRACK = "nobody was found in the picture: the track is laid under it as it is"
"""Notes on music that follows no dance."""


@dataclass(frozen=True, repr=False, eq=False)
class Dance:
    """What was seen in one video.

    Attributes
    ----------
    video
        The file.
    content
        `content_digest` of it.
    timeline
        Of the video, or of the passage that music is wanted for.
    poses
        Of its dancers; None where nobody dances and that is allowed.
    """

    video: Path
    content: str
    timeline: Timeline
    poses: Poses | None


def generate_music(
    video: Path,
    content: str,
    models: Models | TrackModels,
    options: GenerateOptions,
    report: Report,
    tell: Tell | None = None,
) -> Generated:
    """Make the music of one video: `see_dance`, then `music_for`; parameters and errors as there.

    Fractions that are reported are those of the whole.
    """
    looking, composing = halves(report)
    return music_for(see_dance(video, content, models, options, looking), models, options, composing, tell)


def halves(report: Report) -> tuple[Report, Report]:
    """For `see_dance` and `music_for`: reports of each, as parts of the way from a video to its music."""

    def looking(step: str, fraction: float = 0.0) -> None:
        report(step, LOOKING * fraction)

    def composing(step: str, fraction: float = 0.0) -> None:
        report(step, LOOKING + (1.0 - LOOKING) * fraction)

    return looking, composing


def see_dance(video: Path, content: str, seeing: Seeing, options: GenerateOptions, report: Report) -> Dance:
    """Find the dancers of one video.

    Parameters
    ----------
    video
        The file.
    content
        `content_digest` of it.
    seeing
        The networks that see; with a track, that it may be too short for the video shows before they are asked.
    options
        What music to make.
    report
        Told where the work is; fractions are those of seeing alone.

    Raises
    ------
    InputError
        The video can't be used, does not hold the passage, or outlasts the track.
    NoPersonError
        Nobody dances in it, and the options do not allow that.
    """
    from d2m_cli.media.video import probe

    timeline = probe(video, options.passage)
    if isinstance(seeing, TrackModels):
        seeing.track.check_length(timeline.duration, options.music_start)
    return Dance(video, content, timeline, _seen(video, content, timeline, seeing, options, report))


def music_for(
    dance: Dance,
    models: Models | TrackModels,
    options: GenerateOptions,
    report: Report,
    tell: Tell | None = None,
) -> Generated:
    """Make the music of a dance.

    Parameters
    ----------
    dance
        From `see_dance`.
    models
        The networks; of a track in place of a backbone, those that see the dance.
    options
        What music to make.
    report
        Told where the work is; fractions are those of making music alone.
    tell
        Told which words of the prompts the backbone does not read, and how long music takes where that is long.

    Raises
    ------
    UsageError
        The prompt does not fit the networks.
    """
    from d2m_cli.rhythm.holds import find_holds

    if isinstance(models, Models):
        # The record tells how the music was drawn, and not what was left open.
        options = replace(options, sampling=full_sampling(models.backbone, options.sampling))
    video, content, timeline, poses = dance.video, dance.content, dance.timeline, dance.poses
    if poses is None:
        # Without a dance there is nothing for "*" to say.
        by_prompt = replace(options, rhythm="words")
        nobody = unseen(timeline.duration)
        music, takes = _made(nobody, timeline.duration, models, by_prompt, content, report, tell)
        note = NOBODY if options.music is None else NOBODY_TRACK
        return Generated(video, content, timeline, options, models.used(None), None, nobody, music, takes, (note,))
    encoders = models.encoders if isinstance(models, Models) else None
    grid = encoders.grid if encoders is not None else RhythmGrid()
    rhythm = models.rhythm(poses, content, grid.mode, options.passage)
    if grid.mode != "beats":
        # What "*" was trained on stays; where the beat is, the learned map tells all the better.
        learned = models.rhythm(poses, content, "beats", options.passage)
        tempo = learned.tempo if learned.beats.steady else rhythm.tempo
        rhythm = replace(rhythm, mapped=learned.beats, tempo=tempo)
    holds = find_holds(poses, rhythm.beats.bpm) if options.breaks else ()
    music, takes = _made(rhythm, timeline.duration, models, options, content, report, tell, holds)
    used = models.used(poses.source)
    return Generated(video, content, timeline, options, used, poses.source, rhythm, music, takes)


def _made(
    rhythm: Rhythm,
    duration: float,
    models: Models | TrackModels,
    options: GenerateOptions,
    content: str,
    report: Report,
    tell: Tell | None,
    holds: Sequence[tuple[float, float]] = (),
) -> tuple[Music, tuple[Take, ...]]:
    """Music from the backbone, or from the track in its place, which has no takes."""
    if isinstance(models, Models):
        return compose(rhythm, duration, models, options, content, report, tell, holds)
    return lay_track(models.track, rhythm, duration, options, report, holds), ()


def _seen(
    video: Path, content: str, timeline: Timeline, models: Seeing, options: GenerateOptions, report: Report
) -> Poses | None:
    """Poses of a video; None where nobody is in it and that is allowed."""
    try:
        return models.dancers(video, content, report, timeline, options.passage)
    except NoPersonError as error:
        # A dancer asked for by number who is not there is a slip, not a video without dance.
        if only_dancer(options.dancers) is not None:
            raise
        if options.allow_no_dancer:
            return None
        mend = "makes music by the prompt alone" if options.music is None else "lays the track under it as it is"
        raise NoPersonError(f"{error} {option('allow_no_dancer', True)} {mend}") from None


def unseen(duration: float) -> Rhythm:
    """The rhythm of a video in which nobody dances: no peaks, no tempo, no beats."""
    grid = RhythmGrid()
    steps = int(np.ceil(duration * grid.rate - 1e-6)) + 1
    return Rhythm(np.zeros(steps, np.float32), grid.rate, np.zeros(0), duration, None, grid.mode)
