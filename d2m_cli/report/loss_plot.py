"""A picture of how a training went."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from d2m_cli.ground.files import atomic_path

if TYPE_CHECKING:
    from d2m_cli.training.record import Trained


def plot_losses(path: Path, trained: Trained, title: str) -> None:
    """Draw training loss (every update, and a running mean) and validation loss over updates as a .png.

    Parameters
    ----------
    path
        The picture to write.
    trained
        Whose losses.
    title
        Stands above it.

    Raises
    ------
    OutputError
        The picture can't be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    at, losses = trained.updates, trained.losses
    if len(at):
        span = max(1, min(50, len(at) // 10))
        smooth = np.convolve(losses, np.ones(span) / span, mode="valid")
        axes.plot(at, losses, color="0.8", linewidth=0.8, label="training, each update")
        axes.plot(at[span - 1 :], smooth, color="tab:blue", label=f"training, mean of {span}")
    known = [(epoch.update, epoch.validation_loss) for epoch in trained.epochs if math.isfinite(epoch.validation_loss)]
    if known:
        axes.plot(*zip(*known, strict=True), "o-", color="tab:orange", label="validation")
        held = [value for _, value in known]
        smooth_part = smooth.tolist() if len(at) else []
        low, high = min([*held, *smooth_part]), max([*held, *smooth_part])
        axes.set_ylim(low - 0.25 * (high - low) - 1e-6, high + 0.25 * (high - low) + 1e-6)
    axes.set_xlabel("update")
    axes.set_ylabel("loss")
    axes.set_title(title)
    figure.legend(loc="outside lower center", ncols=3)
    with atomic_path(path) as part:
        figure.savefig(str(part), dpi=120, format="png")
