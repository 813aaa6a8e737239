from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

import d2m_cli.app
from d2m_cli import __version__
from d2m_cli.errors import EncoderMismatchError, OutputError
from d2m_cli.ground.weights_path import weights_dir
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
    spent = []
    for _ in range(3):
        before = processor_seconds()
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        spent.append(processor_seconds() - before)
        assert done.stderr.strip() == "[]"
        assert "generate" in done.stdout
    # Of the processor, not of the clock, and the quickest of three: the machine may be busy with other things, and the
    # first compiles what was installed without being compiled.
    assert min(spent) < 1.0


def processor_seconds() -> float:
    """Time that all finished child processes have computed."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_each_subcommand_has_help(invoke) -> None:
    for name in ("pose", "rhythm", "generate", "weights"):
        result = invoke(name, "--help")
        assert result.exit_code == 0, name
        assert "Usage" in result.output
    for name in ("rhythm", "train"):
        # Whose equations the options speak of.
        text = " ".join(invoke(name, "--help").output.split())
        assert text.count('"Dance-to-Music Generation with Encoder-based Textual Inversion"') == 1, name


def test_the_help_fits_80_columns_and_shows_flags_without_a_type(invoke) -> None:
    for name in ("", "generate", "pose", "rhythm", "train", "eval", "doctor"):
        told = CliRunner().invoke(d2m_cli.app.app, [*name.split(), "--help"], terminal_width=80).output
        assert max(map(len, told.splitlines())) <= 80, name
        assert "…" not in told, name
        assert "<bool>" not in told, name
    told = invoke("generate", "--help").output
    places = [told.index(flag) for flag in ("--genre ", "--prompt ", "--out ", "--start ", "--format ", "--shard ")]
    assert places == sorted(places)
    told = invoke("--help").output
    assert told.index(" generate ") < told.index(" pose ") < told.index(" cache ")


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


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (MemoryError("a.onnx: there is no memory for this network"), "a.onnx: there is no memory for this network"),
        (
            RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"),
            "CUDA error: out of memory",
        ),
    ],
)
def test_a_lack_of_memory_is_one_line_that_says_what_to_do(error: Exception, what: str) -> None:
    app = typer.Typer(cls=d2m_cli.app.app.info.cls, callback=d2m_cli.app._options)

    @app.command()
    def fail(number: Annotated[int, typer.Option()] = 0) -> None:
        raise error

    result = CliRunner().invoke(app, ["fail"])
    told = (
        rf"d2m: error: memory ran out \({type(error).__name__} at test_cli\.py:\d+: {re.escape(what)}\): close other "
    )
    mend = "programs, take a smaller model or, where it is a GPU's memory, say --device cpu\n"
    assert result.exit_code == 1
    assert re.fullmatch(told + mend, result.stderr)
    assert "Traceback" in CliRunner().invoke(app, ["-v", "fail"]).stderr
    # A wrong word of the user's is none, whatever it says.
    refused = CliRunner().invoke(app, ["fail", "--number", "out of memory"])
    assert refused.exit_code == 2
    assert "memory ran out" not in refused.stderr


def test_other_errors_stay_what_they_are() -> None:
    app = typer.Typer(cls=d2m_cli.app.app.info.cls, callback=d2m_cli.app._options)

    @app.command()
    def fail() -> None:
        raise ValueError("a bug")

    assert isinstance(CliRunner().invoke(app, ["fail"]).exception, ValueError)


@pytest.mark.parametrize("command", ["generate", "pose", "rhythm", "train", "eval"])
def test_every_device_option_takes_a_number(invoke, tmp_path: Path, command: str) -> None:
    more = [tmp_path / "music", "--out", tmp_path / "out"] if command == "train" else []
    # A long path is broken over lines, within a frame.
    told = re.sub(r"[\s│]", "", invoke(command, tmp_path / "none.mp4", *more, "--device", "cuda:1").stderr)
    assert "none.mp4" in told or "music" in told
    refused = invoke(command, tmp_path / "none.mp4", *more, "--device", "cuda:x")
    assert refused.exit_code == 2
    assert "must be auto, cpu, cuda, or cuda:1 of several" in " ".join(refused.stderr.replace("│", " ").split())


@pytest.mark.parametrize("command", ["generate", "pose", "rhythm"])
def test_a_gpu_that_is_not_here_is_refused_before_anything_is_loaded(
    invoke, make_video, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr("d2m_cli.pose.session.visible_gpus", lambda: 0)
    more = ["--out", tmp_path / "out", "--no-cache", "--device", "cuda"]
    result = invoke(command, make_video(tmp_path / "a.mp4", seconds=1), *more)
    assert result.exit_code == 2
    assert result.stderr == "d2m: error: --device cuda: no NVIDIA GPU is visible here; use --device cpu or auto\n"


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


def test_what_a_backbone_can_not_do_is_said_before_anything_is_done(invoke, make_video, tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=1)
    for flag, reason in (("--offload", "has room on any GPU"), ("--compile", "has nothing to compile")):
        told = invoke("generate", video, "--backbone", "embedded", flag, "--out", tmp_path / "out")
        assert told.exit_code == 2
        assert f"{flag}: embedded {reason}" in " ".join(told.stderr.split())
        assert not (tmp_path / "out").exists()


def test_an_unknown_genre_is_answered_with_the_list(invoke, tmp_path: Path) -> None:
    text = " ".join(invoke("generate", tmp_path, "--genre", "polka").stderr.split())
    for name in ("polka", "break (BR)", "ballet-jazz (JB)", "lock (LO)", "waack (WA)"):
        assert name in text


@pytest.fixture
def fake_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path | None]:
    """The fakes of the pipeline's tests in place of all networks; the list holds the encoders that were loaded."""
    import d2m_cli.api.music as music
    import d2m_cli.backbones.registry as registry
    from d2m_cli.generation.models import Models, Seeing

    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "encoders.safetensors").write_bytes(b"e")
    loaded: list[Path | None] = []

    def choose(spec: str, *_: object) -> registry.Choice:
        own = None if spec == "bare" else folder / "encoders.safetensors"
        return registry.Choice("musicgen", folder, "fake", own)

    def load(self: music.Generator, options) -> Models:
        loaded.append(self.encoders_for(options))
        return Models(FakePoses(1.0), FakeBackbone(), FakeEncoders() if loaded[-1] else None)  # type: ignore[arg-type]

    monkeypatch.setattr(music, "choose", choose)
    monkeypatch.setattr(music.Generator, "models", load)
    monkeypatch.setattr(music.Generator, "seeing", lambda self, options: Seeing(FakePoses(1.0)))
    return loaded


def test_a_folder_with_a_bad_video(invoke, fake_models, make_video, tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    make_video(tmp_path / "in" / "deep" / "good.mp4", seconds=1)
    (tmp_path / "in" / "a bad one.mp4").write_bytes(b"broken")
    with make_video(tmp_path / "in" / "nobody.mp4", seconds=1).open("ab") as file:
        file.write(b"nobody")
    arguments = ["generate", tmp_path / "in", "--genre", "Lock", "--out", tmp_path / "out", "--json"]
    result = invoke(*arguments)
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    by_name = {Path(item["input"]).name: item for item in document["items"]}
    assert by_name["good.mp4"]["state"] == "done"
    assert "is not a video" in by_name["a bad one.mp4"]["error"]
    assert "nobody was found" in by_name["nobody.mp4"]["error"]
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


def test_weights_and_pose_networks_are_known_by_their_content(
    invoke, fake_models, make_video, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import d2m_cli.pose.settings

    video = make_video(tmp_path / "a.mp4", seconds=1)
    arguments = ["generate", video, "--out", tmp_path / "out", "--no-mp4", "--json"]
    first = json.loads(invoke(*arguments).stdout)
    assert first["done"] == 1
    assert first["settings"]["d2m"] == __version__
    shipped = json.loads((weights_dir() / "manifest.json").read_text())["weights"]
    expected = {one["file"]: one["sha256"] for one in shipped}
    assert first["settings"]["poses"] == {
        "pose": expected["pose/movenet-thunder.onnx.gz"],
        "detector": expected["pose/movenet-multipose.onnx.gz"],
    }
    assert json.loads(invoke(*arguments).stdout)["already_done"] == 1
    assert json.loads(invoke(*arguments, "--verify").stdout)["already_done"] == 1
    # Other encoders of the same name and size.
    (tmp_path / "weights" / "encoders.safetensors").write_bytes(b"f")
    assert json.loads(invoke(*arguments).stdout)["done"] == 1
    monkeypatch.setattr(d2m_cli.pose.settings, "known_sha256", lambda path, verify: "another network")
    assert json.loads(invoke(*arguments).stdout)["done"] == 1


def test_music_of_another_device_is_not_done(
    invoke, fake_models, make_video, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import d2m_cli.pose.settings

    arguments = ["generate", make_video(tmp_path / "a.mp4", seconds=1), "--out", tmp_path / "out", "--no-mp4", "--json"]

    def states(*more: str) -> tuple[int, int]:
        document = json.loads(invoke(*arguments, *more, "--dry-run").stdout)
        return document["already_done"], document["planned"]

    monkeypatch.setattr(d2m_cli.pose.settings, "gpu_is_visible", lambda: False)
    assert json.loads(invoke(*arguments).stdout)["done"] == 1
    assert (states(), states("--device", "cpu")) == ((1, 0), (1, 0))
    assert (states("--device", "cuda"), states("--compile")) == ((0, 1), (0, 1))
    monkeypatch.setattr(d2m_cli.pose.settings, "gpu_is_visible", lambda: True)
    assert (states(), states("--device", "cpu")) == ((0, 1), (1, 0))


def test_what_is_done_is_told_without_loading_a_network(make_video, tmp_path: Path) -> None:
    words = [tmp_path / "in", "--out", tmp_path / "out", "--json"]
    (tmp_path / "in").mkdir()
    video = make_video(tmp_path / "in" / "a.mp4", seconds=1)
    script = (
        "import sys\n"
        "from d2m_cli.app import app\n"
        "import d2m_cli.ground.ledger as ledger\n"
        "ledger.Ledger.checked = lambda *_, **__: {}\n"
        "try:\n"
        "    app(sys.argv[1:])\n"
        "except SystemExit as end:\n"
        "    code = end.code\n"
        "heavy = ('torch', 'onnxruntime', 'av', 'decord', 'scipy', 'cv2', 'librosa', 'matplotlib')\n"
        "print([name for name in heavy if name in sys.modules], code, file=sys.stderr)\n"
    )
    for command in ("pose", "rhythm", "generate"):
        line = [sys.executable, "-c", script, command, *map(str, words)]
        around = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
        done = subprocess.run(line, capture_output=True, text=True, check=True, env=around)
        assert json.loads(done.stdout)["already_done"] == 1, command
        assert done.stderr.splitlines()[-1] == "[] 0", command
    assert video.exists()


def test_numbers_out_of_range_are_refused_before_any_work(invoke, fake_models, make_video, tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=1)
    for command, *words in (
        ("generate", "--seed", 2**63),
        ("generate", "--seed", -(2**63) - 1),
        ("generate", "--seed", "9" * 5000),
        ("generate", "--seed", "1.5"),
        ("generate", "--guidance", "nan"),
        ("generate", "--top-p", "0"),
        ("generate", "--candidates", 0),
        ("generate", "--dancers", "9" * 5000),
        ("pose", "--dancers", "9" * 5000),
        ("pose", "--threads", -1),
        ("pose", "--batch", -1),
        ("pose", "--longest", 63),
        ("rhythm", "--dancers", "9" * 5000),
        ("rhythm", "--window", "nan"),
        ("rhythm", "--window", "inf"),
    ):
        result = invoke(command, video, "--out", tmp_path / "out", *words)
        assert result.exit_code == 2, (command, words, result.output)
        assert not isinstance(result.exception, ValueError), (command, words)
        assert words[0].strip("-").replace("-", "_") in result.stderr.replace("-", "_"), (command, words)  # type: ignore[attr-defined]
    assert not (tmp_path / "out").exists()
    for seed in (-1, 2**63 - 1, -(2**63)):
        result = invoke("generate", video, "--out", tmp_path / "out", "--no-mp4", f"--seed={seed}", "--json")
        assert json.loads(result.stdout)["settings"]["seed"] == seed


def test_where_a_bug_came_from_is_shown_on_request(
    invoke, fake_models, make_video, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import d2m_cli.batch.music_files as music_files

    def stumble(*_: object) -> None:
        raise ZeroDivisionError("nobody foresaw this")

    monkeypatch.setattr(music_files, "music_for", stumble)
    arguments = ["generate", make_video(tmp_path / "a.mp4", seconds=1), "--out", tmp_path / "out"]
    quiet, loud = invoke(*arguments), invoke("-v", *arguments)
    assert (quiet.exit_code, loud.exit_code) == (1, 1)
    assert "bug in d2m or a library: ZeroDivisionError at test_cli.py" in quiet.stderr
    assert "Traceback" not in quiet.stderr
    assert 'raise ZeroDivisionError("nobody foresaw this")' in loud.stderr


def test_music_beside_its_videos(invoke, fake_models, make_video, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "clips").mkdir()
    make_video(tmp_path / "clips" / "a.mov", seconds=1)
    monkeypatch.chdir(tmp_path / "clips")
    for state in ("done", "already_done"):
        document = json.loads(invoke("generate", ".", "--out", ".", "--json").stdout)
        assert (len(document["items"]), document[state]) == (1, 1)
    made = ["a.json", "a.mov", "a.mp4", "a.wav", "d2m-ledger.jsonl", "report.html", "report_files"]
    assert sorted(os.listdir()) == made


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


def test_a_stderr_that_takes_nothing_leaves_the_exit_code(tmp_path: Path) -> None:
    around = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    video = Path(__file__).parents[1] / "examples" / "videos" / "lock_112.mp4"
    planned = ["pose", video, "--out", tmp_path / "out", "--no-cache", "--dry-run"]
    for words, code in ((planned, 0), (["status", tmp_path], 2)):
        with open("/dev/full", "w") as full:
            command = [sys.executable, "-m", "d2m_cli", *map(str, words)]
            done = subprocess.run(command, env=around, stdout=subprocess.PIPE, stderr=full, check=False)
        assert done.returncode == code
