"""One file over https, by pooch: it appears whole and checked or not at all."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from d2m_cli.errors import D2MError, DownloadError
from d2m_cli.ground.digests import file_sha256
from d2m_cli.ground.files import flush
from d2m_cli.ground.progress import Progress, is_terminal
from d2m_cli.hub.catalogue import Download
from d2m_cli.hub.disk import check_room, telling_disk_errors
from d2m_cli.hub.growing import telling_growth
from d2m_cli.hub.models import offline_error

HOME_VARIABLE = "D2M_HOME"
TRIES = 4
TIMEOUT_SECONDS = 30.0
"""Of silence, after which a connection counts as broken."""


def download(source: Download, target: Path, progress: Progress, opens: Callable[[Path], object] | None = None) -> str:
    """Fetch a file; it lies in a folder of its own beside the target until it is whole and right.

    Parameters
    ----------
    source
        Address and published checksum.
    target
        Where it is to be; its folder is made, an older file replaced.
    progress
        Told what is fetched; on a terminal pooch shows how far it is.
    opens
        What loads it; asked before the file is kept: a page that says "not found" does not load. Required where there
        is no checksum.

    Returns
    -------
    Its sha256.

    Raises
    ------
    DownloadError
        The server can't be reached, has no such file, breaks off again and again, or sends something else.
    MissingWeightsError
        Downloads are forbidden by HF_HUB_OFFLINE.
    OutputError
        The target can't be written, or the disk is full.
    """
    from huggingface_hub import constants

    if source.sha256 is None and opens is None:
        raise ValueError(f"{source.url}: neither a checksum nor anything that opens it says whether it is whole")
    if constants.HF_HUB_OFFLINE:
        raise offline_error(source.url)
    waiting = target.with_name(f"{target.name}.part")
    with telling_disk_errors(target.parent, HOME_VARIABLE):
        # What a killed process left; nobody else is at it, as `d2m_cli.hub.pull` holds a lock.
        shutil.rmtree(waiting, ignore_errors=True)
        waiting.mkdir(parents=True)
        try:
            check_room(waiting, source.size or 0, HOME_VARIABLE)
            progress.say(f"{source.url}: fetching")
            with telling_growth(progress, target.name, waiting, source.size):
                part = _receive(source.url, waiting, target.name)
            digest = file_sha256(part)
            if not digest.startswith(source.sha256 or ""):
                raise DownloadError(
                    f"{source.url}: what came has the sha256 {digest}, and {_published(source)} is published: it is "
                    "damaged or another file, and was not kept. Fetch it again later, or on another network"
                )
            if opens is not None:
                _open(source, part, opens)
            flush(part)
            os.replace(part, target)
        finally:
            shutil.rmtree(waiting, ignore_errors=True)
    return digest


def _published(source: Download) -> str:
    known = source.sha256 or ""
    return known if len(known) == 64 else f"one that begins with {known}"


def _open(source: Download, part: Path, opens: Callable[[Path], object]) -> None:
    try:
        opens(part)
    except D2MError as error:
        raise DownloadError(
            f"{source.url}: what came is not the weights that are meant, and was not kept. Look there with a browser; "
            f"a file fetched by hand can be named in place of the weights ({error})"
        ) from error


def _receive(url: str, folder: Path, name: str) -> Path:
    import pooch
    import requests

    # It logs as if it were the program.
    pooch.get_logger().setLevel(logging.WARNING)
    # Published sums are mostly the first digits alone, which pooch can't check.
    store = pooch.create(folder, base_url="", registry={name: None}, urls={name: url}, retry_if_failed=TRIES - 1)
    downloader = pooch.HTTPDownloader(timeout=TIMEOUT_SECONDS, progressbar=is_terminal())
    try:
        return Path(store.fetch(name, downloader=downloader))
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else "nothing that can be read"
        raise DownloadError(
            f"{url}: the server answers {status}. The file may have moved: look for it with a "
            "browser; a file fetched by hand can be named in place of the weights"
        ) from error
    except requests.RequestException as error:
        words = (str(error).strip().splitlines() or [""])[0] or type(error).__name__
        raise DownloadError(f"{url}: the connection failed, {TRIES} times ({words}). Try again later") from error
