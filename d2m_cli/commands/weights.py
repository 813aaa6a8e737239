"""``d2m weights``: networks that don't ship with d2m: fetched, checked, and brought into the form that d2m uses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from d2m_cli.hub.pull import Tools

app = typer.Typer(
    help="Weights by name: which there are, where they lie, fetching and checking them; and networks of your own "
    "brought into the form that d2m uses. Only 'pull' touches the network.",
    no_args_is_help=True,
)

_NAMES = "Names as 'd2m weights list' shows them, or FAMILY:HUB_ID for a backbone of your own on the hub."


@app.command("list")
def list_weights(
    json_out: Annotated[bool, typer.Option("--json", help="One JSON document on stdout in place of a table.")] = False,
) -> None:
    """List all weights that d2m knows: what for, licence, size, checksum, origin, and whether they are here."""
    import json
    import os
    import sys

    from rich.console import Console

    from d2m_cli.hub.inventory import inventory
    from d2m_cli.report.weights_table import WIDE, weights_lines, weights_table

    rows = inventory()
    if json_out:
        print(json.dumps({"weights": [row.to_json() for row in rows]}, indent=2))
        return
    # Off a terminal rich takes 80 columns, which would fold long lines.
    out = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 240)
    if out.width >= WIDE:
        out.print(weights_table(rows))
        return
    for line in weights_lines(rows):
        print(line)


@app.command("pull")
def pull(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help=_NAMES, show_default=False)],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be fetched; asks the hub for its list of files.")
    ] = False,
) -> None:
    """Fetch weights, check them, and print where they lie. Files that came whole before a break are kept."""
    import sys

    from d2m_cli.ground.progress import Progress
    from d2m_cli.hub import catalogue
    from d2m_cli.hub.pull import plan, pull_all

    if dry_run:
        for name in names:
            for line in plan(catalogue.find(name)):
                print(line)
        return
    done = pull_all(names, Progress(), pull_tools())
    for one in done:
        if one.error is None:
            print(one.path)
        else:
            print(f"d2m: error: {one.error}", file=sys.stderr)
    raise typer.Exit(max((one.error.exit_code for one in done if one.error is not None), default=0))


def pull_tools() -> Tools:
    """What opens and exports networks, for `d2m_cli.hub.pull`."""
    from d2m_cli.hub.catalogue import CATALOGUE
    from d2m_cli.hub.pull import Tools
    from d2m_cli.pose.fetched import open_packed, open_ready

    def open_sincresnet(path: Path) -> object:
        from d2m_cli.evaluation.genre.sincresnet import MsSincResNet

        return MsSincResNet.load(path)

    def export(config: str, checkpoint: Path, out: Path) -> str:
        from d2m_cli.pose.export import export_published

        return str(export_published(config, checkpoint, out))

    packed = {name: open_packed for name, entry in CATALOGUE.items() if entry.member}
    ready = {name: open_ready for name, entry in CATALOGUE.items() if entry.ready is not None}
    return Tools({"sincresnet": open_sincresnet, **packed, **ready}, export)


@app.command("verify")
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help=f"{_NAMES} All that is here if not said.")
    ] = None,
) -> None:
    """Read weights and compare their checksums: what was fetched, and what ships with d2m."""
    import sys

    from d2m_cli.hub.store import check_all
    from d2m_cli.report.weights_table import size_in_words

    wrong = False
    for checked in check_all(names or ()):
        for problem in checked.problems:
            wrong = True
            print(f"d2m: error: {checked.name}: {problem}", file=sys.stderr)
        if not checked.problems:
            print(f"{checked.name}: {checked.files} files, {size_in_words(checked.size)}, whole")
    raise typer.Exit(1 if wrong else 0)


@app.command("path")
def path(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name as 'd2m weights list' shows it.")],
) -> None:
    """Print where weights lie: a file, or the folder of a model."""
    from d2m_cli.hub.store import locate

    print(locate(name))


@app.command("export-hrnet")
def export_hrnet(
    config: Annotated[Path, typer.Argument(help="mmpose configuration of a top-down heat map network.")],
    checkpoint: Annotated[Path, typer.Argument(help="Its .pth checkpoint.")],
    out: Annotated[Path, typer.Argument(help="The .onnx file to write.")],
    half: Annotated[bool, typer.Option("--half", help="Compute in float16, for a GPU; half the file.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file where it exists.")] = False,
) -> None:
    """Turn an mmpose HRNet into an ONNX file for 'd2m pose --model hrnet:PATH'."""
    from d2m_cli.pose.export import export_top_down

    done = export_top_down(config, checkpoint, out, overwrite=overwrite, half=half)
    print(f"{done.path}: {done}")


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
