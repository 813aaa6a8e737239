"""``d2m weights``: networks brought into the form that d2m uses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Make networks that d2m can use.", no_args_is_help=True)


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


@app.command("import-encoders")
def import_published_encoders(
    state_dict: Annotated[Path, typer.Argument(help="Checkpoint of the encoders that the paper's authors published.")],
    out: Annotated[Path, typer.Argument(help="The encoders.safetensors to write.")],
    backbone: Annotated[str, typer.Option(help="Family that they were trained on.")] = "musicgen",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file where it exists.")] = False,
) -> None:
    """Turn the published encoders of the MusicGen variant into a file for 'd2m generate --encoders'."""
    from d2m_cli.inversion.published import import_encoders

    encoders = import_encoders(state_dict, out, backbone, overwrite=overwrite)
    count = sum(parameter.numel() for parameter in encoders.parameters())
    print(f"{out}: {count} parameters, rhythm mode {encoders.grid.mode}, {encoders.grid.steps} steps; {encoders.note}")
