from __future__ import annotations

import hashlib
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from d2m_cli.ground.stamp import Stamp, read_digest, settle

SECOND = 1_000_000_000


def test_a_stamp_vouches_for_the_same_size_and_times() -> None:
    stamp = Stamp(3, 100 * SECOND + 5, 100 * SECOND + 7, 200 * SECOND)
    assert stamp.vouches_for(replace(stamp, noted=300 * SECOND))
    assert not stamp.vouches_for(replace(stamp, size=4))
    assert not stamp.vouches_for(replace(stamp, modified=stamp.modified + 1))
    # A file that another was moved over, with its time set back.
    assert not stamp.vouches_for(replace(stamp, changed=stamp.changed + 1))


@pytest.mark.parametrize(
    ("changed", "milliseconds"),
    # A kernel that keeps parts of a second counts in steps of 10 ms at most; FAT counts in steps of 2 s.
    [(100 * SECOND + 7, 20), (100 * SECOND, 2000)],
)
def test_a_file_that_changed_in_the_tick_it_was_read_in_is_not_trusted(changed: int, milliseconds: int) -> None:
    late = changed + milliseconds * 1_000_000
    now = Stamp(3, changed, changed, 0)
    assert replace(now, noted=late).vouches_for(now)
    assert not replace(now, noted=late - 1).vouches_for(now)
    # The clock was set back since.
    assert not replace(now, noted=changed - SECOND).vouches_for(now)


def test_a_file_is_read_with_its_stamp(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    digest, stamp = read_digest(path)
    found = path.stat()
    assert digest == hashlib.blake2b(b"abc", digest_size=16).hexdigest()
    assert (stamp.size, stamp.modified, stamp.changed) == (3, found.st_mtime_ns, found.st_ctime_ns)
    assert abs(stamp.noted - time.time_ns()) < 10 * SECOND
    settle(path)
    assert read_digest(path)[1].vouches_for(Stamp.of(path))
    path.write_bytes(b"abd")
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert not stamp.vouches_for(Stamp.of(path))


@pytest.mark.skipif(os.name != "posix", reason="no time that the user can't set")
def test_a_file_that_is_dated_in_the_future_is_known_too(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    ahead = time.time_ns() + 3600 * SECOND
    os.utime(path, ns=(ahead, ahead))
    settle(path)
    stamp = read_digest(path)[1]
    assert stamp.vouches_for(Stamp.of(path))
    # Changed within the tick in which it was read, and dated back to what it was: still not to be trusted.
    early = replace(stamp, noted=stamp.changed + 1)
    assert not early.vouches_for(Stamp.of(path))


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        read_digest(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError):
        read_digest(tmp_path / "none")
