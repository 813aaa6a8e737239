"""Magnitudes of a short-time Fourier transform to audio."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

MOMENTUM = 0.99
"""In the convention of torchaudio."""
SPARE = 1.15
"""A transform so much longer than its window tells magnitudes apart as well as a much longer one."""
TURN = 2**32
"""Parts of a whole turn of a phase."""


def thinned(magnitude: Tensor, win_length: int) -> tuple[Tensor, int]:
    """Magnitudes at fewer frequencies, which the same window tells apart as well.

    A transform longer than its window is no finer than one as long: it lies between its values. Riffusion's is four
    times as long, and takes five times as long as one that leaves `SPARE`.

    Parameters
    ----------
    magnitude
        (batch, n_fft // 2 + 1, frames).
    win_length
        Samples that the window sees.

    Returns
    -------
    magnitude
        (batch, n_fft // 2 + 1, frames), interpolated in a straight line; as it was where no shorter transform does.
    n_fft
        That of it.
    """
    whole = 2 * (magnitude.shape[1] - 1)
    size = _quick_size(SPARE * win_length)
    if size >= whole:
        return magnitude, whole
    at = torch.arange(size // 2 + 1, dtype=torch.float64) * (whole / size)
    below = at.floor().long().clamp(max=whole // 2 - 1)
    share = (at - below).float().to(magnitude.device)[:, None]
    below = below.to(magnitude.device)
    return torch.lerp(magnitude[:, below], magnitude[:, below + 1], share), size


def _quick_size(least: float) -> int:
    """The smallest even number of samples from there on that is 1, 3 or 5 times a power of two."""
    sizes = (factor << power for factor in (1, 3, 5) for power in range(1, 32))
    return min(size for size in sizes if size >= least)


def griffin_lim(
    magnitude: Tensor, n_fft: int, win_length: int, hop_length: int, iterations: int, seeds: Sequence[int]
) -> Tensor:
    """Fast Griffin-Lim (Perraudin et al. 2013) with the momentum convention of torchaudio, from phases that run on.

    As of ``torch.stft`` and ``torch.istft``, centred, in half their time: frames lie one after the other in memory that
    stays, and only what the window sees of them is added up.

    Parameters
    ----------
    magnitude
        (batch, n_fft // 2 + 1, frames).
    n_fft, win_length, hop_length
        Of the transform, samples; the window (Hann) is zero-padded to ``n_fft``, which is even.
    iterations
        How often phases are made those of a sound.
    seeds
        For each row the seed of its first phases.

    Returns
    -------
    (batch, (frames - 1) * hop_length).
    """
    phase = running_phases(magnitude, n_fft, hop_length, seeds).transpose(1, 2).contiguous()
    magnitude = magnitude.transpose(1, 2).contiguous()
    spectrum = torch.polar(magnitude, phase)
    frames = _Frames(magnitude, n_fft, win_length, hop_length)
    previous = torch.zeros_like(spectrum)
    scale = torch.empty_like(magnitude)
    factor = MOMENTUM / (1.0 + MOMENTUM)
    for _ in range(iterations):
        rebuilt = frames.spectrum(frames.audio(spectrum))
        torch.sub(rebuilt, previous, alpha=factor, out=spectrum)
        torch.mul(spectrum.real, spectrum.real, out=scale)
        scale.addcmul_(spectrum.imag, spectrum.imag).add_(1e-32).rsqrt_().mul_(magnitude)
        spectrum.mul_(scale)
        previous = rebuilt
    return frames.audio(spectrum)


def running_phases(magnitude: Tensor, n_fft: int, hop_length: int, seeds: Sequence[int]) -> Tensor:
    """Phases that go on from frame to frame at the frequency of the nearest peak, from random ones.

    After Beauregard, Harish and Wyse, "Single pass spectrogram inversion", 2015. Random phases everywhere take a third
    more iterations to sound as well.

    Parameters
    ----------
    magnitude
        (batch, n_fft // 2 + 1, frames).
    n_fft, hop_length
        Samples.
    seeds
        For each row the seed of the first frame's phases, drawn on the CPU.

    Returns
    -------
    The same shape, radians from 0 to 2 pi.
    """
    bins, random = magnitude.shape[1], [torch.Generator().manual_seed(seed) for seed in seeds]
    # In whole parts of a turn: sums of fractions would be rounded, on a GPU not always alike.
    steps = (_peak_frequencies(magnitude).double() * (hop_length / n_fft * TURN)).round().long()
    first = torch.stack([torch.randint(TURN, (bins,), generator=one) for one in random])
    steps[..., 0] = first.to(magnitude.device)
    return (steps.cumsum(-1) % TURN).to(magnitude.dtype) * (2 * torch.pi / TURN)


def _peak_frequencies(magnitude: Tensor) -> Tensor:
    """For each value the place among the frequencies, with its fraction, of the nearest peak of its frame."""
    bins = magnitude.shape[1]
    places = torch.arange(bins, device=magnitude.device)[:, None]
    edge = magnitude[:, :1]
    below = torch.cat([torch.zeros_like(edge), magnitude[:, :-1]], 1)
    above = torch.cat([magnitude[:, 1:], torch.zeros_like(edge)], 1)
    peak = (magnitude > below) & (magnitude >= above)
    # The vertex of the parabola through the peak and its neighbours. A frame of zeros has no peak, and no sound.
    curve = (2.0 * magnitude - below - above).clamp(min=torch.finfo(magnitude.dtype).tiny)
    exact = places + (0.5 * (above - below) / curve).clamp(-0.5, 0.5)
    last = torch.where(peak, places, -bins).cummax(1).values
    following = torch.where(peak, places, 2 * bins).flip(1).cummin(1).values.flip(1)
    nearest = torch.where(places - last <= following - places, last, following).clamp(0, bins - 1)
    return exact.gather(1, nearest)


class _Frames:
    """Spectra to audio and back, for batches of one shape, that of ``magnitude``: (batch, frames, bins)."""

    def __init__(self, magnitude: Tensor, n_fft: int, win_length: int, hop_length: int) -> None:
        batch, self._count, _ = magnitude.shape
        self._hop, self._fft = hop_length, n_fft
        # Of each transform the window sees the middle; the first frame's centre is the first sample.
        start = (n_fft - win_length) // 2
        self._seen = slice(start, start + win_length)
        self._before = n_fft // 2 - start
        self._length = (self._count - 1) * self._hop
        self._window = torch.hann_window(win_length, device=magnitude.device)
        self._parts = -(-win_length // self._hop)
        self._cut = magnitude.new_zeros(batch, self._count, self._parts * self._hop)
        self._padded = magnitude.new_zeros(batch, self._count, n_fft)
        self._cut[..., :win_length] = self._window**2
        self._gain = 1.0 / self._added().clamp(min=1e-11)

    def audio(self, spectrum: Tensor) -> Tensor:
        """(batch, samples) whose spectra come closest."""
        window = self._window
        torch.mul(torch.fft.irfft(spectrum, self._fft)[..., self._seen], window, out=self._cut[..., : len(window)])
        return (self._added() * self._gain)[..., self._before : self._before + self._length]

    def spectrum(self, samples: Tensor) -> Tensor:
        """(batch, frames, bins), of audio that goes on mirrored at both ends."""
        around = torch.nn.functional.pad(samples, (self._before, len(self._window) - self._before), mode="reflect")
        windows = around.unfold(-1, len(self._window), self._hop)[:, : self._count]
        torch.mul(windows, self._window, out=self._padded[..., self._seen])
        spectrum: Tensor = torch.fft.rfft(self._padded)
        return spectrum

    def _added(self) -> Tensor:
        """(batch, samples) the frames that were cut, laid over one another."""
        batch, count, parts = len(self._cut), self._count, self._parts
        hops = self._cut.view(batch, count, parts, self._hop)
        whole = self._cut.new_zeros(batch, count - 1 + parts, self._hop)
        for part in range(parts):
            whole[:, part : part + count] += hops[:, :, part]
        return whole.view(batch, -1)
