"""The verb that learns encoders from dances and the music they go to."""

from __future__ import annotations

import math
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from d2m_cli.errors import UsageError
from d2m_cli.ground.options import option
from d2m_cli.ground.progress import Progress
from d2m_cli.training.options import TrainOptions

if TYPE_CHECKING:
    from d2m_cli.backbones.registry import Choice
    from d2m_cli.training.data.clips import DanceSet
    from d2m_cli.training.record import Trained

__all__ = ["TrainOptions", "Trained", "read_pairs", "train"]


def train(
    dances: str | PathLike[str] | DanceSet,
    out: str | PathLike[str] = "d2m_train",
    *,
    options: TrainOptions | str = "recommended",
    backbone: str | Choice = "auto",
    device: str = "auto",
    decoder: str = "auto",
    cache: str | PathLike[str] | None = None,
    start: str | PathLike[str] | None = None,
    clap: str | PathLike[str] | None = None,
    overwrite: bool = False,
    checkpoint_minutes: float = 5.0,
    progress: Progress | None = None,
) -> Trained:
    """Learn "*" (rhythm) and "@" (genre) for a frozen text-to-music model.

    Parameters
    ----------
    dances
        AIST++ as downloaded, a folder of dance videos with sound, a .csv table, or what `read_pairs` gave.
    out
        Folder of the results. The same call goes on with a training that was interrupted there.
    options
        How to train, or the name of a preset (`d2m_cli.training.options.PRESETS`).
    backbone
        "auto", "embedded", "riffusion", "musicgen", "audiocraft", or "FAMILY:FOLDER_OR_HUB_ID"; or what
        `d2m_cli.backbones.registry.choose` found.
    device
        "auto", "cpu", "cuda", or "cuda:1" of several.
    decoder
        What reads videos: "auto", "decord" or "pyav".
    cache
        Folder of poses, rhythms and targets; None is "cache" in `out`.
    start
        An encoders.safetensors to begin from, in place of random ones.
    clap
        For the genre encoder "clap": "clap", or the folder of a CLAP model.
    overwrite
        Start again where `out` holds a training, in place of going on with it.
    checkpoint_minutes
        A killed training loses at most this much.
    progress
        Told how it goes; None says nothing.

    Returns
    -------
    The encoders' file, the losses, and the record of all that made them. In `out` lie the same (`encoders.safetensors`,
    `updates.csv`, `epochs.csv`, `train.json`), the curve as `loss.png`, and a few samples of music.

    Raises
    ------
    UsageError
        An option is out of its range, nothing to train on, a model is missing, or `out` holds something else.
    TrainingError
        The loss is not a number any more.
    OutputError
        Something can't be written.
    """
    chosen = _options(options)
    # NaN passes every comparison.
    if not 0.0 <= checkpoint_minutes < math.inf:
        raise UsageError(f"{option('checkpoint_minutes')} must be 0 or more, not {checkpoint_minutes}")
    from d2m_cli.backbones.registry import choose
    from d2m_cli.ground.progress import is_main_process
    from d2m_cli.report.loss_plot import plot_losses
    from d2m_cli.training.result_folder import PLOT_NAME
    from d2m_cli.training.run import TrainRequest, run_training

    choice = choose(backbone) if isinstance(backbone, str) else backbone
    folder, progress = Path(out), progress or Progress(quiet=True)
    request = TrainRequest(
        dances=read_pairs(dances, options=chosen, progress=progress) if isinstance(dances, str | PathLike) else dances,
        choice=choice,
        options=chosen,
        out=folder,
        cache=folder / "cache" if cache is None else Path(cache),
        device=device,
        decoder=decoder,
        start=None if start is None else Path(start),
        clap=None if clap is None else Path(clap),
        overwrite=overwrite,
        checkpoint_seconds=60.0 * checkpoint_minutes,
    )
    trained = run_training(request, progress)
    if is_main_process():
        # Training draws noise levels by the focus, and prompts without "@": its losses are higher, which is no sign of
        # overfitting.
        encoders, focus = f"{chosen.rhythm_encoder} and {chosen.genre_encoder}", f"{option('focus')} {chosen.focus:g}"
        title = f"{trained.record.backbone.name}, {encoders}; training with {focus}"
        plot_losses(folder / PLOT_NAME, trained, title)
    return trained


def read_pairs(
    dances: str | PathLike[str],
    *,
    options: TrainOptions | str = "recommended",
    videos: str | PathLike[str] | None = None,
    music: str | PathLike[str] | None = None,
    camera: str = "c01",
    keep_ignored: bool = False,
    progress: Progress | None = None,
) -> DanceSet:
    """Read a set of dances and their music for `train`; opens headers only.

    Parameters
    ----------
    dances
        AIST++ as downloaded, a folder of dance videos with sound, or a .csv table.
    options
        What it is for: the length of windows, and whether genres are needed.
    videos, music
        Folders of AIST++'s videos and music, where they lie apart.
    camera
        AIST++ camera: "c01" to "c09", or "all".
    keep_ignored
        Use what AIST++'s ignore_list.txt names.
    progress
        Told after each dance; None says nothing.

    Returns
    -------
    The set; its `summary` says what each split holds, and what is left out.

    Raises
    ------
    UsageError
        The set does not exist, can't be read, or nothing of it can be trained on.
    """
    chosen, views = _options(options), _views(camera)
    from d2m_cli.training.data.dataset import ReadOptions, read_dances
    from d2m_cli.training.run import grid_of

    reading = ReadOptions(
        grid_of(chosen.rhythm_mode).seconds,
        views,
        None if videos is None else Path(videos),
        None if music is None else Path(music),
        keep_ignored,
        require_genre=chosen.genre_encoder == "label",
    )
    return read_dances(Path(dances), reading, progress)


def _options(options: TrainOptions | str) -> TrainOptions:
    return TrainOptions.preset(options) if isinstance(options, str) else options


def _views(camera: str) -> tuple[int, ...]:
    if camera == "all":
        return tuple(range(9))
    if len(camera) == 3 and camera.startswith("c0") and camera[2] in "123456789":
        return (int(camera[2]) - 1,)
    raise UsageError(f"{option('camera', camera)}: choose c01 to c09, or all")


def __getattr__(name: str) -> Any:
    # Its module loads torch, which reading a set or naming options has no use for.
    if name == "Trained":
        from d2m_cli.training.record import Trained

        return Trained
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
