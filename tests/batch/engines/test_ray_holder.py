"""What a process on a node does, in this process: no cluster is needed for that."""

from __future__ import annotations

import errno
import pickle
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from d2m_cli import Generator, __version__
from d2m_cli.batch.engines.ray_holder import Failure, Holder, Made, Plan, digests
from d2m_cli.batch.outcome import ElsewhereError, ItemResult, Job, Work
from d2m_cli.batch.voice import say
from d2m_cli.errors import MissingWeightsError, ResultError, UsageError, VideoError
from d2m_cli.ground.progress import StageReport
from d2m_cli.ground.search import Found


@contextmanager
def making(error: Exception | None) -> Iterator[Work]:
    def work(job: Job, report: StageReport) -> ItemResult:
        report("copying", 0.5)
        say("d2m: it copies")
        print("a library speaks", file=sys.stderr)
        if error is not None:
            raise error
        for path in job.artefacts.values():
            path.write_bytes(job.path.read_bytes() * 2)
        if job.drawing is not None:
            job.drawing.write_bytes(b"drawn")
        return ItemResult("copied")

    yield work


def settings(**more: Any) -> Mapping[str, Any]:
    return {"seed": 0, "networks": {"pose": "abc"}, **more}


def plan(tmp_path: Path, error: Exception | None = None, **more: Any) -> Plan:
    return Plan(
        partial(making, error),
        digests(settings()),
        partial(settings, **more),
        __version__,
        str(tmp_path),
        False,
    )


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / "a.mov").write_bytes(b"abc")
    found = Found(tmp_path / "a.mov", Path("a"))
    return Job(found.path, found.stem, "c", {".wav": tmp_path / "out" / "a.wav"}, "s", found)


@pytest.fixture(autouse=True)
def stderr_and_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    monkeypatch.chdir(tmp_path)


def holder(given: Plan) -> Holder:
    made = Holder()
    answer = made.open(pickle.loads(pickle.dumps(given)))
    assert isinstance(answer, str), answer
    return made


def test_results_come_back_whole_and_are_nowhere_else(tmp_path: Path, job: Job) -> None:
    answer = holder(plan(tmp_path)).make(0, job)
    assert answer == Made(ItemResult("copied"), {".wav": b"abcabc"}, None, ("d2m: it copies",))
    assert [path.name for path in tmp_path.iterdir()] == ["a.mov"]


def test_a_drawing_for_the_page_comes_back_too(tmp_path: Path, job: Job) -> None:
    answer = holder(plan(tmp_path)).make(0, replace(job, drawing=tmp_path / "report_files" / "a.js"))
    assert isinstance(answer, Made)
    assert answer.drawing == b"drawn"
    assert [path.name for path in tmp_path.iterdir()] == ["a.mov"]


def failure(tmp_path: Path, job: Job, error: Exception) -> Exception:
    answer = holder(plan(tmp_path, error)).make(0, job)
    assert isinstance(answer, Failure)
    return pickle.loads(pickle.dumps(answer)).error


def test_errors_are_what_they_were(tmp_path: Path, job: Job) -> None:
    assert type(failure(tmp_path, job, VideoError("a.mov: no"))) is VideoError
    assert type(failure(tmp_path, job, ResultError("too long"))) is ResultError
    missing = failure(tmp_path, job, MissingWeightsError("no network"))
    assert type(missing) is MissingWeightsError
    assert str(missing).startswith("no network (on the node ")
    full = failure(tmp_path, job, OSError(errno.ENOSPC, "full", "/tmp/x"))
    assert isinstance(full, OSError)
    assert (full.errno, full.filename) == (errno.ENOSPC, "/tmp/x")


def test_an_unforeseen_error_comes_as_it_was_described_there(tmp_path: Path, job: Job) -> None:
    error = failure(tmp_path, job, KeyError("x"))
    assert isinstance(error, ElsewhereError)
    assert error.described.startswith("KeyError at test_ray_holder.py:")
    assert "raise error" in error.traceback
    assert not error.shortage
    lack = failure(tmp_path, job, MemoryError())
    assert isinstance(lack, ElsewhereError)
    assert lack.shortage


def test_an_input_that_the_node_does_not_see_is_told_as_such(tmp_path: Path, job: Job) -> None:
    job.path.unlink()
    answer = holder(plan(tmp_path)).make(0, job)
    assert isinstance(answer, Failure)
    assert isinstance(answer.error, FileNotFoundError)
    assert answer.error.filename == str(job.path)


def test_a_node_that_is_not_as_the_others_is_refused(tmp_path: Path) -> None:
    other = Holder().open(plan(tmp_path, networks={"pose": "other"}))
    assert isinstance(other, Failure)
    assert isinstance(other.error, UsageError)
    assert "would make other results than this machine (networks differ)" in str(other.error)
    old = Holder().open(Plan(partial(making, None), {}, settings, "0.0", str(tmp_path), False))
    assert isinstance(old, Failure)
    assert f"holds d2m {__version__}, not 0.0" in str(old.error)


def test_networks_stay_behind_where_a_generator_is_sent(tmp_path: Path) -> None:
    given = Generator("embedded", device="cpu", compile=False, offload=True, cache=tmp_path)
    sent = pickle.loads(pickle.dumps(given))
    assert (sent.backbone, sent.device, sent.offload, sent._cache.folder) == ("embedded", "cpu", True, tmp_path)
