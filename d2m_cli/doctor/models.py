"""Models: whether those that ship are whole, and which others are here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from d2m_cli.doctor.check import Check
from d2m_cli.doctor.packages import REINSTALL
from d2m_cli.hub import store
from d2m_cli.hub.inventory import inventory

if TYPE_CHECKING:
    from d2m_cli.hub.inventory import Row

GROUP = "models"
SHIPS = "ships"


def look() -> Iterator[Check]:
    """Read what ships, and list what was fetched.

    Raises
    ------
    MissingWeightsError
        The models that ship are not there at all, or a receipt is damaged.
    """
    yield shipped_check([store.check_shipped(one) for one in store.shipped().values()])
    yield from fetched_checks(inventory())


def shipped_check(checked: Iterable[store.Checked]) -> Check:
    """Whether all that ships is whole."""
    checked = list(checked)
    problems = [problem for one in checked for problem in one.problems]
    size = sum(one.size for one in checked)
    values = {"count": len(checked), "bytes": size}
    if problems:
        return Check(GROUP, "in the package", "bad", "; ".join(problems), REINSTALL, values)
    return Check(GROUP, "in the package", "ok", f"{len(checked)} files, {size / 1e6:.1f} MB, whole", values=values)


def fetched_checks(rows: Iterable[Row]) -> Iterator[Check]:
    """What there is beside that, by name, with licence and size.

    Parameters
    ----------
    rows
        From `d2m_cli.hub.inventory.inventory`.
    """
    count = 0
    for row in rows:
        values = {"licence": row.licence, "bytes": row.size, "state": row.state, "purpose": row.purpose}
        if row.state == "here":
            count += 1
            size = "size not known" if row.size is None else f"{row.size / 1e6:,.0f} MB"
            yield Check(GROUP, row.name, "ok", f"licence {row.licence}, {size}", values=values)
        elif row.state not in (SHIPS, "absent"):
            told = {"unfinished": "was fetched in part", "not exported": "is not turned into ONNX yet"}
            text = told.get(row.state, f"is {row.state}")
            yield Check(GROUP, row.name, "warn", text, f"d2m weights pull {row.name}", values)
    if not count:
        yield Check(GROUP, "fetched", "ok", "none ('d2m weights list' shows what there is)")
