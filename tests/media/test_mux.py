from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from d2m_cli.errors import VideoError
from d2m_cli.media.aac import AAC_FRAME
from d2m_cli.media.audio import load_audio
from d2m_cli.media.mux import mux, picture_seconds
from tests.media.films import (
    clicks,
    lag,
    packet_bytes,
    stamps,
)


@pytest.mark.parametrize("rate", [44100, 32000, 30000])
def test_sound_is_where_the_wav_has_it(make_video, tmp_path: Path, rate: int) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=1)
    samples = clicks(rate, 1.0)
    result = mux(video, samples, rate, tmp_path / "out.mp4")
    decoded, decoded_rate = load_audio(result.path, sample_rate=rate)
    assert decoded_rate == rate
    assert abs(lag(decoded[0], samples[0])) <= 0.002 * rate


def test_sound_is_as_long_as_the_picture(make_video, tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=1.2)
    mux(video, clicks(44100, 1.2), 44100, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        picture, sound = container.streams.video[0], container.streams.audio[0]
        assert float(picture.duration * picture.time_base) == pytest.approx(1.2, abs=1e-4)
        assert abs(float(sound.duration * sound.time_base) - 1.2) <= AAC_FRAME / 44100
        assert sound.codec_context.name == "aac"


def test_picture_is_copied_bit_for_bit_with_its_times(make_video, tmp_path: Path) -> None:
    uneven = [0.0, 0.04, 0.10, 0.11, 0.25, 0.30, 0.55, 0.56, 0.70]
    video = make_video(tmp_path / "a.mp4", times=uneven)
    result = mux(video, clicks(44100, 0.8), 44100, tmp_path / "out.mp4")
    assert result.copied
    assert stamps(result.path) == stamps(video)
    assert packet_bytes(result.path) == packet_bytes(video)
    np.testing.assert_allclose([float(t) for t in stamps(result.path)], uneven, atol=1e-4)


def test_length_counts_from_the_start_of_the_container(make_video, tmp_path: Path) -> None:
    # Sound from 0 to 1.5 s, the picture from 0.5 s: its last frame starts at 1.46 s and is shown for 0.04 s.
    times = [0.5 + i / 25 for i in range(25)]
    video = make_video(tmp_path / "late.mp4", times=times, sound=np.zeros(66150, np.float32))
    assert picture_seconds(video) == pytest.approx(1.5, abs=0.001)
    result = mux(video, clicks(44100, 1.5), 44100, tmp_path / "out.mp4")
    np.testing.assert_allclose([float(t) for t in stamps(result.path)], times, atol=1e-3)
    assert result.note == "picture copied"


def test_rotation_is_kept(make_video, turn_video: Callable[[Path], None], tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=0.4)
    turn_video(video)
    mux(video, clicks(44100, 0.4), 44100, tmp_path / "out.mp4")
    turns = []
    for path in (video, tmp_path / "out.mp4"):
        with av.open(str(path)) as container:
            turns.append(round(next(container.decode(video=0)).rotation))
    assert abs(turns[0]) == 90
    assert turns[0] == turns[1]


def test_old_sound_is_replaced(make_video, tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=1, sound=np.full(44100, 0.5, np.float32))
    mux(video, np.zeros((1, 44100), np.float32), 44100, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert len(container.streams.audio) == 1
    assert np.abs(load_audio(tmp_path / "out.mp4")[0]).max() < 1e-3


@pytest.mark.parametrize(
    ("name", "codec", "copied"),
    [
        ("a.webm", "libvpx-vp9", True),
        ("a.webm", "libvpx", False),
        ("a.avi", "mpeg4", True),
        ("a.ts", "libx264", True),
        ("a.mov", "mjpeg", True),
        ("a.wmv", "wmv2", False),
        ("a.flv", "flv", False),
    ],
)
def test_codecs(make_video, tmp_path: Path, name: str, codec: str, copied: bool) -> None:
    video = make_video(tmp_path / name, seconds=1, codec=codec)
    samples = clicks(44100, 1.0)
    result = mux(video, samples, 44100, tmp_path / "out.mp4")
    assert result.copied is copied
    assert ("re-encoded as H.264" in result.note) is not copied
    assert result.seconds == pytest.approx(1.0, abs=0.001)
    times = [float(t) for t in stamps(result.path)]
    np.testing.assert_allclose(times, np.arange(25) / 25, atol=0.0011)
    assert abs(lag(load_audio(result.path)[0][0], samples[0])) <= 88
    with av.open(str(result.path)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 25


def test_music_of_another_length_is_fitted_and_said_so(make_video, tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=1)
    result = mux(video, clicks(44100, 2.0), 44100, tmp_path / "out.mp4")
    assert "music cut from 2.00 s to the picture's 1.00 s" in result.note
    with av.open(str(result.path)) as container:
        sound = container.streams.audio[0]
        assert abs(float(sound.duration * sound.time_base) - 1.0) <= AAC_FRAME / 44100


@pytest.mark.parametrize("content", [b"", b"no video" * 500])
def test_what_is_no_video_is_named(tmp_path: Path, content: bytes) -> None:
    video = tmp_path / "odd ☃.mp4"
    video.write_bytes(content)
    with pytest.raises(VideoError, match="odd ☃"):
        mux(video, clicks(44100, 1.0), 44100, tmp_path / "out" / "out.mp4")
    assert not (tmp_path / "out").exists()


def test_a_full_disk_leaves_no_file_and_says_so(make_video, tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=1)
    (tmp_path / "out").mkdir()
    script = (
        "import resource, sys, numpy as np\n"
        "from pathlib import Path\n"
        "from d2m_cli.errors import OutputError\n"
        "from d2m_cli.media.mux import mux\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))\n"
        "noise = np.random.default_rng(0).uniform(-1, 1, (2, 44100)).astype(np.float32)\n"
        "try:\n"
        "    mux(Path(sys.argv[1]), noise, 44100, Path(sys.argv[2]))\n"
        "except OutputError as error:\n"
        "    print(error)\n"
    )
    target = tmp_path / "out" / "out.mp4"
    command = [sys.executable, "-c", script, str(video), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert str(target) in done.stdout
    assert "largest size" in done.stdout
    assert list(target.parent.iterdir()) == []


def test_titles_never_fail_a_film_and_can_be_left_out(make_video, tmp_path: Path) -> None:
    plain, video = make_video(tmp_path / "plain.mp4", seconds=0.4), tmp_path / "a.mkv"
    with av.open(str(plain)) as source, av.open(str(video), "w", metadata_errors="surrogateescape") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        said = {"title": "Tango \udcff", "creation_time": "99999-99-99", "location": "+9999999999.0/"}
        target.metadata.update({**said, "comment": "x" * 70_000})
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    for titles in (True, False):
        result = mux(video, clicks(44100, 0.4), 44100, tmp_path / "out.mp4", titles=titles)
        assert result.note == "picture copied"
        assert (b"Tango" in result.path.read_bytes()) is titles
        assert (b"xxxxx" in result.path.read_bytes()) is titles
