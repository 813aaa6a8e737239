"""``d2m rhythm`` from pose files: results, skipping, bad files, exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from d2m_cli.app import app
from d2m_cli.ground.file_cache import FileCache
from d2m_cli.ground.ledger import Artefact, Entry, Ledger
from d2m_cli.pose.io import save_poses
from d2m_cli.rhythm.io import load_rhythm

from .dances import FAMILIES, film

runner = CliRunner()


@pytest.fixture
def poses(tmp_path: Path) -> Path:
    folder = tmp_path / "poses"
    for name in ("groove", "steps"):
        save_poses(folder / f"{name}.pose.npz", film(FAMILIES[name](), 30.0))
    return folder


def run(*arguments: object) -> tuple[int, str, str]:
    result = runner.invoke(app, ["rhythm", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_a_folder_of_pose_files(poses: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, stdout, _ = run(poses, "--out", out)
    assert code == 0
    assert "groove.rhythm.json" in stdout
    rhythm = load_rhythm(out / "groove.rhythm.json")
    assert rhythm.tempo is not None
    assert rhythm.tempo.bpm == pytest.approx(116.0, rel=0.01)
    assert not (out / "groove.rhythm.png").exists()


def test_a_cache_among_the_inputs_is_no_input(poses: Path, tmp_path: Path) -> None:
    key = "3b" + 30 * "0"
    entry = FileCache(poses / "kept").place(key, ".pose.npz")
    save_poses(entry, film(FAMILIES["groove"](), 30.0))
    # A file of that name that lies elsewhere is the user's.
    save_poses(poses / f"{key}.pose.npz", film(FAMILIES["groove"](), 30.0))
    _, stdout, _ = run(poses, "--out", tmp_path / "out", "--json", "--dry-run")
    names = [Path(item["input"]).name for item in json.loads(stdout)["items"]]
    assert names == [f"{key}.pose.npz", "groove.pose.npz", "steps.pose.npz"]
    _, stdout, _ = run(entry, "--out", tmp_path / "out", "--json", "--dry-run")
    assert len(json.loads(stdout)["items"]) == 1


def test_done_work_is_skipped_until_settings_change(poses: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(poses, "--out", out)
    code, stdout, _ = run(poses, "--out", out, "--json")
    assert code == 0
    assert json.loads(stdout)["already_done"] == 2
    code, stdout, _ = run(poses, "--out", out, "--json", "--mode", "paper")
    assert code == 0
    assert json.loads(stdout)["done"] == 2
    assert load_rhythm(out / "steps.rhythm.json").mode == "paper"


def test_a_bad_file_is_named_and_the_rest_goes_on(poses: Path, tmp_path: Path) -> None:
    (poses / "bad.pose.npz").write_bytes(b"nothing like it")
    code, stdout, stderr = run(poses, "--out", tmp_path / "out")
    assert code == 1
    assert "bad.pose.npz" in stderr
    assert "groove.rhythm.json" in stdout
    assert "steps.rhythm.json" in stdout


@pytest.mark.parametrize("name", ["flip", "nan_times"])
def test_a_damaged_pose_file_fails_with_its_reason(
    poses: Path, tmp_path: Path, shared: Callable[[str], Path], name: str
) -> None:
    code, stdout, stderr = run(shared(f"damaged/{name}.pose.npz"), poses / "steps.pose.npz", "--out", tmp_path / "out")
    assert code == 1
    assert f"{name}.pose.npz: is not a readable pose file" in stderr
    assert "bug in d2m" not in stderr
    assert "steps.rhythm.json" in stdout
    assert not (tmp_path / "out" / f"{name}.rhythm.json").exists()


def test_dry_run_writes_nothing(poses: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, stdout, _ = run(poses, "--out", out, "--dry-run", "--json")
    assert code == 0
    assert json.loads(stdout)["planned"] == 2
    assert not out.exists()


def test_a_plot_beside_each_result(poses: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, _, _ = run(poses / "steps.pose.npz", "--out", out, "--plot")
    assert code == 0
    assert (out / "steps.rhythm.png").read_bytes().startswith(b"\x89PNG")


def test_an_absent_dancer_is_a_failure_of_that_file(poses: Path, tmp_path: Path) -> None:
    code, _, stderr = run(poses / "steps.pose.npz", "--out", tmp_path / "out", "--dancers", "only:4")
    assert code == 1
    assert "no dancer 4" in stderr


@pytest.mark.parametrize(("old", "new"), [("4", "only:4"), ("all", "all"), ("largest", "largest")])
def test_the_old_name_of_dancers_tells_the_new(poses: Path, tmp_path: Path, old: str, new: str) -> None:
    code, _, stderr = run(poses, "--out", tmp_path / "out", "--dancer", old)
    assert code == 2
    assert f"say --dancers {new}\n" in stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments", [("--mode", "best"), ("--dancers", "left"), ("--window", "0"), ("--sectors", "0"), ("--no-such",)]
)
def test_wrong_usage_is_exit_code_2(poses: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert run(poses, "--out", tmp_path / "out", *arguments)[0] == 2


def test_pose_files_are_inputs_though_d2m_made_them(poses: Path, tmp_path: Path) -> None:
    # As "d2m pose --overlay" leaves its folder: the previews are no dances to work on.
    (poses / "groove.pose.mp4").write_bytes(b"preview")
    made = tuple(Artefact(name, 1, "d") for name in ("groove.pose.npz", "groove.pose.mp4", "steps.pose.npz"))
    Ledger(poses).add(Entry("../groove.mp4", "c", "s", "done", made, place="../groove.mp4"))
    code, stdout, _ = run(poses, "--out", tmp_path / "out", "--json")
    assert code == 0
    assert [Path(item["input"]).name for item in json.loads(stdout)["items"]] == ["groove.pose.npz", "steps.pose.npz"]
    # A video of the same name gets a name beside that of the poses, which came first.
    (poses / "groove.mp4").write_bytes(b"no video")
    code, stdout, _ = run(poses, "--out", tmp_path / "out", "--json")
    assert [item["state"] for item in json.loads(stdout)["items"]] == ["failed", "already done", "already done"]
    assert load_rhythm(tmp_path / "out" / "groove.rhythm.json").tempo is not None


def test_inputs_that_hold_nothing(tmp_path: Path) -> None:
    assert run(tmp_path / "none")[0] == 2
    (tmp_path / "other.npz").write_bytes(b"")
    assert run(tmp_path, "--out", tmp_path / "out")[0] == 2
