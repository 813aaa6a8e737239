from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner, Result

from d2m_cli.app import app


def invoke(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_all_commands_that_go_through_videos_take_it(make_video, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "in" / name).mkdir(parents=True)
        make_video(tmp_path / "in" / name / "1.mp4", seconds=1)
    for command, suffix in (("pose", ".pose.npz"), ("rhythm", ".rhythm.json"), ("generate", ".wav")):
        words = (command, tmp_path / "in", "--out", tmp_path / "out", "--dry-run", "--by-folder")
        result = invoke(*words)
        assert result.exit_code == 0, result.stderr
        planned = [line for line in result.stdout.splitlines() if line.endswith(suffix)]
        assert planned == [f"would make {tmp_path / 'out' / name / f'1{suffix}'}" for name in ("a", "b")]
        assert f"d2m {command}: 2 runs: 2 planned" in result.stderr
        refused = invoke(*words, tmp_path / "in" / "a" / "1.mp4")
        assert refused.exit_code == 2
        assert "--by-folder goes through folders" in refused.stderr


def test_a_manifest_is_for_one_run(make_video, tmp_path: Path) -> None:
    make_video(tmp_path / "1.mp4", seconds=1)
    (tmp_path / "table.csv").write_text("video,seed\n1.mp4,3\n")
    result = invoke("generate", tmp_path, "--manifest", tmp_path / "table.csv", "--by-folder", "--dry-run")
    assert result.exit_code == 2
    assert "--by-folder makes many" in result.stderr
