"""Several runs on one folder, and runs that are killed: processes of their own."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from d2m_cli.ground.ledger import LEDGER_NAME

ROOT = Path(__file__).resolve().parents[2]


def launch(inputs: Path, out: Path, *options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.batch.copying", inputs, out, *options]
    return subprocess.Popen(
        [str(word) for word in command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts what it puts in the background deaf to the keyboard; this test is about hearing it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def run(inputs: Path, out: Path, *options: object) -> tuple[int, dict[str, Any], str]:
    process = launch(inputs, out, "--json", *options)
    stdout, stderr = process.communicate()
    return process.returncode, json.loads(stdout) if stdout else {}, stderr


def states(document: dict[str, Any]) -> dict[str, str]:
    return {Path(item["input"]).name: item["state"] for item in document["items"]}


def results(out: Path) -> dict[str, bytes]:
    """All files but the ledger, hidden ones and those in hidden folders among them."""
    files = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in sorted(files.items()) if name != LEDGER_NAME}


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / LEDGER_NAME).read_text().splitlines()]


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(text):
            return
    raise AssertionError(f"ended without {text!r}")


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in "abcd":
        (folder / f"{name}.mov").write_bytes(name.encode())
    return folder


def test_two_runs_with_the_same_settings_share_the_work_and_end_with_it(inputs: Path, tmp_path: Path) -> None:
    out, go = tmp_path / "out", tmp_path / "go"
    first = launch(inputs, out, "--json", "--wait-for", go)
    wait_for(first, "at a.mov")
    second = launch(inputs, out, "--json", "--silence", "0.2")
    wait_for(second, f"[0/4] {inputs / 'a.mov'}: being made by another run")
    wait_for(second, f"[3/4] still at a: waiting for another run (process {first.pid} on ")
    assert second.poll() is None
    go.touch()
    (code, document), (other_code, other) = ends(second), ends(first)
    assert (code, other_code) == (0, 0)
    assert states(document) == {"a.mov": "already done", "b.mov": "done", "c.mov": "done", "d.mov": "done"}
    assert states(other) == {"a.mov": "done", **dict.fromkeys(["b.mov", "c.mov", "d.mov"], "already done")}
    run(inputs, tmp_path / "alone")
    assert results(out) == results(tmp_path / "alone")


def ends(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any]]:
    stdout, _ = process.communicate(timeout=120)
    return process.returncode, json.loads(stdout)


@pytest.mark.slow
def test_the_wait_for_another_run_ends_with_its_death_or_an_interrupt(inputs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = launch(inputs, out, "--wait-for", tmp_path / "never")
    wait_for(first, "at a.mov")
    waiting = []
    for _ in range(2):  # one after the other, so that the last finds all but one made
        waiting.append(launch(inputs, out, "--json", "--silence", "0.2"))
        wait_for(waiting[-1], "[3/4] still at a: waiting for another run")
    second, third = waiting
    third.send_signal(signal.SIGINT)
    code, document = ends(third)
    assert (code, document["being_made"], document["interrupted"]) == (130, 1, True)
    planned = run(inputs, out, "--dry-run")
    assert (planned[0], states(planned[1])["a.mov"]) == (0, "being made")
    first.kill()
    first.communicate()
    code, document = ends(second)
    assert (code, states(document)["a.mov"]) == (0, "done")
    assert [line["input"] for line in lines(out) if line["status"] == "died"] == [str(inputs / "a.mov")]


def test_a_run_with_other_settings_is_refused_what_one_at_work_has_claimed(inputs: Path, tmp_path: Path) -> None:
    out, go = tmp_path / "out", tmp_path / "go"
    first = launch(inputs, out, "--json", "--wait-for", go)
    wait_for(first, "at a.mov")
    (inputs / "new.mov").write_bytes(b"new")
    code, document, _ = run(inputs, out, "--seed", 1)
    assert code == 1
    assert states(document) == {**dict.fromkeys(["a.mov", "b.mov", "c.mov", "d.mov"], "failed"), "new.mov": "done"}
    assert f"another run (process {first.pid} on " in document["items"][0]["error"]
    assert "with other settings: wait for that run, or choose another folder" in document["items"][0]["error"]
    go.touch()
    first.communicate()
    assert first.returncode == 0
    made = results(out)
    assert {name: text.split()[0] for name, text in made.items()} == {
        f"{stem}{suffix}": b"1" if stem == "new" else b"0"
        for stem in ("a", "b", "c", "d", "new")
        for suffix in (".json", ".mp3", ".wav")
    }
    # Once the other is through, its results give way.
    assert run(inputs, out, "--seed", 1)[0] == 0
    assert {text.split()[0] for text in results(out).values()} == {b"1"}


def test_the_claim_of_a_dead_run_is_taken_over(inputs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = launch(inputs, out, "--wait-for", tmp_path / "never")
    wait_for(first, "at a.mov")
    first.kill()
    first.communicate()
    assert any(name.startswith(".d2m-run-") for name in results(out))
    code, document, _ = run(inputs, out, "--seed", 1)
    assert (code, document["done"]) == (0, 4)
    assert set(results(out)) == {f"{stem}{suffix}" for stem in "abcd" for suffix in (".json", ".mp3", ".wav")}


@pytest.mark.slow
def test_a_file_over_which_d2m_died_is_tried_last_and_left_out_after_three_deaths(inputs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (inputs / "b.mov").write_bytes(b"killer")
    assert run(inputs, out)[0] == -signal.SIGKILL
    assert set(results(out)) >= {"a.wav"}
    assert "c.wav" not in results(out)
    # The others first: they are finished, which clears the count.
    assert run(inputs, out)[0] == -signal.SIGKILL
    assert "d.wav" in results(out)
    for _ in range(2):
        assert states(run(inputs, out, "--dry-run")[1])["b.mov"] == "planned"
        assert run(inputs, out)[0] == -signal.SIGKILL
    assert states(run(inputs, out, "--dry-run")[1])["b.mov"] == "failed"
    code, document, _ = run(inputs, out)
    assert code == 1
    assert states(document) == {
        "a.mov": "already done",
        "b.mov": "failed",
        "c.mov": "already done",
        "d.mov": "already done",
    }
    assert "d2m itself ended 3 times in a row while it worked on this file" in document["items"][1]["error"]
    assert [line["status"] for line in lines(out)].count("died") == 4
    assert run(inputs, out)[0] == 1
    # A file that is finished in between clears the count, so it is tried again.
    (inputs / "e.mov").write_bytes(b"e")
    assert run(inputs, out)[0] == -signal.SIGKILL
    assert "e.wav" in results(out)
    (inputs / "b.mov").write_bytes(b"harmless")
    assert run(inputs, out)[0] == 0


@pytest.mark.slow
def test_what_is_asked_for_outright_is_tried_again(inputs: Path, tmp_path: Path) -> None:
    only = tmp_path / "only"
    only.mkdir()
    (only / "b.mov").write_bytes(b"killer")
    for _ in range(3):
        assert run(only, tmp_path / "out")[0] == -signal.SIGKILL
    assert run(only, tmp_path / "out")[0] == 1
    # With other settings, nothing is known against it.
    assert run(only, tmp_path / "out", "--seed", 1)[0] == -signal.SIGKILL
    assert run(only, tmp_path / "out", "--overwrite")[0] == -signal.SIGKILL


@pytest.mark.slow
def test_an_interrupt_is_no_death(inputs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for _ in range(4):
        process = launch(inputs, out, "--wait-for", tmp_path / "never")
        wait_for(process, "at a.mov")
        process.send_signal(signal.SIGINT)
        process.communicate()
        assert process.returncode == 130
        assert results(out) == {}
    assert [line["status"] for line in lines(out)] == ["started", "interrupted"] * 4
    assert run(inputs, out)[0] == 0


@pytest.mark.slow
def test_twenty_kills_in_mid_write_change_no_byte(tmp_path: Path) -> None:
    inputs, out = tmp_path / "in", tmp_path / "out"
    inputs.mkdir()
    for number in range(60):
        (inputs / f"{number:02}.mov").write_bytes(b"%d" % number * 1000)
    chance = random.Random(0)
    for _ in range(20):
        process = launch(inputs, out, "--seconds", "0.1")
        # One file at least is finished by each run, then it is somewhere in the next two.
        wait_for(process, "at ")
        wait_for(process, "at ")
        time.sleep(chance.uniform(0.0, 0.25))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        for path in out.iterdir():
            if path.suffix == ".wav" and not path.name.startswith("."):
                assert len(path.read_bytes().splitlines()) == 8
    code, document, _ = run(inputs, out)
    assert code == 0
    assert document["done"] > 0
    assert document["already_done"] >= 20
    assert run(inputs, tmp_path / "undisturbed")[0] == 0
    assert results(out) == results(tmp_path / "undisturbed")


@pytest.mark.slow
def test_artefacts_of_other_settings_do_not_stay_beside_new_ones(inputs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(inputs, out)[0] == 0
    (out / "b.mp3").write_bytes(b"edited by hand")
    code, _, stderr = run(inputs, out, "--seed", 1, "--artefacts", ".wav,.json")
    assert code == 0
    assert f"removed {out / 'a.mp3'}: it was made with other settings" in stderr
    assert f"{out / 'b.mp3'} was changed since d2m made it" in stderr
    assert [name for name in results(out) if name.endswith(".mp3")] == ["b.mp3"]
    assert {text.split()[0] for name, text in results(out).items() if name != "b.mp3"} == {b"1"}
    # What was changed is the user's own; with the same settings the others stay.
    assert run(inputs, out, "--seed", 1)[0] == 1
    (out / "b.mp3").unlink()
    assert run(inputs, out, "--seed", 1)[0] == 0
    assert run(inputs, out, "--seed", 1, "--artefacts", ".wav,.json")[1]["already_done"] == 4
    assert (out / "a.mp3").exists()


def test_what_a_run_that_dies_had_in_hand_falls_to_the_other(inputs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = launch(inputs, out, "--wait-for", tmp_path / "never")
    wait_for(first, "at a.mov")
    second = launch(inputs, out, "--json", "--seconds", "0.3")
    wait_for(second, "[1/4] ")
    first.kill()
    first.communicate()
    stdout, _ = second.communicate()
    assert second.returncode == 0
    assert set(states(json.loads(stdout)).values()) == {"done"}
    assert set(results(out)) == {f"{stem}{suffix}" for stem in "abcd" for suffix in (".json", ".mp3", ".wav")}
    assert [line["input"] for line in lines(out) if line["status"] == "died"] == [str(inputs / "a.mov")]


def worked_on(errors: str) -> list[str]:
    """Files that a run's work began with, in order."""
    return [line.removeprefix("at ") for line in errors.splitlines() if line.startswith("at ")]


@pytest.mark.slow
def test_of_three_runs_one_is_killed_and_nothing_is_lost_or_made_twice(tmp_path: Path) -> None:
    inputs, out = tmp_path / "in", tmp_path / "out"
    inputs.mkdir()
    for number in range(40):
        (inputs / f"{number:02}.mov").write_bytes(b"%d" % number)
    for number in (7, 23):
        (inputs / f"{number:02}.mov").write_bytes(b"bad %d" % number)
    # It makes one, and is killed over the next.
    runs = [launch(inputs, out, "--json", "--wait-for", tmp_path / "never", "--wait-from", 2)]
    wait_for(runs[0], "at ")
    runs += [launch(inputs, out, "--json", "--seconds", "0.1") for _ in range(2)]
    wait_for(runs[0], "at ")
    runs[0].kill()
    runs[0].communicate()
    others = [process.communicate(timeout=120) for process in runs[1:]]
    assert [process.returncode for process in runs[1:]] == [1, 1]
    assert len(results(out)) == 38 * 3
    died = [Path(line["input"]).name for line in lines(out) if line["status"] == "died"]
    assert len(died) == 1
    tried = [Path(line["input"]).name for line in lines(out) if line["status"] == "started"]
    assert sorted(tried) == sorted([path.name for path in inputs.iterdir()] + died)
    begun = [name for _, errors in others for name in worked_on(errors)]
    assert len(begun) == len(set(begun))
    assert len(begun) == 40 - 1
    assert all(worked_on(errors) for _, errors in others)
    # Each tells of all: what it made, what others made, and what failed, wherever that was.
    for stdout, _ in others:
        found = states(json.loads(stdout))
        assert {name for name, state in found.items() if state == "failed"} == {"07.mov", "23.mov"}
        assert set(found.values()) == {"done", "already done", "failed"}
    run(inputs, tmp_path / "alone")
    assert results(out) == results(tmp_path / "alone")


def test_runs_that_try_again_what_failed_try_it_once(inputs: Path, tmp_path: Path) -> None:
    out, go = tmp_path / "out", tmp_path / "go"
    for name in "abc":
        (inputs / f"{name}.mov").write_bytes(b"bad")
    assert run(inputs, out)[0] == 1
    both = [launch(inputs, out, "--json", "--retry-failed", "--wait-for", go) for _ in range(2)]
    for process in both:
        wait_for(process, "at ")
    go.touch()
    for process in both:
        code, document = ends(process)
        assert (code, document["failed"]) == (1, 3)
    tried = [Path(line["input"]).name for line in lines(out) if line["status"] == "started"]
    assert sorted(tried) == ["a.mov", "a.mov", "b.mov", "b.mov", "c.mov", "c.mov", "d.mov"]


def test_a_file_left_out_after_deaths_is_tried_once_more_when_asked(inputs: Path, tmp_path: Path) -> None:
    only = tmp_path / "only"
    only.mkdir()
    (only / "b.mov").write_bytes(b"killer")
    for _ in range(3):
        assert run(only, tmp_path / "out")[0] == -signal.SIGKILL
    code, document, _ = run(only, tmp_path / "out")
    assert code == 1
    assert "retry_failed=True tries it once more" in document["items"][0]["error"]
    assert run(only, tmp_path / "out", "--retry-failed")[0] == -signal.SIGKILL


def test_runs_on_shards_make_what_one_makes(inputs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    runs = [launch(inputs, out, "--json", "--shard", f"{number}/3") for number in (1, 2, 3)]
    documents = [ends(process) for process in runs]
    assert [code for code, _ in documents] == [0, 0, 0]
    made = [set(states(document)) for _, document in documents]
    assert sum(map(len, made)) == 4
    assert set.union(*made) == {"a.mov", "b.mov", "c.mov", "d.mov"}
    run(inputs, tmp_path / "alone")
    assert results(out) == results(tmp_path / "alone")
