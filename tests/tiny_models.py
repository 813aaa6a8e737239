"""Tiny untrained models in the layouts of published ones, made and saved as diffusers and transformers save them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


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


def save_tiny_musicgen(
    folder: Path,
    channels: int = 1,
    layers: int = 3,
    text_width: int = 24,
    sounds: Tensor | None = None,
    captions: Sequence[str] = (),
) -> Path:
    """Fill a folder with an untrained MusicGen in transformers' layout: 4 codebooks (a channel) of 32 tokens at 50 Hz.

    With `sounds`, (n, 1, samples) at 8 kHz, its codec is trained to rebuild them, and with their `captions` its decoder
    to write them.
    """
    import torch
    from transformers import (
        MusicgenConfig,
        MusicgenDecoderConfig,
        MusicgenForCausalLM,
        MusicgenForConditionalGeneration,
        T5Config,
        T5EncoderModel,
    )

    torch.manual_seed(0)
    tokenizer = tiny_t5_tokenizer()
    codec = tiny_codec()
    if sounds is not None:
        teach_codec(codec, sounds)
    # The other weights do not hang on the codec's.
    torch.manual_seed(1)
    text = T5EncoderModel(
        T5Config(vocab_size=len(tokenizer), d_model=text_width, d_kv=8, d_ff=48, num_layers=2, num_heads=3,
                 pad_token_id=0, eos_token_id=1)
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
            value.data.normal_(std=0.1 if captions else 0.3 if "lm_heads" in name or "embed" in name else 0.2)
    if sounds is not None and captions:
        teach_decoder(model, tokenizer, sounds, captions)
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


def teach_decoder(model: Any, tokenizer: Any, sounds: Tensor, captions: Sequence[str], steps: int = 150) -> None:
    """Train decoder and projection of a model of one channel to write sounds from their captions, by its own loss."""
    import torch

    filler, random = model.config.decoder.pad_token_id, torch.Generator().manual_seed(0)
    with torch.no_grad():
        codes = model.audio_encoder.encode(sounds).audio_codes[0]
    _, books, frames = codes.shape
    labels = codes.new_full((len(codes), frames + books - 1, books), filler)
    for book in range(books):
        labels[:, book : book + frames, book] = codes[:, book]
    text = tokenizer(list(captions), padding=True, return_tensors="pt")
    learning = [*model.decoder.parameters(), *model.enc_to_dec_proj.parameters()]
    optimizer = torch.optim.Adam(learning, 1e-2, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda at: min(1.0, (at + 1) / 10, 2 * (1 - at / steps)))
    model.eval()
    for _ in range(steps):
        rows = torch.randint(len(codes), (4,), generator=random)
        given = {name: value[rows] for name, value in text.items()}
        # Without some of the tokens before, the caption has to say what comes.
        before = torch.nn.functional.pad(labels[rows][:, :-1], (0, 0, 1, 0), value=filler).transpose(1, 2)
        before = before.masked_fill(torch.rand(before.shape, generator=random) < 0.3, filler)
        optimizer.zero_grad()
        model(**given, decoder_input_ids=before.flatten(0, 1), labels=labels[rows]).loss.backward()
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        schedule.step()


def tiny_codec() -> Any:
    """An untrained EnCodec whose tokens tell one noise from another: 4 codebooks of 32 tokens, 50 frames a second."""
    import torch
    from transformers import EncodecConfig, EncodecModel

    codec = EncodecModel(
        EncodecConfig(
            sampling_rate=8000, upsampling_ratios=[16, 10], num_filters=10, num_residual_layers=0, num_lstm_layers=1,
            hidden_size=16, codebook_dim=16, codebook_size=32, target_bandwidths=[1.0], audio_channels=1,
            use_causal_conv=False,
        )
    )  # fmt: skip
    fit_codebooks(codec, 0.1 * torch.randn(4, 1, 8000))
    return codec


def teach_codec(codec: Any, sounds: Tensor, steps: int = 300) -> None:
    """Train a codec to rebuild sounds of (n, 1, samples): first as it is, then through its codebooks.

    The rounding to codebook vectors lets gradients through; EnCodec's own training has a discriminator besides.
    """
    import torch

    random, length, rounded = torch.Generator().manual_seed(0), 2560, 2 * steps // 3
    power = sounds.square().mean((1, 2), keepdim=True)
    optimizer = torch.optim.Adam(codec.parameters(), 6e-3, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda at: min(1.0, (at + 1) / 20, 2 * (1 - at / steps)))
    for step in range(steps):
        rows = torch.randint(len(sounds), (4,), generator=random)
        start = int(torch.randint(sounds.shape[-1] - length, (), generator=random))
        audio = sounds[rows, :, start : start + length]
        if step == rounded:
            fit_codebooks(codec, sounds)
        states = codec.encoder(audio)
        away = torch.zeros(())
        if step >= rounded:
            with torch.no_grad():
                near = codec.quantizer.decode(codec.quantizer.encode(states))
            away = (states - near).square().mean()
            states = states + (near - states).detach()
        lost = ((codec.decoder(states)[..., :length] - audio).square() / power[rows]).mean()
        optimizer.zero_grad()
        (lost + 0.1 * away).backward()
        torch.nn.utils.clip_grad_norm_(codec.parameters(), 1.0)
        optimizer.step()
        schedule.step()


def fit_codebooks(codec: Any, sounds: Tensor) -> None:
    """Set each codebook to the centres of what those before it leave over (k-means)."""
    import torch

    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        left = codec.encoder(sounds).transpose(1, 2).flatten(0, 1)
        for layer in codec.quantizer.layers:
            centres = left[:1]
            for _ in range(layer.codebook.codebook_size - 1):
                # Begin with points that lie far from those chosen before.
                distance = torch.cdist(left, centres).amin(1).square() + 1e-9
                centres = torch.cat([centres, left[torch.multinomial(distance, 1, generator=random)]])
            for _ in range(5):
                nearest = torch.cdist(left, centres).argmin(1)
                counts = torch.bincount(nearest, minlength=len(centres))[:, None]
                sums = torch.zeros_like(centres).index_add_(0, nearest, left)
                centres = torch.where(counts > 0, sums / counts.clamp(min=1), centres)
            layer.codebook.embed.copy_(centres)
            left = left - centres[torch.cdist(left, centres).argmin(1)]
