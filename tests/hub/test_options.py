"""Options that take weights: names of the catalogue, and the command that fetches what is not here."""

from __future__ import annotations

from pathlib import Path

import pytest

from d2m_cli.commands.weights import pull_tools
from d2m_cli.errors import MissingWeightsError, UsageError
from d2m_cli.hub import store
from d2m_cli.hub.catalogue import CATALOGUE


def test_options_take_names(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not here is answered with the command that fetches it, in every option that takes weights."""
    from d2m_cli.evaluation.genre.sincresnet import MsSincResNet
    from d2m_cli.evaluation.sound.embedders import load_embedder
    from d2m_cli.inversion.clap import ClapAudio
    from d2m_cli.pose.estimator import PoseEstimator, PoseOptions

    monkeypatch.setattr("torch.hub.get_dir", lambda: str(home))
    for name, load in {
        "hrnet-w48": lambda: PoseEstimator(PoseOptions(model="hrnet-w48")),
        "hrnet-w32": lambda: PoseEstimator(PoseOptions(model="hrnet:hrnet-w32")),
        "rtmpose-m": lambda: PoseEstimator(PoseOptions(model="rtmpose-m")),
        "rtmo-s": lambda: PoseEstimator(PoseOptions(detector="rtmo-s")),
        "vggish": lambda: load_embedder("vggish"),
        "clap": lambda: load_embedder("clap"),
        "sincresnet": MsSincResNet.load,
    }.items():
        with pytest.raises(MissingWeightsError, match=f"d2m weights pull {name}'"):
            load()
    with pytest.raises(MissingWeightsError, match="'d2m weights pull clap'"):
        ClapAudio(Path("clap"))
    with pytest.raises(
        UsageError, match=r"there is no pose model 'hrnet-w99'; use movenet, auto, rtmpose-l, .* or hrnet:PATH"
    ):
        PoseOptions(model="hrnet-w99")


def test_vggish_that_was_pulled_comes_before_torchs_own(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from d2m_cli.evaluation.sound.vggish import Vggish

    monkeypatch.setattr("torch.hub.get_dir", lambda: str(home / "torch"))
    here = home / "weights" / "vggish" / "vggish-10086976.pth"
    here.parent.mkdir(parents=True)
    here.write_bytes(b"not really")
    entry = CATALOGUE["vggish"]
    files = (store.FileRecord(here.name, 10, "1" * 64),)
    store.write_receipt(entry, store.Receipt("vggish", entry.origin, "", "", "", here.name, files))
    with pytest.raises(MissingWeightsError, match=f"^{here}: not the weights of VGGish"):
        Vggish.load()


def test_the_classifier_is_known_by_its_content(home: Path, tmp_path: Path) -> None:
    import torch

    from d2m_cli.evaluation.genre.sincresnet import SincResNet

    opens = pull_tools().opens["sincresnet"]
    torch.save({"state_dict": SincResNet().state_dict()}, tmp_path / "x.tar.part")
    opens(tmp_path / "x.tar.part")
    (tmp_path / "page").write_text("<html>")
    with pytest.raises(MissingWeightsError, match="not the weights of MS-SincResNet"):
        opens(tmp_path / "page")
