"""Tiny untrained models in the layouts of published ones, made and saved as diffusers and transformers save them."""

from __future__ import annotations

from pathlib import Path


def save_tiny_riffusion(folder: Path, hop_length: int = 80) -> Path:
    """Fill a folder with a Stable Diffusion model with grey-in-three-channels pictures of 64 mels x 64 columns.

    A column lasts `hop_length` / 8000 s, a window 64 columns.
    """
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    from d2m_cli.backbones.spectrogram import SpectrogramConfig

    torch.manual_seed(0)
    UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, block_out_channels=(16, 32), layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=24, attention_head_dim=2, norm_num_groups=8,
    ).save_pretrained(folder / "unet")  # fmt: skip
    AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=4, block_out_channels=(8, 8, 8, 8), norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=1,
    ).save_pretrained(folder / "vae")  # fmt: skip
    words = ["a", "music", "with", "as", "the", "rhythm", "funky", "guitar", "drum", ",", "*", "@"]
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)] + [",", "*", "@"]
    vocabulary = ["<|startoftext|>", "<|endoftext|>", *letters, *(letter + "</w>" for letter in letters)]
    merges: list[tuple[str, str]] = []
    for word in words:
        left = word[0]
        for position, letter in enumerate(word[1:], 1):
            right = letter + ("</w>" if position == len(word) - 1 else "")
            if (left, right) not in merges:
                merges.append((left, right))
            left += right
            if left not in vocabulary:
                vocabulary.append(left)
    tokenizer = CLIPTokenizer(
        vocab={token: index for index, token in enumerate(vocabulary)}, merges=merges, model_max_length=20
    )
    tokenizer.save_pretrained(folder / "tokenizer")
    CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(vocabulary), hidden_size=24, intermediate_size=48, num_hidden_layers=2,
            num_attention_heads=2, max_position_embeddings=20, bos_token_id=0, eos_token_id=1, pad_token_id=1,
        )
    ).save_pretrained(folder / "text_encoder")  # fmt: skip
    DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False).save_pretrained(
        folder / "scheduler"
    )
    SpectrogramConfig(
        sample_rate=8000, hop_length=hop_length, win_length=5 * hop_length, n_fft=10 * hop_length, n_mels=64,
        max_frequency=4000.0, max_value=100.0, sample_scale=1.0, columns=64, griffin_lim_iterations=8,
    ).save(folder / "spectrogram.json")  # fmt: skip
    return folder
