"""One training from end to end: dances in, encoders and a record of how they came about out."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from d2m_cli.errors import UsageError
from d2m_cli.ground.aist import Split
from d2m_cli.ground.options import option
from d2m_cli.ground.progress import Progress
from d2m_cli.media.shortage import is_shortage
from d2m_cli.training.data.clips import TOLD, DanceSet, Skip
from d2m_cli.training.loop.logs import write_json
from d2m_cli.training.options import TrainOptions
from d2m_cli.training.record import Trained, describe, read_trained
from d2m_cli.training.result_folder import RECORD_NAME, alone_in, clear_folder, refuse_others
from d2m_cli.training.samples import sampler

if TYPE_CHECKING:
    from accelerate import Accelerator

    from d2m_cli.backbones.base import Backbone
    from d2m_cli.backbones.registry import Choice
    from d2m_cli.inversion.checkpoint import EncoderConfig, Encoders
    from d2m_cli.inversion.clap import ClapAudio
    from d2m_cli.rhythm.sequence import RhythmGrid
    from d2m_cli.training.data.features import FeatureCache
    from d2m_cli.training.data.windows import Windows
    from d2m_cli.training.loop.task import Course, Task


@dataclass(frozen=True)
class TrainRequest:
    """What is asked for.

    Attributes
    ----------
    dances
        The paired set.
    choice
        Backbone, from `d2m_cli.backbones.registry.choose`.
    options
        How to train.
    out
        Folder of the results.
    cache
        Folder of poses, rhythms and targets.
    device
        "auto", "cpu", "cuda", or "cuda:1" of several.
    decoder
        What reads videos: "auto", "decord" or "pyav".
    start
        Encoders to begin from, or None for random ones.
    clap
        Folder of a CLAP model, for the genre encoder "clap".
    overwrite
        Start again where `out` holds a training.
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


def run_training(request: TrainRequest, progress: Progress) -> Trained:
    """Train on a paired set.

    Returns
    -------
    What came of it, the same in all processes.

    Raises
    ------
    UsageError
        Nothing to train on, a model is missing, or `out` holds something else.
    TrainingError, OutputError
        See `d2m_cli.training.loop.trainer.train`.
    """
    from d2m_cli.backbones.registry import pick_device
    from d2m_cli.ground.progress import quiet_libraries
    from d2m_cli.training.loop.processes import apart_from_others, make_accelerator, on_device

    quiet_libraries()
    device = pick_device(request.device)
    with apart_from_others(), on_device(device):
        return _run(request, make_accelerator(request.options, device), progress)


def _run(request: TrainRequest, accelerator: Accelerator, progress: Progress) -> Trained:
    from d2m_cli.backbones.registry import open_backbone
    from d2m_cli.training.loop.processes import shared

    if accelerator.is_main_process and not request.overwrite:
        refuse_others(request.out)
    accelerator.wait_for_everyone()
    # On a GPU frozen weights are held in what the training computes in; on a CPU autocast is faster with fp32 ones.
    on_gpu = accelerator.device.type == "cuda"
    precision = request.options.precision if on_gpu else "auto"
    with progress.busy(f"loading {request.choice.name} from {request.choice.folder}"):
        backbone = open_backbone(request.choice, str(accelerator.device), precision)
    progress.say(f"d2m train: {backbone.description}; licence of its weights: {backbone.licence}")
    task, skipped = _task(request, backbone, accelerator, progress)
    course = _train(request, task, accelerator, progress)
    trained = None
    if accelerator.is_main_process:
        record = describe(request.out, request.dances.kind, task, course, (*request.dances.skipped, *skipped))
        write_json(request.out / RECORD_NAME, record.document())
        trained = read_trained(request.out, record)
    result = shared(trained, accelerator)
    assert result is not None
    return result


def _task(
    request: TrainRequest, backbone: Backbone, accelerator: Accelerator, progress: Progress
) -> tuple[Task, tuple[Skip, ...]]:
    """All that is trained on what, read or computed; and what can't be used."""
    from d2m_cli.inversion.checkpoint import WINDOW_TOLERANCE
    from d2m_cli.training.loop.task import Task

    features = _features(request, backbone, str(accelerator.device), progress)
    if abs(backbone.window_seconds - features.grid.seconds) > WINDOW_TOLERANCE:
        raise UsageError(
            f"{backbone.name} makes windows of {backbone.window_seconds:.2f} s, and rhythms are read in windows of "
            f"{features.grid.seconds:.2f} s: choose another {option('backbone')}"
        )
    config = _config(request.options, backbone, features)
    refuse_too_many_vectors(config, backbone)
    start = _start(request, backbone, features)
    with accelerator.main_process_first():
        training, skipped = _windows(request, features, "train", progress)
        validation, more = _windows(request, features, "validation", progress)
    if training is None:
        told = [f"\n  {skip.reason}" for skip in skipped[:TOLD]]
        rest = f"\n  and {len(skipped) - TOLD} more" if len(skipped) > TOLD else ""
        raise UsageError(f"no window is left to train on:{''.join(told)}{rest}")
    for skip in (*skipped, *more):
        progress.say(f"  skipped: {skip.reason}")
    if validation is None:
        progress.say("no validation windows: the encoders of the last epoch are kept, and there is no early stop")
    return Task(backbone, config, training, validation, request.options, start), (*skipped, *more)


def _train(request: TrainRequest, task: Task, accelerator: Accelerator, progress: Progress) -> Course:
    """The loop, alone in the folder of the results."""
    from d2m_cli.training.loop.trainer import train

    main = accelerator.is_main_process
    with alone_in(request.out) if main else nullcontext():
        if main and request.overwrite:
            # Not sooner: what can't begin must not cost an older training, and the start may lie in this folder.
            clear_folder(request.out)
        accelerator.wait_for_everyone()
        listen = None
        if task.validation is not None:
            listen = sampler(task.backbone, task.validation, request.options.samples, request.out)
        return train(
            task, request.out, accelerator, progress,
            checkpoint_seconds=request.checkpoint_seconds, after_epoch=listen,
        )  # fmt: skip


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
            raise UsageError(f"take fewer {option('rhythm_vectors')} or {option('genre_vectors')}: {error}") from error


def _features(request: TrainRequest, backbone: Backbone, device: str, progress: Progress) -> FeatureCache:
    from d2m_cli.pose.estimator import PoseEstimator, PoseOptions
    from d2m_cli.training.data.features import FeatureCache

    listener = None
    if request.options.genre_encoder == "clap":
        if request.clap is None:
            raise UsageError(
                f"{option('genre_encoder', 'clap')} needs a CLAP model: give its folder with {option('clap')}"
            )
        listener = _listener(request.clap, device, progress)

    @cache
    def dancers() -> PoseEstimator:
        options = PoseOptions(device=request.device, decoder=request.decoder)
        return PoseEstimator(options, tell=progress.say)

    return FeatureCache(request.cache, backbone, grid_of(request.options.rhythm_mode), dancers, listener)


def _listener(folder: Path, device: str, progress: Progress) -> ClapAudio:
    """CLAP where the training computes, or on the CPU where there is no room for it beside the backbone."""
    import numpy as np

    from d2m_cli.inversion.clap import ClapAudio

    loaded: ClapAudio | None = None
    try:
        loaded = ClapAudio(folder, device)
        if device != "cpu":
            # What listening takes shows only here: CLAP fills all pieces up to one length.
            loaded.embed(np.zeros(48_000, np.float32), 48_000)
    except Exception as error:
        if device == "cpu" or not is_shortage(error):
            raise
        loaded = None
    # Not within the handler: the error holds what it came of, and with it the GPU's memory.
    if loaded is None:
        progress.say(f"memory ran out while CLAP was tried on {device}: genre is heard on the CPU")
        device = "cpu"
        loaded = ClapAudio(folder, device)
    progress.say(f"genre by ear: CLAP on {device}")
    return loaded


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
        raise UsageError(f"{option('start')} {request.start}: other encoders than those asked for: {told}")
    return encoders
