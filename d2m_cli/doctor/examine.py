"""All checks in their order, and what to do about what they find."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from d2m_cli import __version__
from d2m_cli.doctor import folders, machine, models, packages
from d2m_cli.doctor.apart import look_apart
from d2m_cli.doctor.check import Check, guarded

SCHEMA = 1
"""Number of the layout of the JSON document; it grows where a key goes or changes its meaning."""
_ASK = "report it with all of this text; 'd2m -v demo' shows where it comes from"


@dataclass(frozen=True)
class Step:
    """Something to do.

    Attributes
    ----------
    problem
        What it mends.
    remedy
        A command where there is one, else in words.
    """

    problem: str
    remedy: str


@dataclass(frozen=True)
class Findings:
    """What all checks say.

    Attributes
    ----------
    checks
        In order.
    quick
        Whether the self-test was left out.
    """

    checks: tuple[Check, ...]
    quick: bool

    @property
    def usable(self) -> bool:
        """Whether ``d2m generate`` works here, as far as it was looked at."""
        return all(check.state != "bad" for check in self.checks)

    @property
    def steps(self) -> tuple[Step, ...]:
        """What to do, most needed first; with nothing to mend, none."""
        # The sort is stable: what others stand on is looked at first, and mended first.
        wrong = sorted((check for check in self.checks if check.state != "ok"), key=lambda check: check.state != "bad")
        problems: dict[str, list[str]] = {}
        mended: dict[str, str] = {}
        for check in wrong:
            # The same error again, raised where something stands on what is broken, goes with the first.
            raised = "error" in check.values
            remedy = mended.setdefault(check.text, check.remedy) if raised else check.remedy
            problems.setdefault(remedy, []).append(f"{check.group}, {check.name}")
        steps = [Step("; ".join(names), remedy) for remedy, names in problems.items()]
        differ = any(check.name == packages.PINNED and check.values.get("others") for check in self.checks)
        if differ and not self.usable:
            steps.append(Step("if all that does not help: take the versions that work together", packages.REINSTALL))
        return tuple(steps)

    def to_json(self) -> dict[str, Any]:
        """The document that ``d2m doctor --json`` prints; values that JSON can hold."""
        return {
            "schema": SCHEMA,
            "d2m": __version__,
            "usable": self.usable,
            "quick": self.quick,
            "checks": [check.to_json() for check in self.checks],
            "steps": [{"problem": step.problem, "remedy": step.remedy} for step in self.steps],
        }


def examine(out: str, *, quick: bool = False, variables: Collection[str] = ()) -> Iterator[Check]:
    """Make all checks; names of users and their home folders are left out.

    Parameters
    ----------
    out
        Folder of results, which need not be there.
    quick
        Leave out the self-test.
    variables
        Names of those that give options their defaults.
    """
    for check in _all(out, quick, variables):
        yield check.without_names()


def _all(out: str, quick: bool, variables: Collection[str]) -> Iterator[Check]:
    here: tuple[tuple[str, Callable[[], Iterable[Check]], str], ...] = (
        (machine.GROUP, lambda: machine.look(variables), _ASK),
        (packages.GROUP, packages.look, packages.REINSTALL),
        (folders.GROUP, lambda: folders.look(out), "mend what it says"),
        (models.GROUP, models.look, packages.REINSTALL),
    )
    for group, look, remedy in here:
        yield from guarded(group, group, look, remedy)
    for module, group, seconds, given in _apart(quick):
        yield from look_apart(f"{__package__}.{module}", group, seconds, packages.REINSTALL, *given)


def _apart(quick: bool) -> Iterator[tuple[str, str, float, tuple[str, ...]]]:
    """Modules that load compiled libraries, their groups, seconds that they may take, and what they are given."""
    yield "libraries", "libraries", 300.0, ()
    yield "decoders", "videos", 180.0, ()
    yield "providers", "pose networks", 300.0, ()
    yield "gpus", "gpu", 180.0, ()
    if not quick:
        yield "selftest", "self-test", 900.0, (_ASK,)
