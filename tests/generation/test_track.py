from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import d2m_cli.app
from d2m_cli.errors import AudioError, NoPersonError, UsageError
from d2m_cli.generation import bend
from d2m_cli.generation.compose import snap_bounds
from d2m_cli.generation.models import TrackModels
from d2m_cli.generation.options import GenerateOptions
from d2m_cli.generation.pipeline import generate_music
from d2m_cli.generation.track import Track, lay_track
from d2m_cli.ground.digests import content_digest
from d2m_cli.media.audio import load_audio, save_wav
from d2m_cli.rhythm.sequence import BeatMap, Rhythm, Tempo
from tests.fakes import FakePoses
from tests.generation.test_bend import RATE, heard, hits

SECONDS = 10.0


def dance(confidence: float = 0.9) -> Rhythm:
    return Rhythm(np.ones(500, np.float32), 50.0, np.zeros(0), SECONDS, Tempo(120.0, 0.2, confidence), "stable")


@pytest.fixture
def track(tmp_path: Path) -> Path:
    """30 s at 116 bpm."""
    path = tmp_path / "song.wav"
    save_wav(path, hits(np.arange(0.37, 29.5, 60 / 116), 30.0, channels=2), RATE)
    return path


def loaded(path: Path) -> Track:
    return Track.load(path, content_digest(path))


def quiet(step: str, fraction: float = 0.0) -> None:
    assert 0.0 <= fraction <= 1.0


def off(samples: np.ndarray) -> np.ndarray:
    """Distance of each hit from the dance's beats."""
    distances: np.ndarray = np.abs(heard(samples)[:, None] - np.arange(0.2, SECONDS, 0.5)[None]).min(axis=1)
    return distances


def test_a_track_lands_on_the_beat(track: Path) -> None:
    music = lay_track(loaded(track), dance(), SECONDS, GenerateOptions(music=track, ending="none"), quiet)
    assert music.samples.shape == (2, round(SECONDS * RATE))
    assert off(music.samples).max() < 0.025
    assert music.snap is not None
    assert music.snap.done == "bent"
    # 120 bpm out of 116 run 3.4 % faster, and between the hits a little more than that.
    assert 1.036 < music.snap.fastest < 1.06


def test_a_track_begins_where_it_is_asked_to(track: Path) -> None:
    options = GenerateOptions(music=track, music_start=12.0, ending="none")
    assert lay_track(loaded(track), dance(), SECONDS, options, quiet).snap.offset == pytest.approx(12.0, abs=0.4)
    plain = lay_track(loaded(track), dance(), SECONDS, replace(options, snap="off"), quiet)
    assert plain.snap is None
    # Hits at 0.37 + k * 60 / 116; the first behind 12 s is the 23rd.
    assert heard(plain.samples)[0] == pytest.approx(0.37 + 23 * 60 / 116 - 12.0, abs=0.002)


def test_where_the_beat_is_doubtful_auto_leaves_it_and_on_does_not(track: Path) -> None:
    options = GenerateOptions(music=track, ending="none")
    assert lay_track(loaded(track), dance(0.2), SECONDS, options, quiet).snap is None
    on = lay_track(loaded(track), dance(0.2), SECONDS, replace(options, snap="on"), quiet)
    assert off(on.samples).max() < 0.025
    assert snap_bounds(BeatMap.none(), replace(options, snap="on")) is None


def test_a_track_too_short_or_without_sound_is_named(track: Path, tmp_path: Path) -> None:
    options = GenerateOptions(music=track, music_start=25.0)
    with pytest.raises(
        AudioError,
        match=r"song.wav: 5.00 s of music behind 25 s, and the video lasts 10.00 s: give an earlier music_st",
    ):
        lay_track(loaded(track), dance(), SECONDS, options, quiet)
    (tmp_path / "no.wav").write_bytes(b"no sound")
    with pytest.raises(UsageError, match=r"music .*no\.wav"):
        loaded(tmp_path / "no.wav")


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"music_start": 1.0}, "music_start is a moment of a track: give one with music"),
        ({"music": Path("absent.mp3")}, "music absent.mp3: no such file"),
        ({"snap": "maybe"}, "snap must be one of auto, on, off, not 'maybe'"),
    ],
)
def test_options_that_do_not_fit_are_refused(values: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        GenerateOptions(**values)


def test_a_start_before_the_track_is_refused_and_idle_options_are_named(track: Path) -> None:
    with pytest.raises(UsageError, match="music_start must be 0 s or later, not -1"):
        GenerateOptions(music=track, music_start=-1.0)
    assert GenerateOptions("LO", "harp", music=track).doubts == (
        "genre has no effect with music",
        "prompt has no effect with music",
    )
    idle = {"negative_prompt": "drums", "rhythm": "words", "candidates": 2, "precision": "bf16", "seed": 4}
    assert GenerateOptions(music=track, **idle).doubts == tuple(  # type: ignore[arg-type]
        f"{name} has no effect with music" for name in ("negative_prompt", "rhythm", "precision", "seed", "candidates")
    )
    assert GenerateOptions("LO", music=track, **idle).settings == GenerateOptions(music=track).settings  # type: ignore[arg-type]
    assert GenerateOptions(music=track).settings["music"] == {"file": "song.wav", "content": content_digest(track)}


def test_the_record_names_the_track_and_what_was_done(make_video, track: Path, tmp_path: Path) -> None:
    video = make_video(tmp_path / "dance.mp4", seconds=6.0)
    models = TrackModels(FakePoses(6.0), loaded(track))
    made = generate_music(video, content_digest(video), models, GenerateOptions(music=track, snap="on"), quiet)
    made.save(tmp_path / "dance.json")
    record = json.loads((tmp_path / "dance.json").read_text())
    assert record["models"]["backbone"]["name"] == "track:song.wav"
    assert record["models"]["encoders"] is None
    assert record["windows"] == []
    assert record["music"]["snap"]["done"] in ("cut", "bent", "nothing")
    assert record["settings"]["snap"] == "on"


def test_no_backbone_is_loaded_for_a_track(make_video, track: Path, tmp_path: Path, monkeypatch) -> None:
    import d2m_cli.api.loaders as loaders
    import d2m_cli.pose.estimator as estimator

    def never(*_: object) -> None:
        raise AssertionError("loaded")

    monkeypatch.setattr(loaders, "_open_backbone", never)
    monkeypatch.setattr(loaders, "load_encoders", never)
    monkeypatch.setattr(estimator, "PoseEstimator", lambda options, **_: FakePoses(2.0))
    videos = [make_video(tmp_path / name, seconds=2.0) for name in ("a.mp4", "b.mp4")]
    words = ["generate", *videos, "--music", track, "--music-start", "3", "--out", tmp_path / "out", "--no-mp4"]
    result = CliRunner().invoke(d2m_cli.app.app, [*map(str, words)])
    assert result.exit_code == 0, result.output
    for name in ("a", "b"):
        samples, rate = load_audio(tmp_path / "out" / f"{name}.wav")
        assert samples.shape == (2, 2 * rate)
    assert "2.00 s" in result.output
    # What only a model goes by is named, makes nothing again, and needs no model.
    words += ["--seed", "4", "--backbone", "riffusion", "--compile", "--steps", "3"]
    again = CliRunner().invoke(d2m_cli.app.app, [*map(str, words)])
    assert again.exit_code == 0, again.output
    there = [[str(tmp_path / "out" / f"{name}.{kind}") for kind in ("wav", "json")] for name in "ab"]
    for run in (result, again):
        # Of two videos in hand either may be the first; the results of each stay together, in their order.
        lines = run.stdout.splitlines()
        assert sorted([lines[:2], lines[2:]]) == there
    told = " ".join(again.stderr.split())
    for flag in ("--seed", "--backbone", "--compile", "--steps"):
        assert f"{flag} has no effect with --music" in told


def test_a_track_short_by_rounding_is_filled_and_a_start_behind_its_end_is_named(track: Path) -> None:
    music = lay_track(loaded(track), dance(), 10.0, GenerateOptions(music=track, music_start=20.002, snap="off"), quiet)
    assert music.samples.shape == (2, 10 * RATE)
    with pytest.raises(UsageError, match=r"song.wav lasts 30.00 s, so there is no music behind 40 s"):
        loaded(track).check_start(40.0)


def test_a_track_asks_for_no_genre_of_a_video(track: Path) -> None:
    assert GenerateOptions("auto", music=track).of_video(Path("party.mp4")).genre is None


def test_a_track_for_nobody_speaks_of_the_track(make_video, track: Path, tmp_path: Path) -> None:
    video = make_video(tmp_path / "empty.mp4", seconds=2.0)
    video.write_bytes(video.read_bytes() + b"nobody")
    models, options = TrackModels(FakePoses(2.0), loaded(track)), GenerateOptions(music=track)
    with pytest.raises(NoPersonError, match="allow_no_dancer=True lays the track under it as it is"):
        generate_music(video, "aa", models, options, quiet)
    made = generate_music(video, "aa", models, replace(options, allow_no_dancer=True), quiet)
    assert made.notes == ("nobody was found in the picture: the track is laid under it as it is",)


class NoPoses(FakePoses):
    def estimate(self, video: Path, report=None, timeline=None):
        raise AssertionError("looked at the dance")


def test_a_track_that_is_too_short_is_told_before_the_dance_is_looked_at(make_video, track: Path, tmp_path) -> None:
    video = make_video(tmp_path / "long.mp4", seconds=2.0)
    options = GenerateOptions(music=track, music_start=29.0)
    with pytest.raises(AudioError, match=r"1.00 s of music behind 29 s, and the video lasts 2.00 s"):
        generate_music(video, "aa", TrackModels(NoPoses(2.0), loaded(track)), options, quiet)


def test_a_bad_track_ends_the_run_before_the_first_video_and_a_good_one_is_read_once(
    make_video, track: Path, tmp_path: Path, monkeypatch
) -> None:
    import d2m_cli.generation.track as module
    import d2m_cli.media.audio as audio
    import d2m_cli.pose.estimator as estimator

    monkeypatch.setattr(estimator, "PoseEstimator", lambda options, **_: NoPoses(2.0))
    videos = [make_video(tmp_path / name, seconds=2.0) for name in ("a.mp4", "b.mp4")]
    (tmp_path / "no.wav").write_bytes(b"no sound")

    def run(*more: object):
        fixed = ["generate", *videos, "--out", tmp_path / "out", "--no-mp4", "--snap", "on", *more]
        return CliRunner().invoke(d2m_cli.app.app, [*map(str, fixed)])

    for more, text in (
        (("--music", tmp_path / "no.wav"), "no.wav"),
        (("--music", track, "--music-start", "31"), "there is no music behind 31 s: give an earlier --music-start"),
    ):
        result = run(*more)
        assert result.exit_code == 2, result.output
        assert text in " ".join(result.stderr.split())
    read: list[str] = []

    def counted(name, function):
        def count(*arguments, **named):
            read.append(name)
            return function(*arguments, **named)

        return count

    monkeypatch.setattr(audio, "load_audio", counted("audio", audio.load_audio))
    monkeypatch.setattr(module, "attacks", counted("attacks", bend.attacks))
    monkeypatch.setattr(estimator, "PoseEstimator", lambda options, **_: FakePoses(2.0))
    assert run("--music", track).exit_code == 0
    assert sorted(read) == ["attacks", "audio"]


def test_names_are_escaped_on_stderr_and_nothing_goes_to_stdout_without_it(
    make_video, track: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    import d2m_cli.pose.estimator as estimator
    from d2m_cli.batch import music_files

    monkeypatch.setattr(estimator, "PoseEstimator", lambda options, **_: FakePoses(2.0))
    odd = track.rename(tmp_path / "so\x1b[31mng.wav")
    video = make_video(tmp_path / "a.mp4", seconds=2.0)
    words = ["generate", video, "--music", odd, "--prompt", "harp", "--out", tmp_path / "out", "--no-mp4"]
    result = CliRunner().invoke(d2m_cli.app.app, [*map(str, words)])
    assert result.exit_code == 0, result.output
    assert "music: so\\x1b[31mng.wav" in result.stderr
    assert "\x1b" not in result.stderr
    monkeypatch.setattr("sys.stderr", None)
    music_files._say("a word")
    assert capsys.readouterr().out == ""


def test_a_batch_of_odd_names_keeps_each_apart_and_is_done_the_second_time(
    make_video, track: Path, tmp_path: Path, monkeypatch
) -> None:
    import d2m_cli.pose.estimator as estimator

    monkeypatch.setattr(estimator, "PoseEstimator", lambda options, **_: FakePoses(2.0))
    undecodable = os.fsdecode(b"no\xffutf.mp4")
    names = ("-dash & $x.mp4", "sub dir/\u00fc \U0001f3b5 [1].mp4", "sub dir/a%20b.v1.mp4", undecodable)
    for number, name in enumerate(names):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        make_video(tmp_path / "plain.mp4", seconds=2.0, fps=20 + number).rename(path)
    odd = track.rename(tmp_path / os.fsdecode(b"my song: %d {x}\xff.wav"))
    words = ["generate", tmp_path / "in", "--music", odd, "--out", tmp_path / "out", "--no-mp4", "--json"]
    states = []
    for _ in range(2):
        result = CliRunner().invoke(d2m_cli.app.app, [*map(str, words)])
        assert result.exit_code == 0, result.output
        states.append([item["state"] for item in json.loads(result.stdout)["items"]])
    assert states == [["done"] * 4, ["already done"] * 4]
    for name in names:
        record = json.loads((tmp_path / "out" / name).with_suffix(".json").read_text())
        assert record["settings"]["music"]["file"] == odd.name
        assert (tmp_path / "out" / name).with_suffix(".wav").is_file()
