"""Backbones by name: ``FAMILY`` or ``FAMILY:FOLDER_OR_HUB_ID``.

Nothing here touches the network: a model that is not on this machine is an error that says so.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from d2m_cli.errors import MissingWeightsError, UsageError
from d2m_cli.weights_path import weights_dir

if TYPE_CHECKING:
    from d2m_cli.backbones.base import Backbone

HUB_IDS = {"riffusion": "riffusion/riffusion-model-v1"}
LICENCES = {"riffusion:riffusion/riffusion-model-v1": "CreativeML OpenRAIL-M", "embedded": "MIT"}
FAMILIES = ("embedded", "riffusion")


@dataclass(frozen=True)
class Choice:
    """A backbone that was asked for or chosen, and the encoders that go with it.

    Attributes
    ----------
    family
        One of :data:`FAMILIES`.
    folder
        Where its weights lie.
    name
        What it is called in results and in encoder checkpoints.
    encoders
        Encoders made for it, or None where none were found.
    """

    family: str
    folder: Path
    name: str
    encoders: Path | None


def encoders_home() -> Path:
    """Folder in which trained encoders are looked for: ``$D2M_HOME/encoders``, else ``~/.local/share/d2m/encoders``."""
    return Path(os.environ.get("D2M_HOME", Path.home() / ".local" / "share" / "d2m")) / "encoders"


def choose(spec: str) -> Choice:
    """Find the weights of a backbone.

    Parameters
    ----------
    spec
        "auto" (the best backbone on this machine that has encoders), a family, or "FAMILY:FOLDER_OR_HUB_ID".

    Raises
    ------
    UsageError
        Unknown family.
    MissingWeightsError
        The weights are not on this machine.
    """
    if spec == "auto":
        try:
            riffusion = choose("riffusion")
        except MissingWeightsError:
            return choose("embedded")
        return riffusion if riffusion.encoders else choose("embedded")
    family, _, origin = spec.partition(":")
    if family not in FAMILIES:
        raise UsageError(
            f"unknown backbone {spec!r}. Families: auto, {', '.join(FAMILIES)}; or FAMILY:FOLDER_OR_HUB_ID"
        )
    if family == "embedded":
        if origin:
            raise UsageError("the embedded backbone takes no folder; for a folder of your own say riffusion:FOLDER")
        folder = weights_dir() / "embedded"
        return Choice(family, folder, family, _existing(folder / "encoders.safetensors"))
    origin = origin or HUB_IDS[family]
    folder = Path(origin) if Path(origin).is_dir() else _cached(family, origin)
    name = f"{family}:{origin}"
    beside = _existing(folder / "encoders.safetensors")
    return Choice(family, folder, name, beside or _existing(encoders_home() / family / "encoders.safetensors"))


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None


def _cached(family: str, hub_id: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(hub_id, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError) as error:
        raise MissingWeightsError(
            f"{family}: neither a folder {hub_id!r} nor that model in the Hugging Face cache of this machine. "
            f"Fetch it with `huggingface-cli download {hub_id}`, or give a folder: --backbone {family}:FOLDER"
        ) from error


def open_backbone(choice: Choice, device: str = "auto") -> Backbone:
    """Load a backbone.

    Parameters
    ----------
    choice
        From :func:`choose`.
    device
        "auto" (CUDA where there is one), "cpu" or "cuda"; UsageError where CUDA is asked for and absent.
    """
    from d2m_cli.backbones.riffusion import Identity, RiffusionBackbone

    identity = Identity(
        choice.name,
        LICENCES.get(choice.name, f"not known, see {choice.folder}"),
        speaks_tempo=choice.family == "embedded",
    )
    return RiffusionBackbone(choice.folder, identity, pick_device(device))


def pick_device(device: str) -> str:
    """Resolve "auto", and check that "cuda" is there."""
    import torch

    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"unknown device {device!r}: say auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: no CUDA device is visible to PyTorch. Use --device cpu, or check the driver.")
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
