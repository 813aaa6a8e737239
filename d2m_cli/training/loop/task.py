"""What a training is given, and how it went."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from d2m_cli.ground.digests import settings_digest
from d2m_cli.inversion.checkpoint import EncoderConfig, Encoders
from d2m_cli.training.data.windows import Windows
from d2m_cli.training.options import TrainOptions

if TYPE_CHECKING:
    from d2m_cli.backbones.base import Backbone


@dataclass(frozen=True)
class Task:
    """What is trained on what.

    Attributes
    ----------
    backbone
        The frozen model.
    config
        Of the encoders.
    training, validation
        Windows; `validation` may be None: then there is no early stop, and the last encoders are kept.
    options
        How.
    start
        Encoders to begin from in place of random ones, or None.
    """

    backbone: Backbone
    config: EncoderConfig
    training: Windows
    validation: Windows | None
    options: TrainOptions
    start: Encoders | None = None

    def digest(self, processes: int) -> str:
        """Of everything that the course of the training hangs on."""
        return settings_digest(
            "train",
            {
                "options": asdict(self.options),
                "config": asdict(self.config),
                "training": self.training.digest(),
                "validation": self.validation.digest() if self.validation is not None else None,
                "start": self.start.sha256 if self.start is not None else None,
                "processes": processes,
            },
        )


@dataclass(frozen=True)
class Course:
    """How a training went.

    Attributes
    ----------
    encoders
        The best encoders, ready for use.
    updates, epochs
        Done in all.
    best_epoch
        Epoch of the encoders that were kept, counted from 1.
    stopped_early
        Whether the validation loss had stopped falling.
    frozen
        Digest of the backbone, the same before and after.
    seconds
        Spent in all, over all processes that worked at it one after the other.
    """

    encoders: Encoders
    updates: int
    epochs: int
    best_epoch: int
    stopped_early: bool
    frozen: str
    seconds: float
