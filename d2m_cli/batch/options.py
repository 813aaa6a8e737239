"""How to go through many files, whatever is made of them."""

from __future__ import annotations

from dataclasses import dataclass


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
    """

    overwrite: bool = False
    verify: bool = False
    dry_run: bool = False
    json_out: bool = False
    verbose: bool = False


PLAIN = BatchOptions()
"""Skip what is done, and say a line of each file."""
