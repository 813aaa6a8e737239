"""Where the program begins: signals and streams are set up before anything that takes time is imported."""

from __future__ import annotations

import sys

from d2m_cli.ground.interrupts import end_at_once, forget_interrupts
from d2m_cli.ground.surroundings import fill_closed_streams, settle_program


def main() -> None:
    """Entry point of the console script and of ``python -m d2m_cli``."""
    end_at_once()
    fill_closed_streams()
    settle_program(sys.argv[1:])
    from d2m_cli.app import main as run

    try:
        run()
    finally:
        forget_interrupts()
