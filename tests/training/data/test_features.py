"""What training reads of each window: right, computed once, and refused with a reason where it can't be."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from d2m_cli.errors import NoPersonError, OutputError
from d2m_cli.ground.digests import code_digest
from d2m_cli.ground.progress import Progress
from d2m_cli.media.audio import load_audio, save_wav
from d2m_cli.rhythm.extract import RhythmOptions, extract_rhythm
from d2m_cli.rhythm.io import save_rhythm
from d2m_cli.rhythm.sequence import RhythmGrid
from d2m_cli.training.data import dance_rhythms
from d2m_cli.training.data.dataset import Clip, Segment, read_dances
from d2m_cli.training.data.features import FeatureCache
from tests.training.made import RATE, bobbing, click_track, make_set
from tests.training.small import GRID, SmallBackbone

QUIET = Progress(quiet=True)


class CountingBackbone(SmallBackbone):
    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def targets(self, audio):
        self.asked += len(audio)
        return super().targets(audio)


class Dancers:
    model_hashes = {"made-up": "1" * 64}  # noqa: RUF012

    def __init__(self) -> None:
        self.asked: list[Path] = []

    def estimate(self, video: Path):
        self.asked.append(video)
        if b"nobody" in video.read_bytes():
            raise NoPersonError(f"{video}: nobody was found")
        return bobbing(120, 0.2, 10.3)


def cache(folder: Path, backbone: SmallBackbone | None = None, dancers: Dancers | None = None, **changes: Any):
    people = dancers or Dancers()
    made = FeatureCache(folder, backbone or CountingBackbone(), GRID, lambda: people)
    return replace(made, **changes)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_set(tmp_path_factory.mktemp("pairs"))


def test_windows_hold_rhythm_genre_and_target_of_the_same_stretch(manifest: Path, tmp_path: Path) -> None:
    dances = read_dances(manifest)
    segments = dances.segments("train", 5.12)
    windows, skipped = cache(tmp_path).windows(segments, QUIET)
    assert windows is not None
    assert not skipped
    assert len(windows) == 12  # six songs of two whole windows
    for row, segment in enumerate(segments):
        samples, _ = load_audio(segment.clip.audio)
        first = round((0.25 + segment.start) * RATE)
        # SmallBackbone's targets: mean square of each of the first four thousand samples.
        expected = [np.mean(samples[0, first + i * 1000 : first + i * 1000 + 1000] ** 2) for i in range(4)]
        assert windows.targets[row].tolist() == pytest.approx(expected, abs=2e-5)
        number = int(segment.clip.song.removeprefix("song"))
        rhythm = extract_rhythm(bobbing(80 + 8 * number, 0.1 + 0.03 * number - 0.25, 10.3), RhythmOptions(GRID.mode))
        assert np.array_equal(windows.sequences[row].numpy(), rhythm.window(segment.start, GRID))
        assert windows.genres is not None
        assert windows.genres[row] == ("LO", "HO")[number % 2]


def test_a_second_run_computes_nothing_even_where_the_set_was_moved(manifest: Path, tmp_path: Path) -> None:
    first, again = CountingBackbone(), CountingBackbone()
    one, _ = cache(tmp_path / "cache", first).windows(read_dances(manifest).segments("train", 5.12), QUIET, tempi=True)
    assert first.asked == 12
    shutil.copytree(manifest.parent, tmp_path / "moved")
    moved = read_dances(tmp_path / "moved" / "manifest.csv").segments("train", 5.12)
    two, _ = cache(tmp_path / "cache", again).windows(moved, QUIET, tempi=True)
    assert again.asked == 0
    assert one is not None
    assert two is not None
    assert one.digest() == two.digest()


def test_changed_music_other_windows_and_other_weights_are_computed_anew(tmp_path: Path) -> None:
    manifest = make_set(tmp_path / "pairs", songs=1)
    segments = read_dances(manifest).segments("train", 5.12)
    first = CountingBackbone()
    cache(tmp_path / "cache", first).windows(segments, QUIET)
    assert first.asked == 2
    other = CountingBackbone()
    other.fingerprint = "6" * 64
    cache(tmp_path / "cache", other).windows(segments, QUIET)
    assert other.asked == 2
    shifted = CountingBackbone()
    cache(tmp_path / "cache", shifted).windows([replace(s, start=s.start + 0.04) for s in segments], QUIET)
    assert shifted.asked == 2
    # Told by its content also in the process that read the old one.
    save_wav(tmp_path / "pairs" / "song0.wav", click_track(100, 0.0, 10.8), RATE)
    changed = CountingBackbone()
    cache(tmp_path / "cache", changed).windows(segments, QUIET)
    assert changed.asked == 2


def test_dances_to_the_same_stretch_of_a_song_share_its_targets(tmp_path: Path) -> None:
    save_wav(tmp_path / "song.wav", click_track(120, 0.2, 10.5), RATE)
    clips = []
    for number in range(3):
        (tmp_path / f"{number}.mp4").write_bytes(bytes([number]))
        dance = tmp_path / f"{number}.mp4"
        clips.append(Clip(str(number), dance, None, tmp_path / "song.wav", 0.0, "song", "LO", "train", 10.3))
    backbone = CountingBackbone()
    # Cameras whose headers differ by less than a microsecond.
    segments = [Segment(clip, 1.25 + 1e-8 * i) for i, clip in enumerate(clips)]
    windows, _ = cache(tmp_path / "cache", backbone).windows(segments, QUIET)
    assert windows is not None
    assert len(windows) == 3
    assert backbone.asked == 1


def test_videos_are_looked_at_once_for_all_modes(tmp_path: Path) -> None:
    (tmp_path / "dance.mp4").write_bytes(b"a dance")
    save_wav(tmp_path / "song.wav", click_track(120, 0.2, 10.5), RATE)
    clip = Clip("dance", tmp_path / "dance.mp4", None, tmp_path / "song.wav", 0.0, "song", "LO", "train", 10.3)
    people = Dancers()
    for _ in range(2):
        cache(tmp_path / "cache", dancers=people).windows([Segment(clip, 0.0)], QUIET)
    cache(tmp_path / "cache", dancers=people, grid=RhythmGrid("paper")).windows([Segment(clip, 0.0)], QUIET)
    assert people.asked == [clip.dance]


@pytest.mark.parametrize(("room", "again"), [("pose", True), ("rhythm", False), ("training", False)])
def test_poses_of_a_video_are_found_anew_by_other_code(
    room: str, again: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dance.mp4").write_bytes(b"a dance")
    clip = Clip("dance", tmp_path / "dance.mp4", None, tmp_path / "song.wav", 0.0, "song", "LO", "train", 10.3)
    people = Dancers()

    def rhythms() -> int:
        cache(tmp_path / "cache", dancers=people).rhythm(clip)
        return len(list((tmp_path / "cache" / "rhythm").iterdir()))

    assert [rhythms(), rhythms()] == [1, 1]
    monkeypatch.setattr(dance_rhythms, "code_digest", lambda *rooms: "other" if room in rooms else code_digest(*rooms))
    assert rhythms() == (1 if room == "training" else 2)
    assert people.asked == [clip.dance] * (2 if again else 1)


def test_what_can_not_be_used_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    save_wav(tmp_path / "song.wav", click_track(120, 0.2, 10.5), RATE)
    save_wav(tmp_path / "silent.wav", np.zeros((1, 90000), np.float32), RATE)
    (tmp_path / "broken.wav").write_bytes(b"RIFF nothing")
    for name, content in (("good", b"a dance"), ("empty", b"nobody"), ("quiet", b"b"), ("torn", b"c")):
        (tmp_path / f"{name}.mp4").write_bytes(content)
    sounds = {"good": "song", "empty": "song", "quiet": "silent", "torn": "broken"}
    clips = [
        Clip(n, tmp_path / f"{n}.mp4", None, tmp_path / f"{s}.wav", 0.0, n, "LO", "train", 10.3)
        for n, s in sounds.items()
    ]
    windows, skipped = cache(tmp_path / "cache").windows([Segment(clip, 0.0) for clip in clips], QUIET)
    assert windows is not None
    assert [segment.clip.name for segment in windows.segments] == ["good"]
    told = " | ".join(skip.reason for skip in skipped)
    assert len(skipped) == 3
    assert "nobody was found" in told
    assert "music of quiet is silent" in told
    assert "broken.wav" in told


def test_silent_windows_of_a_clip_are_counted(tmp_path: Path) -> None:
    sound = click_track(120, 0.2, 15.5)
    sound[:, round(5.0 * RATE) : round(10.4 * RATE)] = 0
    save_wav(tmp_path / "song.wav", sound, RATE)
    (tmp_path / "dance.mp4").write_bytes(b"a dance")
    clip = Clip("dance", tmp_path / "dance.mp4", None, tmp_path / "song.wav", 0.0, "s", "LO", "train", 15.4)
    for _ in range(2):
        windows, skipped = cache(tmp_path / "cache").windows([Segment(clip, s) for s in (0.0, 5.12, 10.24)], QUIET)
        assert windows is not None
        assert [segment.start for segment in windows.segments] == [0.0, 10.24]
        assert [skip.reason.partition(": ")[2] for skip in skipped] == ["1 of 3 windows of dance are silent"]


def test_nothing_left_is_none(tmp_path: Path) -> None:
    save_wav(tmp_path / "song.wav", click_track(120, 0.2, 10.5), RATE)
    (tmp_path / "empty.mp4").write_bytes(b"nobody")
    clip = Clip("empty", tmp_path / "empty.mp4", None, tmp_path / "song.wav", 0.0, "s", "LO", "train", 10.3)
    windows, skipped = cache(tmp_path / "cache").windows([Segment(clip, 0.0)], QUIET)
    assert windows is None
    assert len(skipped) == 1


def test_a_rhythm_file_serves_where_its_mode_is_the_one_wanted(tmp_path: Path) -> None:
    rhythm = extract_rhythm(bobbing(120, 0.2, 10.3), RhythmOptions(mode="paper"))
    save_rhythm(tmp_path / "dance.rhythm.json", rhythm)
    save_wav(tmp_path / "song.wav", click_track(120, 0.2, 10.5), RATE)
    clip = Clip("d", tmp_path / "dance.rhythm.json", None, tmp_path / "song.wav", 0.0, "s", "LO", "train", 10.3)
    windows, _ = cache(tmp_path / "cache", grid=RhythmGrid("paper")).windows([Segment(clip, 0.0)], QUIET)
    assert windows is not None
    assert np.array_equal(windows.sequences[0].numpy(), rhythm.window(0.0, RhythmGrid("paper")))
    _, skipped = cache(tmp_path / "cache").windows([Segment(clip, 0.0)], QUIET)
    assert "d2m rhythm --mode stable" in skipped[0].reason


def test_too_small_a_disk_is_told_before_it_is_full(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000))
    with pytest.raises(OutputError, match=r"needs \d+ MB more.*folder with cache"):
        cache(tmp_path / "cache").windows(read_dances(manifest).segments("train", 5.12), QUIET)
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_cache_is_an_error_that_says_so(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir(mode=0o555)
    with pytest.raises(OutputError, match="no permission"):
        cache(tmp_path / "cache").windows(read_dances(manifest).segments("train", 5.12), QUIET)


def test_tempo_of_each_windows_music_by_ear(manifest: Path, tmp_path: Path) -> None:
    segments = read_dances(manifest).segments("train", 5.12)
    windows, _ = cache(tmp_path).windows(segments, QUIET, tempi=True)
    assert windows is not None
    assert windows.tempi is not None
    right = 0
    for segment, tempo in zip(windows.segments, windows.tempi, strict=True):
        assert tempo is not None
        number = int(segment.clip.song.removeprefix("song"))
        bpm, first = 80 + 8 * number, 0.1 + 0.03 * number - 0.25 - segment.start
        octave = min((0.5, 1.0, 2.0), key=lambda ratio: abs(tempo.bpm / (bpm * ratio) - 1))
        late = (tempo.first_beat - first + 30 / bpm) % (60 / bpm) - 30 / bpm
        right += abs(tempo.bpm / (bpm * octave) - 1) < 0.01 and (octave != 1.0 or abs(late) < 0.04)
    assert right >= 11


def test_clap_hears_another_part_of_the_same_song(manifest: Path, tmp_path: Path) -> None:
    heard: list[np.ndarray] = []

    class Listener:
        def embed(self, samples, rate):
            heard.append(samples)
            return torch.full((512,), float(len(heard)))

    segments = read_dances(manifest).segments("train", 5.12)
    windows, _ = cache(tmp_path, listener=Listener()).windows(segments, QUIET)
    assert windows is not None
    assert isinstance(windows.genres, torch.Tensor)
    # Each song has two windows: each is given what was heard in the other.
    assert len(heard) == 12
    samples, _ = load_audio(windows.segments[0].clip.audio)
    first = round((0.25 + 5.12) * RATE)
    assert np.array_equal(heard[0], samples[0, first : first + round(5.12 * RATE)])


def test_damaged_entries_of_the_cache_are_made_anew(manifest: Path, tmp_path: Path) -> None:
    segments = read_dances(manifest).segments("train", 5.12)[:2]
    before, _ = cache(tmp_path).windows(segments, QUIET, tempi=True)
    assert before is not None
    for kind, junk in (("rhythm", b"[" * 100_000), ("beats", b"\x93NUMPY\x01\x00")):
        for path in (tmp_path / kind).iterdir():
            path.write_bytes(junk)
    after, skipped = cache(tmp_path).windows(segments, QUIET, tempi=True)
    assert after is not None
    assert not skipped
    assert after.digest() == before.digest()


def test_files_that_went_away_are_skipped_by_name(tmp_path: Path) -> None:
    segments = read_dances(make_set(tmp_path / "set")).segments("train", 5.12)
    dance, audio = segments[0].clip.dance, segments[2].clip.audio
    dance.unlink()
    audio.unlink()
    windows, skipped = cache(tmp_path / "cache").windows(segments, QUIET)
    assert windows is not None
    assert len(windows) == len(segments) - 4
    assert [(skip.path, str(skip.path) in skip.reason) for skip in skipped] == [(dance, True), (audio, True)]
