"""Long pieces in parts, against librosa and pyloudnorm on the whole."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import librosa
import numpy as np
import pyloudnorm  # type: ignore[import-untyped]
import pytest

from d2m_cli.generation.bend import attacks
from d2m_cli.generation.music_beats import onset_strength as rises
from d2m_cli.ground.audio_beats import HOP, onset_strength, track_beats
from d2m_cli.ground.mel import FRAMES, Mel
from d2m_cli.media.loudness import BLOCKS, integrated_loudness

RATE = 8000


def drums(seconds: float, bpm: float) -> np.ndarray:
    """Two channels of noise that begins anew on each beat, the second one fainter."""
    time = np.arange(round(seconds * RATE)) / RATE
    noise = np.random.default_rng(0).standard_normal(len(time)) * np.exp(-15.0 * (time % (60.0 / bpm)))
    return np.stack([noise, 0.5 * noise]).astype(np.float32)


@pytest.mark.parametrize("length", [1, 100, 5000, FRAMES * 80 - 1, FRAMES * 80, (FRAMES + 100) * 80 + 33])
def test_parts_are_the_whole(length: int) -> None:
    sound = drums(60.0, 120.0)[:, :length]
    assert sound.shape[1] == length
    whole = np.pad(sound.mean(0), 256)
    wanted = librosa.feature.melspectrogram(y=whole, sr=RATE, n_fft=512, hop_length=80, n_mels=24, center=False)
    mel = Mel(sound, RATE, 512, 80, 24)
    assert mel.count == 1 + length // 80
    for _ in range(2):
        parts = list(mel)
        assert [first for first, _ in parts] == [0, *range(FRAMES - 1, mel.count - 1, FRAMES)]
        found = np.concatenate([part[:, first > 0 :] for first, part in parts], axis=1)
        np.testing.assert_allclose(found, wanted, rtol=1e-5)
        # What two parts share is the same in both.
        for (_, before), (_, behind) in pairwise(parts):
            np.testing.assert_array_equal(before[:, -1], behind[:, 0])


def test_beats_of_a_long_piece_are_librosas() -> None:
    sound = drums(FRAMES * 512 / RATE + 20.0, 118.0)
    for bpm in (None, 90.0):
        _, wanted = librosa.beat.beat_track(y=sound.mean(0), sr=RATE, units="time", trim=False, start_bpm=bpm or 120.0)
        np.testing.assert_array_equal(track_beats(sound, RATE, bpm), wanted)


@pytest.mark.parametrize("aggregate", [np.mean, np.median])
@pytest.mark.parametrize("frames", [5, FRAMES, FRAMES + 1, FRAMES + 2, FRAMES + 4, 2 * FRAMES + 50])
def test_onset_strength_of_a_long_piece_is_librosas(frames: int, aggregate) -> None:
    sound = drums(frames * HOP / RATE, 118.0)[:, : (frames - 1) * HOP]
    wanted = librosa.onset.onset_strength(y=sound.mean(0), sr=RATE, hop_length=HOP, aggregate=aggregate)
    found = onset_strength(sound, RATE, aggregate)
    assert found.shape == (frames,)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("listen", [attacks, rises, track_beats])
def test_a_long_piece_is_heard_in_little_room(listen) -> None:
    beat = drums(0.5, 120.0)[:1]
    short, long = (np.tile(beat, (1, 2 * seconds)) for seconds in (600, 1200))
    listen(short[:, : 10 * RATE], RATE)  # what is made once
    most = []
    for sound in (short, long):
        tracemalloc.start()
        listen(sound, RATE)
        most.append(tracemalloc.get_traced_memory()[1] / 1e6)
        tracemalloc.stop()
    # Of 10 minutes maps of all bands would take 8, 12 and 5 MB; a number for each frame takes half of one at most.
    assert most[1] - most[0] < 3.0


def test_loudness_of_a_long_piece_is_pyloudnorms() -> None:
    sound = drums(2.2 * BLOCKS * 0.1, 100.0)
    sound[:, : 20 * RATE] *= 0.01  # below the second gate
    wanted = pyloudnorm.Meter(RATE, block_size=0.4).integrated_loudness(sound.T.astype(np.float64))
    assert integrated_loudness(sound, RATE) == pytest.approx(wanted, abs=1e-9)
