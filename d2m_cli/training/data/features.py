"""What training reads of each window, computed once: the dance's rhythm, what the loss rebuilds, genre and tempo.

All is kept in a cache folder under names made from the content of the files and of all settings they hang on, so that a
moved data set is known again, and a changed one is not mistaken for the old.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from d2m_cli.ground.progress import Progress
from d2m_cli.rhythm.sequence import Rhythm, RhythmGrid
from d2m_cli.training.data.clips import Clip, Segment, Skip
from d2m_cli.training.data.dance_rhythms import Dancers, RhythmCache
from d2m_cli.training.data.genre_by_ear import GenreListener, other_parts
from d2m_cli.training.data.music_targets import TargetCache, rounded
from d2m_cli.training.data.music_tempo import BeatCache
from d2m_cli.training.data.windows import Windows

if TYPE_CHECKING:
    from d2m_cli.backbones.base import Backbone


@dataclass(frozen=True)
class FeatureCache:
    """Computes features, or finds them.

    Attributes
    ----------
    folder
        Of the cache.
    backbone
        Whose targets are wanted.
    grid
        Rhythm mode and clock of "*".
    dancers
        Gives the pose estimator; called only where a video's poses are not in the cache.
    listener
        Hears the genre of another part of the song, for encoders of kind "clap"; None for all others.
    """

    folder: Path
    backbone: Backbone
    grid: RhythmGrid
    dancers: Callable[[], Dancers]
    listener: GenreListener | None = None

    def windows(
        self, segments: Sequence[Segment], progress: Progress, *, genres: bool = True, tempi: bool = False
    ) -> tuple[Windows | None, tuple[Skip, ...]]:
        """Features of some windows.

        Parameters
        ----------
        segments
            Windows asked for.
        progress
            Told where the work is.
        genres, tempi
            Whether genres and the music's tempi are wanted.

        Returns
        -------
        The windows that can be used (None where there is none), and which files can't, with the reason.

        Raises
        ------
        OutputError
            The cache can't be written, or the disk is too small for it.
        """
        clips = list(dict.fromkeys(segment.clip for segment in segments))
        rhythms, skipped = RhythmCache(self.folder, self.grid, self.dancers).all(clips, progress)
        by_clip: dict[Clip, list[float]] = {}
        for segment in segments:
            if segment.clip in rhythms:
                by_clip.setdefault(segment.clip, []).append(segment.start)
        targets, unheard = TargetCache(self.folder, self.backbone).all(by_clip, progress)
        kept, sequences, rows = [], [], []
        for segment in segments:
            found = targets.get(segment.clip, {}).get(rounded(segment.start))
            if found is not None:
                kept.append(segment)
                sequences.append(rhythms[segment.clip].window(segment.start, self.grid))
                rows.append(found)
        if not kept:
            return None, (*skipped, *unheard)
        heard: tuple[str, ...] | Tensor | None = None
        if genres and self.listener is not None:
            seconds, rate = self.backbone.window_seconds, self.backbone.sample_rate
            heard = other_parts(kept, self.listener, seconds, rate, progress)
        elif genres:
            heard = tuple(str(segment.clip.genre) for segment in kept)
        pulses = torch.from_numpy(np.stack(sequences)).to(torch.uint8)
        found_tempi = BeatCache(self.folder).tempi(kept, self.grid.seconds, progress) if tempi else None
        return Windows(tuple(kept), pulses, heard, torch.stack(rows), found_tempi), (*skipped, *unheard)

    def rhythm(self, clip: Clip) -> Rhythm:
        """Rhythm of one dance; see `RhythmCache.rhythm`."""
        return RhythmCache(self.folder, self.grid, self.dancers).rhythm(clip)
