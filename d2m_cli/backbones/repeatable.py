"""The same bytes each time, on a GPU as well."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Let a CUDA device compute the same bytes each time, while this lasts; elsewhere nothing is changed.

    cuDNN may choose convolutions whose sums depend on the order in which threads end, the transposed ones of a codec's
    decoder among them; PyTorch lets it choose those alone that do not, and forbids it to choose by trying out. Its
    attention, which PyTorch prefers on some devices, counts as one that may differ as well, and it prepares itself anew
    for every length, hundreds of which a growing cache has. These settings belong to the whole process.
    """
    if device.type != "cuda":
        yield
        return
    with (
        repeatable_convolutions(device),
        sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]),
    ):
        yield


@contextmanager
def repeatable_convolutions(device: torch.device) -> Iterator[None]:
    """`repeatable`, but for attention: for networks with masks and shared keys, which cuDNN alone computes in little
    memory, for a few lengths only."""
    if device.type != "cuda":
        yield
        return
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    try:
        cudnn.deterministic, cudnn.benchmark = True, False
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before
