"""Damaged files: each is read or failed with its reason; none ends, hangs or swells the process or hides a good one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import pytest

from tests.media.damage import DamagedFile, damaged_files
from tests.media.made_video import MadeVideo
from tests.media.watched import watch

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("D2M_SHARED_DATA", ROOT.parent / "shared" / "data")) / "damaged"
MEMORY = 2 * 1000**3
SILENCE = 35.0
"""Seconds without a new picture, after which a file is to be failed (30), and what it takes to end its process."""
GOOD = ("mp4-x264", "mkv-bframes-x264", "ts-x264", "gif-gif")


@pytest.mark.slow
def test_the_same_seed_makes_the_same_files(tmp_path: Path) -> None:
    first, again, other = (
        {file.path.name: file.path.read_bytes() for file in damaged_files(tmp_path / name, 48, seed)}
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )
    assert len(first) == 48
    assert first == again
    # Two are empty, and some are good files with another suffix.
    assert sum(content in other.values() for content in first.values()) < 15


def read_all(damaged: Sequence[DamagedFile], good: Sequence[MadeVideo]) -> None:
    """Read damaged files with good ones between them; assert that it goes as it should."""
    every = max(1, len(damaged) // max(1, len(good)))
    paths = [str(file.path) for file in damaged]
    for number, video in enumerate(good):
        paths.insert(number * (every + 1), str(video.path))
    seen = watch(["-m", "tests.media.read_all", *paths], timeout=60 + 10 * len(paths))
    said = [json.loads(line) for line in seen.lines]
    at_work = next((words["begun"] for words in reversed(said) if "begun" in words), None)
    assert seen.code == 0, f"ended with {seen.code} at {at_work}:\n{seen.errors[-3000:]}"
    ends = {words["read"]: words for words in said if "read" in words}
    assert list(ends) == paths
    for video in good:
        end = ends[str(video.path)]
        assert end["error"] is None
        assert end["pictures"] == len(video.numbers)
    for file in damaged:
        end = ends[str(file.path)]
        if file.hopeless:
            assert end["error"], f"{file.path.name} was read, {end['pictures']} pictures"
        if end["error"]:
            assert end["error"].startswith(f"{file.path}: "), end["error"]
            assert "Traceback" not in end["error"]
        else:
            assert end["pictures"] > 0, file.path.name
    assert seen.longest_silence < SILENCE
    assert seen.peak < MEMORY


def test_sixty_damaged_files(made: Callable[[str], MadeVideo], tmp_path: Path) -> None:
    read_all(damaged_files(tmp_path, 60, seed=0), [made(kind) for kind in GOOD])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
def test_hundreds_of_damaged_files(made: Callable[[str], MadeVideo], tmp_path: Path, seed: int) -> None:
    read_all(damaged_files(tmp_path, 120, seed), [made(kind) for kind in GOOD])


def short_dance(path: Path) -> Path:
    """The first 20 pictures of an example with a dancer, copied."""
    with av.open(str(ROOT / "examples" / "videos" / "lock_112.mp4")) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if number < 20 and packet.size:
                packet.stream = stream
                target.mux(packet)
    return path


def run_batch(folder: Path, out: Path, count: int, seed: int, step: int = 1) -> None:
    """Run `d2m pose` over every `step`-th damaged file and good ones; assert what it says of each, and how it ends."""
    folder.mkdir()
    good = [short_dance(folder / "0000 good.mp4"), short_dance(folder / "zzzz good.mov")]
    files = damaged_files(folder, count, seed)[::step]
    paths = sorted([*good, *(file.path for file in files)])
    names = [str(path) for path in paths]
    seen = watch(["-m", "d2m_cli", "pose", *names, "--out", str(out), "--threads", "1", "--json"], 120 + 20 * count)
    assert seen.code == 1, seen.errors[-3000:]
    for wrong in ("Traceback", "bug in d2m"):
        assert wrong not in seen.errors + "".join(seen.lines)
    outcomes = {one["input"]: one for one in json.loads("".join(seen.lines))["items"]}
    assert set(outcomes) == set(names)
    for path in good:
        assert outcomes[str(path)]["state"] == "done", outcomes[str(path)]
    for file in files:
        outcome = outcomes[str(file.path)]
        assert outcome["state"] in (("failed",) if file.hopeless else ("done", "failed")), outcome
        if outcome["state"] == "failed":
            assert str(file.path) in outcome["error"], outcome
        else:
            assert all(Path(made_file).is_file() for made_file in outcome["artefacts"].values())
    assert seen.longest_silence < 2 * SILENCE
    assert seen.peak < MEMORY


@pytest.mark.slow
def test_a_batch_goes_on_past_damaged_files(tmp_path: Path) -> None:
    run_batch(tmp_path / "in", tmp_path / "out", 24, seed=7, step=2)


@pytest.mark.slow
@pytest.mark.minutes
def test_a_large_batch_goes_on_past_damaged_files(tmp_path: Path) -> None:
    run_batch(tmp_path / "in", tmp_path / "out", 120, seed=8)


@pytest.mark.skipif(not SHARED.is_dir(), reason="no damaged files in the shared data folder")
def test_known_damaged_files(tmp_path: Path) -> None:
    read = {"good_a.mp4", "good_c.mp4", "valid_vp9.webm", "offset1h.mkv"}
    failed = {"header_sigabrt_minimal.mp4", "ffc_loop.mp4", "jump20d.mkv"}
    paths = [str(SHARED / name) for name in sorted(read | failed)]
    seen = watch(["-m", "tests.media.read_all", *paths], timeout=120)
    assert seen.code == 0, seen.errors[-3000:]
    ends = {Path(words["read"]).name: words["error"] for words in map(json.loads, seen.lines) if "read" in words}
    assert {name for name, error in ends.items() if error is None} == read
    assert {name for name, error in ends.items() if error} == failed
    assert seen.longest_silence < SILENCE
    assert seen.peak < MEMORY
