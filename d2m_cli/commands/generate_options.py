"""The options that ``d2m generate`` alone has, in the order of its help; those it shares are in `common`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from d2m_cli.commands.common import INPUTS_HELP, MACHINE, PASSAGE, Precision
from d2m_cli.commands.completion import complete_formats, complete_genres


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
_FILES = "What is written"


def _print_words(wanted: bool) -> None:
    if wanted:
        from d2m_cli.inversion.word_bank import bank_lines

        print("\n".join(bank_lines()))
        raise typer.Exit


Videos = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="VIDEOS...", help=f"Videos, {INPUTS_HELP} With --manifest they may be left out.", show_default=False
    ),
]
Genre = Annotated[
    str | None,
    typer.Option(
        help="Dance genre, the '@' of the prompt: break, house, ballet-jazz, street-jazz, krump, la-hip-hop, lock, "
        "middle-hip-hop, pop, waack, their two-letter codes, or what dancers call them (breaking, b-boy, popping, "
        "waacking, LA style; hip-hop is middle-hip-hop); or auto: that of each video, from --genre-table or a name "
        "as AIST gives its dances.",
        autocompletion=complete_genres,
        show_default=False,
    ),
]
Prompt = Annotated[
    str | None,
    typer.Option(help="What the music should be like. May hold '@' and '*' of its own.", show_default=False),
]
NegativePrompt = Annotated[str, typer.Option(help="What the music should not be like.", show_default=False)]
Seed = Annotated[int, typer.Option(help="Random seed.")]
Variations = Annotated[
    int, typer.Option(min=1, metavar="N", help="Pieces for each video, with seeds that count up from --seed.")
]
Manifest = Annotated[
    Path | None,
    typer.Option(
        metavar="TABLE.csv",
        help="A table with a line for each piece: the column video, relative to the table, and any of genre, "
        "prompt, negative_prompt, seed, start, duration, music, which go before the options here.",
        show_default=False,
    ),
]
GenreTable = Annotated[
    Path | None,
    typer.Option(
        help="For --genre auto: a table (.csv) with the columns name and genre, one line a video. --manifest can "
        "say more, and goes before it.",
        show_default=False,
    ),
]
AllowNoDancer = Annotated[
    bool,
    typer.Option(
        "--allow-no-dancer",
        help="Make music by the prompt alone for a video without a dancer.",
        rich_help_panel=PASSAGE,
    ),
]
Candidates = Annotated[
    int,
    typer.Option(
        min=1,
        metavar="N",
        help="Takes of each window; the one that keeps time best with the dance is kept.",
        rich_help_panel=_FIT,
    ),
]
Snap = Annotated[
    SnapBy,
    typer.Option(
        help="Bend the music, by 8 % at most, so that its beats fall on the dance's: where the dance has a steady "
        "beat, also where its beat is doubtful, or never.",
        rich_help_panel=_FIT,
    ),
]
Ending = Annotated[
    EndingBy,
    typer.Option(help="Fade on the last beats, end on a last hit, or stop where the video does.", rich_help_panel=_FIT),
]
Breaks = Annotated[
    bool,
    typer.Option(
        "--breaks", help="Silence the music where the dance holds for more than two beats.", rich_help_panel=_FIT
    ),
]
Loudness = Annotated[
    float,
    typer.Option(
        help="Integrated loudness in LUFS; less where the true peak would pass -1 dBTP.", rich_help_panel=_FIT
    ),
]
Music = Annotated[
    Path | None,
    typer.Option(
        help="A track of your own in place of music from a model: the passage that need be bent least is laid "
        "under each dance.",
        show_default=False,
        rich_help_panel=_FIT,
    ),
]
MusicStart = Annotated[
    float | None,
    typer.Option(help="Second of --music to begin at, to the nearest beat.", show_default=False, rich_help_panel=_FIT),
]
Formats = Annotated[
    list[str],
    typer.Option(
        "--format",
        metavar="NAMES",
        autocompletion=complete_formats,
        help="Files to write, with commas or given again: the music as wav, flac, mp3, m4a, the video with it as "
        "mp4, mkv (with lossless sound). A .json that says how it was made is always written.",
        rich_help_panel=_FILES,
    ),
]
Mp4 = Annotated[
    bool | None,
    typer.Option(
        "--mp4/--no-mp4",
        help="Write an .mp4 whatever --format says, or none.",
        rich_help_panel=_FILES,
        show_default=False,
    ),
]
Report = Annotated[
    bool,
    typer.Option(
        "--report/--no-report",
        help="Also write report.html, a page to see, hear and compare all results of the folder.",
        rich_help_panel=_FILES,
    ),
]
Name = Annotated[
    str,
    typer.Option(
        metavar="PATTERN",
        help="What results are called: text, and any of {stem}, {genre}, {seed}, {start}, {variation}. Of one "
        "video, what would be called the same gets _1, _2 and so on.",
        rich_help_panel=_FILES,
    ),
]
Mix = Annotated[
    float | None,
    typer.Option(
        metavar="LU",
        help="Keep the video's own sound in .mp4 and .mkv, so many LU above the music; -12 lays it well under it. "
        "Files of sound hold the music alone.",
        rich_help_panel=_FILES,
        show_default=False,
    ),
]
KeepCandidates = Annotated[
    bool,
    typer.Option(
        "--keep-candidates",
        help="Also write the piece as it would be with each window's first take, its second and so on: "
        ".take-1.wav to .take-N.wav, N as --candidates says.",
        rich_help_panel=_FILES,
    ),
]
Encoders = Annotated[
    Path | None,
    typer.Option(
        help="encoders.safetensors to use in place of the backbone's own.",
        show_default=False,
        rich_help_panel=_WORDS,
    ),
]
Rhythm = Annotated[
    RhythmBy,
    typer.Option(help="Rhythm as the trained pseudo-word '*', or as tempo in plain words.", rich_help_panel=_WORDS),
]
GenreWords = Annotated[
    str | None,
    typer.Option(
        help="What --genre is called for models that read it in plain words, as in 'funk, slap bass'.",
        show_default=False,
        rich_help_panel=_WORDS,
    ),
]
GenreAudio = Annotated[
    Path | None,
    typer.Option(
        help="A sound example in place of --genre, for encoders trained with 'd2m train --genre-encoder clap'.",
        show_default=False,
        rich_help_panel=_WORDS,
    ),
]
Clap = Annotated[
    Path | None,
    typer.Option(
        help="The CLAP model that listens to --genre-audio, and to takes beside --prompt and --genre: 'clap' (see "
        "'d2m weights list') or a folder.",
        show_default=False,
        rich_help_panel=_WORDS,
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Denoising steps. Default: 10 for embedded, 50 for riffusion and ace-step:xl-base, 100 for "
        "stable-audio, 8 for distilled models (ace-step, stable-audio:3).",
        show_default=False,
        rich_help_panel=_SAMPLING,
    ),
]
Guidance = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        help="How strictly the prompt is followed; 1 is plain. Default: 7 for riffusion, stable-audio and "
        "ace-step:xl-base, else 3; distilled models (ace-step, stable-audio:3) know none.",
        show_default=False,
        rich_help_panel=_SAMPLING,
    ),
]
Temperature = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        help="Above 1 bolder, below 1 safer, 0 always the likeliest. Default: 1 for musicgen and audiocraft.",
        show_default=False,
        rich_help_panel=_SAMPLING,
    ),
]
TopK = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Draw from so many of the likeliest tokens; 0 for all. Default: 250 for musicgen and audiocraft.",
        show_default=False,
        rich_help_panel=_SAMPLING,
    ),
]
TopP = Annotated[
    float | None,
    typer.Option(
        help="Draw from the likeliest tokens that make up this probability. Default: 1, which is all, for "
        "musicgen and audiocraft.",
        show_default=False,
        rich_help_panel=_SAMPLING,
    ),
]
PrecisionOption = Annotated[
    Precision,
    typer.Option(
        help="Number format of the backbone: auto is fp16 on a GPU (ace-step: bf16), fp32 elsewhere.",
        rich_help_panel=MACHINE,
    ),
]
Compiled = Annotated[
    bool,
    typer.Option(
        "--compile",
        help="Compile musicgen's decoder: a slow start, then faster windows. For batches on a GPU.",
        rich_help_panel=MACHINE,
    ),
]
Offload = Annotated[
    bool,
    typer.Option(
        "--offload",
        help="Keep networks in main memory until they compute: for a GPU that is too small (ace-step, stable-audio).",
        rich_help_panel=MACHINE,
    ),
]
ListWords = Annotated[
    bool,
    typer.Option("--list-words", callback=_print_words, is_eager=True, help="Print words for prompts and exit."),
]
