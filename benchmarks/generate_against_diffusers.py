"""One window of the embedded model, drawn by d2m and by a loop as one writes it with diffusers, take by take.

::

    python benchmarks/generate_against_diffusers.py --takes 1 3

Both read the same weights, text states and noise, guide by the same strength and sound their pictures by the same
function, so that what differs is the loop: d2m draws all takes of a window in one batch. Reading the text and loading
are left out of both. On a GPU ``python -m tests.gpu.measure OUT --only riffusion,musicgen`` does the same at full size,
MusicGen beside transformers' own ``generate``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler
from side_by_side import compare, machine
from torch import Tensor

from d2m_cli.backbones.base import Condition
from d2m_cli.backbones.registry import choose, open_backbone
from d2m_cli.backbones.sampling import FullSampling
from d2m_cli.backbones.spectrogram import audio_from_picture, unfold

PROMPT = "a lock music at 112 bpm, funky guitar"


@torch.inference_mode()
def plain(
    backbone: Any, condition: Condition, negative: Condition, seeds: Sequence[int], sampling: FullSampling
) -> list[Tensor]:
    """(channels, samples) of each seed: a scheduler, a UNet that is asked twice at once, a decoder."""
    solver: Any = DPMSolverMultistepScheduler
    states = torch.cat([negative.states, condition.states])
    takes = []
    for seed in seeds:
        scheduler = solver.from_config(backbone._scheduler_config, algorithm_type="dpmsolver++")
        scheduler.set_timesteps(sampling.steps)
        latents = torch.randn(1, *backbone.latent_shape, generator=torch.Generator().manual_seed(seed))
        latents = latents * scheduler.init_noise_sigma
        for step in scheduler.timesteps:
            both = torch.cat([torch.cat([latents, latents]), backbone._places.expand(2, -1, -1, -1)], 1)
            without, given = backbone.unet(both, step, states).sample.chunk(2)
            latents = scheduler.step(without + sampling.guidance * (given - without), step, latents).prev_sample
        decoded = backbone.vae.decode(latents / backbone.vae.config.scaling_factor).sample
        takes.append(audio_from_picture(unfold(decoded, backbone.spectrogram), backbone.spectrogram, seeds=[seed]))
    return takes


@torch.inference_mode()
def ours(
    backbone: Any, condition: Condition, negative: Condition, seeds: Sequence[int], sampling: FullSampling
) -> list[Tensor]:
    """The same by the backbone."""
    made = backbone.generate(condition.repeated(len(seeds)), negative, list(seeds), None, sampling)
    return list(made.audio)


def main() -> None:
    """Time both on the CPU, and say how far apart they lie."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--takes", type=int, nargs="*", default=[1, 3])
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    print(machine(), f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    backbone: Any = open_backbone(choose("embedded"), "cpu", "fp32")
    sampling = backbone.default_sampling
    with torch.inference_mode():
        texts = (backbone.embed([PROMPT], {}), backbone.embed([""], {}))
    for takes in given.takes:
        work = [partial(way, backbone, *texts, list(range(takes)), sampling) for way in (ours, plain)]
        one, other = (torch.stack(call()).flatten() for call in work)
        far = float((one - other).norm() / other.norm())
        unit = f"for {takes} x {backbone.window_seconds:.2f} s"
        compare(f"{takes} takes at {sampling.steps} steps", *work, "a plain loop", given.repeats, unit)
        print(f"  they lie {far:.1e} of their norm apart")


if __name__ == "__main__":
    main()
