"""What the commands share: names of devices, decoders and number formats, and the options of all that take videos."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from d2m_cli.commands.completion import complete_backbones
from d2m_cli.errors import UsageError

if TYPE_CHECKING:
    from d2m_cli.batch.by_folder import Run
    from d2m_cli.batch.options import BatchOptions
    from d2m_cli.ground.file_cache import FileCache
    from d2m_cli.ground.inputs import Input


DANCES = "dances"
"""Name of the cache of poses and rhythms in the user's cache folder."""


class Decoder(StrEnum):
    """What reads videos."""

    auto = "auto"
    decord = "decord"
    pyav = "pyav"


class Precision(StrEnum):
    """Number format of the backbone's weights."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


class Engine(StrEnum):
    """Where the work is done."""

    local = "local"
    ray = "ray"


class RhythmMode(StrEnum):
    """How peaks are found."""

    beats = "beats"
    stable = "stable"
    paper = "paper"
    published = "published"


PASSAGE = "Which part of the video, which dancers"
MACHINE = "The machine"
RUN = "Many files, and going on"
"""Panels of the help for what the commands share."""

INPUTS_HELP = (
    "or folders searched recursively; patterns in quotes ('clips/**/*.mp4'); @LIST for the paths in a file, and - for "
    "those on standard input, one a line or separated by NUL."
)
Videos = Annotated[list[str], typer.Argument(metavar="VIDEOS...", help=f"Videos, {INPUTS_HELP}", show_default=False)]


def _seconds(given: str | float) -> float:
    from d2m_cli.ground.seconds import seconds_of

    if isinstance(given, float):  # the default
        return given
    try:
        return seconds_of(given)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Start = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        parser=_seconds,
        help="Where in each video to begin: seconds (12.5), or minutes (1:30).",
        rich_help_panel=PASSAGE,
    ),
]
Duration = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        parser=_seconds,
        help="How much of each video to take from --start on; else all of it.",
        show_default=False,
        rich_help_panel=PASSAGE,
    ),
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder of the results; mirrors the folders given.")]
Backbone = Annotated[
    str,
    typer.Option(
        help="Text-to-music model: auto, embedded, riffusion, musicgen, audiocraft, ace-step, stable-audio; or with a "
        "model of your own, "
        "FAMILY:FOLDER_OR_HUB_ID.",
        autocompletion=complete_backbones,
    ),
]


def known_device(name: str) -> str:
    """Names that are no device are refused while the command line is read."""
    from d2m_cli.ground.devices import check_device_name

    try:
        check_device_name(name)
    except UsageError as error:
        raise typer.BadParameter(str(error)) from None
    return name


DEVICE_NAMES = "auto|cpu|cuda|cuda:N"
Device = Annotated[
    str,
    typer.Option(
        metavar=DEVICE_NAMES,
        callback=known_device,
        help="Where to compute; auto takes a GPU if there is one.",
        rich_help_panel=MACHINE,
    ),
]
DecoderOption = Annotated[
    Decoder,
    typer.Option(
        help="What reads videos: decord where it can be trusted, else PyAV (auto); or one of them.",
        rich_help_panel=MACHINE,
    ),
]
Dancers = Annotated[
    str,
    typer.Option(
        help="Dancers to follow: largest; all; how many at most, such as 2; or only:N, the one numbered N among all "
        "(0 is the most prominent).",
        rich_help_panel=PASSAGE,
    ),
]
Cache = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        help="Folder in which poses and rhythms are kept, so that other music for the same dances costs music "
        "alone (see 'd2m cache').",
        show_default="in your cache folder",
        rich_help_panel=MACHINE,
    ),
]
NoCache = Annotated[
    bool,
    typer.Option(
        "--no-cache", help="Neither keep poses and rhythms nor look for such as were kept.", rich_help_panel=MACHINE
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Make again what is done, from the poses that are kept (with --no-cache estimate them too); replace other "
        "files.",
        rich_help_panel=RUN,
    ),
]
Verify = Annotated[
    bool,
    typer.Option(
        "--verify",
        help="Read all videos, models and results to check that what is done is unchanged.",
        rich_help_panel=RUN,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be made.", rich_help_panel=RUN)]
JsonOut = Annotated[bool, typer.Option("--json", help="One JSON document on stdout in place of lines.")]


ShardOption = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Work on the I-th of N equal shares of the files, such as 1/4: for several machines. A file's share hangs "
        "on its name alone.",
        show_default=False,
        rich_help_panel=RUN,
    ),
]
ByFolder = Annotated[
    bool,
    typer.Option(
        "--by-folder",
        help="A run of its own for each folder in those given, one after the other, with results and ledger in "
        "OUT/FOLDER: for collections of millions, whose names are then never all in memory.",
        rich_help_panel=RUN,
    ),
]
RetryFailed = Annotated[
    bool,
    typer.Option(
        "--retry-failed", help="Try again what failed before; else its reason is told again.", rich_help_panel=RUN
    ),
]
MaxFailures = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Stop after N failures.", show_default=False, rich_help_panel=RUN)
]

EngineOption = Annotated[
    Engine,
    typer.Option(
        "--engine", help="Work in this process, or on the nodes of a Ray cluster (extra: ray).", rich_help_panel=RUN
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray-address",
        metavar="HOST:PORT",
        help="Of the Ray cluster, or auto. Default: RAY_ADDRESS, else one of this machine alone.",
        show_default=False,
        rich_help_panel=RUN,
    ),
]

StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="ADDRESS",
        help="Put the results at an address that fsspec reaches (s3://BUCKET/FOLDER, gs://...); the ledger stays in "
        "--out.",
        show_default=False,
        rich_help_panel=RUN,
    ),
]


def dance_cache(cache: Path | None, no_cache: bool) -> FileCache | None:
    """What the options of a cache mean; None where nothing is kept.

    Raises
    ------
    UsageError
        Both are given.
    """
    from d2m_cli.batch.voice import say
    from d2m_cli.ground.file_cache import default_cache

    if no_cache:
        if cache is not None:
            raise UsageError("--cache and --no-cache contradict each other: give one of them")
        return None
    found = default_cache(DANCES, cache, lambda text: say(f"d2m: {text}"))
    if found is None:
        say("d2m: there is no home folder for a cache, so neither poses nor rhythms are kept for the next run")
    return found


def device_there(device: str, batch: BatchOptions) -> str:
    """The device that a name means where the work is done."""
    from d2m_cli.batch.engines.engine import device_there as device_on_engine

    return device_on_engine(device, batch)


def run_all(inputs: Sequence[Input], out: Path, by_folder: bool, options: BatchOptions, run: Run) -> int:
    """Do one run for all inputs, or one for each folder in them; the exit code."""
    if not by_folder:
        return run(inputs, out, options).exit_code
    from d2m_cli.batch.by_folder import run_by_folder

    return run_by_folder(inputs, out, options, run)


def batch_options(context: typer.Context) -> BatchOptions:
    """What the options of a command, which all that take videos share, and 'd2m --verbose' say of the batch."""
    from dataclasses import fields

    from d2m_cli.batch.options import BatchOptions, Shard

    given = {**context.find_root().params, **context.params}
    if given.get("shard") is not None:
        given["shard"] = Shard.parse(given["shard"])
    if given.get("engine") is not None:
        given["engine"] = given["engine"].value
    return BatchOptions(**{one.name: given[one.name] for one in fields(BatchOptions) if one.name in given})
