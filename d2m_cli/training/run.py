"""One training from end to end: dances in, encoders and a record of how they came about out."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from d2m_cli import __version__
from d2m_cli.errors import UsageError
from d2m_cli.ground.aist import Split
from d2m_cli.ground.digests import file_sha256
from d2m_cli.ground.files import output_error
from d2m_cli.ground.progress import Progress
from d2m_cli.training.data.dataset import DanceSet, Skip
from d2m_cli.training.loop.logs import STATE_NAME, read_table, write_json
from d2m_cli.training.options import TrainOptions

if TYPE_CHECKING:
    from d2m_cli.backbones.base import Backbone
    from d2m_cli.backbones.registry import Choice
    from d2m_cli.inversion.checkpoint import EncoderConfig, Encoders
    from d2m_cli.rhythm.sequence import RhythmGrid
    from d2m_cli.training.data.features import FeatureCache, Windows
    from d2m_cli.training.loop.trainer import Course, Task

RECORD_NAME = "train.json"
_OURS = (STATE_NAME, "encoders.safetensors", "updates.csv", "epochs.csv", "loss.png", RECORD_NAME)
_OUR_FOLDERS = ("tensorboard", "samples")


@dataclass(frozen=True)
class TrainRequest:
    """What is asked for.

    Attributes
    ----------
    dances
        The paired set, read.
    choice
        Backbone, from `d2m_cli.backbones.registry.choose`.
    options
        How to train.
    out
        Folder of the results.
    cache
        Folder of poses, rhythms and targets.
    device
        "auto", "cpu" or "cuda".
    decoder
        What reads videos: "auto", "decord" or "pyav".
    start
        Encoders to begin from, or None for random ones.
    clap
        Folder of a CLAP model, for the genre encoder "clap".
    overwrite
        Begin anew where `out` holds a training.
    checkpoint_seconds
        See `d2m_cli.training.loop.trainer.train`.
    """

    dances: DanceSet
    choice: Choice
    options: TrainOptions
    out: Path
    cache: Path
    device: str = "auto"
    decoder: str = "auto"
    start: Path | None = None
    clap: Path | None = None
    overwrite: bool = False
    checkpoint_seconds: float = 300.0


def grid_of(mode: str) -> RhythmGrid:
    """Clock of "*" for a rhythm mode: 256 steps at 50 Hz, and 303 at 60 Hz for "published"."""
    from d2m_cli.inversion.published import PUBLISHED_GRID
    from d2m_cli.rhythm.sequence import RhythmGrid

    return PUBLISHED_GRID if mode == PUBLISHED_GRID.mode else RhythmGrid(mode)


def run_training(request: TrainRequest, progress: Progress) -> dict[str, Any]:
    """Train on a paired set.

    Returns
    -------
    What `train.json` holds.

    Raises
    ------
    UsageError
        Nothing to train on, a model is missing, or `out` holds something else.
    TrainingError, OutputError
        See `d2m_cli.training.loop.trainer.train`.
    """
    from d2m_cli.backbones.registry import open_backbone, pick_device
    from d2m_cli.ground.progress import quiet_libraries
    from d2m_cli.inversion.checkpoint import WINDOW_TOLERANCE
    from d2m_cli.training.loop.trainer import Task, make_accelerator, train

    quiet_libraries()
    device = pick_device(request.device)
    accelerator = make_accelerator(request.options, device)
    main = accelerator.is_main_process
    if main and not request.overwrite:
        refuse_others(request.out)
    accelerator.wait_for_everyone()
    # On a GPU frozen weights are held in what the training computes in; on a CPU autocast is faster with fp32 ones.
    on_gpu = accelerator.device.type == "cuda"
    precision = request.options.precision if on_gpu else "auto"
    backbone = open_backbone(request.choice, str(accelerator.device), precision)
    progress.say(f"d2m train: {backbone.description}; licence of its weights: {backbone.licence}")
    features = _features(request, backbone)
    if abs(backbone.window_seconds - features.grid.seconds) > WINDOW_TOLERANCE:
        raise UsageError(
            f"{backbone.name} makes windows of {backbone.window_seconds:.2f} s, and rhythms are read in windows of "
            f"{features.grid.seconds:.2f} s: choose another --backbone"
        )
    config = _config(request.options, backbone, features)
    refuse_too_many_vectors(config, backbone)
    start = _start(request, backbone, features)
    with accelerator.main_process_first():
        training, skipped = _windows(request, features, "train", progress)
        validation, more = _windows(request, features, "validation", progress)
    for skip in (*skipped, *more):
        progress.say(f"  skipped: {skip.reason}")
    if training is None:
        raise UsageError("no window is left to train on; the reasons are above")
    if validation is None:
        progress.say("no validation windows: the encoders of the last epoch are kept, and there is no early stop")
    task = Task(backbone, config, training, validation, request.options, start)
    with alone_in(request.out) if main else nullcontext():
        if main and request.overwrite:
            # Not sooner: what can't begin must not cost an older training, and --start may lie in this folder.
            clear_folder(request.out)
        accelerator.wait_for_everyone()
        listen = None if validation is None else sampler(backbone, validation, request.options.samples, request.out)
        course = train(
            task, request.out, accelerator, progress,
            checkpoint_seconds=request.checkpoint_seconds, after_epoch=listen,
        )  # fmt: skip
    if not main:
        return {}
    record = describe(request, task, course, (*request.dances.skipped, *skipped, *more))
    write_json(request.out / RECORD_NAME, record)
    encoders = f"{request.options.rhythm_encoder} and {request.options.genre_encoder}"
    # Training draws noise levels by --focus and prompts without "@": its losses are higher, and no sign of overfitting.
    _plot(request.out, f"{backbone.name}, {encoders}; training with --focus {request.options.focus:g}")
    return record


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Keep other trainings out of a folder meanwhile; UsageError where one is at work there."""
    from filelock import FileLock, Timeout

    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = FileLock(out / ".lock")
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UsageError(
            f"another training is at work in {out}: wait for it, or choose another folder with --out"
        ) from error
    except OSError as error:
        raise output_error(out, error) from error
    try:
        yield
    finally:
        lock.release()


def refuse_too_many_vectors(config: EncoderConfig, backbone: Backbone) -> None:
    """Try the training prompt once; UsageError where its pseudo-words take more tokens than the backbone reads."""
    import torch

    from d2m_cli.inversion.checkpoint import Encoders
    from d2m_cli.inversion.genre_encoder import CLAP_WIDTH
    from d2m_cli.inversion.prompt import training_prompt

    encoders = Encoders(config)
    genres: Any = {None: None, "clap": torch.zeros(1, CLAP_WIDTH)}.get(config.genre, ["LO"])
    with torch.inference_mode():
        words = encoders.pseudo_words(torch.zeros(1, config.grid.steps), genres)
        try:
            backbone.embed([training_prompt(genre="@" in words)], words)
        except UsageError as error:
            raise UsageError(f"take fewer --rhythm-vectors or --genre-vectors: {error}") from error


def clear_folder(out: Path) -> None:
    """Remove what an older training wrote; the cache stays."""
    for name in _OURS:
        (out / name).unlink(missing_ok=True)
    for name in _OUR_FOLDERS:
        shutil.rmtree(out / name, ignore_errors=True)


def refuse_others(out: Path) -> None:
    """Raise UsageError where a folder holds encoders that are not part of a training."""
    if (out / "encoders.safetensors").exists() and not (out / STATE_NAME).exists():
        raise UsageError(
            f"{out} holds an encoders.safetensors and no training to go on with: choose another folder with --out, or "
            "say --overwrite to replace it"
        )


def _features(request: TrainRequest, backbone: Backbone) -> FeatureCache:
    from d2m_cli.inversion.clap import ClapAudio
    from d2m_cli.pose.estimator import PoseEstimator, PoseOptions
    from d2m_cli.training.data.features import FeatureCache

    listener = None
    if request.options.genre_encoder == "clap":
        if request.clap is None:
            raise UsageError("--genre-encoder clap needs a CLAP model: give its folder with --clap")
        listener = ClapAudio(request.clap)

    @cache
    def dancers() -> PoseEstimator:
        return PoseEstimator(PoseOptions(device=request.device, decoder=request.decoder))

    return FeatureCache(request.cache, backbone, grid_of(request.options.rhythm_mode), dancers, listener)


def _windows(
    request: TrainRequest, features: FeatureCache, split: Split, progress: Progress
) -> tuple[Windows | None, tuple[Skip, ...]]:
    # Only training windows may overlap: the others are to be counted as what they are.
    hop = request.options.hop if split == "train" else None
    segments = request.dances.segments(split, features.grid.seconds, hop, tail=request.options.tail)
    if not segments:
        return None, ()
    return features.windows(
        segments, progress,
        genres=request.options.genre_encoder != "none",
        tempi=split == "train" and request.options.warm_updates > 0 and request.start is None,
    )  # fmt: skip


def _config(options: TrainOptions, backbone: Backbone, features: FeatureCache) -> EncoderConfig:
    from d2m_cli.inversion.checkpoint import EncoderConfig

    return EncoderConfig(
        backbone=backbone.name,
        fingerprint=backbone.fingerprint,
        width=backbone.text_width,
        grid=features.grid,
        hidden=options.hidden,
        projector=options.rhythm_encoder,
        rhythm_vectors=options.rhythm_vectors,
        genre=None if options.genre_encoder == "none" else options.genre_encoder,
        genre_vectors=options.genre_vectors,
        layers=backbone.condition_layers if options.per_layer else 1,
        clap=features.listener.fingerprint if features.listener is not None else "",
    )


def _start(request: TrainRequest, backbone: Backbone, features: FeatureCache) -> Encoders | None:
    from d2m_cli.inversion.checkpoint import Encoders

    if request.start is None:
        return None
    encoders = Encoders.load(request.start)
    encoders.check(backbone)
    wanted = _config(request.options, backbone, features)
    mine, theirs = asdict(wanted), asdict(encoders.config)
    differ = [name for name in mine if name not in ("backbone", "fingerprint") and mine[name] != theirs[name]]
    if differ:
        told = ", ".join(f"{name} {theirs[name]} (asked for: {mine[name]})" for name in differ)
        raise UsageError(f"--start {request.start}: other encoders than those asked for: {told}")
    return encoders


def sampler(backbone: Backbone, windows: Windows, count: int, out: Path) -> Any:
    """A function that makes music for a few windows after an epoch: ``samples/epoch-003/<clip>-<start>.wav``."""
    import torch

    from d2m_cli.inversion.prompt import training_prompt
    from d2m_cli.media.audio import save_wav

    chosen = np.unique(np.linspace(0, len(windows) - 1, count).astype(int)) if count else np.zeros(0, int)

    def make(epoch: int, encoders: Encoders) -> None:
        encoders.eval()
        for number in chosen:
            index = np.array([number])
            segment = windows.segments[number]
            sequences, genres, _ = windows.batch(index)
            with torch.inference_mode():
                words = encoders.pseudo_words(sequences.float(), genres)
                prompt = training_prompt(genre="@" in words)
                condition, negative = backbone.embed([prompt], words), backbone.embed([""], {})
                audio = backbone.generate(condition, negative, [int(number)]).audio[0].numpy()
            name = f"{segment.clip.name.replace('/', '_')}-{segment.start:.2f}.wav"
            save_wav(out / "samples" / f"epoch-{epoch:03}" / name, audio, backbone.sample_rate)

    return make


def describe(request: TrainRequest, task: Task, course: Course, skipped: Sequence[Skip]) -> dict[str, Any]:
    """All that made the encoders, and what they reached, as values that JSON can hold."""
    from importlib.metadata import version

    path = request.out / "encoders.safetensors"
    return {
        "format": "d2m-training",
        "format_version": 1,
        "encoders": {"file": path.name, "sha256": file_sha256(path)},
        "config": asdict(task.config),
        "options": asdict(request.options),
        "backbone": {
            "name": task.backbone.name,
            "licence": task.backbone.licence,
            "sha256": task.backbone.fingerprint,
            "parameters_sha256": course.frozen,
        },
        "data": {
            "kind": request.dances.kind,
            "training": _counts(task.training),
            "validation": _counts(task.validation) if task.validation is not None else None,
            "skipped": [skip.reason for skip in skipped],
        },
        "course": {
            "updates": course.updates,
            "epochs": course.epochs,
            "best_epoch": course.best_epoch,
            "stopped_early": course.stopped_early,
            "seconds": round(course.seconds, 1),
        },
        "validation": assess(task, course),
        "versions": {"d2m": __version__, **{name: version(name) for name in ("torch", "accelerate", "numpy")}},
    }


def _counts(windows: Windows) -> dict[str, Any]:
    genres = [s.clip.genre or "unknown" for s in windows.segments]
    return {
        "songs": len({s.clip.song for s in windows.segments}),
        "clips": len({s.clip.name for s in windows.segments}),
        "windows": len(windows),
        "genres": {genre: genres.count(genre) for genre in sorted(set(genres))},
    }


def assess(task: Task, course: Course) -> Mapping[str, Any] | None:
    """Validation loss with each window's own dance and with another song's, and their difference by song."""
    from d2m_cli.training.loop.validation import other_songs, window_losses

    windows = task.validation
    if windows is None:
        return None
    draws = task.options.validation_draws
    own = window_losses(course.encoders, task.backbone, windows, draws)
    result: dict[str, Any] = {"loss": float(own.mean())}
    order = other_songs(windows)
    if order is not None:
        other = window_losses(course.encoders, task.backbone, windows, draws, order)
        result["loss_with_other_dances"] = float(other.mean())
        result["difference"] = difference(other, own, [segment.clip.song for segment in windows.segments])
    return result


def difference(first: NDArray[np.float64], second: NDArray[np.float64], songs: Sequence[str]) -> dict[str, float]:
    """Mean of first minus second, (n,) each, with its 95 % interval by song; two songs or more."""
    from d2m_cli.ground.statistics import paired_bootstrap

    found = paired_bootstrap(first[:, None], second[:, None], songs, lambda means: means)
    values = (found.difference, found.interval.low, found.interval.high)
    return {name: float(value[0]) for name, value in zip(("mean", "low", "high"), values, strict=True)}


def _plot(out: Path, title: str) -> None:
    from d2m_cli.report.loss_plot import plot_losses

    plot_losses(out / "loss.png", read_table(out / "updates.csv"), read_table(out / "epochs.csv"), title)


def with_changes(options: TrainOptions, changes: Mapping[str, Any]) -> TrainOptions:
    """A preset with those choices replaced that the user made (None stands for "not said")."""
    return replace(options, **{name: value for name, value in changes.items() if value is not None})
