"""Encoders on disk: one ``encoders.safetensors`` whose header says what they were made for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from d2m_cli.errors import EncoderMismatchError, UsageError
from d2m_cli.inversion.genre_encoder import GenreLabel, one_hot
from d2m_cli.inversion.rhythm_encoder import RhythmMLP
from d2m_cli.rhythm.sequence import RhythmGrid
from d2m_cli.weights_path import file_sha256

if TYPE_CHECKING:
    from d2m_cli.backbones.base import Backbone


@dataclass(frozen=True)
class EncoderConfig:
    """What a pair of encoders was made for.

    Attributes
    ----------
    backbone
        Name of the backbone.
    fingerprint
        sha256 of its frozen parameters.
    width
        Its text width.
    grid
        Rhythm mode and clock that "*" was trained on.
    hidden
        Inner width of the rhythm projector.
    projector
        "mlp".
    genre
        "label", or None where only "*" was trained.
    """

    backbone: str
    fingerprint: str
    width: int
    grid: RhythmGrid
    hidden: int = 512
    projector: str = "mlp"
    genre: str | None = "label"


class Encoders:
    """The two trained encoders of one backbone.

    Parameters
    ----------
    config
        What they are made for.
    """

    def __init__(self, config: EncoderConfig) -> None:
        if config.projector != "mlp":
            raise UsageError(f"encoders with projector {config.projector!r} need a newer d2m")
        self.config = config
        self.rhythm_network = RhythmMLP(config.grid.steps, config.width, config.hidden)
        self.genre_network = GenreLabel(config.width)
        self.path: Path | None = None
        self.sha256 = ""

    @property
    def grid(self) -> RhythmGrid:
        """Rhythm mode and clock that "*" was trained on."""
        return self.config.grid

    def rhythm(self, sequences: Tensor) -> Tensor:
        """Vectors of "*": (batch, steps) binary sequences -> (batch, width)."""
        out: Tensor = self.rhythm_network(sequences)
        return out

    def genre(self, codes: Sequence[str]) -> Tensor:
        """Vectors of "@": two-letter codes -> (batch, width); UsageError where only "*" was trained."""
        if self.config.genre is None:
            raise UsageError(f"{self.path or 'these encoders'}: made without genres; leave --genre out")
        out: Tensor = self.genre_network(one_hot(codes))
        return out

    def save(self, path: Path) -> None:
        """Write one file in half precision with the configuration in its header."""
        networks = (("rhythm", self.rhythm_network), ("genre", self.genre_network))
        tensors = {
            f"{prefix}.{name}": value.detach().half().contiguous()
            for prefix, network in networks
            for name, value in network.state_dict().items()
        }
        save_file(tensors, str(path), metadata={"d2m": json.dumps(asdict(self.config))})

    @classmethod
    def load(cls, path: Path) -> Encoders:
        """Read encoders; UsageError where the file is missing or isn't one."""
        try:
            with safe_open(str(path), framework="pt") as opened:
                header = (opened.metadata() or {}).get("d2m")
                tensors = {name: opened.get_tensor(name).float() for name in opened.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise UsageError(
                f"{path}: can't be read as encoders ({error}). Give the encoders.safetensors of a training."
            ) from error
        if header is None:
            raise UsageError(f"{path}: a safetensors file, but not encoders of d2m: its header has no 'd2m' entry")
        raw = json.loads(header)
        config = EncoderConfig(**{**raw, "grid": RhythmGrid(**raw["grid"])})
        encoders = cls(config)
        for prefix, network in (("rhythm", encoders.rhythm_network), ("genre", encoders.genre_network)):
            part = {
                name.removeprefix(f"{prefix}."): value for name, value in tensors.items() if name.startswith(prefix)
            }
            network.load_state_dict(part)
            network.eval().requires_grad_(False)
        encoders.path = path
        encoders.sha256 = file_sha256(path)
        return encoders

    def check(self, backbone: Backbone) -> None:
        """Raise EncoderMismatchError unless these were made for ``backbone``."""
        where = self.path or "these encoders"
        if self.config.width != backbone.text_width:
            raise EncoderMismatchError(
                f"{where}: made for {self.config.backbone} (text width {self.config.width}), but {backbone.name} has "
                f"text width {backbone.text_width}. Train encoders for it with `d2m train`, or choose the other "
                "--backbone."
            )
        if abs(self.grid.seconds - backbone.window_seconds) > 0.05:
            raise EncoderMismatchError(
                f"{where}: made for windows of {self.grid.seconds:.2f} s, but {backbone.name} makes "
                f"{backbone.window_seconds:.2f} s. Train encoders for it with `d2m train`."
            )
        if self.config.fingerprint != backbone.fingerprint:
            raise EncoderMismatchError(
                f"{where}: made for {self.config.backbone}, whose weights are not those of {backbone.name}. "
                "Train encoders for it with `d2m train`, or choose the other --backbone."
            )

    @torch.no_grad()
    def pseudo_words(self, sequences: Tensor, code: str | None) -> dict[str, Tensor]:
        """Both pseudo-words for a batch of windows of one dance: {"*": (batch, width), "@": (batch, width)}."""
        words = {"*": self.rhythm(sequences)}
        if code is not None:
            words["@"] = self.genre([code] * len(sequences))
        return words
