from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from d2m_cli.batch import runner, stages
from d2m_cli.batch.options import BatchOptions, Shard
from d2m_cli.batch.runner import BatchSummary, ItemResult, Job, Work, run_batch
from d2m_cli.errors import InputError, MissingWeightsError, UsageError, VideoError
from d2m_cli.ground import digests as digests_of
from d2m_cli.ground import stamp
from d2m_cli.ground.files import atomic_path, output_error
from d2m_cli.ground.ledger import LEDGER_NAME
from d2m_cli.ground.progress import Report
from d2m_cli.ground.search import Found, find_files, search
from d2m_cli.ground.stores import Store
from d2m_cli.media.process import MemoryLackError


class Copier:
    """Work that copies a file into each of its artefacts, or fails as the file's content says."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, job: Job, report: Report) -> ItemResult:
        report("copying", 0.5)
        self.seen.append(job.path.name)
        content = job.path.read_bytes()
        if content == b"bad":
            raise VideoError(f"{job.path}: is not a video")
        if content == b"bug":
            raise ZeroDivisionError("oops")
        if content == b"memory":
            raise MemoryError
        if content == b"gpu":
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        if content == b"decoder":
            raise MemoryLackError(f"{job.path}: it needs more memory than a video should")
        if content == b"full":
            raise OSError(errno.ENOSPC, "full", str(job.path))
        if content == b"long":
            raise output_error(job.artefacts[".wav"], OSError(errno.ENAMETOOLONG, "long"))
        if content == b"vanishes":
            job.path.unlink()
            job.path.read_bytes()
        if content == b"grows":
            job.path.write_bytes(b"grown")
        if content == b"half":
            job.artefacts[".wav"].write_bytes(b"half")
            raise VideoError(f"{job.path}: ends early")
        if content == b"stop":
            raise KeyboardInterrupt
        if content == b"weights":
            raise MissingWeightsError("no weights")
        for path in job.artefacts.values():
            with atomic_path(path) as part:
                part.write_bytes(content)
        return ItemResult("copied", {"size": len(content)})


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a", "b", "c"):
        (folder / f"{name}.mp4").write_bytes(name.encode())
    return folder


def run(inputs: Path, work: Work, **changes: Any) -> BatchSummary:
    how = {one.name: changes.pop(one.name) for one in fields(BatchOptions) if one.name in changes}
    arguments = {
        "options": BatchOptions(**how),
        "settings": {"k": 1},
        "artefacts": (".wav", ".json"),
        "out_dir": inputs.parent / "out",
        "label": "copy",
        **changes,
    }
    return run_batch(find_files([inputs], frozenset({".mp4"})), work, **arguments)


def states(summary: BatchSummary) -> list[str]:
    return [outcome.state for outcome in summary.outcomes]


def test_all_is_done_once(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work = Copier()
    summary = run(inputs, work)
    out = inputs.parent / "out"
    assert (states(summary), summary.exit_code) == (["done"] * 3, 0)
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [f"{name}.{kind}" for name in "abc" for kind in ("wav", "json")] + [LEDGER_NAME]
    )
    assert (out / "b.wav").read_bytes() == b"b"
    captured = capsys.readouterr()
    assert captured.out.splitlines()[:2] == [str(out / "a.wav"), f"{out / 'a.json'}  (copied)"]
    assert "[3/3]" in captured.err
    assert "left" in captured.err.splitlines()[0]
    summary = run(inputs, work)
    assert (states(summary), summary.exit_code) == (["already done"] * 3, 0)
    assert work.seen == ["a.mp4", "b.mp4", "c.mp4"]
    assert summary.outcomes[0].details == {"size": 1}


def test_what_changed_is_done_again(inputs: Path) -> None:
    work = Copier()
    run(inputs, work)
    (inputs / "b.mp4").write_bytes(b"new")
    (inputs.parent / "out" / "c.json").unlink()
    work.seen.clear()
    assert states(run(inputs, work)) == ["already done", "done", "done"]
    assert work.seen == ["b.mp4", "c.mp4"]
    assert states(run(inputs, work, settings={"k": 2})) == ["done"] * 3
    assert states(run(inputs, work)) == ["done"] * 3
    assert states(run(inputs, work, artefacts=(".wav",))) == ["already done"] * 3
    assert states(run(inputs, work, artefacts=(".wav", ".mp3"))) == ["done"] * 3
    assert states(run(inputs, work, artefacts=(".wav", ".mp3"), overwrite=True)) == ["done"] * 3


def test_settings_of_one_file_make_that_file_again_alone(inputs: Path) -> None:
    work = Copier()
    own = {"a": 1, "b": 2, "c": 3}

    def settings_of(item: Found) -> dict[str, int]:
        if item.path.stem not in own:
            raise InputError(f"{item.path}: nothing is known of it")
        return {"k": own[item.path.stem]}

    assert states(run(inputs, work, settings={"k": "own"}, own_settings=settings_of)) == ["done"] * 3
    own["b"] = 4
    work.seen.clear()
    # What the settings of all are then is of no matter.
    assert states(run(inputs, work, settings={"k": "other"}, own_settings=settings_of)) == [
        "already done",
        "done",
        "already done",
    ]
    assert work.seen == ["b.mp4"]
    # It is as if they had been the settings of all.
    assert states(run(inputs, work, settings={"k": 1}))[0] == "already done"
    del own["a"]
    summary = run(inputs, work, settings={"k": "own"}, own_settings=settings_of)
    assert (states(summary)[0], summary.exit_code) == ("failed", 1)
    assert summary.outcomes[0].error == f"{inputs / 'a.mp4'}: nothing is known of it"


def test_one_bad_file_does_not_stop_the_rest(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (inputs / "a.mp4").write_bytes(b"bad")
    (inputs / "b.mp4").write_bytes(b"bug")
    work = Copier()
    summary = run(inputs, work)
    assert (states(summary), summary.exit_code) == (["failed", "failed", "done"], 1)
    assert summary.outcomes[0].error == f"{inputs / 'a.mp4'}: is not a video"
    assert not summary.outcomes[0].bug
    assert summary.outcomes[1].bug
    assert "bug in d2m or a library: ZeroDivisionError at test_runner.py:" in (summary.outcomes[1].error or "")
    err = capsys.readouterr().err
    assert "d2m copy: 1 done, 2 failed" in err
    lines = [json.loads(line) for line in (inputs.parent / "out" / LEDGER_NAME).read_text().splitlines()]
    assert [line["status"] for line in lines] == ["started", "failed"] * 2 + ["started", "placing", "done"]
    # What failed is tried again.
    work.seen.clear()
    (inputs / "a.mp4").write_bytes(b"mended")
    assert states(run(inputs, work)) == ["done", "failed", "already done"]


def test_a_file_that_can_not_be_read_is_named(inputs: Path) -> None:
    items = find_files([inputs], frozenset({".mp4"}))
    (inputs / "b.mp4").unlink()
    summary = run_batch(items, Copier(), settings={}, artefacts=(".wav",), out_dir=inputs.parent / "out", label="copy")
    assert states(summary) == ["done", "failed", "done"]
    assert "b.mp4 can't be read: No such file" in (summary.outcomes[1].error or "")


def test_a_full_disk_stops_the_batch(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (inputs / "b.mp4").write_bytes(b"full")
    summary = run(inputs, Copier())
    assert (states(summary), summary.exit_code) == (["done", "failed", "not tried"], 1)
    assert "the disk is full: free some space" in (summary.stopped or "")
    assert "d2m: error: can't write" in capsys.readouterr().err


def test_an_interrupt_gives_the_summary_so_far(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (inputs / "b.mp4").write_bytes(b"stop")
    summary = run(inputs, Copier(), json_out=True)
    assert (states(summary), summary.exit_code) == (["done", "not tried", "not tried"], 130)
    captured = capsys.readouterr()
    assert json.loads(captured.out)["interrupted"] is True
    assert "run the same command again" in captured.err


def test_a_missing_model_concerns_all(inputs: Path) -> None:
    (inputs / "a.mp4").write_bytes(b"weights")
    with pytest.raises(MissingWeightsError):
        run(inputs, Copier())


def test_json_is_one_document(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (inputs / "b.mp4").write_bytes(b"bad")
    run(inputs, Copier(), json_out=True)
    document = json.loads(capsys.readouterr().out)
    assert (document["command"], document["done"], document["failed"], document["exit_code"]) == ("copy", 2, 1, 1)
    assert document["items"][0]["artefacts"][".wav"] == str(inputs.parent / "out" / "a.wav")
    assert document["items"][0]["details"] == {"size": 1}
    assert "is not a video" in document["items"][1]["error"]


def test_a_dry_run_writes_nothing(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work = Copier()
    summary = run(inputs, work, dry_run=True)
    assert (states(summary), work.seen) == (["planned"] * 3, [])
    assert not (inputs.parent / "out").exists()
    assert f"would make {inputs.parent / 'out' / 'a.wav'}" in capsys.readouterr().out
    run(inputs, work)
    (inputs / "c.mp4").write_bytes(b"new")
    assert states(run(inputs, work, dry_run=True)) == ["already done", "already done", "planned"]


def test_files_of_others_are_not_replaced_unless_asked(inputs: Path) -> None:
    out = inputs.parent / "out"
    out.mkdir()
    (out / "b.wav").write_bytes(b"mine")
    summary = run(inputs, Copier())
    assert states(summary) == ["done", "failed", "done"]
    assert "d2m did not make it" in (summary.outcomes[1].error or "")
    assert (out / "b.wav").read_bytes() == b"mine"
    assert states(run(inputs, Copier(), overwrite=True)) == ["done"] * 3
    assert (out / "b.wav").read_bytes() == b"b"


def test_an_input_is_never_replaced(inputs: Path) -> None:
    with pytest.raises(UsageError, match="would replace an input"):
        run(inputs, Copier(), artefacts=(".mp4",), out_dir=inputs, overwrite=True)
    # Nor is what is read beside the items, by whatever path it is named.
    track = inputs / "b.wav"
    track.write_bytes(b"mine")
    with pytest.raises(UsageError, match="would replace an input"):
        run(inputs, Copier(), out_dir=inputs, overwrite=True, also_read=(None, inputs / ".." / "in" / "b.wav"))
    assert track.read_bytes() == b"mine"
    (inputs.parent / "file").touch()
    with pytest.raises(UsageError, match="is a file, not a folder"):
        run(inputs, Copier(), out_dir=inputs.parent / "file")


KILLED = """
import sys, time
from pathlib import Path
from d2m_cli.ground.files import atomic_path
from d2m_cli.ground.search import find_files
from d2m_cli.batch.options import BatchOptions, Shard
from d2m_cli.batch.runner import ItemResult, run_batch

def work(job, report):
    for suffix, path in job.artefacts.items():
        with atomic_path(path) as part:
            part.write_bytes(job.path.read_bytes())
            if job.path.name == sys.argv[3] and suffix == ".json":
                print("half-way", flush=True)
                time.sleep(60)
    return ItemResult()

summary = run_batch(
    find_files([Path(sys.argv[1])], frozenset({".mp4"})), work,
    settings={}, artefacts=(".wav", ".json"), out_dir=Path(sys.argv[2]), options=BatchOptions(json_out=True),
    label="copy",
)
sys.exit(summary.exit_code)
"""


def launch(inputs: Path, hang_at: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", KILLED, str(inputs), str(inputs.parent / "out"), hang_at]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts what it puts in the background deaf to the keyboard; this test is about hearing it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def test_kill_half_way_and_run_again(inputs: Path) -> None:
    process = launch(inputs, "b.mp4")
    assert process.stdout is not None
    assert process.stdout.readline() == "half-way\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    out = inputs.parent / "out"
    whole = {path.name: path.read_bytes() for path in out.iterdir() if not path.name.startswith(".")}
    whole.pop(LEDGER_NAME)
    # All results of a file appear together.
    assert whole == {"a.wav": b"a", "a.json": b"a"}
    process = launch(inputs, "none")
    stdout, _ = process.communicate()
    assert process.returncode == 0
    assert [item["state"] for item in json.loads(stdout)["items"]] == ["already done", "done", "done"]
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [f"{name}.{kind}" for name in "abc" for kind in ("wav", "json")] + [LEDGER_NAME]
    )


def test_control_c_ends_with_130_and_a_summary(inputs: Path) -> None:
    process = launch(inputs, "b.mp4")
    assert process.stdout is not None
    assert process.stdout.readline() == "half-way\n"
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate()
    assert process.returncode == 130
    document = json.loads(stdout)
    assert [item["state"] for item in document["items"]] == ["done", "not tried", "not tried"]
    assert "interrupted" in stderr
    assert not [path for path in (inputs.parent / "out").iterdir() if path.name.startswith(".")]


def test_a_terminal_shows_a_bar_and_keeps_stdout_clean(inputs: Path) -> None:
    pty = pytest.importorskip("pty")
    leader, follower = pty.openpty()
    command = [sys.executable, "-c", KILLED.replace("json_out=True", ""), str(inputs), str(inputs.parent / "o"), "-"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=follower,
        text=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    stdout, _ = process.communicate()
    os.close(follower)
    shown = b""
    while True:
        try:
            block = os.read(leader, 4096)
        except OSError:
            break
        if not block:
            break
        shown += block
    os.close(leader)
    assert process.returncode == 0
    assert stdout.splitlines() == [
        str(inputs.parent / "o" / f"{name}.{kind}") for name in "abc" for kind in ("wav", "json")
    ]
    assert b"3/3" in shown
    assert b"3 done" in shown


def ledger_lines(inputs: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (inputs.parent / "out" / LEDGER_NAME).read_text().splitlines()]


@pytest.fixture
def digests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were read for their digest."""
    read: list[str] = []
    really = digests_of.content_digest

    def spy(path: Path) -> str:
        read.append(path.name)
        return really(path)

    monkeypatch.setattr(stamp, "content_digest", spy)
    return read


def test_what_is_done_is_not_read_again_but_to_verify(inputs: Path, digests: list[str]) -> None:
    for path in inputs.iterdir():
        stamp.settle(path)
    run(inputs, Copier())
    assert sorted(digests) == sorted(f"{name}.{kind}" for name in "abc" for kind in ("mp4", "wav", "json"))
    digests.clear()
    assert states(run(inputs, Copier())) == ["already done"] * 3
    assert digests == []
    assert states(run(inputs, Copier(), verify=True)) == ["already done"] * 3
    assert len(digests) == 9
    # Copies with other times are read once, and then known.
    digests.clear()
    os.utime(inputs / "a.mp4", ns=(0, 5))
    os.utime(inputs.parent / "out" / "b.wav", ns=(0, 5))
    for path in (inputs / "a.mp4", inputs.parent / "out" / "b.wav"):
        stamp.settle(path)
    for _ in range(2):
        assert states(run(inputs, Copier())) == ["already done"] * 3
    assert digests == ["a.mp4", "b.wav"]
    assert states(run(inputs, Copier(), dry_run=True, verify=True)) == ["already done"] * 3


def test_a_result_that_the_user_changed_is_not_replaced_unless_asked(inputs: Path) -> None:
    run(inputs, Copier())
    out = inputs.parent / "out"
    # One of the same size and one that was cut; neither is replaced by what has other settings, either.
    (out / "b.wav").write_bytes(b"x")
    (out / "c.json").write_bytes(b"")
    for k in (1, 2):
        summary = run(inputs, Copier(), settings={"k": k})
        assert states(summary) == ["already done" if k == 1 else "done", "failed", "failed"]
        assert summary.outcomes[1].error == (
            f"{out / 'b.wav'} was changed since d2m made it: move it, choose another folder with out, or add "
            "overwrite=True"
        )
        assert ((out / "b.wav").read_bytes(), (out / "c.json").read_bytes()) == (b"x", b"")
    # A failure in between, or what another run has made by then, makes a name no freer and no more the user's.
    (inputs / "a.mp4").write_bytes(b"bad")
    assert states(run(inputs, Copier()))[0] == "failed"
    (inputs / "a.mp4").write_bytes(b"mended")
    assert states(run(inputs, Copier()))[0] == "done"
    (out / "c.json").unlink()
    assert states(run(inputs, Copier())) == ["already done", "failed", "done"]
    assert states(run(inputs, Copier(), overwrite=True)) == ["done"] * 3
    assert (out / "b.wav").read_bytes() == b"b"


def test_what_the_user_puts_there_meanwhile_is_not_replaced(inputs: Path) -> None:
    mine = inputs.parent / "out" / "b.wav"

    def work(job: Job, report: Report) -> ItemResult:
        if job.path.name == "b.mp4":
            mine.write_bytes(b"mine")
        return Copier()(job, report)

    assert states(run(inputs, work)) == ["done", "failed", "done"]
    assert (mine.read_bytes(), (inputs.parent / "out" / "b.json").exists()) == (b"mine", False)


def test_a_name_whose_result_was_removed_is_not_d2ms_any_more(inputs: Path) -> None:
    out = inputs.parent / "out"
    run(inputs, Copier(), artefacts=(".wav", ".mp3"))
    assert states(run(inputs, Copier(), settings={"k": 2}, artefacts=(".wav",))) == ["done"] * 3
    assert not (out / "a.mp3").exists()
    (out / "a.mp3").write_bytes(b"a")
    summary = run(inputs, Copier(), artefacts=(".wav", ".mp3"))
    assert states(summary) == ["failed", "done", "done"]
    assert "a.mp3 is in the way and d2m did not make it" in (summary.outcomes[0].error or "")


def test_results_that_were_being_placed_when_d2m_ended_are_known(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, really = inputs.parent / "out", stages.publish  # type: ignore[attr-defined]

    def half(staged: dict[str, Path], artefacts: dict[str, Path], store: Store) -> None:
        really({".wav": staged[".wav"]}, artefacts, store)
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "publish", half)
    assert run(inputs, Copier()).exit_code == 130
    monkeypatch.undo()
    assert (out / "a.wav").read_bytes() == b"a"
    assert states(run(inputs, Copier(), settings={"k": 2})) == ["done"] * 3
    # A version that noted no digests beforehand: there the name has to do.
    lines = [line | {"status": "started", "run": ""} for line in ledger_lines(inputs) if line["status"] == "started"]
    (out / LEDGER_NAME).write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert states(run(inputs, Copier(), settings={"k": 2})) == ["done"] * 3


def test_a_result_that_another_run_made_meanwhile_is_no_strangers(
    inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = stages.read_digest  # type: ignore[attr-defined]

    def slow(path: Path) -> tuple[str, stamp.Stamp]:
        found = really(path)
        monkeypatch.undo()
        assert states(run(inputs, Copier())) == ["done"] * 3  # begins and ends while the first file is being read
        return found

    monkeypatch.setattr(stages, "read_digest", slow)
    assert states(run(inputs, Copier())) == ["already done"] * 3


def test_another_version_of_d2m_makes_it_anew(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(inputs, Copier()).settings["d2m"] == runner.__version__  # type: ignore[attr-defined]
    monkeypatch.setattr(runner, "__version__", "99")
    assert states(run(inputs, Copier())) == ["done"] * 3


def test_what_is_done_needs_no_folder_that_can_be_written_to(inputs: Path) -> None:
    run(inputs, Copier())
    for path in (inputs / "a.mp4", inputs.parent / "out" / "a.wav"):
        os.utime(path, ns=(0, 5))
    (inputs.parent / "out" / LEDGER_NAME).chmod(0o444)
    user = os.geteuid()
    (inputs.parent / "out").chmod(0o555)
    if user == 0:
        for folder in [inputs.parent, *inputs.parent.parents]:
            if folder.stat().st_uid == 0 and not folder.stat().st_mode & 0o5:
                folder.chmod(folder.stat().st_mode | 0o55)
        os.seteuid(65534)
    try:
        summary = run(inputs, Copier())
        other = run(inputs, Copier(), settings={"k": 2})
    finally:
        os.seteuid(user)
    assert (states(summary), summary.exit_code) == (["already done"] * 3, 0)
    # One word for all: none of the others could be written either.
    assert (states(other), other.exit_code) == (["failed", "not tried", "not tried"], 1)
    assert "no permission to write there" in (other.stopped or "")


def test_an_error_nobody_foresaw_keeps_its_traceback(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (inputs / "b.mp4").write_bytes(b"bug")
    run(inputs, Copier(), verbose=True)
    err = capsys.readouterr().err
    assert "Traceback (most recent call last):" in err
    assert 'raise ZeroDivisionError("oops")' in err
    (line,) = [line for line in ledger_lines(inputs) if line["status"] == "failed"]
    assert 'raise ZeroDivisionError("oops")' in line["traceback"]
    run(inputs, Copier())
    assert "Traceback" not in capsys.readouterr().err


def test_a_file_is_named_once_in_a_line(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (inputs / "b.mp4").write_bytes(b"bad")
    run(inputs, Copier())
    line = next(line for line in capsys.readouterr().err.splitlines() if line.startswith("[2/3]"))
    assert line.startswith(f"[2/3] {inputs / 'b.mp4'}: failed: is not a video")


def test_trouble_with_one_result_is_that_files_alone(inputs: Path) -> None:
    out = inputs.parent / "out"
    (out / "a.json").mkdir(parents=True)
    (inputs / "b.mp4").write_bytes(b"long")
    summary = run(inputs, Copier(), overwrite=True)
    assert (states(summary), summary.stopped) == (["failed", "failed", "done"], None)
    assert summary.outcomes[0].error == (
        f"can't write {out / 'a.json'}: a folder stands where the file belongs: move it, or choose another folder "
        "with out"
    )
    # Named as it would be called, not as it is called while it is made.
    assert f"can't write {out / 'b.wav'}: the name is too long" in (summary.outcomes[1].error or "")
    assert sorted(path.name for path in out.iterdir()) == ["a.json", "c.json", "c.wav", LEDGER_NAME]


def test_nothing_of_a_failed_file_appears(inputs: Path) -> None:
    run(inputs, Copier())
    (inputs / "b.mp4").write_bytes(b"half")
    assert states(run(inputs, Copier(), settings={"k": 2})) == ["done", "failed", "done"]
    assert (inputs.parent / "out" / "b.wav").read_bytes() == b"b"


def test_a_file_that_goes_or_changes_meanwhile_costs_only_itself(inputs: Path) -> None:
    (inputs / "a.mp4").write_bytes(b"vanishes")
    (inputs / "b.mp4").write_bytes(b"grows")
    summary = run(inputs, Copier())
    assert (states(summary), summary.exit_code) == (["failed", "failed", "done"], 1)
    assert summary.outcomes[0].error == f"{inputs / 'a.mp4'} can't be read: No such file or directory"
    assert not summary.outcomes[0].bug
    assert "b.mp4 changed while d2m worked on it: run the same command again" in (summary.outcomes[1].error or "")
    assert not (inputs.parent / "out" / "b.wav").exists()
    # A pipe in the place of a file is not opened.
    items = find_files([inputs], frozenset({".mp4"}))
    (inputs / "c.mp4").unlink()
    os.mkfifo(inputs / "c.mp4")
    summary = run_batch(items, Copier(), settings={}, artefacts=(".wav",), out_dir=inputs.parent / "o", label="copy")
    assert "c.mp4 can't be read: not a regular file" in (summary.outcomes[-1].error or "")


def test_a_missing_model_is_no_death(inputs: Path) -> None:
    (inputs / "a.mp4").write_bytes(b"weights")
    for _ in range(4):
        with pytest.raises(MissingWeightsError):
            run(inputs, Copier())
    assert [line["status"] for line in ledger_lines(inputs)] == ["started", "interrupted"] * 4
    assert [path.name for path in (inputs.parent / "out").iterdir()] == [LEDGER_NAME]


def test_results_beside_their_videos_are_not_taken_for_videos(tmp_path: Path) -> None:
    (tmp_path / "a.mov").write_bytes(b"a")
    suffixes = frozenset({".mov", ".mp4"})
    arguments: dict[str, Any] = {"settings": {}, "artefacts": (".mp4",), "out_dir": tmp_path, "label": "copy"}
    assert states(run_batch(find_files([tmp_path], suffixes), Copier(), **arguments)) == ["done"]
    assert states(run_batch(find_files([tmp_path], suffixes), Copier(), **arguments)) == ["already done"]
    (tmp_path / "b.mp4").write_bytes(b"b")
    assert [item.path.name for item in find_files([tmp_path], suffixes)] == ["a.mov", "b.mp4"]


def test_names_stay_when_another_file_comes(inputs: Path) -> None:
    work = Copier()
    run(inputs, work)
    (inputs / "a.avi").write_bytes(b"other")
    arguments: dict[str, Any] = {"settings": {"k": 1}, "artefacts": (".wav", ".json"), "out_dir": inputs.parent / "out"}
    items = search([inputs], frozenset({".mp4", ".avi"})).found
    summary = run_batch(items, work, **arguments, label="copy")
    assert states(summary) == ["done", "already done", "already done", "already done"]
    assert summary.outcomes[0].artefacts[".wav"] == str(inputs.parent / "out" / "a.avi.wav")
    assert (inputs.parent / "out" / "a.wav").read_bytes() == b"a"


def test_a_name_of_250_bytes(inputs: Path) -> None:
    (inputs / ("n" * 246 + ".mp4")).write_bytes(b"long name")
    for state in ("done", "already done"):
        summary = run(inputs, Copier(), artefacts=(".rhythm.json",))
        assert states(summary) == [state] * 4
    (name,) = [path.name for path in (inputs.parent / "out").iterdir() if path.name.startswith("n")]
    assert len(name) == 231 + len(".rhythm.json")


def test_what_was_passed_over_is_told(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (inputs / "dead\n.mp4").symlink_to("nowhere")
    found = search([inputs], frozenset({".mp4"}))
    summary = run(inputs, Copier(), passed_over=found.passed_over, json_out=True)
    assert summary.exit_code == 0
    captured = capsys.readouterr()
    assert f"d2m: passed over: {inputs}/dead\\n.mp4 is a symbolic link that leads nowhere" in captured.err
    assert "3 done, 1 passed over" in captured.err
    assert json.loads(captured.out)["passed_over"] == [
        {"path": f"{inputs}/dead\n.mp4", "reason": "is a symbolic link that leads nowhere"}
    ]


def test_odd_things_among_the_results_stop_nothing(inputs: Path) -> None:
    out = inputs.parent / "out"
    out.mkdir()
    (out / ".d2m-run-abc").write_bytes(b"mine")
    (out / ".d2m-run-def" / "run.json").mkdir(parents=True)
    (out / ".d2m-run-ghi").mkdir()
    os.mkfifo(out / ".d2m-run-ghi" / "run.json")
    assert states(run(inputs, Copier())) == ["done"] * 3
    assert (out / ".d2m-run-abc").read_bytes() == b"mine"


def test_a_folder_in_the_place_of_a_result_is_not_to_be_overwritten(inputs: Path) -> None:
    (inputs.parent / "out" / "a.json").mkdir(parents=True)
    for dry_run in (True, False):
        summary = run(inputs, Copier(), dry_run=dry_run)
        assert states(summary)[0] == "failed"
        assert "a folder stands where the file belongs: move it, or choose" in (summary.outcomes[0].error or "")
        assert "--overwrite" not in (summary.outcomes[0].error or "")


def test_shares_are_the_whole_each_file_once(inputs: Path) -> None:
    for number in range(20):
        (inputs / f"{number}.mp4").write_bytes(b"%d" % number)
    shares = [Copier() for _ in range(3)]
    for number, work in enumerate(shares, 1):
        assert run(inputs, work, shard=Shard(number, 3)).exit_code == 0
    names = [name for work in shares for name in work.seen]
    assert sorted(names) == sorted(path.name for path in inputs.iterdir())
    assert all(work.seen for work in shares)
    assert states(run(inputs, Copier())) == ["already done"] * 23
    # A file stays in its share when others come.
    (inputs / "00.mp4").write_bytes(b"new")
    for number, work in enumerate(shares, 1):
        found = run(inputs, Copier(), shard=Shard(number, 3), overwrite=True)
        assert {Path(one.input).name for one in found.outcomes} - {"00.mp4"} == set(work.seen)


def test_results_are_named_alike_in_whatever_share_their_files_are(inputs: Path) -> None:
    suffixes = frozenset({".mp4", ".avi"})
    for name in ("a.avi", "d.avi", "e.avi"):
        (inputs / name).write_bytes(name.encode())
    items = search([inputs], suffixes).found
    arguments: dict[str, Any] = {"settings": {}, "artefacts": (".wav",), "label": "copy"}
    run_batch(items, Copier(), out_dir=inputs.parent / "whole", **arguments)
    for number in (4, 2, 1, 3):
        options = BatchOptions(shard=Shard(number, 4))
        run_batch(items, Copier(), out_dir=inputs.parent / "parts", options=options, **arguments)
    whole, parts = (
        {path.name: path.read_bytes() for path in (inputs.parent / name).glob("*.wav")} for name in ("whole", "parts")
    )
    assert parts == whole
    assert len(whole) == 6


def test_an_empty_share_is_no_failure(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = next(number for number in range(1, 50) if not any(Shard(number, 50).holds(Path(name)) for name in "abc"))
    summary = run(inputs, Copier(), shard=Shard(empty, 50))
    assert (summary.outcomes, summary.exit_code) == ((), 0)
    assert "d2m copy: no files in 0:00" in capsys.readouterr().err


def test_what_failed_is_tried_again_only_when_asked(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (inputs / "a.mp4").write_bytes(b"bad")
    (inputs / "b.mp4").write_bytes(b"bug")
    work = Copier()
    first = run(inputs, work)
    assert states(first) == ["failed", "failed", "done"]
    capsys.readouterr()
    again = run(inputs, work, json_out=True)
    assert (states(again), again.exit_code) == (["failed", "failed", "already done"], 1)
    assert work.seen == ["a.mp4", "b.mp4", "c.mp4"]
    assert [outcome.error for outcome in again.outcomes] == [outcome.error for outcome in first.outcomes]
    assert [outcome.bug for outcome in again.outcomes] == [False, True, False]
    captured = capsys.readouterr()
    assert "a.mp4: failed: is not a video (as before; not tried again)" in captured.err
    told = "2 of the failed were not tried again: they would fail as before; retry_failed=True tries them"
    assert told in captured.err
    document = json.loads(captured.out)
    assert (document["failed"], document["failed_before"]) == (2, 2)
    assert [item["failed_before"] for item in document["items"]] == [True, True, False]
    # When asked, with other settings, with other results, or once the file is another.
    assert states(run(inputs, work, retry_failed=True, dry_run=True)) == ["planned", "planned", "already done"]
    run(inputs, work, retry_failed=True)
    run(inputs, work, settings={"k": 2})
    run(inputs, work, artefacts=(".wav", ".json", ".mp3"))
    run(inputs, work, overwrite=True)
    assert [work.seen.count(name) for name in ("a.mp4", "b.mp4")] == [5, 5]
    (inputs / "a.mp4").write_bytes(b"mended")
    assert states(run(inputs, work)) == ["done", "failed", "already done"]


def test_what_failed_for_want_of_something_is_tried_again(inputs: Path) -> None:
    (inputs / "a.mp4").write_bytes(b"full")
    (inputs / "b.mp4").write_bytes(b"long")
    (inputs / "c.mp4").write_bytes(b"vanishes")
    work = Copier()
    for _ in range(2):
        assert states(run(inputs, work)) == ["failed", "not tried", "not tried"]
    (inputs / "a.mp4").write_bytes(b"a")
    for _ in range(2):
        (inputs / "c.mp4").write_bytes(b"vanishes")
        assert run(inputs, work).count("failed") == 2
    assert [work.seen.count(f"{name}.mp4") for name in "abc"] == [3, 2, 2]


def test_what_failed_for_want_of_memory_is_tried_again(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, content in (("a", b"memory"), ("b", b"gpu"), ("c", b"decoder")):
        (inputs / f"{name}.mp4").write_bytes(content)
    work = Copier()
    for _ in range(2):
        summary = run(inputs, work)
        assert states(summary) == ["failed"] * 3
        assert not any(outcome.bug or outcome.failed_before for outcome in summary.outcomes)
    assert work.seen == ["a.mp4", "b.mp4", "c.mp4"] * 2
    assert "a.mp4: failed: memory ran out (MemoryError at " in capsys.readouterr().err
    failed = [line for line in ledger_lines(inputs) if line["status"] == "failed"]
    assert [line["kind"] for line in failed] == ["resources"] * 6
    assert "raise MemoryError" in failed[0]["traceback"]


def test_a_failed_file_that_is_named_otherwise_now(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (inputs / "a.mp4").write_bytes(b"bad")
    run(inputs, Copier())
    monkeypatch.chdir(inputs)
    items = find_files([Path()], frozenset({".mp4"}))
    out = inputs.parent / "out"
    summary = run_batch(items, Copier(), settings={"k": 1}, artefacts=(".wav", ".json"), out_dir=out, label="copy")
    assert (summary.outcomes[0].error, summary.outcomes[0].failed_before) == ("a.mp4: is not a video", True)


def test_so_many_failures_are_enough(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "abd":
        (inputs / f"{name}.mp4").write_bytes(b"bad")
    summary = run(inputs, Copier(), max_failures=2)
    assert (states(summary), summary.exit_code) == (["failed", "failed", "not tried", "not tried"], 1)
    assert summary.stopped == "stopped after 2 failures, as max_failures=2 asks for"
    assert "d2m: error: stopped after 2 failures" in capsys.readouterr().err
    # What failed before does not count.
    assert states(run(inputs, Copier(), max_failures=2)) == ["failed", "failed", "done", "failed"]
    assert states(run(inputs, Copier(), max_failures=2, retry_failed=True)) == ["failed"] * 2 + ["not tried"] * 2
