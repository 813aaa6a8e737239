from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from d2m_cli.media.aac import AAC_FRAME
from d2m_cli.media.sound_files import SOUND_SUFFIXES, save_sound
from tests.media.films import clicks, lag


def heard(path: Path) -> tuple[np.ndarray, int]:
    """All samples that FFmpeg decodes, (channels, n), and their rate."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="fltp")
        stream = container.streams.audio[0]
        frames = [made.to_ndarray() for frame in container.decode(stream) for made in resampler.resample(frame)]
        return np.concatenate(frames, axis=1), stream.rate


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [24000, 44100, 48000])
@pytest.mark.parametrize("suffix", SOUND_SUFFIXES)
def test_every_sample_is_heard_at_its_time(tmp_path: Path, suffix: str, rate: int, channels: int) -> None:
    samples = clicks(rate, 3.21, channels)
    save_sound(tmp_path / f"a{suffix}", samples, rate)
    found, found_rate = heard(tmp_path / f"a{suffix}")
    assert (found_rate, len(found)) == (rate, channels)
    # AAC ends with a whole frame, though its header says where the sound does.
    more = AAC_FRAME if suffix == ".m4a" else 0
    assert samples.shape[1] <= found.shape[1] <= samples.shape[1] + more
    assert abs(lag(found[0], samples[0])) <= 1
    # Nothing is heard where there is nothing.
    assert np.abs(found[:, : round(0.08 * rate)]).max() < 0.05
    with av.open(str(tmp_path / f"a{suffix}")) as container:
        assert container.duration / av.time_base == pytest.approx(3.21, abs=1e-4)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("suffix", SOUND_SUFFIXES)
def test_what_is_heard_is_what_was_written(tmp_path: Path, suffix: str, channels: int) -> None:
    clock = np.arange(48000) / 24000
    tones = [sum(np.sin(2 * np.pi * hz * clock) for hz in chord) / 5 for chord in ((220, 331, 1760), (110, 555, 2345))]
    samples = np.array(tones[:channels], np.float32)
    save_sound(tmp_path / f"a{suffix}", samples, 24000)
    found, _ = heard(tmp_path / f"a{suffix}")
    error = found[:, : samples.shape[1]] - samples
    # Noise 25 dB below the tones at most, also where encoders are new to them.
    assert np.mean(error**2) < 10**-2.5 * np.mean(samples**2)


@pytest.mark.parametrize("suffix", [".flac", ".mp3"])
def test_libsndfile_hears_the_same_length(tmp_path: Path, suffix: str) -> None:
    samples = clicks(44100, 2.5)
    save_sound(tmp_path / f"a{suffix}", samples, 44100)
    found, rate = soundfile.read(tmp_path / f"a{suffix}")
    assert (rate, found.shape) == (44100, (samples.shape[1], 2))
    assert abs(lag(found[:, 0], samples[0])) <= 1


def test_flac_holds_the_steps_of_the_wav(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).uniform(-1.1, 1.1, (2, 30000)).astype(np.float32)
    for suffix in (".wav", ".flac"):
        save_sound(tmp_path / f"a{suffix}", samples, 32000)
    steps = [soundfile.read(tmp_path / f"a{suffix}", dtype="int16")[0] for suffix in (".wav", ".flac")]
    np.testing.assert_array_equal(*steps)
    assert soundfile.info(tmp_path / "a.flac").subtype == "PCM_16"


@pytest.mark.parametrize("suffix", [".mp3", ".m4a"])
def test_a_rate_that_a_format_does_not_know_is_converted(tmp_path: Path, suffix: str) -> None:
    samples = clicks(30000, 1.0)
    save_sound(tmp_path / f"a{suffix}", samples, 30000)
    found, rate = heard(tmp_path / f"a{suffix}")
    assert rate == 48000
    assert 48000 <= found.shape[1] <= 48000 + AAC_FRAME
    at = np.flatnonzero(np.abs(found[0]) > 0.4)[0] / 48000
    assert at == pytest.approx(np.flatnonzero(np.abs(samples[0]) > 0.4)[0] / 30000, abs=0.0005)


@pytest.mark.parametrize("suffix", SOUND_SUFFIXES)
def test_tags(tmp_path: Path, suffix: str) -> None:
    told = {"title": "Tänzer", "comment": "made by hand", "genre": "Funk"}
    save_sound(tmp_path / f"a{suffix}", clicks(44100, 0.5), 44100, told)
    with av.open(str(tmp_path / f"a{suffix}")) as container:
        found = {key: text for key, text in container.metadata.items() if key in told}
    assert found == ({} if suffix == ".wav" else told)


def test_the_same_music_makes_the_same_bytes(tmp_path: Path) -> None:
    for suffix in SOUND_SUFFIXES:
        for name in ("a", "b"):
            save_sound(tmp_path / f"{name}{suffix}", clicks(44100, 0.5), 44100, {"title": "one"})
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_more_than_two_channels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"shape \(1 or 2, n\)"):
        save_sound(tmp_path / "a.flac", np.zeros((3, 10), np.float32), 44100)
