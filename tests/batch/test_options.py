from __future__ import annotations

import os
from hashlib import blake2b
from pathlib import Path

import pytest

from d2m_cli.batch.options import BatchOptions, Shard
from d2m_cli.errors import UsageError


def share(name: str, count: int) -> int:
    (number,) = [number for number in range(1, count + 1) if Shard(number, count).holds(Path(name))]
    return number


def test_each_file_is_in_one_share_told_by_its_name_alone() -> None:
    for name in ("a", "deep/in/a folder", "été", os.fsdecode(b"\xff")):
        digest = blake2b(os.fsencode(name), digest_size=8).hexdigest()
        for count in (1, 2, 16):
            assert share(name, count) == 1 + int(digest, 16) % count
    # What a file system may not tell apart: a folder keeps its names in one way or the other.
    assert share("Clip", 97) == share("clip", 97)
    assert share("e\u0301", 97) == share("\u00e9", 97)


def test_shares_are_about_equal() -> None:
    counts = [sum(share(f"clips/{number:05}", 8) == part for number in range(4000)) for part in range(1, 9)]
    # 500 each; the deviation of a binomial of 4000 at 1/8 is 21.
    assert min(counts) > 500 - 4 * 21
    assert max(counts) < 500 + 4 * 21


def test_shares_are_read() -> None:
    assert Shard.parse("3/16") == Shard(3, 16)
    assert str(Shard(3, 16)) == "3/16"
    for text in ("", "3", "3/", "a/b", "-1/4", "1/4/2", "1 / 4", "\u0663/4", "9999999999/9"):
        with pytest.raises(UsageError, match="shard must be a share such as 1/4, counted from 1, not"):
            Shard.parse(text)
    for text in ("0/4", "5/4"):
        with pytest.raises(UsageError, match=f"shard must be one of 1/4 to 4/4, not {text}"):
            Shard.parse(text)
    with pytest.raises(UsageError, match="not 1/0"):
        Shard.parse("1/0")


def test_no_failure_at_all_is_no_limit() -> None:
    with pytest.raises(UsageError, match="max_failures must be at least 1, not 0"):
        BatchOptions(max_failures=0)
