"""Adapter from files of weights that others trained to named tensors, for every network of evaluation.

Nothing that a file might hold is run.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from d2m_cli.ground.unpickle import BROKEN_CHECKPOINT

UNREADABLE = (SafetensorError, *BROKEN_CHECKPOINT)
"""What reading a file, and putting it into a network, raises where the file is not what it should be."""


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Named tensors of a file: .safetensors, or what `torch.save` writes.

    Of a dictionary with a "state_dict" in it, as training scripts write one, that.

    Raises
    ------
    one of `UNREADABLE`
        It can't be read, or holds something else than named tensors.
    """
    if path.suffix == ".safetensors":
        return load_file(path)
    content = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError("it holds no named tensors")
    return {str(key): value for key, value in content.items()}
