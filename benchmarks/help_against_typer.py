"""``d2m --help``, and ``d2m generate`` with nothing to do, against a Typer app of one command that does nothing.

::

    python benchmarks/help_against_typer.py
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from functools import partial

from side_by_side import D2M, EXAMPLES, compare, machine, run

BARE = "import typer; app = typer.Typer(); app.command()(lambda: None); app()"
VIDEO = EXAMPLES / "lock_112.mp4"


def main() -> None:
    """Time both, each in processes of their own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    print(machine())
    bare = (sys.executable, "-c", BARE)
    for arguments in (["--help"], ["generate", "--help"]):
        ours = partial(run, *D2M, *arguments)
        compare(" ".join(["d2m", *arguments]), ours, partial(run, *bare, "--help"), "a bare Typer app", repeats)
    with tempfile.TemporaryDirectory() as out:
        # Few steps: how its results were made changes nothing about looking for them.
        ours = partial(run, *D2M, "generate", str(VIDEO), "--genre", "lock", "--steps", "2", "--candidates", "1",
                       "--out", out)  # fmt: skip
        compare("d2m generate, all results there", ours, partial(run, *bare), "a bare Typer app", repeats)


if __name__ == "__main__":
    main()
