"""Results of d2m go with the video that their records name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from d2m_cli.errors import InputError, UsageError
from d2m_cli.evaluation.models import Models, dance_beats
from d2m_cli.evaluation.pairing import Pairing, pair_folders
from d2m_cli.evaluation.systems import score_systems
from d2m_cli.ground.progress import Progress
from d2m_cli.media.audio import save_wav
from d2m_cli.media.passage import Passage
from d2m_cli.pose.io import load_poses, save_poses
from d2m_cli.pose.track import PoseSource
from tests.evaluation.sounds import clicks, metronome
from tests.training.made import bobbing

RATE = 16000


def result(path: Path, video: str, seed: int = 0, *, content: str = "1", **passage: float) -> Path:
    """A result without sound, and its record."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    record: dict[str, Any] = {
        "format": "d2m-music",
        "video": {"file": video, "content": content},
        "settings": {"seed": seed, **passage},
    }
    path.with_suffix(".json").write_text(json.dumps(record), encoding="utf-8")
    return path


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def seeds(pairing: Pairing, system: str = "x") -> dict[str, dict[str, str]]:
    return {seed.name: {clip: path.stem for clip, path in seed.files.items()} for seed in pairing.systems[system]}


def test_pieces_of_one_video_are_seeds_whatever_they_are_called(tmp_path: Path) -> None:
    for video in ("day/lock_112", "wave_90"):
        for number, seed in ((1, 12), (2, 3), (3, 7)):
            name = Path(video).name
            result(tmp_path / "out" / f"{video}_LO_{number}.wav", f"{name}.mp4", seed, content=name)
    pairing = pair_folders({"x": [tmp_path / "out"]}, dances=touch(tmp_path / "v", "day/lock_112.mp4", "wave_90.mov"))
    assert [clip.name for clip in pairing.clips] == ["day/lock_112", "wave_90"]
    assert seeds(pairing) == {
        "seed 3": {"day/lock_112": "lock_112_LO_2", "wave_90": "wave_90_LO_2"},
        "seed 7": {"day/lock_112": "lock_112_LO_3", "wave_90": "wave_90_LO_3"},
        "seed 12": {"day/lock_112": "lock_112_LO_1", "wave_90": "wave_90_LO_1"},
    }
    assert pairing.missing == ()


def test_a_track_of_ones_own_goes_with_its_video_too(tmp_path: Path) -> None:
    made = result(tmp_path / "out" / "with_song.wav", "a.mp4")
    record = json.loads(made.with_suffix(".json").read_text())
    record["settings"] = {"music": {"file": "song.mp3", "content": "2"}}
    made.with_suffix(".json").write_text(json.dumps(record))
    pairing = pair_folders({"x": [tmp_path / "out"]}, reference=touch(tmp_path / "true", "a.wav"))
    assert seeds(pairing) == {"out": {"a": "with_song"}}


def test_a_name_that_is_known_goes_before_the_record(tmp_path: Path) -> None:
    result(tmp_path / "out" / "a_1.wav", "a.mp4")
    result(tmp_path / "out" / "renamed.wav", "a.mp4")
    pairing = pair_folders({"x": [tmp_path / "out"]}, reference=touch(tmp_path / "true", "a.wav", "renamed.wav"))
    assert seeds(pairing) == {"out": {"a": "a_1", "renamed": "renamed"}}


def test_videos_of_one_name_are_no_seeds_of_each_other(tmp_path: Path) -> None:
    result(tmp_path / "out" / "a.wav", "a.mp4", content="1")
    result(tmp_path / "out" / "a.avi.wav", "a.avi", content="2")
    pairing = pair_folders({"x": [tmp_path / "out"]}, dances=touch(tmp_path / "v", "a.mp4"))
    assert seeds(pairing) == {"out": {"a": "a"}}
    assert [(one.clip, one.lacks) for one in pairing.missing] == [("a.avi", ("no dance",))]


def test_as_many_pieces_are_kept_as_can_be(tmp_path: Path) -> None:
    for name, number in (("a", 3), ("b", 2), ("c", 2), ("d", 1)):
        for seed in range(number):
            result(tmp_path / "out" / f"{name}_{seed + 1}.wav", f"{name}.mp4", seed, content=name)
    pairing = pair_folders({"x": [tmp_path / "out"]}, dances=touch(tmp_path / "v", *(f"{one}.mp4" for one in "abcd")))
    # Two of three clips are six pieces, one of four are four, three of one are three.
    assert [clip.name for clip in pairing.clips] == ["a", "b", "c"]
    assert list(seeds(pairing)) == ["seed 0", "seed 1"]
    assert [(one.clip, one.lacks) for one in pairing.missing] == [("d", ("no music by x, seed 1",))]
    assert pairing.notes[0] == "a: 1 more piece by x left out: others have 2 pieces"


def test_pieces_without_a_seed_in_common_are_counted(tmp_path: Path) -> None:
    for number, seed in enumerate((5, 5, 8), 1):
        result(tmp_path / "one" / f"a_{number}.wav", "a.mp4", seed)
        result(tmp_path / "two" / f"a_{number}.wav", "a.mp4", seed)
    dances = touch(tmp_path / "v", "a.mp4")
    assert list(seeds(pair_folders({"x": [tmp_path / "one"]}, dances=dances))) == ["piece 1", "piece 2", "piece 3"]
    both = pair_folders({"x": [tmp_path / "one", tmp_path / "two"]}, dances=dances)
    assert list(seeds(both)) == [f"{folder}, piece {number}" for folder in ("one", "two") for number in (1, 2, 3)]


def test_facts_are_those_of_the_video_and_its_passages_are_of_one_song(tmp_path: Path) -> None:
    result(tmp_path / "out" / "a_1.wav", "a.mp4", start=1.0, duration=2.5)
    result(tmp_path / "out" / "a_2.wav", "a.mp4", start=4.0)
    result(tmp_path / "out" / "a_3.wav", "a.mp4")
    dances = touch(tmp_path / "v", "a.mp4")
    pairing = pair_folders({"x": [tmp_path / "out"]}, dances=dances)
    assert [(clip.name, clip.song, clip.passage) for clip in pairing.clips] == [
        ("a", "a", Passage()),
        ("a, the passage from 1 s to 3.5 s", "a", Passage(1.0, 2.5)),
        ("a, the passage from 4 s on", "a", Passage(4.0)),
    ]
    assert pairing.dances is not None
    assert {path.name for path in pairing.dances.values()} == {"a.mp4"}
    table = tmp_path / "clips.csv"
    table.write_text("clip,song,genre\na,tune,house\n", encoding="utf-8")
    told = pair_folders({"x": [tmp_path / "out"]}, dances=dances, table=table)
    assert {(clip.song, clip.genre) for clip in told.clips} == {("tune", "HO")}


@pytest.mark.parametrize("text", ["no JSON", "[]", '{"format": "d2m-music"}', '{"format": "other", "video": {}}'])
def test_what_is_no_record_says_nothing(tmp_path: Path, text: str) -> None:
    result(tmp_path / "out" / "a.wav", "b.mp4").with_suffix(".json").write_text(text, encoding="utf-8")
    assert seeds(pair_folders({"x": [tmp_path / "out"]}, dances=touch(tmp_path / "v", "a.mp4", "b.mp4"))) == {
        "out": {"a": "a"}
    }


def test_a_folder_whose_table_names_none_of_its_videos_is_refused(tmp_path: Path) -> None:
    result(tmp_path / "out" / "a_1.wav", "a.mp4")
    table = tmp_path / "clips.csv"
    table.write_text("clip,song\na_1,tune\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"such as 'a_1'; .* such as 'a'"):
        pair_folders({"x": [tmp_path / "out"]}, dances=touch(tmp_path / "v", "a.mp4"), table=table)


SECONDS = 9.0
START, DURATION = 2.2, 5.0


@pytest.fixture(scope="module")
def passages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """True music at 120 bpm, first beat 0.45 s; for it from 2.2 s on a piece with its beats, and one between them."""
    made = tmp_path_factory.mktemp("passages")
    beats = metronome(120, SECONDS, 0.45)
    for name, own in (("right", beats - START), ("wrong", beats - START + 0.25)):
        path = result(made / name / "a_3.wav", "a.mp4", start=START, duration=DURATION)
        own = own[(own >= 0) & (own < DURATION)]
        save_wav(path, clicks(own, DURATION, RATE).astype(np.float32), RATE)
    (made / "true").mkdir()
    save_wav(made / "true" / "a.wav", clicks(beats, SECONDS, RATE).astype(np.float32), RATE)
    (made / "beats").mkdir()
    (made / "beats" / "a.txt").write_text("".join(f"{beat:.3f}\n" for beat in beats), encoding="utf-8")
    (made / "tempo").mkdir()
    (made / "tempo" / "a.json").write_text('{"bpm": 120, "first_beat": 0.45}', encoding="utf-8")
    return made


@pytest.mark.parametrize("given", [{"reference": "true"}, {"beats": "beats"}, {"beats": "tempo"}])
def test_a_passage_is_scored_by_its_part_of_the_truth(passages: Path, given: dict[str, str]) -> None:
    systems = {name: [passages / name] for name in ("right", "wrong")}
    reference, beats = (passages / given[name] if name in given else None for name in ("reference", "beats"))
    pairing = pair_folders(systems, reference=reference, beats=beats)
    found = score_systems(pairing, Models(), Progress(quiet=True), resamples=100, draws=20)
    f1 = [
        next(one.f1.value for one in system.rhythm.system.protocols if one.protocol == "beats70")
        for system in found.systems
    ]
    # Half a beat beside each is further than 70 ms from all.
    assert f1 == [pytest.approx(1.0), pytest.approx(0.0)]


def test_a_passage_behind_the_end_is_left_out(passages: Path, tmp_path: Path) -> None:
    path = result(tmp_path / "out" / "a_1.wav", "a.mp4", start=20.0)
    save_wav(path, clicks(metronome(120, 3.0), 3.0, RATE).astype(np.float32), RATE)
    pairing = pair_folders({"x": [tmp_path / "out"]}, reference=passages / "true")
    with pytest.raises(InputError, match=r"a\.wav: ends before the passage from 20 s on begins"):
        score_systems(pairing, Models(), Progress(quiet=True), resamples=100, draws=20)


def test_beats_of_a_passage_of_a_dance(tmp_path: Path) -> None:
    poses, path = bobbing(120, 0.2, 8.0), tmp_path / "a.pose.npz"
    save_poses(path, poses)
    listen = dance_beats(load_poses)
    whole, part = listen(path), listen(path, Passage(2.0, 3.0))
    assert part.seconds == 3.0
    assert part.bpm == whole.bpm == pytest.approx(120, abs=2)
    assert part.beats == pytest.approx([beat - 2.0 for beat in whole.beats if 2.0 <= beat < 5.0])
    assert len(part.beats) == 6
    with pytest.raises(InputError, match=r"ends at 8\.00 s, before the passage from 9 s on begins"):
        listen(path, Passage(9.0))
    # Poses of that very passage count from its start already.
    source = PoseSource("made up", "none", (), "CPU", "none", (("start", "2.0"),), "0")
    track = poses.tracks[0]
    save_poses(path, type(poses)((track,), None, 8.0, source))
    again = dance_beats(load_poses)
    assert again(path, Passage(2.0, 3.0)).beats == pytest.approx([beat for beat in whole.beats if beat < 3.0])
    with pytest.raises(InputError, match="its poses begin at 2 s"):
        again(path, Passage(1.0, 3.0))
