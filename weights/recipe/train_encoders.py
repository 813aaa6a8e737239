"""Train the shipped encoders of the embedded backbone: "*" from rhythm, "@" from the genre label.

First "*" learns against the text probe of ``train_text.py`` (what would a UNet read from it?), which is quick; then
both learn by Eq. 2 through the frozen backbone with the fixed prompt "a @ music with * as the rhythm". Rhythms are
drawn from the known beats of each window the way a dancer would mark them.

``python train_encoders.py BACKBONE PROBE DATA OUT --probe-minutes 6 --minutes 12``
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from captions import Facts
from diffusers.models.attention_processor import AttnProcessor
from train_text import Probe, curves, draw_facts
from train_unet import load_windows

from d2m_cli.backbones.riffusion import Identity, RiffusionBackbone
from d2m_cli.inversion.checkpoint import EncoderConfig, Encoders
from d2m_cli.inversion.genres import genre_code
from d2m_cli.inversion.prompt import TRAINING_PROMPT
from d2m_cli.rhythm.sequence import RhythmGrid

GRID = RhythmGrid()


def danced(facts: Facts, rng: np.random.Generator) -> np.ndarray:
    """(256,) binary rhythm of a dance to one window: the beats as a dancer marks them.

    Some beats are left out, some accents fall between, holds last for beats, and every mark comes a little early or late.
    """
    period = 60 / facts.bpm
    beats = np.arange(facts.first_beat - 2 * period, 5.12 + period, period)
    draw = rng.random()
    if draw < 0.2 and facts.bpm > 80:
        accents = beats[int(rng.integers(2)) :: 2]
    elif draw < 0.35:
        accents = np.sort(np.concatenate([beats, beats + period / 2]))
        off = np.arange(len(accents)) % 2 == 1
        accents = accents[~off | (rng.random(len(accents)) < rng.uniform(0.2, 0.8))]
    else:
        accents = beats
    kept = accents[rng.random(len(accents)) < rng.uniform(0.55, 1.0)]
    if rng.random() < 0.3:
        start = rng.uniform(0, 4.5)
        kept = kept[(kept < start) | (kept > start + rng.uniform(0.5, 2.0))]
    extra = rng.choice(beats, int(rng.poisson(0.6))) + period * rng.choice([0.25, 0.5, 0.75])
    stray = rng.uniform(0, 5.12, int(rng.poisson(0.5)))
    times = np.concatenate([kept, extra, stray]) + rng.normal(0, 0.015)
    times = times + rng.normal(0, rng.choice([0.008, 0.02, 0.035]), len(times))
    sequence = np.zeros(GRID.steps, np.float32)
    index = np.round(times * GRID.rate).astype(int)
    sequence[index[(index >= 0) & (index < GRID.steps)]] = 1
    return sequence


def rhythms(facts: list[Facts], rng: np.random.Generator) -> torch.Tensor:
    return torch.from_numpy(np.stack([danced(item, rng) for item in facts]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backbone", type=Path)
    parser.add_argument("probe", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--probe-minutes", type=float, default=6)
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--bf16", action="store_true", help="faster on processors with AMX")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    rng = np.random.default_rng(1)
    backbone = RiffusionBackbone(arguments.backbone, Identity("embedded", "MIT", True))
    backbone.unet.set_attn_processor(AttnProcessor())
    encoders = Encoders(EncoderConfig("embedded", backbone.fingerprint, backbone.text_width, GRID))
    if arguments.resume:
        old = Encoders.load(arguments.resume)
        encoders.rhythm_network.load_state_dict(old.rhythm_network.state_dict())
        encoders.genre_network.load_state_dict(old.genre_network.state_dict())
    probe = Probe()
    probe.load_state_dict(torch.load(arguments.probe, weights_only=True))
    probe.requires_grad_(False)
    parameters = [*encoders.rhythm_network.parameters(), *encoders.genre_network.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01)
    codes = {
        name: genre_code(name)
        for name in (
            "break",
            "house",
            "ballet jazz",
            "street jazz",
            "krump",
            "la style hip-hop",
            "lock",
            "middle hip-hop",
            "pop",
            "waack",
        )
    }
    genres = list(codes)
    start, step, shown = time.time(), 0, 0.0
    while (elapsed := (time.time() - start) / 60) < arguments.probe_minutes:
        for group in optimizer.param_groups:
            group["lr"] = (
                1.5e-3
                * min(1, (step + 1) / 100)
                * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * elapsed / arguments.probe_minutes)))
            )
        facts = [draw_facts(rng) for _ in range(96)]
        words = {"*": encoders.rhythm(rhythms(facts, rng)), "@": encoders.genre([codes[f.genre] for f in facts])}
        if rng.random() < 0.3:
            del words["@"]
        prompt = TRAINING_PROMPT if "@" in words else TRAINING_PROMPT.replace("@ ", "")
        states = backbone.embed([prompt] * len(facts), words).states
        drawn, tags = probe(states[:, :14])
        wanted = torch.from_numpy(np.stack([curves(item) for item in facts]))[..., 0]
        loss = ((drawn[..., 0] - wanted) ** 2).mean() * 10
        if "@" in words:
            loss = loss + 0.05 * torch.nn.functional.cross_entropy(
                tags[0], torch.tensor([genres.index(f.genre) for f in facts])
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        value = ((drawn[..., 0] - wanted) ** 2).mean().item()
        shown = value if step == 0 else 0.97 * shown + 0.03 * value
        step += 1
        if step % 50 == 0:
            print(f"probe {elapsed:.1f} min step {step} beat {shown:.4f}", flush=True)
    encoders.save(arguments.out)

    latents, known = load_windows(arguments.data, "latents")
    held, held_known = load_windows(arguments.data, "held")
    start, step, shown = time.time(), 0, 0.0
    optimizer = torch.optim.AdamW(parameters, lr=5e-4, betas=(0.9, 0.98), weight_decay=0.01)

    def validate() -> str:
        chosen = np.arange(0, min(256, len(held)))
        out = {}
        for name in ("true", "shuffled"):
            drawn, total = np.random.default_rng(3), []
            pulses = rhythms([held_known[i] for i in chosen], drawn)
            if name == "shuffled":
                pulses = pulses.roll(7, 0)
            for first in range(0, len(chosen), 32):
                part = chosen[first : first + 32]
                with torch.no_grad():
                    words = {
                        "*": encoders.rhythm(pulses[first : first + 32]),
                        "@": encoders.genre([codes[held_known[i].genre] for i in part]),
                    }
                    condition = backbone.embed([TRAINING_PROMPT] * len(part), words)
                    x = torch.from_numpy(np.stack([held[i] for i in part])).float()
                    total.append(backbone.loss(x, condition, torch.Generator().manual_seed(first)))
            out[name] = torch.cat(total).mean().item()
        return " ".join(f"{name} {value:.4f}" for name, value in out.items())

    print("held out before Eq. 2:", validate(), flush=True)
    while (elapsed := (time.time() - start) / 60) < arguments.minutes:
        for group in optimizer.param_groups:
            group["lr"] = (
                4e-4
                * min(1, (step + 1) / 100)
                * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * elapsed / arguments.minutes)))
            )
        chosen = rng.integers(0, len(latents), 32)
        facts = [known[i] for i in chosen]
        x = torch.from_numpy(np.stack([latents[i] for i in chosen])).float()
        words = {"*": encoders.rhythm(rhythms(facts, rng)), "@": encoders.genre([codes[f.genre] for f in facts])}
        if rng.random() < 0.3:
            # Without the genre sometimes, so that "*" does not lean on it.
            del words["@"]
        prompt = TRAINING_PROMPT if "@" in words else TRAINING_PROMPT.replace("@ ", "")
        with torch.autocast("cpu", torch.bfloat16, enabled=arguments.bf16):
            loss = backbone.loss(x, backbone.embed([prompt] * len(facts), words)).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        shown = loss.item() if step == 0 else 0.98 * shown + 0.02 * loss.item()
        step += 1
        if step % 50 == 0:
            print(f"{elapsed:.1f} min step {step} loss {shown:.4f}", flush=True)
        if step % 400 == 0:
            encoders.save(arguments.out)
    print("held out after:", validate(), flush=True)
    encoders.save(arguments.out)


if __name__ == "__main__":
    main()
