from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from d2m_cli.backbones.griffin_lim import griffin_lim, running_phases, thinned


def spectrum_of(samples: Tensor, n_fft: int = 2048, win_length: int = 1200, hop_length: int = 240) -> Tensor:
    window = torch.hann_window(win_length)
    return torch.stft(samples, n_fft, hop_length, win_length, window, center=True, return_complex=True)


@pytest.mark.parametrize(
    ("n_fft", "win_length", "hop_length", "iterations"),
    [(2048, 1200, 240, 3), (17640, 4410, 441, 2), (1024, 1000, 256, 3), (512, 511, 100, 3), (2048, 1200, 240, 0)],
)
def test_it_is_that_of_torchs_own_transforms(n_fft: int, win_length: int, hop_length: int, iterations: int) -> None:
    size = n_fft, hop_length, win_length
    window = torch.hann_window(win_length)
    magnitude = 5.0 * torch.rand(2, n_fft // 2 + 1, 60, generator=torch.Generator().manual_seed(1))
    angles = torch.polar(torch.ones_like(magnitude), running_phases(magnitude, n_fft, hop_length, [4, 5]))
    before = torch.zeros_like(angles)
    for _ in range(iterations):
        samples = torch.istft(magnitude * angles, *size, window, center=True)
        rebuilt = torch.stft(samples, *size, window, center=True, return_complex=True)
        wanted = rebuilt - 0.99 / 1.99 * before
        angles, before = wanted / wanted.abs().clamp(min=1e-16), rebuilt
    wanted = torch.istft(magnitude * angles, *size, window, center=True)
    made = griffin_lim(magnitude, n_fft, win_length, hop_length, iterations, [4, 5])
    torch.testing.assert_close(made, wanted, atol=1e-4, rtol=0)


def test_rows_sounded_at_once_are_those_sounded_one_by_one() -> None:
    """As on a GPU, where all rows are one batch."""
    magnitude = torch.rand(3, 1025, 40, generator=torch.Generator().manual_seed(1))
    together = griffin_lim(magnitude, 2048, 1200, 240, 4, [4, 5, 6])
    rows = zip(magnitude, (4, 5, 6), strict=True)
    alone = torch.cat([griffin_lim(row[None], 2048, 1200, 240, 4, [seed]) for row, seed in rows])
    assert torch.allclose(together, alone, atol=1e-5 * float(alone.abs().max()))


def test_silence_sounds_silent() -> None:
    assert not griffin_lim(torch.zeros(1, 1025, 40), 2048, 1200, 240, 4, [4]).any()


def test_phases_run_on_at_the_frequency_of_a_tone() -> None:
    hertz = 1003.7
    tone = torch.sin(2 * torch.pi * hertz * torch.arange(24000) / 24000)[None]
    magnitude = spectrum_of(tone).abs()
    phase = running_phases(magnitude, 2048, 240, [1])
    assert phase.shape == magnitude.shape
    assert 0.0 <= float(phase.min()) <= float(phase.max()) <= 2 * np.pi + 1e-6
    # Away from the ends, where the tone is cut off, and next to it (bin 85.65): all follow its peak, 240 samples at
    # 24 kHz a frame. Farther off are the window's own side lobes. A parabola misses by under a tenth of a bin.
    steps = torch.diff(phase[0, 84:88, 10:90].double(), dim=-1) % (2 * np.pi)
    np.testing.assert_allclose(
        steps.numpy(), 2 * np.pi * (hertz * 240 / 24000 % 1.0), atol=2 * np.pi * 0.1 * 240 / 2048
    )


def test_phases_hang_on_the_seed_of_their_row_alone() -> None:
    magnitude = torch.rand(2, 65, 20, generator=torch.Generator().manual_seed(1))
    both = running_phases(magnitude, 128, 32, [7, 8])
    assert torch.equal(both[1:], running_phases(magnitude[1:], 128, 32, [8]))
    assert not torch.allclose(both[:1], running_phases(magnitude[:1], 128, 32, [9]))


def test_long_pieces_keep_exact_phases() -> None:
    """One bin of a long transform, an hour of frames: sums in single precision would have lost the turn's fraction."""
    magnitude = torch.zeros(1, 5, 360_000)
    magnitude[:, 3] = 1.0
    phase = running_phases(magnitude, 8, 3, [2])[0, 3].double()
    # Three bins of eight, three samples a frame: 9/8 of a turn each time.
    expected = (phase[0] + 2 * np.pi * (9 / 8) * torch.arange(360_000, dtype=torch.float64)) % (2 * np.pi)
    away = ((phase - expected + np.pi) % (2 * np.pi) - np.pi).abs()
    assert float(away.max()) < 1e-3


@pytest.mark.parametrize(
    ("bins", "win_length", "wanted"),
    [
        (8821, 4410, 5120),  # Riffusion's, of 17640
        (1025, 1200, 1536),  # the embedded model's, of 2048
        (513, 1000, 1024),  # no longer than needed already
        (257, 512, 512),
    ],
)
def test_a_transform_is_little_longer_than_its_window(bins: int, win_length: int, wanted: int) -> None:
    magnitude = torch.rand(1, bins, 3, generator=torch.Generator().manual_seed(1))
    fewer, n_fft = thinned(magnitude, win_length)
    assert n_fft == wanted
    assert fewer.shape == (1, wanted // 2 + 1, 3)
    at = np.arange(wanted // 2 + 1) * (2 * (bins - 1) / wanted)
    for frame in range(3):
        by_hand = np.interp(at, np.arange(bins), magnitude[0, :, frame].numpy())
        np.testing.assert_allclose(fewer[0, :, frame].numpy(), by_hand, atol=1e-5)
