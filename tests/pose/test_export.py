from __future__ import annotations

import importlib.util
import io
import pickle
from pathlib import Path

import numpy as np
import pytest

from d2m_cli.errors import MissingExtraError, MissingWeightsError, UsageError
from d2m_cli.pose.export import export_published, export_top_down, read_checkpoint
from tests.training.test_damaged_inputs import damaged, read

HAS_MMPOSE = importlib.util.find_spec("mmpose") is not None
needs_mmpose = pytest.mark.skipif(not HAS_MMPOSE, reason="mmpose is not installed")


def config() -> Path:
    import mmpose

    folder = Path(mmpose.__file__).parent / ".mim/configs/body_2d_keypoint/topdown_heatmap/coco"
    return folder / "td-hm_hrnet-w32_8xb64-210e_coco-256x192.py"


class Command:
    """What a malicious checkpoint would hold."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, ("touch touched-by-pickle",)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_checkpoint_gives_its_tensors_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, legacy: bool
) -> None:
    import torch

    monkeypatch.chdir(tmp_path)
    weights = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3)}
    content = {"state_dict": weights, "meta": {"evil": Command(), "n": np.float64(3)}, "epoch": 7}
    torch.save(content, tmp_path / "model.pth", _use_new_zipfile_serialization=not legacy)
    got = read_checkpoint(tmp_path / "model.pth")
    assert got["epoch"] == 7
    assert torch.equal(got["state_dict"]["a.weight"], weights["a.weight"])
    assert not (tmp_path / "touched-by-pickle").exists()


def test_a_checkpoint_can_not_change_torch() -> None:
    """A pickle may set attributes of what it names: here the defaults of the function that makes tensors."""
    from torch._utils import _rebuild_tensor_v2

    from d2m_cli.pose import tensors_only

    change = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}X\x0c\x00\x00\x00__defaults__)s\x86b."
    before = _rebuild_tensor_v2.__defaults__
    with pytest.raises(pickle.UnpicklingError, match="a change of a function"):
        tensors_only.load(io.BytesIO(change))
    assert _rebuild_tensor_v2.__defaults__ == before
    pickle.loads(change)
    changed, _rebuild_tensor_v2.__defaults__ = _rebuild_tensor_v2.__defaults__, before
    assert (before, changed) == ((None,), ()), "the pickle does nothing, so the test shows nothing"


@pytest.mark.parametrize("legacy", [False, True])
def test_damaged_checkpoints_are_read_or_refused_by_name(tmp_path: Path, legacy: bool) -> None:
    import torch

    content = {"state_dict": {f"{i}.bias": torch.ones(3) for i in range(4)}, "meta": {"loss": np.float64(3)}}
    path = tmp_path / "model.pth"
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    whole, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(150):
        path.write_bytes(damaged(whole, rng))
        refused += read(read_checkpoint, path, UsageError) is None
    assert refused > 75


def test_files_that_are_no_checkpoints_are_named(tmp_path: Path) -> None:
    (tmp_path / "junk.pth").write_bytes(b"no checkpoint at all")
    (tmp_path / "empty.pth").touch()
    (tmp_path / "plain.pth").write_bytes(pickle.dumps([1, 2]))
    for name in ("junk", "empty", "plain"):
        with pytest.raises(UsageError, match=f"{name}.pth"):
            read_checkpoint(tmp_path / f"{name}.pth")


def test_missing_files_come_before_anything_else(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match=r"none\.py"):
        export_top_down(tmp_path / "none.py", None, tmp_path / "out.onnx")


@pytest.mark.skipif(HAS_MMPOSE, reason="mmpose is installed")
def test_without_mmpose_the_way_to_install_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.py").touch()
    with pytest.raises(MissingExtraError, match="pip install"):
        export_top_down(tmp_path / "config.py", None, tmp_path / "out.onnx")
    with pytest.raises(MissingExtraError, match=r"mmpose, which turns it into ONNX, is not installed; pip install"):
        export_published("td-hm_hrnet", tmp_path / "x.pth", tmp_path / "out.onnx")


def test_an_export_in_half_precision_takes_and_gives_float32(tmp_path: Path) -> None:
    import onnx
    import torch

    from d2m_cli.pose.export import HALF_AGREEMENT, _write
    from d2m_cli.pose.session import OnnxModel
    from tests.gpu.full_size import TINY_HRNET, hrnet_network

    network = hrnet_network(TINY_HRNET)
    size = (TINY_HRNET.width, TINY_HRNET.height)
    plain = _write(network, size, tmp_path / "plain.onnx")
    half = _write(network, size, tmp_path / "half.onnx", half=True)
    assert plain < half
    weights = [tensor for tensor in onnx.load(tmp_path / "half.onnx").graph.initializer if len(tensor.dims) == 4]
    assert {tensor.data_type for tensor in weights} == {onnx.TensorProto.FLOAT16}
    pictures = torch.randn(3, 3, size[1], size[0], generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        expected = network(pictures).numpy()  # and the network itself still computes in float32
    got = OnnxModel(tmp_path / "half.onnx", "cpu")(pictures.numpy())[0]
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=HALF_AGREEMENT * np.abs(expected).max())


@needs_mmpose
@pytest.mark.slow
def test_hrnet_w32_agrees_with_torch_and_runs(tmp_path: Path) -> None:
    """Random weights through a checkpoint file, the export, and the network room."""
    import torch

    from d2m_cli.pose import compat_mmpose
    from d2m_cli.pose.hrnet import HRNet, normalised
    from d2m_cli.pose.session import OnnxModel

    torch.manual_seed(1)
    source = compat_mmpose.build(config()).eval()
    for name, tensor in source.named_parameters():
        if "final_layer" in name:
            torch.nn.init.normal_(tensor, std=0.5)
    torch.save({"state_dict": source.state_dict(), "meta": {"epoch": np.float64(210)}}, tmp_path / "random.pth")
    done = export_top_down(config(), tmp_path / "random.pth", tmp_path / "hrnet.onnx")
    assert (done.width, done.height) == (192, 256)
    assert done.difference < 1e-4
    crops = np.random.default_rng(0).integers(0, 255, (3, 256, 192, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = source(torch.from_numpy(normalised(crops)), None, mode="tensor").numpy()
    model = OnnxModel(done.path, "cpu", batch=2)
    np.testing.assert_allclose(model(normalised(crops))[0], expected, atol=1e-4)
    joints = HRNet(model, "random", flip_test=True).joints(crops)
    assert joints.shape == (3, 17, 3)
    assert np.isfinite(joints).all()


@needs_mmpose
def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    import torch

    torch.save({"state_dict": {"x": torch.zeros(1)}}, tmp_path / "other.pth")
    with pytest.raises(UsageError, match="lacks"):
        export_top_down(config(), tmp_path / "other.pth", tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()
