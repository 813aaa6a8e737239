"""From one video to its music: poses, rhythm, and what is composed to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from d2m_cli.generation.compose import Tell, compose, silent
from d2m_cli.generation.generated import Generated
from d2m_cli.ground.progress import Report
from d2m_cli.rhythm.sequence import RhythmGrid

if TYPE_CHECKING:
    from d2m_cli.generation.models import Models
    from d2m_cli.generation.options import GenerateOptions


def generate_music(
    video: Path, content: str, models: Models, options: GenerateOptions, report: Report, tell: Tell = silent
) -> Generated:
    """Make the music of one video.

    Parameters
    ----------
    video
        The file.
    content
        `content_digest` of it, for the random seeds.
    models
        The networks.
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

    def estimating(step: str, fraction: float = 0.0) -> None:
        report(step, 0.3 * fraction)

    def composing(step: str, fraction: float = 0.0) -> None:
        report(step, 0.3 + 0.65 * fraction)

    timeline = probe(video)
    poses = models.dancers(video, content, estimating, timeline)
    grid = models.encoders.grid if models.encoders is not None else RhythmGrid()
    rhythm = models.rhythm(poses, content, grid.mode)
    if grid.mode != "beats":
        # What "*" was trained on stays; where the beat is, the learned map tells all the better.
        rhythm = replace(rhythm, mapped=models.rhythm(poses, content, "beats").beats)
    music, takes = compose(rhythm, timeline.duration, models, options, content, composing, tell)
    return Generated(video, content, timeline, options, models.used, poses.source, rhythm, music, takes)
