"""Where weights lie on this machine, and whether they are whole. Nothing here touches the network.

What was fetched leaves a receipt, ``$D2M_HOME/weights/NAME.json``: its files, their sizes and their sha256. It is
written last, so that weights with a receipt are whole, and weights without one are not used; but for hub models that
another program brought into the cache they share, which are used where nothing of them is missing. While d2m fetches a
hub model ``NAME.unfinished`` stands there, for the cache shows files as soon as they have come.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from d2m_cli.errors import MissingWeightsError, UsageError
from d2m_cli.ground.digests import file_sha256
from d2m_cli.ground.files import atomic_path
from d2m_cli.ground.options import option
from d2m_cli.ground.weights_path import data_home, weights_dir
from d2m_cli.hub import catalogue, models
from d2m_cli.hub.catalogue import HubModel, Weights

State = Literal["here", "absent", "unfinished", "damaged", "not exported"]


@dataclass(frozen=True)
class FileRecord:
    """A file: path within its folder, bytes, sha256 ("" where it was not computed yet)."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Receipt:
    """What was fetched.

    Attributes
    ----------
    name, origin, licence
        As in the catalogue at that time.
    revision
        Commit of a hub model, or "".
    folder
        Where the files lie; "" for the folder of d2m's own.
    result
        The file within the folder that is loaded; "." for the folder itself, "" where it is still to be made.
    files
        All of them.
    """

    name: str
    origin: str
    licence: str
    revision: str
    folder: str
    result: str
    files: tuple[FileRecord, ...]


@dataclass(frozen=True)
class Place:
    """How it stands with an entry on this machine.

    Attributes
    ----------
    state
        "here", "absent", "unfinished" (a pull was broken off), "damaged", or "not exported".
    path
        What is loaded, where the state is "here".
    folder, files
        What there is of it.
    reason
        In words, where it is damaged.
    """

    state: State
    path: Path | None = None
    folder: Path = Path()
    files: tuple[FileRecord, ...] = ()
    reason: str = ""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True)
class Shipped:
    """A file that ships with d2m, as ``manifest.json`` has it."""

    name: str
    purpose: str
    origin: str
    licence: str
    sha256: str
    path: Path


@dataclass(frozen=True)
class Checked:
    """What became of checking an entry: how many files and bytes were read, and what is wrong."""

    name: str
    files: int
    size: int
    problems: tuple[str, ...] = field(default=())


def weights_home() -> Path:
    """Folder of fetched weights: ``$D2M_HOME/weights``, else ``~/.local/share/d2m/weights``."""
    return data_home() / "weights"


def own_folder(entry: Weights) -> Path:
    """Where files lie that do not come from the hub."""
    return weights_home() / entry.slug


def receipt_path(entry: Weights) -> Path:
    """The receipt of an entry."""
    return weights_home() / f"{entry.slug}.json"


def unfinished_mark(entry: Weights) -> Path:
    """Stands while a hub model is being fetched."""
    return weights_home() / f"{entry.slug}.unfinished"


def read_receipt(entry: Weights) -> Receipt | None:
    """The receipt of an entry, or None where there is none.

    Raises
    ------
    MissingWeightsError
        It can't be read.
    """
    path = receipt_path(entry)
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        return Receipt(**{**saved, "files": tuple(FileRecord(**file) for file in saved["files"])})
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise MissingWeightsError(
            f"{path}: can't be read ({error}); remove it and run '{entry.fetch_command}'"
        ) from error


def write_receipt(entry: Weights, receipt: Receipt) -> None:
    """Write down that an entry is here."""
    with atomic_path(receipt_path(entry)) as part:
        part.write_text(json.dumps(asdict(receipt), indent=1), encoding="utf-8")
    unfinished_mark(entry).unlink(missing_ok=True)


def record(folder: Path, names: Sequence[str], known: Mapping[str, str]) -> tuple[FileRecord, ...]:
    """Sizes and sha256 of files; sums that were compared already are taken over."""
    return tuple(
        FileRecord(name, (folder / name).stat().st_size, known.get(name) or file_sha256(folder / name))
        for name in names
    )


def look(entry: Weights) -> Place:
    """How it stands with an entry, by the sizes of its files; `check` reads them.

    Raises
    ------
    MissingWeightsError
        Its receipt can't be read.
    """
    receipt = read_receipt(entry)
    if unfinished_mark(entry).exists():
        return Place("unfinished")
    if receipt is None:
        return _in_cache(entry)
    folder = Path(receipt.folder) if receipt.folder else own_folder(entry)
    there = [file for file in receipt.files if (folder / file.path).is_file()]
    if not there:
        return _in_cache(entry)
    for file in receipt.files:
        path = folder / file.path
        if file not in there:
            return Place("damaged", None, folder, receipt.files, f"{path} is gone")
        if path.stat().st_size != file.size:
            size = path.stat().st_size
            return Place("damaged", None, folder, receipt.files, f"{path} has {size} bytes, not {file.size}")
    if not receipt.result:
        return Place("not exported", None, folder, receipt.files)
    return Place("here", folder / receipt.result, folder, receipt.files)


def _in_cache(entry: Weights) -> Place:
    """A hub model that another program brought."""
    found = models.cached(entry.source) if isinstance(entry.source, HubModel) else None
    if found is None:
        return Place("absent")
    files = tuple(FileRecord(name, (found.folder / name).stat().st_size, "") for name in found.files)
    return Place("here", found.folder, found.folder, files)


def locate(text: str) -> Path:
    """Where weights lie: a file, or the folder of a hub model.

    Parameters
    ----------
    text
        As `d2m_cli.hub.catalogue.find` takes it, or the name of a model that ships with d2m.

    Raises
    ------
    UsageError
        There is nothing of that name.
    MissingWeightsError
        They are not here, or not whole; the text holds the one command that fetches them.
    """
    ships = shipped().get(text)
    if ships is not None:
        if not ships.path.is_file():
            raise MissingWeightsError(f"{ships.path}: is missing from this installation of d2m; install it again")
        return ships.path
    entry = catalogue.find(text)
    place = look(entry)
    if place.path is not None:
        return place.path
    if place.state == "not exported":
        raise MissingWeightsError(
            f"{entry.name}: is fetched but not turned into ONNX, which takes mmpose: "
            f"{catalogue.MMPOSE_INSTALL}. Then run '{entry.fetch_command}'"
        )
    reason = {
        "unfinished": "is here only in part: a download is under way, or was broken off",
        "damaged": f"is damaged: {place.reason}",
    }.get(place.state, "is not on this machine")
    raise MissingWeightsError(f"{_called(entry)}: {reason}. Fetch it with '{entry.fetch_command}'")


def _called(entry: Weights) -> str:
    on_hub = isinstance(entry.source, HubModel) and entry.origin not in entry.name
    return f"{entry.name} ({entry.origin})" if on_hub else entry.name


def locate_if_here(text: str) -> Path | None:
    """As `locate`, but None where the weights are not here or not whole."""
    return look(catalogue.find(text)).path


def model_folder(family: str, origin: str) -> Path:
    """Folder of a backbone's weights, for an origin that is no folder itself.

    Parameters
    ----------
    family
        Of `d2m_cli.hub.catalogue.LAYOUTS`.
    origin
        A hub id, or a short name of the catalogue.

    Raises
    ------
    MissingWeightsError
        They are not here; the text holds the one command that fetches them.
    """
    try:
        return locate(f"{family}:{origin}")
    except MissingWeightsError as error:
        own = option("backbone", f"{family}:FOLDER")
        raise MissingWeightsError(f"{error}, or give a folder of your own: {own}") from error
    except UsageError as error:
        raise MissingWeightsError(
            f"{option('backbone', f'{family}:{origin}')}: there is no such folder, and no hub model can have that name"
        ) from error


def named_path(path: str | Path) -> Path:
    """A path as the user gave it; where it is a name of the catalogue and no such file is there, where that lies.

    Raises
    ------
    MissingWeightsError
        It is a name, and the weights are not here; the text holds the one command that fetches them.
    """
    given = Path(path)
    return locate(str(path)) if str(path) in catalogue.CATALOGUE and not given.exists() else given


def shipped() -> dict[str, Shipped]:
    """What ships with d2m, by name."""
    folder = weights_dir()
    manifest = folder / "manifest.json"
    try:
        entries = json.loads(manifest.read_text(encoding="utf-8"))["weights"]
        return {
            one["name"]: Shipped(
                one["name"], one["purpose"], one["origin"], one["licence"], one["sha256"], folder / one["file"]
            )
            for one in entries
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MissingWeightsError(f"{manifest}: can't be read ({error}); install d2m again") from error


def check(entry: Weights) -> Checked:
    """Read all files of an entry that is here, and compare their sha256 with those that were written down, or that the
    hub's cache knows.

    Raises
    ------
    MissingWeightsError
        There is nothing to check.
    """
    place = look(entry)
    if not place.files:
        raise MissingWeightsError(f"{entry.name}: is not on this machine. Fetch it with '{entry.fetch_command}'")
    problems = [problem for file in place.files if (problem := _problem(place.folder / file.path, file))]
    problems += _unlike_published(entry, place)
    advice = f"run '{entry.fetch_command}' to fetch it again"
    told = tuple(f"{problem}; {advice}" for problem in problems)
    return Checked(entry.name, len(place.files), place.size, told)


def _problem(path: Path, file: FileRecord) -> str:
    if not path.is_file():
        return f"{path}: is gone"
    if file.sha256:
        found = file_sha256(path)
        return "" if found == file.sha256 else f"{path}: is damaged, its sha256 is {found} and not {file.sha256}"
    known = models.published_sum(path)
    if known is None or known.matches(path):
        return ""
    return f"{path}: is damaged, its sum is not {known.sha256 or known.blob}, which the hub gave"


def _unlike_published(entry: Weights, place: Place) -> list[str]:
    """Files whose written sum is no longer the one that the catalogue has."""
    if isinstance(entry.source, HubModel) or entry.source.sha256 is None:
        return []
    wanted, name = entry.source.sha256, entry.source.file_name
    return [
        f"{place.folder / name}: is not the published file, whose sha256 begins with {wanted[:8]}"
        for file in place.files
        if file.path == name and not file.sha256.startswith(wanted)
    ]


def check_shipped(one: Shipped) -> Checked:
    """Compare a file that ships with d2m with the manifest."""
    if not one.path.is_file():
        return Checked(one.name, 1, 0, (f"{one.path}: is missing; install d2m again",))
    found = file_sha256(one.path)
    wrong = f"{one.path}: is damaged, its sha256 is {found} and not {one.sha256}; install d2m again"
    return Checked(one.name, 1, one.path.stat().st_size, () if found == one.sha256 else (wrong,))


def check_all(names: Sequence[str] = ()) -> list[Checked]:
    """Check what is named; without names all that ships with d2m and all that is here.

    Raises
    ------
    UsageError
        There is nothing of a name.
    MissingWeightsError
        Something named is not here.
    """
    ships = shipped()
    if names:
        return [check_shipped(ships[name]) if name in ships else check(catalogue.find(name)) for name in names]
    fetched = [entry for entry in known_entries() if look(entry).files]
    return [*(check_shipped(one) for one in ships.values()), *(check(entry) for entry in fetched)]


def known_entries() -> list[Weights]:
    """The catalogue, and what was fetched by hub id beside it."""
    entries = list(catalogue.CATALOGUE.values())
    home = weights_home()
    for path in sorted(home.glob("*.json")) if home.is_dir() else []:
        if any(entry.slug == path.stem for entry in entries):
            continue
        try:
            name = json.loads(path.read_text(encoding="utf-8"))["name"]
            entries.append(catalogue.find(name))
        except (OSError, ValueError, KeyError, TypeError, UsageError) as error:
            raise MissingWeightsError(f"{path}: is no receipt of d2m ({error}); remove it") from error
    return entries
