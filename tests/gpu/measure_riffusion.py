"""Riffusion in riffusion-model-v1's full layout: time, memory, recorded and plain steps, and training (Eq. 2)."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from d2m_cli.backbones.base import Draw, Identity, Sampling
from d2m_cli.backbones.repeatable import repeatable
from d2m_cli.backbones.riffusion import RiffusionBackbone
from d2m_cli.backbones.riffusion_steps import GuidedStep
from d2m_cli.backbones.spectrogram import audio_from_picture, picture_from_audio
from tests.gpu.measure_training import measure_training
from tests.gpu.report import Effort, Place, Report, ceilings, distance, timed

PART = "riffusion"
PROMPT = "a funky guitar music with drum as the rhythm"
GUIDANCE = 7.0
AGREEMENT = {"fp32": 5e-3, "fp16": 1e-2, "bf16": 6e-2}
"""Largest distance, relative to the norm, from fp32 on the CPU. Convolutions in fp32 use TF32 on a GPU, where PyTorch's
defaults are left alone."""
SAME_PICTURE = 0.1
"""Largest distance, relative to the norm, of latents by recorded steps from those by plain ones. Guidance makes
rounding grow from step to step; latents of another picture lie about 1 apart."""
TENSORS = "all tensors, the plain loop's networks among them"
TEN, GOAL = 10, 4.0
"""Windows of which diffusers' loop, sound included, should take so many times as long on a GPU."""
SLOWER_THAN_PLAIN = 1.25
"""A window of d2m's may take this many times a plain loop's time and that of its sound."""


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
    """Seconds a window by recorded steps, step by step, and what diffusers takes for its picture by a plain loop."""
    precision = place.formats[0]
    place.forget()
    begun = time.perf_counter()
    backbone = opened(folder, place, precision)
    place.wait()
    report.add(PART, f"loading, {precision}", time.perf_counter() - begun, "s", "weights in the disk's cache")
    plain = Plain(folder, backbone)
    measure_layouts(report, backbone, plain, place, effort)
    measure_recorded_steps(report, backbone, place, effort)
    backbone.recorded = True
    sound = {batch: sound_seconds(backbone, place.device, batch, effort) for batch in effort.batches}
    for batch, seconds in sound.items():
        report.add(PART, f"sound, batch {batch}", seconds, "s", f"Griffin-Lim on {place.device}; part of each window")
    if place.is_gpu:
        there = sound_seconds(backbone, "cpu", 1, effort)
        report.add(PART, "sound on the CPU, batch 1", there, "s", "the same function")
    for steps in effort.denoising:
        alone = _measure_batch(report, backbone, plain, place, effort, 1, steps, sound[1])
        for batch in effort.batches[1:]:
            _measure_batch(report, backbone, plain, place, effort, batch, steps, sound[batch], alone + sound[1])
    _measure_plain_steps(report, backbone, place, effort)


def _measure_batch(
    report: Report,
    backbone: RiffusionBackbone,
    plain: Plain,
    place: Place,
    effort: Effort,
    batch: int,
    steps: int,
    sound: float,
    one_by_one: float = 0.0,
) -> float:
    """Seconds of the plain loop's picture. `one_by_one` is what its window takes alone, sound included."""
    place.forget()
    made: list[Draw] = []
    times = timed(place, lambda: made.append(draw(backbone, batch, steps)), effort.repeats)
    name = _name(place, steps, batch)
    music = batch * backbone.window_seconds
    report.add(PART, f"window, recorded, {name}", times.median, "s", f"{music:.2f} s of music, guidance {GUIDANCE:g}")
    report.add(PART, f"first window, recorded, {name}", times.first, "s", "with all that happens once")
    factor = times.median / music
    report.add(PART, f"real-time factor, recorded, {name}", factor, "s/s", "below 1 is faster than it plays")
    report.add(PART, f"peak, recorded, {name}", place.peak(), "GiB", TENSORS)
    whole = all(bool(one.audio.isfinite().all()) for one in made)
    report.check(PART, f"audio is finite, {name}", whole, f"{len(made)} draws")
    same = all(torch.equal(made[0].audio, one.audio) for one in made[1:])
    report.check(PART, f"one seed, the same bytes, {name}", same, f"{len(made)} draws")
    theirs = timed(place, lambda: plain.picture(backbone, batch, steps), effort.repeats).median
    report.add(PART, f"picture by a plain loop, {name}", theirs, "s", "diffusers, the same weights, no sound")
    if one_by_one:
        told = "diffusers window by window, with the same sound on the same device, over d2m at once"
        report.add(PART, f"gain over a plain loop, {name}", batch * one_by_one / times.median, "times", told)
    if place.is_gpu:
        over = times.median / (theirs + sound)
        told = f"{over:.2f} times, at most {SLOWER_THAN_PLAIN}"
        report.check(PART, f"as fast as a plain loop with sound, {name}", over <= SLOWER_THAN_PLAIN, told)
    return theirs


def _measure_plain_steps(report: Report, backbone: RiffusionBackbone, place: Place, effort: Effort) -> None:
    """Windows whose steps are launched kernel by kernel."""
    steps = effort.denoising[0]
    recordings = [draw(backbone, batch, steps).latents for batch in effort.batches]
    backbone._recordings.clear()
    backbone.recorded = False
    for batch, wanted in zip(effort.batches, recordings, strict=True):
        place.forget()
        name = _name(place, steps, batch)
        made: list[Draw] = []
        plain = timed(place, lambda: made.append(draw(backbone, batch, steps)), effort.repeats).median  # noqa: B023
        assert wanted is not None
        assert made[0].latents is not None
        far = distance(wanted, made[0].latents)
        report.check(PART, f"recorded and plain agree, {name}", far < SAME_PICTURE, f"{far:.1e} < {SAME_PICTURE}")
        report.add(PART, f"window, plain, {name}", plain, "s", "d2m's own loop, with sound")
        report.add(PART, f"peak, plain, {name}", place.peak(), "GiB", TENSORS)
        if place.is_gpu and batch == 1:
            recorded = report.value(PART, f"window, recorded, {name}")
            report.check(PART, f"recording pays, {name}", recorded < plain, f"{recorded:.2f} s against {plain:.2f} s")


def _name(place: Place, steps: int, batch: int) -> str:
    return f"{place.formats[0]}, {steps} steps, batch {batch}"


def measure_ten(report: Report, folder: Path, place: Place, effort: Effort) -> None:
    """Ten windows with their sound, as d2m draws those of ten videos, and by diffusers' loop one after the other.

    The loop's pictures are sounded on the CPU, as libraries do it, and again where its networks are.
    """
    from d2m_cli.generation.desk import Desk

    place.forget()
    backbone = opened(folder, place, place.formats[0])
    plain, desk, seeds = Plain(folder, backbone), Desk.of(backbone), list(range(TEN))
    places = dict.fromkeys(("cpu", place.device))
    sound = {device: TEN * sound_seconds(backbone, device, 1, effort) for device in places}
    with torch.inference_mode():
        texts = backbone.embed([PROMPT], {}), backbone.embed([""], {})
    for steps in effort.denoising:
        sampling = backbone.default_sampling.filling(Sampling(steps=steps, guidance=GUIDANCE))
        ours = timed(place, lambda: desk.draw(*texts, seeds, None, sampling), effort.repeats).median  # noqa: B023
        plain.picture(backbone, 1, steps)
        pictures = timed(place, lambda: [plain.picture(backbone, 1, steps) for _ in seeds], 1).median  # noqa: B023
        name = f"{place.formats[0]}, {steps} steps"
        report.add(PART, f"{TEN} windows, {name}", ours, "s", "with sound, in batches as d2m makes them")
        for device in places:
            gain = (pictures + sound[device]) / ours
            told = "a plain loop of diffusers over d2m"
            report.add(PART, f"gain at {TEN} windows, {name}, loop's sound on {device}", gain, "times", told)
            if place.is_gpu and device == "cpu":
                held = f"{gain:.2f} times, at least {GOAL:g}; its sound on the CPU"
                report.check(PART, f"{TEN} windows over a plain loop, {name}", gain >= GOAL, held)


class Plain:
    """Stable Diffusion as diffusers' documentation writes it by hand, all of it in one number format.

    Parameters
    ----------
    folder
        Of the model.
    backbone
        The same model as d2m holds it, for number format and device.
    """

    def __init__(self, folder: Path, backbone: RiffusionBackbone) -> None:
        from diffusers import AutoencoderKL, UNet2DConditionModel

        dtype = backbone.unet.dtype
        networks: list[Any] = [UNet2DConditionModel, AutoencoderKL]
        self.unet, self.vae = (
            network.from_pretrained(folder / part, torch_dtype=dtype).to(backbone.device).eval()
            for network, part in zip(networks, ("unet", "vae"), strict=True)
        )

    @torch.inference_mode()
    def picture(self, backbone: RiffusionBackbone, batch: int, steps: int) -> Tensor:
        """Text, denoising and decoding; text transformer and numbers of the scheduler are the backbone's."""
        from diffusers import DPMSolverMultistepScheduler

        text = backbone.tokenizer([""] * batch + [PROMPT] * batch, padding="max_length", return_tensors="pt")
        states = backbone.text_encoder(text.input_ids.to(backbone.device)).last_hidden_state
        solver: Any = DPMSolverMultistepScheduler
        scheduler = solver.from_config(backbone._scheduler_config, algorithm_type="dpmsolver++")
        scheduler.set_timesteps(steps, device=backbone.device)
        latents = torch.randn(batch, *backbone.latent_shape, device=backbone.device, dtype=self.unet.dtype)
        for step in scheduler.timesteps:
            without, given = self.unet(torch.cat([latents] * 2), step, encoder_hidden_states=states).sample.chunk(2)
            latents = scheduler.step(without + GUIDANCE * (given - without), step, latents).prev_sample
        picture: Tensor = self.vae.decode(latents / self.vae.config.scaling_factor).sample
        return picture


@torch.inference_mode()
def measure_layouts(report: Report, backbone: RiffusionBackbone, plain: Plain, place: Place, effort: Effort) -> None:
    """One prediction and one decoded picture, channels last as d2m holds the weights on a GPU, and channels first."""
    generator = torch.Generator().manual_seed(0)
    step = torch.tensor(500, device=backbone.device)
    for batch in effort.batches:
        noisy = torch.randn(2 * batch, *backbone.latent_shape, generator=generator).to(backbone.device)
        states = backbone.embed([PROMPT] * 2 * batch, {}).states.to(backbone.unet.dtype)
        for name, networks in (("as d2m holds it", backbone), ("channels first", plain)):
            predict = partial(networks.unet, noisy.to(networks.unet.dtype), step, states)
            decode = partial(networks.vae.decode, noisy[:batch].to(networks.vae.dtype))
            kind = str(networks.vae.dtype).removeprefix("torch.")
            for what, work, note in (("guided step", predict, "UNet alone"), ("decoding", decode, f"in {kind}")):
                seconds = timed(place, work, effort.repeats).median
                report.add(PART, f"{what}, {name}, batch {batch}", seconds, "s", note)


@torch.inference_mode()
def measure_recorded_steps(report: Report, backbone: RiffusionBackbone, place: Place, effort: Effort) -> None:
    """One guided prediction as a window replays it, and the same with all that cuDNN would choose."""
    step = torch.tensor(500, device=backbone.device)
    for batch in effort.batches:
        noisy = torch.randn(batch, *backbone.latent_shape, generator=torch.Generator().manual_seed(0))
        noisy = noisy.to(backbone.device)
        states = backbone.embed([PROMPT] * 2 * batch, {}).states.to(backbone.unet.dtype)
        for name, limits in (
            ("recorded", repeatable(backbone.device)),
            ("recorded, not kept repeatable", nullcontext()),
        ):
            with limits:
                recording = GuidedStep(backbone._predict, noisy, states)
                recording.begin(states, GUIDANCE)
                times = timed(place, partial(recording.predicted, noisy, step), effort.repeats)
            report.add(PART, f"guided step, {name}, batch {batch}", times.median, "s", "UNet and guidance")
            report.add(PART, f"first guided step, {name}, batch {batch}", times.first, "s", "with its recording")


def measure_waiting(report: Report, folder: Path, place: Place, effort: Effort) -> None:
    """How often a window waits for a GPU, by the number of its steps."""
    if not place.is_gpu:
        return
    backbone = opened(folder, place, place.formats[0])
    context = draw(backbone, 1, 4).end(20 * backbone.quantum_seconds)
    for name, before in (("without a context", None), ("with a context", context)):
        few, many = (_waits(backbone, steps, before) for steps in (4, 8))
        # It waits for the finished sound, at the least.
        told = f"{few} times in 4 steps, {many} in 8"
        report.check(PART, f"no step waits for the device, {name}", 0 < few == many, told)


def _waits(backbone: RiffusionBackbone, steps: int, context: Draw | None) -> int:
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            draw(backbone, 1, steps, context)
        finally:
            torch.cuda.set_sync_debug_mode(before)
    return sum("called a synchronizing CUDA operation" in str(one.message) for one in told)


def sound_seconds(backbone: RiffusionBackbone, device: str, batch: int, effort: Effort) -> float:
    """Seconds for the sound of some pictures at once."""
    config = backbone.spectrogram
    noise = torch.randn(batch, config.columns * config.hop_length, generator=torch.Generator().manual_seed(0)) * 0.1
    picture = picture_from_audio(noise, config)[..., : config.columns].to(device)
    seeds = range(batch)
    return timed(Place(device), lambda: audio_from_picture(picture, config, seeds=seeds), effort.repeats).median


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
    for precision in precisions or (("bf16",) if place.is_gpu else ("fp32",)):
        measure_training(report, PART, opened(folder, place, "auto"), place, effort, precision)
