from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import d2m_cli.app
from d2m_cli import __version__
from d2m_cli.errors import EncoderMismatchError, OutputError
from tests.fakes import FakeBackbone, FakeEncoders, FakePoses

HEAVY = ("torch", "numpy", "scipy", "onnxruntime", "librosa", "av", "decord", "diffusers", "transformers", "matplotlib")


@pytest.fixture
def invoke() -> Callable[..., object]:
    runner = CliRunner()
    return lambda *arguments: runner.invoke(d2m_cli.app.app, [str(argument) for argument in arguments])


def test_help_answers_at_once_and_imports_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from d2m_cli.app import app\n"
        "try:\n"
        "    app(['--help'])\n"
        "except SystemExit:\n"
        "    pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
    )
    spent = processor_seconds()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "generate" in done.stdout
    # Of the processor, not of the clock: the machine may be busy with other things.
    assert processor_seconds() - spent < 1.0


def processor_seconds() -> float:
    """Time that all finished child processes have computed."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_each_subcommand_has_help(invoke) -> None:
    for name in ("pose", "rhythm", "generate", "weights"):
        result = invoke(name, "--help")
        assert result.exit_code == 0, name
        assert "Usage" in result.output


def test_version(invoke) -> None:
    assert invoke("--version").output == f"d2m {__version__}\n"
    done = subprocess.run([sys.executable, "-m", "d2m_cli", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"d2m {__version__}\n"


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (OutputError("can't write x"), 1, "d2m: error: can't write x\n"),
        (EncoderMismatchError("made for another"), 2, "d2m: error: made for another\n"),
        (KeyboardInterrupt(), 130, "d2m: interrupted\n"),
    ],
)
def test_errors_are_one_line_and_an_exit_code(error: BaseException, code: int, text: str) -> None:
    app = typer.Typer(cls=d2m_cli.app.app.info.cls, callback=d2m_cli.app._options)

    @app.command()
    def fail() -> None:
        raise error

    result = CliRunner().invoke(app, ["fail"])
    assert (result.exit_code, result.stderr) == (code, text)
    if code != 130:
        assert "Traceback" in CliRunner().invoke(app, ["-v", "fail"]).stderr


def test_usage_errors_exit_with_2(invoke, tmp_path: Path) -> None:
    for arguments in (
        ["generate"],
        ["nonsense"],
        ["generate", tmp_path / "none.mp4"],
        ["generate", tmp_path],
        ["generate", tmp_path, "--device", "abacus"],
        ["generate", tmp_path, "--steps", "0"],
        ["generate", tmp_path, "--genre", "polka"],
        ["generate", tmp_path, "--backbone", "theremin"],
    ):
        assert invoke(*arguments).exit_code == 2, arguments


def test_an_unknown_genre_is_answered_with_the_list(invoke, tmp_path: Path) -> None:
    text = " ".join(invoke("generate", tmp_path, "--genre", "polka").stderr.split())
    for name in ("polka", "break (BR)", "ballet jazz (JB)", "lock (LO)", "waack (WA)"):
        assert name in text


@pytest.fixture
def fake_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path | None]:
    """The fakes of the pipeline's tests in place of all networks; the list holds the encoders that were loaded."""
    import d2m_cli.backbones.registry as registry
    import d2m_cli.generation.pipeline as pipeline

    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "encoders.safetensors").write_bytes(b"e")
    loaded: list[Path | None] = []

    def choose(spec: str) -> registry.Choice:
        own = None if spec == "bare" else folder / "encoders.safetensors"
        return registry.Choice("fake", folder, "fake", own)

    def load(choice, encoders, device, options, *, compiled=False) -> pipeline.Models:
        loaded.append(encoders)
        return pipeline.Models(FakePoses(1.0), FakeBackbone(), FakeEncoders() if encoders else None)

    monkeypatch.setattr(registry, "choose", choose)
    monkeypatch.setattr(pipeline, "load_models", load)
    return loaded


def test_a_folder_with_a_bad_video(invoke, fake_models, make_video, tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    make_video(tmp_path / "in" / "deep" / "good.mp4", seconds=1)
    (tmp_path / "in" / "a bad one.mp4").write_bytes(b"broken")
    (tmp_path / "in" / "nobody.mp4").write_bytes(b"nobody")
    arguments = ["generate", tmp_path / "in", "--genre", "Lock", "--out", tmp_path / "out", "--json"]
    result = invoke(*arguments)
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    by_name = {Path(item["input"]).name: item for item in document["items"]}
    assert by_name["good.mp4"]["state"] == "done"
    assert by_name["a bad one.mp4"]["error"].endswith("is not a video")
    assert by_name["nobody.mp4"]["error"].endswith("nobody was found")
    assert not any(item["bug"] for item in document["items"])
    assert sorted(path.name for path in (tmp_path / "out" / "deep").iterdir()) == ["good.json", "good.mp4", "good.wav"]
    assert document["settings"]["genre"] == "LO"
    # Only what failed is tried again.
    again = json.loads(invoke(*arguments).stdout)
    assert (again["already_done"], again["failed"]) == (1, 2)


def test_what_is_done_needs_no_models(invoke, fake_models, make_video, tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=1)
    assert invoke("generate", video, "--out", tmp_path / "out").exit_code == 0
    assert invoke("generate", video, "--out", tmp_path / "out").exit_code == 0
    assert len(fake_models) == 1
    # No .mp4 asked for: the rest is there already. Another seed: all anew.
    assert invoke("generate", video, "--out", tmp_path / "out", "--no-mp4").exit_code == 0
    assert len(fake_models) == 1
    assert invoke("generate", video, "--out", tmp_path / "out", "--seed", "1").exit_code == 0
    assert len(fake_models) == 2


def test_the_same_seed_gives_the_same_bytes_in_any_company(invoke, fake_models, make_video, tmp_path: Path) -> None:
    first = make_video(tmp_path / "a.mp4", seconds=1)
    second = make_video(tmp_path / "b.mp4", seconds=1, fps=20)
    assert invoke("generate", first, second, "--out", tmp_path / "both").exit_code == 0
    assert invoke("generate", second, "--out", tmp_path / "alone").exit_code == 0
    assert (tmp_path / "both" / "b.wav").read_bytes() == (tmp_path / "alone" / "b.wav").read_bytes()
    assert (tmp_path / "both" / "b.wav").read_bytes() != (tmp_path / "both" / "a.wav").read_bytes()


def test_a_backbone_without_encoders(invoke, fake_models, make_video, tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=1)
    result = invoke("generate", video, "--out", tmp_path / "out", "--backbone", "bare")
    assert result.exit_code == 2
    assert "d2m train" in result.stderr
    assert "--rhythm words" in result.stderr
    assert not (tmp_path / "out").exists()
    assert (
        invoke("generate", video, "--out", tmp_path / "out", "--backbone", "bare", "--rhythm", "words").exit_code == 0
    )
    result = invoke("generate", video, "--out", tmp_path / "out", "--encoders", tmp_path / "none")
    assert result.exit_code == 2
    assert "no such file" in result.stderr


def test_dry_run(invoke, fake_models, make_video, tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=1)
    result = invoke("generate", video, "--out", tmp_path / "out", "--dry-run")
    assert result.exit_code == 0
    assert f"would make {tmp_path / 'out' / 'a.wav'}" in result.stdout
    assert not (tmp_path / "out").exists()
    assert fake_models == []


def test_the_result_never_replaces_the_video(invoke, fake_models, make_video, tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=1)
    before = video.read_bytes()
    result = invoke("generate", video, "--out", tmp_path, "--overwrite")
    assert result.exit_code == 2
    assert "would replace an input" in result.stderr
    assert video.read_bytes() == before


def test_names_that_are_no_text_can_be_printed(tmp_path: Path) -> None:
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.mp4")
    done = subprocess.run(
        [sys.executable, "-m", "d2m_cli", "generate", odd], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "no such file" in done.stderr
