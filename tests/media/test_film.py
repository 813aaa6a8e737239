from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from d2m_cli.errors import VideoError
from d2m_cli.media import film
from d2m_cli.media import mux as mux_room
from d2m_cli.media.copied import copied_packets
from d2m_cli.media.film import write_film
from d2m_cli.media.film_formats import MP4
from d2m_cli.media.mux import mux
from d2m_cli.media.timeline_reading import read_timeline
from tests.media.films import (
    clicks,
    stamps,
)


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.webm", "libvpx")])
def test_uneven_times_end_where_the_last_picture_does(make_video, tmp_path: Path, name: str, codec: str) -> None:
    times = [0.0, 0.04, 0.10, 0.11, 0.25, 0.30, 0.55, 0.56, 0.70]
    video = make_video(tmp_path / name, times=times, codec=codec)
    source = read_timeline(video)
    result = mux(video, clicks(44100, source.duration), 44100, tmp_path / "out.mp4")
    assert result.copied is (codec == "libx264")
    made = read_timeline(result.path)
    np.testing.assert_allclose(made.times, times, atol=0.001)
    assert made.duration == pytest.approx(source.duration, abs=0.001)
    with av.open(str(result.path)) as container:
        picture = container.streams.video[0]
        assert float(picture.duration * picture.time_base) == pytest.approx(source.duration, abs=0.002)


@pytest.mark.parametrize(
    ("stumble", "why"), [(False, "a copy shows pictures up to 0.190 s away from their time"), (True, "can't be copied")]
)
def test_a_copy_that_fails_or_is_out_of_step_gives_way_to_an_encoded_picture(
    stumble: bool, why: str, make_video, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(*arguments: Any) -> Iterator[Any]:
        packets = copied_packets(*arguments)

        def moved() -> Iterator[Any]:
            for number, packet in enumerate(packets):
                if number >= 20:
                    if stumble:
                        raise av.error.PermissionError(errno.EPERM, "Operation not permitted", "a.mp4")
                    packet.pts += round(0.19 / packet.time_base)
                yield packet

        return moved()

    monkeypatch.setattr(mux_room, "SEPARATE", False)
    monkeypatch.setattr(film, "copied_packets", late)
    video = make_video(tmp_path / "a.mp4", seconds=1)
    result = mux(video, clicks(44100, 1.0), 44100, tmp_path / "out.mp4")
    assert not result.copied
    assert why in result.note
    np.testing.assert_allclose([float(t) for t in stamps(result.path)], np.arange(25) / 25, atol=1e-3)


def test_an_error_of_reading_is_never_one_of_writing(
    make_video, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: Any) -> Iterator[Any]:
        raise av.error.OSError(errno.EIO, "Input/output error", "a.mp4")

    monkeypatch.setattr(mux_room, "SEPARATE", False)
    monkeypatch.setattr(film, "copied_packets", refused)
    monkeypatch.setattr(film, "encoded_packets", refused)
    video = make_video(tmp_path / "a.mp4", seconds=0.4)
    with pytest.raises(VideoError, match=r"a\.mp4: its picture can't be re-encoded \(Input/output error\)"):
        mux(video, clicks(44100, 0.4), 44100, tmp_path / "out" / "out.mp4")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_full_disk_is_told_from_a_codec_that_is_refused(make_video, tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no device that is always full")
    timeline = read_timeline(make_video(tmp_path / "a.mp4", seconds=0.4))
    with pytest.raises(OSError, match="No space left") as caught:
        write_film(timeline, clicks(44100, 0.4), 44100, full, lambda count: None, kind=MP4)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(full))


def test_signs_of_life_come_while_it_is_copied_and_while_it_is_encoded(make_video, tmp_path: Path) -> None:
    for name, codec in (("a.mp4", "libx264"), ("a.webm", "libvpx")):
        timeline = read_timeline(make_video(tmp_path / name, seconds=5, codec=codec))
        told: list[int] = []
        write_film(timeline, clicks(44100, 5.0), 44100, tmp_path / "part.mp4", told.append, kind=MP4)
        assert len(told) >= 2
        assert max(told) >= 100


def test_writing_a_film_needs_no_torch() -> None:
    script = "import sys, d2m_cli.media.film; raise SystemExit('torch' in sys.modules or 'av' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
