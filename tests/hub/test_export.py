"""HRNet from a server to a network that runs, at full size with random weights, where mmpose is installed."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from d2m_cli.commands.weights import pull_tools
from d2m_cli.hub import store
from d2m_cli.hub.catalogue import CATALOGUE, Download
from d2m_cli.hub.pull import pull
from tests.hub.conftest import Told
from tests.hub.loopback import Loopback, sha256

needs_mmpose = pytest.mark.skipif(importlib.util.find_spec("mmpose") is None, reason="mmpose is not installed")


@needs_mmpose
@pytest.mark.slow
@pytest.mark.parametrize(("name", "crop"), [("hrnet-w32", (192, 256)), ("hrnet-w48-384", (288, 384))])
def test_pulled_exported_and_used(
    server: Loopback,
    home: Path,
    told: Told,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    crop: tuple[int, int],
) -> None:
    import mmpose
    import torch

    from d2m_cli.pose import compat_mmpose
    from d2m_cli.pose.estimator import PoseEstimator, PoseOptions

    entry = CATALOGUE[name]
    folder = Path(mmpose.__file__).parent / ".mim/configs/body_2d_keypoint/topdown_heatmap/coco"
    network = compat_mmpose.build(folder / f"{entry.mmpose_config}.py")
    torch.save({"state_dict": network.state_dict()}, tmp_path / "random.pth")
    content = (tmp_path / "random.pth").read_bytes()
    server.files["/x.pth"] = content
    server.todo["/x.pth"] = ["cut"]
    source = Download(f"{server.url}/x.pth", sha256(content)[:8])
    monkeypatch.setitem(CATALOGUE, name, replace(entry, source=source, ready=None))
    path = pull(CATALOGUE[name], told, pull_tools())
    assert path == store.locate(name) == home / "weights" / name / f"{name}.onnx"
    assert store.check(CATALOGUE[name]).problems == ()
    estimator = PoseEstimator(PoseOptions(model=name, device="cpu"))
    assert estimator._network.crop_size == crop
    assert estimator.description.startswith(f"{name} with")
