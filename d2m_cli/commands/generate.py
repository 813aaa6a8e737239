"""``d2m generate``: music for dance videos."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from d2m_cli.commands.common import (
    INPUTS_HELP,
    MACHINE,
    PASSAGE,
    Backbone,
    Cache,
    Dancers,
    Decoder,
    DecoderOption,
    Device,
    DryRun,
    Duration,
    Engine,
    EngineOption,
    JsonOut,
    MaxFailures,
    NoCache,
    Out,
    Overwrite,
    Precision,
    RayAddress,
    RetryFailed,
    ShardOption,
    Start,
    StoreOption,
    Verify,
    batch_options,
    dance_cache,
    device_there,
)
from d2m_cli.commands.completion import complete_formats, complete_genres
from d2m_cli.commands.logged import with_log
from d2m_cli.commands.variables import on_command_line
from d2m_cli.errors import UsageError


class RhythmBy(StrEnum):
    """How the dance's rhythm reaches the backbone."""

    encoder = "encoder"
    words = "words"


class SnapBy(StrEnum):
    """When music is bent onto the dance."""

    auto = "auto"
    on = "on"
    off = "off"


class EndingBy(StrEnum):
    """How the music ends."""

    fade = "fade"
    hit = "hit"
    none = "none"


_FIT = "How the music follows the dance"
_WORDS = "What the model is told"
_SAMPLING = "How music is drawn"
FILES = "What is written"


def _print_words(wanted: bool) -> None:
    if wanted:
        from d2m_cli.inversion.word_bank import bank_lines

        print("\n".join(bank_lines()))
        raise typer.Exit


def with_mp4(context: typer.Context, formats: tuple[str, ...], mp4: bool) -> tuple[str, ...]:
    """Formats with or without an .mp4; of two that contradict each other, what is on the command line goes before.

    Raises
    ------
    UsageError
        Both are there and contradict each other, or nothing is left.
    """
    if mp4 is ("mp4" in formats):
        return formats
    if mp4:
        return (*formats, "mp4")
    if on_command_line(context, "formats"):
        if not on_command_line(context, "mp4"):
            return formats
        raise UsageError("--no-mp4 and a --format with mp4 contradict each other: leave one of the two out")
    left = tuple(name for name in formats if name != "mp4")
    if not left:
        raise UsageError("--no-mp4 leaves no format of D2M_FORMAT: name one with --format")
    return left


@with_log("generate")
def generate(
    context: typer.Context,
    videos: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="VIDEOS...", help=f"Videos, {INPUTS_HELP} With --manifest they may be left out.", show_default=False
        ),
    ] = None,
    genre: Annotated[
        str | None,
        typer.Option(
            help="Dance genre, the '@' of the prompt: break, house, ballet-jazz, street-jazz, krump, la-hip-hop, lock, "
            "middle-hip-hop, pop, waack, their two-letter codes, or what dancers call them (breaking, b-boy, popping, "
            "waacking, LA style; hip-hop is middle-hip-hop); or auto: that of each video, from --genre-table or a name "
            "as AIST gives its dances.",
            autocompletion=complete_genres,
            show_default=False,
        ),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(help="What the music should be like. May hold '@' and '*' of its own.", show_default=False),
    ] = None,
    negative_prompt: Annotated[str, typer.Option(help="What the music should not be like.", show_default=False)] = "",
    out: Out = Path("d2m_out"),
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    variations: Annotated[
        int, typer.Option(min=1, metavar="N", help="Pieces for each video, with seeds that count up from --seed.")
    ] = 1,
    backbone: Backbone = "auto",
    manifest: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE.csv",
            help="A table with a line for each piece: the column video, relative to the table, and any of genre, "
            "prompt, negative_prompt, seed, start, duration, music, which go before the options here.",
            show_default=False,
        ),
    ] = None,
    genre_table: Annotated[
        Path | None,
        typer.Option(
            help="For --genre auto: a table (.csv) with the columns name and genre, one line a video. --manifest can "
            "say more, and goes before it.",
            show_default=False,
        ),
    ] = None,
    start: Start = 0.0,
    duration: Duration = None,
    dancers: Dancers = "largest",
    allow_no_dancer: Annotated[
        bool,
        typer.Option(
            "--allow-no-dancer",
            help="Make music by the prompt alone for a video without a dancer.",
            rich_help_panel=PASSAGE,
        ),
    ] = False,
    candidates: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Takes of each window; the one that keeps time best with the dance is kept.",
            rich_help_panel=_FIT,
        ),
    ] = 3,
    snap: Annotated[
        SnapBy,
        typer.Option(
            help="Bend the music, by 8 % at most, so that its beats fall on the dance's: where the dance has a steady "
            "beat, also where its beat is doubtful, or never.",
            rich_help_panel=_FIT,
        ),
    ] = SnapBy.auto,
    ending: Annotated[
        EndingBy,
        typer.Option(
            help="Fade on the last beats, end on a last hit, or stop where the video does.", rich_help_panel=_FIT
        ),
    ] = EndingBy.fade,
    breaks: Annotated[
        bool,
        typer.Option(
            "--breaks", help="Silence the music where the dance holds for more than two beats.", rich_help_panel=_FIT
        ),
    ] = False,
    loudness: Annotated[
        float,
        typer.Option(
            help="Integrated loudness in LUFS; less where the true peak would pass -1 dBTP.", rich_help_panel=_FIT
        ),
    ] = -14.0,
    music: Annotated[
        Path | None,
        typer.Option(
            help="A track of your own in place of music from a model: the passage that need be bent least is laid "
            "under each dance.",
            show_default=False,
            rich_help_panel=_FIT,
        ),
    ] = None,
    music_start: Annotated[
        float | None,
        typer.Option(
            help="Second of --music to begin at, to the nearest beat.", show_default=False, rich_help_panel=_FIT
        ),
    ] = None,
    formats: Annotated[
        list[str],
        typer.Option(
            "--format",
            metavar="NAMES",
            autocompletion=complete_formats,
            help="Files to write, with commas or given again: the music as wav, flac, mp3, m4a, the video with it as "
            "mp4, mkv (with lossless sound). A .json that says how it was made is always written.",
            rich_help_panel=FILES,
        ),
    ] = ["wav,mp4"],  # noqa: B006
    mp4: Annotated[
        bool | None,
        typer.Option(
            "--mp4/--no-mp4",
            help="Write an .mp4 whatever --format says, or none.",
            rich_help_panel=FILES,
            show_default=False,
        ),
    ] = None,
    report: Annotated[
        bool,
        typer.Option(
            "--report/--no-report",
            help="Also write report.html, a page to see, hear and compare all results of the folder.",
            rich_help_panel=FILES,
        ),
    ] = True,
    name: Annotated[
        str,
        typer.Option(
            metavar="PATTERN",
            help="What results are called: text, and any of {stem}, {genre}, {seed}, {start}, {variation}. Of one "
            "video, what would be called the same gets _1, _2 and so on.",
            rich_help_panel=FILES,
        ),
    ] = "{stem}",
    mix: Annotated[
        float | None,
        typer.Option(
            metavar="LU",
            help="Keep the video's own sound in .mp4 and .mkv, so many LU above the music; -12 lays it well under it. "
            "Files of sound hold the music alone.",
            rich_help_panel=FILES,
            show_default=False,
        ),
    ] = None,
    keep_candidates: Annotated[
        bool,
        typer.Option(
            "--keep-candidates",
            help="Also write the piece as it would be with each window's first take, its second and so on: "
            ".take-1.wav to .take-N.wav, N as --candidates says.",
            rich_help_panel=FILES,
        ),
    ] = False,
    encoders: Annotated[
        Path | None,
        typer.Option(
            help="encoders.safetensors to use in place of the backbone's own.",
            show_default=False,
            rich_help_panel=_WORDS,
        ),
    ] = None,
    rhythm: Annotated[
        RhythmBy,
        typer.Option(help="Rhythm as the trained pseudo-word '*', or as tempo in plain words.", rich_help_panel=_WORDS),
    ] = RhythmBy.encoder,
    genre_words: Annotated[
        str | None,
        typer.Option(
            help="What --genre is called for models that read it in plain words, as in 'funk, slap bass'.",
            show_default=False,
            rich_help_panel=_WORDS,
        ),
    ] = None,
    genre_audio: Annotated[
        Path | None,
        typer.Option(
            help="A sound example in place of --genre, for encoders trained with 'd2m train --genre-encoder clap'.",
            show_default=False,
            rich_help_panel=_WORDS,
        ),
    ] = None,
    clap: Annotated[
        Path | None,
        typer.Option(
            help="The CLAP model that listens to --genre-audio, and to takes beside --prompt and --genre: 'clap' (see "
            "'d2m weights list') or a folder.",
            show_default=False,
            rich_help_panel=_WORDS,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Denoising steps. Default: 20 for embedded, 50 for riffusion and ace-step:xl-base, 100 for "
            "stable-audio, 8 for distilled models (ace-step, stable-audio:3).",
            show_default=False,
            rich_help_panel=_SAMPLING,
        ),
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="How strictly the prompt is followed; 1 is plain. Default: 7 for riffusion, stable-audio and "
            "ace-step:xl-base, else 3; distilled models (ace-step, stable-audio:3) know none.",
            show_default=False,
            rich_help_panel=_SAMPLING,
        ),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Above 1 bolder, below 1 safer, 0 always the likeliest. Default: 1 for musicgen and audiocraft.",
            show_default=False,
            rich_help_panel=_SAMPLING,
        ),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Draw from so many of the likeliest tokens; 0 for all. Default: 250 for musicgen and audiocraft.",
            show_default=False,
            rich_help_panel=_SAMPLING,
        ),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            help="Draw from the likeliest tokens that make up this probability. Default: 1, which is all, for "
            "musicgen and audiocraft.",
            show_default=False,
            rich_help_panel=_SAMPLING,
        ),
    ] = None,
    device: Device = "auto",
    decoder: DecoderOption = Decoder.auto,
    precision: Annotated[
        Precision,
        typer.Option(
            help="Number format of the backbone: auto is fp16 on a GPU (ace-step: bf16), fp32 elsewhere.",
            rich_help_panel=MACHINE,
        ),
    ] = Precision.auto,
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Compile musicgen's decoder: a slow start, then faster windows. For batches on a GPU.",
            rich_help_panel=MACHINE,
        ),
    ] = False,
    offload: Annotated[
        bool,
        typer.Option(
            "--offload",
            help="Keep networks in main memory until they compute: for a GPU that is too small (ace-step, "
            "stable-audio).",
            rich_help_panel=MACHINE,
        ),
    ] = False,
    cache: Cache = None,
    no_cache: NoCache = False,
    overwrite: Overwrite = False,
    retry_failed: RetryFailed = False,
    max_failures: MaxFailures = None,
    dry_run: DryRun = False,
    verify: Verify = False,
    shard: ShardOption = None,
    engine: EngineOption = Engine.local,
    ray_address: RayAddress = None,
    store: StoreOption = None,
    json_out: JsonOut = False,
    list_words: Annotated[
        bool,
        typer.Option("--list-words", callback=_print_words, is_eager=True, help="Print words for prompts and exit."),
    ] = False,
) -> None:
    """Make music that moves with the dancers of each video: a .wav, the video with it, and a .json that says how.

    Every option takes its default from a variable: D2M_SEED for --seed, D2M_TOP_K for --top-k (docs/shell.md).
    """
    from d2m_cli.api.music import Generator
    from d2m_cli.backbones.base import Sampling
    from d2m_cli.batch.manifest import read_manifest
    from d2m_cli.batch.music_files import generate_files
    from d2m_cli.batch.pieces import pieces_of, videos_of
    from d2m_cli.batch.voice import say
    from d2m_cli.generation.artefacts import parse_formats
    from d2m_cli.generation.options import GenerateOptions
    from d2m_cli.ground.genres import genre_remark
    from d2m_cli.ground.inputs import named_inputs
    from d2m_cli.ground.search import VIDEO_SUFFIXES, search
    from d2m_cli.pose.dancers import parse_dancers

    wanted = parse_formats(formats)
    if mp4 is not None:
        wanted = with_mp4(context, wanted, mp4)
    options = GenerateOptions(
        genre=genre,
        genre_table=genre_table,
        prompt=prompt,
        negative_prompt=negative_prompt,
        rhythm=rhythm.value,
        sampling=Sampling(steps, guidance, temperature, top_k, top_p),
        precision=precision.value,
        candidates=candidates,
        seed=seed,
        dancers=parse_dancers(dancers),
        decoder=decoder.value,
        snap=snap.value,
        music=music,
        music_start=music_start,
        genre_words=genre_words,
        ending=ending.value,
        breaks=breaks,
        allow_no_dancer=allow_no_dancer,
        loudness=loudness,
        genre_audio=genre_audio,
        clap=clap,
        mix=mix,
        keep_candidates=keep_candidates,
        start=start,
        duration=duration,
    )
    if genre is not None and (remark := genre_remark(genre)) is not None:
        say(f"d2m: {remark}")
    for doubt in options.doubts:
        say(f"d2m: {doubt}")
    how = batch_options(context)
    lines = read_manifest(manifest, options) if manifest is not None else ()
    inputs = named_inputs(videos or [])
    found = search(inputs, VIDEO_SUFFIXES) if inputs or manifest is None else videos_of(lines)
    pieces, unused = pieces_of(found, options, lines, variations=variations, name=name)
    if unused:
        say(f"d2m: {unused} {'line' if unused == 1 else 'lines'} of {manifest} are for other videos than those given")
    summary = generate_files(
        pieces,
        out,
        Generator(
            backbone,
            encoders,
            device_there(device, how),
            compile=compiled,
            offload=offload,
            cache=dance_cache(cache, no_cache),
            tell=lambda text: say(f"d2m: {text}"),
        ),
        options,
        formats=wanted,
        report=report,
        batch=how,
    )
    raise typer.Exit(summary.exit_code)
