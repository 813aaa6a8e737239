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


def save_tiny_musicgen(folder: Path, channels: int = 1, layers: int = 3) -> Path:
    """Fill a folder with an untrained MusicGen in transformers' layout: 4 codebooks (a channel) of 32 tokens at 50 Hz.

    Its codec's codebooks hold random vectors: new ones of transformers are all zero, which would make all tokens alike.
    """
    import torch
    from transformers import (
        EncodecConfig,
        EncodecModel,
        MusicgenConfig,
        MusicgenDecoderConfig,
        MusicgenForCausalLM,
        MusicgenForConditionalGeneration,
        T5Config,
        T5EncoderModel,
    )

    torch.manual_seed(0)
    tokenizer = tiny_t5_tokenizer()
    codec = EncodecModel(
        EncodecConfig(
            sampling_rate=8000, upsampling_ratios=[5, 4, 4, 2], num_filters=4, hidden_size=16, codebook_size=32,
            codebook_dim=16, num_lstm_layers=1, target_bandwidths=[1.0], audio_channels=1, use_causal_conv=False,
        )
    )  # fmt: skip
    for layer in codec.quantizer.layers:
        layer.codebook.embed.normal_()
    text = T5EncoderModel(
        T5Config(vocab_size=len(tokenizer), d_model=24, d_kv=8, d_ff=48, num_layers=2, num_heads=3, pad_token_id=0,
                 eos_token_id=1)
    )  # fmt: skip
    decoder = MusicgenForCausalLM(
        MusicgenDecoderConfig(
            vocab_size=32, hidden_size=32, num_hidden_layers=layers, num_attention_heads=4, ffn_dim=64,
            num_codebooks=4 * channels, audio_channels=channels, pad_token_id=32, bos_token_id=32, dropout=0.0,
            max_position_embeddings=300,
        )
    )  # fmt: skip
    config = MusicgenConfig(text_encoder=text.config, audio_encoder=codec.config, decoder=decoder.config)
    model = MusicgenForConditionalGeneration(config, text, codec, decoder)
    model.config.decoder.decoder_start_token_id = model.generation_config.decoder_start_token_id = 32
    # New weights are so small that all tokens are equally likely; larger ones make choices that a test can compare.
    for name, value in model.decoder.named_parameters():
        if value.ndim == 2:
            value.data.normal_(std=0.3 if "lm_heads" in name or "embed" in name else 0.2)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_t5_tokenizer():
    """T5's tokenizer over a few words and all letters."""
    from transformers import T5Tokenizer

    words = ["a", "music", "with", "as", "the", "rhythm", "funky", "guitar", "drum", "bpm"]
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)] + [*"0123456789,.*@-"]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0)]
    pieces += [("\u2581" + word, -3.0) for word in words] + [(letter, -6.0) for letter in letters]
    return T5Tokenizer(vocab=pieces, extra_ids=0)
