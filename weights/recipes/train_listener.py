"""Train the listener of d2m's evaluation on rendered music: genre, mood, instruments, and how worn the sound is.

``python train_listener.py MUSIC HELD DATA OUT`` writes ``OUT/listener.safetensors`` and
``OUT/listener.json``. MUSIC and HELD are pictures of ``make_music.py``, DATA the latents of ``train_vae.py --encode``:
half of the windows are decoded by the shipped autoencoder, so that the blur of generated music is no novelty. ``--check``
reports a trained listener on HELD.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from arrange import COMPS, LEADS, MOODS
from diffusers import AutoencoderKL
from make_music import CONFIG
from safetensors.torch import save_file
from shared import learning_rate
from torch import Tensor, nn
from train_vae import crop, load_music

from d2m_cli.backbones.spectrogram import SpectrogramConfig, unfold
from d2m_cli.evaluation.sound.listener import GENRES, Listener, ListenerConfig, ListenerNetwork
from d2m_cli.ground.genres import genre_code
from d2m_cli.ground.weights_path import weights_dir

EMBEDDED = weights_dir() / "embedded"
PICTURE = SpectrogramConfig(
    sample_rate=CONFIG.sample_rate, hop_length=CONFIG.hop_length, win_length=CONFIG.win_length, n_fft=CONFIG.n_fft,
    n_mels=CONFIG.n_mels, max_frequency=CONFIG.max_frequency, power=CONFIG.power, sample_scale=CONFIG.sample_scale,
)  # fmt: skip
LISTENER = ListenerConfig("listener", PICTURE, tuple(MOODS), ("", *LEADS), ("", *COMPS), same_music=("embedded",))
VALIDATION = 250
"""Last pieces of MUSIC, kept from training: the temperature of the genre head is fitted on them."""
WEIGHT = {"genre": 1.0, "mood": 0.4, "lead": 0.4, "comp": 0.4, "wear": 0.5}


def labels(records: list[dict]) -> dict[str, Tensor]:
    def column(values: list[int]) -> Tensor:
        return torch.tensor(values)

    return {
        "genre": column([GENRES.index(genre_code(record["genre"])) for record in records]),
        "mood": column([LISTENER.moods.index(record["mood"]) for record in records]),
        "lead": column([LISTENER.leads.index(record["lead"] or "") for record in records]),
        "comp": column([LISTENER.comps.index(record["comp"] or "") for record in records]),
    }


def decode(vae: AutoencoderKL, latents: np.ndarray, rng: np.random.Generator, noise: float) -> Tensor:
    """Windows as generated music has them, (batch, rows, columns) amplitude, lowest band first."""
    z = torch.from_numpy(latents.astype(np.float32))
    z = z + noise * torch.from_numpy(rng.standard_normal(z.shape, dtype=np.float32)) * rng.random()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        picture = unfold(vae.decode(z / vae.config.scaling_factor).sample.float(), CONFIG)
    return (1 - picture).flip(-2)


def blurred_windows(data: Path, cache: Path, count: int) -> tuple[np.ndarray, list[dict]]:
    """Decode windows of DATA once, as bytes."""
    facts = [json.loads(line) for line in (data / "latents.jsonl").read_text().splitlines()]
    crops = 8
    latents = np.load(data / "latents.npy", mmap_mode="r")
    # Windows of validation pieces are left out here, too.
    pieces = len(facts) // crops - VALIDATION
    rng = np.random.default_rng(5)
    chosen = np.sort(rng.permutation(pieces * crops)[:count])
    if not cache.is_file():
        vae = AutoencoderKL.from_pretrained(EMBEDDED / "vae").eval()
        out = np.zeros((count, CONFIG.n_mels, CONFIG.columns), np.uint8)
        for start in range(0, count, 32):
            block = decode(vae, latents[chosen[start : start + 32]], rng, 0.2)
            out[start : start + 32] = (block * 255).round().to(torch.uint8).numpy()
        np.save(cache, out)
    return np.load(cache, mmap_mode="r"), [facts[index] for index in chosen]


def wear(v: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Change colour, add noise, take the highs away: (batch, rows, columns) amplitude ** power, and what was done."""
    batch, rows, columns = v.shape
    done = torch.zeros(batch, 2)
    knots = torch.from_numpy(rng.normal(0, 3, (batch, 1, 6)).astype(np.float32))
    curve = nn.functional.interpolate(knots, rows, mode="linear", align_corners=True)[:, 0, :, None]
    v = v * 10 ** (curve / 20 * CONFIG.power)
    noisy = torch.from_numpy(rng.random(batch) < 0.3)
    if noisy.any():
        level = torch.from_numpy(rng.uniform(-50, -8, int(noisy.sum())).astype(np.float32))
        # Squares and roots are far faster than powers of 4 and 1/8; CONFIG.power is 1/4.
        amplitude = v[noisy].square().square()
        spread = (torch.arange(rows) / rows * 3).exp()[None, :, None]
        grain = 0.75 + 0.5 * torch.rand(len(level), rows, columns)
        noise = 10 ** (level / 20)[:, None, None] * spread / spread.mean() * grain
        noise = noise * amplitude.square().mean((1, 2), keepdim=True).sqrt()
        v[noisy] = (amplitude.square() + noise.square()).sqrt().sqrt().sqrt()
        done[noisy, 0] = (level + 50) / 42
    dull = torch.from_numpy(rng.random(batch) < 0.25)
    if dull.any():
        share = torch.from_numpy(rng.uniform(0.5, 0.95, int(dull.sum())).astype(np.float32))
        slope = torch.sigmoid((share[:, None, None] - torch.arange(rows)[None, :, None] / rows) * 100)
        v[dull] = v[dull] * slope
        done[dull, 1] = 1 - share
    return v, done


def losses(network: ListenerNetwork, v: Tensor, truth: dict[str, Tensor], worn: Tensor, drop: nn.Module) -> Tensor:
    steps = network(v)
    count = LISTENER.frame_steps
    frames = steps[:, : steps.shape[1] // count * count].unflatten(1, (-1, count)).mean(2)
    total = torch.zeros(())
    for share, heard in ((1.0, steps.mean(1, keepdim=True)), (0.3, frames)):
        heard = drop(heard)
        each = heard.shape[1]
        for name, answers in truth.items():
            logits = network.heads[name](heard).flatten(0, 1)
            total = total + share * WEIGHT[name] * nn.functional.cross_entropy(logits, answers.repeat_interleave(each))
        found, wanted = network.heads["wear"](heard).flatten(0, 1), worn.repeat_interleave(each, 0)
        total = total + share * WEIGHT["wear"] * (
            nn.functional.binary_cross_entropy_with_logits(found[:, 0], wanted[:, 0])
            + 4 * nn.functional.mse_loss(found[:, 1:], wanted[:, 1:])
        )
    return total


def clean_windows(parts: list[np.ndarray], records: list[dict], rng: np.random.Generator, columns: int) -> Tensor:
    windows = np.stack([crop(parts, record, int(rng.integers(0, 2200 - columns)), columns) for record in records])
    return (1 - torch.from_numpy(windows) / 255).flip(-2)


def train(arguments: argparse.Namespace) -> ListenerNetwork:
    parts, records = load_music(arguments.music)
    validation, records = records[-VALIDATION:], records[:-VALIDATION]
    blurred, blurred_facts = blurred_windows(arguments.data, arguments.out / "blurred.npy", arguments.blurred)
    print(f"{len(records)} pieces, {len(blurred)} decoded windows", flush=True)
    rng = np.random.default_rng(1 if arguments.resume else 0)
    torch.manual_seed(0)
    network = Listener.load(arguments.resume).network if arguments.resume else ListenerNetwork(LISTENER)
    network = network.to(memory_format=torch.channels_last).train().requires_grad_(True)
    print(f"{sum(parameter.numel() for parameter in network.parameters())} parameters", flush=True)
    drop = nn.Dropout(0.2)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.02)
    start, shown, half = time.process_time(), 0.0, arguments.batch // 2
    for step in range(arguments.steps):
        rate = learning_rate(arguments.rate, step, step / arguments.steps, warm=100, floor=0.01)
        for group in optimizer.param_groups:
            group["lr"] = rate
        columns = int(rng.choice((256, 384, 508, 512)))
        pieces = [records[i] for i in rng.integers(0, len(records), half)]
        numbers = rng.integers(0, len(blurred), half)
        starts = rng.integers(0, CONFIG.columns - columns + 1, half)
        windows = [blurred[i][:, s : s + columns] for i, s in zip(numbers, starts, strict=True)]
        decoded = torch.from_numpy(np.stack(windows).astype(np.float32) / 255)
        v = torch.cat([clean_windows(parts, pieces, rng, columns), decoded])
        v, worn = wear(v, rng)
        worn = torch.cat([torch.repeat_interleave(torch.tensor([0.0, 1.0]), half)[:, None], worn], 1)
        loss = losses(network, v, labels(pieces + [blurred_facts[i] for i in numbers]), worn, drop)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimizer.step()
        shown = loss.item() if step == 0 else 0.98 * shown + 0.02 * loss.item()
        if (step + 1) % 50 == 0:
            print(f"{(time.process_time() - start) / 60:.1f} min step {step + 1} loss {shown:.3f}", flush=True)
        if (step + 1) % 500 == 0:
            save(network, arguments.out)
    network.eval()
    v = clean_windows(parts, validation, np.random.default_rng(9), 508)
    standardise(network, v)
    fit_temperature(network, v, labels(validation)["genre"])
    return network


@torch.no_grad()
def standardise(network: ListenerNetwork, v: Tensor) -> None:
    """Move and scale the embeddings so that they have mean 0 and a mean variance of 1; the heads undo it."""
    steps = network(v)
    count = LISTENER.frame_steps
    frames = steps[:, : steps.shape[1] // count * count].unflatten(1, (-1, count)).mean(2).flatten(0, 1)
    centre, spread = frames.mean(0), frames.var(0).mean().sqrt()
    print(f"validation: variance of the embeddings {spread.square():.3f}", flush=True)
    last = network.embedding
    last.bias.sub_(centre).div_(spread)
    last.weight.div_(spread)
    for head in network.heads.values():
        head.bias.add_(head.weight @ centre)
        head.weight.mul_(spread)


@torch.no_grad()
def fit_temperature(network: ListenerNetwork, v: Tensor, genre: Tensor) -> None:
    """Scale the genre head so that its probabilities are those that explain the validation pieces best."""
    logits = network.heads["genre"](network(v).mean(1))
    scales = torch.linspace(0.3, 2.0, 171)
    found = scales[int(torch.stack([nn.functional.cross_entropy(logits * scale, genre) for scale in scales]).argmin())]
    right = (logits.argmax(1) == genre).float().mean()
    print(f"validation: genre {right:.3f}, scale of its logits {found:.2f}", flush=True)
    network.heads["genre"].weight.mul_(found)
    network.heads["genre"].bias.mul_(found)


def save(network: ListenerNetwork, out: Path) -> None:
    state = {key: value.half().contiguous() for key, value in network.state_dict().items() if value.is_floating_point()}
    save_file(state, out / "listener.safetensors")
    LISTENER.save(out / "listener.json")


@torch.no_grad()
def check(listener: Listener, arguments: argparse.Namespace) -> None:
    """Share of held-out windows that each head names right: clean, and through the autoencoder."""
    parts, records = load_music(arguments.held)
    facts = [json.loads(line) for line in (arguments.data / "held.jsonl").read_text().splitlines()]
    vae = AutoencoderKL.from_pretrained(EMBEDDED / "vae").eval()
    rng = np.random.default_rng(3)
    latents = np.load(arguments.data / "held.npy")
    sets = {
        "clean, 5.08 s": (clean_windows(parts, records, rng, 508), records),
        "clean, 2.56 s": (clean_windows(parts, records, rng, 256), records),
        "through the autoencoder, 5.12 s": (
            torch.cat([decode(vae, latents[i : i + 50], rng, 0.0) for i in range(0, len(facts), 50)]),
            facts,
        ),
    }
    for name, (v, told) in sets.items():
        heard = torch.cat([listener.network(block).mean(1) for block in v.split(50)])
        heads = listener.network.heads
        truth = labels(told)
        right = {key: (heads[key](heard).argmax(1) == truth[key]).float().mean().item() for key in truth}
        loss = nn.functional.cross_entropy(heads["genre"](heard), truth["genre"]).item()
        text = ", ".join(f"{key} {value:.3f}" for key, value in right.items())
        print(f"held out, {name}, {len(told)} windows: {text}; -ln p(genre) {loss:.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("music", "held", "data", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--rate", type=float, default=3e-3, help="highest learning rate")
    parser.add_argument("--resume", type=Path, help="go on from the listener in this folder")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--blurred", type=int, default=6000, help="windows to decode once")
    parser.add_argument("--check", action="store_true", help="only report the listener in OUT")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    if not arguments.check:
        save(train(arguments), arguments.out)
    check(Listener.load(arguments.out), arguments)


if __name__ == "__main__":
    main()
