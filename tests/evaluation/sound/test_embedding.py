"""What is embedded, what is left out, and which words an unknown embedder gets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from d2m_cli.errors import AudioError, MissingWeightsError, UsageError
from d2m_cli.evaluation.sound.embedders import load_embedder
from d2m_cli.evaluation.sound.embedding import EmbeddingSet, embed_clips, mono_at, too_short
from tests.evaluation.clips import tone


class Halves:
    """Rows of the mean square of every half second at 8 kHz, and 0."""

    name = "halves"
    sample_rate = 8000
    width = 2

    def embed(self, samples: np.ndarray, rate: int) -> np.ndarray:
        sound = mono_at(samples, rate, self.sample_rate)
        count = len(sound) // 4000
        if not count:
            raise too_short(self.name, len(sound) / 8000, 0.5)
        power = (sound[: count * 4000].reshape(count, 4000) ** 2).mean(1)
        return np.stack([power, np.zeros(count)], 1).astype(np.float32)


class Broken(Halves):
    name = "broken"

    def embed(self, samples: np.ndarray, rate: int) -> np.ndarray:
        return np.full((1, 2), np.nan, np.float32)


def test_a_set_of_clips_of_all_kinds() -> None:
    with_nan = tone(1.0, 8000)
    with_nan[5] = np.nan
    heard = embed_clips(
        [
            ("mono", tone(1.6, 8000), 8000),
            ("stereo", np.stack([tone(1.0, 44100), tone(1.0, 44100)]), 44100),
            ("silent", np.zeros((1, 8000), np.float32), 8000),
            ("short", tone(0.4, 8000), 8000),
            ("empty", np.zeros(0, np.float32), 8000),
            ("nan", with_nan, 8000),
        ],
        Halves(),
    )
    assert heard.clips == ("mono", "stereo", "silent")
    assert heard.counts == (3, 2, 2)
    # The mean square of a sine of amplitude 0.3 is 0.045.
    assert heard.frames[:5, 0] == pytest.approx([0.045] * 5, rel=5e-3)
    assert heard.frames[5:].tolist() == [[0, 0], [0, 0]]
    assert heard.silent == ("silent",)
    assert dict(heard.left_out) == {
        "short": "0.40 s are too short for halves, which needs 0.50 s; give a longer clip",
        "empty": "the sound holds no samples; is it a complete file?",
        "nan": "the sound holds values that are not numbers; write the file again",
    }
    assert repr(heard) == "EmbeddingSet(halves, frames=(7, 2), clips=3, left_out=3, silent=1)"


def test_no_clips_and_numbers_that_are_none() -> None:
    assert embed_clips([], Halves()).frames.shape == (0, 2)
    heard = embed_clips([("a", tone(1.0, 8000), 8000)], Broken())
    assert heard.clips == ()
    assert heard.left_out == (("a", "broken gives values for it that are not numbers"),)


def test_a_set_checks_itself() -> None:
    with pytest.raises(ValueError, match="finite"):
        EmbeddingSet("x", np.array([[np.nan]]), ("a",), (1,))
    with pytest.raises(ValueError, match="don't belong"):
        EmbeddingSet("x", np.zeros((3, 2)), ("a", "b"), (1, 1))


def test_mono_and_rate() -> None:
    stereo = np.stack([tone(0.5, 16000), -tone(0.5, 16000)])
    assert np.abs(mono_at(stereo, 16000, 16000)).max() == 0.0
    down = mono_at(tone(0.5, 48000, 1000.0), 48000, 16000)
    assert down.shape == (8000,)
    assert down.dtype == np.float32
    assert np.abs(down - tone(0.5, 16000, 1000.0))[100:-100].max() < 2e-3
    with pytest.raises(ValueError, match=r"\(n,\) or \(channels, n\)"):
        mono_at(np.zeros((1, 2, 3)), 8000, 8000)
    with pytest.raises(AudioError, match="no samples"):
        mono_at(np.zeros((2, 0)), 8000, 8000)


def test_names(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no embedder 'vgg'; choose one of: listener, vggish, clap"):
        load_embedder("vgg")
    with pytest.raises(MissingWeightsError, match="laion/clap-htsat-unfused"):
        load_embedder("clap")
    with pytest.raises(MissingWeightsError, match=r"nowhere\.pth: no such file.*torchvggish"):
        load_embedder("vggish", tmp_path / "nowhere.pth")
    with pytest.raises(MissingWeightsError, match="no such file"):
        load_embedder("listener", tmp_path)
