"""The genre that another part of each window's song has to the ear of an audio model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from d2m_cli.ground.progress import Progress
from d2m_cli.training.data.clips import Segment
from d2m_cli.training.data.sources import song


class GenreListener(Protocol):
    """What is needed of `d2m_cli.inversion.clap.ClapAudio`."""

    @property
    def fingerprint(self) -> str: ...

    def embed(self, samples: NDArray[np.float32], rate: int) -> Tensor: ...


def other_parts(
    segments: Sequence[Segment], listener: GenreListener, seconds: float, rate: int, progress: Progress
) -> Tensor:
    """Embedding, for each window, of another window of the same song: the next that does not overlap.

    Parameters
    ----------
    segments
        The windows.
    listener
        Makes the embeddings.
    seconds
        Length of a window.
    rate
        Sample rate in Hz that the listener is given.
    progress
        Told after each window.

    Returns
    -------
    (n, width). Where a song has no other window, its own is taken.
    """

    @cache
    def heard(audio: Path, at: float) -> Tensor:
        first = round(at * rate)
        samples = song(audio, rate)[:, first : first + round(seconds * rate)].mean(axis=0)
        return listener.embed(samples, rate)

    places: dict[Path, set[float]] = {}
    for segment in segments:
        places.setdefault(segment.clip.audio, set()).add(segment.clip.audio_start + segment.start)
    rows = []
    with progress.stage("genre by ear", len(segments)) as advance:
        for segment in segments:
            own = segment.clip.audio_start + segment.start
            apart = [at for at in sorted(places[segment.clip.audio]) if abs(at - own) >= seconds - 1e-6]
            later = [at for at in apart if at > own]
            rows.append(heard(segment.clip.audio, (later or apart or [own])[0]))
            advance()
    return torch.stack(rows)
