"""What people answered in a listening test, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from d2m_cli.ground.words import count

if TYPE_CHECKING:
    from d2m_cli.evaluation.listening.opinions import OpinionScores
    from d2m_cli.evaluation.listening.page import ListeningTest


def opinion_table(scores: OpinionScores) -> Table:
    """Mean opinion score of each system on each scale, 1 to 5 (5 is best), with 95 % intervals."""
    table = Table(
        title=f"Mean opinion scores of {count(scores.participants, 'listener')} on {count(scores.clips, 'dance')}",
        title_justify="left",
    )
    scales = list(dict.fromkeys(opinion.scale for opinion in scores.opinions))
    for head in ("", *(f"{scale} ↑" for scale in scales), "ratings"):
        table.add_column(head, justify="left" if not head else "right")
    for system in dict.fromkeys(opinion.system for opinion in scores.opinions):
        own = {opinion.scale: opinion for opinion in scores.opinions if opinion.system == system}
        cells = []
        for scale in scales:
            one = own[scale]
            interval = "" if one.low is None else f" [{one.low:.2f}, {one.high:.2f}]"
            cells.append("-" if one.mean is None else f"{one.mean:.2f}{interval}")
        table.add_row(Text(system), *cells, str(own[scales[0]].ratings))
    return table


def opinion_lines(scores: OpinionScores) -> list[str]:
    """Differences between systems, and answers that do not count."""
    lines = []
    for found in scores.differences:
        if found.mean is not None:
            interval = "" if found.low is None else f" [{found.low:+.2f}, {found.high:+.2f}]"
            pair = f"{found.first} less {found.second}, {found.scale}"
            lines.append(f"{pair}: {found.mean:+.2f}{interval}: {found.verdict}")
    lines += [f"not counted: {one.path}: {one.reason}" for one in (*scores.refused, *scores.replaced)]
    lines += [f"not played: {one.clip} by {one.system} for {one.participant}: {one.reason}" for one in scores.unplayed]
    for one in scores.repeats:
        twice = f"{one.participant} heard {one.clip} by {one.system} twice"
        lines.append(f"{twice}: coherence {one.coherence:+d}, quality {one.quality:+d}")
    return lines


def made_lines(test: ListeningTest) -> list[str]:
    """What a listening test holds and what was left out of it."""
    size = f"{count(test.items, 'clip')} to rate, {test.size / 1e6:.1f} MB"
    lines = [f"{count(len(test.clips), 'dance')} by {count(len(test.systems), 'system')}, {size}"]
    lines += [f"left out: {one.clip}: it lacks {', '.join(one.lacks)}" for one in test.incomplete]
    return [*lines, *test.notes, f"keep {test.key}: it tells which clip is which"]
