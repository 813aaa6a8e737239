"""``d2m weights list`` in words."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from d2m_cli.hub.inventory import Row

_STATES = {"absent": "-", "not exported": "not in ONNX", "unfinished": "in part"}
WIDE = 160
"""Columns of a terminal that the table needs."""
WHOLE_SUM = 64
LARGE = 10**9
"""Bytes from which a size is told in GB."""
SMALL = 10**5
"""Bytes under which it is told in kB."""


def weights_table(rows: Sequence[Row]) -> Table:
    """One line for each entry.

    Parameters
    ----------
    rows
        From `d2m_cli.hub.inventory.inventory`.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("name", "what for", "licence"):
        table.add_column(head, no_wrap=head == "name")
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("sha256", no_wrap=True)
    table.add_column("here", no_wrap=True)
    table.add_column("origin", overflow="fold")
    for row in rows:
        here = _STATES.get(row.state, row.state)
        cells = (row.name, row.purpose, row.licence, size_words(row), sum_words(row), here, row.origin)
        table.add_row(*map(escape, cells))
    return table


def weights_lines(rows: Sequence[Row]) -> list[str]:
    """The same for a narrow terminal: a few lines for each entry."""
    lines = []
    for row in rows:
        here = {"-": "not here"}.get(state := _STATES.get(row.state, row.state), state)
        lines += [
            f"{row.name} ({here})",
            f"    {row.purpose}",
            f"    licence {row.licence}; size {size_words(row)}; sha256 {sum_words(row)}",
            f"    {row.origin}",
        ]
    return lines


def size_words(row: Row) -> str:
    """Size on this machine, or who knows it."""
    if row.size is not None:
        words = size_in_words(row.size, rounded=row.rounded)
        return f"about {words}" if row.rounded else words
    return "told at pull" if row.on_hub else "not published"


def size_in_words(size: int, *, rounded: bool = False) -> str:
    """Bytes as "2.1 GB", "63.4 MB" ("63 MB" where they are rounded already) or "9.3 kB"."""
    if size >= LARGE:
        return f"{size / 1e9:.1f} GB"
    if size >= SMALL:
        return f"{size / 1e6:.{0 if rounded else 1}f} MB"
    return f"{size / 1e3:.1f} kB"


def sum_words(row: Row) -> str:
    """The published checksum: "c78dce93..." of a whole one, "begins c78dce93" where only these digits are published."""
    if row.sha256:
        return f"{row.sha256[:8]}..." if len(row.sha256) == WHOLE_SUM else f"begins {row.sha256}"
    return "told at pull" if row.on_hub else "not published"
