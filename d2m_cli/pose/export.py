"""An mmpose top-down network (HRNet and its kin) as one ONNX file with a free batch."""

from __future__ import annotations

import copy
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from d2m_cli.errors import D2MError, MissingExtraError, MissingWeightsError, OutputError, UsageError
from d2m_cli.ground.files import atomic_path
from d2m_cli.ground.options import option
from d2m_cli.ground.unpickle import BROKEN_CHECKPOINT
from d2m_cli.hub.catalogue import MMPOSE_INSTALL
from d2m_cli.pose import compat_mmpose, tensors_only

if TYPE_CHECKING:
    import torch

AGREEMENT = 1e-4
"""Largest difference of a heat map value from torch's that an export may have."""

HALF_AGREEMENT = 0.01
"""The same for an export in half precision, as a share of the largest value."""


@dataclass(frozen=True)
class Exported:
    """A finished export: the file, its input size in pixels, and its largest difference from torch."""

    path: Path
    width: int
    height: int
    difference: float

    def __str__(self) -> str:
        return f"input {self.width}x{self.height}, differs from torch by at most {self.difference:.1e}"


def export_top_down(
    config: Path, checkpoint: Path | None, out: Path, *, overwrite: bool = False, half: bool = False
) -> Exported:
    """Write an ONNX file and compare it with torch on noise.

    Parameters
    ----------
    config
        mmpose configuration of a network with a heat map head.
    checkpoint
        Its .pth file; None keeps random weights, for tests.
    out
        The .onnx file to write.
    overwrite
        Replace `out` where it exists.
    half
        Weights and arithmetic in float16, for a GPU: half the file; pictures and heat maps stay float32.

    Raises
    ------
    MissingExtraError
        mmpose is not installed.
    MissingWeightsError, UsageError
        The configuration or the checkpoint is missing or does not fit; the network gives no COCO heat maps.
    OutputError
        The file exists or can't be written.
    """
    for path in (config, checkpoint):
        if path is not None and not path.is_file():
            raise MissingWeightsError(f"{path}: no such file")
    if out.exists() and not overwrite:
        raise OutputError(f"{out}: exists; add {option('overwrite', True)} to replace it")
    network = compat_mmpose.build(config)
    if checkpoint is not None:
        load_weights(network, checkpoint)
    width, height = _input_size(network, config)
    module = _heat_maps(network)
    difference = _write(module, (width, height), out, half)
    return Exported(out, width, height, difference)


def export_published(name: str, checkpoint: Path, out: Path) -> Exported:
    """`export_top_down` by a configuration that comes with mmpose; an older `out` is replaced.

    Parameters
    ----------
    name
        Of the configuration (COCO's joints, heat maps), without ".py".
    checkpoint, out
        As for `export_top_down`, which also says what else is raised.

    Raises
    ------
    MissingExtraError
        mmpose is not installed.
    """
    spec = importlib.util.find_spec("mmpose")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(f"mmpose, which turns it into ONNX, is not installed; {MMPOSE_INSTALL}")
    configs = Path(next(iter(spec.submodule_search_locations))) / ".mim" / "configs"
    config = configs / "body_2d_keypoint" / "topdown_heatmap" / "coco" / f"{name}.py"
    return export_top_down(config, checkpoint, out, overwrite=True)


def load_weights(network: Any, checkpoint: Path) -> None:
    """Put the weights of a checkpoint into a network; runs no code from the file.

    Raises
    ------
    UsageError
        The file is no checkpoint, or one of another network.
    """
    content = read_checkpoint(checkpoint)
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise UsageError(f"{checkpoint}: holds no state_dict")
    missing, _ = network.load_state_dict(state, strict=False)
    wanted = [name for name in missing if not name.endswith("num_batches_tracked")]
    if wanted:
        raise UsageError(f"{checkpoint}: lacks {len(wanted)} weights of this configuration, such as {wanted[0]}")


def read_checkpoint(checkpoint: Path) -> Any:
    """The content of a .pth file; mmengine's records beside the tensors come out as empty shells.

    Raises
    ------
    UsageError
        The file is no checkpoint.
    """
    import torch

    try:
        return torch.load(checkpoint, map_location="cpu", weights_only=False, pickle_module=tensors_only)
    except BROKEN_CHECKPOINT as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise UsageError(f"{checkpoint}: is not a checkpoint that can be read ({reason}); download it again") from error


def _input_size(network: Any, config: Path) -> tuple[int, int]:
    codec = getattr(getattr(network, "head", None), "decoder", None)
    size = getattr(codec, "input_size", None)
    if size is None:
        raise UsageError(f"{config}: has no heat map head with a decoder; give a top-down heat map configuration")
    return int(size[0]), int(size[1])


def _heat_maps(network: Any) -> torch.nn.Module:
    """The backbone and head alone: pictures (n, 3, h, w) in, heat maps (n, 17, h', w') out."""
    import torch

    class HeatMaps(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            maps: torch.Tensor = self.network(pictures, None, mode="tensor")
            return maps

    return HeatMaps().eval()


def _in_half(module: torch.nn.Module) -> torch.nn.Module:
    """A copy that computes in float16 between pictures and maps in float32."""
    import torch

    class InHalf(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = copy.deepcopy(module).half()

        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            maps: torch.Tensor = self.network(pictures.half())
            return maps.float()

    return InHalf().eval()


def _write(module: torch.nn.Module, size: tuple[int, int], out: Path, half: bool = False) -> float:
    """Export, check against torch on two pictures of noise, and only then let the file appear."""
    import torch

    noise = torch.randn(2, 3, size[1], size[0], generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = module(noise)
    if expected.ndim != 4 or expected.shape[1] != 17:
        raise UsageError(f"the network gives {tuple(expected.shape)}, not 17 heat maps (COCO joints) per picture")
    with atomic_path(out) as part:
        torch.onnx.export(
            _in_half(module) if half else module,
            (noise,),
            str(part),
            input_names=["pictures"],
            output_names=["heat"],
            dynamic_axes={"pictures": {0: "batch"}, "heat": {0: "batch"}},
            dynamo=False,
        )
        difference = max(_difference(part, noise.numpy()[:n], expected.numpy()[:n]) for n in (1, 2))
        if difference > (HALF_AGREEMENT * float(expected.abs().max()) if half else AGREEMENT):
            raise D2MError(f"{out}: the export differs from torch by {difference:.1e}; nothing was written")
    return difference


def _difference(path: Path, pictures: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> float:
    from d2m_cli.pose.session import OnnxModel

    got = OnnxModel(path, "cpu", batch=len(pictures))(pictures)[0]
    return float(np.abs(got - expected).max())
