from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import pytest
import soundfile
from typer.testing import CliRunner, Result

import d2m_cli.batch.music_files
from d2m_cli.app import app
from d2m_cli.batch.outcome import BatchSummary, Outcome, State
from d2m_cli.generation.options import GenerateOptions
from d2m_cli.ground.example_clip import CLIP, example_clip

Asked = list[tuple[list[Path], Path, GenerateOptions]]


@pytest.fixture
def asked() -> Asked:
    """Videos, folder and options of the music that was asked for."""
    return []


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, asked: Asked) -> Callable[..., Result]:
    """A function that runs d2m demo with work that is not done, but ends like this."""

    def run(*words: str, state: State = "done", interrupted: bool = False, page: bool = False) -> Result:
        def files(videos, out: Path, generator, options: GenerateOptions, **others: object) -> BatchSummary:
            asked.append(([found.path for found in videos.found], out, options))
            if page:
                out.mkdir()
                (out / "report.html").write_text("<p>")
            return BatchSummary("generate", out, {}, (Outcome("clip", state),), interrupted, None, 1.0)

        monkeypatch.setattr(d2m_cli.batch.music_files, "generate_files", files)
        monkeypatch.chdir(tmp_path)
        return CliRunner().invoke(app, ["demo", *words])

    return run


def test_it_is_generate_for_the_example(demo, asked: Asked) -> None:
    assert demo().exit_code == 0
    ((paths, out, options),) = asked
    assert (paths, out) == ([example_clip()], Path("d2m_demo"))
    assert options.genre == "HO"
    # All else is as it is without a word.
    CliRunner().invoke(app, ["generate", str(example_clip()), "--genre", "house", "--prompt", options.prompt])
    assert asked[1][2] == options


def test_what_was_made_and_what_comes_next(demo) -> None:
    told = demo("my folder").stderr
    stem = example_clip().stem
    assert f"  {Path('my folder') / stem}.mp4 (the dance with its music)" in told
    assert "d2m generate VIDEO" in told
    assert "report.html" not in told


def test_the_page_is_told_where_there_is_one(demo) -> None:
    told = demo("out", page=True).stderr
    assert "  out/report.html (a page" in told
    assert "open out/report.html" in told


@pytest.mark.parametrize(("found", "told"), [("/usr/bin/open", "open 'my folder/"), (None, "open my folder/")])
def test_no_program_is_named_that_is_not_there(
    demo, monkeypatch: pytest.MonkeyPatch, found: str | None, told: str
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: found)
    last = [line for line in demo("my folder").stderr.splitlines() if line.startswith("See and hear it: ")]
    assert len(last) == 1
    assert told in last[0]
    assert last[0].endswith("in a browser") is (found is None)


@pytest.mark.parametrize(("state", "code", "helps"), [("failed", 1, True), ("not tried", 130, False)])
def test_a_failure_is_passed_on(demo, state: State, code: int, helps: bool) -> None:
    done = demo("out", state=state, interrupted=code == 130)
    assert done.exit_code == code
    assert ("d2m doctor" in done.stderr) is helps
    assert "See and hear" not in done.stderr


@pytest.mark.slow
def test_music_is_made(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "d2m_cli", "demo", "out"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    paths = done.stdout.splitlines()
    assert {str(Path("out") / CLIP).removesuffix(".mp4") + suffix for suffix in (".wav", ".mp4", ".json")} <= set(paths)
    samples, rate = soundfile.read(tmp_path / "out" / f"{example_clip().stem}.wav")
    assert len(samples) / rate == pytest.approx(10.0, abs=0.01)
    with av.open(str(tmp_path / "out" / CLIP)) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]
    assert json.loads((tmp_path / "out" / f"{example_clip().stem}.json").read_text())["settings"]["genre"] == "HO"
