"""ACE-Step and Stable Audio at the sizes of diffusers' own classes: time, memory, offloading and a training pass."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from d2m_cli.backbones.ace_step import AceStepBackbone
from d2m_cli.backbones.base import Draw, FullSampling, Identity
from d2m_cli.backbones.latent_audio import LatentAudioBackbone
from d2m_cli.backbones.stable_audio import open_stable_audio
from tests.gpu.report import GIB, Effort, Place, Report, timed
from tests.latent_audio_models import save_ace_step, save_stable_audio_3, save_stable_audio_open

PROMPT = "funky guitar music with drum as the rhythm, 112 bpm"
TAKES = 3
"""Takes of a piece at once, as `d2m generate` draws them where nothing is said."""
SAVES: dict[str, Callable[..., Path]] = {
    "ace-step": save_ace_step,
    "stable-audio": save_stable_audio_open,
    "stable-audio-3": save_stable_audio_3,
}
LENGTHS = {"ace-step": (30.0, 120.0), "stable-audio": (30.0,), "stable-audio-3": (30.0, 120.0)}
STEPS = {"ace-step": 8, "stable-audio": 100, "stable-audio-3": 8}
GUIDANCE = {"ace-step": 1.0, "stable-audio": 7.0, "stable-audio-3": 1.0}


def save(folder: Path, model: str, size: str, device: str) -> None:
    """Build a model and write it down, in bf16 where it is full."""
    SAVES[model](folder, size, device=device)


def opened(folder: Path, model: str, place: Place, offloaded: bool = False) -> LatentAudioBackbone:
    """The backbone as `d2m generate` opens it."""
    make: Any = AceStepBackbone if model == "ace-step" else open_stable_audio
    backbone: LatentAudioBackbone = make(folder, Identity(f"{model}:random", "none"), place.device, "auto", offloaded)
    return backbone


def draw(backbone: LatentAudioBackbone, model: str, seconds: float, takes: int, steps: int) -> Draw:
    """Pieces as `d2m generate` draws them."""
    with torch.inference_mode():
        condition = backbone.embed([PROMPT], {}).repeated(takes)
        sampling = FullSampling(steps=steps, guidance=GUIDANCE[model])
        seeds = list(range(takes))
        return backbone.generate(condition, backbone.embed([""], {}), seeds, None, sampling, seconds=seconds)


def measure(report: Report, folder: Path, place: Place, effort: Effort, model: str, size: str) -> None:
    """Everything of one model; short enough to be one piece of work."""
    part = "ace-step" if model == "ace-step" else "stable-audio"
    place.forget()
    begun = time.perf_counter()
    backbone = opened(folder, model, place)
    place.wait()
    numbers = sum(value.numel() for module in backbone.modules().values() for value in module.parameters())
    report.add(part, f"{model}: parameters", numbers / 1e9, "billion", "defaults of diffusers' classes")
    report.add(part, f"{model}: loading", time.perf_counter() - begun, "s", backbone.description)
    steps, lengths = (STEPS[model], LENGTHS[model]) if size == "full" else (2, (1.0,))
    for seconds in lengths:
        for takes in (1, TAKES):
            _pieces(report, part, backbone, place, model, seconds, takes, steps)
    _going_on(report, part, backbone, model, steps, 8.0 if size == "full" else 1.0)
    _training(report, part, backbone, place, model, effort)
    del backbone
    if place.is_gpu:
        _offloaded(report, part, folder, place, model, steps)


def _pieces(
    report: Report,
    part: str,
    backbone: LatentAudioBackbone,
    place: Place,
    model: str,
    seconds: float,
    takes: int,
    steps: int,
) -> None:
    """Time and memory of pieces of one length."""
    name = f"{model}: {seconds:g} s of music, {takes} at once, {steps} steps"
    place.forget()
    made: list[Draw] = []
    times = timed(place, lambda: made.append(draw(backbone, model, seconds, takes, steps)), 1)
    report.add(part, name, times.median, "s", f"guidance {GUIDANCE[model]:g}")
    report.add(part, f"{name}, a minute of music", times.median * 60 / (seconds * takes), "s", "a take")
    report.add(part, f"{name}, peak", place.peak(), "GiB", "all tensors, weights too")
    whole = all(bool(one.audio.isfinite().all()) for one in made)
    report.check(part, f"{name}: audio is finite", whole, f"{len(made)} draws")
    same = all(torch.equal(made[0].audio, one.audio) for one in made[1:])
    report.check(part, f"{name}: one seed, the same bytes", same, f"{len(made)} draws")


def _going_on(report: Report, part: str, backbone: LatentAudioBackbone, model: str, steps: int, seconds: float) -> None:
    """A piece that goes on begins with the very latents of the one before."""
    context = draw(backbone, model, seconds, 1, steps).end(
        round(0.75 * seconds * backbone.latent_rate) / backbone.latent_rate
    )
    assert context is not None
    assert context.latents is not None
    with torch.inference_mode():
        sampling = FullSampling(steps=steps, guidance=GUIDANCE[model])
        text = backbone.embed([PROMPT], {})
        made = backbone.generate(text, backbone.embed([""], {}), [9], context, sampling, seconds=seconds)
    assert made.latents is not None
    away = float((made.latents[..., : context.latents.shape[-1]] - context.latents).abs().max())
    limit = 1e-2 * float(context.latents.abs().max())
    report.check(part, f"{model}: what is there is kept", away <= limit, f"{away:.1e} <= {limit:.1e}")


def _training(
    report: Report, part: str, backbone: LatentAudioBackbone, place: Place, model: str, effort: Effort
) -> None:
    """Forward and backward pass of one batch of windows to the vector of a pseudo-word."""
    batch = effort.training_batch
    backbone.ready_for_training("bf16" if place.is_gpu else "fp32")
    samples = round(backbone.window_seconds * backbone.sample_rate)
    targets = backbone.targets(0.1 * torch.randn(batch, 2, samples))
    vector = torch.zeros(batch, backbone.text_width, device=backbone.device, requires_grad=True)

    def update() -> None:
        condition = backbone.embed(["a music with * as the rhythm"] * batch, {"*": vector})
        backbone.loss(targets, condition, torch.Generator().manual_seed(0)).sum().backward()

    place.forget()
    times = timed(place, update, 1)
    report.add(part, f"{model}: pass of training, batch {batch}", times.median, "s", "to a pseudo-word's vector")
    report.add(part, f"{model}: peak of training, batch {batch}", place.peak(), "GiB", "all tensors, weights too")
    arrived = vector.grad is not None and bool(vector.grad.isfinite().all()) and bool(vector.grad.any())
    report.check(part, f"{model}: a gradient arrives", arrived, "finite, and not nothing")


def _offloaded(report: Report, part: str, folder: Path, place: Place, model: str, steps: int) -> None:
    """What offloading costs and saves: whole networks in turn, and layer by layer."""
    from d2m_cli.backbones import gpu_room

    free = gpu_room.free_bytes
    # A small GPU, as the code that chooses sees it.
    for told, room in (("each network in its turn", free), ("layer by layer", lambda _device: 0)):
        place.forget()
        gpu_room.free_bytes = room
        try:
            backbone = opened(folder, model, place, offloaded=True)
        finally:
            gpu_room.free_bytes = free
        begun = time.perf_counter()
        made = draw(backbone, model, 30.0, 1, min(steps, 8))
        place.wait()
        name = f"{model}: 30 s of music offloaded, {told}"
        report.add(part, name, time.perf_counter() - begun, "s", f"first piece, {min(steps, 8)} steps")
        report.add(part, f"{name}, peak", place.peak(), "GiB", f"of {torch.cuda.mem_get_info()[1] / GIB:.0f}")
        report.check(part, f"{name}: audio is finite", bool(made.audio.isfinite().all()), "1 draw")
        del backbone
