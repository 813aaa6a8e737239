from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from d2m_cli.errors import OutputError, ResultError
from d2m_cli.ground.files import atomic_path, output_error


def test_a_file_appears_whole_with_the_usual_permissions(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "a.wav"
    with atomic_path(target) as part:
        assert part.parent == target.parent
        assert part.suffix == ".wav"
        part.write_bytes(b"whole")
        assert not target.exists()
    assert target.read_bytes() == b"whole"
    assert [path.name for path in target.parent.iterdir()] == ["a.wav"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~umask


def fail_half_way(target: Path) -> None:
    with atomic_path(target) as part:
        part.write_bytes(b"half")
        raise RuntimeError("half-way")


def test_an_error_leaves_the_older_file_alone(tmp_path: Path) -> None:
    target = tmp_path / "a.wav"
    target.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="half-way"):
        fail_half_way(target)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.wav", b"old")]


def test_a_full_disk_is_told_with_the_path(tmp_path: Path) -> None:
    # /dev/full answers every write as a full disk does.
    with (
        pytest.raises(OutputError, match=r"a\.wav: the disk is full: free some space"),
        atomic_path(tmp_path / "a.wav"),
        open("/dev/full", "wb", buffering=0) as full,
    ):
        full.write(b"x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_other_reasons_are_told(tmp_path: Path, number: int) -> None:
    with pytest.raises(OutputError, match="choose another folder"), atomic_path(tmp_path / "a.wav"):
        raise OSError(number, os.strerror(number))


def test_trouble_with_another_file_is_not_blamed_on_the_target(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), atomic_path(tmp_path / "a.wav"):
        raise PermissionError(errno.EACCES, "no", str(tmp_path / "input.mp4"))


def test_a_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # root may write anywhere
    try:
        with pytest.raises(OutputError, match="no permission to write there"), atomic_path(tmp_path / "a.wav"):
            pass
    finally:
        os.seteuid(user)


def test_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"")
    with pytest.raises(OutputError, match="a file stands where a folder"), atomic_path(tmp_path / "out" / "a.wav"):
        pass


def test_long_and_odd_names(tmp_path: Path) -> None:
    for name in ("n" * 251 + ".wav", "☃" * 80 + ".wav", os.fsdecode(b"\xff.wav"), "[x].wav", "nosuffix"):
        with atomic_path(tmp_path / name) as part:
            part.write_bytes(b"1")
        assert (tmp_path / name).read_bytes() == b"1"
    with pytest.raises(OutputError, match="too long"), atomic_path(tmp_path / ("n" * 300 + ".wav")):
        pass


def test_kill_half_way_leaves_no_result_and_the_next_run_cleans_up(tmp_path: Path) -> None:
    target = tmp_path / "a.wav"
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from d2m_cli.ground.files import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as part:\n"
        "    part.write_bytes(b'half')\n"
        "    print('writing', flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(target)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not target.exists()
    leftovers = list(tmp_path.iterdir())
    assert len(leftovers) == 1
    assert leftovers[0].name.startswith(".")
    with atomic_path(target) as part:
        part.write_bytes(b"whole")
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_two_threads_may_make_the_same_file(tmp_path: Path) -> None:
    target = tmp_path / "a.wav"
    with atomic_path(target) as first:
        first.write_bytes(b"first, ")
        with atomic_path(target) as second:
            second.write_bytes(b"half")
            # The other is complete before this one, and neither takes anything away from the other.
            with first.open("ab") as file:
                file.write(b"whole")
            assert not target.exists()
            second.write_bytes(b"second, whole")
        assert target.read_bytes() == b"second, whole"
    assert target.read_bytes() == b"first, whole"
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_what_a_killed_process_of_the_same_number_left_is_removed(tmp_path: Path) -> None:
    target = tmp_path / "a.wav"
    with atomic_path(target) as part:
        left = part.with_name(part.name.replace(f"-{os.getpid()}-", f"-{os.getpid()}-9"))
    left.write_bytes(b"half")
    with atomic_path(target):
        assert not left.exists()


def test_a_writer_that_replaces_the_file_does_not_change_who_may_read_it(tmp_path: Path) -> None:
    target = tmp_path / "weights.bin"
    (tmp_path / "plain").write_bytes(b"")
    with atomic_path(target) as part:
        part.unlink()
        os.close(os.open(part, os.O_CREAT | os.O_WRONLY, 0o600))
        part.write_bytes(b"x")
    assert target.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_names_that_begin_alike_have_temporary_files_of_their_own(tmp_path: Path) -> None:
    first, second = tmp_path / ("n" * 200 + "a.wav"), tmp_path / ("n" * 200 + "b.wav")
    with atomic_path(first) as one, atomic_path(second) as two:
        one.write_bytes(b"1")
        two.write_bytes(b"2")
    assert (first.read_bytes(), second.read_bytes()) == (b"1", b"2")
    # What follows the last dot may be as long as a name.
    dotted = tmp_path / ("a." + "n" * 250)
    with atomic_path(dotted) as part:
        part.write_bytes(b"3")
    assert dotted.read_bytes() == b"3"


@pytest.mark.parametrize(
    ("number", "one_alone"),
    [
        (errno.ENAMETOOLONG, True),
        (errno.EISDIR, True),
        (errno.EACCES, True),
        (errno.ENOSPC, False),
        (errno.EROFS, False),
        (errno.EIO, False),
    ],
)
def test_troubles_of_one_result_are_told_from_those_of_all(tmp_path: Path, number: int, one_alone: bool) -> None:
    error = OSError(number, os.strerror(number))
    assert isinstance(output_error(tmp_path, error), ResultError) == one_alone
    assert not isinstance(output_error(tmp_path, error, whole=True), ResultError)
