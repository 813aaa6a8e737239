"""Windows of music by d2m, and by what one would otherwise take: loops and pipelines that are called window by window.

::

    OMP_NUM_THREADS=1 python benchmarks/generate_against_diffusers.py             # the embedded model
    python benchmarks/generate_against_diffusers.py --models riffusion musicgen --windows 10 --device cuda --size full

All read the same weights, guide by the same strength, take as many steps and end with sound. d2m draws as
``d2m generate`` does: the takes of a window, or windows of as many videos, in batches. The peers draw one after the
other, and sound a picture as the library at hand does it on the CPU (see ``peers.py``); under CUDA on the GPU, too.

embedded
    A scheduler, UNet and decoder by hand, since diffusers' pipeline takes no channels for positions. Text is read and
    networks are loaded before. Sound once by d2m's function as well, so that only the loop differs.
riffusion, musicgen
    diffusers' `StableDiffusionPipeline` and transformers' `MusicgenForConditionalGeneration.generate` over a model in
    the layout of riffusion-model-v1 and musicgen-small, of full or tiny size, with random weights. Text is read in
    every call, on both sides.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler
from peers import LanguageModel, Pipeline, one_by_one, sounds
from side_by_side import by_turns, gpu, machine, ratios, told
from torch import Tensor

from d2m_cli.backbones.base import Condition, Identity
from d2m_cli.backbones.registry import FAMILIES, choose, open_backbone
from d2m_cli.backbones.sampling import FullSampling, Sampling
from d2m_cli.backbones.spectrogram import audio_from_picture, unfold
from d2m_cli.generation.desk import Desk
from d2m_cli.ground.progress import quiet_libraries

PROMPT = "a lock music at 112 bpm, funky guitar"
Ways = dict[str, Callable[[], Sequence[Tensor]]]


@torch.inference_mode()
def plain(
    backbone: Any, condition: Condition, negative: Condition, seed: int, sampling: FullSampling, sound: Any
) -> Tensor:
    """(channels, samples) of a seed: a scheduler, a UNet that is asked twice at once, a decoder."""
    solver: Any = DPMSolverMultistepScheduler
    states = torch.cat([negative.states, condition.states])
    scheduler = solver.from_config(backbone._scheduler_config, algorithm_type="dpmsolver++")
    scheduler.set_timesteps(sampling.steps)
    latents = torch.randn(1, *backbone.latent_shape, generator=torch.Generator().manual_seed(seed))
    latents = latents.to(backbone.device) * scheduler.init_noise_sigma
    for step in scheduler.timesteps:
        both = torch.cat([torch.cat([latents, latents]), backbone._places.expand(2, -1, -1, -1)], 1)
        without, given = backbone.unet(both.to(backbone.unet.dtype), step, states).sample.chunk(2)
        latents = scheduler.step(without + sampling.guidance * (given - without), step, latents).prev_sample
    decoded = backbone.vae.decode(latents.to(backbone.vae.dtype) / backbone.vae.config.scaling_factor).sample
    return sound(unfold(decoded, backbone.spectrogram), seed)


@torch.inference_mode()
def ours(backbone: Any, desk: Desk, texts: Any, seeds: Sequence[int], sampling: FullSampling) -> list[Tensor]:
    """The windows of all seeds, each sounded in full, as ``d2m generate`` may do with the one alone that it keeps."""
    condition, negative = texts if texts is not None else (backbone.embed([PROMPT], {}), backbone.embed([""], {}))
    return [one.music.audio for one in desk.draw(condition, negative, seeds, None, sampling)]


def identity(family: str) -> Identity:
    """Of a model with random weights, drawn from as one of its family is by default."""
    return Identity(f"{family}:random", "none", sampling=FAMILIES[family].sampling)


def embedded(given: argparse.Namespace) -> None:
    """Takes of one window."""
    backbone: Any = open_backbone(choose("embedded"), given.device, "fp32")
    sampling, config = backbone.default_sampling, backbone.spectrogram
    with torch.inference_mode():
        texts = (backbone.embed([PROMPT], {}), backbone.embed([""], {}))
    ways = {"d2m's sound": lambda picture, seed: audio_from_picture(picture, config, seeds=[seed])}
    for name, sound in sounds(config, given.device).items():
        ways[name] = lambda picture, _, sound=sound: sound(picture)
    for takes in given.takes:
        seeds = list(range(takes))
        works: Ways = {"d2m": partial(ours, backbone, Desk.of(backbone), texts, seeds, sampling)}
        for name, sound in ways.items():
            window = partial(plain, backbone, *texts, sampling=sampling, sound=sound)
            works[f"a plain loop, {name}"] = partial(one_by_one, window, seeds)
        unit = f"{takes} x {backbone.window_seconds:.2f} s at {sampling.steps} steps"
        one, other = (torch.cat([row.flatten().cpu() for row in work()]) for work in list(works.values())[:2])
        print(f"embedded, {unit}; with d2m's sound {float((one - other).norm() / other.norm()):.1e} of the norm apart")
        measure(works, given.repeats)


def riffusion(given: argparse.Namespace, folder: Path) -> None:
    """Windows of a model in riffusion-model-v1's layout."""
    from d2m_cli.backbones.riffusion import RiffusionBackbone
    from tests.gpu.full_size import save_full_riffusion

    save_full_riffusion(folder, given.size, given.device)
    backbone = RiffusionBackbone(
        folder, Identity("riffusion:random", "none", sampling=FAMILIES["riffusion"].sampling), given.device
    )
    pipeline = Pipeline(folder, given.device, backbone.unet.dtype)
    seeds, sampling = list(range(given.windows)), backbone.default_sampling.filling(Sampling(steps=given.steps))
    works: Ways = {"d2m": partial(ours, backbone, Desk.of(backbone), None, seeds, sampling)}
    for name, sound in sounds(backbone.spectrogram, given.device).items():

        def window(seed: int, sound: Any = sound) -> Tensor:
            return sound(pipeline.picture(PROMPT, seed, sampling.steps, sampling.guidance))

        works[f"diffusers' pipeline, {name}"] = partial(one_by_one, window, seeds)
    print(f"riffusion, {given.size} size, {given.windows} windows of {backbone.window_seconds:.2f} s, {sampling}")
    measure(works, given.repeats)


def musicgen(given: argparse.Namespace, folder: Path) -> None:
    """Windows of a model in musicgen-small's layout."""
    from d2m_cli.backbones.musicgen import MusicgenBackbone
    from tests.gpu.full_size import save_full_musicgen

    save_full_musicgen(folder, given.size, given.device)
    backbone = MusicgenBackbone(
        folder, Identity("musicgen:random", "none", sampling=FAMILIES["musicgen"].sampling), given.device
    )
    model = LanguageModel(folder, given.device)
    seeds, sampling = list(range(given.windows)), backbone.default_sampling
    seconds, guidance = backbone.window_seconds, sampling.guidance
    window = partial(model.sound, PROMPT, seconds=seconds, guidance=guidance)
    works: Ways = {
        "d2m": partial(ours, backbone, Desk.of(backbone), None, seeds, sampling),
        "transformers' generate": partial(one_by_one, window, seeds),
    }
    print(f"musicgen, {given.size} size, {given.windows} windows of {seconds:.2f} s, {sampling}")
    measure(works, given.repeats)


def measure(works: Ways, repeats: int) -> None:
    """Time all in turn, and print what each takes and its ratio to d2m."""
    took = by_turns(works, repeats)
    for name, one in took.items():
        print(f"  {told(name, one)}", flush=True)
    for name in list(works)[1:]:
        print(f"  {name} over d2m: {ratios(took[name], took['d2m'])}", flush=True)


PUBLISHED = {"riffusion": riffusion, "musicgen": musicgen}


def main() -> None:
    """Measure each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", choices=("embedded", *PUBLISHED), default=["embedded"])
    parser.add_argument("--takes", type=int, nargs="*", default=[1, 3], help="of a window, by the embedded model")
    parser.add_argument("--windows", type=int, default=10, help="by the others")
    parser.add_argument("--steps", type=int, help="of riffusion; as many as d2m takes without")
    parser.add_argument("--size", choices=("tiny", "full"), default="full")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    quiet_libraries()
    threads = f"torch {torch.__version__}, {torch.get_num_threads()} threads"
    print(machine(), threads, gpu(given.device), sep=", ", flush=True)
    for model in given.models:
        with tempfile.TemporaryDirectory() as name:
            embedded(given) if model == "embedded" else PUBLISHED[model](given, Path(name))


if __name__ == "__main__":
    main()
