"""``d2m --help`` against a Typer app of one command that does nothing: what starting costs.

::

    python benchmarks/help_against_typer.py
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from functools import partial

from side_by_side import compare, machine

BARE = "import typer; app = typer.Typer(); app.command()(lambda: None); app()"


def main() -> None:
    """Time both, each in processes of their own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    print(machine())
    run = partial(subprocess.run, stdout=subprocess.DEVNULL, check=True)
    bare = partial(run, [sys.executable, "-c", BARE, "--help"])
    for arguments in (["--help"], ["generate", "--help"]):
        ours = partial(run, [sys.executable, "-m", "d2m_cli", *arguments])
        compare(" ".join(["d2m", *arguments]), ours, bare, "a bare Typer app", repeats)


if __name__ == "__main__":
    main()
