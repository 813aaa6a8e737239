"""Encoders that the authors' own code trained, brought into d2m's format.

The MusicGen variant (github.com/lsfhuihuiff/Dance-to-music_Siggraph_Asia_2024) saves, in ``audiocraft/utils/
checkpoint.py``, a dictionary of two state dicts whose names keep their place in the whole model::

    {"poseEncoder":   {PREFIX + "poseEncoder.pos_emb.weight": (303, 1), ...input_projection.{0,1,4}, ...rembed...},
     "audioEncoderP": {PREFIX + "audioEncoder.projector.0.weight": (10,), ...{0,1,3}}}

with PREFIX ``condition_provider.conditioners.description.embedding_manager.``, which its ``EmbeddingManager.load``
strips. Names without it are read too. A ``string_to_token`` beside them is the tokenizer's business and left alone.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from d2m_cli.errors import OutputError, UsageError
from d2m_cli.ground.options import option
from d2m_cli.inversion.checkpoint import EncoderConfig, Encoders, fill
from d2m_cli.rhythm.sequence import RhythmGrid

PUBLISHED_BACKBONES = ("musicgen",)
"""Families whose published encoders can be read."""
PUBLISHED_GRID = RhythmGrid("published", 60.0, 303)
"""Clips of 305 frames at 60 fps, called 5.12 s there, of which second differences leave 303 steps."""
PUBLISHED_WIDTH = 768

RHYTHM_PARTS = {
    "position": "pos_emb",
    "enter": "input_projection",
    "first": "rembed.attn1",
    "second": "rembed.attn2",
    "leave": "rembed.net",
}
"""Part of :class:`d2m_cli.inversion.rhythm_encoder.AttnPos` to its name in the published encoder of "*"."""
_SECTIONS = {"poseEncoder": "poseEncoder.", "audioEncoderP": "audioEncoder.projector."}
"""Key of the published dictionary to what precedes its tensors' own names."""


def import_encoders(state_dict: Path, out: Path, backbone: str = "musicgen", *, overwrite: bool = False) -> Encoders:
    """Turn a published checkpoint into an ``encoders.safetensors``.

    Parameters
    ----------
    state_dict
        The file that the authors' training wrote.
    out
        The file to write.
    backbone
        Family that the encoders were trained on. They are not bound to one set of weights: the published file does not
        say which it was.
    overwrite
        Replace `out` where it exists.

    Raises
    ------
    UsageError
        Not such a file: the text names what is missing or of another shape.
    OutputError
        `out` exists, or can't be written.
    """
    if backbone not in PUBLISHED_BACKBONES:
        raise UsageError(
            f"{option('backbone', backbone)}: published encoders are known for {', '.join(PUBLISHED_BACKBONES)} only"
        )
    if out.exists() and not overwrite:
        raise OutputError(f"{out}: exists already; choose another name, or say {option('overwrite', True)}")
    saved = _read(state_dict)
    config = EncoderConfig(backbone, "", PUBLISHED_WIDTH, PUBLISHED_GRID, projector="attn-pos", genre="label")
    encoders = Encoders(config)
    for network, key, published_name in (
        (encoders.rhythm_network, "poseEncoder", _rhythm_name),
        (encoders.genre_network, "audioEncoderP", _genre_name),
    ):
        assert network is not None
        fill(network, _section(saved, key, state_dict), f"{state_dict}: {key}: ", published_name)
    encoders.save(out)
    return Encoders.load(out)


def _rhythm_name(name: str) -> str:
    part, _, rest = name.partition(".")
    return f"{RHYTHM_PARTS[part]}.{rest}"


def _genre_name(name: str) -> str:
    return name.removeprefix("layers.")


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise UsageError(f"{path}: no such file; give the file that the published training wrote")
    if not zipfile.is_zipfile(path):
        raise UsageError(f"{path}: not a PyTorch checkpoint, or a part of one; fetch it again")
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise UsageError(
            f"{path}: no file of tensors alone, which is all that d2m reads: either it is something else, or it holds "
            "whole modules, as the published EmbeddingManager.save writes them. Save their state_dict() in the "
            "published environment and give that."
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, struct.error) as error:
        raise UsageError(f"{path}: a broken PyTorch checkpoint ({error}); fetch it again") from error
    if not isinstance(saved, Mapping):
        raise UsageError(f"{path}: holds a {type(saved).__name__}, not a dictionary with {' and '.join(_SECTIONS)}")
    return saved


def _section(saved: Mapping[str, Any], key: str, path: Path) -> dict[str, Tensor]:
    if key not in saved:
        there = ", ".join(sorted(map(str, saved))[:6]) or "nothing"
        raise UsageError(
            f"{path}: no {key!r} in it, which encoders of the published MusicGen variant have; there is: {there}. Is "
            "it the whole model, or another one?"
        )
    section = saved[key]
    if not isinstance(section, Mapping) or not all(isinstance(value, Tensor) for value in section.values()):
        raise UsageError(f"{path}: {key!r} holds no state dict of tensors; give the file that the training wrote")
    mark = _SECTIONS[key]
    return {name.partition(mark)[2] or name: value.float() for name, value in section.items()}
