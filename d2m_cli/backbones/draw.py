"""Music as a backbone hands it on: sound, and what the next window can go on from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, repr=False)
class Draw:
    """Music that a backbone made, or the end of it.

    Attributes
    ----------
    audio
        (batch, channels, samples) float32 on the CPU.
    sample_rate
        Hz.
    codes
        (batch, codebooks, frames) tokens that the audio was decoded from, so that a window can go on from just these;
        None for families that have none.
    code_rate
        Frames of `codes` a second.
    latents
        (batch, ..., columns) latents that the audio was decoded from, likewise, on the CPU; None for families that have
        none, and where the piece begins in the middle of a column.
    latent_rate
        Columns of `latents` a second.
    """

    audio: Tensor
    sample_rate: int
    codes: Tensor | None = None
    code_rate: float = 0.0
    latents: Tensor | None = None
    latent_rate: float = 0.0

    def __repr__(self) -> str:
        return f"Draw{tuple(self.audio.shape)}"

    def end(self, start: float) -> Draw | None:
        """What lies behind a time in seconds; None where nothing does."""
        audio = self.audio[..., round(start * self.sample_rate) :]
        codes = self.codes[..., round(start * self.code_rate) :] if self.codes is not None else None
        column = start * self.latent_rate
        whole = self.latents is not None and abs(column - round(column)) < 1e-3
        latents = self.latents[..., round(column) :] if self.latents is not None and whole else None
        return replace(self, audio=audio, codes=codes, latents=latents) if audio.shape[-1] else None

    def row(self, number: int) -> Draw:
        """One piece of a batch, as a batch of one."""
        return self._each(lambda values: values[number, None])

    def repeated(self, count: int) -> Draw:
        """One row as a batch of so many."""
        return self._each(lambda values: values.expand(count, *values.shape[1:]))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Draw:
        codes = change(self.codes) if self.codes is not None else None
        latents = change(self.latents) if self.latents is not None else None
        return replace(self, audio=change(self.audio), codes=codes, latents=latents)

    @staticmethod
    def joined(draws: Sequence[Draw]) -> Draw:
        """Pieces of one backbone, equally long, as one batch.

        Raises
        ------
        ValueError
            Some have tokens or latents and others have none, or they are not equally long.
        """
        import torch

        def shapes(draw: Draw) -> tuple[torch.Size | None, ...]:
            return tuple(None if one is None else one.shape[1:] for one in (draw.audio, draw.codes, draw.latents))

        if len(set(map(shapes, draws))) > 1:
            told = " and ".join(str(shapes(draw)) for draw in draws)
            raise ValueError(f"pieces of one batch have sound, tokens and latents of the same shapes, not {told}")
        codes = [draw.codes for draw in draws if draw.codes is not None]
        latents = [draw.latents for draw in draws if draw.latents is not None]
        return replace(
            draws[0],
            audio=torch.cat([draw.audio for draw in draws]),
            codes=torch.cat(codes) if codes else None,
            latents=torch.cat(latents) if latents else None,
        )
