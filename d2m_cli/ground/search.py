"""From what the user names on the command line to the list of files to work on."""

from __future__ import annotations

import errno
import glob
import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from hashlib import blake2b
from pathlib import Path

from d2m_cli.errors import NothingFoundError, OutputError, UsageError
from d2m_cli.ground.inputs import Input
from d2m_cli.ground.ledger import LEDGER_NAME, Ledger
from d2m_cli.ground.real_paths import RealPaths

VIDEO_SUFFIXES = frozenset({
    ".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mod", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv",
    ".ts", ".vob", ".webm", ".wmv",
})  # fmt: skip
"""Suffixes, in lower case, that a folder is searched for; a file named outright may have any."""
ANY_FOLDERS = "**"
"""In a pattern: any number of folders, one in the other."""


@dataclass(frozen=True, slots=True)
class Found:
    """One file to work on.

    Attributes
    ----------
    path
        The file, as reached from the input that held it.
    stem
        Relative path of its results, without a suffix: mirrors where the file lies below its input.
    share
        The stem by which its share of the work is told, where that is not its own: several works on one file belong
        together.
    """

    path: Path
    stem: Path
    share: Path | None = None


@dataclass(frozen=True)
class PassedOver:
    """Something in a folder that is not worked on, though it may have been meant.

    Attributes
    ----------
    path
        As reached from the input that held it.
    reason
        In words that follow the path.
    """

    path: Path
    reason: str


@dataclass(frozen=True)
class Search:
    """What the inputs hold.

    Attributes
    ----------
    found
        The files, each once, in a steady order; stems may fall together.
    passed_over
        What can't be worked on: links that lead nowhere or in circles, pipes, sockets, devices, closed folders.
    """

    found: tuple[Found, ...]
    passed_over: tuple[PassedOver, ...]


def find_videos(inputs: Sequence[Path]) -> list[Found]:
    """`find_files` for videos."""
    return find_files(inputs, VIDEO_SUFFIXES)


def find_files(inputs: Sequence[Path], suffixes: frozenset[str]) -> list[Found]:
    """The files that `search` finds, with stems that are all different (also where letter case is ignored).

    For callers that keep no ledger; `d2m_cli.batch.runner.run_batch` gives names that stay.
    """
    return _keep_apart(list(search(inputs, suffixes).found))


def search(
    inputs: Sequence[Path | Input], suffixes: frozenset[str], *, made_too: frozenset[str] = frozenset()
) -> Search:
    """All files that the inputs name.

    Folders are searched recursively, in sorted order; hidden names are passed over, and a symbolic link that leads
    back up is followed once. So are results of d2m: files that a ledger in their folder or in one above lists. What no
    ledger lists is the user's, wherever it lies. A file named outright is taken whatever it is and whatever its suffix.

    Of what a pattern fits, results of d2m are passed over too; a pattern that does not end in a suffix fits files with
    the wanted suffixes, and folders, alone.

    Parameters
    ----------
    inputs
        Files and folders, and what `d2m_cli.ground.inputs.named_inputs` found.
    suffixes
        Suffixes to look for in folders, in lower case with their dot.
    made_too
        Those among them that are looked for among d2m's results too, but for results of other inputs: those of a
        ledger that lies below the folder that is searched, and tells of inputs from elsewhere alone.

    Raises
    ------
    NothingFoundError
        A folder holds no such file, or can't be looked into.
    UsageError
        An input does not exist, can't be read or is neither file nor folder; nothing fits a pattern; no input.
    """
    if not inputs:
        raise UsageError("no input: name at least one file or folder")
    walk = _Walk(suffixes, made_too)
    found: dict[str, Found] = {}
    wrong: list[str] = []
    for entry in inputs:
        one = entry if isinstance(entry, Input) else Input(Path(entry))
        try:
            for item in walk.fitting(one.path) if one.is_pattern else walk.below(one):
                found.setdefault(walk.real.of(item.path), item)
        except UsageError as error:
            if not one.where:
                raise
            wrong.append(f"{one.where}: {error}")
    if wrong:
        more = f" (the same list names {len(wrong) - 1} more that can't be used)" if len(wrong) > 1 else ""
        raise UsageError(f"{wrong[0]}{more}")
    if not found:
        folders = ", ".join(str(one.path) for one in inputs if isinstance(one, Input))
        raise NothingFoundError(f"no file to work on lies in {folders} itself", walk.passed_over)
    return Search(tuple(found.values()), tuple(dict.fromkeys(walk.passed_over)))


class _Walk:
    """Goes through inputs, and notes what it passes over."""

    def __init__(self, suffixes: frozenset[str], made_too: frozenset[str]) -> None:
        self._suffixes = suffixes
        self._made_too = made_too
        self._ledgers: dict[Path, Ledger | None] = {}
        self._above: dict[Path, list[Ledger]] = {}
        self._strange: dict[Path, bool] = {}
        self.real = RealPaths()
        self.passed_over: list[PassedOver] = []

    def below(self, one: Input) -> list[Found]:
        entry = one.path
        try:
            mode = os.stat(entry).st_mode
        except OSError as error:
            raise UsageError(f"{entry}: {_missing(entry, error)}") from error
        if stat.S_ISDIR(mode):
            return self._in_folder(one)
        if stat.S_ISREG(mode):
            return [Found(entry, Path(Path(entry.name).stem))]
        raise UsageError(f"{entry} is neither a file nor a folder, but {_kind(mode)}")

    def fitting(self, pattern: Path) -> list[Found]:
        """The files that fit a pattern, and those in the folders that do."""
        parts = pattern.parts
        kept: list[Found] = []
        if ANY_FOLDERS in parts:
            # Not by glob, which follows links in circles.
            number = parts.index(ANY_FOLDERS)
            for root in _matches(Path(*parts[:number])):
                inside = self._visit(root, (), set(), any_suffix=_ends_in_suffix(pattern)) if root.is_dir() else ()
                for path in inside:
                    within = path.relative_to(root)
                    if _fits(within.parts, parts[number:]):
                        kept.append(Found(path, within.with_suffix("")))
        else:
            for path in _matches(pattern):
                if path.is_dir() and not _ends_in_suffix(pattern):
                    inside = self._visit(path, (), set())
                    kept += (Found(one, one.relative_to(path).with_suffix("")) for one in inside)
                elif path.is_file() and (_ends_in_suffix(pattern) or path.suffix.lower() in self._suffixes):
                    kept.append(Found(path, Path(path.stem)))
        wanted = [item for item in kept if not self._lists(item.path)]
        if not wanted:
            but = f" but results of d2m, such as {kept[0].path}" if kept else ""
            raise UsageError(f"no file fits the pattern {pattern}{but}; check the spelling")
        return wanted

    def _in_folder(self, one: Input) -> list[Found]:
        root, before = one.path, len(self.passed_over)
        candidates = list(self._visit(root, (), set(), is_flat=one.is_flat, barred=one.barred))
        kept = [path for path in candidates if self._is_wanted(path, root)]
        if kept:
            return [Found(path, path.relative_to(root).with_suffix("")) for path in kept]
        if one.is_flat:
            return []
        text = f"the folder {root} holds no file ending in {', '.join(sorted(self._suffixes))}"
        if candidates:
            text += f" but results of d2m, such as {candidates[0].name}: name files outright to work on those"
        for odd in self.passed_over[before:][:1]:
            text += f"; {odd.path} {odd.reason}"
        raise NothingFoundError(text, self.passed_over[before:])

    def _visit(
        self,
        folder: Path,
        above: tuple[Path, ...],
        seen: set[Path],
        *,
        any_suffix: bool = False,
        is_flat: bool = False,
        barred: frozenset[Path] = frozenset(),
    ) -> Iterator[Path]:
        try:
            real = folder.resolve()
            names = sorted(os.listdir(folder))
        except OSError as error:
            if not above:
                raise NothingFoundError(f"can't look into the folder {folder}: {error.strerror}") from error
            self._pass_over(folder, f"can't be looked into: {error.strerror}")
            return
        if above and real in barred:
            self._pass_over(folder, f"is {real}, which has a run of its own")
            return
        if real in seen:
            if real in above:
                self._pass_over(folder, "leads back to a folder above it")
            return
        seen.add(real)
        for name in names:
            if name.startswith("."):
                continue
            path = folder / name
            try:
                mode = os.stat(path).st_mode
            except OSError as error:
                self._pass_over(path, f"is {_missing(path, error)}" if os.path.islink(path) else _missing(path, error))
                continue
            if stat.S_ISDIR(mode):
                if is_flat:
                    continue
                yield from self._visit(path, (*above, real), seen, any_suffix=any_suffix, barred=barred)
            elif not stat.S_ISREG(mode):
                self._pass_over(path, f"is {_kind(mode)}")
            elif any_suffix or path.suffix.lower() in self._suffixes:
                yield path

    def _pass_over(self, path: Path, reason: str) -> None:
        self.passed_over.append(PassedOver(path, reason))

    def _is_wanted(self, path: Path, root: Path) -> bool:
        ledgers = self._lists(path)
        if path.suffix.lower() not in self._made_too:
            return not ledgers
        within = root.resolve() / "any"
        return not any(self._of_others(ledger) for ledger in ledgers if ledger.folder not in within.parents)

    def _lists(self, path: Path) -> list[Ledger]:
        """The ledgers that have a file among the results."""
        folder = Path(self.real.folder(os.path.dirname(path)))
        if folder not in self._above:
            self._above[folder] = [
                ledger for one in (folder, *folder.parents) if (ledger := self._ledger(one)) is not None
            ]
        above = self._above[folder]
        return [ledger for ledger in above if ledger.knows(ledger.relative(folder / path.name))]

    def _of_others(self, ledger: Ledger) -> bool:
        """Whether no input of a ledger lies below its folder; ledgers of older versions don't say where inputs lie."""
        if ledger.folder not in self._strange:
            places = (entry.place for entry in ledger.owned().values())
            inside = any(place and not place.startswith(("../", "/")) and place != ".." for place in places)
            self._strange[ledger.folder] = not inside
        return self._strange[ledger.folder]

    def _ledger(self, folder: Path) -> Ledger | None:
        if folder not in self._ledgers:
            self._ledgers[folder] = None
            try:
                # A folder that is closed altogether is named when it is looked into.
                if os.path.isfile(folder / LEDGER_NAME):
                    self._ledgers[folder] = Ledger(folder)
            except OutputError as error:
                self._pass_over(folder / LEDGER_NAME, f"hides which files beside it are results: {error}")
        return self._ledgers[folder]


def _matches(pattern: Path) -> list[Path]:
    """What fits a pattern without `ANY_FOLDERS`, in sorted order; a path that is none fits itself."""
    return [Path(name) for name in sorted(glob.glob(str(pattern)))]


def _fits(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path fits a pattern, folder by folder."""
    if not pattern:
        return not parts
    if pattern[0] == ANY_FOLDERS:
        # At the end it stands for files too.
        rest = pattern[1:] or ("*",)
        return any(_fits(parts[number:], rest) for number in range(len(parts)))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _fits(parts[1:], pattern[1:])


def _ends_in_suffix(pattern: Path) -> bool:
    """Whether a pattern says itself which suffix is wanted."""
    return bool(pattern.suffix) and not glob.has_magic(pattern.suffix)


def _missing(path: Path, error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "a symbolic link that leads in a circle"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return (
            "a symbolic link that leads nowhere"
            if os.path.islink(path)
            else "no such file or folder; check the spelling"
        )
    return f"can't be looked at: {error.strerror}"


def _kind(mode: int) -> str:
    for test, kind in (
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    ):
        if test(mode):
            return kind
    return "something else"


def _keep_apart(items: list[Found]) -> list[Found]:
    """Give different stems to items whose stems would fall together.

    First the suffix of the file is kept ("clip.mp4" and "clip.avi" stay apart), then the folder is put in front, then a
    digest of the full path is added; only items in a collision are touched.
    """

    def with_suffix(item: Found) -> Path:
        return item.stem.with_name(item.path.name)

    def below_folder(item: Found) -> Path:
        return Path(item.path.resolve().parent.name) / item.stem

    def with_digest(item: Found) -> Path:
        return item.stem.with_name(f"{item.stem.name}-{_digest(item.path)}")

    for step in (with_suffix, below_folder, with_digest):
        taken = Counter(name_key(item.stem) for item in items)
        items = [replace(item, stem=step(item)) if taken[name_key(item.stem)] > 1 else item for item in items]
    return items


def name_key(stem: Path | str) -> str:
    """A relative path without what some file systems don't tell apart: letter case, and ways to write an accent."""
    return unicodedata.normalize("NFC", str(stem)).casefold()


def _digest(path: Path) -> str:
    return blake2b(os.fsencode(path.resolve()), digest_size=4).hexdigest()
