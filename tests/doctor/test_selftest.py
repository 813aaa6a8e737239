from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from d2m_cli.doctor import selftest
from d2m_cli.doctor.check import Check
from d2m_cli.doctor.selftest import check_files, look
from tests.conftest import write_video

RATE = 8000


@pytest.fixture
def made(tmp_path: Path) -> tuple[SimpleNamespace, Path, Path]:
    """Music of half a second, as it would be made, and its files as they would be written."""
    from d2m_cli.media.mux import mux
    from d2m_cli.media.video import probe

    video = write_video(tmp_path / "video.mp4", seconds=0.5, fps=30)
    samples = (0.5 * np.sin(np.arange(RATE // 2) / 5)).astype(np.float32)[None]
    wav, mp4 = tmp_path / "music.wav", tmp_path / "music.mp4"
    soundfile.write(wav, samples.T, RATE, subtype="PCM_16")
    mux(video, samples, RATE, mp4)
    music = SimpleNamespace(samples=samples, sample_rate=RATE)
    return SimpleNamespace(music=music, timeline=probe(video)), wav, mp4


def test_files_as_they_were_made(made) -> None:
    check_files(*made)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda samples: samples[:, :-1], "holds"),
        (lambda samples: samples + np.float32(0.01), "differs from the music by 0.01"),
        (lambda samples: samples * 0, "differs"),
    ],
)
def test_other_sound_than_was_made(made, change, told: str) -> None:
    music, wav, mp4 = made
    soundfile.write(wav, change(music.music.samples).T, RATE, subtype="PCM_16")
    with pytest.raises(ValueError, match=told):
        check_files(music, wav, mp4)


def test_silence(made) -> None:
    music, wav, mp4 = made
    music.music.samples = music.music.samples * 0
    soundfile.write(wav, music.music.samples.T, RATE, subtype="PCM_16")
    with pytest.raises(ValueError, match="silent"):
        check_files(music, wav, mp4)


def test_pictures_that_are_missing(made) -> None:
    music, wav, mp4 = made
    music.timeline = SimpleNamespace(frames=16, duration=music.timeline.duration)
    with pytest.raises(ValueError, match=r"holds 15 pictures .* not 16"):
        check_files(music, wav, mp4)


def test_the_step_that_failed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object) -> None:
        raise OSError("no encoder")

    monkeypatch.setattr(selftest, "write_beginning", fail)
    (check,) = [one for one in look("report it") if isinstance(one, Check)]
    assert (check.name, check.state, check.remedy) == ("clip", "bad", "report it")
    assert check.text.startswith("OSError: no encoder")


@pytest.mark.slow
def test_from_end_to_end() -> None:
    (check,) = [one for one in look("report it") if isinstance(one, Check)]
    assert check.state == "ok", check.text
    steps = ["clip", "loading", "pose", "rhythm", "music", "writing", "reading back"]
    assert list(check.values["seconds"]) == steps
    assert all(seconds >= 0 for seconds in check.values["seconds"].values())
