"""What came of a training: the encoders, its losses, and the record of all that made them (``train.json``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from d2m_cli import __version__
from d2m_cli.ground.digests import file_sha256
from d2m_cli.inversion.checkpoint import EncoderConfig
from d2m_cli.training.data.clips import Skip
from d2m_cli.training.loop.logs import read_table
from d2m_cli.training.options import TrainOptions
from d2m_cli.training.result_folder import ENCODERS_NAME, EPOCHS_NAME, UPDATES_NAME

if TYPE_CHECKING:
    from d2m_cli.training.data.windows import Windows
    from d2m_cli.training.loop.task import Course, Task


@dataclass(frozen=True)
class EncodersFile:
    """The encoders' file in the folder of the results, and its content."""

    file: str
    sha256: str


@dataclass(frozen=True)
class BackboneRecord:
    """The frozen model.

    Attributes
    ----------
    name, licence
        Its name, and the licence of its weights.
    sha256
        Its fingerprint.
    parameters_sha256
        Of all parameters and buffers, the same before and after.
    """

    name: str
    licence: str
    sha256: str
    parameters_sha256: str


@dataclass(frozen=True)
class SplitRecord:
    """Songs, clips and windows of one split, and the windows of each genre."""

    songs: int
    clips: int
    windows: int
    genres: dict[str, int]


@dataclass(frozen=True)
class DataRecord:
    """What was learned on.

    Attributes
    ----------
    kind
        "AIST++", "folder" or "manifest".
    training, validation
        What was used of each split; `validation` may be None.
    skipped
        Why some files or lines were not used.
    """

    kind: str
    training: SplitRecord
    validation: SplitRecord | None
    skipped: tuple[str, ...]


@dataclass(frozen=True)
class CourseRecord:
    """How it went; see `d2m_cli.training.loop.task.Course`."""

    updates: int
    epochs: int
    best_epoch: int
    stopped_early: bool
    seconds: float


@dataclass(frozen=True)
class Difference:
    """A mean difference, and its 95 % interval by song."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Assessment:
    """Whether the encoders use the dance.

    Attributes
    ----------
    loss
        Validation loss with each window's own dance.
    loss_with_other_dances, difference
        With another song's dance, and by how much that is worse; None where all windows are of one song.
    """

    loss: float
    loss_with_other_dances: float | None = None
    difference: Difference | None = None


@dataclass(frozen=True)
class TrainRecord:
    """All that made the encoders, and what they reached.

    Attributes
    ----------
    format, format_version
        Of `train.json`.
    encoders
        The file that was written.
    config
        What the encoders are made for.
    options
        How they were trained.
    backbone, data, course
        The model, what was learned on, and how it went.
    validation
        What was reached; None without validation windows.
    versions
        Of d2m, torch, accelerate and numpy.
    """

    format: str
    format_version: int
    encoders: EncodersFile
    config: EncoderConfig
    options: TrainOptions
    backbone: BackboneRecord
    data: DataRecord
    course: CourseRecord
    validation: Assessment | None
    versions: dict[str, str]

    def document(self) -> dict[str, Any]:
        """As `train.json` holds it; what was not measured is left out."""
        made = asdict(self)
        if self.validation is not None:
            made["validation"] = {name: value for name, value in made["validation"].items() if value is not None}
        return made


@dataclass(frozen=True)
class Epoch:
    """A row of `epochs.csv`.

    Attributes
    ----------
    epoch, update
        Counted from 1; 0 is before training.
    training_loss, validation_loss
        Means; NaN before training, and without validation windows.
    best
        Epoch of the best encoders so far.
    seconds
        Spent so far.
    """

    epoch: int
    update: int
    training_loss: float
    validation_loss: float
    best: int
    seconds: float


@dataclass(frozen=True, eq=False, repr=False)
class Trained:
    """What came of a training.

    Attributes
    ----------
    encoders
        The file `encoders.safetensors`, for `d2m_cli.generate`.
    updates, losses
        (n,) number of each update, from 1, and its training loss.
    epochs
        What was measured before training and after each epoch.
    record
        All that made the encoders, as in `train.json`.
    """

    encoders: Path
    updates: NDArray[np.int64]
    losses: NDArray[np.float64]
    epochs: tuple[Epoch, ...]
    record: TrainRecord

    def __repr__(self) -> str:
        reached = "" if self.record.validation is None else f", validation loss {self.record.validation.loss:.4f}"
        return f"Trained({self.encoders}: {len(self.losses)} updates{reached})"


def read_trained(out: Path, record: TrainRecord) -> Trained:
    """What a folder of results holds of a training with this record."""
    rows = read_table(out / UPDATES_NAME)
    updates = np.array([int(row["update"]) for row in rows], dtype=np.int64)
    losses = np.array([float(row["loss"]) for row in rows], dtype=np.float64)
    epochs = tuple(
        Epoch(
            int(row["epoch"]), int(row["update"]), float(row["training_loss"]), float(row["validation_loss"]),
            int(row["best"]), float(row["seconds"]),
        )
        for row in read_table(out / EPOCHS_NAME)
    )  # fmt: skip
    return Trained(out / record.encoders.file, updates, losses, epochs, record)


def describe(out: Path, kind: str, task: Task, course: Course, skipped: Sequence[Skip]) -> TrainRecord:
    """Write down all that made the encoders, and measure what they reached.

    Parameters
    ----------
    out
        Folder of the results.
    kind
        Of the paired set.
    task, course
        What was trained, and how it went.
    skipped
        What was not used.
    """
    from importlib.metadata import version

    backbone, path = task.backbone, out / ENCODERS_NAME
    validation = _counts(task.validation) if task.validation is not None else None
    seconds = round(course.seconds, 1)
    return TrainRecord(
        format="d2m-training",
        format_version=1,
        encoders=EncodersFile(path.name, file_sha256(path)),
        config=task.config,
        options=task.options,
        backbone=BackboneRecord(backbone.name, backbone.licence, backbone.fingerprint, course.frozen),
        data=DataRecord(kind, _counts(task.training), validation, tuple(skip.reason for skip in skipped)),
        course=CourseRecord(course.updates, course.epochs, course.best_epoch, course.stopped_early, seconds),
        validation=assess(task, course),
        versions={"d2m": __version__, **{name: version(name) for name in ("torch", "accelerate", "numpy")}},
    )


def _counts(windows: Windows) -> SplitRecord:
    genres = [s.clip.genre or "unknown" for s in windows.segments]
    return SplitRecord(
        songs=len({s.clip.song for s in windows.segments}),
        clips=len({s.clip.name for s in windows.segments}),
        windows=len(windows),
        genres={genre: genres.count(genre) for genre in sorted(set(genres))},
    )


def assess(task: Task, course: Course) -> Assessment | None:
    """Validation loss with each window's own dance and with another song's, and their difference by song."""
    from d2m_cli.training.loop.validation import other_songs, window_losses

    windows = task.validation
    if windows is None:
        return None
    draws, precision = task.options.validation_draws, task.options.precision
    own = window_losses(course.encoders, task.backbone, windows, draws, precision=precision)
    order = other_songs(windows)
    if order is None:
        return Assessment(float(own.mean()))
    other = window_losses(course.encoders, task.backbone, windows, draws, order, precision)
    songs = [segment.clip.song for segment in windows.segments]
    return Assessment(float(own.mean()), float(other.mean()), difference(other, own, songs))


def difference(first: NDArray[np.float64], second: NDArray[np.float64], songs: Sequence[str]) -> Difference:
    """Mean of first minus second, (n,) each, with its 95 % interval by song; two songs or more."""
    from d2m_cli.ground.statistics import paired_bootstrap

    found = paired_bootstrap(first[:, None], second[:, None], songs, lambda means: means)
    return Difference(float(found.difference[0]), float(found.interval.low[0]), float(found.interval.high[0]))
