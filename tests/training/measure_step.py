"""How long a step of `d2m train` takes: against its forward and backward pass alone, and against the obvious loop.

``python tests/training/measure_step.py [--batch 32] [--steps 20] [--precision bf16] [--threads 2]`` measures three
loops on the embedded backbone with the same windows, encoders, batch size and number format, in turns of a few steps so
that a change of the machine's speed meets all of them:

- the pass alone: text transformer and UNet forward and backward on tensors that lie ready, nothing else;
- `d2m train`: its own loop with all it does around that pass (order, augmentation, update, logs);
- the obvious loop: at every step the sound is read and turned into latents, the rhythm is computed from the poses, the
  prompt is tokenised, and an update is made. Once as diffusers sets its attention, once with the plain attention that
  `d2m train` chooses on a CPU.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0

from d2m_cli.backbones.registry import choose, open_backbone
from d2m_cli.ground.progress import Progress
from d2m_cli.inversion.checkpoint import EncoderConfig, Encoders
from d2m_cli.inversion.prompt import TRAINING_PROMPT
from d2m_cli.media.audio import load_audio, save_wav
from d2m_cli.pose.io import load_poses, save_poses
from d2m_cli.pose.track import Poses, PoseTrack
from d2m_cli.rhythm.extract import RhythmOptions, extract_rhythm
from d2m_cli.training.data.dataset import Clip, Segment
from d2m_cli.training.data.features import FeatureCache
from d2m_cli.training.loop.processes import make_accelerator
from d2m_cli.training.loop.task import Task
from d2m_cli.training.loop.trainer import _Run
from d2m_cli.training.options import PRESETS
from tests.training.small import GRID

SECONDS = 10.24


def make_clips(folder: Path, count: int) -> list[Clip]:
    """Noise bursts and a bobbing dancer: what they are does not change how long they take."""
    rng = np.random.default_rng(0)
    clips = []
    for number in range(count):
        samples = rng.standard_normal((1, round(SECONDS * 24000))).astype(np.float32) * 0.1
        save_wav(folder / f"{number}.wav", samples, 24000)
        times = np.arange(round(SECONDS * 30)) / 30
        keypoints = rng.uniform(100, 300, (1, 17, 3)).repeat(len(times), 0)
        keypoints[..., 1] += 20 * np.abs(np.sin(np.pi * rng.uniform(1.2, 2.3) * times))[:, None]
        keypoints[..., 2] = 1.0
        track = PoseTrack(keypoints.astype(np.float32), times, (400, 400), 0, "made up")
        save_poses(folder / f"{number}.pose.npz", Poses((track,), None, SECONDS))
        genre = ("LO", "HO", "BR")[number % 3]
        dance, sound = folder / f"{number}.pose.npz", folder / f"{number}.wav"
        clips.append(Clip(str(number), dance, None, sound, 0.0, str(number), genre, "train", SECONDS))
    return clips


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as name:
        measure(Path(name), arguments)


def measure(folder: Path, arguments: argparse.Namespace) -> None:
    """All loops, in turns."""
    backbone: Any = open_backbone(choose("embedded"), arguments.device)
    clips = make_clips(folder, 32)
    segments = [Segment(clip, start) for clip in clips for start in (0.0, 5.12)]
    cache = FeatureCache(folder / "cache", backbone, GRID, dancers=lambda: None)
    windows, _ = cache.windows(segments, Progress(quiet=True))
    assert windows is not None
    options = replace(
        PRESETS["recommended"], batch_size=arguments.batch, epochs=10_000, precision=arguments.precision, hop=None
    )
    config = EncoderConfig(backbone.name, backbone.fingerprint, backbone.text_width, GRID)
    accelerator = make_accelerator(options, arguments.device)
    task = Task(backbone, config, windows, None, options)
    run = _Run(task, folder / "out", accelerator, Progress(quiet=True), 1e9, None)
    run.open_logs()
    index = np.arange(arguments.batch) % len(windows)
    encoders = Encoders(config).to(accelerator.device).train()
    optimizer = torch.optim.AdamW(encoders.parameters(), lr=1e-4)

    def step_of_d2m() -> None:
        run._update()

    sequences, genres, targets = windows.batch(index, accelerator.device)
    pulses = sequences.float().to(accelerator.device)
    generator = torch.Generator().manual_seed(0)

    def pass_alone() -> None:
        with accelerator.autocast():
            words = encoders.pseudo_words(pulses, genres)
            loss = backbone.loss(targets, backbone.embed([TRAINING_PROMPT] * len(index), words), generator).mean()
        loss.backward()

    def obvious(attention: Callable[[], object]) -> Callable[[], None]:
        def step() -> None:
            backbone.unet.set_attn_processor(attention())
            rows, labels, sounds = [], [], []
            for number in index:
                segment = windows.segments[number]
                rhythm = extract_rhythm(load_poses(segment.clip.dance), RhythmOptions("stable"))
                rows.append(rhythm.window(segment.start, GRID))
                labels.append(segment.clip.genre)
                samples, rate = load_audio(segment.clip.audio, backbone.sample_rate)
                first = round(segment.start * rate)
                sounds.append(samples[:, first : first + round(5.12 * rate)])
            latents = backbone.targets(torch.from_numpy(np.stack(sounds)))
            backbone._tokenized.cache_clear()
            with accelerator.autocast():
                words = encoders.pseudo_words(torch.from_numpy(np.stack(rows)), labels)
                loss = backbone.loss(latents, backbone.embed([TRAINING_PROMPT] * len(index), words), generator).mean()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(encoders.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            backbone.unet.set_attn_processor(AttnProcessor())

        return step

    loops = {
        "forward and backward pass alone": pass_alone,
        "d2m train": step_of_d2m,
        "obvious loop, plain attention": obvious(AttnProcessor),
        "obvious loop, diffusers' attention": obvious(AttnProcessor2_0),
    }
    spent: dict[str, list[float]] = {name: [] for name in loops}
    for turn in range(arguments.steps + 2):
        for name, step in loops.items():
            begun = time.perf_counter()
            step()
            if accelerator.device.type == "cuda":
                torch.cuda.synchronize()
            if turn >= 2:  # the first two warm up
                spent[name].append(time.perf_counter() - begun)
    floor = float(np.median(spent["forward and backward pass alone"]))
    ours = float(np.median(spent["d2m train"]))
    print(f"{backbone.description}, batch {arguments.batch}, {arguments.precision}, {arguments.threads} threads")
    for name, times in spent.items():
        median = float(np.median(times))
        print(f"{name:36} {median:.3f} s   {median / floor:.2f} x the pass alone   {median / ours:.2f} x d2m train")


if __name__ == "__main__":
    main()
