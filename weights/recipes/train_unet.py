"""Train the embedded UNet (Stable Diffusion's UNet2DConditionModel) on encoded windows and their captions.

``python train_unet.py DATA TEXT OUT --minutes 70`` takes DATA/latents.npy from ``train_vae.py`` and TEXT/text_encoder
from ``train_text.py`` (frozen from here on). v-prediction on a cosine schedule; checkpoints every few minutes, and
goes on from the last one when started again.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from captions import Caption, Facts, caption
from diffusers import DDPMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from make_music import CONFIG
from shared import Ema, learning_rate, save_state
from train_text import WIDTH, Texts
from transformers import CLIPTextModel, CLIPTokenizer

from d2m_cli.backbones.spectrogram import position_channels

SCHEDULE = dict(
    num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", clip_sample=False,
    # Drawing begins with the noise that training ended with, also in few steps.
    timestep_spacing="trailing",
)  # fmt: skip


def new_unet() -> UNet2DConditionModel:
    places = 2 + 2 * len(CONFIG.position_frequencies)
    return UNet2DConditionModel(
        sample_size=(2, 64), in_channels=32 + places, out_channels=32, block_out_channels=(128, 160),
        down_block_types=("CrossAttnDownBlock2D",) * 2, up_block_types=("CrossAttnUpBlock2D",) * 2, layers_per_block=1,
        cross_attention_dim=WIDTH, attention_head_dim=8, norm_num_groups=16,
        # The caption also reaches every residual block as scale and shift, so that it can weigh the position channels:
        # a beat grid is a weighted sum of sinusoids of time.
        addition_embed_type="text", addition_embed_type_num_heads=8, resnet_time_scale_shift="scale_shift",
    )  # fmt: skip


def load_windows(data: Path, name: str) -> tuple[np.ndarray, list[Facts]]:
    latents = np.load(data / f"{name}.npy", mmap_mode="r")
    facts = [Facts(**json.loads(line)) for line in (data / f"{name}.jsonl").read_text().splitlines()]
    return latents, facts


def v_loss(unet, scheduler: DDPMScheduler, latents, states, timesteps, noise, places) -> torch.Tensor:
    """(batch,) squared error of the velocity, Eq. 2 in its v form."""
    noisy = scheduler.add_noise(latents, noise, timesteps)
    wanted = scheduler.get_velocity(latents, noise, timesteps)
    inputs = torch.cat([noisy, places.expand(len(noisy), -1, -1, -1)], 1)
    return ((unet(inputs, timesteps, states).sample.float() - wanted) ** 2).mean((1, 2, 3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=70)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=8e-4)
    parser.add_argument("--bf16", action="store_true", help="twice as fast on processors with AMX")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    tokenizer = CLIPTokenizer.from_pretrained(arguments.text / "tokenizer")
    text = CLIPTextModel.from_pretrained(arguments.text / "text_encoder").eval().requires_grad_(False)
    texts = Texts(tokenizer, text)
    scheduler = DDPMScheduler(**SCHEDULE)
    places = position_channels(2, 64, CONFIG.window_seconds, CONFIG)[None]
    latents, facts = load_windows(arguments.data, "latents")
    held, held_facts = load_windows(arguments.data, "held")
    fixed = torch.Generator().manual_seed(9)
    held_x = torch.from_numpy(np.asarray(held[:128])).float()
    held_t, held_noise = torch.randint(0, 1000, (128,), generator=fixed), torch.randn(held_x.shape, generator=fixed)
    held_rng = np.random.default_rng(5)
    full = [caption(item, held_rng) for item in held_facts[:128]]
    with torch.no_grad():
        held_states, blank = texts(full), texts([Caption("", frozenset())]).expand(128, -1, -1)

    unet = new_unet()
    # Plain attention: for these short sequences the fused kernel's backward pass on a CPU takes longer than all the rest.
    unet.set_attn_processor(AttnProcessor())
    optimizer = torch.optim.AdamW(unet.parameters(), lr=arguments.rate, betas=(0.9, 0.98), weight_decay=0.01)
    ema, step, spent = Ema(unet, decay=0.9985), 0, 0.0
    state = arguments.out / "state.pt"
    if state.is_file():
        saved = torch.load(state, weights_only=True)
        unet.load_state_dict(saved["unet"]), optimizer.load_state_dict(saved["optimizer"])
        ema.shadow, step, spent = saved["ema"], saved["step"], saved["spent"]
        rng = np.random.default_rng(step)
    start, saved_at, shown = time.time(), time.time(), None

    def save() -> None:
        payload = {
            "unet": unet.state_dict(),
            "ema": ema.shadow,
            "optimizer": optimizer.state_dict(),
            "step": step,
            "spent": elapsed,
        }
        save_state(state, payload)
        shadow = new_unet()
        shadow.load_state_dict(ema.shadow)
        shadow.eval()

        def held_out(states: torch.Tensor) -> float:
            parts = [slice(first, first + 32) for first in range(0, 128, 32)]
            with torch.no_grad():
                losses = [
                    v_loss(shadow, scheduler, held_x[p], states[p], held_t[p], held_noise[p], places) for p in parts
                ]
            return torch.cat(losses).mean().item()

        print(f"  held out: {held_out(held_states):.4f} with captions, {held_out(blank):.4f} without", flush=True)
        shadow.save_pretrained(arguments.out / "unet")

    elapsed = spent
    while elapsed < arguments.minutes:
        elapsed = spent + (time.time() - start) / 60
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(arguments.rate, step, elapsed / arguments.minutes, warm=300, floor=0.01)
        chosen = rng.integers(0, len(latents), arguments.batch)
        x = torch.from_numpy(np.stack([latents[i] for i in chosen])).float()
        with torch.no_grad():
            states = texts([caption(facts[i], rng) for i in chosen])
        # Where the beats lie is settled at high noise: half of all steps are drawn from there.
        t = torch.randint(0, 1000, (arguments.batch,))
        t[::2] = torch.randint(650, 1000, t[::2].shape)
        with torch.autocast("cpu", torch.bfloat16, enabled=arguments.bf16):
            loss = v_loss(unet, scheduler, x, states, t, torch.randn_like(x), places).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step()
        step += 1
        ema.update(unet, step)
        shown = loss.item() if shown is None else 0.98 * shown + 0.02 * loss.item()
        if step % 50 == 0:
            print(f"{elapsed:.1f} min step {step} loss {shown:.4f}", flush=True)
        if time.time() - saved_at > 240:
            saved_at = time.time()
            save()
    save()


if __name__ == "__main__":
    main()
