"""What one piece of music is given of its own, in place of what is asked of all."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from d2m_cli.generation.options import GenerateOptions
from d2m_cli.generation.video_genre import AUTO
from d2m_cli.ground.genres import genre_code


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

        What is said of the genre or the track of all (`genre_table`, `genre_words`, `music_start`) is not for a piece
        that has another genre, or a track of its own.

        Raises
        ------
        UsageError
            They do not go together, or a file is not there.
        """
        given = self.given
        if not given:
            return options
        if self.genre not in (None, AUTO):
            given["genre_table"] = None
            if genre_code(self.genre) != options.genre:
                given["genre_words"] = None
        if self.music is not None:
            given["music_start"] = None
        return replace(options, **given)


NOTHING_OWN = OwnOptions()
_NAMES = tuple(one.name for one in fields(OwnOptions))
