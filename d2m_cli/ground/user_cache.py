"""Where what can be made again is kept from one run to the next."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache(name: str) -> Path | None:
    """A folder of d2m's own: in ``$XDG_CACHE_HOME/d2m``, else in ``~/.cache/d2m``; None without a home."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(given):
        return Path(given) / "d2m" / name
    try:
        return Path.home() / ".cache" / "d2m" / name
    except RuntimeError:
        return None
