from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from d2m_cli.errors import InputError, UsageError
from d2m_cli.evaluation.pairing import (
    SOUND_SUFFIXES,
    ClipFacts,
    dances_by_stem,
    facts_of,
    music_by_stem,
    pair_folders,
    pair_up,
    read_facts,
)
from d2m_cli.evaluation.stems import by_stem


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_stems_are_paths_below_the_folder(tmp_path: Path) -> None:
    folder = touch(tmp_path, "a.wav", "day one/b.FLAC", "day one/c.d.mp3", ".hidden.wav", ".cache/e.wav", "notes.txt")
    assert sorted(by_stem(folder, SOUND_SUFFIXES)) == ["a", "day one/b", "day one/c.d"]


def test_the_sound_goes_before_the_video_that_generate_wrote_beside_it(tmp_path: Path) -> None:
    folder = touch(
        tmp_path, "a.wav", "a.mp4", "a.json", "b.mp4", "d2m-ledger.jsonl", "sub/d2m-ledger.jsonl", "sub/c.wav"
    )
    assert {stem: path.name for stem, path in music_by_stem(folder).items()} == {
        "a": "a.wav",
        "b": "b.mp4",
        "sub/c": "c.wav",
    }


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a\.flac and .*a\.wav have the same name"):
        music_by_stem(touch(tmp_path, "a.wav", "a.flac"))


def test_a_name_is_the_same_however_its_umlaut_is_written(tmp_path: Path) -> None:
    name = "Süße Tänze"
    made = touch(tmp_path / "made", unicodedata.normalize("NFD", name) + ".wav")
    true = touch(tmp_path / "true", unicodedata.normalize("NFC", name) + ".mp4")
    assert [clip.name for clip in pair_up({"x": [made]}, music_by_stem(true)).clips] == [name]


def test_symbolic_links_are_followed_once(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", "b.wav")
    folder = touch(tmp_path / "here", "a.wav")
    (folder / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (folder / "around").symlink_to(folder, target_is_directory=True)
    (folder / "nowhere.wav").symlink_to(tmp_path / "gone.wav")
    assert sorted(by_stem(folder, SOUND_SUFFIXES)) == ["a", "linked/b", "nowhere"]


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        by_stem(tmp_path / "gone", SOUND_SUFFIXES)
    with pytest.raises(UsageError, match="not a folder"):
        by_stem(touch(tmp_path, "a.wav") / "a.wav", SOUND_SUFFIXES)


def test_what_is_missing_is_listed_and_what_was_not_asked_for_is_noted(tmp_path: Path) -> None:
    first, second = touch(tmp_path / "1", "a.wav", "b.wav", "c.wav"), touch(tmp_path / "2", "a.mp3", "b.wav", "d.wav")
    true = music_by_stem(touch(tmp_path / "0", "a.wav", "c.wav", "d.wav", "e.wav", "f.wav"))
    pairing = pair_up({"x": [first], "y": [second]}, true)
    assert [clip.name for clip in pairing.clips] == ["a"]
    assert {one.clip: one.lacks for one in pairing.missing} == {
        "b": ("no reference",),
        "c": ("no music by y",),
        "d": ("no music by x",),
    }
    assert pairing.notes[0] == "the reference has 2 more clips, for which no system has music: e, f"
    assert "the song of 1 clip is not known" in pairing.notes[1]
    assert pairing.systems["y"][0].files["a"].name == "a.mp3"


def test_nothing_in_common_and_nothing_at_all(tmp_path: Path) -> None:
    made, true = touch(tmp_path / "made", "a.wav"), touch(tmp_path / "true", "b.wav")
    with pytest.raises(InputError, match="a: no reference"):
        pair_up({"x": [made]}, music_by_stem(true))
    with pytest.raises(UsageError, match="empty: no sound file"):
        pair_up({"x": [touch(tmp_path / "empty", "a.txt")]}, music_by_stem(true))
    with pytest.raises(UsageError, match="empty: no sound file"):
        pair_folders({"x": [made]}, reference=tmp_path / "empty")
    with pytest.raises(UsageError, match=r"empty: no video and no \.pose\.npz"):
        pair_folders({"x": [made]}, dances=tmp_path / "empty")


def test_song_and_genre_are_read_off_names() -> None:
    assert facts_of("x/gLO_sBM_cAll_d13_mLO2_ch01") == ClipFacts("x/gLO_sBM_cAll_d13_mLO2_ch01", "mLO2", "LO", None)
    assert facts_of("gKR_sFM_c01_d28_mKR1_ch02_slice0") == ClipFacts(
        "gKR_sFM_c01_d28_mKR1_ch02_slice0", "mKR1", "KR", None
    )
    assert facts_of("house/take 3") == ClipFacts("house/take 3", "house/take 3", "HO", None)
    assert facts_of("take 3") == ClipFacts("take 3", "take 3", None, None)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_of_clips(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", '\ufeffclip,genre,song,prompt\na,house, one ,"drums, bass"\nÜ b,LO,,\n')
    assert read_facts(path) == {
        "a": ClipFacts("a", "one", "HO", "drums, bass"),
        "Ü b": ClipFacts("Ü b", "Ü b", "LO", None),
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name,song\na,1\n", "must name the column clip"),
        ("clip;song\na;1\n", "with commas"),
        ("", "not nothing"),
        ("clip,genre\na,polka\n", "line 2: .*polka"),
        ("clip,song\na,1\na,2\n", "line 3: the clip a stands there twice"),
        ("clip,song\n,1\n", "line 2: the clip has no name"),
        ("clip,prompt\na,drums, bass\n", "line 2: more values than columns"),
    ],
)
def test_tables_that_are_none(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        read_facts(write(tmp_path / "t.csv", text))


def test_a_table_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can't be read"):
        read_facts(tmp_path / "gone.csv")
    (tmp_path / "b.csv").write_bytes(b"clip\n\xff\xfe\n")
    with pytest.raises(UsageError, match="can't be read"):
        read_facts(tmp_path / "b.csv")


def test_a_table_of_more_clips_is_fine_and_one_of_others_is_not(tmp_path: Path) -> None:
    made, true = touch(tmp_path / "made", "a.wav", "b.wav"), touch(tmp_path / "true", "a.wav", "b.wav")
    table = write(tmp_path / "t.csv", "clip,song,prompt\na,s,rock\nz,s,rock\n")
    pairing = pair_folders({"x": [made]}, reference=true, table=table, prompt="jazz")
    assert [(clip.song, clip.prompt) for clip in pairing.clips] == [("s", "rock"), ("b", "jazz")]
    assert pairing.notes[0] == "the table of clips has 1 more clip, for which no system has music: z"
    write(table, "clip\na.wav\n")
    with pytest.raises(UsageError, match=r"no system has any of its clips, such as 'a\.wav'"):
        pair_folders({"x": [made]}, reference=true, table=table)


def test_pose_files_go_before_videos(tmp_path: Path) -> None:
    found = dances_by_stem(touch(tmp_path, "a.pose.npz", "a.mp4", "b.mov", "other.npz"))
    assert {stem: path.name for stem, path in found.items()} == {"a": "a.pose.npz", "b": "b.mov"}


def test_every_seed_of_a_system_has_a_clip_or_it_is_left_out(tmp_path: Path) -> None:
    first = touch(tmp_path / "seed1", "a.wav", "b.wav")
    second = touch(tmp_path / "seed2", "a.flac")
    other = touch(tmp_path / "other", "a.wav", "b.wav")
    true = music_by_stem(touch(tmp_path / "true", "a.wav", "b.wav"))
    pairing = pair_up({"x": [first, second], "y": [other]}, true)
    assert {one.clip: one.lacks for one in pairing.missing} == {"b": ("no music by x, seed2",)}
    assert [(seed.name, seed.files["a"].name) for seed in pairing.systems["x"]] == [
        ("seed1", "a.wav"),
        ("seed2", "a.flac"),
    ]
    assert [seed.name for seed in pairing.systems["y"]] == ["other"]
    with pytest.raises(UsageError, match="seed3: no sound file"):
        pair_up({"x": [first, touch(tmp_path / "seed3", "a.txt")]}, true)


def test_true_beats_of_a_clip_or_it_is_left_out(tmp_path: Path) -> None:
    made = touch(tmp_path / "made", "a.wav", "b.wav", "c.wav")
    for name, text in (("a", "1\n2\n"), ("b", "# none\n"), ("d", "no number\n")):
        write(touch(tmp_path / "beats", f"{name}.txt") / f"{name}.txt", text)
    pairing = pair_folders({"x": [made]}, beats=tmp_path / "beats")
    assert [clip.name for clip in pairing.clips] == ["a"]
    assert pairing.beats is not None
    assert pairing.beats["a"].times == (1.0, 2.0)
    assert pairing.reference is None
    lacks = {one.clip: one.lacks[0] for one in pairing.missing}
    assert lacks["b"].endswith("b.txt: holds no beats")
    assert lacks["c"] == "no true beats"
    # Nobody asked for d, which can't be read.
    assert pairing.notes[0] == "the source of true beats has 1 more clip, for which no system has music: d"
    touch(made, "d.wav")
    with pytest.raises(UsageError, match=r"d\.txt, line 1: 'no' is no number"):
        pair_folders({"x": [made]}, beats=tmp_path / "beats")


def test_dances_beside_the_true_music(tmp_path: Path) -> None:
    made, true = touch(tmp_path / "made", "a.wav", "b.wav"), touch(tmp_path / "true", "a.wav", "b.wav")
    pairing = pair_folders({"x": [made]}, reference=true, dances=touch(tmp_path / "dances", "a.mp4"))
    assert pairing.dances is not None
    assert pairing.reference is not None
    assert (pairing.dances["a"].name, pairing.reference["a"].name) == ("a.mp4", "a.wav")
    assert pairing.missing[0].lacks == ("no dance",)


def test_of_several_formats_of_one_result_the_wav_is_heard_and_kept_takes_are_not(tmp_path: Path) -> None:
    ends = (".wav", ".flac", ".m4a", ".mp4", ".mkv", ".take-1.wav", ".take-2.wav", ".json")
    folder = touch(tmp_path, *(f"a{end}" for end in ends), "b.mkv", "b.mp4", "b.json", "c.take-1.wav")
    found = {stem: path.name for stem, path in music_by_stem(folder).items()}
    assert found == {"a": "a.wav", "b": "b.mp4", "c.take-1": "c.take-1.wav"}
