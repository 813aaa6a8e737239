"""Train the embedded autoencoder (AutoencoderKL layout) on spectrogram pictures, then encode the training windows.

``python train_vae.py MUSIC OUT --minutes 10`` writes ``OUT/vae``; with ``--encode N`` it then draws N windows of every
piece at random starts and writes ``OUT/latents.npy`` (float16) and ``OUT/latents.jsonl`` beside it.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from make_music import CONFIG
from shared import learning_rate
from torch import Tensor

from d2m_cli.backbones.spectrogram import fold, unpatched


def new_vae() -> AutoencoderKL:
    return AutoencoderKL(
        in_channels=CONFIG.channels, out_channels=CONFIG.channels, down_block_types=("DownEncoderBlock2D",),
        up_block_types=("UpDecoderBlock2D",), block_out_channels=(128,), layers_per_block=1, latent_channels=32,
        norm_num_groups=16, mid_block_add_attention=False, sample_size=64,
    )  # fmt: skip


def load_music(folder: Path) -> tuple[list[np.ndarray], list[dict]]:
    """All pictures (memory-mapped, one array a part) and one record a piece with its part and row."""
    parts, records = [], []
    for path in sorted(folder.glob("part-*.npy")):
        lines = path.with_suffix(".jsonl")
        if not lines.is_file():
            continue
        parts.append(np.load(path, mmap_mode="r"))
        for row, line in enumerate(lines.read_text().splitlines()):
            records.append(json.loads(line) | {"part": len(parts) - 1, "row": row})
    return parts, records


def crop(parts: list[np.ndarray], record: dict, start: int, columns: int) -> np.ndarray:
    return np.asarray(parts[record["part"]][record["row"], :, start : start + columns])


def to_input(pictures: np.ndarray) -> Tensor:
    return fold(torch.from_numpy(pictures).float() / 255, CONFIG)


def first_beat(bpm: int, start: float) -> tuple[float, int]:
    """Time of the first beat after ``start`` seconds into a piece whose first downbeat is at 0, and its place in the bar."""
    period = 60 / bpm
    number = int(np.ceil(start / period - 1e-6))
    return number * period - start, number % 4


def encode(vae: AutoencoderKL, music: Path, out: Path, crops: int, name: str, seed: int) -> None:
    parts, records = load_music(music)
    rng = np.random.default_rng(seed)
    latents = np.zeros((len(records) * crops, 32, 2, 64), np.float16)
    lines = []
    with torch.no_grad():
        for index, record in enumerate(records):
            starts = rng.integers(0, parts[0].shape[-1] - CONFIG.columns, crops)
            pictures = np.stack([crop(parts, record, int(start), CONFIG.columns) for start in starts])
            mean = vae.encode(to_input(pictures)).latent_dist.mean
            latents[index * crops : (index + 1) * crops] = (mean * vae.config.scaling_factor).numpy()
            for start in starts:
                beat, count = first_beat(record["bpm"], start / 100)
                facts = {key: record[key] for key in ("genre", "mood", "lead", "comp", "bpm")}
                lines.append(json.dumps(facts | {"first_beat": round(beat, 4), "count": count}))
    np.save(out / f"{name}.npy", latents)
    (out / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("music", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--resume", type=Path, help="go on from this vae folder")
    parser.add_argument(
        "--decoder-only", action="store_true", help="leave the encoder, and so all latents, as they are"
    )
    parser.add_argument("--bf16", action="store_true", help="faster on processors with AMX")
    parser.add_argument("--encode", type=int, default=0)
    parser.add_argument("--held", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    parts, records = load_music(arguments.music)
    vae = AutoencoderKL.from_pretrained(arguments.resume) if arguments.resume else new_vae()
    if arguments.decoder_only:
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
    trained = [parameter for parameter in vae.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, betas=(0.9, 0.99), weight_decay=1e-4)
    start, step, shown, batch, columns = time.time(), 0, 0.0, 24, 256
    while (elapsed := (time.time() - start) / 60) < arguments.minutes:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(1.5e-3, step, elapsed / arguments.minutes, warm=100)
        chosen = rng.integers(0, len(records), batch)
        x = to_input(np.stack([crop(parts, records[i], int(rng.integers(0, 2200 - columns)), columns) for i in chosen]))
        with torch.autocast("cpu", torch.bfloat16, enabled=arguments.bf16):
            with torch.set_grad_enabled(not arguments.decoder_only):
                posterior = vae.encode(x).latent_dist
            z = posterior.mean.float()
            # A decoder that has seen slightly wrong latents forgives those that a UNet draws.
            z = z + torch.randn_like(z) * (0.05 if arguments.decoder_only else posterior.std.float())
            y = vae.decode(z).sample.float()
        rebuilt = (x - y).abs().mean() + 2 * ((x - y) ** 2).mean()
        if arguments.decoder_only:
            before, after = unpatched(x, CONFIG), unpatched(y, CONFIG)
            rebuilt = rebuilt + (before.diff(dim=-1) - after.diff(dim=-1)).abs().mean()
            rebuilt = rebuilt + 0.5 * (before.diff(dim=-2) - after.diff(dim=-2)).abs().mean()
        loss = rebuilt + 1e-4 * posterior.kl().float().mean() / posterior.mean[0].numel()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        error = (x - y).abs().mean().item() / 2
        shown = error if step == 0 else 0.97 * shown + 0.03 * error
        step += 1
        if step % 100 == 0 and arguments.decoder_only:
            vae.save_pretrained(arguments.out / "vae")
        if step % 50 == 0:
            spread = posterior.mean.std().item()
            print(
                f"{elapsed:.1f} min step {step} picture error {shown:.4f} latent std {spread:.2f} posterior std {posterior.std.mean().item():.3f}",
                flush=True,
            )
    if arguments.decoder_only:
        vae.save_pretrained(arguments.out / "vae")
        return
    with torch.no_grad():
        chosen = rng.integers(0, len(records), 64)
        x = to_input(np.stack([crop(parts, records[i], int(rng.integers(0, 1600)), CONFIG.columns) for i in chosen]))
        spread = vae.encode(x).latent_dist.mean.std().item()
    vae.register_to_config(scaling_factor=round(1 / spread, 5))
    vae.save_pretrained(arguments.out / "vae")
    if arguments.encode:
        vae.eval()
        encode(vae, arguments.music, arguments.out, arguments.encode, "latents", 1)
        if arguments.held:
            encode(vae, arguments.held, arguments.out, 2, "held", 2)


if __name__ == "__main__":
    main()
