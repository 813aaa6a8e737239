from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pyloudnorm  # type: ignore[import-untyped]
import pytest

from d2m_cli.media.audio import film_sound, load_audio
from d2m_cli.media.loudness import true_peak
from d2m_cli.media.mix import NO_SOUND, SILENT, Mix, mix_under
from d2m_cli.media.mux import mux
from d2m_cli.media.video import probe
from tests.media import plain_pyav
from tests.media.made_video import MadeVideo

RATE = 24000
SECONDS = 2.0


def tone(hz: float, rate: int, level: float, channels: int = 1) -> np.ndarray:
    clock = np.arange(round(SECONDS * rate)) / rate
    return np.tile(level * np.sin(2 * np.pi * hz * clock), (channels, 1)).astype(np.float32)


def amplitude(samples: np.ndarray, hz: float, rate: int) -> float:
    """Of a sine in one channel, in the middle of the sound."""
    middle = samples[len(samples) // 4 : 3 * len(samples) // 4]
    clock = np.arange(len(middle)) / rate
    return float(2 * np.abs(np.mean(middle * np.exp(-2j * np.pi * hz * clock))))


def loudness(samples: np.ndarray, rate: int) -> float:
    return float(pyloudnorm.Meter(rate).integrated_loudness(samples.T.astype(np.float64)))


def written(path: Path, sound: np.ndarray, rate: int, layout: str, late: float = 0.0) -> Path:
    """A film of 2 s with uncompressed sound (channels, n) that begins late."""
    with av.open(str(path), "w") as target:
        picture = target.add_stream("mpeg4", rate=25)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        heard = target.add_stream("pcm_s16le", rate=rate, layout=layout)
        for number in range(round(25 * SECONDS)):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            target.mux(picture.encode(frame))
        target.mux(picture.encode(None))
        steps = np.ascontiguousarray((sound.T * 32767).astype(np.int16)).reshape(1, -1)
        block = av.AudioFrame.from_ndarray(steps, format="s16", layout=layout)
        block.sample_rate, block.pts, block.time_base = rate, round(late * rate), Fraction(1, rate)
        target.mux(heard.encode(block))
        target.mux(heard.encode(None))
    return path


@pytest.mark.parametrize("level", [-12.0, 0.0, 6.0])
def test_the_own_sound_lies_where_it_was_asked_for(tmp_path: Path, level: float) -> None:
    own = tone(1000.0, 44100, 0.1, 2)
    video = written(tmp_path / "a.mkv", own, 44100, "stereo")
    music = tone(400.0, RATE, 0.3)
    mixed = mix_under(music, RATE, probe(video), level, -20.0)
    assert (mixed.rate, mixed.samples.shape) == (44100, (2, round(SECONDS * 44100)))
    # One channel of music is heard from both sides, and there has twice the power.
    parts = [
        tone(hz, 44100, amplitude(mixed.samples[:, :][0], hz, 44100), channels)
        for hz, channels in ((1000.0, 2), (400.0, 1))
    ]
    assert loudness(parts[0], 44100) - loudness(parts[1], 44100) == pytest.approx(level, abs=0.1)
    assert loudness(mixed.samples[:, :], 44100) == pytest.approx(-20.0, abs=0.1)
    side = {-12.0: "12 LU under", 0.0: "0 LU under", 6.0: "6 LU above"}[level]
    assert mixed.note.startswith(f"the video's own sound lies {side} the music; both together have -20.0 LUFS")


def test_peaks_stay_below_the_ceiling(tmp_path: Path) -> None:
    own = np.zeros((1, round(SECONDS * RATE)), np.float32)
    own[0, ::6000] = 0.9
    mixed = mix_under(tone(300.0, RATE, 0.5), RATE, probe(written(tmp_path / "a.mkv", own, RATE, "mono")), 10.0, -5.0)
    assert 20 * np.log10(true_peak(mixed.samples)) <= -1.0
    assert mixed.level is not None
    assert mixed.level.decided_by == "peak"


@pytest.mark.parametrize("late", [0.0, 0.5])
def test_a_click_is_heard_when_the_video_has_it(tmp_path: Path, late: float) -> None:
    own = np.zeros((2, round((SECONDS - late) * 48000)), np.float32)
    own[:, 24000:24048] = 0.8
    video = written(tmp_path / "a.mkv", own, 48000, "stereo", late)
    mixed = mix_under(tone(100.0, RATE, 0.01), RATE, probe(video), 20.0, -14.0)
    assert np.flatnonzero(np.abs(mixed.samples[:, :][0]) > 0.1)[0] / 48000 == pytest.approx(0.5 + late, abs=0.001)


@pytest.mark.parametrize(
    "kind",
    [
        "mp4-x264",
        "mp4-trimmed-bframes",
        "mov-trimmed",
        "mp4-late-sound",
        "mkv-late-picture",
        "ts-wrapped",
        "vob-late-sound",
    ],
)
def test_it_stays_in_step_through_a_film(made: Callable[[str], MadeVideo], tmp_path: Path, kind: str) -> None:
    video = made(kind)
    timeline = probe(video.path)
    music = np.zeros((1, round(timeline.duration * RATE)), np.float32)
    music[0, :: RATE // 50] = 0.001
    mixed = mix_under(music, RATE, timeline, 20.0, -14.0)
    mux(video.path, mixed.samples, mixed.rate, tmp_path / "out.mp4", timeline=timeline)
    found = plain_pyav.clicks(*plain_pyav.hear(tmp_path / "out.mp4")) - plain_pyav.start(tmp_path / "out.mp4")
    assert len(found) == len(video.clicks) > 0
    np.testing.assert_allclose(found, video.clicks, rtol=0, atol=2 * video.tolerance + 0.003)


def test_what_stands_in_the_middle_is_heard_from_both_sides(tmp_path: Path) -> None:
    own = np.zeros((6, round(SECONDS * 48000)), np.float32)
    own[2] = tone(700.0, 48000, 0.5)[0]
    found = film_sound(probe(written(tmp_path / "a.mkv", own, 48000, "5.1")))
    assert found is not None
    samples, rate = found
    assert (rate, samples.shape) == (48000, (2, round(SECONDS * 48000)))
    assert amplitude(samples[:, :][0], 700.0, rate) == pytest.approx(amplitude(samples[:, :][1], 700.0, rate)) != 0.0


def test_nothing_is_mixed_in_where_nothing_is_heard(make_video, tmp_path: Path) -> None:
    music = tone(300.0, RATE, 0.5)
    mute = mix_under(music, RATE, probe(make_video(tmp_path / "mute.mp4", seconds=2)), -12.0, -14.0)
    silent = written(tmp_path / "silent.mkv", np.zeros((1, 96000), np.float32), 48000, "mono")
    still = mix_under(music, RATE, probe(silent), -12.0, -14.0)
    for mixed, note in ((mute, NO_SOUND), (still, SILENT)):
        assert isinstance(mixed, Mix)
        assert (mixed.samples is music, mixed.rate, mixed.note, mixed.level) == (True, RATE, note, None)


def test_the_film_of_a_mix_holds_it(tmp_path: Path) -> None:
    own = tone(1000.0, 44100, 0.1, 2)
    video = written(tmp_path / "a.mkv", own, 44100, "stereo")
    mixed = mix_under(tone(400.0, RATE, 0.3), RATE, probe(video), -6.0, -20.0)
    mux(video, mixed.samples, mixed.rate, tmp_path / "out.mkv")
    heard, rate = load_audio(tmp_path / "out.mkv")
    assert rate == 44100
    np.testing.assert_allclose(heard[:, : mixed.samples.shape[1]], mixed.samples[:, :], atol=1 / 32000)
