"""How to go through many files, whatever is made of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Literal

from d2m_cli.errors import UsageError
from d2m_cli.ground.options import option
from d2m_cli.ground.search import name_key


@dataclass(frozen=True)
class Shard:
    """One of several equal shares of the files, told by their names alone.

    Whatever other files come or go, a file stays in its share. Files whose results have the same name ("clip.mp4" and
    "clip.mov") are in the same.

    Attributes
    ----------
    number
        Which share, from 1.
    count
        How many there are.

    Raises
    ------
    UsageError
        There is no such share.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            count = max(1, self.count)
            raise UsageError(
                f"{option('shard')} must be one of 1/{count} to {count}/{count}, not {self.number}/{self.count}"
            )

    @classmethod
    def parse(cls, text: str) -> Shard:
        """A share as "2/16".

        Raises
        ------
        UsageError
            It is none.
        """
        if not re.fullmatch(r"[0-9]{1,9}/[0-9]{1,9}", text):
            raise UsageError(f"{option('shard')} must be a share such as 1/4, counted from 1, not {text[:40]!r}")
        number, count = map(int, text.split("/"))
        return cls(number, count)

    def holds(self, stem: Path) -> bool:
        """Whether a file is in this share.

        Parameters
        ----------
        stem
            Relative path of its results, without a suffix, as `d2m_cli.ground.search.Found` has it.
        """
        digest = blake2b(name_key(stem.as_posix()).encode(errors="surrogateescape"), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.count == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


@dataclass(frozen=True)
class BatchOptions:
    """How a batch treats what is there, and how it speaks.

    Attributes
    ----------
    overwrite
        Do what is done again, and replace files that d2m did not make.
    verify
        Read all inputs and results, also those whose size and times say that they are what they were.
    dry_run
        Only say what would be done; nothing is written.
    json_out
        One JSON document on stdout in place of lines.
    verbose
        Show where errors that nobody foresaw came from; the ledger keeps that in any case.
    shard
        Work on this share alone; None for all.
    retry_failed
        Try again what failed before with the same content, settings and version.
    max_failures
        Stop after so many failures; None goes on to the end.
    engine
        "local": this process does the work; "ray": processes on the nodes of a Ray cluster do.
    ray_address
        Of the cluster; None takes the one that the environment variable RAY_ADDRESS names, else one of this machine
        alone, for this run.
    store
        Address of the results, such as "s3://bucket/music"; None has them in the folder of the ledger.
    part
        Name of the folder of a collection that this run goes through, where it is one of several runs; "" is the one of
        the files that lie in none. Shares are told by names in the collection, and results lie in that folder of the
        store.
    failures_before
        Failures of the runs before this one, which count towards `max_failures`.
    """

    overwrite: bool = False
    verify: bool = False
    dry_run: bool = False
    json_out: bool = False
    verbose: bool = False
    shard: Shard | None = None
    retry_failed: bool = False
    max_failures: int | None = None
    engine: Literal["local", "ray"] = "local"
    ray_address: str | None = None
    store: str | None = None
    part: str | None = None
    failures_before: int = 0

    def __post_init__(self) -> None:
        if self.max_failures is not None and self.max_failures < 1:
            raise UsageError(f"{option('max_failures')} must be at least 1, not {self.max_failures}")
        if self.ray_address is not None and self.engine != "ray":
            raise UsageError(f"{option('ray_address')} is for {option('engine', 'ray')} alone: give both, or neither")


PLAIN = BatchOptions()
"""Skip what is done, and say a line of each file."""
