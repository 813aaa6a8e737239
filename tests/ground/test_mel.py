"""Long pieces in parts, against librosa and pyloudnorm on the whole."""

from __future__ import annotations

import librosa
import numpy as np
import pyloudnorm  # type: ignore[import-untyped]
import pytest

from d2m_cli.ground.audio_beats import track_beats
from d2m_cli.ground.mel import FRAMES, mel_power
from d2m_cli.media.loudness import BLOCKS, integrated_loudness

RATE = 8000


def drums(seconds: float, bpm: float) -> np.ndarray:
    """Two channels of noise that begins anew on each beat, the second one fainter."""
    time = np.arange(round(seconds * RATE)) / RATE
    noise = np.random.default_rng(0).standard_normal(len(time)) * np.exp(-15.0 * (time % (60.0 / bpm)))
    return np.stack([noise, 0.5 * noise]).astype(np.float32)


@pytest.mark.parametrize("length", [1, 100, 5000, (FRAMES + 100) * 80 + 33])
def test_parts_are_the_whole(length: int) -> None:
    sound = drums(60.0, 120.0)[:, :length]
    assert sound.shape[1] == length
    whole = np.pad(sound.mean(0), 256)
    wanted = librosa.feature.melspectrogram(y=whole, sr=RATE, n_fft=512, hop_length=80, n_mels=24, center=False)
    found = mel_power(sound, RATE, 512, 80, 24)
    assert found.shape == (24, 1 + length // 80)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_beats_of_a_long_piece_are_librosas() -> None:
    sound = drums(FRAMES * 512 / RATE + 20.0, 118.0)
    for bpm in (None, 90.0):
        _, wanted = librosa.beat.beat_track(y=sound.mean(0), sr=RATE, units="time", trim=False, start_bpm=bpm or 120.0)
        np.testing.assert_array_equal(track_beats(sound, RATE, bpm), wanted)


def test_loudness_of_a_long_piece_is_pyloudnorms() -> None:
    sound = drums(2.2 * BLOCKS * 0.1, 100.0)
    sound[:, : 20 * RATE] *= 0.01  # below the second gate
    wanted = pyloudnorm.Meter(RATE, block_size=0.4).integrated_loudness(sound.T.astype(np.float64))
    assert integrated_loudness(sound, RATE) == pytest.approx(wanted, abs=1e-9)
