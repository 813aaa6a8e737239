"""One file over https: goes on where a connection broke off, and appears whole and checked or not at all.

The connection is huggingface_hub's, which knows proxies, certificates and offline mode; its own downloads can't be
used, as they know no checksum and don't go on after the process was killed.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from d2m_cli.errors import D2MError, DownloadError
from d2m_cli.hub.catalogue import Download
from d2m_cli.hub.disk import check_room, telling_disk_errors
from d2m_cli.hub.models import network_errors, offline_error
from d2m_cli.training.progress import Progress
from d2m_cli.weights_path import file_sha256

HOME_VARIABLE = "D2M_HOME"
TRIES = 5
"""How often in a row a connection may bring nothing new."""
WAIT_SECONDS = 1.0
"""Before the second try; twice as long before each further one."""
TIMEOUT_SECONDS = 30.0
"""Of silence, after which a connection counts as broken."""
MEGABYTE = 1 << 20
_PASSING = {408, 425, 429, 500, 502, 503, 504}
"""Answers of a server that may be another the next time."""


def download(source: Download, target: Path, progress: Progress) -> str:
    """Fetch a file; what came of it lies beside the target as ``.part`` until it is whole and right.

    Parameters
    ----------
    source
        Address and published checksum.
    target
        Where it is to be; its folder is made, an older file replaced.
    progress
        Told how far it is.

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
    part = target.with_name(f"{target.name}.part")
    with telling_disk_errors(target.parent, HOME_VARIABLE):
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.sha256 is None:
            # Without a checksum nothing would tell the halves of two versions apart.
            part.unlink(missing_ok=True)
        begun = part.exists()
        if not (begun and source.sha256 and _fits(file_sha256(part), source)):
            _receive(source.url, part, progress)
        digest = file_sha256(part)
        if begun and not _fits(digest, source):
            progress.say(f"{part}: what an earlier download left does not go with the rest; fetching all of it")
            part.unlink()
            _receive(source.url, part, progress)
            digest = file_sha256(part)
        if not _fits(digest, source):
            part.unlink()
            raise DownloadError(
                f"{source.url}: what came has the sha256 {digest}, and {_published(source)} is published: it is "
                "damaged or another file, and was not kept. Fetch it again later, or on another network"
            )
        _open(source, part)
        _flush(part)
        os.replace(part, target)
    return digest


def _fits(digest: str, source: Download) -> bool:
    return digest.startswith(source.sha256 or "")


def _published(source: Download) -> str:
    known = source.sha256 or ""
    return known if len(known) == 64 else f"one that begins with {known}"


def _open(source: Download, part: Path) -> None:
    if source.opens is None:
        return
    try:
        source.opens(part)
    except D2MError as error:
        part.unlink()
        raise DownloadError(
            f"{source.url}: what came is not the weights that are meant, and was not kept. Look there with a browser; "
            f"a file fetched by hand can be named in place of the weights ({error})"
        ) from error


def _receive(url: str, part: Path, progress: Progress) -> None:
    """Fetch until the file is as long as the server says, taking up what is there."""
    furthest, failures, reason, stamp = 0, 0, "", ""
    while True:
        if failures:
            if failures == TRIES:
                kept = (
                    f" {furthest / 1e6:.1f} MB are kept, and the same command goes on from there." if furthest else ""
                )
                raise DownloadError(f"{url}: {reason}, {TRIES} times in a row.{kept} Try again later")
            progress.say(f"{url}: {reason}; trying again")
            time.sleep(WAIT_SECONDS * 2 ** (failures - 1))
        reason, stamp = _once(url, part, stamp, progress)
        if not reason:
            return
        reached = part.stat().st_size if part.exists() else 0
        failures = 1 if reached > furthest else failures + 1
        furthest = max(furthest, reached)


def _once(url: str, part: Path, stamp: str, progress: Progress) -> tuple[str, str]:
    """One try.

    Returns
    -------
    Why it did not get to the end, or ""; and the server's stamp of this version of the file, or "".
    """
    from huggingface_hub import get_session
    from huggingface_hub.errors import OfflineModeIsEnabled

    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if stamp:
            headers["If-Range"] = stamp
    try:
        with get_session().stream("GET", url, headers=headers, timeout=TIMEOUT_SECONDS) as response:
            status = response.status_code
            if status in _PASSING:
                return f"the server answers {status}", stamp
            if status == 416 or (
                status == 206 and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            ):
                part.unlink(missing_ok=True)
                return "what was there does not go with the server's file", ""
            if status not in (200, 206):
                raise DownloadError(
                    f"{url}: the server answers {status}. The file may have moved: look for it with a browser; a file "
                    "fetched by hand can be named in place of the weights"
                )
            going_on = status == 206
            length = int(response.headers.get("Content-Length", 0))
            check_room(part.parent, length, HOME_VARIABLE)
            tag = response.headers.get("ETag", "")
            stamp = "" if tag.startswith("W/") else tag
            total = -(-(length + (have if going_on else 0)) // MEGABYTE)
            with (
                part.open("ab" if going_on else "wb") as file,
                progress.stage(f"{url.rpartition('/')[2]} (MB)", total) as advance,
            ):
                told = 0
                for block in response.iter_bytes():
                    file.write(block)
                    steps = file.tell() // MEGABYTE - told
                    if steps:
                        told += steps
                        advance(steps)
    except OfflineModeIsEnabled as error:
        raise offline_error(url) from error
    except network_errors() as error:
        words = (str(error).strip().splitlines() or [""])[0] or type(error).__name__
        return f"the connection failed ({words})", stamp
    return "", stamp


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
