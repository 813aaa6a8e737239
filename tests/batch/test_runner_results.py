"""Results of a batch: their names, and what lies in their places already."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from d2m_cli.batch import stages
from d2m_cli.batch.runner import ItemResult, Job, run_batch
from d2m_cli.errors import UsageError
from d2m_cli.ground import stamp
from d2m_cli.ground.ledger import LEDGER_NAME
from d2m_cli.ground.progress import Report
from d2m_cli.ground.search import find_files, search
from d2m_cli.ground.stores import Store
from tests.batch.copier import Copier, ledger_lines, run, states


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
