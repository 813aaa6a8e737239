"""Errors of the disk: what was wrong, where, and which variable chooses another place."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from d2m_cli.errors import OutputError
from d2m_cli.hub.disk import check_room, telling_disk_errors


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.ENOSPC, "the disk is full: free some space, or set D2M_HOME to a folder elsewhere"),
        (errno.EACCES, "no permission to write there: change that, or set D2M_HOME"),
        (errno.EROFS, "the file system is read-only: mount it for writing, or set D2M_HOME"),
    ],
)
def test_what_to_do(tmp_path: Path, number: int, text: str) -> None:
    with (
        pytest.raises(OutputError, match=f"^can't write {tmp_path / 'x'}: {text}"),
        telling_disk_errors(tmp_path, "D2M_HOME"),
    ):
        raise OSError(number, os.strerror(number), str(tmp_path / "x"))
    with (
        pytest.raises(OutputError, match=f"^can't write {tmp_path}: {text}"),
        telling_disk_errors(tmp_path, "D2M_HOME"),
    ):
        raise OSError(number, os.strerror(number))


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(ConnectionResetError), telling_disk_errors(tmp_path, "D2M_HOME"):
        raise ConnectionResetError(errno.ECONNRESET, "reset")


def test_room(tmp_path: Path) -> None:
    check_room(tmp_path, 1, "D2M_HOME")
    with pytest.raises(OutputError, match=r"1000000000\.0 GB are needed and .* GB are free: .* set D2M_HOME"):
        check_room(tmp_path, 10**18, "D2M_HOME")
