from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from d2m_cli.app import app
from d2m_cli.pose.track import Poses, PoseSource
from tests.rhythm.dances import film, groove


@pytest.fixture
def invoke() -> Callable[..., Result]:
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def estimated(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the videos whose poses were estimated, by a stand-in for the networks."""
    import d2m_cli.pose.estimator

    names: list[str] = []

    class Estimator:
        description = "stand-in"

        def __init__(self, _options: object, **_: object) -> None: ...

        def estimate(self, video: Path, *_: object) -> Poses:
            names.append(video.name)
            source = PoseSource("net", "finder", (), "CPU", "pyav", (), "1")
            return replace(film(groove(seconds=9.0, bpm=116.0), 30.0), source=source)

    monkeypatch.setattr(d2m_cli.pose.estimator, "PoseEstimator", Estimator)
    return names


def test_poses_are_estimated_once(invoke, estimated: list[str], make_video, tmp_path: Path) -> None:
    video, cache = make_video(tmp_path / "a.mp4", seconds=1), tmp_path / "cache"

    def rhythm(out: str, *words: object) -> dict[str, Any]:
        result = invoke("rhythm", video, "--out", tmp_path / out, "--json", *words)
        assert result.exit_code == 0, result.output
        return json.loads((tmp_path / out / "a.rhythm.json").read_text())

    first = rhythm("1", "--cache", cache)
    assert rhythm("2", "--cache", cache) == first
    assert rhythm("3", "--cache", cache, "--mode", "paper")["mode"] == "paper"
    assert estimated == ["a.mp4"]
    assert rhythm("4", "--no-cache") == first
    assert rhythm("5", "--cache", cache, "--dancers", "all")["tempo"] == first["tempo"]
    assert estimated == ["a.mp4"] * 3
    # In the user's own cache where none is named.
    for out in ("6", "7"):
        rhythm(out)
    assert len(estimated) == 4
    contradiction = invoke("rhythm", video, "--cache", cache, "--no-cache")
    assert (contradiction.exit_code, "--cache and --no-cache contradict" in contradiction.stderr) == (2, True)


def test_the_cache_is_shown_and_cleared(invoke, estimated: list[str], make_video, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    video = make_video(tmp_path / "a.mp4", seconds=1)
    assert invoke("pose", video, "--out", tmp_path / "out", "--cache", cache).exit_code == 0
    (kept,) = cache.rglob("*.pose.npz")
    size = kept.stat().st_size
    assert json.loads(invoke("cache", "--cache", cache, "--json").stdout) == {
        "folder": str(cache), "entries": 1, "bytes": size, "limit": 4_000_000_000,
    }  # fmt: skip
    assert invoke("cache", "--cache", cache).stdout == f"{cache}: 1 entries, {size / 1e6:.1f} of 4000 MB\n"
    # The pose file itself is the user's, and stays.
    assert json.loads(invoke("cache", "clear", "--cache", cache, "--json").stdout) == {
        "folder": str(cache), "removed": 1, "bytes": size,
    }  # fmt: skip
    assert (tmp_path / "out" / "a.pose.npz").exists()
    assert invoke("cache", "--cache", cache, "clear").stdout == f"{cache}: removed 0 entries, 0.0 MB\n"


def test_the_users_own_cache(invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert invoke("cache").stdout == f"{tmp_path / 'd2m' / 'dances'}: 0 entries, 0.0 of 4000 MB\n"
    assert not (tmp_path / "d2m").exists()
