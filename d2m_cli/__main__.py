"""``python -m d2m_cli``."""

from __future__ import annotations

from d2m_cli.entry import main

if __name__ == "__main__":
    main()
