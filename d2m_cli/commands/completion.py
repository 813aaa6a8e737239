"""What the shell completes behind options whose values d2m knows."""

from __future__ import annotations


def complete_genres(incomplete: str) -> list[str]:
    """Dance genres, and "auto"."""
    from d2m_cli.ground.genres import GENRE_NAMES

    return [name for name in ("auto", *GENRE_NAMES.values()) if name.startswith(incomplete.lower())]


def complete_backbones(incomplete: str) -> list[str]:
    """Families of models, and "auto"."""
    from d2m_cli.backbones.registry import FAMILIES

    return [name for name in ("auto", *FAMILIES) if name.startswith(incomplete)]


def complete_formats(incomplete: str) -> list[str]:
    """Formats, the last of a list with commas."""
    from d2m_cli.generation.artefacts import FORMATS

    before, comma, last = incomplete.rpartition(",")
    named = before.split(",")
    return [f"{before}{comma}{name}" for name in FORMATS if name.startswith(last) and name not in named]
