"""One file from a server that behaves, cuts, lies and forgets."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from d2m_cli.errors import DownloadError, MissingWeightsError, OutputError
from d2m_cli.hub.catalogue import Download
from d2m_cli.hub.fetch import TRIES, download
from tests.hub.conftest import Told, hearing_interrupts
from tests.hub.loopback import Loopback, sha256
from tests.waiting import PATIENCE

CONTENT = bytes(range(256)) * 1200
DIGEST = sha256(CONTENT)
PATH = "/files/weights-1.pth"


@pytest.fixture
def source(server: Loopback) -> Download:
    server.files[PATH] = CONTENT
    return Download(server.url + PATH, DIGEST[:8])


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "weights-1.pth"


def alone(target: Path) -> bool:
    """Whether the finished file is all that there is."""
    return [path.name for path in target.parent.iterdir()] == [target.name]


def test_right_bytes_come_once(server: Loopback, source: Download, target: Path, told: Told) -> None:
    assert download(source, target, told) == DIGEST
    assert target.read_bytes() == CONTENT
    assert alone(target)
    assert [one.range for one in server.gets(PATH)] == [""]


def test_a_cut_connection_is_tried_again(server: Loopback, source: Download, target: Path, told: Told) -> None:
    server.todo[PATH] = ["cut", "cut"]
    assert download(source, target, told) == DIGEST
    assert len(server.gets(PATH)) == 3
    assert alone(target)


@pytest.mark.parametrize("trouble", ["cut", "empty"])
def test_a_server_that_always_cuts_ends_with_advice(
    server: Loopback, source: Download, target: Path, told: Told, trouble: str
) -> None:
    server.always[PATH] = trouble
    with pytest.raises(DownloadError, match=rf"the connection failed, {TRIES} times .* Try again later"):
        download(source, target, told)
    assert list(target.parent.iterdir()) == []
    assert len(server.gets(PATH)) == TRIES
    del server.always[PATH]
    assert download(source, target, told) == DIGEST


def test_no_server(home: Path, target: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1:9/x: the connection failed, "):
        download(Download("http://127.0.0.1:9/x", DIGEST), target, told)


@pytest.mark.parametrize("status", [404, 403, 410, 500, 503])
def test_answers_that_are_no_file(server: Loopback, source: Download, target: Path, told: Told, status: int) -> None:
    server.always[PATH] = status
    with pytest.raises(DownloadError, match=f"the server answers {status}"):
        download(source, target, told)
    assert list(target.parent.iterdir()) == []


def test_what_a_killed_process_left_is_not_used(server: Loopback, source: Download, target: Path, told: Told) -> None:
    (target.parent / f"{target.name}.part").mkdir(parents=True)
    (target.parent / f"{target.name}.part" / target.name).write_bytes(CONTENT[:1000])
    assert download(source, target, told) == DIGEST
    assert target.read_bytes() == CONTENT
    assert alone(target)


def test_wrong_bytes_are_not_kept(server: Loopback, source: Download, target: Path, told: Told) -> None:
    target.parent.mkdir()
    target.write_bytes(b"from before")
    server.always[PATH] = "wrong"
    with pytest.raises(DownloadError, match=rf"{sha256(CONTENT[::-1])}, and one that begins with {DIGEST[:8]} is"):
        download(source, target, told)
    assert target.read_bytes() == b"from before"
    assert alone(target)


def test_a_whole_checksum_counts_to_its_last_digit(
    server: Loopback, source: Download, target: Path, told: Told
) -> None:
    almost = DIGEST[:-1] + ("0" if DIGEST[-1] != "0" else "1")
    with pytest.raises(DownloadError, match=f"and {almost} is published"):
        download(Download(source.url, almost), target, told)
    assert download(Download(source.url, DIGEST), target, told) == DIGEST


def test_a_passing_trouble_passes(server: Loopback, source: Download, target: Path, told: Told) -> None:
    server.todo[PATH] = [503, "cut", 500]
    assert download(source, target, told) == DIGEST


def test_without_a_checksum_the_content_is_tried(server: Loopback, source: Download, target: Path, told: Told) -> None:
    seen: list[bytes] = []

    def opens(path: Path) -> None:
        seen.append(path.read_bytes())
        if not seen[-1].startswith(bytes(range(4))):
            raise MissingWeightsError("no checkpoint")

    plain = Download(source.url)
    assert download(plain, target, told, opens) == DIGEST
    assert seen == [CONTENT]
    server.files[PATH] = b"<html>please log in</html>"
    with pytest.raises(DownloadError, match=r"not the weights that are meant.*no checkpoint"):
        download(plain, target, told, opens)
    assert target.read_bytes() == CONTENT
    assert alone(target)
    server.seen.clear()
    with pytest.raises(ValueError, match="neither a checksum nor anything that opens it"):
        download(plain, target, told)
    assert server.seen == []


def test_offline_is_offline(
    server: Loopback, source: Download, target: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(MissingWeightsError, match="HF_HUB_OFFLINE"):
        download(source, target, told)
    assert server.seen == []


def test_a_disk_without_room_is_told_before(
    source: Download, target: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=len(CONTENT) - 1))
    with pytest.raises(OutputError, match=r"are free: free some space, or set D2M_HOME"):
        download(replace(source, size=len(CONTENT)), target, told)
    assert not target.exists()


def test_a_file_in_the_way(source: Download, tmp_path: Path, told: Told) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(OutputError, match=r"a file stands where a folder is needed.*D2M_HOME"):
        download(source, tmp_path / "home" / "weights" / "x", told)


SCRIPT = """
import resource, sys
from pathlib import Path
from d2m_cli.hub.catalogue import Download
from d2m_cli.hub.fetch import download
from d2m_cli.ground.progress import Progress
url, digest, target, limit = sys.argv[1:]
if limit != "0":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
download(Download(url, digest), Path(target), Progress())
"""


def start(source: Download, target: Path, limit: int = 0) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", SCRIPT, source.url, source.sha256 or "", str(target), str(limit)]
    return subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, preexec_fn=hearing_interrupts)


def test_a_write_that_fails_leaves_no_target(source: Download, target: Path) -> None:
    process = start(source, target, limit=100_000)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "the file grows past the largest size allowed here" in errors
    assert not target.exists()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_half_way(server: Loopback, source: Download, target: Path, told: Told, how: signal.Signals) -> None:
    server.todo[PATH] = ["hang"]
    process = start(source, target)
    assert server.hanging.wait(PATIENCE)
    while not any(path.is_file() and path.stat().st_size for path in target.parent.rglob("*")):
        assert process.poll() is None
    process.send_signal(how)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert not target.exists()
    assert download(source, target, told) == DIGEST
    assert alone(target)
