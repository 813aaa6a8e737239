import numpy as np
import pytest

from d2m_cli.rhythm.beat_model import PHASES, BeatModel, dilated, shipped_model
from d2m_cli.rhythm.evidence import CURVES, RATE


def test_dilated_convolution_by_hand():
    x = np.array([[1.0, 2.0, 3.0, 4.0, 5.0]])
    weight = np.array([[[1.0, 10.0, 100.0]]])
    # out[i] = x[i - 2] + 10 x[i] + 100 x[i + 2], zeros beyond the ends
    assert dilated(x, weight, 2).tolist() == [[310.0, 420.0, 531.0, 42.0, 53.0]]


def test_lattice_peaks_at_the_tempo_and_phase_of_a_cosine():
    member = {"harm": np.array([1.0, 0.0, 0.0, 0.0]), "power": np.zeros(2), "scale": np.array(1.0)}
    model = BeatModel((member,), np.array([6.6, 0.3]), np.zeros(3))
    t = np.arange(1000) / RATE
    activation = np.zeros((1, 3, 1000))
    activation[0, 0] = np.cos(2 * np.pi * 1.8 * (t - 0.21))
    lattice = model.lattice(activation, 5.0)
    row, column = np.unravel_index(lattice.scores.argmax(), lattice.scores.shape)
    assert lattice.frequencies[row] == pytest.approx(1.8, abs=0.01)
    beat = lattice.centre + column / PHASES / 1.8 - 5.0
    late = (beat - 0.21 + 0.5 / 1.8) % (1 / 1.8) - 0.5 / 1.8
    assert abs(late) < 0.02
    # Half of 20 s of a cosine of height 1, twice over the root of the length.
    assert lattice.scores.max() == pytest.approx(10.0 * 2.0 / np.sqrt(20.0), rel=0.01)


def test_network_agrees_with_torch():
    torch = pytest.importorskip("torch")
    model = shipped_model()
    values = np.random.default_rng(0).normal(size=(300, len(CURVES)))
    for member, mine in zip(model.members, model.activation(values), strict=True):
        t = {name: torch.tensor(value) for name, value in member.items()}
        conv = torch.nn.functional.conv1d
        x = conv(torch.tensor(values.T[None]), t["inp.weight"], t["inp.bias"])
        for k in range(5):
            y = conv(x, t[f"conv.{k}.weight"], t[f"conv.{k}.bias"], padding=2 * 2**k, dilation=2**k)
            x = x + torch.relu(y)
        out = conv(torch.relu(x), t["out.weight"], t["out.bias"])[0].numpy()
        assert mine == pytest.approx(out, abs=1e-9)


def test_confidence_is_a_logistic_function():
    model = BeatModel((), np.zeros(2), np.array([0.5, 1.0, -2.0]))
    assert model.confidence(np.array([1.5, 1.0])) == pytest.approx(0.5)
    assert model.confidence(np.array([2.5, 1.0])) == pytest.approx(1.0 / (1.0 + np.exp(-1.0)))
