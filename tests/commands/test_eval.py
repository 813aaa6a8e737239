"""`d2m eval` as a user runs it."""

from __future__ import annotations

import csv
import fcntl
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from d2m_cli.app import app
from d2m_cli.commands.eval import named_systems
from d2m_cli.media.audio import save_wav
from d2m_cli.pose.io import save_poses
from tests.evaluation.sounds import clicks, metronome
from tests.training.made import bobbing

RUN = CliRunner()
DEAF = ["--embedding", "none", "--classifier", "none", "--draws", "20", "--resamples", "100"]
NAMES = ("house/Tanz für zwei", "gLO_sBM_cAll_d13_mLO2_ch01", "c%20&d", "e")
VIDEO = Path(__file__).parents[2] / "examples" / "videos"


def flat(text: str) -> str:
    """What was folded, in one line."""
    return " ".join(text.split())


def run(*arguments: object, deaf: bool = True) -> Any:
    return RUN.invoke(app, ["eval", *map(str, arguments), *(DEAF if deaf else [])])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Music as `d2m generate` leaves it, its references, and a second system whose music is half a beat late."""
    made = tmp_path_factory.mktemp("eval")
    for number, name in enumerate(NAMES):
        bpm = 96.0 + 12 * number
        for system, first in (("true", 0.2), ("own", 0.2), ("late", 0.2 + 30 / bpm)):
            path = made / system / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            save_wav(path, clicks(metronome(bpm, 5.0, first), 5.0, 16000).astype(np.float32), 16000)
        (made / "own" / f"{name}.json").write_text("{}")
        (made / "own" / f"{name}.mp4").write_bytes(b"stands behind the .wav and is not opened")
    (made / "own" / "d2m-ledger.jsonl").write_text("{}\n")
    return made


def test_words_on_stdout_remarks_on_stderr_and_tables_where_asked_for(folder: Path) -> None:
    arguments = (folder / "own", "--reference", folder / "true", "--system", f"late={folder / 'late'}")
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[:3] == ["4 clips of 4 songs, compared with the true music", "", "generated"]
    assert "follows the dance: shown (one seed), F1 1.00 [1.00, 1.00], chance 0." in result.stdout
    assert "follows the dance: worse than chance (one seed), F1 0.00 [0.00, 0.00], chance 0." in flat(result.stdout)
    assert "generated against late\n  follows the dance: generated is better (one seed), F1 +1.00" in result.stdout
    assert "│" not in result.output
    assert "the song of 3 clips is not known" in flat(result.stderr)
    assert "all figures: --full" in result.stderr
    full = run(*arguments, "--full")
    assert full.stdout.startswith(result.stdout)
    assert "Rhythm: 4 clips of 4 songs, compared with the true music" in full.stdout
    assert "chance: metronome at the true tempo" in flat(full.stdout.replace("│", " "))
    assert "no difference shown" in flat(full.stdout.replace("│", " "))
    assert "--full" not in full.stderr


@pytest.mark.parametrize("columns", [None, "80", "120"])
def test_nothing_is_wider_than_the_terminal_or_80_columns_without_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch, columns: str | None
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    result = run(folder / "own", "--reference", folder / "true", "--system", f"late={folder / 'late'}", "--full")
    assert result.exit_code == 0, result.output
    width = int(columns or 80)
    words = [line for line in result.stderr.splitlines() if not line.startswith("chance floors")]
    assert max(map(len, [*result.stdout.splitlines(), *words])) <= width
    assert "\x1b" not in result.output
    assert "…" not in result.output


@pytest.mark.slow
def test_a_terminal_of_80_columns_sees_no_folded_table(folder: Path) -> None:
    arguments = [folder / "own", "--reference", folder / "true", "--system", f"late={folder / 'late'}", "--full", *DEAF]
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    shown = bytearray()
    with subprocess.Popen(
        [sys.executable, "-m", "d2m_cli", "eval", *map(str, arguments)],
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        env=environment | {"TERM": "xterm", "NO_COLOR": "1"},
    ) as process:
        os.close(theirs)
        try:
            while part := os.read(ours, 65536):
                shown += part
        except OSError:
            pass  # how a terminal of Linux ends
    os.close(ours)
    assert process.returncode == 0
    text = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode())
    assert "follows the dance: shown" in text
    assert "beats70" in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_table_for_a_paper(folder: Path) -> None:
    arguments = (folder / "own", "--name", "mine", "--reference", folder / "true", "--table", "paper")
    markdown, latex, table = (run(*arguments, "--table-format", style) for style in ("markdown", "latex", "csv"))
    assert markdown.stdout.startswith("|  | BCS ↑ | BHS ↑ | F1-score ↑ | Seeds |\n| --- |")
    assert run(*arguments).stdout == markdown.stdout
    assert "| true music | 1.000 (given) |" in markdown.stdout
    assert latex.stdout.startswith("% Table 1\n")
    (line,) = (line for line in csv.DictReader(table.stdout.splitlines()) if line["system"] == "mine")
    assert (float(line["F1-score"]), line["seeds"]) == (1.0, "1")
    for more, told in (
        (("--full",), "--full and --table are each printed in place of the other"),
        (("--json",), "--table and --json are each"),
    ):
        result = run(*arguments, *more)
        assert (result.exit_code, result.stdout) == (2, "")
        assert told in flat(result.stderr)
    result = run(*arguments[:-2], "--table-format", "csv")
    assert result.exit_code == 2
    assert "name the table with --table paper" in flat(result.stderr)


def test_json_csv_and_latex_agree(folder: Path, tmp_path: Path) -> None:
    files = tmp_path / "new" / "t.csv", tmp_path / "t.tex"
    result = run(folder / "own", "--name", "mine", "--reference", folder / "true", "--json", "--csv", files[0],
                 "--latex", files[1])  # fmt: skip
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    (system,) = document["systems"]
    assert (document["clips"], system["name"], system["distances"]) == (4, "mine", [])
    paper = next(one for one in system["rhythm"]["system"]["protocols"] if one["protocol"] == "paper")
    assert paper["f1"]["value"] == 1.0
    assert {clip[0] for clip in system["rhythm"]["clips"]} == set(NAMES)
    with files[0].open(newline="", encoding="utf-8") as file:
        line = next(line for line in csv.DictReader(file) if line["figure"] == "F1")
    assert (line["system"], float(line["value"])) == ("mine", 1.0)
    assert r"\begin{tabular}" in files[1].read_text(encoding="utf-8")


def test_missing_broken_and_soundless_files_are_listed(folder: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(folder / "own", own)
    (own / "e.wav").unlink()
    (own / "e.mp4").unlink()
    (own / "c%20&d.wav").write_bytes(b"RIFF and nothing more")
    save_wav(own / "new.wav", np.zeros((1, 8000), np.float32), 8000)
    silent = next(VIDEO.rglob("*.mp4"))
    reference = tmp_path / "true"
    shutil.copytree(folder / "true", reference)
    (reference / "gLO_sBM_cAll_d13_mLO2_ch01.wav").unlink()
    shutil.copy(silent, reference / "gLO_sBM_cAll_d13_mLO2_ch01.mp4")
    result = run(own, "--reference", reference)
    assert result.exit_code == 0, result.output
    told = flat(result.stderr)
    assert "1 clip scored, 3 left out" in told
    assert "left out: new: no reference" in told
    assert "left out: c%20&d: " in told
    assert "mLO2_ch01.mp4: holds no sound" in told
    assert "the reference has 1 more clip, for which no system has music: e" in told
    assert "no intervals" in told
    assert result.stdout.startswith("1 clip of 1 song, compared with the true music\n")
    assert "follows the dance: can't be told from one song, F1" in result.stdout


def test_poses_and_a_table_of_clips(folder: Path, tmp_path: Path) -> None:
    lines = ["clip,song"]
    for number, name in enumerate(NAMES):
        path = tmp_path / "dances" / f"{name}.pose.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_poses(path, bobbing(96.0 + 12 * number, 0.2, 5.0))
        lines.append(f"{name},song {number // 2}")
    table = tmp_path / "clips.csv"
    table.write_text("\n".join(lines), encoding="utf-8")
    result = run(folder / "own", "--dances", tmp_path / "dances", "--clips", table)
    assert result.exit_code == 0, result.output
    assert "4 clips of 2 songs, compared with the dance" in result.stdout
    assert "is not known" not in result.stderr


def test_true_beats_and_seeds(folder: Path, tmp_path: Path) -> None:
    lines = ["clip,bpm,first_beat", *(f"{name},{96 + 12 * number},0.2" for number, name in enumerate(NAMES))]
    table = tmp_path / "beats.csv"
    table.write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "out").mkdir()
    for seed, system in (("seed0", "own"), ("seed1", "late")):
        shutil.copytree(folder / system, tmp_path / "out" / seed)
    arguments = (folder / "late", "--name", "late", "--reference", folder / "true", "--beats", table,
                 "--system", f"mine={tmp_path / 'out' / 'seed*'}")  # fmt: skip
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert "compared with true beats, and the onsets of the true music" in result.stdout
    assert "\nmine, 2 seeds\n  follows the dance: " in result.stdout
    assert "true music 1.00" in flat(result.stdout)
    assert "(given)" not in result.stdout
    assert "one seed of late: intervals" in flat(result.stderr)
    document = json.loads(run(*arguments, "--json").stdout)
    assert [system["seeds"] for system in document["systems"]] == [["late"], ["seed0", "seed1"]]
    f1 = [
        next(one for one in scores["protocols"] if one["protocol"] == "beats70")["f1"]["value"]
        for scores in (document["ceiling"]["rhythm"], *(system["rhythm"]["system"] for system in document["systems"]))
    ]
    assert f1 == pytest.approx([1.0, 0.0, 0.5], abs=0.03)


def test_with_the_listener_that_ships(folder: Path) -> None:
    result = run(folder / "own", "--reference", folder / "true", "--json", "--draws", "20", "--resamples", "100",
                 deaf=False)  # fmt: skip
    assert result.exit_code == 0, result.output
    (system,) = json.loads(result.stdout)["systems"]
    assert [one["kind"] for one in system["distances"]] == ["FAD", "FAD-infinity", "KAD"]
    # The same music on both sides.
    assert system["distances"][0]["value"] == pytest.approx(0.0, abs=1e-6)
    (genre,) = system["genres"]
    assert genre["scores"]["clips"] == 4
    assert genre["scores"]["kld_reference"] == pytest.approx(0.0, abs=1e-9)
    assert genre["estimates"]["genre.kld_reference"]["value"] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["own"], 2, "compare the music with --reference FOLDER"),
        (["own", "--beats", "true", "--dances", "true"], 2, "--beats gives the beats that --dances would be looked"),
        (["own", "--beats", "gone.csv"], 2, "gone.csv: can't be read as text"),
        (["own", "--beats", "wrong.csv"], 2, "wrong.csv, line 2: 'soon' is no number"),
        (["own", "--reference", "true", "--system", "x=seed*"], 2, "seed*: no folder matches"),
        (["gone", "--reference", "true"], 2, "no such folder"),
        (["empty", "--reference", "true"], 2, "no sound file and no video in it"),
        (["own", "--reference", "empty"], 2, "no sound file and no video in it"),
        (["own", "late", "--reference", "true"], 2, "unexpected extra argument"),
        (["own", "--reference", "true", "--system", "late"], 2, "give NAME=FOLDER"),
        (["own", "--reference", "true", "--system", "generated=late"], 2, "choose another name"),
        (["own", "--reference", "true", "--prompt", "rock"], 2, "name one with --clap"),
        (["answers", "more", "--mos", "key.json"], 2, "no longer an option of eval: use 'd2m listening-test score'"),
        (["own", "--listening-test", "t"], 2, "no longer an option of eval: use 'd2m listening-test make'"),
        (["own", "--dances-in-test", "3"], 2, "use 'd2m listening-test make'"),
        (["own", "--no-embed"], 2, "use 'd2m listening-test make'"),
        (["own", "--reference", "other"], 1, "no clip is in all folders"),
        (["own", "--reference", "broken"], 1, "no clip can be read in every folder"),
        (["own", "--reference", "true", "--clips", "gone.csv"], 2, "can't be read as a table"),
    ],
)
def test_what_cannot_be_scored_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, told: str
) -> None:
    monkeypatch.chdir(folder)
    for name in ("empty", "other", "broken"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "other" / "x.wav").touch()
    (folder / "broken" / "e.wav").touch()
    (folder / "wrong.csv").write_text("clip,time\ne,soon\n")
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert told in flat(result.stderr)
    assert result.stdout == ""
    assert not isinstance(result.exception, SystemExit) or result.exception.code == code


def test_a_result_that_cannot_be_written_is_printed_first(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run(folder / "own", "--reference", folder / "true", "--csv", tmp_path / "file" / "t.csv")
    assert result.exit_code == 1
    assert "4 clips of 4 songs" in result.stdout
    assert "a file stands where a folder is needed" in result.stderr


def test_the_users_home_is_meant_by_a_tilde(monkeypatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    found = named_systems("own", Path("~/a/seed*"), ["b=~/b"])
    assert found == {"own": Path("/home/somebody/a/seed*"), "b": Path("/home/somebody/b")}
