"""One file from a server that behaves, cuts, lies and forgets."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from d2m_cli.errors import DownloadError, MissingWeightsError, OutputError
from d2m_cli.hub.catalogue import Download
from d2m_cli.hub.fetch import TRIES, download
from tests.hub.conftest import Told
from tests.hub.loopback import Loopback, sha256

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


def part_of(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")


def alone(target: Path) -> bool:
    """Whether the finished file is all that there is."""
    return [path.name for path in target.parent.iterdir()] == [target.name]


def test_right_bytes_come_once(server: Loopback, source: Download, target: Path, told: Told) -> None:
    assert download(source, target, told) == DIGEST
    assert target.read_bytes() == CONTENT
    assert alone(target)
    assert [one.range for one in server.gets(PATH)] == [""]


def test_a_cut_connection_is_taken_up_where_it_broke_off(
    server: Loopback, source: Download, target: Path, told: Told
) -> None:
    server.todo[PATH] = ["cut", "cut"]
    assert download(source, target, told) == DIGEST
    half, three_quarters = len(CONTENT) // 2, len(CONTENT) // 4 * 3
    assert [one.range for one in server.gets(PATH)] == ["", f"bytes={half}-", f"bytes={three_quarters}-"]
    assert "the connection failed" in told.text


def test_a_server_that_knows_no_ranges_sends_all_again(
    server: Loopback, source: Download, target: Path, told: Told
) -> None:
    server.ranges = False
    server.todo[PATH] = ["cut"]
    assert download(source, target, told) == DIGEST
    assert target.read_bytes() == CONTENT


def test_more_cuts_than_tries_are_no_trouble_while_something_comes(
    server: Loopback, source: Download, target: Path, told: Told
) -> None:
    server.todo[PATH] = ["cut"] * (2 * TRIES)
    assert download(source, target, told) == DIGEST
    assert len(server.gets(PATH)) == 2 * TRIES + 1


def test_a_server_that_always_cuts_ends_with_advice(
    server: Loopback, source: Download, target: Path, told: Told
) -> None:
    server.ranges = False
    server.always[PATH] = "cut"
    with pytest.raises(DownloadError, match=rf"{TRIES} times in a row\. 0\.2 MB are kept"):
        download(source, target, told)
    assert not target.exists()
    assert len(server.gets(PATH)) == TRIES
    server.ranges = True
    del server.always[PATH]
    assert download(source, target, told) == DIGEST
    assert server.gets(PATH)[-1].range == f"bytes={len(CONTENT) // 2}-"


def test_nothing_comes_at_all(server: Loopback, source: Download, target: Path, told: Told) -> None:
    server.always[PATH] = "empty"
    with pytest.raises(DownloadError, match=f"{TRIES} times in a row. Try again later"):
        download(source, target, told)
    assert len(server.gets(PATH)) == TRIES


def test_no_server(home: Path, target: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("d2m_cli.hub.fetch.WAIT_SECONDS", 0.0)
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1:9/x: the connection failed .* times in a row"):
        download(Download("http://127.0.0.1:9/x", DIGEST), target, told)


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


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (403, 1), (410, 1), (500, TRIES), (503, TRIES)])
def test_answers_that_are_no_file(
    server: Loopback, source: Download, target: Path, told: Told, status: int, requests: int
) -> None:
    server.always[PATH] = status
    with pytest.raises(DownloadError, match=f"the server answers {status}"):
        download(source, target, told)
    assert len(server.gets(PATH)) == requests
    assert list(target.parent.iterdir()) == []


def test_a_passing_trouble_passes(server: Loopback, source: Download, target: Path, told: Told) -> None:
    server.todo[PATH] = [503, 429, "cut", 500]
    assert download(source, target, told) == DIGEST


def test_what_a_killed_process_left_is_taken_up(server: Loopback, source: Download, target: Path, told: Told) -> None:
    target.parent.mkdir()
    part_of(target).write_bytes(CONTENT[:1000])
    assert download(source, target, told) == DIGEST
    assert [one.range for one in server.gets(PATH)] == ["bytes=1000-"]
    assert alone(target)


def test_a_finished_part_needs_no_request(server: Loopback, source: Download, target: Path, told: Told) -> None:
    target.parent.mkdir()
    part_of(target).write_bytes(CONTENT)
    assert download(source, target, told) == DIGEST
    assert server.seen == []
    assert alone(target)


@pytest.mark.parametrize("left", [b"something else", b"x" * len(CONTENT), CONTENT + b"more"])
def test_a_part_of_another_file_is_fetched_anew(
    server: Loopback, source: Download, target: Path, told: Told, left: bytes
) -> None:
    target.parent.mkdir()
    part_of(target).write_bytes(left)
    assert download(source, target, told) == DIGEST
    assert target.read_bytes() == CONTENT


def test_a_file_that_changes_on_the_way_is_not_mixed(server: Loopback, target: Path, told: Told) -> None:
    """Without a checksum only If-Range tells."""
    new = b"new " * 1000

    class Changing(dict[str, bytes]):
        def __getitem__(self, path: str) -> bytes:
            return CONTENT if len(server.gets(path)) == 1 else new

    server.files = Changing({PATH: CONTENT})
    server.todo[PATH] = ["cut"]
    assert download(Download(server.url + PATH), target, told) == sha256(new)
    assert target.read_bytes() == new


def test_without_a_checksum_the_content_is_tried(server: Loopback, source: Download, target: Path, told: Told) -> None:
    seen: list[bytes] = []

    def opens(path: Path) -> None:
        seen.append(path.read_bytes())
        if not seen[-1].startswith(bytes(range(4))):
            raise MissingWeightsError("no checkpoint")

    plain = Download(source.url, opens=opens)
    target.parent.mkdir()
    part_of(target).write_bytes(b"<html>half a page")
    assert download(plain, target, told) == DIGEST
    assert seen == [CONTENT]
    server.files[PATH] = b"<html>please log in</html>"
    with pytest.raises(DownloadError, match=r"not the weights that are meant.*no checkpoint"):
        download(plain, target, told)
    assert target.read_bytes() == CONTENT
    assert alone(target)


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
        download(source, target, told)
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
from d2m_cli.training.progress import Progress
url, digest, target, limit = sys.argv[1:]
if limit != "0":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
download(Download(url, digest), Path(target), Progress())
"""


def start(source: Download, target: Path, limit: int = 0) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", SCRIPT, source.url, source.sha256 or "", str(target), str(limit)]
    return subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)


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
    assert server.hanging.wait(60)
    while not (part_of(target).exists() and part_of(target).stat().st_size):
        assert process.poll() is None
    process.send_signal(how)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert not target.exists()
    there = part_of(target).stat().st_size
    assert 0 < there <= len(CONTENT) // 2
    assert download(source, target, told) == DIGEST
    assert server.gets(PATH)[-1].range == f"bytes={there}-"
    assert alone(target)
