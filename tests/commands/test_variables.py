"""Defaults from the environment, and what the shell completes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

import d2m_cli.app
import d2m_cli.batch.music_files as music_files
from d2m_cli.api.music import Generator
from d2m_cli.batch.outcome import BatchSummary
from d2m_cli.commands.completion import complete_backbones, complete_formats, complete_genres
from d2m_cli.commands.variables import ONCE, variable_of

OWN = ("D2M_HOME", "D2M_CACHE_GB", "D2M_SHARED_DATA")
"""Variables that stand for no option."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """What 'd2m generate' would ask for, or the end of its text where it refuses, with arguments and variables."""
    for name in [name for name in os.environ if name.startswith("D2M_") and name not in OWN]:
        monkeypatch.delenv(name)

    def call(*arguments: str, **variables: str) -> Any:
        seen: dict[str, Any] = {}

        def take(videos: Any, out: Path, generator: Generator, options: Any, **more: Any) -> BatchSummary:
            seen.update(more, videos=videos.found, out=out, generator=generator, options=options)
            return BatchSummary("generate", out, {}, (), False, None, 0.0)

        monkeypatch.setattr(music_files, "generate_files", take)
        (tmp_path / "a.mp4").write_bytes(b"a")
        words = ["generate", str(tmp_path / "a.mp4"), *arguments]
        if "--cache" not in arguments and "D2M_CACHE" not in variables:
            variables.setdefault("D2M_NO_CACHE", "1")
        result = CliRunner().invoke(d2m_cli.app.app, words, env=variables)
        return seen if result.exit_code == 0 else " ".join(result.stderr.replace("│", " ").split())

    return call


def test_variables_are_defaults_and_the_command_line_goes_before(asked) -> None:
    found = asked(D2M_SEED="7", D2M_OUT="made", D2M_TOP_K="20", D2M_BREAKS="1", D2M_GENRE="locking", D2M_ENDING="hit")
    options = found["options"]
    assert (options.seed, options.sampling.top_k, options.breaks, options.genre) == (7, 20, True, "LO")
    assert (options.ending, found["out"]) == ("hit", Path("made"))
    assert asked("--seed", "3", D2M_SEED="7")["options"].seed == 3
    assert asked("--seed", "7")["options"].settings == asked(D2M_SEED="7")["options"].settings
    # Empty is as good as not set.
    assert asked(D2M_SEED="")["options"].seed == 0


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"D2M_SEED": "abc"}, "'--seed' (from D2M_SEED)"),
        ({"D2M_DEVICE": "tpu"}, "'--device' (from D2M_DEVICE)"),
        ({"D2M_SNAP": "maybe"}, "'--snap' (from D2M_SNAP)"),
        ({"D2M_LOUDNESS": "5"}, "--loudness (from D2M_LOUDNESS) must lie between -70 and 0 LUFS"),
        ({"D2M_GENRE": "waak"}, "--genre (from D2M_GENRE): unknown genre 'waak': did you mean 'waack'?"),
        ({"D2M_NAME": "{x}"}, "--name {x} (from D2M_NAME): there is no field 'x'"),
        ({"D2M_FORMAT": "ogg"}, "--format (from D2M_FORMAT) must be of wav,"),
    ],
)
def test_errors_name_the_variable(asked, variables: dict[str, str], said: str) -> None:
    assert said in asked(**variables)


def test_errors_of_the_command_line_name_none(asked) -> None:
    asked(D2M_LOUDNESS="5")
    assert "error: --loudness must lie" in asked("--loudness", "5", D2M_LOUDNESS="-20")


def test_of_two_that_contradict_each_other_the_command_line_goes_before(asked, tmp_path: Path) -> None:
    assert asked("--no-cache", D2M_CACHE=str(tmp_path / "cache"))["generator"]._cache is None
    kept = asked("--cache", str(tmp_path / "cache"), D2M_NO_CACHE="1")["generator"]._cache
    assert kept.folder == tmp_path / "cache"
    for name, more in (("lock", {"D2M_GENRE_WORDS": "funk"}), ("auto", {"D2M_GENRE_TABLE": "none.csv"})):
        told = asked("--genre-audio", "a.wav", D2M_GENRE=name, **more)
        assert told.startswith("d2m: error: --genre-audio needs a CLAP model")


def test_a_genre_goes_before_what_belongs_to_another(asked, tmp_path: Path) -> None:
    table = tmp_path / "genres.csv"
    table.write_text("name,genre\na,pop\n")
    of_all = {"D2M_GENRE": "auto", "D2M_GENRE_TABLE": str(table)}
    assert asked(**of_all)["options"].genre_table == table
    assert asked("--genre", "auto", **of_all)["options"].genre_table == table
    one = asked("--genre", "lock", **of_all)["options"]
    assert (one.genre, one.genre_table) == ("LO", None)
    words = {"D2M_GENRE_WORDS": "slap bass"}
    assert asked("--genre", "lock", **words)["options"].genre_words == "slap bass"
    each = asked("--genre", "auto", D2M_GENRE="lock", **words)["options"]
    assert (each.genre, each.genre_words) == ("auto", None)


def test_a_track_goes_before_variations_and_they_before_it(asked, tmp_path: Path) -> None:
    track = tmp_path / "t.wav"
    track.write_bytes(b"t")
    found = asked("--music", str(track), D2M_VARIATIONS="3")
    assert (found["options"].music, len(found["videos"])) == (track, 1)
    found = asked("--variations", "2", D2M_MUSIC=str(track))
    assert (found["options"].music, len(found["videos"])) == (None, 2)
    found = asked("--variations", "1", D2M_MUSIC=str(track))
    assert (found["options"].music, len(found["videos"])) == (track, 1)


@pytest.mark.parametrize(
    ("arguments", "variables", "formats"),
    [
        ((), {}, ("wav", "mp4")),
        (("--no-mp4",), {}, ("wav",)),
        (("--format", "flac", "--format", "mkv,wav"), {}, ("flac", "mkv", "wav")),
        (("--format", "flac", "--mp4"), {}, ("flac", "mp4")),
        (("--format", "flac", "--no-mp4"), {}, ("flac",)),
        ((), {"D2M_FORMAT": "flac,mp4"}, ("flac", "mp4")),
        (("--no-mp4",), {"D2M_FORMAT": "flac,mp4"}, ("flac",)),
        (("--format", "mp4"), {"D2M_MP4": "0"}, ("mp4",)),
        ((), {"D2M_MP4": "0"}, ("wav",)),
    ],
)
def test_formats(asked, arguments: tuple[str, ...], variables: dict[str, str], formats: tuple[str, ...]) -> None:
    assert asked(*arguments, **variables)["formats"] == formats


def test_formats_that_contradict_each_other(asked) -> None:
    assert "--no-mp4 and a --format with mp4 contradict each other" in asked("--format", "wav,mp4", "--no-mp4")
    assert "--no-mp4 leaves no format of D2M_FORMAT" in asked("--no-mp4", D2M_FORMAT="mp4")


def test_what_is_meant_for_one_call_has_no_variable(asked) -> None:
    assert not asked(D2M_OVERWRITE="1", D2M_DRY_RUN="1", D2M_JSON="1")["batch"].overwrite


def test_no_variable_stands_for_two_things() -> None:
    commands = typer.main.get_command(d2m_cli.app.app).commands  # type: ignore[attr-defined]
    assert {name for name, one in commands.items() if any(param.envvar for param in one.params)} >= {
        "generate", "pose", "rhythm", "train",
    }  # fmt: skip
    for command in commands.values():
        for param in command.params:
            assert param.envvar not in OWN
            if param.envvar and command.name != "cache":
                assert param.envvar in [variable_of(flag) for flag in param.opts]
                assert not ONCE & set(param.opts)
    # "d2m train" writes elsewhere than "d2m generate".
    assert not [param for param in commands["train"].params if param.name == "out" and param.envvar]


def test_the_help_names_them_once(asked) -> None:
    told = CliRunner().invoke(d2m_cli.app.app, ["generate", "--help"], terminal_width=200).output
    assert told.count("D2M_SEED") == 1
    assert "env var" not in told


def test_completions() -> None:
    assert complete_genres("la") == ["la-hip-hop"]
    assert complete_genres("B") == ["break", "ballet-jazz"]
    assert complete_backbones("music") == ["musicgen"]
    assert complete_formats("wav,m") == ["wav,mp3", "wav,m4a", "wav,mp4", "wav,mkv"]
    assert complete_formats("wav,w") == []


@pytest.mark.parametrize(("typed", "offered"), [("--genre wa", "waack"), ("--backbone ace", "ace-step")])
def test_the_shell_is_answered(typed: str, offered: str) -> None:
    words = f"d2m generate {typed}"
    environment = {**os.environ, "_D2M_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": "3"}
    done = subprocess.run(
        [sys.executable, "-m", "d2m_cli"], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [offered]


def test_the_script_for_a_shell_is_printed() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "d2m_cli", "--show-completion", "bash"],
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert "_D2M_COMPLETE=complete_bash" in done.stdout


def test_a_choice_that_there_is_not_is_told_in_plain_words() -> None:
    done = CliRunner().invoke(d2m_cli.app.app, ["generate", "a.mp4", "--snap", "sometimes"])
    assert done.exit_code == 2
    assert "Value error" not in done.output
    assert "'sometimes' is not one of" in done.output
