"""A picture of how a training went."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from d2m_cli.ground.files import atomic_path


def plot_losses(
    path: Path, updates: Sequence[Mapping[str, str]], epochs: Sequence[Mapping[str, str]], title: str
) -> None:
    """Draw training loss (every update, and a running mean) and validation loss over updates as a .png.

    Parameters
    ----------
    path
        The picture to write.
    updates, epochs
        Rows of `updates.csv` and `epochs.csv`.
    title
        Stands above it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    at = np.array([int(row["update"]) for row in updates])
    losses = np.array([float(row["loss"]) for row in updates])
    if len(at):
        span = max(1, min(50, len(at) // 10))
        smooth = np.convolve(losses, np.ones(span) / span, mode="valid")
        axes.plot(at, losses, color="0.8", linewidth=0.8, label="training, each update")
        axes.plot(at[span - 1 :], smooth, color="tab:blue", label=f"training, mean of {span}")
    validated = [(int(row["update"]), float(row["validation_loss"])) for row in epochs]
    known = [(update, loss) for update, loss in validated if math.isfinite(loss)]
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
