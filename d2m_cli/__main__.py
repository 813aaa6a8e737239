"""``python -m d2m_cli``."""

from __future__ import annotations

from d2m_cli.app import main

main()
