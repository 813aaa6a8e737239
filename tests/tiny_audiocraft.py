"""The weights of an untrained MusicGen of transformers, in the files of audiocraft."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def save_twin(musicgen: Path, folder: Path) -> Path:
    """Write what a folder of transformers' holds as audiocraft exports it: two files, and the T5 in ``t5``.

    Parameters
    ----------
    musicgen
        From `tests.tiny_models.save_tiny_musicgen`.
    folder
        Where to.
    """
    from transformers import AutoTokenizer, MusicgenForConditionalGeneration

    model = MusicgenForConditionalGeneration.from_pretrained(musicgen)
    model.text_encoder.save_pretrained(folder / "t5")
    AutoTokenizer.from_pretrained(musicgen).save_pretrained(folder / "t5")
    save_exported(language_model_state(model), language_model_settings(model), folder / "state_dict.bin")
    save_exported(codec_state(model), codec_settings(model), folder / "compression_state_dict.bin")
    return folder


def save_exported(state: dict[str, Tensor], settings: dict[str, Any], path: Path) -> None:
    """A file as ``audiocraft.utils.export`` writes it."""
    import yaml

    torch.save({"best_state": state, "xp.cfg": yaml.safe_dump(settings), "version": "1.3.0", "exported": True}, path)


def language_model_state(model: Any) -> dict[str, Tensor]:
    """Language model and text projection under audiocraft's names."""
    projection = "condition_provider.conditioners.description.output_proj"
    state = {f"{projection}.{name}": value for name, value in model.enc_to_dec_proj.state_dict().items()}
    names = (
        (r"^model\.decoder\.embed_tokens\.", "emb."),
        (r"^lm_heads\.", "linears."),
        (r"^model\.decoder\.layer_norm\.", "out_norm."),
        (r"^model\.decoder\.layers\.", "transformer.layers."),
        (r"\.encoder_attn_layer_norm\.", ".norm_cross."),
        (r"\.self_attn_layer_norm\.", ".norm1."),
        (r"\.final_layer_norm\.", ".norm2."),
        (r"\.encoder_attn\.", ".cross_attention."),
        (r"\.fc1\.", ".linear1."),
        (r"\.fc2\.", ".linear2."),
    )
    apart: dict[str, dict[str, Tensor]] = {}
    for name, value in model.decoder.state_dict().items():
        if "embed_positions" in name:
            continue
        for pattern, to in names:
            name = re.sub(pattern, to, name)
        part = re.fullmatch(r"(.*)\.([qkv])_proj\.weight", name)
        if part:
            apart.setdefault(part[1], {})[part[2]] = value
        else:
            state[name] = value
    for name, parts in apart.items():
        state[f"{name}.in_proj_weight"] = torch.cat([parts["q"], parts["k"], parts["v"]])
    return {name: value.contiguous().clone() for name, value in state.items()}


def codec_state(model: Any) -> dict[str, Tensor]:
    """The codec under audiocraft's names."""
    from torch import nn

    codec = model.audio_encoder
    turned = {name for name, module in codec.named_modules() if isinstance(module, nn.ConvTranspose1d)}
    state = {}
    for name, value in codec.state_dict().items():
        owner = re.sub(r"\.(weight|bias|parametrizations\..*)$", "", name)
        name = name.replace("parametrizations.weight.original0", "weight_g")
        name = name.replace("parametrizations.weight.original1", "weight_v")
        name = name.replace(".conv.", ".convtr.convtr." if owner in turned else ".conv.conv.")
        name = re.sub(r"^(encoder|decoder)\.layers\.", r"\1.model.", name)
        name = name.replace("quantizer.layers.", "quantizer.vq.layers.").replace(".codebook.", "._codebook.")
        state[name] = value.contiguous().clone()
    return state


def language_model_settings(model: Any) -> dict[str, Any]:
    """What ``xp.cfg`` of MusicGen's language model says of the network, after ``config/model/lm/musicgen_lm.yaml``."""
    config = model.decoder.config
    channels, books = config.audio_channels, config.num_codebooks
    delays = [book // channels for book in range(books)]
    return {
        "device": "cuda",
        "dtype": "float32",
        "solver": "musicgen",
        "sample_rate": model.audio_encoder.config.sampling_rate,
        "channels": channels,
        "compression_model_checkpoint": "//pretrained/facebook/encodec_32khz",
        "compression_model_n_q": None,
        "interleave_stereo_codebooks": {"use": channels == 2, "per_timestep": False},
        "lm_model": "transformer_lm",
        "codebooks_pattern": {
            "modeling": "delay",
            "delay": {"delays": delays, "flatten_first": 0, "empty_initial": 0},
        },
        "transformer_lm": {
            "dim": config.hidden_size,
            "num_heads": config.num_attention_heads,
            "num_layers": config.num_hidden_layers,
            "hidden_scale": config.ffn_dim // config.hidden_size,
            "n_q": books,
            "card": config.vocab_size,
            "dropout": 0.0,
            "emb_lr": None,
            "activation": config.activation_function,
            "norm_first": True,
            "bias_ff": False,
            "bias_attn": False,
            "bias_proj": False,
            "past_context": None,
            "causal": True,
            "custom": False,
            "memory_efficient": True,
            "attention_as_float32": False,
            "layer_scale": None,
            "positional_embedding": "sin",
            "xpos": False,
            "checkpointing": "none",
            "weight_init": "gaussian",
            "depthwise_init": "current",
            "zero_bias_init": True,
            "norm": "layer_norm",
            "cross_attention": False,
            "qk_layer_norm": False,
            "qk_layer_norm_cross": False,
            "attention_dropout": None,
            "kv_repeat": 1,
            "two_step_cfg": False,
        },
        "classifier_free_guidance": {"training_dropout": 0.3, "inference_coef": 3.0},
        "attribute_dropout": {},
        "fuser": {
            "cross_attention_pos_emb": False,
            "cross_attention_pos_emb_scale": 1,
            "sum": [],
            "prepend": [],
            "cross": ["description"],
            "input_interpolate": [],
        },
        "conditioners": {
            "description": {
                "model": "t5",
                "t5": {"name": "t5-base", "finetune": False, "word_dropout": 0.3, "normalize_text": False},
            }
        },
        "dataset": {"segment_duration": 30},
    }


def codec_settings(model: Any) -> dict[str, Any]:
    """What ``xp.cfg`` of an EnCodec says of the network, after ``config/model/encodec/default.yaml``."""
    config = model.audio_encoder.config
    return {
        "device": "cuda",
        "sample_rate": config.sampling_rate,
        "channels": config.audio_channels,
        "compression_model": "encodec",
        "encodec": {
            "autoencoder": "seanet",
            "quantizer": "rvq",
            "sample_rate": "${sample_rate}",
            "channels": "${channels}",
            "causal": False,
            "renormalize": False,
        },
        "seanet": {
            "dimension": config.hidden_size,
            "channels": "${channels}",
            "causal": "${encodec.causal}",
            "n_filters": config.num_filters,
            "n_residual_layers": config.num_residual_layers,
            "ratios": list(config.upsampling_ratios),
            "activation": "ELU",
            "activation_params": {"alpha": 1.0},
            "norm": "weight_norm",
            "norm_params": {},
            "kernel_size": config.kernel_size,
            "residual_kernel_size": config.residual_kernel_size,
            "last_kernel_size": config.last_kernel_size,
            "dilation_base": config.dilation_growth_rate,
            "pad_mode": config.pad_mode,
            "true_skip": not config.use_conv_shortcut,
            "compress": config.compress,
            "lstm": config.num_lstm_layers,
            "disable_norm_outer_blocks": 0,
            "decoder": {"trim_right_ratio": 1.0, "final_activation": None, "final_activation_params": None},
            "encoder": {},
        },
        "rvq": {
            "n_q": len(model.audio_encoder.quantizer.layers),
            "q_dropout": False,
            "bins": config.codebook_size,
            "decay": 0.99,
            "kmeans_init": True,
            "kmeans_iters": 50,
            "threshold_ema_dead_code": 2,
            "orthogonal_reg_weight": 0.0,
            "orthogonal_reg_active_codes_only": False,
        },
        "no_quant": {},
    }
