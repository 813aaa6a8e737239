"""``d2m report``: a page to see and hear a folder of results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from d2m_cli.commands.common import Cache, NoCache, dance_cache


def report(
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder that 'd2m generate' wrote results to.", show_default=False)
    ],
    cache: Cache = None,
    no_cache: NoCache = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Draw everything again, and replace a page that d2m did not make.")
    ] = False,
) -> None:
    """Write report.html, a page on which each video plays with its music, beside what its dance and its music do.

    'd2m generate' writes it too; this is for results that have none, or whose drawings are missing.

    Skeletons are drawn from poses that are kept in the cache; none are estimated again.
    """
    from d2m_cli.batch.report_page import report as write_report
    from d2m_cli.ground.progress import Progress

    print(write_report(out, cache=dance_cache(cache, no_cache), overwrite=overwrite, progress=Progress()))
