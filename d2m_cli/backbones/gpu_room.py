"""Whether a model has room on a GPU, and how it is made to fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from d2m_cli.backbones.diffusers_files import weights_count
from d2m_cli.errors import UsageError
from d2m_cli.ground.options import option

if TYPE_CHECKING:
    import torch

WORKING_BYTES = 3 * 2**30
"""What denoising and decoding take beside the weights."""


def free_bytes(device: torch.device) -> int:
    """Free memory of a GPU."""
    import torch

    return int(torch.cuda.mem_get_info(device)[0])


def check_room(
    folder: Path, networks: Sequence[str], name: str, device: torch.device, dtype: torch.dtype, offloaded: bool
) -> None:
    """Refuse a model that a GPU has no room for, before it is loaded; on a CPU the system decides.

    Raises
    ------
    UsageError
        There is no room, with the figures; or "offload" is asked for without a GPU.
    """
    if device.type != "cuda":
        if offloaded:
            raise UsageError(f"{option('offload', True)} is for a GPU: on the CPU networks are in main memory anyway")
        return
    missing = "" if offloaded else missing_room(folder, networks, name, device, dtype)
    if missing:
        raise UsageError(
            f"{missing}. Say {option('offload', True)}, which keeps networks in main memory until they compute, a "
            f"shorter number format with {option('precision')}, {option('device', 'cpu')}, or another "
            f"{option('backbone')}."
        )


def needed_bytes(folder: Path, networks: Sequence[str], each: int) -> int:
    """GPU memory that a model needs whose numbers take so many bytes each.

    Raises
    ------
    MissingWeightsError
        A network's file is missing or can't be read.
    """
    return sum(weights_count(folder / part) for part in networks) * each + WORKING_BYTES


def missing_room(folder: Path, networks: Sequence[str], name: str, device: torch.device, dtype: torch.dtype) -> str:
    """In words, by how much a GPU is too small for a model; "" where it has room.

    Raises
    ------
    MissingWeightsError
        A network's file is missing or can't be read.
    """
    needed, free = needed_bytes(folder, networks, dtype.itemsize), free_bytes(device)
    if needed <= free:
        return ""
    return (
        f"{name} needs {needed / 2**30:.1f} GiB of GPU memory in {str(dtype).removeprefix('torch.')}, and "
        f"{free / 2**30:.1f} GiB of {device} are free"
    )


def offload(pipeline: Any, networks: Sequence[str], device: torch.device) -> str:
    """Keep the networks of a pipeline in main memory, by the hooks of diffusers.

    Where the largest fits on the GPU, each comes there whole in its turn; else layer by layer, which is slower.

    Returns
    -------
    In words, what was done.
    """
    sizes = [
        sum(value.numel() * value.element_size() for value in getattr(pipeline, part).parameters()) for part in networks
    ]
    if max(sizes) + WORKING_BYTES <= free_bytes(device):
        pipeline.enable_model_cpu_offload(device=device)
        return f"{device}, each network in its turn"
    # diffusers can't offload the autoencoder in groups; it is small.
    pipeline.enable_group_offload(device, offload_type="leaf_level", exclude_modules=["vae"])
    pipeline.vae.to(device)
    return f"{device}, layer by layer"
