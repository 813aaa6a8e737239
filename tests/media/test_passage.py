from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from d2m_cli.errors import UsageError, VideoError
from d2m_cli.media.mux import mux
from d2m_cli.media.passage import Passage
from d2m_cli.media.video import VideoReader, probe
from tests.media.films import greys, stamps

RATE = 44100


def film(video: Path, passage: Passage, out: Path):
    timeline = probe(video, passage)
    samples = np.zeros((2, round(timeline.duration * RATE)), np.float32)
    return timeline, mux(video, samples, RATE, out, timeline=timeline)


def test_a_passage_counts_from_where_it_begins(make_video, tmp_path: Path) -> None:
    # 50 pictures of 40 ms: at 0.5 s the 13th (number 12, from 0.48 s on) stands, and 0.02 s of it are left.
    video = make_video(tmp_path / "a.mp4", seconds=2.0)
    timeline = probe(video, Passage(0.5, 1.0))
    assert timeline.duration == 1.0
    assert timeline.frames == 26  # 12 to 37; picture 38 begins at 1.52 s
    assert timeline.times == pytest.approx([0.0, *(0.02 + 0.04 * n for n in range(25))])
    chunks = list(VideoReader(video, timeline=timeline))
    pictures = np.concatenate([chunk.frames for chunk in chunks])
    assert pictures.mean(axis=(1, 2, 3)) == pytest.approx([10 * n % 250 for n in range(12, 38)], abs=3)
    assert np.concatenate([chunk.times for chunk in chunks]) == pytest.approx(timeline.times)


def test_a_moment_that_was_rounded_means_the_picture_that_begins_there(make_video, tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=2.0, fps=30)
    timeline = probe(video, Passage(0.333, 0.667))  # a third and two thirds
    assert timeline.frames == 20
    assert timeline.times[:2] == pytest.approx([0.0, 11 / 30 - 0.333], abs=1e-4)


@pytest.mark.parametrize("options", [{"g": "250"}, {"g": "10"}])
def test_a_film_shows_the_passage_alone(make_video, tmp_path: Path, options: dict[str, str]) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=2.0, options=options)
    _, made = film(video, Passage(0.5, 1.0), tmp_path / "out.mp4")
    assert not made.copied
    assert "does not begin with a picture that stands by itself" in made.note
    assert greys(made.path) == pytest.approx([10 * n % 250 for n in range(12, 38)], abs=4)
    again = probe(made.path)
    assert (again.frames, again.duration) == (26, pytest.approx(1.0, abs=0.002))
    assert again.times[1] == pytest.approx(0.02, abs=0.001)


def test_a_passage_from_a_key_picture_to_the_end_is_copied(make_video, tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=2.0, options={"g": "10", "sc_threshold": "0"})
    timeline, made = film(video, Passage(0.8), tmp_path / "out.mp4")
    assert timeline.part is not None
    assert timeline.part.packets == 20
    assert made.copied
    assert made.note == "picture copied"
    assert greys(made.path) == greys(video)[20:]
    assert [float(stamp) for stamp in stamps(made.path)] == pytest.approx([0.04 * n for n in range(30)], abs=1e-4)
    assert made.seconds == pytest.approx(1.2)


def test_a_passage_whose_last_picture_builds_on_a_later_one_is_encoded(make_video, tmp_path: Path) -> None:
    # Every picture but the first is built on its neighbours on both sides.
    options = {"g": "10", "sc_threshold": "0", "x264-params": "b-adapt=0:b-pyramid=none"}
    video = make_video(tmp_path / "a.mp4", seconds=2.0, options={**options, "bf": "2"})
    _, made = film(video, Passage(0.8, 0.08), tmp_path / "out.mp4")
    assert not made.copied
    assert "behind the passage" in made.note
    assert greys(made.path) == pytest.approx([200, 210], abs=4)


def test_films_that_only_count_their_pictures(make_video, tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.avi", seconds=2.0, codec="mpeg4")
    timeline, made = film(video, Passage(0.5, 1.0), tmp_path / "out.mp4")
    assert timeline.in_sequence
    assert not made.copied
    assert greys(made.path) == pytest.approx([10 * n % 250 for n in range(12, 38)], abs=5)
    assert probe(made.path).times[1] == pytest.approx(0.02, abs=0.001)


@pytest.mark.parametrize(
    ("passage", "text"),
    [
        (Passage(2.0), "the passage from 2 s on begins after the video, which lasts 2.000 s; give an earlier start"),
        (Passage(1.5, 0.6), "the passage from 1.5 s to 2.1 s ends after the video, which lasts 2.000 s"),
    ],
)
def test_what_lies_beyond_the_end_is_named_with_the_length(
    make_video, tmp_path: Path, passage: Passage, text: str
) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=2.0)
    with pytest.raises(VideoError, match=text):
        probe(video, passage)


@pytest.mark.parametrize("values", [(-1.0, None), (float("nan"), None), (0.0, 0.0), (0.0, float("inf"))])
def test_passages_that_are_none(values: tuple[float, float | None]) -> None:
    with pytest.raises(UsageError, match=r"(start|duration) must"):
        Passage(*values)


def test_a_passage_before_the_first_picture_shows_nothing(make_video, tmp_path: Path) -> None:
    # Sound from 0 s, pictures from 1 s on.
    times = [1 + 0.04 * n for n in range(25)]
    video = make_video(tmp_path / "a.mp4", times=times, sound=np.zeros(88200))
    assert probe(video, Passage(0.5, 1.0)).times[0] == pytest.approx(0.5, abs=0.01)
    with pytest.raises(VideoError, match=r"shows no picture; the first one comes at 1\.0"):
        probe(video, Passage(0.0, 0.5))
