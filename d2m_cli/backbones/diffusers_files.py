"""Models in the layout of diffusers: a folder for each part, and ``model_index.json`` that names their classes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from d2m_cli.backbones.base import refuse_gaps
from d2m_cli.errors import MissingWeightsError

if TYPE_CHECKING:
    import torch

INDEX = "model_index.json"


def load(kind: Any, folder: Path, **options: Any) -> Any:
    """Load a part of any kind; diffusers' classes carry no types for their constructors.

    Raises
    ------
    MissingWeightsError
        It can't be loaded.
    """
    try:
        return kind.from_pretrained(folder, **options)
    # diffusers raises NotImplementedError where a tensor is missing.
    except (OSError, ValueError, SafetensorError, NotImplementedError) as error:
        raise MissingWeightsError(f"{folder}: can't be loaded ({error}). Fetch the model again.") from error


def load_network(kind: Any, folder: Path, **options: Any) -> Any:
    """Load a network whole.

    Raises
    ------
    MissingWeightsError
        It can't be loaded, or tensors are missing.
    """
    model, told = load(kind, folder, local_files_only=True, output_loading_info=True, **options)
    refuse_gaps(folder, told["missing_keys"])
    return model


def read_index(folder: Path) -> dict[str, Any]:
    """What ``model_index.json`` holds: the pipeline's class as "_class_name", and (library, class) of each part.

    Raises
    ------
    MissingWeightsError
        There is none, or it can't be read.
    """
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MissingWeightsError(
            f"{folder / INDEX}: can't be read ({error}); a model in diffusers' layout has one. Fetch the model again."
        ) from error
    if not isinstance(index, dict):
        raise MissingWeightsError(f"{folder / INDEX}: holds no table of a model's parts. Fetch the model again.")
    return index


def part_class(folder: Path, index: dict[str, Any], part: str) -> Any:
    """The class of one part.

    Raises
    ------
    MissingWeightsError
        The index names none, or one that the installed libraries lack.
    """
    named = index.get(part)
    if isinstance(named, list) and len(named) == 2 and all(isinstance(one, str) for one in named):
        library, name = named
        where = library if library in ("diffusers", "transformers") else f"diffusers.pipelines.{library}"
        try:
            return getattr(import_module(where), name)
        except (ImportError, AttributeError) as error:
            raise MissingWeightsError(
                f"{folder / INDEX}: its part {part!r} is a {library}.{name}, which the installed libraries lack. "
                "Update diffusers and transformers, or use another model."
            ) from error
    raise MissingWeightsError(f"{folder / INDEX}: names no class for its part {part!r}. Fetch the model again.")


def load_networks(folder: Path, index: dict[str, Any], parts: Sequence[str], dtype: torch.dtype) -> dict[str, Any]:
    """The networks of a model, frozen, in the classes that its index names.

    Raises
    ------
    MissingWeightsError
        One can't be loaded whole.
    """
    networks = {}
    for part in parts:
        kind = part_class(folder, index, part)
        told = {"dtype" if index[part][0] == "transformers" else "torch_dtype": dtype}
        networks[part] = load_network(kind, folder / part, **told).eval().requires_grad_(False)
    return networks


def weights_count(folder: Path) -> int:
    """How many numbers the safetensors of a folder hold; the headers alone are read.

    Raises
    ------
    MissingWeightsError
        There are none, or one can't be read.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise MissingWeightsError(f"{folder}: holds no .safetensors. Fetch the model again.")
    count = 0
    for path in files:
        try:
            with safe_open(path, "np") as file:
                for name in file.keys():  # noqa: SIM118, not a mapping
                    size = 1
                    for axis in file.get_slice(name).get_shape():
                        size *= axis
                    count += size
        except (OSError, SafetensorError) as error:
            raise MissingWeightsError(f"{path}: can't be read ({error}). Fetch the model again.") from error
    return count
