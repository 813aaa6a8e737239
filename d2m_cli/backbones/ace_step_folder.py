"""What is known of an ACE-Step model before PyTorch is loaded: what it is, what it refuses, what GPU it needs."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open

from d2m_cli.backbones.gpu_room import needed_bytes
from d2m_cli.ground.devices import check_device_name, gpu_memory, gpu_number, refuse_absent, visible_gpus
from d2m_cli.ground.options import option

NETWORKS = ("vae", "text_encoder", "transformer", "condition_encoder")
"""The parts with weights."""
GPU_PRECISION = "bf16"
"""What "auto" means on a GPU: what the model's authors run it in."""
TURBO = "the turbo models of ACE-Step are distilled: they know no guidance"
KEPT_BYTES = 2**30
"""Of a GPU's memory the driver, and often a screen, keep so much."""
_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}


def refusals(turbo: bool) -> dict[str, str]:
    """Options that a model refuses, with reasons."""
    # Guidance is away from one learned condition: there is nothing that a text could say.
    if turbo:
        return {"negative_prompt": TURBO, "guidance": TURBO}
    return {"negative_prompt": "ACE-Step can't be told what to steer away from"}


def is_turbo(folder: Path) -> bool:
    """Whether the model in a folder is distilled; no where its config can't be read: whoever loads it then says so."""
    try:
        config = json.loads((folder / "transformer" / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and (config.get("is_turbo", False) or config.get("model_version") == "turbo")


def passed_over(
    folder: Path,
    device: str,
    precision: str = "auto",
    offloaded: bool = False,
    given: Collection[str] = (),
    encoders: Path | None = None,
) -> str:
    """Why the model in a folder is not for this machine or for these options; "" where it is.

    The memory of a GPU counts, and not what of it is free: the same command takes the same model at any time.

    Parameters
    ----------
    folder
        Of the model.
    device, precision, offloaded
        Where and how it would compute, as for `d2m_cli.backbones.registry.open_backbone`.
    given
        Names of the options that are given.
    encoders
        Encoders that are to be used, or None.

    Raises
    ------
    UsageError
        A GPU is asked for and absent.
    MissingWeightsError
        A network's file is missing or can't be read.
    """
    check_device_name(device)
    gpus = visible_gpus()
    refuse_absent(device, gpus)
    if device == "cpu" or not gpus:
        return "ACE-Step is for a GPU"
    for name in refusals(is_turbo(folder)):
        if name in given:
            return f"ACE-Step refuses {option(name)}"
    if encoders is not None and not _made_for(encoders).startswith("ace-step"):
        return f"ACE-Step is not what {encoders} was made for"
    if offloaded:
        return ""
    held_in = GPU_PRECISION if precision == "auto" else precision
    needed, there = needed_bytes(folder, NETWORKS, _BYTES.get(held_in, 2)), gpu_memory(gpu_number(device))
    if needed + KEPT_BYTES <= there:
        return ""
    return (
        f"ACE-Step needs {(needed + KEPT_BYTES) / 2**30:.1f} GiB of GPU memory in {held_in}, and the GPU has "
        f"{there / 2**30:.1f} GiB"
    )


def _made_for(encoders: Path) -> str:
    """The backbone that a file of encoders names; "" where it names none: whoever loads it then says so."""
    try:
        with safe_open(encoders, "np") as file:
            told = json.loads((file.metadata() or {}).get("d2m", "{}"))
    except (OSError, SafetensorError, ValueError):
        return ""
    return str(told.get("backbone", "")) if isinstance(told, Mapping) else ""
