"""Riffusion in riffusion-model-v1's full layout: time, memory, where the time goes, and training (Eq. 2)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from d2m_cli.backbones.base import Draw, Identity, Sampling
from d2m_cli.backbones.riffusion import RiffusionBackbone
from d2m_cli.backbones.spectrogram import audio_from_picture, picture_from_audio
from tests.gpu.measure_training import measure_training
from tests.gpu.report import Effort, Place, Report, ceilings, distance, timed

PART = "riffusion"
PROMPT = "a funky guitar music with drum as the rhythm"
GUIDANCE = 7.0
AGREEMENT = {"fp32": 5e-3, "fp16": 1e-2, "bf16": 6e-2}
"""Largest distance, relative to the norm, from fp32 on the CPU. Convolutions in fp32 use TF32 on a GPU, where PyTorch's
defaults are left alone."""
SLOWER_THAN_PLAIN = 1.25
"""d2m's denoising may take this many times a plain loop's time."""


def opened(folder: Path, place: Place, precision: str) -> RiffusionBackbone:
    """The backbone as `d2m generate` opens it."""
    return RiffusionBackbone(folder, Identity("riffusion:random", "none"), place.device, precision)


def draw(backbone: RiffusionBackbone, batch: int, steps: int, context: Draw | None = None) -> Draw:
    """Windows as `d2m generate` draws them."""
    with torch.inference_mode():
        condition = backbone.embed([PROMPT] * batch, {})
        sampling = Sampling(steps=steps, guidance=GUIDANCE)
        return backbone.generate(condition, backbone.embed([""], {}), list(range(batch)), context, sampling)


def measure_windows(report: Report, folder: Path, place: Place, effort: Effort) -> None:
    """Seconds a window, and what a plain loop of diffusers takes for its picture."""
    precision = place.formats[0]
    place.forget()
    begun = time.perf_counter()
    backbone = opened(folder, place, precision)
    place.wait()
    report.add(PART, f"loading, {precision}", time.perf_counter() - begun, "s", "weights in the disk's cache")
    sound = sound_seconds(backbone, "cpu", effort)
    report.add(PART, "sound of one picture", sound, "s", "Griffin-Lim on the CPU, as d2m does it; part of each window")
    if place.is_gpu:
        there = sound_seconds(backbone, place.device, effort)
        report.add(PART, "sound of one picture on the GPU", there, "s", "the same function on the device")
    for batch in effort.batches:
        for steps in effort.denoising if batch == 1 else effort.denoising[:1]:
            _measure_batch(report, backbone, place, effort, batch, steps, sound)


def _measure_batch(
    report: Report, backbone: RiffusionBackbone, place: Place, effort: Effort, batch: int, steps: int, sound: float
) -> None:
    place.forget()
    made: list[Draw] = []
    times = timed(place, lambda: made.append(draw(backbone, batch, steps)), effort.repeats)
    name = f"{place.formats[0]}, {steps} steps, batch {batch}"
    music = batch * backbone.window_seconds
    report.add(PART, f"window, {name}", times.median, "s", f"{music:.2f} s of music, guidance {GUIDANCE:g}")
    report.add(PART, f"real-time factor, {name}", times.median / music, "s/s", "below 1 is faster than it plays")
    report.add(PART, f"peak, {name}", place.peak(), "GiB", "all tensors")
    whole = all(bool(one.audio.isfinite().all()) for one in made)
    report.check(PART, f"audio is finite, {name}", whole, f"{len(made)} draws")
    same = all(torch.equal(made[0].audio, one.audio) for one in made[1:])
    report.check(PART, f"one seed, the same bytes, {name}", same, f"{len(made)} draws")
    plain = timed(place, lambda: plain_picture(backbone, batch, steps), effort.repeats)
    report.add(PART, f"picture by a plain loop, {name}", plain.median, "s", "diffusers, the same weights, no sound")
    if place.is_gpu:
        over = (times.median - batch * sound) / plain.median
        told = f"{over:.2f} times, at most {SLOWER_THAN_PLAIN}"
        report.check(PART, f"denoising is as fast as a plain loop, {name}", over <= SLOWER_THAN_PLAIN, told)


@torch.inference_mode()
def plain_picture(backbone: RiffusionBackbone, batch: int, steps: int) -> Tensor:
    """Text, denoising and decoding as diffusers' documentation writes them by hand."""
    from diffusers import DPMSolverMultistepScheduler

    unet, vae, encoder = backbone.unet, backbone.vae, backbone.text_encoder
    text = backbone.tokenizer([""] * batch + [PROMPT] * batch, padding="max_length", return_tensors="pt")
    states = encoder(text.input_ids.to(backbone.device)).last_hidden_state
    solver: Any = DPMSolverMultistepScheduler
    scheduler = solver.from_config(backbone._scheduler_config, algorithm_type="dpmsolver++")
    scheduler.set_timesteps(steps, device=backbone.device)
    latents = torch.randn(batch, *backbone.latent_shape, device=backbone.device, dtype=unet.dtype)
    for step in scheduler.timesteps:
        without, given = unet(torch.cat([latents] * 2), step, encoder_hidden_states=states).sample.chunk(2)
        latents = scheduler.step(without + GUIDANCE * (given - without), step, latents).prev_sample
    picture: Tensor = vae.decode(latents / vae.config.scaling_factor).sample
    return picture


def sound_seconds(backbone: RiffusionBackbone, device: str, effort: Effort) -> float:
    """Seconds for the sound of one picture; d2m makes them one after the other."""
    config = backbone.spectrogram
    noise = torch.randn(1, config.columns * config.hop_length, generator=torch.Generator().manual_seed(0)) * 0.1
    picture = picture_from_audio(noise, config)[..., : config.columns].to(device)
    return timed(Place(device), lambda: audio_from_picture(picture, config), effort.repeats).median


def measure_floor(report: Report, folder: Path, place: Place, effort: Effort, size: str = "full") -> None:
    """The least time the denoising can take: the UNet's operations at the rate of a large matrix product."""
    operations = guided_step_operations(size)
    report.add(PART, "operations of a guided step", operations / 1e12, "TFLOP", "batch 1, both halves")
    best = ceilings(report)
    if best is not None:
        for steps in effort.denoising:
            report.add(PART, f"floor of {steps} steps, batch 1", operations * steps / best[0], "s", "UNet alone")


def guided_step_operations(size: str = "full") -> int:
    """Floating-point operations of the UNet for one window, with and without its text."""
    from torch.utils.flop_counter import FlopCounterMode

    from tests.gpu.full_size import riffusion_unet

    with torch.device("meta"):
        unet = riffusion_unet(size)
        side, width = unet.config.sample_size, unet.config.cross_attention_dim
        given = torch.empty(2, 4, side, side), torch.empty(2), torch.empty(2, 77, width)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        unet(*given)
    return int(counter.get_total_flops())


@torch.no_grad()
def measure_agreement(report: Report, folder: Path, place: Place, effort: Effort) -> None:
    """Text states, latents, one prediction of noise and one decoded picture against fp32 on the CPU."""
    reference = opened(folder, Place("cpu"), "fp32")
    generator = torch.Generator().manual_seed(0)
    samples = round(reference.window_seconds * reference.sample_rate)
    audio = torch.randn(1, 1, samples, generator=generator) * 0.1
    noisy = torch.randn(1, *reference.latent_shape, generator=generator)
    step = torch.tensor([500])

    def values(backbone: RiffusionBackbone) -> dict[str, Tensor]:
        states = backbone.embed([PROMPT], {}).states
        there = noisy.to(backbone.device)
        return {
            "text states": states,
            "latents of noise": backbone.targets(audio),
            "predicted noise": backbone._predict(there, step.to(backbone.device), states),
            "decoded picture": backbone.vae.decode(there.to(backbone.vae.dtype)).sample,
        }

    wanted = values(reference)
    for precision in place.formats:
        found = values(opened(folder, place, precision))
        for name, value in found.items():
            far = distance(value, wanted[name])
            report.add(PART, f"distance of {name} from fp32 on the CPU, {precision}", far, "of their norm")
            limit = AGREEMENT[precision]
            report.check(PART, f"{name} agree with fp32 on the CPU, {precision}", far < limit, f"{far:.1e} < {limit}")


def measure_steps(report: Report, folder: Path, place: Place, effort: Effort, precisions: Sequence[str] = ()) -> None:
    """Training updates with Eq. 2."""
    for precision in precisions or (("bf16", "fp16") if place.is_gpu else ("fp32",)):
        measure_training(report, PART, opened(folder, place, "auto"), place, effort, precision)
