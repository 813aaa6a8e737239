"""Mel spectrograms, a part at a time: of a long piece no more is held than what is made of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from d2m_cli.ground.compiled import librosa_with

FRAMES = 4096
"""Frames of a part."""
SPECTRA = 512
"""Spectra that are made at a time. Their complex values take several times the room of what is kept of them."""

Power = NDArray[np.float32]


@dataclass(frozen=True, repr=False, eq=False)
class Mel:
    """Power of the mean of all channels in mel bands, as `librosa.feature.melspectrogram` gives it, in parts.

    Iterating gives (number of the first frame, (bands, n) float32) of each part. Each but the first begins with the
    last frame of the one before, so that every step from frame to frame lies within a part. Each time the spectra are
    made anew, but for sound of a single part. The arrays are not to be changed.

    Attributes
    ----------
    samples
        (channels, n) float32.
    rate
        In Hz.
    size
        Samples of each spectrum. There is silence before the first sample and behind the last.
    hop
        Samples from one spectrum to the next; the middle of the first is sample 0.
    bands
        How many.
    highest
        In Hz; None is half the rate.
    """

    samples: NDArray[np.float32]
    rate: int
    size: int
    hop: int
    bands: int
    highest: float | None = None
    _only: list[Power] = field(default_factory=list, init=False)

    @property
    def count(self) -> int:
        """Frames of all parts together, without those that two share."""
        return 1 + int(self.samples.shape[1]) // self.hop

    def __iter__(self) -> Iterator[tuple[int, Power]]:
        if self._only:
            yield 0, self._only[0]
            return
        last: Power | None = None
        for first in range(0, self.count, FRAMES):
            power = self._part(first, min(first + FRAMES, self.count))
            if self.count <= FRAMES:
                self._only.append(power)
            yield (0, power) if last is None else (first - 1, np.concatenate([last, power], axis=1))
            last = power[:, -1:].copy()

    def _part(self, first: int, end: int) -> Power:
        librosa = librosa_with()

        power = np.empty((end - first, 1 + self.size // 2), np.float32).T  # as librosa lays out its own
        for begin in range(first, end, SPECTRA):
            behind = min(begin + SPECTRA, end)
            spectra = librosa.stft(
                self._sound(begin, behind), n_fft=self.size, hop_length=self.hop, center=False, pad_mode="constant"
            )
            power[:, begin - first : behind - first] = np.abs(spectra) ** 2.0
        found: Power = librosa.feature.melspectrogram(S=power, sr=self.rate, n_mels=self.bands, fmax=self.highest)
        return found

    def _sound(self, first: int, end: int) -> NDArray[np.float32]:
        """What frames from the first to before the end are made of, (n,), with silence where there is no sound."""
        length = self.samples.shape[1]
        begin = first * self.hop - self.size // 2
        behind = (end - 1) * self.hop - self.size // 2 + self.size
        sound = self.samples[:, max(begin, 0) : min(behind, length)].mean(axis=0)
        return np.pad(sound, (max(-begin, 0), max(behind - length, 0)))
