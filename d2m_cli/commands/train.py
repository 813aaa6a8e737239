"""``d2m train``: encoders of "*" and "@" for a frozen backbone."""

from __future__ import annotations

import json
import math
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from d2m_cli.commands.generate import BACKBONE, DECODER, Decoder, Device
from d2m_cli.errors import UsageError

_DATA, _ENCODERS, _TRAINING = "What to learn on", "Encoders", "Training"


class Preset(StrEnum):
    """Named sets of choices."""

    paper_riffusion = "paper-riffusion"
    paper_musicgen = "paper-musicgen"
    published_musicgen = "published-musicgen"
    recommended = "recommended"
    quick = "quick"


class RhythmEncoder(StrEnum):
    """Networks of "*"."""

    mlp = "mlp"
    attn_pos = "attn-pos"
    sequence = "sequence"
    constant = "constant"


class GenreEncoder(StrEnum):
    """Networks of "@"."""

    label = "label"
    clap = "clap"
    constant = "constant"
    none = "none"


class RhythmMode(StrEnum):
    """How peaks are found."""

    stable = "stable"
    paper = "paper"
    published = "published"


class Schedule(StrEnum):
    """What the learning rate does after the warm-up."""

    constant = "constant"
    cosine = "cosine"


class Precision(StrEnum):
    """Number format of the forward and backward pass."""

    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


def _choice(text: str, panel: str = _TRAINING) -> typer.models.OptionInfo:
    info: typer.models.OptionInfo = typer.Option(help=text, rich_help_panel=panel, show_default=False)
    return info


def train(
    dances: Annotated[
        Path,
        typer.Argument(
            help="AIST++ as downloaded, a folder of dance videos with sound (genre by sub-folder), or a .csv file with "
            "the columns video, audio, genre, start.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the results.")] = Path("d2m_train"),
    backbone: Annotated[str, BACKBONE] = "auto",
    preset: Annotated[
        Preset, typer.Option(help="Set of choices to begin with; every option below changes one of them.")
    ] = Preset.recommended,
    device: Annotated[Device, typer.Option(help="Where to compute.")] = Device.auto,
    decoder: Annotated[Decoder, DECODER] = Decoder.auto,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of poses, rhythms and targets [OUT/cache].", show_default=False)
    ] = None,
    start: Annotated[Path | None, _choice("encoders.safetensors to begin from, in place of random ones.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin anew where --out holds a training, in place of going on with it.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be learned on, and how.")] = False,
    json_out: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
    videos: Annotated[Path | None, _choice("Folder of AIST++'s videos, where they lie apart.", _DATA)] = None,
    music: Annotated[Path | None, _choice("Folder of AIST++'s music as .wav, where it lies apart.", _DATA)] = None,
    camera: Annotated[str, typer.Option(help="AIST++ camera: c01 to c09, or all.", rich_help_panel=_DATA)] = "c01",
    hop: Annotated[float | None, _choice("Seconds between training windows of a clip.", _DATA)] = None,
    tail: Annotated[
        bool | None,
        typer.Option(
            "--tail/--no-tail",
            help="Half a window or more left over at a clip's end gives one more window.",
            rich_help_panel=_DATA,
            show_default=False,
        ),
    ] = None,
    keep_ignored: Annotated[
        bool, typer.Option("--keep-ignored", help="Use what AIST++'s ignore_list.txt names.", rich_help_panel=_DATA)
    ] = False,
    rhythm_mode: Annotated[RhythmMode | None, _choice("How peaks are found: stable, paper, published.", _DATA)] = None,
    rhythm_encoder: Annotated[RhythmEncoder | None, _choice("Network of '*'.", _ENCODERS)] = None,
    genre_encoder: Annotated[GenreEncoder | None, _choice("Network of '@'.", _ENCODERS)] = None,
    clap: Annotated[
        Path | None, _choice("For --genre-encoder clap: 'clap' (see 'd2m weights list') or a folder.", _ENCODERS)
    ] = None,
    hidden: Annotated[int | None, _choice("Inner width of '*' networks mlp and sequence.", _ENCODERS)] = None,
    rhythm_vectors: Annotated[int | None, _choice("Vectors of '*'.", _ENCODERS)] = None,
    genre_vectors: Annotated[int | None, _choice("Vectors of '@'.", _ENCODERS)] = None,
    per_layer: Annotated[
        bool | None,
        typer.Option(
            "--per-layer/--one-for-all",
            help="Vectors of their own for every layer that reads text (P+).",
            rich_help_panel=_ENCODERS,
            show_default=False,
        ),
    ] = None,
    genre_dropout: Annotated[float | None, _choice("Share of prompts that go without '@'.", _ENCODERS)] = None,
    drop_peaks: Annotated[float | None, _choice("Share of the rhythm's peaks left out at random.")] = None,
    jitter: Annotated[float | None, _choice("Seconds by which peaks are moved at random.")] = None,
    warm_updates: Annotated[
        int | None, _choice("Updates that bring first vectors near plain words (tempo, genre); 0: random ones.")
    ] = None,
    epochs: Annotated[int | None, _choice("Passes over the data.")] = None,
    batch_size: Annotated[int | None, _choice("Windows a step and process.")] = None,
    accumulate: Annotated[int | None, _choice("Steps that are added up to one update.")] = None,
    learning_rate: Annotated[float | None, _choice("Of AdamW, at its peak.")] = None,
    warmup: Annotated[int | None, _choice("Updates until that peak.")] = None,
    schedule: Annotated[Schedule | None, _choice("What follows: constant or cosine.")] = None,
    beta1: Annotated[float | None, _choice("Of AdamW.")] = None,
    beta2: Annotated[float | None, _choice("Of AdamW.")] = None,
    weight_decay: Annotated[float | None, _choice("Of AdamW.")] = None,
    clip: Annotated[float | None, _choice("Largest norm of the gradient; 0 for no limit.")] = None,
    ema: Annotated[float | None, _choice("Decay of a moving average of the weights; 0 for none.")] = None,
    focus: Annotated[float | None, _choice("Draw noise levels more from the noisy end; 0 is Eq. 2.")] = None,
    precision: Annotated[Precision | None, _choice("fp32, bf16, or fp16 (CUDA).")] = None,
    patience: Annotated[int | None, _choice("Epochs without a better validation loss before it stops.")] = None,
    validation_draws: Annotated[int | None, _choice("Noise levels a validation window is measured at.")] = None,
    samples: Annotated[int | None, _choice("Windows of music made after each epoch.")] = None,
    seed: Annotated[int | None, _choice("Of first weights, order and noise.")] = None,
    checkpoint_minutes: Annotated[
        float, typer.Option(min=0.0, help="A killed training loses at most this much.", rich_help_panel=_TRAINING)
    ] = 5.0,
) -> None:
    """Learn '*' (rhythm) and '@' (genre) for a frozen text-to-music model, from dances and the music they go to.

    Writes encoders.safetensors for 'd2m generate --encoders'. The same command goes on where it was interrupted.
    Several GPUs: 'accelerate launch -m d2m_cli train ...'. The paper, whose equations are numbered here, is
    "Dance-to-Music Generation with Encoder-based Textual Inversion".
    """
    from dataclasses import asdict

    from d2m_cli.backbones.registry import choose
    from d2m_cli.ground.progress import Progress, is_main_process
    from d2m_cli.report.training_table import dances_table, options_table, result_lines, skipped_lines
    from d2m_cli.training.data.dataset import ReadOptions, read_dances
    from d2m_cli.training.options import PRESETS
    from d2m_cli.training.run import TrainRequest, grid_of, run_training, with_changes

    changes = {
        "rhythm_encoder": rhythm_encoder and rhythm_encoder.value,
        "genre_encoder": genre_encoder and genre_encoder.value,
        "rhythm_mode": rhythm_mode and rhythm_mode.value,
        "schedule": schedule and schedule.value,
        "precision": precision and precision.value,
        "hidden": hidden,
        "rhythm_vectors": rhythm_vectors,
        "genre_vectors": genre_vectors,
        "per_layer": per_layer,
        "genre_dropout": genre_dropout,
        "drop_peaks": drop_peaks,
        "jitter": jitter,
        "hop": hop,
        "tail": tail,
        "warm_updates": warm_updates,
        "epochs": epochs,
        "batch_size": batch_size,
        "accumulate": accumulate,
        "learning_rate": learning_rate,
        "warmup": warmup,
        "beta1": beta1,
        "beta2": beta2,
        "weight_decay": weight_decay,
        "clip": clip,
        "ema": ema,
        "focus": focus,
        "patience": patience,
        "validation_draws": validation_draws,
        "samples": samples,
        "seed": seed,
    }
    options = with_changes(PRESETS[preset.value], changes)
    # NaN passes every comparison of the command line's own checks.
    if not math.isfinite(checkpoint_minutes):
        raise UsageError(f"--checkpoint-minutes must be 0 or more, not {checkpoint_minutes}")
    choice = choose(backbone)
    progress = Progress(quiet=not is_main_process())
    seconds = grid_of(options.rhythm_mode).seconds
    reading = ReadOptions(
        seconds, _views(camera), videos, music, keep_ignored, require_genre=options.genre_encoder == "label"
    )
    found = read_dances(dances, reading, progress)
    summary = found.summary(seconds, options.hop, tail=options.tail)
    progress.show(dances_table(summary, seconds))
    for line in skipped_lines(summary):
        progress.say(line)
    progress.show(options_table(options, preset.value))
    request = TrainRequest(
        dances=found,
        choice=choice,
        options=options,
        out=out,
        cache=cache or out / "cache",
        device=device.value,
        decoder=decoder.value,
        start=start,
        clap=clap,
        overwrite=overwrite,
        checkpoint_seconds=60.0 * checkpoint_minutes,
    )
    if dry_run:
        if json_out:
            print(json.dumps({"data": asdict(summary), "options": asdict(options)}, indent=2, default=str))
        return
    record = run_training(request, progress)
    if not is_main_process():
        return
    for line in result_lines(record):
        print(line, file=sys.stderr)
    print(json.dumps(record, indent=2) if json_out else out / "encoders.safetensors")


def _views(camera: str) -> tuple[int, ...]:
    if camera == "all":
        return tuple(range(9))
    if len(camera) == 3 and camera.startswith("c0") and camera[2] in "123456789":
        return (int(camera[2]) - 1,)
    raise UsageError(f"--camera {camera}: say c01 to c09, or all")
