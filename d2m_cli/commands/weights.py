"""``d2m weights``: networks made on the user's machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Make networks that d2m can use.", no_args_is_help=True)


@app.callback()
def _weights() -> None:
    """Keeps ``export-hrnet`` a subcommand while it is the only one."""


@app.command("export-hrnet")
def export_hrnet(
    config: Annotated[Path, typer.Argument(help="mmpose configuration of a top-down heat map network.")],
    checkpoint: Annotated[Path, typer.Argument(help="Its .pth checkpoint.")],
    out: Annotated[Path, typer.Argument(help="The .onnx file to write.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file where it exists.")] = False,
) -> None:
    """Turn an mmpose HRNet into an ONNX file for 'd2m pose --model hrnet:PATH'."""
    from d2m_cli.pose.export import export_top_down

    done = export_top_down(config, checkpoint, out, overwrite=overwrite)
    print(f"{done.path}: input {done.width}x{done.height}, differs from torch by at most {done.difference:.1e}")
