"""How music is drawn from a backbone: what the user asks for, and what a family takes where nothing is said."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from d2m_cli.errors import UsageError
from d2m_cli.ground.options import option

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """How music is drawn from a backbone; what is None is left to the backbone, see `full_sampling`.

    Attributes
    ----------
    steps
        Denoising steps (diffusion families; DPM-Solver++).
    guidance
        Classifier-free guidance scale; 1 switches it off.
    temperature
        Divides the logits (codebook families); 0 always takes the most likely token.
    top_k
        Only so many of the most likely tokens are drawn from (codebook families); 0 takes all.
    top_p
        Only the most likely tokens that together reach this probability are drawn from (codebook families); 1 takes
        all.
    """

    steps: int | None = None
    guidance: float | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps < 1:
            raise UsageError(f"{option('steps')} must be at least 1, not {self.steps}")
        if self.guidance is not None and not 0.0 <= self.guidance < math.inf:
            raise UsageError(f"{option('guidance')} must be 0 or more, not {self.guidance}")
        if self.temperature is not None and not 0.0 <= self.temperature < math.inf:
            raise UsageError(f"{option('temperature')} must be 0 or more, not {self.temperature}")
        if self.top_k is not None and self.top_k < 0:
            raise UsageError(f"{option('top_k')} must be 0 (all tokens) or more, not {self.top_k}")
        if self.top_p is not None and not 0.0 < self.top_p <= 1.0:
            raise UsageError(f"{option('top_p')} must be above 0 and at most 1, not {self.top_p}")

    @property
    def given(self) -> dict[str, int | float]:
        """What is not left to the backbone, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class FullSampling(Sampling):
    """How music is drawn, nothing left open."""

    steps: int = 20
    guidance: float = 3.0
    temperature: float = 1.0
    top_k: int = 250
    top_p: float = 1.0

    def filling(self, wanted: Sampling | None) -> FullSampling:
        """What was asked for, with these values where nothing was."""
        return replace(self, **wanted.given) if wanted is not None else self  # type: ignore[arg-type]


def check_guidance(backbone: object, name: str, wanted: Sampling) -> None:
    """Raise UsageError for a guidance that would not be heeded.

    Parameters
    ----------
    backbone
        Its attribute ``least_guidance``, which is not part of the protocol, is the smallest that it takes, else 0.
    name
        What it is called.
    wanted
        What was asked for.
    """
    least: float = getattr(backbone, "least_guidance", 0.0)
    if wanted.guidance is not None and wanted.guidance < least:
        raise UsageError(f"{option('guidance')} is {least:g} or more for {name}, not {wanted.guidance:g}")


PLAIN_SAMPLING = FullSampling()
"""Where a family names nothing of its own."""


def noise_of(shape: tuple[int, ...], generators: Sequence[torch.Generator], like: Tensor) -> Tensor:
    """(batch, ...) noise of one generator a row, as diffusers' pipelines draw it."""
    from diffusers.utils.torch_utils import randn_tensor

    drawn: Tensor = randn_tensor(
        (len(generators), *shape), generator=list(generators), device=like.device, dtype=like.dtype
    )
    return drawn
