"""How fast d2m's own training step is at full size, against the forward and backward pass that it can't do without."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from d2m_cli.backbones.base import parameters_digest
from d2m_cli.ground.progress import Progress
from d2m_cli.inversion.checkpoint import EncoderConfig, Encoders
from d2m_cli.inversion.prompt import TRAINING_PROMPT
from d2m_cli.rhythm.sequence import RhythmGrid
from d2m_cli.training.data.dataset import Clip, Segment
from d2m_cli.training.data.windows import Windows
from d2m_cli.training.loop import trainer as loop
from d2m_cli.training.loop.processes import make_accelerator
from d2m_cli.training.loop.task import Task
from d2m_cli.training.options import PRESETS
from tests.gpu.report import Effort, Place, Report, timed

GRID = RhythmGrid("stable", 50.0, 256)
MOST_OVER_THE_PASS = 1.5
"""A training step on a GPU should take no longer than this many times the pass alone."""


class _NoEvents:
    """Where TensorBoard is not installed."""

    def __init__(self, folder: Path, update: int) -> None:
        pass

    def add(self, update: int, values: Mapping[str, float]) -> None:
        pass


def made_windows(backbone: Any, count: int) -> Windows:
    """Random rhythms, and what the backbone's codec or autoencoder makes of noise."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((2, 1, round(backbone.window_seconds * backbone.sample_rate))).astype(np.float32)
    targets = backbone.targets(torch.from_numpy(noise * 0.1)).cpu()
    targets = (targets.half() if targets.is_floating_point() else targets).repeat_interleave(-(-count // 2), 0)[:count]
    genres = tuple(("LO", "HO", "BR")[number % 3] for number in range(count))
    segments = tuple(
        Segment(Clip(f"{at}", Path("none.npz"), None, Path("none.wav"), 0.0, f"{at}", genres[at], "train", 5.12), 0.0)
        for at in range(count)
    )
    sequences = torch.from_numpy((rng.random((count, GRID.steps)) < 0.05).astype(np.uint8))
    return Windows(segments, sequences, genres, targets)


def measure_training(report: Report, part: str, backbone: Any, place: Place, effort: Effort, precision: str) -> None:
    """Updates of `d2m train`, and the pass alone, with the same windows and number format.

    The pass alone is text transformer and network forward and backward on tensors that lie ready.
    """
    if importlib.util.find_spec("tensorboard") is None:
        loop.Events = _NoEvents  # type: ignore[assignment, attr-defined]
    batch = effort.training_batch
    windows = made_windows(backbone, 2 * batch)
    preset = PRESETS["recommended"]
    options = replace(
        preset,
        batch_size=batch,
        epochs=10_000,
        precision=precision,
        hop=None,
        warm_updates=0,
        genre_dropout=0.0,  # type: ignore[arg-type]
    )
    config = EncoderConfig(backbone.name, "", backbone.text_width, GRID, hidden=options.hidden)
    accelerator = make_accelerator(options, place.device)
    place.forget()
    with tempfile.TemporaryDirectory() as name:
        task = Task(backbone, config, windows, None, options)
        run = loop._Run(task, Path(name), accelerator, Progress(quiet=True), 1e9, None)
        run.open_logs()
        before = {key: value.detach().clone() for key, value in run.encoders.state_dict().items()}
        ours = timed(place, run._update, effort.updates)
        moved = any(not torch.equal(value, before[key]) for key, value in run.encoders.state_dict().items())
        finite = all(bool(value.isfinite().all()) for value in run.encoders.state_dict().values())
        frozen, now = run.state.frozen, parameters_digest(backbone.modules())
    peak = place.peak()

    index = np.arange(batch)
    sequences, genres, targets = windows.batch(index, accelerator.device)
    pulses = sequences.float().to(accelerator.device)
    encoders = Encoders(config).to(accelerator.device).train()
    generator = torch.Generator().manual_seed(0)

    def pass_alone() -> None:
        with accelerator.autocast():
            words = encoders.pseudo_words(pulses, genres)
            loss = backbone.loss(targets, backbone.embed([TRAINING_PROMPT] * batch, words), generator).mean()
        (loss * (2.0**10 if precision == "fp16" else 1.0)).backward()

    alone = timed(place, pass_alone, effort.updates)
    told = f"batch {batch}, {precision}"
    report.add(part, f"training updates, {precision}", 1 / ours.median, "updates/s", f"d2m train's own step, {told}")
    report.add(part, f"training windows, {precision}", batch / ours.median, "windows/s", told)
    report.add(part, f"pass alone, {precision}", 1 / alone.median, "updates/s", f"forward and backward only, {told}")
    report.add(part, f"training peak, {precision}", peak, "GiB", told)
    report.check(part, f"frozen weights stay as they are, {precision}", now == frozen, f"digest {now[:12]}")
    report.check(part, f"encoders learn and stay finite, {precision}", moved and finite, f"{effort.updates} updates")
    if place.is_gpu:
        over = ours.median / alone.median
        name = f"a training step is close to the pass alone, {precision}"
        report.check(part, name, over <= MOST_OVER_THE_PASS, f"{over:.2f} times, at most {MOST_OVER_THE_PASS}")
