"""What a file does to the process that reads it must cost that file alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from d2m_cli.errors import UsageError, VideoError
from d2m_cli.media import pictures
from d2m_cli.media import process as media
from d2m_cli.media.video import VideoReader, probe
from tests.waiting import wait_until

MakeVideo = Callable[..., Path]


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    media.close_all()
    # Other tests may have left some in this process: multiprocessing, for one, keeps a process of its own.
    monkeypatch.setattr(sys.modules[__name__], "_OTHERS", frozenset(children()))


_OTHERS: frozenset[int] = frozenset()
"""Children of this process that were there before the test."""


def only_process() -> int:
    """Number of the one process that is kept."""
    assert len(media._idle) == 1
    return media._idle[0]._process.pid


def test_it_is_kept_for_many_files(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=0.4)
    probe(path)
    first = only_process()
    assert sum(len(chunk.times) for chunk in VideoReader(path)) == 10
    with pytest.raises(VideoError):
        probe(tmp_path / "none.mp4")
    probe(path)
    assert only_process() == first


def test_no_torch_in_it() -> None:
    code = (
        "import sys, d2m_cli.media.worker, d2m_cli.media.pictures, d2m_cli.media.sound\nprint('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_crash_names_the_file_and_costs_no_other(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=4)
    chunks = iter(VideoReader(path, chunk=2, decoder="pyav"))
    next(chunks)
    # The process that works is not among the idle ones.
    (worker,) = children()
    os.kill(worker, signal.SIGSEGV)
    time.sleep(0.2)  # dead before it is told that its pictures were taken
    with pytest.raises(VideoError, match=r"a\.mp4: its decoder crashed \(stopped by SIGSEGV"):
        for _ in chunks:
            pass
    assert sum(len(chunk.times) for chunk in VideoReader(path)) == 100


def test_a_process_that_the_system_ended_lacked_memory(make_video: MakeVideo, tmp_path: Path) -> None:
    chunks = iter(VideoReader(make_video(tmp_path / "a.mp4", seconds=4), chunk=2, decoder="pyav"))
    next(chunks)
    (worker,) = children()
    os.kill(worker, signal.SIGKILL)
    time.sleep(0.2)
    with pytest.raises(media.MemoryLackError, match="most likely for want of memory"):
        for _ in chunks:
            pass


def test_pyav_goes_on_where_decord_crashed(make_video: MakeVideo, tmp_path: Path) -> None:
    pytest.importorskip("decord")
    path = make_video(tmp_path / "a.mp4", seconds=4)
    reader = VideoReader(path, chunk=8)
    assert reader.decoder == "decord"
    times: list[Any] = []
    for number, chunk in enumerate(reader):
        if number == 1:
            (worker,) = children()
            os.kill(worker, signal.SIGKILL)
        assert chunk.start == len(times)
        times += chunk.times.tolist()
    np.testing.assert_allclose(times, np.arange(100) / 25, atol=1e-6)
    assert reader.decoder.startswith("pyav (decord failed: its decoder crashed (the system ended it")


def test_a_hang_ends_with_its_reason(make_video: MakeVideo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=4)
    chunks = iter(VideoReader(path, chunk=2, decoder="pyav"))
    next(chunks)
    (worker,) = children()
    os.kill(worker, signal.SIGSTOP)
    monkeypatch.setattr(media, "PATIENCE", 0.5)
    begun = time.monotonic()
    with pytest.raises(VideoError, match=r"a\.mp4: nothing came of it"):
        for _ in chunks:
            pass
    assert time.monotonic() - begun < 20
    assert not Path(f"/proc/{worker}").exists()


def test_memory_is_bounded(make_video: MakeVideo, tmp_path: Path) -> None:
    """The limit holds in the process: a file whose pictures ask for more than it fails alone."""
    path = make_video(tmp_path / "a.mp4", seconds=0.4)
    probe(path)
    limits = Path(f"/proc/{only_process()}/limits").read_text()
    (line,) = [line for line in limits.splitlines() if line.startswith("Max data size")]
    assert int(line.split()[3]) == 1_500_000_000


def test_it_dies_with_its_parent(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=4)
    code = (
        "import sys, time; from d2m_cli.media.video import VideoReader; from pathlib import Path\n"
        "chunks = iter(VideoReader(Path(sys.argv[1]), chunk=2, decoder='pyav')); next(chunks)\n"
        "print('reading', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "reading\n"
        (worker,) = children(parent.pid)
        parent.kill()
    wait_until(lambda: not running(worker))


def test_a_process_that_cannot_start_blames_no_file(
    make_video: MakeVideo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=0.4)
    monkeypatch.setattr(media, "_START", "raise ImportError('no module named av')")
    monkeypatch.setattr(media, "_started", False)
    with pytest.raises(UsageError, match=r"can't start: ended with 1: ImportError: no module named av"):
        probe(path)


def test_a_scaler_starts_no_threads() -> None:
    """One for every core, for each of the pictures that wait, would pass any limit on large machines."""
    asked: dict[str, Any] = {}

    class Frame:
        def to_ndarray(self, **options: Any) -> np.ndarray:
            asked.update(options)
            return np.zeros((2, 2, 3), np.uint8)

    pictures._scaled(Frame(), 2, 2)
    assert asked["threads"] == 1


def test_what_a_file_held_is_given_back(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=1, size=(1280, 720))
    sizes = []
    for _ in range(6):
        assert sum(len(chunk.times) for chunk in VideoReader(path, decoder="pyav")) == 25
        status = Path(f"/proc/{only_process()}/status").read_text().splitlines()
        sizes += [int(line.split()[1]) / 1000 for line in status if line.startswith("VmData")]
    assert max(sizes) < sizes[0] + 150  # MB; six times what a file of this size takes would be more


def test_a_file_that_grows_is_a_sign_of_life(
    make_video: MakeVideo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FFmpeg moves a film's index to its front at the end, without a word."""
    monkeypatch.setattr(media, "PATIENCE", 1.5)
    path = make_video(tmp_path / "a.mp4", seconds=0.4)
    with media.media_process() as process:
        worker = process._process.pid
        os.kill(worker, signal.SIGSTOP)
        process.request(path, {"do": "timeline"})
        part = tmp_path / "part"
        stop = time.monotonic() + 3.5

        def grow() -> None:
            while time.monotonic() < stop:
                part.write_bytes(b"more")
                time.sleep(0.05)
            os.kill(worker, signal.SIGCONT)

        thread = threading.Thread(target=grow)
        thread.start()
        message, _ = process.answer(path, growing=part)
        thread.join()
    assert message["timeline"]["codec"] == "h264"


def children(parent: int | None = None) -> list[int]:
    """Processes started by `parent`, or by this one since the test began."""
    parent = parent or os.getpid()
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent and fields[0] != "Z" and int(status.parent.name) not in _OTHERS:
            found.append(int(status.parent.name))
    return found


def running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
