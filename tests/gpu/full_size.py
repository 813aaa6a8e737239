"""Models in the layouts and sizes of published ones, with random weights: nothing is fetched.

Speed and memory hang on shapes alone, so random weights measure them as published ones do. What comes out is noise.
Numbers are those of the published configurations: riffusion-model-v1 (Stable Diffusion 1.5's networks), musicgen-small
(T5-base's encoder, EnCodec at 32 kHz and a decoder of 24 layers), and HRNet-W32 for 256 x 192 pixels. Each builder also
has a tiny size, so that everything that uses it runs on a CPU in seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.tiny_models import tiny_t5_tokenizer

SIZES = ("full", "tiny")


def _check(size: str) -> None:
    if size not in SIZES:
        raise ValueError(f"size is {' or '.join(SIZES)}, not {size!r}")


def parameters(module: nn.Module) -> int:
    """How many numbers are learned."""
    return sum(value.numel() for value in module.parameters())


# Riffusion.


def riffusion_unet(size: str = "full") -> Any:
    """The UNet of Stable Diffusion 1.5: 859,520,964 parameters."""
    from diffusers import UNet2DConditionModel

    _check(size)
    options: dict[str, Any] = {
        "in_channels": 4,
        "out_channels": 4,
        "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        "sample_size": 64,
        "layers_per_block": 2,
        "block_out_channels": (320, 640, 1280, 1280),
        "cross_attention_dim": 768,
        "attention_head_dim": 8,
    }
    if size == "tiny":
        options |= {"sample_size": 8, "layers_per_block": 1, "block_out_channels": (8, 8, 16, 16)}
        options |= {"cross_attention_dim": 24, "attention_head_dim": 2, "norm_num_groups": 4}
    return UNet2DConditionModel(**options)


def riffusion_vae(size: str = "full") -> Any:
    """The autoencoder of Stable Diffusion 1.5: 83,653,863 parameters."""
    from diffusers import AutoencoderKL

    _check(size)
    options: dict[str, Any] = {
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": 4,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "sample_size": 512,
        "layers_per_block": 2,
        "block_out_channels": (128, 256, 512, 512),
    }
    if size == "tiny":
        options |= {"sample_size": 64, "layers_per_block": 1, "block_out_channels": (8, 8, 8, 8), "norm_num_groups": 4}
    return AutoencoderKL(**options)


def riffusion_text_encoder(size: str = "full") -> Any:
    """CLIP ViT-L/14's text transformer: 123,060,480 parameters."""
    from transformers import CLIPTextConfig, CLIPTextModel

    _check(size)
    options: dict[str, Any] = {
        "vocab_size": 49408,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "projection_dim": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "max_position_embeddings": 77,
        "hidden_act": "quick_gelu",
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": 1,
    }
    if size == "tiny":
        options |= {"vocab_size": 80, "hidden_size": 24, "intermediate_size": 48, "projection_dim": 24}
        options |= {"num_hidden_layers": 2, "num_attention_heads": 2}
    return CLIPTextModel(CLIPTextConfig(**options))


def clip_tokenizer(vocabulary: int) -> Any:
    """CLIP's tokenizer over letters alone, with start and end as the last two tokens, as CLIP has them."""
    from transformers import CLIPTokenizer

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)] + [*",.*@0123456789"[:11]]
    words = [*letters, *(letter + "</w>" for letter in letters)]
    words += [f"<|unused{number}|>" for number in range(vocabulary - 2 - len(words))]
    words += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: at for at, word in enumerate(words)}, merges=[], model_max_length=77)


def save_full_riffusion(folder: Path, size: str = "full", device: str = "cpu") -> Path:
    """Fill a folder with a model in riffusion-model-v1's layout, whose networks are made on a device."""
    from diffusers import DDIMScheduler

    from d2m_cli.backbones.spectrogram import SpectrogramConfig

    torch.manual_seed(0)
    with torch.device(device):
        unet = riffusion_unet(size)
        unet.save_pretrained(folder / "unet")
        riffusion_vae(size).save_pretrained(folder / "vae")
        text_encoder = riffusion_text_encoder(size)
        text_encoder.save_pretrained(folder / "text_encoder")
    clip_tokenizer(text_encoder.config.vocab_size).save_pretrained(folder / "tokenizer")
    DDIMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False, set_alpha_to_one=False,
        steps_offset=1,
    ).save_pretrained(folder / "scheduler")  # fmt: skip
    if size == "tiny":
        SpectrogramConfig(
            sample_rate=8000, hop_length=80, win_length=400, n_fft=800, n_mels=64, max_frequency=4000.0,
            max_value=100.0, sample_scale=1.0, columns=64, griffin_lim_iterations=4,
        ).save(folder / "spectrogram.json")  # fmt: skip
    return folder


# MusicGen.


def musicgen_text_encoder(size: str = "full") -> Any:
    """T5-base's encoder: 109,628,544 parameters."""
    from transformers import T5Config, T5EncoderModel

    _check(size)
    config = T5Config(
        vocab_size=32128, d_model=768, d_kv=64, d_ff=3072, num_layers=12, num_heads=12,
        relative_attention_num_buckets=32, feed_forward_proj="relu", pad_token_id=0, eos_token_id=1,
    ) if size == "full" else T5Config(
        vocab_size=128, d_model=24, d_kv=8, d_ff=48, num_layers=2, num_heads=3, pad_token_id=0, eos_token_id=1
    )  # fmt: skip
    return T5EncoderModel(config)


def musicgen_codec(size: str = "full") -> Any:
    """EnCodec at 32 kHz, 4 codebooks of 2048 at 50 frames a second: 56,884,674 parameters beside its codebooks.

    Codebooks hold random vectors: new ones of transformers are all zero, which would make all tokens alike.
    """
    from transformers import EncodecConfig, EncodecModel

    _check(size)
    options: dict[str, Any] = {
        "sampling_rate": 32000,
        "upsampling_ratios": [8, 5, 4, 4],
        "num_filters": 64,
        "hidden_size": 128,
        "codebook_size": 2048,
        "codebook_dim": 128,
        "num_lstm_layers": 2,
        "target_bandwidths": [2.2],
        "audio_channels": 1,
        "normalize": False,
        "use_causal_conv": False,
        "use_conv_shortcut": False,
    }
    if size == "tiny":
        options |= {"sampling_rate": 8000, "upsampling_ratios": [5, 4, 4, 2], "num_filters": 4, "hidden_size": 16}
        options |= {"codebook_size": 32, "codebook_dim": 16, "num_lstm_layers": 1, "target_bandwidths": [1.0]}
    codec: Any = EncodecModel(EncodecConfig(**options))
    for layer in codec.quantizer.layers:
        layer.codebook.embed.normal_()
    return codec


def musicgen_decoder(size: str = "full") -> Any:
    """The language model of musicgen-small, 24 layers of width 1024: 419,584,000 parameters."""
    from transformers import MusicgenDecoderConfig, MusicgenForCausalLM

    _check(size)
    options: dict[str, Any] = {
        "vocab_size": 2048,
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "ffn_dim": 4096,
        "num_codebooks": 4,
        "audio_channels": 1,
        "max_position_embeddings": 2048,
    }
    if size == "tiny":
        options |= {"vocab_size": 32, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
        options |= {"ffn_dim": 64, "max_position_embeddings": 300}
    filler = options["vocab_size"]
    decoder: Any = MusicgenForCausalLM(MusicgenDecoderConfig(**options, pad_token_id=filler, bos_token_id=filler))
    return decoder


def musicgen(size: str = "full") -> Any:
    """The whole of musicgen-small, with the projection between its text encoder and its decoder."""
    from transformers import MusicgenConfig, MusicgenForConditionalGeneration

    text, codec, decoder = musicgen_text_encoder(size), musicgen_codec(size), musicgen_decoder(size)
    config = MusicgenConfig(text_encoder=text.config, audio_encoder=codec.config, decoder=decoder.config)
    model: Any = MusicgenForConditionalGeneration(config, text, codec, decoder)
    filler = decoder.config.vocab_size
    model.config.decoder.decoder_start_token_id = model.generation_config.decoder_start_token_id = filler
    model.generation_config.pad_token_id = model.generation_config.bos_token_id = filler
    return model


def save_full_musicgen(folder: Path, size: str = "full", device: str = "cpu") -> Path:
    """Fill a folder with a model in musicgen-small's layout, whose networks are made on a device."""
    torch.manual_seed(0)
    with torch.device(device):
        model = musicgen(size)
    # New weights are so small that the likeliest token hardly stands out; wider ones make choices that can be compared.
    for name, value in model.decoder.named_parameters():
        if value.ndim == 2 and ("lm_heads" in name or "embed" in name):
            value.data.normal_(std=0.1 if size == "full" else 0.3)
    model.save_pretrained(folder)
    tiny_t5_tokenizer().save_pretrained(folder)
    return folder


# HRNet.


@dataclass(frozen=True)
class HRNetShape:
    """Sizes of an HRNet.

    Attributes
    ----------
    widths
        Channels of each branch; branch k works at a quarter of the picture's size divided by 2 ** k.
    blocks
        Residual blocks in a row, in each branch of each module.
    modules
        Exchange modules of the stages with 2, 3, ... branches.
    stem
        Channels of the first two convolutions.
    joints
        Heat maps.
    height, width
        Pixels of a crop.
    """

    widths: tuple[int, ...] = (32, 64, 128, 256)
    blocks: int = 4
    modules: tuple[int, ...] = (1, 4, 3)
    stem: int = 64
    joints: int = 17
    height: int = 256
    width: int = 192


W32 = HRNetShape()
TINY_HRNET = replace(W32, widths=(4, 8), blocks=1, modules=(1,), stem=8, height=64, width=48)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    """Convolution and batch normalisation."""
    return [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs)]


class _Residual(nn.Module):
    """Two 3 x 3 convolutions, or a narrow one between two 1 x 1, around which the input goes."""

    def __init__(self, inputs: int, width: int, widen: int = 1) -> None:
        super().__init__()
        kernels = (3, 3) if widen == 1 else (1, 3, 1)
        ends = [width] * (len(kernels) - 1) + [width * widen]
        self.depth = len(kernels)
        for number, (kernel, end) in enumerate(zip(kernels, ends, strict=True), 1):
            convolution, norm = _conv(inputs if number == 1 else width, end, kernel)
            self.add_module(f"conv{number}", convolution)
            self.add_module(f"bn{number}", norm)
        self.downsample = nn.Sequential(*_conv(inputs, ends[-1], 1)) if inputs != ends[-1] else None

    def forward(self, picture: Tensor) -> Tensor:
        hidden = picture
        for number in range(1, self.depth + 1):
            hidden = self.get_submodule(f"bn{number}")(self.get_submodule(f"conv{number}")(hidden))
            if number < self.depth:
                hidden = hidden.relu()
        return (hidden + (picture if self.downsample is None else self.downsample(picture))).relu()


class _Exchange(nn.Module):
    """Residual blocks in each branch; then every branch gets the sum of all, brought to its size."""

    def __init__(self, widths: Sequence[int], blocks: int, only_first: bool) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(_Residual(width, width) for _ in range(blocks))) for width in widths
        )
        rows = 1 if only_first else len(widths)
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_bring(widths, source, target) for source in range(len(widths))) for target in range(rows)
        )

    def forward(self, pictures: list[Tensor]) -> list[Tensor]:
        pictures = [branch(picture) for branch, picture in zip(self.branches, pictures, strict=True)]
        sums = []
        for row in self.fuse_layers:
            assert isinstance(row, nn.ModuleList)
            parts = [bring(picture) for bring, picture in zip(row, pictures, strict=True)]
            total = parts[0]
            for part in parts[1:]:
                total = total + part
            sums.append(total.relu())
        return sums


def _bring(widths: Sequence[int], source: int, target: int) -> nn.Module:
    if source == target:
        return nn.Identity()
    if source > target:
        up = nn.Upsample(scale_factor=2 ** (source - target), mode="nearest")
        return nn.Sequential(*_conv(widths[source], widths[target], 1), up)
    steps = []
    for step in range(target - source):
        last = step == target - source - 1
        parts = _conv(widths[source], widths[target] if last else widths[source], 3, 2)
        steps.append(nn.Sequential(*parts) if last else nn.Sequential(*parts, nn.ReLU()))
    return nn.Sequential(*steps)


class HRNetTorch(nn.Module):
    """HRNet (Sun et al. 2019) with a 1 x 1 head, its parts named as mmpose names them.

    Pictures (n, 3, h, w) give heat maps (n, joints, h / 4, w / 4).
    """

    def __init__(self, shape: HRNetShape = W32) -> None:
        super().__init__()
        self.shape = shape
        self.conv1, self.bn1 = _conv(3, shape.stem, 3, 2)
        self.conv2, self.bn2 = _conv(shape.stem, shape.stem, 3, 2)
        self.layer1 = nn.Sequential(
            *(_Residual(shape.stem if number == 0 else shape.stem * 4, shape.stem, 4) for number in range(4))
        )
        before = [shape.stem * 4]
        for number, modules in enumerate(shape.modules, 2):
            widths = shape.widths[:number]
            self.add_module(f"transition{number - 1}", _transition(before, widths))
            last = number == len(shape.modules) + 1
            stage = [_Exchange(widths, shape.blocks, last and at == modules - 1) for at in range(modules)]
            self.add_module(f"stage{number}", nn.ModuleList(stage))
            before = list(widths)
        self.final_layer = nn.Conv2d(shape.widths[0], shape.joints, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        hidden = self.bn1(self.conv1(pictures)).relu()
        hidden = self.layer1(self.bn2(self.conv2(hidden)).relu())
        branches = [hidden]
        for number in range(2, len(self.shape.modules) + 2):
            transition = self.get_submodule(f"transition{number - 1}")
            assert isinstance(transition, nn.ModuleList)
            # A new branch begins from the smallest so far.
            branches = [step(branches[min(at, len(branches) - 1)]) for at, step in enumerate(transition)]
            stage = self.get_submodule(f"stage{number}")
            assert isinstance(stage, nn.ModuleList)
            for module in stage:
                branches = module(branches)
        maps: Tensor = self.final_layer(branches[0])
        return maps


def _transition(before: Sequence[int], widths: Sequence[int]) -> nn.ModuleList:
    steps: list[nn.Module] = []
    for at, width in enumerate(widths):
        if at < len(before):
            same = before[at] == width
            steps.append(nn.Identity() if same else nn.Sequential(*_conv(before[at], width, 3), nn.ReLU()))
        else:
            steps.append(nn.Sequential(nn.Sequential(*_conv(before[-1], width, 3, 2), nn.ReLU())))
    return nn.ModuleList(steps)


def hrnet_network(shape: HRNetShape = W32) -> HRNetTorch:
    """An HRNet with random weights whose heat maps are of order one, ready for use."""
    torch.manual_seed(0)
    network = HRNetTorch(shape).eval()
    nn.init.normal_(network.final_layer.weight, std=0.5)
    return network


def save_hrnet(path: Path, shape: HRNetShape = W32, half: bool = False) -> Path:
    """Write it as `d2m weights export-hrnet` writes one, checked against torch in the same way."""
    from d2m_cli.pose.export import _write

    _write(hrnet_network(shape), (shape.width, shape.height), path, half)
    return path
