"""What training reads is the same whether one core prepares it or several do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from d2m_cli.errors import AudioError, InputError
from d2m_cli.ground.audio_beats import track_beats
from d2m_cli.ground.progress import Progress
from d2m_cli.ground.workers import Workers
from d2m_cli.media.audio import load_audio, save_wav
from d2m_cli.rhythm.extract import RhythmOptions, extract_rhythm
from d2m_cli.training.data import dance_rhythms, music_targets, music_tempo
from d2m_cli.training.data.dance_rhythms import RhythmCache
from d2m_cli.training.data.dataset import Clip, Segment, read_dances
from d2m_cli.training.data.music_targets import TOGETHER, TargetCache
from d2m_cli.training.data.music_tempo import TRACKER_RATE, BeatCache, tempo_at
from tests.training.made import RATE, bobbing, click_track, make_set
from tests.training.small import GRID, SmallBackbone

QUIET = Progress(quiet=True)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    folder = tmp_path_factory.mktemp("pairs")
    return list(read_dances(make_set(folder, songs=12, seconds=6.0)).clips)


@pytest.fixture(autouse=True)
def few_are_worth_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dance_rhythms, "WORTH_A_PROCESS", 4)


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    return lambda count: monkeypatch.setenv("OMP_NUM_THREADS", str(count))


def nobody() -> Any:
    raise AssertionError("there is no video")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def rhythms(folder: Path, clips: list[Clip]):
    return RhythmCache(folder, GRID, nobody).all(clips, QUIET)


# Rhythms.


@pytest.mark.slow
def test_rhythms_by_one_process_and_by_several(
    clips: list[Clip], tmp_path: Path, cores: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []

    class Counted(Workers):
        def __init__(self, count: int) -> None:
            counts.append(count)
            super().__init__(count)

    monkeypatch.setattr(dance_rhythms, "Workers", Counted)
    made = {}
    for count in (1, 3):
        cores(count)
        found, skipped = rhythms(tmp_path / str(count), clips)
        assert list(found) == clips
        assert skipped == ()
        made[count] = contents(tmp_path / str(count) / "rhythm")
    assert counts == [1, 3]
    assert len(made[1]) == len(clips)
    assert made[1] == made[3]
    # And they are those of the dances whose names they bear.
    for clip in clips:
        number = int(clip.song.removeprefix("song"))
        bobbed = bobbing(80 + 8 * number, 0.1 + 0.03 * number - 0.25, 6.0)
        wanted = extract_rhythm(bobbed, RhythmOptions(GRID.mode))
        np.testing.assert_allclose(found[clip].peaks, wanted.peaks, atol=1e-6)


@pytest.mark.slow
def test_a_process_that_is_killed_costs_no_dance(
    clips: list[Clip], tmp_path: Path, cores: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[Any] = []

    class Dying(Workers):
        def _ask(self, do: Any, job: Any) -> Any:
            process = getattr(self._own, "process", None)
            if process is not None and not killed:
                killed.append(process)
                process.kill()
                process.wait()
            return super()._ask(do, job)

    monkeypatch.setattr(dance_rhythms, "Workers", Dying)
    cores(3)
    found, skipped = rhythms(tmp_path, clips)
    assert len(killed) == 1
    assert list(found) == clips
    assert skipped == ()
    assert len(contents(tmp_path / "rhythm")) == len(clips)


@pytest.mark.slow
def test_one_bad_dance_among_several_processes(clips: list[Clip], tmp_path: Path, cores: Callable[[int], None]) -> None:
    damaged, gone = tmp_path / "damaged.pose.npz", tmp_path / "gone.pose.npz"
    damaged.write_bytes(b"no poses")
    mixed = list(clips)
    mixed[3], mixed[7] = replace(clips[3], dance=damaged), replace(clips[7], dance=gone)
    told = []
    for count in (1, 3):
        cores(count)
        found, skipped = rhythms(tmp_path / str(count), mixed)
        assert list(found) == [clip for clip in mixed if clip.dance not in (damaged, gone)]
        assert [skip.path for skip in skipped] == [damaged, gone]
        told.append([skip.reason for skip in skipped])
    assert told[0] == told[1]
    for reason, clip in zip(told[0], (mixed[3], mixed[7]), strict=True):
        with pytest.raises(InputError) as alone:
            RhythmCache(tmp_path, GRID, nobody).rhythm(clip)
        assert str(alone.value) == reason


def test_a_dance_to_several_songs_is_read_once(
    clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def counted(poses: Any, options: RhythmOptions):
        asked.append(options)
        return extract_rhythm(poses, options)

    monkeypatch.setattr(dance_rhythms, "extract_rhythm", counted)
    again = [replace(clip, dance=clips[0].dance) for clip in clips[:5]]
    found, _ = rhythms(tmp_path, again)
    assert list(found) == again
    assert len(asked) == 1


def test_videos_are_looked_at_while_rhythms_are_read(tmp_path: Path, cores: Callable[[int], None]) -> None:
    cores(4)
    looked = []

    class Dancers:
        model_hashes = {"made-up": "1" * 64}  # noqa: RUF012

        def estimate(self, video: Path):
            looked.append(video)
            if b"nobody" in video.read_bytes():
                raise InputError(f"{video}: nobody was found")
            return bobbing(120, 0.2, 6.0)

    made = []
    for number in range(9):
        video = tmp_path / f"{number}.mp4"
        video.write_bytes(b"nobody" if number == 4 else bytes([number]))
        made.append(Clip(str(number), video, None, tmp_path / "a.wav", 0.0, "s", "LO", "train", 6.0))
    found, skipped = RhythmCache(tmp_path / "cache", GRID, lambda: Dancers()).all(made, QUIET)
    assert looked == [clip.dance for clip in made]
    assert list(found) == made[:4] + made[5:]
    assert [skip.reason for skip in skipped] == [f"{made[4].dance}: nobody was found"]
    assert len(contents(tmp_path / "cache" / "poses")) == 8


# Beats.


def test_beats_by_one_thread_and_by_several(
    clips: list[Clip], tmp_path: Path, cores: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    hearing = set()
    meet = threading.Barrier(1)

    def heard(samples: Any, rate: int):
        hearing.add(threading.get_ident())
        meet.wait(60)
        return track_beats(samples, rate)

    monkeypatch.setattr(music_tempo, "track_beats", heard)
    segments = [Segment(clip, 0.0) for clip in clips]
    tempi, kept = [], []
    for count in (1, 3):
        cores(count)
        hearing.clear()
        meet = threading.Barrier(count)  # each waits for the others
        tempi.append(BeatCache(tmp_path / str(count)).tempi(segments, 5.12, QUIET))
        kept.append(contents(tmp_path / str(count) / "beats"))
        assert len(hearing) == count
    assert tempi[0] == tempi[1]
    assert kept[0] == kept[1]
    assert len(kept[0]) == len(clips)
    for segment, tempo in zip(segments, tempi[0], strict=True):
        samples, _ = load_audio(segment.clip.audio, TRACKER_RATE)
        assert tempo == tempo_at(track_beats(samples, TRACKER_RATE), 0.25, 5.12)


def test_a_song_that_can_not_be_read_is_named_and_the_first_of_them(
    clips: list[Clip], tmp_path: Path, cores: Callable[[int], None]
) -> None:
    cores(3)
    damaged = [tmp_path / name for name in ("b.wav", "c.wav")]
    for path in damaged:
        path.write_bytes(f"no sound in {path}".encode())
    segments = [Segment(replace(clips[at], audio=path), 0.0) for at, path in enumerate(damaged)]
    with pytest.raises(AudioError, match=r"b\.wav"):
        BeatCache(tmp_path).tempi(segments, 5.12, QUIET)


# Targets.


class Watched(SmallBackbone):
    """Notes the shapes of batches; on an accelerator that has no memory of its own."""

    def __init__(self, device: str = "cpu") -> None:
        super().__init__()
        self.network.to(device)
        self.batches: list[int] = []

    def targets(self, audio):
        self.batches.append(len(audio))
        return super().targets(audio)


def stretches(folder: Path, counts: list[int]) -> dict[Clip, list[float]]:
    """A song for each clip of so many windows, which is silent where there are none."""
    starts = {}
    for number, count in enumerate(counts):
        seconds = 5.12 * max(count, 1) + 0.1
        sound = click_track(100 + 9 * number, 0.1, seconds)
        save_wav(folder / f"song{number}.wav", sound if count else 0 * sound, RATE)
        clip = Clip(
            f"c{number}", folder / "d.npz", None, folder / f"song{number}.wav", 0.0, "s", "LO", "train", seconds
        )
        starts[clip] = [5.12 * at for at in range(max(count, 1))]
    return starts


def test_batches_are_filled_from_clip_to_clip_on_an_accelerator_alone(tmp_path: Path) -> None:
    starts = stretches(tmp_path, [3, 1, 0, 11, 2, 2])
    here, there = Watched(), Watched("meta")
    made = {}
    for name, backbone in (("here", here), ("there", there)):
        made[name], skipped = TargetCache(tmp_path / name, backbone).all(starts, QUIET)
        assert [skip.reason.partition(": ")[2] for skip in skipped] == ["the music of c2 is silent"]
    # By clip, eight at most.
    assert here.batches == [3, 1, 8, 3, 2, 2]
    # 19 windows are two batches and three more, and every batch has the same shape.
    assert there.batches == [TOGETHER] * 3
    assert contents(tmp_path / "here" / "targets") == contents(tmp_path / "there" / "targets")
    for clip, rows in made["there"].items():
        samples, _ = load_audio(clip.audio)
        for start, row in rows.items():
            first = round(start * RATE)
            wanted = [np.mean(samples[0, first + i * 1000 : first + i * 1000 + 1000] ** 2) for i in range(4)]
            assert row.tolist() == pytest.approx(wanted, abs=2e-5)


def test_mono_and_stereo_share_no_batch(tmp_path: Path) -> None:
    starts = stretches(tmp_path, [2, 2])
    other = list(starts)[1].audio
    save_wav(other, np.concatenate([load_audio(other)[0]] * 2), RATE)
    backbone = Watched("meta")
    made, skipped = TargetCache(tmp_path / "cache", backbone).all(starts, QUIET)
    assert backbone.batches == [TOGETHER] * 2
    assert [len(rows) for rows in made.values()] == [2, 2]
    assert skipped == ()


def test_the_next_song_is_decoded_while_one_is_encoded_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = [threading.Event() for _ in range(5)]
    encoded = 0
    ahead = []

    def decode(path: Path, rate: int):
        number = int(path.stem.removeprefix("song"))
        ahead.append(number - encoded)
        begun[number].set()
        return load_audio(path, rate)

    class Waiting(Watched):
        def targets(self, audio):
            nonlocal encoded
            if encoded + 1 < len(begun):
                assert begun[encoded + 1].wait(60), "the next song is not begun"
            encoded += 1
            return super().targets(audio)

    monkeypatch.setattr(music_targets, "load_audio", decode)
    made, _ = TargetCache(tmp_path / "cache", Waiting()).all(stretches(tmp_path, [1] * 5), QUIET)
    assert len(made) == 5
    assert max(ahead) == 1


def test_a_song_that_can_not_be_decoded_costs_its_clips(tmp_path: Path) -> None:
    starts = stretches(tmp_path, [1, 1, 1])
    first, middle, last = starts
    middle.audio.write_bytes(b"no sound")
    made, skipped = TargetCache(tmp_path / "cache", Watched()).all(starts, QUIET)
    assert list(made) == [first, last]
    with pytest.raises(AudioError) as alone:
        load_audio(middle.audio, RATE)
    assert [(skip.path, skip.reason) for skip in skipped] == [(middle.audio, str(alone.value))]


def test_a_fault_of_the_backbone_leaves_no_thread(tmp_path: Path) -> None:
    class Broken(Watched):
        def targets(self, audio):
            raise torch.OutOfMemoryError("no room")

    with pytest.raises(torch.OutOfMemoryError):
        TargetCache(tmp_path / "cache", Broken()).all(stretches(tmp_path, [1, 1, 1]), QUIET)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("d2m-decoding")]
