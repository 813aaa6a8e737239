"""The page itself: values in, HTML out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files as package_files
from itertools import groupby
from typing import TYPE_CHECKING

from d2m_cli import __version__
from d2m_cli.report.page.values import Listed, Score

if TYPE_CHECKING:
    from jinja2 import Template

_PROTOCOLS = {
    "beats70": "Beats within 0.07 s",
    "paper": "Any onset within 0.2 s, as the paper counts",
}


@dataclass(frozen=True)
class Group:
    """Results of one video.

    Attributes
    ----------
    video
        Its name.
    numbered
        The results, each with its number on the page.
    """

    video: str
    numbered: tuple[tuple[int, Listed], ...]


def render(
    results: Sequence[Listed],
    *,
    title: str,
    total: int | None = None,
    listed: int | None = None,
    pages: Sequence[tuple[str, str]] = (),
    page: int = 0,
) -> str:
    """One page over some results.

    Parameters
    ----------
    results
        Those of this page, results of one video side by side.
    title
        Name of the folder.
    total, listed
        How many results the folder holds, and how many all pages list; None where that is what is given.
    pages
        (label, link) of all pages where there are several.
    page
        Which of them this is, from 0.
    """
    numbered = list(enumerate(results, start=1))
    made = [(number, one) for number, one in numbered if one.state == "done"]
    groups = [
        Group(same[0][1].video, tuple(same))
        for same in (list(group) for _, group in groupby(made, key=lambda pair: pair[1].source))
    ]
    return _template().render(
        results=numbered,
        groups=groups,
        title=title,
        total=len(results) if total is None else total,
        listed=len(results) if listed is None else listed,
        without=len(results) - len(made),
        pages=pages,
        page=page,
        version=__version__,
        style=_text("page.css"),
        script=_text("page.js"),
    )


def score_words(score: Score, steady: bool) -> str:
    """One score in words; without a steady beat it is of the dance's accents."""
    whose = "beats" if steady else "accents"
    what = "the music has a beat" if score.protocol == "beats70" else "something in the music begins"
    heard = "beats" if score.protocol == "beats70" else "onsets"
    return (
        f"At {score.hits} of the {score.dance} {whose} of the dance {what} within {score.tolerance:g} s; the music has "
        f"{score.music} {heard}."
    )


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["clock"] = _clock
    environment.filters["score_words"] = score_words
    environment.filters["protocol"] = lambda name: _PROTOCOLS.get(name, name)
    return environment.from_string(_text("page.html"))


def _clock(seconds: float) -> str:
    """1:02:03, or 2:03.4 for what is short."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02} min"


def _text(name: str) -> str:
    return package_files("d2m_cli.report.page").joinpath(name).read_text(encoding="utf-8")
