"""The log-mel front end against scipy, the published layout and size, and weights that come and go."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.signal import spectrogram
from torch import Tensor
from torch.nn import functional

from d2m_cli.errors import AudioError, MissingWeightsError
from d2m_cli.evaluation.sound.vggish import SHORTEST, Vggish, VggishNetwork, log_mel_patches, mel_weights
from d2m_cli.media.audio import resample
from tests.evaluation.clips import noise, tone

# Of harritaylor/torchvggish, torchvggish/vggish.py: places of the layers with weights in its two sequences.
CONVOLUTIONS = {0: (64, 1), 3: (128, 64), 6: (256, 128), 8: (256, 256), 11: (512, 256), 13: (512, 512)}
LINEAR = {0: (4096, 12288), 2: (4096, 4096), 4: (128, 4096)}
ROOT_DIR = "d2m_cli.evaluation.sound.vggish.torch.hub.get_dir"


def published_state(seed: int = 0) -> dict[str, Tensor]:
    """A random state dict of the published layout. Rows are views of one row, so that a file of it stays small."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for place, (out, inside) in CONVOLUTIONS.items():
        row = torch.randn(1, inside, 3, 3, generator=generator) / math.sqrt(4.5 * inside)
        state[f"features.{place}.weight"] = row.expand(out, -1, -1, -1)
        state[f"features.{place}.bias"] = 0.1 * torch.randn(out, generator=generator)
    for place, (out, inside) in LINEAR.items():
        row = torch.randn(1, inside, generator=generator) / math.sqrt(inside)
        state[f"embeddings.{place}.weight"] = row.expand(out, -1)
        state[f"embeddings.{place}.bias"] = 0.1 * torch.randn(out, generator=generator)
    return state


def by_hand(state: dict[str, Tensor], patch: Tensor) -> Tensor:
    """VGGish of one (96, 64) patch, written out."""
    x = patch[None, None]
    for place in CONVOLUTIONS:
        weight, bias = state[f"features.{place}.weight"], state[f"features.{place}.bias"]
        x = functional.conv2d(x, weight, bias, padding=1).relu()
        if place in (0, 3, 8, 13):
            x = functional.max_pool2d(x, 2)
    assert x.shape == (1, 512, 6, 4)
    # TensorFlow's order: rows, columns, channels.
    flat = torch.stack([x[0, :, row, column] for row in range(6) for column in range(4)]).reshape(-1)
    for place in LINEAR:
        flat = state[f"embeddings.{place}.weight"] @ flat + state[f"embeddings.{place}.bias"]
        if place != 4:
            flat = flat.relu()
    return flat


def test_log_mel_is_what_scipy_and_interpolation_give() -> None:
    sound = noise(2.0, 16000) + tone(2.0, 16000, 1234.5)
    _, _, magnitude = spectrogram(
        sound.astype(np.float64), 16000, "hann", 400, 240, 512, detrend=False, scaling="spectrum", mode="magnitude"
    )
    magnitude *= 200.0  # the sum of the window, which scipy divides by
    magnitude[0] = 0.0

    def mel(hertz: float) -> float:
        return 1127.0 * math.log(1.0 + hertz / 700.0)

    edges = [mel(125.0) + i / 65 * (mel(7500.0) - mel(125.0)) for i in range(66)]
    bins = [mel(k * 16000 / 512) for k in range(257)]
    triangles = np.array([np.interp(bins, edges[i : i + 3], [0.0, 1.0, 0.0]) for i in range(64)])
    expected = np.log(triangles @ magnitude + 0.01).T
    found = log_mel_patches(sound)
    assert found.shape == (2, 96, 64)
    assert found.dtype == np.float32
    assert np.abs(found.reshape(192, 64) - expected[:192]).max() < 1e-4


def test_a_tone_lies_in_its_band_and_silence_at_the_offset() -> None:
    patches = log_mel_patches(tone(0.975, 16000, 1000.0, amplitude=1.0))
    assert patches.shape == (1, 96, 64)
    centres = np.linspace(1127 * math.log(1 + 125 / 700), 1127 * math.log(1 + 7500 / 700), 66)[1:-1]
    band = int(np.abs(centres - 1127 * math.log(1 + 1000 / 700)).argmin())
    assert (patches[0].argmax(1) == band).all()
    # 1000 Hz is bin 32: a sine of amplitude 1 under a window with sum 200 gives 100 there.
    assert patches[0].max() > math.log(100 * mel_weights()[32].max())
    silence = log_mel_patches(np.zeros(16000, np.float32))
    assert np.allclose(silence, math.log(0.01))


def test_how_many_patches() -> None:
    counts = [len(log_mel_patches(np.zeros(n, np.float32))) for n in (0, SHORTEST - 1, SHORTEST, 81920, 81280)]
    assert SHORTEST == 15600
    assert counts == [0, 0, 1, 5, 5]


def test_the_published_layout_and_size() -> None:
    with torch.device("meta"):
        network = VggishNetwork()
    own, published = network.state_dict(), published_state()
    assert {key: tuple(value.shape) for key, value in own.items()} == {
        key: tuple(value.shape) for key, value in published.items()
    }
    assert sum(parameter.numel() for parameter in network.parameters()) == 72_141_184


@pytest.mark.parametrize("kind", ["alone", "beside its PCA", "inside another network", "in a checkpoint"])
def test_weights_from_a_file(tmp_path: Path, kind: str) -> None:
    state = published_state()
    content: dict = dict(state)
    if kind == "beside its PCA":
        content |= {"pproc.pca_eigen_vectors": torch.zeros(128, 128), "pproc.pca_means": torch.zeros(128, 1)}
    if kind == "inside another network":
        content = {f"audioEncoder.{key}": value for key, value in state.items()} | {"other.weight": torch.zeros(3)}
    if kind == "in a checkpoint":
        content = {"epoch": 3, "state_dict": content}
    torch.save(content, tmp_path / "vggish.pth")
    vggish = Vggish.load(tmp_path / "vggish.pth")
    assert (vggish.name, vggish.sample_rate, vggish.width) == ("vggish", 16000, 128)
    loaded = vggish.network.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())


def test_weights_by_name_lie_where_torch_hub_leaves_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ROOT_DIR, lambda: str(tmp_path))
    with pytest.raises(MissingWeightsError, match=r"vggish-10086976\.pth: no such file.*releases/download/v0\.1"):
        Vggish.load()
    (tmp_path / "checkpoints").mkdir()
    torch.save(published_state(), tmp_path / "checkpoints" / "vggish-10086976.pth")
    assert torch.equal(Vggish.load().network.features[0].bias, published_state()["features.0.bias"])  # type: ignore[arg-type]


def test_embeddings_at_any_rate_and_channels(tmp_path: Path) -> None:
    state = published_state()
    torch.save(state, tmp_path / "vggish.pth")
    vggish = Vggish.load(tmp_path / "vggish.pth")
    sound = noise(0.975, 16000) + tone(0.975, 16000)
    mono = vggish.embed(sound, 16000)
    expected = by_hand(state, torch.from_numpy(log_mel_patches(sound)[0])).numpy()
    assert mono.shape == (1, 128)
    assert np.abs(mono[0] - expected).max() < 1e-4 * np.abs(expected).max()
    # Before the last ReLU: some of the numbers are below 0.
    assert (mono < 0).any()
    stereo = vggish.embed(resample(np.stack([sound * 1.5, sound * 0.5]), 16000, 44100), 44100)
    assert stereo.shape == (1, 128)
    assert np.abs(stereo - mono).max() < 0.05 * np.abs(mono).max()
    with pytest.raises(AudioError, match=r"0\.90 s are too short for vggish, which needs 0\.97 s"):
        vggish.embed(tone(0.9, 16000), 16000)


def test_a_file_that_is_something_else(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pth"
    for content in ({"weight": torch.zeros(3)}, [1, 2], {"features.0.weight": torch.zeros(64, 1, 3, 3)}):
        torch.save(content, wrong)
        with pytest.raises(MissingWeightsError, match=r"wrong\.pth: not the weights of VGGish"):
            Vggish.load(wrong)
    wrong.write_bytes(b"not a file of torch")
    with pytest.raises(MissingWeightsError, match="not the weights of VGGish"):
        Vggish.load(wrong)
    other = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, other)
    with pytest.raises(MissingWeightsError, match="not the weights of VGGish"):
        Vggish.load(other)
    other.write_bytes(b"x")
    with pytest.raises(MissingWeightsError, match="not the weights of VGGish"):
        Vggish.load(other)


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    import pickle

    class Evil:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "touched",))

    torch.save({"features.0.weight": Evil()}, tmp_path / "evil.pth", pickle_module=pickle)
    with pytest.raises(MissingWeightsError):
        Vggish.load(tmp_path / "evil.pth")
    assert not (tmp_path / "touched").exists()


@pytest.mark.slow
def test_full_size_and_safetensors(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = VggishNetwork()
    path = tmp_path / "vggish.safetensors"
    save_file(network.state_dict(), path)
    assert path.stat().st_size > 288_000_000
    loaded = Vggish.load(path).network
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    patch = torch.randn(1, 96, 64)
    with torch.no_grad():
        # Where weights begin in memory decides which kernel is taken, and so the last digits.
        torch.testing.assert_close(loaded(patch), network(patch))
