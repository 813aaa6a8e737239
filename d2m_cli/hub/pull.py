"""Fetch weights: once at a time, to the end or to a state that the same command goes on from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

from d2m_cli.errors import D2MError, DownloadError, MissingExtraError, MissingWeightsError, OutputError, UsageError
from d2m_cli.ground.files import atomic_path
from d2m_cli.ground.progress import Progress
from d2m_cli.hub import catalogue, models, store
from d2m_cli.hub.catalogue import Download, HubModel, Weights
from d2m_cli.hub.disk import telling_disk_errors
from d2m_cli.hub.fetch import HOME_VARIABLE, download


@dataclass(frozen=True)
class Tools:
    """What a pull needs of networks, of which this room knows nothing.

    Attributes
    ----------
    opens
        Name of an entry to what loads its file, for each download without a published checksum.
    export
        Turns a checkpoint into ONNX: takes the name of mmpose's configuration, the checkpoint and the file to write;
        returns in words what it made. Raises MissingExtraError where mmpose is not installed.
    """

    opens: Mapping[str, Callable[[Path], object]]
    export: Callable[[str, Path, Path], str]


@dataclass(frozen=True)
class Pulled:
    """What became of a name: where the weights lie, or why they don't."""

    name: str
    path: Path | None = None
    error: D2MError | None = None


def pull_all(names: Sequence[str], progress: Progress, tools: Tools) -> list[Pulled]:
    """Fetch one after the other; one that can't be had does not keep the others.

    Raises
    ------
    UsageError
        There is nothing of a name; told before anything is fetched.
    """
    ships = store.shipped()
    entries = {name: None if name in ships else catalogue.find(name) for name in names}
    done = []
    for name, entry in entries.items():
        try:
            if entry is None:
                progress.say(f"{name}: ships with d2m")
            done.append(Pulled(name, store.locate(name) if entry is None else pull(entry, progress, tools)))
        except D2MError as error:
            done.append(Pulled(name, error=error))
    return done


def pull(entry: Weights, progress: Progress, tools: Tools) -> Path:
    """Fetch an entry, and turn it into what d2m loads; what is here already is checked, and mended where damaged.

    Parameters
    ----------
    entry
        What to fetch.
    progress
        Told the licence, and how far it is.
    tools
        What opens and exports networks.

    Returns
    -------
    Where it lies: a file, or the folder of a hub model.

    Raises
    ------
    DownloadError, OutputError
        It can't be fetched, or not be written.
    MissingExtraError
        It is fetched, and mmpose, which turns it into ONNX, is not installed.
    """
    for name in entry.with_weights:
        pull(catalogue.find(name), progress, tools)
    with _alone(entry, progress):
        path = _whole_already(entry, progress)
        if path is not None:
            return path
        progress.say(licence_line(entry))
        if isinstance(entry.source, HubModel):
            return _pull_model(entry, entry.source, progress)
        ready = _pull_ready(entry, entry.ready, progress, tools) if entry.ready is not None else None
        return ready or _pull_file(entry, entry.source, progress, tools)


def licence_line(entry: Weights) -> str:
    """Origin, licence and what it means."""
    return f"{entry.name}: {entry.origin}, licence: {entry.licence}" + (f"; {entry.terms}" if entry.terms else "")


def plan(entry: Weights) -> list[str]:
    """What `pull` would do, in lines: files, sizes and sums as the hub gives them or as they are published.

    Raises
    ------
    DownloadError, MissingWeightsError
        The hub must be asked, and can't be.
    """
    lines = [line for name in entry.with_weights for line in plan(catalogue.find(name))]
    place = store.look(entry)
    if place.state == "here":
        return [*lines, f"{entry.name}: is here, {place.path}"]
    lines.append(licence_line(entry))
    if isinstance(entry.source, Download):
        size = "size not published" if entry.source.size is None else f"{entry.source.size} bytes"
        return [*lines, f"  {entry.source.file_name}  {size}  sha256 {published(entry.source)}"]
    _, there = models.listing(entry.source)
    files = models.wanted_files(entry.source, there)
    lines += [f"  {file.path}  {file.size} bytes  {_sum(file)}" for file in files]
    return [*lines, f"  {len(files)} files, {sum(file.size or 0 for file in files) / 1e6:.1f} MB"]


def _sum(file: models.HubFile) -> str:
    if file.sha256:
        return f"sha256 {file.sha256}"
    return f"git {file.blob}" if file.blob else "no sum given"


def published(source: Download) -> str:
    """The published checksum in words."""
    if source.sha256 is None:
        return "not published"
    return source.sha256 if len(source.sha256) == 64 else f"{source.sha256}... (only these digits are published)"


@contextmanager
def _alone(entry: Weights, progress: Progress) -> Iterator[None]:
    from filelock import FileLock, Timeout

    home = store.weights_home()
    with telling_disk_errors(home, HOME_VARIABLE):
        (home / ".locks").mkdir(parents=True, exist_ok=True)
        lock = FileLock(home / ".locks" / f"{entry.slug}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            progress.say(f"{entry.name}: another process is fetching it; waiting for that")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _whole_already(entry: Weights, progress: Progress) -> Path | None:
    """Where an entry lies that is here and whole; what another program brought gets its receipt."""
    place = store.look(entry)
    if place.path is None:
        return None
    checked = store.check(entry)
    for problem in checked.problems:
        progress.say(problem.partition("; run '")[0])
    if checked.problems:
        return None
    progress.say(f"{entry.name}: is here and whole")
    if store.read_receipt(entry) is None:
        names = [file.path for file in place.files]
        sums = {name: models.published_sum(place.folder / name) for name in names}
        known = {name: one.sha256 for name, one in sums.items() if one is not None and one.sha256}
        _write(entry, place.folder.name, str(place.folder), ".", store.record(place.folder, names, known))
    return place.path


def _pull_model(entry: Weights, model: HubModel, progress: Progress) -> Path:
    revision, there = models.listing(model)
    files = models.wanted_files(model, there)
    mark = store.unfinished_mark(entry)
    with telling_disk_errors(mark.parent, HOME_VARIABLE):
        mark.touch()
    came = models.fetch(model, revision, files, progress)
    known = {file.path: file.sha256 for file in files if file.sha256}
    _write(entry, came.revision, str(came.folder), ".", store.record(came.folder, came.files, known))
    progress.say(f"{entry.name}: every file has the sum that the hub gives")
    return came.folder


def _pull_ready(entry: Weights, model: HubModel, progress: Progress, tools: Tools) -> Path | None:
    """Fetch what others turned into ONNX; None where it is not there, or does not say how it wants its pictures."""
    try:
        revision, there = models.listing(model)
        progress.say(f"{entry.name}: {model.repo} has it as ONNX; its licence: https://huggingface.co/{model.repo}")
        came = models.fetch(model, revision, models.wanted_files(model, there), progress)
        tools.opens[entry.name](came.folder / came.files[0])
    except (DownloadError, MissingWeightsError, UsageError) as error:
        progress.say(f"{entry.name}: taking the checkpoint, which mmpose turns into ONNX, for {error}")
        return None
    known = {file.path: file.sha256 for file in there.values() if file.sha256 and file.path in came.files}
    files = store.record(came.folder, came.files, known)
    _write(entry, came.revision, str(came.folder), came.files[0], files, model.repo)
    return came.folder / came.files[0]


def _pull_file(entry: Weights, source: Download, progress: Progress, tools: Tools) -> Path:
    folder = store.own_folder(entry)
    target = folder / source.file_name
    place = store.look(entry)
    if place.state == "not exported" and not store.check(entry).problems:
        files = place.files
    else:
        digest = download(source, target, progress, tools.opens.get(entry.name) if source.sha256 is None else None)
        files = store.record(folder, [target.name], {target.name: digest})
        if source.sha256 is None:
            progress.say(f"{target.name}: no checksum is published; it holds what it should")
        else:
            progress.say(f"{target.name}: sha256 {digest}, as published")
    if entry.member:
        target = _unpack(entry, target)
        files = store.record(folder, [target.name], {})
    if not entry.mmpose_config:
        _write(entry, "", "", target.name, files)
        return target
    # So that what came need not come again where the export fails.
    _write(entry, "", "", "", files)
    result = _export(entry, target, progress, tools)
    known = {file.path: file.sha256 for file in files}
    _write(entry, "", "", result.name, store.record(folder, [target.name, result.name], known))
    return result


def _unpack(entry: Weights, archive: Path) -> Path:
    """Keep one file of an archive, under the entry's name."""
    out = archive.with_name(f"{entry.slug}.onnx")
    with telling_disk_errors(archive.parent, HOME_VARIABLE), ZipFile(archive) as packed:
        name = member_of(packed, entry.member)
        with atomic_path(out) as part:
            part.write_bytes(packed.read(name))
        archive.unlink()
    return out


def member_of(packed: ZipFile, name: str) -> str:
    """The one file of an archive that has a name, in whatever folder of it.

    Raises
    ------
    DownloadError
        There is none, or more than one.
    """
    found = [path for path in packed.namelist() if path.rpartition("/")[2] == name]
    if len(found) != 1:
        raise DownloadError(f"{packed.filename}: holds {len(found)} files {name!r}, and not one: it is another archive")
    return found[0]


def _export(entry: Weights, checkpoint: Path, progress: Progress, tools: Tools) -> Path:
    out = checkpoint.with_name(f"{entry.slug}.onnx")
    progress.say(f"{entry.name}: turning it into ONNX")
    try:
        told = tools.export(entry.mmpose_config, checkpoint, out)
    except MissingExtraError as error:
        raise MissingExtraError(
            f"{entry.name}: fetched to {checkpoint}, but {error}. Then run '{entry.fetch_command}' again"
        ) from error
    progress.say(f"{entry.name}: {told}")
    return out


def _write(
    entry: Weights, revision: str, folder: str, result: str, files: tuple[store.FileRecord, ...], ready: str = ""
) -> None:
    licence = f"see https://huggingface.co/{ready}" if ready else entry.licence
    receipt = store.Receipt(entry.name, ready or entry.origin, licence, revision, folder, result, files)
    try:
        with telling_disk_errors(store.weights_home(), HOME_VARIABLE):
            store.write_receipt(entry, receipt)
    except OutputError as error:
        if isinstance(error.__cause__, OSError):
            # Its text speaks of the option `out`, which there is none of here.
            with telling_disk_errors(store.weights_home(), HOME_VARIABLE):
                raise error.__cause__ from None
        raise
