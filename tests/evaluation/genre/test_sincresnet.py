"""Filters that pass what they should, the published layout and size, and weights that come and go."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.signal import resample
from torch.nn import functional

from d2m_cli.errors import AudioError, MissingWeightsError, UsageError
from d2m_cli.evaluation.genre.divergence import GENRES
from d2m_cli.evaluation.genre.sincresnet import GTZAN, MsSincResNet, ResNet18, SincConvolution, SincResNet
from tests.evaluation.clips import noise, tone


@pytest.fixture(scope="module")
def network() -> SincResNet:
    """Random weights, and statistics of normalisation that a trained network might have."""
    torch.manual_seed(0)
    made = SincResNet()
    for key, value in made.state_dict().items():
        if key.endswith("running_var"):
            value.uniform_(0.5, 1.5)
    with torch.no_grad():
        made.resnet["model"].fc.weight.mul_(20)  # type: ignore[operator]
    return made.eval().requires_grad_(False)


def test_resnet_18_has_the_published_size() -> None:
    with torch.device("meta"):
        network = ResNet18(1000)
    assert sum(parameter.numel() for parameter in network.parameters()) == 11_689_512
    # 62 parameters, 20 normalisations with 3 buffers each.
    assert len(network.state_dict()) == 122


def test_the_published_layout() -> None:
    """Keys as PeiChunChang/MS-SincResNet's models.py and torchvision's resnet18 make them."""
    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in SincResNet().state_dict().items()}
    assert shapes["layerNorm.weight"] == shapes["layerNorm.bias"] == (1, 48000)
    for number in (1, 2, 3):
        assert shapes.pop(f"sincNet{number}.0.low_hz_") == shapes.pop(f"sincNet{number}.0.band_hz_") == (160, 1)
        for name in ("weight", "bias", "running_mean", "running_var"):
            assert shapes.pop(f"sincNet{number}.1.{name}") == (160,)
        assert shapes.pop(f"sincNet{number}.1.num_batches_tracked") == ()
    assert shapes["resnet.model.conv1.weight"] == (64, 3, 7, 7)
    assert shapes["resnet.model.layer1.0.conv1.weight"] == (64, 64, 3, 3)
    assert shapes["resnet.model.layer2.0.downsample.0.weight"] == (128, 64, 1, 1)
    assert shapes["resnet.model.layer4.1.bn2.running_var"] == (512,)
    assert shapes["resnet.model.fc.weight"] == (10, 512)
    assert "resnet.model.layer1.0.downsample.0.weight" not in shapes
    rest = {key.split(".")[0] for key in shapes}
    assert rest == {"layerNorm", "resnet"}
    assert len(shapes) == 2 + 122


@pytest.mark.parametrize("taps", [251, 501, 1001])
def test_filters_pass_their_band(taps: int) -> None:
    layer = SincConvolution(160, taps)
    filters = layer.filters()[:, 0].detach()
    assert filters.shape == (160, taps)
    assert torch.allclose(filters, filters.flip(1))
    assert torch.equal(filters[:, taps // 2], torch.ones(160))
    response = np.abs(np.fft.rfft(filters.double().numpy(), 16000))
    # Mel-spaced from 30 Hz on; 50 Hz are added to the lowest frequency, and 50 Hz to the width.
    low = 50 + layer.low_hz_[:, 0].detach().double().numpy()
    high = low + 50 + layer.band_hz_[:, 0].detach().double().numpy()
    assert low[0] == pytest.approx(80, abs=0.01)
    assert high[-1] == pytest.approx(8000, abs=0.05)
    for number in (20, 80, 140):
        centre = round((low[number] + high[number]) / 2)
        edge = round(2.5 * 16000 / taps)
        assert abs(response[number].argmax() - centre) < high[number] - low[number]
        outside = np.r_[response[number, : round(low[number]) - edge], response[number, round(high[number]) + edge :]]
        assert outside.max() < 0.05 * response[number].max()


def test_one_filter_by_hand() -> None:
    layer = SincConvolution(160, 251)
    filters = layer.filters()[:, 0].detach().double().numpy()
    low = 50 + abs(layer.low_hz_[30].item())
    high = low + 50 + abs(layer.band_hz_[30].item())
    for place in (0, 60, 124):
        t = (place - 125) / 16000
        window = 0.54 - 0.46 * math.cos(2 * math.pi * (place * 124.5 / 124) / 251)
        ideal = (math.sin(2 * math.pi * high * t) - math.sin(2 * math.pi * low * t)) / (math.pi * t)
        assert filters[30, place] == pytest.approx(ideal * window / (2 * (high - low)), abs=1e-5)


def test_the_spectrum_convolves_as_a_layer_does() -> None:
    layer = SincConvolution(160, 501)
    sound = torch.from_numpy(noise(0.25, 16000)).view(1, 1, -1).repeat(2, 1, 1)
    sound[1] *= -2
    with torch.no_grad():
        found = layer(sound)
        expected = functional.conv1d(sound, layer.filters())
    assert found.shape == (2, 160, 4000 - 500)
    assert torch.allclose(found, expected, atol=1e-5 * float(expected.abs().max()))


def test_weights_come_back(network: SincResNet, tmp_path: Path) -> None:
    path = tmp_path / "MS-SincResNet.tar"
    checkpoint = {"epoch": 199, "state_dict": network.state_dict(), "train_loss": torch.tensor(0.1), "train_acc": 0.9}
    torch.save(checkpoint, path)
    loaded = MsSincResNet.load(path)
    assert (loaded.name, loaded.classes) == ("ms-sincresnet", GTZAN)
    sound = noise(3.2, 16000) + tone(3.2, 16000)
    heard = loaded.genres(sound, 16000)
    with torch.no_grad():
        expected = network(torch.from_numpy(sound[None, None, :48000] * 32768)).softmax(1)[0]
    assert heard.shape == (10,)
    assert heard.sum() == pytest.approx(1.0)
    assert heard == pytest.approx(expected.numpy(), abs=1e-5)
    assert heard.max() > 0.2
    with pytest.raises(UsageError, match="knows 10 genres, not the 2 of jazz, rock"):
        MsSincResNet.load(path, ("jazz", "rock"))
    assert MsSincResNet.load(path, GENRES).classes == GENRES


class Energy(SincResNet):
    """Tells how loud the windows are that it is given."""

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)
        self.seen: list[torch.Tensor] = []

    def forward(self, sound: torch.Tensor) -> torch.Tensor:
        self.seen.append(sound[:, 0])
        return torch.stack([sound.mean((1, 2)), torch.zeros(len(sound))], 1)


def test_windows_of_three_seconds() -> None:
    network = Energy()
    classifier = MsSincResNet(network, ("a", "b"))
    ramp = np.linspace(0, 1, 81920, dtype=np.float32) / 32768
    heard = classifier.genres(ramp, 16000)
    windows = torch.cat(network.seen)
    # 5.12 s: starts at 0, 0.5, 1, 1.5 and 2 s.
    assert windows.shape == (5, 48000)
    assert windows[:, 0].tolist() == pytest.approx([8000 * i / 81919 for i in range(5)], abs=1e-6)
    means = windows.mean(1).numpy()
    assert heard[0] == pytest.approx((1 / (1 + np.exp(-means))).mean(), abs=1e-6)
    with pytest.raises(AudioError, match=r"2\.99 s are too short for ms-sincresnet, which needs 3\.00 s"):
        classifier.genres(ramp[:47840], 16000)
    with pytest.raises(AudioError, match="not numbers"):
        classifier.genres(np.full(48000, np.nan), 16000)


def test_hearing_as_the_public_evaluation_does() -> None:
    network = Energy()
    classifier = MsSincResNet(network, ("a", "b"), hearing="dmd")
    assert classifier.name == "ms-sincresnet, heard as dmd"
    sound = noise(5.0, 22050)
    classifier.genres(sound, 22050)
    expected = resample(sound, 16000 * 30)[24000:72000] * 32768
    assert np.abs(torch.cat(network.seen).numpy() - expected).max() < 1e-3 * np.abs(expected).max()
    with pytest.raises(UsageError, match="windows, dmd"):
        MsSincResNet(network, hearing="loudly")


def test_loudness_hardly_matters_and_silence_is_heard(network: SincResNet) -> None:
    classifier = MsSincResNet(network)
    sound = np.stack([noise(3.0, 24000), tone(3.0, 24000)])
    loud, soft = classifier.genres(sound, 24000), classifier.genres(0.01 * sound, 24000)
    assert np.abs(loud - soft).max() < 1e-3
    silent = classifier.genres(np.zeros(48000), 16000)
    assert np.isfinite(silent).all()


def test_a_file_that_is_something_else(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match=r"absent\.tar: no such file.*PeiChunChang/MS-SincResNet"):
        MsSincResNet.load(tmp_path / "absent.tar")
    wrong = tmp_path / "wrong.tar"
    for content in ({"state_dict": {"fc.weight": torch.zeros(2)}}, {"resnet.model.fc.bias": torch.zeros(10)}, 3):
        torch.save(content, wrong)
        with pytest.raises(MissingWeightsError, match=r"wrong\.tar: not the weights of MS-SincResNet"):
            MsSincResNet.load(wrong)
    wrong.write_bytes(b"")
    with pytest.raises(MissingWeightsError, match="not the weights of MS-SincResNet"):
        MsSincResNet.load(wrong)
