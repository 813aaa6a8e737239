"""From one video to its music: poses, rhythm, and what is composed to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from d2m_cli.generation.compose import Take, Tell, compose, silent
from d2m_cli.generation.generated import Generated
from d2m_cli.generation.models import Models, TrackModels
from d2m_cli.generation.track import lay_track
from d2m_cli.ground.progress import Report
from d2m_cli.rhythm.sequence import RhythmGrid

if TYPE_CHECKING:
    from d2m_cli.generation.options import GenerateOptions


def generate_music(
    video: Path,
    content: str,
    models: Models | TrackModels,
    options: GenerateOptions,
    report: Report,
    tell: Tell = silent,
) -> Generated:
    """Make the music of one video.

    Parameters
    ----------
    video
        The file.
    content
        `content_digest` of it, for the random seeds.
    models
        The networks; of a track in place of a backbone, those that see the dance.
    options
        What music to make.
    report
        Told where the work is.
    tell
        Told which words of the prompts the backbone does not read.

    Raises
    ------
    InputError
        The video can't be used.
    UsageError
        The prompt does not fit the networks.
    """
    from d2m_cli.media.video import probe
    from d2m_cli.rhythm.extract import RhythmOptions, extract_rhythm
    from d2m_cli.rhythm.holds import find_holds

    def estimating(step: str, fraction: float = 0.0) -> None:
        report(step, 0.3 * fraction)

    def composing(step: str, fraction: float = 0.0) -> None:
        report(step, 0.3 + 0.65 * fraction)

    timeline = probe(video)
    poses = models.poses.estimate(video, estimating, timeline)
    encoders = models.encoders if isinstance(models, Models) else None
    grid = encoders.grid if encoders is not None else RhythmGrid()
    rhythm = extract_rhythm(poses, RhythmOptions(mode=grid.mode))
    if grid.mode != "beats":
        # What "*" was trained on stays; where the beat is, the learned map tells all the better.
        rhythm = replace(rhythm, mapped=extract_rhythm(poses, RhythmOptions(mode="beats")).beats)
    holds = find_holds(poses, rhythm.beats.bpm) if options.breaks else ()
    takes: tuple[Take, ...] = ()
    if isinstance(models, Models):
        music, takes = compose(rhythm, timeline.duration, models, options, content, composing, tell, holds)
    elif options.music is not None:
        music = lay_track(options.music, rhythm, timeline.duration, options, composing, holds)
    else:
        raise ValueError("models of a track need a track")
    return Generated(video, content, timeline, options, models.used, poses.source, rhythm, music, takes)
