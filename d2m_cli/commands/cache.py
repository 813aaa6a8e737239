"""``d2m cache``: the poses and rhythms that are kept from one run to the next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from d2m_cli.commands.common import DANCES, JsonOut

if TYPE_CHECKING:
    from d2m_cli.ground.file_cache import FileCache

app = typer.Typer(
    help="What is kept so that other music for the same dances costs music alone: poses and rhythms of videos, by "
    "the content of the video, the networks and all settings. What was not used for longest goes where the "
    "whole grows past 4 GB (or what D2M_CACHE_GB says). Without a subcommand: where it lies and how large it is.",
)

_Folder = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        envvar="D2M_CACHE",
        show_envvar=False,
        help="The folder, where commands were given one.",
        show_default="in your cache folder",
    ),
]


@app.callback(invoke_without_command=True)
def show(context: typer.Context, folder: _Folder = None, json_out: JsonOut = False) -> None:
    """Say where the cache lies and what it takes."""
    if context.invoked_subcommand is not None:
        context.obj = folder, json_out
        return
    cache = _cache(folder)
    used = cache.use()
    if json_out:
        _print({"folder": str(cache.folder), "entries": used.entries, "bytes": used.size, "limit": cache.limit})
        return
    print(f"{cache.folder}: {used.entries} entries, {used.size / 1e6:.1f} of {cache.limit / 1e6:.0f} MB")


@app.command("clear")
def clear(context: typer.Context, folder: _Folder = None, json_out: JsonOut = False) -> None:
    """Take all of it away; what is needed again is made again."""
    folder_before, json_before = context.obj
    cache = _cache(folder or folder_before)
    gone = cache.clear()
    if json_out or json_before:
        _print({"folder": str(cache.folder), "removed": gone.entries, "bytes": gone.size})
        return
    print(f"{cache.folder}: removed {gone.entries} entries, {gone.size / 1e6:.1f} MB")


def _cache(folder: Path | None) -> FileCache:
    from d2m_cli.errors import UsageError
    from d2m_cli.ground.file_cache import default_cache

    cache = default_cache(DANCES, folder)
    if cache is None:
        raise UsageError("there is no home folder for a cache: name a folder with --cache")
    return cache


def _print(values: dict[str, object]) -> None:
    import json

    print(json.dumps(values, indent=2))
