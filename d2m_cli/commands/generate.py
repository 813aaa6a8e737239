"""``d2m generate``: music for dance videos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from d2m_cli.commands.common import (
    Backbone,
    ByFolder,
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
    run_all,
)
from d2m_cli.commands.generate_options import (
    AllowNoDancer,
    Breaks,
    Candidates,
    Clap,
    Compiled,
    Encoders,
    Ending,
    EndingBy,
    Formats,
    Genre,
    GenreAudio,
    GenreTable,
    GenreWords,
    Guidance,
    KeepCandidates,
    ListWords,
    Loudness,
    Manifest,
    Mix,
    Mp4,
    Music,
    MusicStart,
    Name,
    NegativePrompt,
    Offload,
    PrecisionOption,
    Prompt,
    Report,
    Rhythm,
    RhythmBy,
    Seed,
    Snap,
    SnapBy,
    Steps,
    Temperature,
    TopK,
    TopP,
    Variations,
    Videos,
)
from d2m_cli.commands.logged import with_log
from d2m_cli.commands.variables import on_command_line
from d2m_cli.errors import UsageError

if TYPE_CHECKING:
    from d2m_cli.batch.options import BatchOptions
    from d2m_cli.batch.outcome import BatchSummary
    from d2m_cli.ground.inputs import Input


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
    videos: Videos = None,
    genre: Genre = None,
    prompt: Prompt = None,
    negative_prompt: NegativePrompt = "",
    out: Out = Path("d2m_out"),
    seed: Seed = 0,
    variations: Variations = 1,
    backbone: Backbone = "auto",
    manifest: Manifest = None,
    genre_table: GenreTable = None,
    start: Start = 0.0,
    duration: Duration = None,
    dancers: Dancers = "largest",
    allow_no_dancer: AllowNoDancer = False,
    candidates: Candidates = 3,
    snap: Snap = SnapBy.auto,
    ending: Ending = EndingBy.fade,
    breaks: Breaks = False,
    loudness: Loudness = -14.0,
    music: Music = None,
    music_start: MusicStart = None,
    formats: Formats = ["wav,mp4"],  # noqa: B006
    mp4: Mp4 = None,
    report: Report = True,
    name: Name = "{stem}",
    mix: Mix = None,
    keep_candidates: KeepCandidates = False,
    encoders: Encoders = None,
    rhythm: Rhythm = RhythmBy.encoder,
    genre_words: GenreWords = None,
    genre_audio: GenreAudio = None,
    clap: Clap = None,
    steps: Steps = None,
    guidance: Guidance = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    device: Device = "auto",
    decoder: DecoderOption = Decoder.auto,
    precision: PrecisionOption = Precision.auto,
    compiled: Compiled = False,
    offload: Offload = False,
    cache: Cache = None,
    no_cache: NoCache = False,
    overwrite: Overwrite = False,
    retry_failed: RetryFailed = False,
    max_failures: MaxFailures = None,
    dry_run: DryRun = False,
    verify: Verify = False,
    shard: ShardOption = None,
    by_folder: ByFolder = False,
    engine: EngineOption = Engine.local,
    ray_address: RayAddress = None,
    store: StoreOption = None,
    json_out: JsonOut = False,
    list_words: ListWords = False,
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
    if by_folder and manifest is not None:
        raise UsageError("--manifest says what to make of each video of a run, and --by-folder makes many: name one")
    generator = Generator(
        backbone,
        encoders,
        device_there(device, how),
        compile=compiled,
        offload=offload,
        cache=dance_cache(cache, no_cache),
        tell=lambda text: say(f"d2m: {text}"),
    )

    def run(given: Sequence[Input], folder: Path, batch: BatchOptions) -> BatchSummary:
        found = search(given, VIDEO_SUFFIXES) if given or manifest is None else videos_of(lines)
        pieces, unused = pieces_of(found, options, lines, variations=variations, name=name)
        if unused:
            these = "line" if unused == 1 else "lines"
            say(f"d2m: {unused} {these} of {manifest} are for other videos than those given")
        return generate_files(pieces, folder, generator, options, formats=wanted, report=report, batch=batch)

    raise typer.Exit(run_all(named_inputs(videos or []), out, by_folder, how, run))
