"""Damage by the hundred, seeded: a file is read as values that can be true or refused by its name, nothing else."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from d2m_cli.errors import InputError, PoseFileError, UsageError
from d2m_cli.media.audio import save_wav
from d2m_cli.media.timeline import LONGEST
from d2m_cli.pose.io import load_poses, save_poses
from d2m_cli.rhythm.extract import extract_rhythm
from d2m_cli.rhythm.io import load_rhythm, save_rhythm
from d2m_cli.rhythm.sequence import Rhythm, RhythmGrid
from d2m_cli.training.data.aist_keypoints import load_keypoints, probe_keypoints
from d2m_cli.training.data.dataset import read_dances
from tests.training.aist_tree import RATE, keypoints, music, save_keypoints
from tests.training.made import bobbing

COUNTS = [pytest.param(150, id="few"), pytest.param(3000, id="many", marks=pytest.mark.slow)]
TOKENS = (
    b"nan", b"NaN", b"1e999", b"-1", b"0", b"[", b"]", b"{", b'"', b",", b"\0", b"\xff", b"\n", b"9" * 30, b"null",
)  # fmt: skip
T = TypeVar("T")


def read(call: Callable[[Path], T], path: Path, error: type[Exception]) -> T | None:
    """What a reader makes of a file; None where it refuses it, which has to be by its name."""
    try:
        return call(path)
    except error as refusal:
        told = str(refusal)
    assert str(path) in told
    return None


def damaged(whole: bytes, rng: np.random.Generator) -> bytes:
    """Some bits or bytes changed, a piece cut out, doubled, or the end lost."""
    broken = bytearray(whole)
    kind = rng.integers(6)
    at = int(rng.integers(len(whole)))
    if kind == 0:
        for place in rng.integers(0, len(whole), rng.integers(1, 4)):
            broken[place] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        for place in rng.integers(0, len(whole), rng.integers(1, 9)):
            broken[place] = rng.integers(256)
    elif kind == 2:
        del broken[at:]
    elif kind == 3:
        del broken[at : at + int(rng.integers(1, 40))]
    elif kind == 4:
        broken[at:at] = broken[at : at + int(rng.integers(1, 40))]
    else:
        token = TOKENS[rng.integers(len(TOKENS))]
        broken[at : at + int(rng.integers(2)) * len(token)] = token
    return bytes(broken)


def within(whole: bytes, rng: np.random.Generator) -> bytes:
    """Damage inside one array of a .npz file, whose checksum is made to fit."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        chosen = rng.integers(len(source.namelist()))
        for number, name in enumerate(source.namelist()):
            content = source.read(name)
            target.writestr(name, damaged(content, rng) if number == chosen else content)
    return out.getvalue()


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("how", [damaged, within])
def test_pose_files(tmp_path: Path, count: int, how: Callable[[bytes, np.random.Generator], bytes]) -> None:
    path = tmp_path / "x.pose.npz"
    save_poses(path, bobbing(100, 0.2, 2.0))
    whole, refused = path.read_bytes(), 0
    for seed in range(count):
        path.write_bytes(how(whole, np.random.default_rng(seed)))
        poses = read(load_poses, path, PoseFileError)
        if poses is None:
            refused += 1
            continue
        assert all(np.isfinite(track.keypoints).all() and np.isfinite(track.times).all() for track in poses.tracks)
        assert 0.0 <= poses.duration <= LONGEST
        rhythm = extract_rhythm(poses)
        assert rhythm.window(0.0, RhythmGrid()).max() <= 1.0
    assert refused > count / 4


@pytest.mark.parametrize("count", COUNTS)
def test_rhythm_files(tmp_path: Path, count: int) -> None:
    path = tmp_path / "x.rhythm.json"
    save_rhythm(path, extract_rhythm(bobbing(100, 0.2, 2.0)))
    whole, refused = path.read_bytes(), 0
    for seed in range(count):
        path.write_bytes(damaged(whole, np.random.default_rng(seed)))
        rhythm = read(load_rhythm, path, InputError)
        if rhythm is None:
            refused += 1
            continue
        assert 0.0 <= rhythm.duration <= LONGEST
        assert np.isfinite(rhythm.envelope).all()
        assert np.isfinite(rhythm.peaks).all()
        assert rhythm.window(0.0, RhythmGrid()).max() <= 1.0
    assert refused > count / 4


@pytest.mark.parametrize("count", COUNTS)
def test_keypoint_files(tmp_path: Path, count: int) -> None:
    path = tmp_path / "x.pkl"
    save_keypoints(path, keypoints(20))
    whole, refused = path.read_bytes(), 0
    for seed in range(count):
        path.write_bytes(damaged(whole, np.random.default_rng(seed)))
        info = read(probe_keypoints, path, InputError)
        poses = read(lambda path: load_keypoints(path, 0), path, InputError)
        if info is None or poses is None:
            refused += 1
            continue
        assert info.seconds == pytest.approx(poses.duration)
        assert 0.0 <= poses.duration <= LONGEST
    assert refused > count / 4


@pytest.mark.parametrize("count", COUNTS)
def test_tables(tmp_path: Path, count: int) -> None:
    rhythm = Rhythm(np.zeros(401, np.float32), 50.0, np.array([1.0]), 8.0, None, "stable")
    lines = ["video,audio,genre,start,song,split"]
    for number in range(6):
        save_rhythm(tmp_path / f"d{number}.rhythm.json", rhythm)
        save_wav(tmp_path / f"s{number}.wav", music(10.0), RATE)
        lines.append(f'd{number}.rhythm.json,"s{number}.wav",LO,0.5,song {number},train')
    path = tmp_path / "t.csv"
    whole = "\n".join([*lines, ""]).encode()
    full = 0
    for seed in range(count):
        path.write_bytes(damaged(whole, np.random.default_rng(seed)))
        dances = read(read_dances, path, UsageError)
        if dances is None:
            continue
        full += len(dances.clips) == 6
        for skip in dances.skipped:
            assert re.match(rf"{re.escape(str(path))}: line \d+: .", skip.reason)
        # Most damage is to one line, and costs no other.
        assert len(dances.clips) + len(dances.skipped) >= 1
    assert 0 < full < count
