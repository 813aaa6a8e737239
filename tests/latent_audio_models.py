"""ACE-Step and Stable Audio with random weights, saved as diffusers saves them: nothing is fetched.

Full sizes are the defaults of diffusers' own classes, and those of the text encoders that the models' papers name; they
are not always the sizes of a published model. Tiny ones run on a CPU in seconds. Networks are made on the device that
is named, which is quicker on a GPU.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

TINY_RATE = 8000
"""Hz of the tiny models' sound; a latent frame of theirs has 64 samples."""
WORDS = ("music", "with", "as", "the", "rhythm", "funky", "guitar", "drum", "house", "bpm")


def save_ace_step(folder: Path, size: str = "tiny", *, turbo: bool = True, device: str = "cpu") -> Path:
    """Fill a folder with an ACE-Step 1.5."""
    from diffusers import (
        AceStepPipeline,
        AceStepTransformer1DModel,
        AutoencoderOobleck,
        FlowMatchEulerDiscreteScheduler,
    )
    from diffusers.pipelines.ace_step import AceStepConditionEncoder
    from transformers import Qwen3Config, Qwen3Model

    torch.manual_seed(0)
    tokenizer = byte_tokenizer()
    text: dict[str, Any] = {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28}
    text |= {"num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151_669}
    denoising: dict[str, Any] = {}
    reading: dict[str, Any] = {}
    # The class's own default is Stable Audio's; the pipeline speaks of 1920 samples at 48 kHz.
    codec: dict[str, Any] = {"downsampling_ratios": [2, 4, 4, 6, 10], "sampling_rate": 48000}
    if size == "tiny":
        heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8}
        text = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2} | heads
        text["vocab_size"] = len(tokenizer)
        denoising = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "in_channels": 24}
        denoising |= {"audio_acoustic_hidden_dim": 8, "sliding_window": 16} | heads
        reading = {"hidden_size": 32, "intermediate_size": 48, "text_hidden_dim": 16, "timbre_hidden_dim": 8} | heads
        reading |= {"num_lyric_encoder_hidden_layers": 1, "num_timbre_encoder_hidden_layers": 1}
        codec = tiny_oobleck()
    with torch.device(device):
        condition: Any = AceStepConditionEncoder(**reading)
        condition.silence_latent.normal_(std=0.1)
        vae = AutoencoderOobleck(**codec)
        text_encoder = Qwen3Model(Qwen3Config(**text, pad_token_id=0, eos_token_id=0))
        transformer = AceStepTransformer1DModel(**denoising, is_turbo=turbo)
    pipeline = AceStepPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        transformer=transformer,
        condition_encoder=condition,
        scheduler=FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, shift=1.0),
    )
    return _saved(pipeline, folder, size)


def save_stable_audio_open(folder: Path, size: str = "tiny", *, device: str = "cpu") -> Path:
    """Fill a folder with a Stable Audio Open, its scheduler as published."""
    from diffusers import AutoencoderOobleck, EDMDPMSolverMultistepScheduler, StableAudioDiTModel, StableAudioPipeline
    from diffusers.pipelines.stable_audio import StableAudioProjectionModel
    from transformers import T5Config, T5EncoderModel

    from tests.tiny_models import tiny_t5_tokenizer

    torch.manual_seed(0)
    tokenizer = tiny_t5_tokenizer()
    tokenizer.model_max_length = 128
    text: dict[str, Any] = {"d_model": 768, "d_ff": 3072, "num_layers": 12, "num_heads": 12, "vocab_size": 32128}
    denoising: dict[str, Any] = {}
    codec: dict[str, Any] = {}
    width = 768
    if size == "tiny":
        tokenizer.model_max_length, width = 24, 16
        text = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, "vocab_size": len(tokenizer)}
        denoising = {"sample_size": 1250, "in_channels": 8, "out_channels": 8, "num_layers": 2}
        denoising |= {"attention_head_dim": 8, "num_attention_heads": 2, "num_key_value_attention_heads": 1}
        denoising |= {"cross_attention_dim": 16, "cross_attention_input_dim": 16, "time_proj_dim": 16}
        denoising |= {"global_states_input_dim": 32}
        codec = tiny_oobleck()
    with torch.device(device):
        vae = AutoencoderOobleck(**codec)
        text_encoder = T5EncoderModel(T5Config(**text, pad_token_id=0, eos_token_id=1))
        projection = StableAudioProjectionModel(width, width, 0, 512)
        transformer = StableAudioDiTModel(**denoising)
    pipeline = StableAudioPipeline(
        vae=vae,
        text_encoder=text_encoder,
        projection_model=projection,
        tokenizer=tokenizer,
        transformer=transformer,
        scheduler=EDMDPMSolverMultistepScheduler(
            sigma_min=0.3, sigma_max=500, sigma_data=1.0, sigma_schedule="exponential",
            prediction_type="v_prediction", algorithm_type="sde-dpmsolver++",
        ),
    )  # fmt: skip
    return _saved(pipeline, folder, size)


def save_stable_audio_3(folder: Path, size: str = "tiny", *, distilled: bool = True, device: str = "cpu") -> Path:
    """Fill a folder with a Stable Audio 3."""
    from diffusers import (
        AutoencoderSAME,
        FlowMatchEulerDiscreteScheduler,
        StableAudio3DiTModel,
        StableAudio3Pipeline,
    )
    from diffusers.pipelines.stable_audio_3 import StableAudio3DurationEmbedder
    from transformers import T5GemmaConfig, T5GemmaEncoderModel, T5GemmaModuleConfig

    torch.manual_seed(0)
    tokenizer = gemma_tokenizer()
    text: dict[str, Any] = {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12}
    text |= {"num_attention_heads": 12, "num_key_value_heads": 12, "head_dim": 64, "vocab_size": 256_000}
    denoising: dict[str, Any] = {}
    codec: dict[str, Any] = {}
    length: dict[str, Any] = {}
    if size == "tiny":
        tokenizer.model_max_length = 24
        text = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
        text |= {"num_key_value_heads": 2, "head_dim": 8, "vocab_size": len(tokenizer), "query_pre_attn_scalar": 8}
        denoising = {"io_channels": 8, "embed_dim": 32, "depth": 2, "num_heads": 2, "cond_token_dim": 16}
        denoising |= {"global_cond_dim": 16, "local_add_cond_dim": 9, "timestep_features_dim": 16}
        denoising |= {"num_memory_tokens": 4}
        codec = {"patch_size": 8, "encoder_channels": 8, "encoder_c_mults": (2,), "encoder_strides": (8,)}
        codec |= {"encoder_transformer_depths": (1,), "latent_dim": 8, "dim_heads": 8, "sampling_rate": TINY_RATE}
        length = {"output_dim": 16, "fourier_dim": 16}
    module = T5GemmaModuleConfig(**text)
    config = T5GemmaConfig(encoder=module, decoder=module, is_encoder_decoder=False, vocab_size=text["vocab_size"])
    with torch.device(device):
        encoder = T5GemmaEncoderModel(config)
        transformer: Any = StableAudio3DiTModel(**denoising)
        autoencoder: Any = AutoencoderSAME(**codec)
        embedder = StableAudio3DurationEmbedder(**length)
    for block in transformer.transformer_blocks:
        # New ones add nothing of what is there already.
        torch.nn.init.normal_(block.to_local_embed[-1].weight, std=0.02)
    for name, value in autoencoder.named_parameters():
        # So that what comes out hangs on what goes in, and is as loud as sound.
        if "new_tokens" in name or (value.ndim == 2 and "proj" not in name):
            torch.nn.init.normal_(value, std=0.3 if size == "tiny" else 0.05)
    pipeline = StableAudio3Pipeline(
        vae=autoencoder,
        text_encoder=encoder,
        tokenizer=tokenizer,
        duration_embedder=embedder,
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, shift=1.0, stochastic_sampling=distilled),
    )
    return _saved(pipeline, folder, size)


def tiny_oobleck() -> dict[str, Any]:
    """Options of a small autoencoder: frames of 64 samples."""
    return {
        "encoder_hidden_size": 2 * 8, "downsampling_ratios": [4, 4, 4], "channel_multiples": [1, 2, 2],
        "decoder_channels": 8, "decoder_input_channels": 8, "sampling_rate": TINY_RATE,
    }  # fmt: skip


def byte_tokenizer() -> Any:
    """Qwen's tokenizer over all bytes and a few words; it puts nothing before or behind a text."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import Qwen2Tokenizer

    pieces = ["<|endoftext|>", *sorted(ByteLevel.alphabet())]
    merges = _merges([*WORDS, *("\u0120" + word for word in WORDS)], pieces)
    return Qwen2Tokenizer(vocab={piece: number for number, piece in enumerate(pieces)}, merges=merges)


def gemma_tokenizer() -> Any:
    """Gemma's tokenizer over all bytes and a few words; it puts a token before a text."""
    from transformers import GemmaTokenizer

    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *(f"<0x{code:02X}>" for code in range(256))]
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    pieces += ["\u2581", *letters, *"0123456789*@,."]
    merges = _merges([*WORDS, *(word + "\u2581" for word in WORDS)], pieces)
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    return GemmaTokenizer(vocab=vocabulary, merges=merges, add_bos_token=True)


def _merges(words: list[str], pieces: list[str]) -> Any:
    merges: list[tuple[str, str]] = []
    for word in words:
        for end in range(2, len(word) + 1):
            if word[:end] not in pieces:
                pieces.append(word[:end])
                merges.append((word[: end - 1], word[end - 1]))
    return merges


def _saved(pipeline: Any, folder: Path, size: str) -> Path:
    if size != "tiny":
        pipeline.to(torch.bfloat16)
    pipeline.save_pretrained(folder)
    return folder
