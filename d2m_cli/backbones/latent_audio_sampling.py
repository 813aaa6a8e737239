"""How the authors of ACE-Step and Stable Audio draw music from each of their models, told by the model's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from d2m_cli.backbones.ace_step_folder import is_turbo
from d2m_cli.backbones.sampling import FullSampling


def ace_step_sampling(folder: Path) -> FullSampling:
    """8 steps for turbo models, which know no guidance; else 50, guided as diffusers' pipeline does."""
    return FullSampling(steps=8, guidance=1.0) if is_turbo(folder) else FullSampling(steps=50, guidance=7.0)


def stable_audio_sampling(folder: Path) -> FullSampling:
    """100 guided steps for Stable Audio Open and the base model of 3; 8 without guidance for distilled ones of 3."""
    distilled = bool(_read(folder / "scheduler" / "scheduler_config.json").get("stochastic_sampling", False))
    return FullSampling(steps=8, guidance=1.0) if distilled else FullSampling(steps=100, guidance=7.0)


def _read(path: Path) -> dict[str, Any]:
    """A table; empty where there is none: whoever loads the model then says so."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
