"""Models of the Hugging Face hub: which files are taken, and whether those that came are those that the hub has.

The files lie in the cache that all programs share (``HF_HOME``), so nothing is fetched twice. huggingface_hub goes on
where a connection broke off, but takes any bytes of the right number; what came is compared here with the sums that the
hub gives.
"""

from __future__ import annotations

import glob
import os
import re
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from d2m_cli.errors import DownloadError, MissingWeightsError, UsageError
from d2m_cli.ground.digests import file_sha256
from d2m_cli.ground.progress import Progress, is_terminal
from d2m_cli.hub.catalogue import HubModel
from d2m_cli.hub.disk import check_room, telling_disk_errors
from d2m_cli.hub.growing import telling_growth

CACHE_VARIABLE = "HF_HOME"
ABANDONED_SECONDS = 3600.0
"""Age from which a half-written file of the cache is one that a killed process left."""
_PIECE = re.compile(r"(.+)-(\d{5})-of-(\d{5})(\.\w+)")


@dataclass(frozen=True)
class HubFile:
    """A file as the hub lists it.

    Attributes
    ----------
    path
        Within the model.
    size
        Bytes, or None where the hub does not say.
    sha256
        Of a large file, else None.
    blob
        git's own sum of a small file, else None.
    """

    path: str
    size: int | None
    sha256: str | None
    blob: str | None

    def matches(self, path: Path) -> bool:
        """Whether a file on the disk has the listed size and sum."""
        from huggingface_hub.utils.sha import git_hash

        if not path.is_file() or (self.size is not None and path.stat().st_size != self.size):
            return False
        if self.sha256 is not None:
            return file_sha256(path) == self.sha256
        return self.blob is None or git_hash(path.read_bytes()) == self.blob


@dataclass(frozen=True)
class Fetched:
    """A model in the cache: folder, commit, and the paths of its files within the folder."""

    folder: Path
    revision: str
    files: tuple[str, ...]


def pick(names: Collection[str], model: HubModel) -> tuple[list[str], list[str]]:
    """Choose among the files of a model.

    Returns
    -------
    The files to take, and in words what is lacking.
    """
    taken: list[str] = []
    lacking: list[str] = []
    for alternatives in model.needs:
        whole = next((files for wanted in alternatives if (files := _whole(wanted, names))), None)
        if whole is None:
            lacking.append(" or ".join(alternatives))
        else:
            taken += whole
    taken += [name for name in names if any(fnmatchcase(name, pattern) for pattern in model.also)]
    return sorted(set(taken)), lacking


def _whole(wanted: str, names: Collection[str]) -> list[str]:
    """The file itself, or its index and all of its numbered pieces, or nothing."""
    if wanted in names:
        return [wanted]
    index = f"{wanted}.index.json"
    if index not in names:
        return []
    found = [match for name in names if (match := _PIECE.fullmatch(name)) and match[1] + match[4] == wanted]
    counts = {int(match[3]) for match in found}
    if len(counts) != 1 or {int(match[2]) for match in found} != set(range(1, counts.pop() + 1)):
        return []
    return [index, *(match[0] for match in found)]


def cached(model: HubModel) -> Fetched | None:
    """The model in the cache where all that is needed of it is there; never touches the network."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    for wanted in (name for alternatives in model.needs for name in alternatives):
        try:
            found = try_to_load_from_cache(model.repo, wanted)
        except HFValidationError as error:
            raise UsageError(f"{model.repo!r} is no name of a hub model") from error
        if isinstance(found, str):
            folder = Path(found).parents[wanted.count("/")]
            # A link whose file is gone is not there.
            names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
            files, lacking = pick(names, model)
            return None if lacking else Fetched(folder, folder.name, tuple(files))
    return None


def listing(model: HubModel) -> tuple[str, dict[str, HubFile]]:
    """Ask the hub for the newest commit of a model and for its files.

    Raises
    ------
    DownloadError, MissingWeightsError
        The hub can't be reached, must not be, or has no such model.
    """
    from huggingface_hub import HfApi

    with telling_hub_errors(model):
        info = HfApi().model_info(model.repo, files_metadata=True)
    files = {
        file.rfilename: HubFile(
            file.rfilename,
            file.lfs.size if file.lfs else file.size,
            file.lfs.sha256 if file.lfs else None,
            None if file.lfs else file.blob_id,
        )
        for file in info.siblings or ()
    }
    return info.sha or "", files


def wanted_files(model: HubModel, there: Mapping[str, HubFile]) -> tuple[HubFile, ...]:
    """Those of the hub's files that are taken.

    Raises
    ------
    DownloadError
        The hub's model lacks something.
    """
    names, lacking = pick(there, model)
    if lacking:
        raise DownloadError(
            f"{model.repo} at {endpoint()} has no {'; no '.join(lacking)}: it is no model of the layout that d2m loads"
        )
    return tuple(there[name] for name in names)


def fetch(model: HubModel, revision: str, files: Sequence[HubFile], progress: Progress) -> Fetched:
    """Bring a model into the cache, and compare every file with the hub's sums; files that differ are not kept.

    Parameters
    ----------
    model
        Which.
    revision, files
        From `listing` and `wanted_files`.
    progress
        Told how much there is to fetch.

    Raises
    ------
    DownloadError, MissingWeightsError
        The hub can't be reached, or what came was not what it lists.
    OutputError
        The cache can't be written, or the disk is full.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.file_download import repo_folder_name
    from huggingface_hub.utils.tqdm import disable_progress_bars

    cache = Path(constants.HF_HUB_CACHE)
    repository = cache / repo_folder_name(repo_id=model.repo, repo_type="model")
    folder = repository / "snapshots" / revision
    _sweep(repository / "blobs")
    new = []
    for file in files:
        path = folder / file.path
        if not path.is_file():
            # Another commit may have had the same file.
            path = repository / "blobs" / (file.sha256 or file.blob or "-")
        if path.is_file() and not file.matches(path):
            progress.say(f"{path}: is damaged; fetching it again")
            _remove(path)
        if not path.is_file():
            new.append(file)
    needed = sum(file.size or 0 for file in new)
    with telling_disk_errors(cache, CACHE_VARIABLE):
        cache.mkdir(parents=True, exist_ok=True)
        check_room(cache, needed, CACHE_VARIABLE)
    progress.say(f"fetching {len(new)} files ({needed / 1e6:.1f} MB) of {model.repo} from {endpoint()}")
    # In a log, its bars are many lines.
    bars = nullcontext() if is_terminal() else disable_progress_bars()
    growth = telling_growth(progress, model.repo, repository, needed)
    with telling_disk_errors(cache, CACHE_VARIABLE), telling_hub_errors(model), bars, growth:
        came = Path(snapshot_download(model.repo, allow_patterns=[glob.escape(file.path) for file in files]))
    if came.name != revision:
        raise DownloadError(f"{model.repo} changed at {endpoint()} while it was fetched; fetch it again")
    wrong = [file.path for file in new if not file.matches(came / file.path)]
    for name in wrong:
        _remove(came / name)
    if wrong:
        raise DownloadError(
            f"{', '.join(wrong)} of {model.repo}: what {endpoint()} sent is not what it lists, and was not kept. Fetch "
            "it again, or from another place (HF_ENDPOINT)"
        )
    return Fetched(came, revision, tuple(file.path for file in files))


def published_sum(path: Path) -> HubFile | None:
    """What the cache knows of a file: the hub's sum of it is its name among the blobs; None outside of a cache."""
    if not path.is_symlink():
        return None
    name = os.path.basename(os.readlink(path))
    if re.fullmatch(r"[0-9a-f]{64}", name):
        return HubFile(path.name, None, name, None)
    return HubFile(path.name, None, None, name) if re.fullmatch(r"[0-9a-f]{40}", name) else None


def endpoint() -> str:
    """Address of the hub or of the mirror that is used in its place."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def network_errors() -> tuple[type[Exception], ...]:
    """What huggingface_hub's own connections raise where there is no network, or one that breaks off."""
    from huggingface_hub.errors import HfHubHTTPError

    # The base class of httpx or of httpx2: which of them it is depends on the version.
    return tuple(base for base in HfHubHTTPError.__mro__ if base.__name__ == "HTTPError")


def offline_error(origin: str) -> MissingWeightsError:
    """What to raise where the user has forbidden downloads."""
    return MissingWeightsError(
        f"{origin}: is to be fetched, and HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE forbids it. Unset both, or bring the "
        "weights from a machine that has them"
    )


@contextmanager
def telling_hub_errors(model: HubModel) -> Iterator[None]:
    """Turn what huggingface_hub raises into errors that say what to do; those of the disk pass."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    where = f"{model.repo} at {endpoint()}"
    try:
        yield
    except OfflineModeIsEnabled as error:
        raise offline_error(model.repo) from error
    except HFValidationError as error:
        raise UsageError(f"{model.repo!r} is no name of a hub model") from error
    except GatedRepoError as error:
        raise DownloadError(
            f"{where}: is given only to those who accepted its terms on its page. Do that, run 'hf auth login', and "
            "fetch it again"
        ) from error
    except RepositoryNotFoundError as error:
        raise DownloadError(
            f"{where}: there is no such model, or it is private. Check the name; for a private one run 'hf auth login'"
        ) from error
    except HfHubHTTPError as error:
        raise DownloadError(f"{where}: {_first_line(error)}. Fetch it again later") from error
    except LocalEntryNotFoundError as error:
        if isinstance(error.__cause__, OfflineModeIsEnabled):
            raise offline_error(model.repo) from error
        raise DownloadError(_unreachable(where, error.__cause__ or error)) from error
    except network_errors() as error:
        raise DownloadError(_unreachable(where, error)) from error
    except OSError as error:
        if error.errno is not None:
            raise
        # huggingface_hub's word for a file that came too short.
        raise DownloadError(f"{where}: {_first_line(error)} Fetch it again; what is whole is kept") from error


def _unreachable(where: str, error: BaseException) -> str:
    return (
        f"{where}: can't be fetched ({_first_line(error)}). Check the connection and HF_ENDPOINT, and fetch it again; "
        "files that are whole are kept"
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _remove(path: Path) -> None:
    """Take away a file of the cache: the name, and what lies behind it."""
    behind = {path.resolve()}
    if path.is_symlink():
        behind.add(path.parent / os.readlink(path))
    path.unlink(missing_ok=True)
    for other in behind:
        other.unlink(missing_ok=True)


def _sweep(blobs: Path) -> None:
    """Remove what killed downloads left of this model: it is never taken up again, and may be gigabytes."""
    for path in blobs.glob("*.incomplete"):
        if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
            path.unlink(missing_ok=True)
