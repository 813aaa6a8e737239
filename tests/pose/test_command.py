"""``d2m pose`` from the outside: files, exit codes, what is skipped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from d2m_cli.app import app
from d2m_cli.pose.io import load_poses

Shared = Callable[[str], Path]


def d2m(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_a_folder_with_one_bad_file(shared: Shared, tmp_path: Path) -> None:
    clip = shared("video/mmpose_demo.mp4")
    (tmp_path / "in" / "deep er").mkdir(parents=True)
    shutil.copy(clip, tmp_path / "in" / "deep er" / "-ünd.mp4")
    (tmp_path / "in" / "bad.mp4").write_bytes(b"junk" * 100)
    words = ("pose", tmp_path / "in", "--out", tmp_path / "out", "--threads", "1", "--dancers", "all", "--json")
    result = d2m(*words)
    assert result.exit_code == 1
    summary = json.loads(result.stdout)
    assert (summary["done"], summary["failed"]) == (1, 1)
    assert "bad.mp4" in result.stderr
    poses = load_poses(tmp_path / "out" / "deep er" / "-ünd.pose.npz")
    assert len(poses.tracks) >= 2
    assert poses.source is not None
    assert poses.source.provider.endswith("ExecutionProvider")
    # Again, under another name: recognised by its content; the bad one is tried once more.
    again = json.loads(d2m(*words).stdout)
    assert (again["already_done"], again["failed"]) == (1, 1)


def test_preview(shared: Shared, tmp_path: Path) -> None:
    from d2m_cli.media.video import probe

    result = d2m("pose", shared("video/mmpose_demo.mp4"), "--out", tmp_path, "--overlay", "--threads", "1")
    assert result.exit_code == 0, result.stderr
    assert probe(tmp_path / "mmpose_demo.pose.mp4").frames == 5
    assert str(tmp_path / "mmpose_demo.pose.npz") in result.stdout


def test_nothing_is_written_by_a_dry_run(shared: Shared, tmp_path: Path) -> None:
    result = d2m("pose", shared("video/mmpose_demo.mp4"), "--out", tmp_path / "out", "--dry-run")
    assert result.exit_code == 0
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words", [["--model", "openpose"], ["--dancers", "0"], ["--device", "abacus"], ["--model", "hrnet:none.onnx"]]
)
def test_what_can_not_start_ends_with_2(make_video: Callable[..., Path], tmp_path: Path, words: list[str]) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=0.4)
    assert d2m("pose", path, "--out", tmp_path / "out", *words).exit_code == 2
    assert d2m("pose", tmp_path / "nowhere.mp4", "--out", tmp_path / "out").exit_code == 2


def test_a_file_in_place_of_the_output_folder(shared: Shared, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    result = d2m("pose", shared("video/mmpose_demo.mp4"), "--out", tmp_path / "out")
    assert result.exit_code in (1, 2)
    assert "out" in result.stderr


def test_export_names_what_is_missing(tmp_path: Path) -> None:
    result = d2m("weights", "export-hrnet", tmp_path / "c.py", tmp_path / "c.pth", tmp_path / "o.onnx")
    assert result.exit_code == 2
    assert "c.py" in result.stderr
