"""What a clip sounds like, in numbers: embedders, and the sets of embeddings that distances compare."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from d2m_cli.errors import AudioError
from d2m_cli.media.audio import resample

Samples = NDArray[np.floating[Any]]
SILENCE = 1e-4
"""Peak (-80 dB) up to which there is silence."""


class Embedder(Protocol):
    """A network that turns a sound into rows of numbers.

    Attributes
    ----------
    name
        Goes into the heads of tables: distances by different embedders have nothing in common.
    sample_rate
        Hz that it hears; sounds at other rates are converted.
    width
        Numbers in a row.
    """

    @property
    def name(self) -> str: ...

    @property
    def sample_rate(self) -> int: ...

    @property
    def width(self) -> int: ...

    def embed(self, samples: Samples, rate: int) -> NDArray[np.float32]:
        """Embed (n,) or (channels, n) samples as (frames, width); AudioError where they are too short for one frame."""
        ...


@dataclass(frozen=True, repr=False)
class EmbeddingSet:
    """All embeddings of a set of clips.

    Attributes
    ----------
    embedding
        Name of the embedder.
    frames
        (n, width) of all clips, one clip after the other.
    clips
        Names of the clips that `frames` come from.
    counts
        How many frames each of them gave.
    left_out
        (name, reason) of clips that gave none.
    silent
        Names of clips among `clips` in which there is silence.
    """

    embedding: str
    frames: NDArray[np.float64]
    clips: tuple[str, ...]
    counts: tuple[int, ...]
    left_out: tuple[tuple[str, str], ...] = field(default=())
    silent: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.frames.ndim != 2 or not np.isfinite(self.frames).all():
            raise ValueError(f"frames must be finite and of shape (n, width), not {self.frames.shape}")
        if len(self.clips) != len(self.counts) or sum(self.counts) != len(self.frames):
            raise ValueError(f"{len(self.frames)} frames don't belong to {self.counts} of {len(self.clips)} clips")

    def __repr__(self) -> str:
        return (
            f"EmbeddingSet({self.embedding}, frames={self.frames.shape}, clips={len(self.clips)}, "
            f"left_out={len(self.left_out)}, silent={len(self.silent)})"
        )


def embed_clips(clips: Iterable[tuple[str, Samples, int]], embedder: Embedder) -> EmbeddingSet:
    """Embed a set of clips; what can't be embedded is named and left out.

    Parameters
    ----------
    clips
        (name, samples of shape (n,) or (channels, n), rate in Hz) of each.
    embedder
        What listens.
    """
    names: list[str] = []
    frames: list[NDArray[np.float64]] = []
    left_out: list[tuple[str, str]] = []
    silent: list[str] = []
    for name, samples, rate in clips:
        try:
            embedded = np.asarray(embedder.embed(samples, rate), dtype=np.float64)
        except AudioError as error:
            left_out.append((name, str(error)))
            continue
        if not np.isfinite(embedded).all():
            left_out.append((name, f"{embedder.name} gives values for it that are not numbers"))
            continue
        names.append(name)
        frames.append(embedded)
        if np.abs(samples).max() <= SILENCE:
            silent.append(name)
    return EmbeddingSet(
        embedder.name,
        np.concatenate(frames) if frames else np.zeros((0, embedder.width)),
        tuple(names),
        tuple(map(len, frames)),
        tuple(left_out),
        tuple(silent),
    )


def mono_at(samples: Samples, rate: int, wanted: int) -> NDArray[np.float32]:
    """Mean of all channels, brought to another rate.

    Parameters
    ----------
    samples
        (n,) or (channels, n).
    rate, wanted
        Hz.

    Returns
    -------
    (m,)

    Raises
    ------
    AudioError
        There are no samples, or some are not numbers.
    ValueError
        They have another shape.
    """
    sound = np.atleast_2d(np.asarray(samples, dtype=np.float32))
    if sound.ndim != 2:
        raise ValueError(f"samples must be of shape (n,) or (channels, n), not {np.shape(samples)}")
    if not sound.size:
        raise AudioError("the sound holds no samples; is it a complete file?")
    if not np.isfinite(sound).all():
        raise AudioError("the sound holds values that are not numbers; write the file again")
    mono = sound.mean(axis=0, keepdims=True)
    return np.ascontiguousarray((mono if rate == wanted else resample(mono, rate, wanted))[0])


def too_short(name: str, seconds: float, needed: float) -> AudioError:
    """What to raise for a clip from which an embedder gets no frame."""
    return AudioError(f"{seconds:.2f} s are too short for {name}, which needs {needed:.2f} s; give a longer clip")
