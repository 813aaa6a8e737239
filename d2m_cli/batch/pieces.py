"""Which pieces of music a run makes: for each video one, or one for each of its lines and each of several seeds."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import Formatter
from typing import Any

from d2m_cli.batch.manifest import ManifestLine
from d2m_cli.errors import InputError, UsageError
from d2m_cli.generation.options import GenerateOptions, check_seed
from d2m_cli.generation.own import NOTHING_OWN, OwnOptions
from d2m_cli.ground.genres import GENRE_NAMES
from d2m_cli.ground.options import option
from d2m_cli.ground.printable import quote
from d2m_cli.ground.real_paths import RealPaths
from d2m_cli.ground.search import VIDEO_SUFFIXES, Found, Search, search

FIELDS = ("stem", "genre", "seed", "start", "variation")
"""What a pattern of names may hold."""
PLAIN_NAME = "{stem}"

_FORM = re.compile(r"(0[1-9][0-9]?)?(d|(\.[0-9])?f)?")
"""How a number may be written in a name: with zeros in front, and so many behind the point."""


@dataclass(frozen=True, slots=True)
class Piece(Found):
    """One piece of music to make.

    Attributes
    ----------
    own
        What it is given in place of what is asked of all.
    called
        Its name without the number that tells it from others of the same video.
    line
        The line of the manifest that asks for it, such as "takes.csv: line 3"; "" for none.
    """

    own: OwnOptions = NOTHING_OWN
    called: str = ""
    line: str = ""


_Asked = tuple[OwnOptions, str]
"""What is asked of a piece, and the line that does so."""


def videos_of(lines: Sequence[ManifestLine]) -> Search:
    """The videos that a manifest names.

    Raises
    ------
    UsageError
        One is not there; the text gives the line.
    """
    return search([line.video for line in lines], VIDEO_SUFFIXES)


def pieces_of(
    videos: Search,
    options: GenerateOptions,
    lines: Sequence[ManifestLine] = (),
    *,
    variations: int = 1,
    name: str = PLAIN_NAME,
) -> tuple[Search, int]:
    """The pieces of music that are to be made for some videos.

    A video that a manifest has lines for gets a piece for each of them; one that it has none for gets one as is asked
    of all. Each comes in as many variations as are wanted, with seeds that count up; of a track there is one.

    Names of pieces for one video that would be the same get "_1", "_2" and so on behind, in order; those that were made
    before get the same again from `d2m_cli.batch.numbering`.

    Parameters
    ----------
    videos
        What the search for them found.
    options
        What is asked of all.
    lines
        Of the manifest.
    variations
        How many pieces there are where there would be one.
    name
        Pattern of the names: text, and any of `FIELDS` in braces. `variation` counts the pieces of one video from 1.

    Returns
    -------
    The same search with the pieces in place of the videos, and how many of the lines name none of these videos.

    Raises
    ------
    UsageError
        There is no such field, seeds run out of their range, or a track is to come in variations.
    """
    if variations < 1:
        raise UsageError(f"{option('variations')} must be at least 1, not {variations}")
    if variations > 1 and options.music is not None:
        raise UsageError(f"a track has no variations: leave out {option('variations')} or {option('music')}")
    named = _naming(name)
    if not lines and variations == 1 and name == PLAIN_NAME:
        return videos, 0
    real = RealPaths()
    of_video: dict[str, list[_Asked]] = defaultdict(list)
    for line in lines:
        of_video[real.of(line.video.path)].append((line.own, line.where))
    pieces: list[Found] = []
    for video in videos.found:
        asked = of_video.pop(real.of(video.path), [(NOTHING_OWN, "")])
        each = [(one, where) for own, where in asked for one in _varied(own, options, variations)]
        pieces += _pieces(video, each, options, named)
    return replace(videos, found=tuple(pieces)), sum(len(left) for left in of_video.values())


def in_hand(item: Found) -> str:
    """What a piece or a video is called while it is made: by its results, and by the video where those don't say it."""
    video, name = item.share, item.stem.name
    return f"{video} ({name})" if video is not None and not name.startswith(video.name) else str(item.stem)


def _varied(own: OwnOptions, options: GenerateOptions, variations: int) -> list[OwnOptions]:
    if variations == 1 or own.music is not None:
        return [own]
    seed = options.seed if own.seed is None else own.seed
    last = seed + variations - 1
    try:
        check_seed(last)
    except UsageError as error:
        raise UsageError(
            f"{option('seed')}: counted up from {seed}, the last of {variations} variations has {last}, which has more "
            f"than 64 bits; begin lower"
        ) from error
    return [replace(own, seed=seed + number) for number in range(variations)]


def _pieces(
    video: Found,
    asked: Sequence[_Asked],
    options: GenerateOptions,
    named: Callable[[Mapping[str, Any]], str],
) -> list[Piece]:
    """All pieces for one video, with names that are different."""
    names = [named(_Fields(video, own, options, number)) for number, (own, _) in enumerate(asked, 1)]
    counts = Counter(names)
    count: Counter[str] = Counter()
    pieces = []
    for name, (own, where) in zip(names, asked, strict=True):
        count[name] += 1
        apart = f"{name}_{count[name]}" if counts[name] > 1 else name
        stem = video.stem.with_name(apart)
        pieces.append(Piece(video.path, stem, share=video.stem, own=own, called=name, line=where))
    return pieces


class _Fields(dict[str, Any]):
    """Values of the fields for one piece, each told when it is asked for: the genre may have to be looked up."""

    def __init__(self, video: Found, own: OwnOptions, options: GenerateOptions, number: int) -> None:
        super().__init__()
        self._video, self._own, self._options, self._number = video, own, options, number

    def __missing__(self, field: str) -> Any:
        if field == "genre":
            return _genre(self._video.path, self._own.of(self._options))
        own, options = self._own, self._options
        start = options.start if own.start is None else own.start
        values = {
            "stem": self._video.stem.name,
            "seed": options.seed if own.seed is None else own.seed,
            "start": int(start) if start == int(start) else start,
            "variation": self._number,
        }
        return values[field]


def _genre(video: Path, wanted: GenerateOptions) -> str:
    """A genre as the command line takes it."""
    try:
        code = wanted.of_video(video).genre
    except InputError:
        return "unknown"  # which is told as what went wrong with this video
    return "none" if code is None else GENRE_NAMES[code]


def _naming(pattern: str) -> Callable[[Mapping[str, Any]], str]:
    """What makes a name of fields, by a pattern that is checked.

    Raises
    ------
    UsageError
        The pattern can't be used.
    """
    told = option("name", pattern)
    known = ", ".join(f"{{{field}}}" for field in FIELDS)
    try:
        fields = [found for found in Formatter().parse(pattern) if found[1] is not None]
        for _, field, form, conversion in fields:
            if field not in FIELDS:
                raise UsageError(f"{told}: there is no field {quote(str(field))}; use {known}")
            if conversion or not _FORM.fullmatch(form or ""):
                raise UsageError(
                    f"{told}: {{{field}}} can't be written so; numbers may have zeros in front, as in "
                    "{variation:02d}, and so many behind the point, as in {start:.1f}"
                )
        tried = pattern.format_map({"stem": "a", "genre": "b", "seed": 1, "start": 1.5, "variation": 1})
    except ValueError as error:
        raise UsageError(f"{told} can't be read ({error}); write text and {known}") from error
    if not tried.isprintable() or set("/\\\0") & set(tried) or tried.startswith(".") or not tried.strip():
        raise UsageError(
            f"{told}: a name may not be empty, begin with a dot or hold slashes and signs that can't be seen; folders "
            "of results mirror those of the videos"
        )
    return pattern.format_map
