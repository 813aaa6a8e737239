"""Python packages: what d2m requires, and the set that is known to work together."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from d2m_cli.doctor.check import Check

GROUP = "packages"
BESIDE_MUSIC = frozenset({
    "accelerate", "decord", "huggingface-hub", "jinja2", "mir-eval", "pooch", "tensorboard",
})  # fmt: skip
"""Requirements that ``d2m generate`` with the model in the package does without."""
RIVALS = (
    ("onnxruntime", "onnxruntime-gpu"),
    ("opencv-python", "opencv-python-headless"),
)
"""Packages that put different files in the same place: both together are as good as neither."""
PINNED = "pinned set"
"""Name of the check that compares with it."""
_PINS = "constraints.txt"
_IN_WHEEL = "extra_metadata/constraints.txt"
REINSTALL = f"in a checkout of d2m: python -m pip install --force-reinstall -c {_PINS} ."
"""What puts all of d2m, and what it stands on, anew in its place."""


@dataclass(frozen=True)
class Pins:
    """The set that is known to work together.

    Attributes
    ----------
    path
        The file.
    versions
        Name, as `canonical` has it, to version.
    """

    path: Path
    versions: Mapping[str, str]


def look() -> Iterator[Check]:
    """Compare what is installed with what d2m requires, and with the pinned set."""
    here = installed()
    pins = find_pins()
    try:
        wanted = metadata.requires("d2m") or []
    except metadata.PackageNotFoundError:
        yield Check(
            GROUP,
            "requirements",
            "warn",
            "d2m runs from a folder and is not installed, so that what it requires is not known",
            "python -m pip install .",
        )
    else:
        yield from against_requirements(wanted, here, pins)
    yield from against_rivals(here)
    yield against_pins(here, pins)


def canonical(name: str) -> str:
    """A package's name as package indexes compare it."""
    from packaging.utils import canonicalize_name

    return canonicalize_name(name)


def installed() -> dict[str, str]:
    """Name to version of all packages that Python finds; of several of a name, the one that is imported."""
    found: dict[str, str] = {}
    for one in metadata.distributions():
        # A folder that a broken removal left has no name.
        name = one.metadata["Name"]
        if name:
            found.setdefault(canonical(name), one.version)
    return found


def find_pins() -> Pins | None:
    """The pinned set: of the checkout that d2m runs from, else the one that the wheel brought; None of neither."""
    beside = Path(__file__).resolve().parents[2] / _PINS
    if beside.is_file():
        return Pins(beside, read_pins(beside.read_text(encoding="utf-8")))
    try:
        brought = Path(str(metadata.distribution("d2m").locate_file(""))) / _dist_info() / _IN_WHEEL
    except metadata.PackageNotFoundError:
        return None
    return Pins(brought, read_pins(brought.read_text(encoding="utf-8"))) if brought.is_file() else None


def _dist_info() -> str:
    """Folder of d2m's metadata, below the one that holds packages."""
    files = metadata.distribution("d2m").files or []
    return next((file.parts[0] for file in files if file.name == "METADATA"), "")


def read_pins(text: str) -> dict[str, str]:
    """Name to version of lines such as "numpy==2.4.6"; comments are passed over."""
    pins = {}
    for line in text.splitlines():
        name, pinned, version = line.partition("#")[0].partition("==")
        if pinned:
            pins[canonical(name.strip())] = version.strip()
    return pins


def against_requirements(wanted: Iterable[str], here: Mapping[str, str], pins: Pins | None) -> Iterator[Check]:
    """Requirements that are not met, or one check that says that all are.

    Parameters
    ----------
    wanted
        As a package's metadata has them: "numpy>=1.26", "pytest>=8; extra == 'test'".
    here
        From `installed`.
    pins
        From `find_pins`.
    """
    from packaging.requirements import Requirement

    needed = [one for one in map(Requirement, wanted) if one.marker is None or one.marker.evaluate({"extra": ""})]
    met = True
    for one in needed:
        name, version = canonical(one.name), here.get(canonical(one.name))
        if version is not None and one.specifier.contains(version, prereleases=True):
            continue
        met = False
        asked = f"{one.name}{one.specifier}"
        told = {"required": asked, "version": version}
        remedy = pip(pins, asked)
        if version is not None:
            text = f"{version} is installed, and d2m requires {one.specifier}"
            yield Check(GROUP, one.name, "warn", text, remedy, told)
        elif name in BESIDE_MUSIC:
            yield Check(GROUP, one.name, "warn", "is not installed; making music does without", remedy, told)
        else:
            yield Check(GROUP, one.name, "bad", "is not installed", remedy, told)
    if met:
        yield Check(GROUP, "requirements", "ok", f"all {len(needed)} are met", values={"count": len(needed)})


def against_rivals(here: Mapping[str, str]) -> Iterator[Check]:
    """Packages that overwrite each other."""
    for one, other in RIVALS:
        if one in here and other in here:
            yield Check(
                GROUP,
                f"{one} and {other}",
                "warn",
                "overwrite each other's files, so that either may be broken",
                f"python -m pip uninstall -y {one} {other} && python -m pip install {other}",
            )


def against_pins(here: Mapping[str, str], pins: Pins | None) -> Check:
    """How what is installed differs from the pinned set, which need be no fault."""
    name = PINNED
    if pins is None:
        return Check(GROUP, name, "ok", f"{_PINS} is not here to compare with")
    both = {one: version for one, version in pins.versions.items() if one in here}
    # "2.13.0+cpu" is another build of the same version.
    others = {one: here[one] for one, version in both.items() if here[one].partition("+")[0] != version}
    told = {"path": str(pins.path), "compared": len(both), "others": others}
    if not others:
        return Check(GROUP, name, "ok", f"all {len(both)} that are installed are as in {_PINS}", values=told)
    words = ", ".join(f"{one} {version} (not {pins.versions[one]})" for one, version in sorted(others.items()))
    text = f"{len(others)} of {len(both)} differ from {_PINS}: {words}"
    return Check(GROUP, name, "ok", text, values=told)


def pip(pins: Pins | None, wanted: str, *, anew: bool = False) -> str:
    """Command that installs a package, of the pinned set where it is here; `anew` also where it is installed."""
    start = "python -m pip install --force-reinstall" if anew else "python -m pip install"
    return f"{start} {shlex.join([*(['-c', str(pins.path)] if pins is not None else []), wanted])}"
