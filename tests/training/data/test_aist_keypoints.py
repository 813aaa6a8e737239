"""AIST++: pickles that can do no harm, keypoints as poses, names, and the tree as it is downloaded."""

from __future__ import annotations

import base64
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from d2m_cli.errors import InputError, NoPersonError, UsageError
from d2m_cli.ground.aist import official_split, parse_name
from d2m_cli.ground.unpickle import Unread, read_pickled_arrays
from d2m_cli.media.audio import save_wav
from d2m_cli.training.data.aist_keypoints import KeypointsInfo, load_keypoints, probe_keypoints
from d2m_cli.training.data.dataset import DanceSet, ReadOptions, read_dances
from tests.conftest import MakeVideo
from tests.training.aist_tree import RATE, SEQUENCES, SPLITS, keypoints, make_tree, music, save_keypoints

NUMPY_1 = {
    2: (
        "gAJ9cQAoWAQAAAByb3dzcQFjbnVtcHkuY29yZS5tdWx0aWFycmF5Cl9yZWNvbnN0cnVjdApxAmNudW1weQpuZGFycmF5CnEDSwCFcQRj"
        "X2NvZGVjcwplbmNvZGUKcQVYAQAAAGJxBlgGAAAAbGF0aW4xcQeGcQhScQmHcQpScQsoSwFLAksDhnEMY251bXB5CmR0eXBlCnENWAIA"
        "AABmNHEOiYiHcQ9ScRAoSwNYAQAAADxxEU5OTkr/////Sv////9LAHRxEmKJaAVYGwAAAAAAAAAAAMKAPwAAAEAAAEBAAADCgEAAAMKg"
        "QHETaAeGcRRScRV0cRZiWAYAAAB0dXJuZWRxF2gCaANLAIVxGGgJh3EZUnEaKEsBSwJLAoZxG2gNWAIAAABmOHEciYiHcR1ScR4oSwNo"
        "EU5OTkr/////Sv////9LAHRxH2KIaAVYIQAAAAAAAAAAAAAAAAAAAAAAAEAAAAAAAADDsD8AAAAAAAAIQHEgaAeGcSFScSJ0cSNiWAMA"
        "AABvbmVxJGNudW1weS5jb3JlLm11bHRpYXJyYXkKc2NhbGFyCnElaB5oBVgJAAAAAAAAAAAAw6A/cSZoB4ZxJ1JxKIZxKVJxKlgFAAAA"
        "b3RoZXJxK11xLChLAUdABAAAAAAAAE6IWAEAAAB5cS2FcS5ldS4="
    ),
    4: (
        "gASVWwEAAAAAAAB9lCiMBHJvd3OUjBVudW1weS5jb3JlLm11bHRpYXJyYXmUjAxfcmVjb25zdHJ1Y3SUk5SMBW51bXB5lIwHbmRhcnJh"
        "eZSTlEsAhZRDAWKUh5RSlChLAUsCSwOGlGgFjAVkdHlwZZSTlIwCZjSUiYiHlFKUKEsDjAE8lE5OTkr/////Sv////9LAHSUYolDGAAA"
        "AAAAAIA/AAAAQAAAQEAAAIBAAACgQJR0lGKMBnR1cm5lZJRoBGgHSwCFlGgJh5RSlChLAUsCSwKGlGgOjAJmOJSJiIeUUpQoSwNoEk5O"
        "Tkr/////Sv////9LAHSUYohDIAAAAAAAAAAAAAAAAAAAAEAAAAAAAADwPwAAAAAAAAhAlHSUYowDb25llGgCjAZzY2FsYXKUk5RoHUMI"
        "AAAAAAAA4D+UhpRSlIwFb3RoZXKUXZQoSwFHQAQAAAAAAABOiIwBeZSFlGV1Lg=="
    ),
    5: (
        "gAWVWQEAAAAAAAB9lCiMBHJvd3OUjBJudW1weS5jb3JlLm51bWVyaWOUjAtfZnJvbWJ1ZmZlcpSTlCiWGAAAAAAAAAAAAAAAAACAPwAA"
        "AEAAAEBAAACAQAAAoECUjAVudW1weZSMBWR0eXBllJOUjAJmNJSJiIeUUpQoSwOMATyUTk5OSv////9K/////0sAdJRiSwJLA4aUjAFD"
        "lHSUUpSMBnR1cm5lZJRoBCiWIAAAAAAAAAAAAAAAAAAAAAAAAAAAAABAAAAAAAAA8D8AAAAAAAAIQJRoCIwCZjiUiYiHlFKUKEsDaAxO"
        "Tk5K/////0r/////SwB0lGJLAksChpSMAUaUdJRSlIwDb25llIwVbnVtcHkuY29yZS5tdWx0aWFycmF5lIwGc2NhbGFylJOUaBZDCAAA"
        "AAAAAOA/lIaUUpSMBW90aGVylF2UKEsBR0AEAAAAAAAAToiMAXmUhZRldS4="
    ),
}
"""{"rows", "turned" (Fortran order), "one" (a float64), "other"}, pickled by numpy 1.23.5 in protocols 2, 4 and 5."""


# Pickles.


@pytest.mark.parametrize("protocol", sorted(NUMPY_1))
def test_pickles_of_numpy_1(tmp_path: Path, protocol: int) -> None:
    (tmp_path / "a.pkl").write_bytes(base64.b64decode(NUMPY_1[protocol]))
    arrays = read_pickled_arrays(tmp_path / "a.pkl")
    assert sorted(arrays) == ["one", "rows", "turned"]
    np.testing.assert_array_equal(arrays["rows"], np.arange(6, dtype=np.float32).reshape(2, 3))
    assert arrays["rows"].dtype == np.float32
    np.testing.assert_array_equal(arrays["turned"], [[0.0, 1.0], [2.0, 3.0]])
    assert arrays["one"] == 0.5


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_pickles_of_the_numpy_in_use(tmp_path: Path, protocol: int) -> None:
    content = {
        "plain": np.arange(24, dtype=np.int64).reshape(2, 3, 4),
        "turned": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "swapped": np.arange(24.0, dtype=np.float32).reshape(2, 3, 4).transpose(1, 0, 2),
        "big_end": np.array([1, 258], ">i2"),
        "marks": np.array([True, False]),
        "none": np.zeros((0, 3)),
        "one": np.int32(7),
    }
    more = {"list": [1, 2.5, None, True, "x", ("y",)], "bytes": b"z", "dict": {"a": 1}}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content | more, protocol=protocol))
    arrays = read_pickled_arrays(tmp_path / "a.pkl")
    assert arrays.keys() == content.keys()
    for name, array in content.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype  # type: ignore[attr-defined]
    shapes = read_pickled_arrays(tmp_path / "a.pkl", largest=90)
    assert shapes["plain"] == Unread((2, 3, 4))
    assert shapes["swapped"] == Unread((3, 2, 4))
    np.testing.assert_array_equal(shapes["turned"], content["turned"])


def test_a_pickle_of_python_2(tmp_path: Path) -> None:
    """Python 2 wrote bytes as strings: opcodes by hand, after its pickle of {'a': np.array([1.0, 2.5])}."""
    raw = np.array([1.0, 2.5]).tobytes()
    content = (
        b"\x80\x02}U\x01acnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U" + bytes([len(raw)]) + raw + b"tbs."
    )
    (tmp_path / "a.pkl").write_bytes(content)
    np.testing.assert_array_equal(read_pickled_arrays(tmp_path / "a.pkl")["a"], [1.0, 2.5])


class Runs:
    """Pickles as a call of any function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_code_in_a_pickle_is_not_run(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "it ran"
    content = keypoints(60) | {"more": Runs(os.system, f"touch '{trace}'")}
    path = tmp_path / "k.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    with pytest.raises(InputError, match=r"posix\.system|nt\.system") as caught:
        load_keypoints(path, 0)
    assert str(path) in str(caught.value)
    assert not trace.exists()
    pickle.loads(path.read_bytes())
    assert trace.exists(), "the pickle does nothing, so the test shows nothing"


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ({"a": Runs(eval, "1")}, "builtins.eval"),
        ({"a": Runs(getattr, np.zeros(1), "tofile")}, "builtins.getattr"),
        ({"a": np.array([{}], dtype=object)}, "type 'O8'"),
        ({"a": np.array(["word"])}, "type 'U4'"),
        ({"a": np.zeros(2, [("x", "f4")])}, "type 'V4'"),
        ({"a": np.datetime64("2020-01-01")}, "type 'M8'"),
        ({"a": {1, 2}}, "builtins.set"),
        ([np.zeros(2)], "a list where a dict"),
        (np.zeros(2), "a dict"),
    ],
)
def test_anything_but_numbers_is_refused(tmp_path: Path, content: Any, word: str) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(InputError, match=word):
        read_pickled_arrays(tmp_path / "a.pkl")


@pytest.mark.parametrize(
    "content",
    [
        # A new state for a stand-in, an array whose bytes do not fit, one without content, a call of ndarray itself.
        b"cnumpy\ndtype\n}X\x09\x00\x00\x00_function" + b"cnumpy\nndarray\nsb.",
        b"(dS'a'\ncnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'f8'\nI0\nI1\ntRS'1234'\ntRs.",
        b"(dS'a'\ncnumpy.core.multiarray\n_reconstruct\n(tRs.",
        b"cnumpy\nndarray\n(I99999999999\ntR.",
        b"c_codecs\nencode\n(S'a'\nS'rot13'\ntR.",
        b"(dS'a'\ncnumpy.core.multiarray\nscalar\n(S'f8'\nS'12345678'\ntRs.",
    ],
)
def test_crafted_pickles(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.pkl"):
        read_pickled_arrays(tmp_path / "a.pkl")


@pytest.mark.parametrize("largest", [None, 1 << 16])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_pickle(tmp_path: Path, share: float, largest: int | None) -> None:
    path = save_keypoints(tmp_path / "k.pkl", keypoints(300))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match="no complete pickle"):
        read_pickled_arrays(path, largest)


def test_no_pickle_at_all(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(b"some text\n" * 50)
    with pytest.raises(InputError, match="no complete pickle"):
        read_pickled_arrays(tmp_path / "a.pkl")
    with pytest.raises(InputError, match="can't be read"):
        read_pickled_arrays(tmp_path / "gone.pkl")


@pytest.mark.parametrize("put", [b"r\xff\xff\xff\x7f", b"p2147483647\n", b"p-1\n"])
def test_a_part_of_a_number_that_would_fill_the_memory(tmp_path: Path, put: bytes) -> None:
    (tmp_path / "a.pkl").write_bytes(b"\x80\x02}" + put + b".")
    with pytest.raises(InputError, match=r"a\.pkl: is no complete pickle of arrays"):
        read_pickled_arrays(tmp_path / "a.pkl")


def test_a_length_that_is_a_lie(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b"x")
    with pytest.raises(InputError):
        read_pickled_arrays(tmp_path / "a.pkl")


# Keypoints.


def test_keypoints_become_poses(tmp_path: Path) -> None:
    content = keypoints(305)
    content["timestamps"] = content["timestamps"] + 5_000_000
    path = save_keypoints(tmp_path / "k.pkl", content)
    poses = load_keypoints(path, 3)
    (track,) = poses.tracks
    np.testing.assert_array_equal(track.keypoints, content["keypoints2d"][3])
    np.testing.assert_allclose(track.times, np.arange(305) / 60, atol=1e-6)
    assert poses.duration == pytest.approx(305 / 60, abs=1e-5)
    assert (track.frame_size, track.person, poses.camera) == ((1920, 1080), 0, None)
    assert probe_keypoints(path, 8) == KeypointsInfo(9, 305, poses.duration)


def test_the_keypoints_of_a_long_dance_are_stepped_over_too(tmp_path: Path) -> None:
    """Where also the time stamps are larger than what is read at first."""
    path = save_keypoints(tmp_path / "k.pkl", keypoints(9000, views=1))
    assert probe_keypoints(path).seconds == pytest.approx(150.0, abs=1e-4)


def test_joints_that_were_not_found(tmp_path: Path) -> None:
    content = keypoints(6)
    rows = content["keypoints2d"][0]
    rows[:, 9, 0] = [10, 20, np.nan, np.nan, 50, np.nan]
    rows[:, 10] = np.nan
    rows[0, 11, 2] = 1.5
    (track,) = load_keypoints(save_keypoints(tmp_path / "k.pkl", content), 0).tracks
    np.testing.assert_allclose(track.keypoints[:, 9, 0], [10, 20, 30, 40, 50, 50], atol=0.01)
    np.testing.assert_allclose(track.keypoints[:, 9, 2], [0.9, 0.9, 0, 0, 0.9, 0], atol=1e-6)
    np.testing.assert_array_equal(track.keypoints[:, 10], 0)
    assert track.keypoints[0, 11, 2] == 1.0


def test_a_camera_that_never_saw_the_dancer(tmp_path: Path) -> None:
    content = keypoints(60)
    content["keypoints2d"][4] = np.nan
    path = save_keypoints(tmp_path / "k.pkl", content)
    with pytest.raises(NoPersonError, match="camera c05"):
        load_keypoints(path, 4)
    load_keypoints(path, 3)


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("keypoints2d", None, "no 'keypoints2d'"),
        ("keypoints2d", np.zeros((9, 60, 133, 3), np.float32), r"shape \(9, 60, 133, 3\)"),
        ("keypoints2d", np.zeros((9, 0, 17, 3), np.float32), "shape"),
        ("keypoints2d", np.zeros((2, 60, 17, 3), np.float32), "holds 2 cameras, and camera c03 is not among them"),
        ("timestamps", None, "time stamps"),
        ("timestamps", np.arange(59) * 16667, "do not fit 60 frames"),
        ("timestamps", np.arange(60), "not rising microseconds"),
        ("timestamps", np.arange(60)[::-1] * 16667, "not rising microseconds"),
        ("timestamps", np.full(60, np.nan), "not rising microseconds"),
        ("timestamps", np.append(np.arange(59) * 16667, 20 * 86_400_000_000), r"not rising microseconds .*24 h"),
        ("timestamps", np.append(np.arange(59) * 16667, 700_000_000), r"not rising microseconds .*gap of 699 s"),
        ("timestamps", np.arange(60) * 16667j, "do not fit 60 frames"),
    ],
)
def test_keypoints_that_are_none(tmp_path: Path, name: str, value: np.ndarray | None, word: str) -> None:
    content = keypoints(60) | {name: value}
    path = save_keypoints(tmp_path / "k.pkl", content)
    for read in (load_keypoints, probe_keypoints):
        with pytest.raises(InputError, match=word) as caught:
            read(path, 2)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize(("value", "word"), [(1e300, "far outside"), (1j, "not numbers")])
def test_keypoints_that_can_not_be(tmp_path: Path, value: complex, word: str) -> None:
    content = keypoints(60) | {"keypoints2d": np.full((9, 60, 17, 3), value)}
    with pytest.raises(InputError, match=rf"k\.pkl: .*{word}"):
        load_keypoints(save_keypoints(tmp_path / "k.pkl", content), 0)


# Names and splits.


def test_names() -> None:
    name = parse_name("gLO_sBM_c01_d13_mLO2_ch02")
    assert name is not None
    assert (name.genre, name.situation, name.camera, name.dancers) == ("LO", "sBM", "c01", "d13")
    assert (name.song, name.choreography) == ("mLO2", "ch02")
    assert name.seen_by("cAll") == "gLO_sBM_cAll_d13_mLO2_ch02"
    group = parse_name("gMH_sGR_c10_d22_d23_d24_mMH0_ch01")
    assert group is not None
    assert group.dancers == "d22_d23_d24"
    for odd in ("", "mLO2", "gXX_sBM_c01_d13_mLO2_ch02", "gLO_sBM_c01_d13_mLO2_ch02_slice1", "gLO_sBM_c01_mLO2_ch02"):
        assert parse_name(odd) is None


@pytest.mark.parametrize(
    ("name", "split"),
    [
        # Lines of the official files, and names that are in none of them.
        ("gLH_sBM_cAll_d17_mLH4_ch02", "test"),
        ("gJS_sBM_cAll_d03_mJS3_ch02", "test"),
        ("gHO_sBM_cAll_d20_mHO5_ch01", "validation"),
        ("gWA_sFM_cAll_d25_mWA4_ch05", "train"),
        ("gKR_sFM_cAll_d28_mKR0_ch01", "train"),
        ("gBR_sBM_cAll_d06_mBR3_ch03", "train"),
        ("gBR_sBM_cAll_d04_mBR0_ch08", None),
        ("gBR_sFM_cAll_d04_mBR0_ch02", None),
        ("gKR_sBM_cAll_d30_mKR5_ch02", None),
    ],
)
def test_the_rule_of_the_official_splits(name: str, split: str | None) -> None:
    parsed = parse_name(name)
    assert parsed is not None
    assert official_split(parsed) == split


# The tree.


def told(dances: DanceSet) -> dict[str, str]:
    return {skip.path.stem: skip.cause for skip in dances.skipped}


def test_the_tree_as_downloaded(tmp_path: Path) -> None:
    root = make_tree(tmp_path)
    dances = read_dances(root)
    assert (dances.kind, dances.skipped, dances.notes) == ("AIST++", (), ())
    clips = {clip.name: clip for clip in dances.clips}
    assert sorted(clips) == sorted(name.replace("cAll", "c01") for name in SEQUENCES)
    clip = clips["gLO_sBM_c01_d13_mLO2_ch02"]
    assert (clip.dance, clip.view) == (root / "keypoints2d/gLO_sBM_cAll_d13_mLO2_ch02.pkl", 0)
    assert (clip.audio, clip.audio_start) == (root / "music/mLO2.wav", 0.0)
    assert (clip.song, clip.genre, clip.split) == ("mLO2", "LO", "test")
    assert clip.seconds == pytest.approx(577 / 60, abs=1e-4)
    assert [len(dances.of(split)) for split in ("train", "validation", "test")] == [3, 1, 2]


def test_windows_of_the_tree(tmp_path: Path) -> None:
    """5.083, 9.617 and 20.483 s to train on; 9.617 and 5.117 s to test with."""
    dances = read_dances(make_tree(tmp_path))
    assert len(dances.segments("train", 5.12)) == 1 + 1 + 4
    assert len(dances.segments("train", 5.12, tail=True)) == 1 + 2 + 4
    assert len(dances.segments("train", 5.12, 1.28)) == 1 + 4 + 13
    assert len(dances.segments("test", 5.12)) == 1 + 1
    assert len(dances.segments("test", 303 / 60)) == 1 + 1
    summary = dances.summary(5.12)
    assert [split.segments for split in summary.splits] == [6, 1, 2]
    assert [split.songs for split in summary.splits] == [3, 1, 2]
    assert summary.splits[0].genres == (("KR", 1), ("LO", 2))


def test_a_song_shorter_than_the_dance(tmp_path: Path) -> None:
    dances = read_dances(make_tree(tmp_path, music_seconds=7.0))
    assert {clip.seconds for clip in dances.clips if clip.dance.stem != "gLO_sBM_cAll_d13_mLO0_ch03"} >= {7.0}
    assert max(clip.seconds for clip in dances.clips) == 7.0


def test_cameras(tmp_path: Path) -> None:
    root = make_tree(tmp_path)
    every = read_dances(root, ReadOptions(views=tuple(range(9))))
    assert len(every.clips) == 9 * len(SEQUENCES)
    one = read_dances(root, ReadOptions(views=(4,)))
    assert {(clip.name[8:11], clip.view) for clip in one.clips} == {("c05", 4)}


def test_a_camera_that_is_not_in_the_file(tmp_path: Path) -> None:
    root = make_tree(tmp_path)
    name = "gLO_sBM_cAll_d13_mLO0_ch03"
    save_keypoints(root / f"keypoints2d/{name}.pkl", keypoints(305, views=3))
    dances = read_dances(root, ReadOptions(views=(4,)))
    assert told(dances) == {name: "holds 3 cameras, and camera c05 is not among them"}


def test_without_split_files_their_rule_is_applied_and_told(tmp_path: Path) -> None:
    listed = read_dances(make_tree(tmp_path / "one"))
    ruled = read_dances(make_tree(tmp_path / "two", splits=None, ignored=None))
    assert [(c.name, c.split) for c in ruled.clips] == [(c.name, c.split) for c in listed.clips]
    assert len(ruled.notes) == 2
    assert "no folder splits" in ruled.notes[0]
    assert "no ignore_list.txt" in ruled.notes[1]


def test_what_is_in_no_split_or_ignored_is_named(tmp_path: Path) -> None:
    ignored = "gLO_sBM_cAll_d14_mLO1_ch05"
    extra = {"gBR_sBM_cAll_d04_mBR0_ch08": 400, "strange": 60}
    root = make_tree(tmp_path, SEQUENCES | extra, ignored=[ignored])
    dances = read_dances(root)
    assert told(dances) == {
        "strange": "its name is not one of AIST++'s",
        "gBR_sBM_cAll_d04_mBR0_ch08": "is in none of the official splits by music",
        ignored: "ignore_list.txt names it",
    }
    kept = read_dances(root, ReadOptions(keep_ignored=True))
    assert ignored not in told(kept)
    assert len(kept.clips) == len(dances.clips) + 1


def test_what_is_listed_and_not_there_is_named(tmp_path: Path) -> None:
    some = {name: frames for name, frames in SEQUENCES.items() if name != "gKR_sFM_cAll_d28_mKR0_ch01"}
    dances = read_dances(make_tree(tmp_path, some))
    assert told(dances) == {
        "gKR_sFM_cAll_d28_mKR0_ch01": "there are neither keypoints nor a video of camera c01",
    }  # fmt: skip


def test_the_music_of_a_clip_goes_before_that_of_the_song(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "tree")
    apart = tmp_path / "apart"
    apart.mkdir()
    save_wav(apart / "gLO_sBM_c01_d13_mLO0_ch03.wav", music(9.0), RATE)
    save_wav(root / "gLO_sBM_cAll_d13_mLO2_ch02.wav", music(9.0), RATE)
    save_wav(apart / "mLO1.wav", music(9.0), RATE)
    clips = {clip.song + clip.split: clip for clip in read_dances(root, ReadOptions(music=apart)).clips}
    assert clips["mLO0train"].audio == apart / "gLO_sBM_c01_d13_mLO0_ch03.wav"
    assert clips["mLO2test"].audio == root / "gLO_sBM_cAll_d13_mLO2_ch02.wav"
    assert clips["mLO2validation"].audio == root / "music/mLO2.wav"
    assert clips["mLO1train"].audio == apart / "mLO1.wav"


def test_videos_stand_in_for_music_and_for_keypoints(tmp_path: Path, make_video: MakeVideo) -> None:
    root = make_tree(tmp_path / "tree", music_seconds=None)
    videos = tmp_path / "videos"
    videos.mkdir()
    sound = music(6.0, rate=8000)[0]
    for name in ("gLO_sBM_c01_d13_mLO0_ch03", "gLO_sBM_c02_d13_mLO2_ch02", "gLO_sBM_c01_d15_mLO4_ch06"):
        make_video(videos / f"{name}.mp4", seconds=6.0, fps=10, sound=sound, sound_rate=8000)
    with (root / "splits/crossmodal_train.txt").open("a") as file:
        file.write("gLO_sBM_cAll_d15_mLO4_ch06\n")
    dances = read_dances(root, ReadOptions(videos=videos))
    clips = {clip.name: clip for clip in dances.clips}
    own = clips["gLO_sBM_c01_d13_mLO0_ch03"]
    assert (own.dance.suffix, own.view, own.audio) == (".pkl", 0, videos / "gLO_sBM_c01_d13_mLO0_ch03.mp4")
    # Another camera's sound is the same music.
    assert clips["gLO_sBM_c01_d13_mLO2_ch02"].audio == videos / "gLO_sBM_c02_d13_mLO2_ch02.mp4"
    filmed = clips["gLO_sBM_c01_d15_mLO4_ch06"]
    assert (filmed.dance, filmed.view) == (filmed.audio, None)
    assert filmed.seconds == pytest.approx(6.0, abs=0.05)
    assert set(told(dances).values()) == {"there is no music to it"}
    assert len(dances.skipped) == 4


def test_a_damaged_file_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    root = make_tree(tmp_path)
    name = "gLO_sBM_cAll_d13_mLO0_ch03"
    path = root / f"keypoints2d/{name}.pkl"
    path.write_bytes(path.read_bytes()[:5000])
    dances = read_dances(root)
    assert list(told(dances)) == [name]
    assert "no complete pickle" in told(dances)[name]
    assert len(dances.clips) == len(SEQUENCES) - 1


def test_too_short_a_dance(tmp_path: Path) -> None:
    name = "gLO_sBM_cAll_d13_mLO0_ch03"
    dances = read_dances(make_tree(tmp_path, SEQUENCES | {name: 303}))
    assert told(dances) == {name: "the dance is shorter than a window of 5.12 s"}
    assert told(read_dances(tmp_path, ReadOptions(window_seconds=303 / 60))) == {}


def test_split_files_that_are_wrong(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "a", splits={k: v for k, v in SPLITS.items() if "val" not in k})
    with pytest.raises(UsageError, match=r"crossmodal_val\.txt is missing"):
        read_dances(root)
    twice = {**SPLITS, "crossmodal_val.txt": SPLITS["crossmodal_test.txt"]}
    with pytest.raises(UsageError, match=r"gLO_sBM_cAll_d13_mLO2_ch02 is in crossmodal_val\.txt and in .*test\.txt"):
        read_dances(make_tree(tmp_path / "b", splits=twice))
    root = make_tree(tmp_path / "c")
    (root / "splits/crossmodal_val.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="can't be read"):
        read_dances(root)


def test_an_empty_split_and_an_odd_line(tmp_path: Path) -> None:
    splits = {**SPLITS, "crossmodal_val.txt": ("no name",)}
    root = make_tree(tmp_path, splits=splits)
    dances = read_dances(root)
    assert dances.of("validation") == ()
    assert told(dances)["no name"] == "a split file names it, and it is no name of AIST++'s"
    with pytest.raises(UsageError, match="the validation split is empty"):
        read_dances(root, ReadOptions(needs=("train", "validation")))


def test_two_trees_in_one_folder(tmp_path: Path) -> None:
    make_tree(tmp_path / "one", {})
    make_tree(tmp_path / "two", {})
    with pytest.raises(UsageError, match="several"):
        read_dances(tmp_path)
