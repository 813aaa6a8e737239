"""What one piece of music is given of its own, in place of what is asked of all."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from d2m_cli.generation.options import GenerateOptions
from d2m_cli.generation.video_genre import AUTO


@dataclass(frozen=True, slots=True)
class OwnOptions:
    """Options of one piece of music; None leaves what is asked of all.

    Attributes
    ----------
    genre, prompt, negative_prompt, seed, start, duration, music
        As in `GenerateOptions`.
    """

    genre: str | None = None
    prompt: str | None = None
    negative_prompt: str | None = None
    seed: int | None = None
    start: float | None = None
    duration: float | None = None
    music: Path | None = None

    @property
    def given(self) -> dict[str, Any]:
        """Those that are not None, by name."""
        return {name: value for name in _NAMES if (value := getattr(self, name)) is not None}

    def of(self, options: GenerateOptions) -> GenerateOptions:
        """What is asked of the piece, where `options` are asked of all.

        Raises
        ------
        UsageError
            They do not go together, or a file is not there.
        """
        given = self.given
        if not given:
            return options
        if self.genre not in (None, AUTO):
            # The table of genres is for those that have none of their own.
            given["genre_table"] = None
        return replace(options, **given)


NOTHING_OWN = OwnOptions()
_NAMES = tuple(one.name for one in fields(OwnOptions))
