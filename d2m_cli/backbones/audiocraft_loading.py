"""audiocraft's checkpoints as networks.

audiocraft builds them; d2m reads the files, since audiocraft's own loader runs whatever code a file holds, and fetches
what is missing.
"""

from __future__ import annotations

import collections
import importlib
import json
import pickle
import typing
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import EncodecModel
from yaml import YAMLError

from d2m_cli.backbones import compat_audiocraft
from d2m_cli.backbones.audiocraft_files import (
    CODEC,
    codec_of_run,
    language_file,
    pretrained_codec,
    text_encoder_folder,
    weights_files,
)
from d2m_cli.errors import MissingWeightsError


@dataclass(frozen=True)
class Loaded:
    """A network, the files with its weights, and the settings that made it."""

    network: Any
    files: list[Path]
    settings: Any


def load_language_model(folder: Path, device: str, dtype: torch.dtype) -> Loaded:
    """The language model of a folder, and its text encoder.

    Parameters
    ----------
    folder
        See `d2m_cli.backbones.audiocraft_files.find`.
    device
        Where it should compute.
    dtype
        Number format of its transformer.

    Returns
    -------
    An ``audiocraft.models.lm.LMModel`` with one conditioner, a T5, and settings of OmegaConf.

    Raises
    ------
    MissingWeightsError
        A file is missing or damaged, or the model is of a kind that d2m can't use.
    """
    path = language_file(folder)
    content = read_checkpoint(path)
    builders: Any = importlib.import_module("audiocraft.models.builders")
    try:
        settings = _settings(content)
        t5 = _text_settings(settings, path)
        home = text_encoder_folder(folder, t5.name)
        width = json.loads((home / "config.json").read_text(encoding="utf-8"))["d_model"]
        settings.device, settings.dtype = device, str(dtype).removeprefix("torch.")
        # All weights come from the file, so none need be drawn; frozen ones need no recomputing to save memory.
        settings.transformer_lm.update(
            weight_init=None, depthwise_init=None, zero_bias_init=False, checkpointing="none"
        )
        with compat_audiocraft.local_t5(home, width) as name:
            t5.name = name
            network = builders.get_lm_model(settings)
        hold_in(network.transformer, dtype)
        network.load_state_dict(_best(content))
    except _unfit() as error:
        raise MissingWeightsError(f"{path}: makes no language model ({_brief(error)}). Use another one.") from error
    patterns: Any = importlib.import_module("audiocraft.modules.codebooks_patterns")
    pattern = network.pattern_provider
    if not isinstance(pattern, patterns.DelayedPatternProvider) or pattern.flatten_first or pattern.empty_initial:
        raise MissingWeightsError(
            f"{path}: writes its codebooks in another order than side by side with delays. Use another model."
        )
    return Loaded(network, [path, *weights_files(home)], settings)


def hold_in(transformer: nn.Module, dtype: torch.dtype) -> None:
    """Convert weights to a number format, but for those of norms, which are computed in fp32."""
    norms = [part for part in transformer.modules() if isinstance(part, nn.LayerNorm)]
    exact = {id(weight) for norm in norms for weight in norm.parameters()}
    for weight in transformer.parameters():
        weight.data = weight.data.to(torch.float32 if id(weight) in exact else dtype)


def load_codec(folder: Path, language_model: Loaded, device: str) -> Loaded:
    """The codec that a language model writes for.

    Returns
    -------
    An ``audiocraft.models.encodec.CompressionModel``, and settings as plain values.

    Raises
    ------
    MissingWeightsError
        A file is missing or damaged, or does not fit the language model.
    """
    builders: Any = importlib.import_module("audiocraft.models.builders")
    path = folder / CODEC
    if not path.is_file():
        path = codec_of_run(folder, str(language_model.settings.get("compression_model_checkpoint")))
    content = {} if path.is_dir() else read_checkpoint(path)
    if "pretrained" in content:
        path = pretrained_codec(folder, str(content["pretrained"]))
        content = {} if path.is_dir() else read_checkpoint(path)
    try:
        alone = _transformers_codec(path, device) if path.is_dir() else _audiocraft_codec(path, content, device)
        network = builders.get_wrapped_compression_model(alone.network, language_model.settings)
    except _unfit() as error:
        raise MissingWeightsError(f"{path}: makes no codec ({_brief(error)}). Use another one.") from error
    writes = (language_model.network.n_q, language_model.network.card)
    if (network.num_codebooks, network.cardinality) != writes:
        raise MissingWeightsError(
            f"{path}: has {network.num_codebooks} codebooks of {network.cardinality} tokens, and the language model "
            f"beside it writes {writes[0]} of {writes[1]}. Use the codec that it was trained with."
        )
    return Loaded(network, alone.files, alone.settings)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of one of audiocraft's files; runs no code from it.

    Besides tensors and plain values it may hold settings of OmegaConf, as runs do.

    Raises
    ------
    MissingWeightsError
        The file is damaged, or holds something else.
    """
    try:
        with torch.serialization.safe_globals(_plain_types()):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except _unfit() as error:
        raise MissingWeightsError(
            f"{path}: is no checkpoint of audiocraft that can be read without running code from it ({_brief(error)}). "
            "Fetch it again; a run of your own can be exported with audiocraft.utils.export."
        ) from error
    if not isinstance(content, dict) or not ({"xp.cfg", "best_state"} <= set(content) or "pretrained" in content):
        raise MissingWeightsError(
            f"{path}: is no checkpoint of audiocraft, which hold their settings as 'xp.cfg' and their weights as "
            "'best_state'."
        )
    return content


def _plain_types() -> list[Any]:
    """What OmegaConf's settings consist of, and nothing that could run anything."""
    omegaconf: Any = importlib.import_module("omegaconf")
    base: Any = importlib.import_module("omegaconf.base")
    nodes = [omegaconf.AnyNode, omegaconf.StringNode, omegaconf.IntegerNode, omegaconf.FloatNode, omegaconf.BooleanNode]
    containers = [omegaconf.DictConfig, omegaconf.ListConfig, base.ContainerMetadata, base.Metadata]
    return [*nodes, *containers, typing.Any, collections.defaultdict, dict, list, int, float, bool, str]


def _settings(content: Mapping[str, Any]) -> Any:
    """A changeable copy of a checkpoint's settings."""
    config: Any = importlib.import_module("omegaconf").OmegaConf
    settings = config.create(content["xp.cfg"])
    config.set_struct(settings, False)
    return settings


def _best(content: Mapping[str, Any]) -> Mapping[str, Tensor]:
    """Weights of the best epoch: of a run, or of what was exported from one."""
    best: Mapping[str, Any] = content.get("fsdp_best_state") or content["best_state"]
    inner = best.get("model")
    return inner if isinstance(inner, Mapping) else best


def _text_settings(settings: Any, path: Path) -> Any:
    """Settings of the T5, where the model is one that d2m can use."""
    conditioners = {name: made for name, made in (settings.conditioners or {}).items() if name != "args"}
    texts = [made.t5 for made in conditioners.values() if made.model == "t5"]
    stereo = settings.get("interleave_stereo_codebooks") or {}
    for unfit, why in (
        (settings.lm_model != "transformer_lm", "does not write one frame after the other"),
        (
            len(texts) != 1 or len(conditioners) != 1,
            f"reads {', '.join(conditioners) or 'nothing'}, not only a text by T5",
        ),
        (list(settings.fuser.cross) != list(conditioners), "does not read the text by cross-attention"),
        (settings.fuser.get("cross_attention_pos_emb"), "numbers the words of the text"),
        (texts and texts[0].get("normalize_text"), "rewrites its prompts"),
        (stereo.get("use") and stereo.get("per_timestep"), "writes left and right one after the other"),
    ):
        if unfit:
            raise MissingWeightsError(f"{path}: is a model that {why}, which d2m does not support. Use another one.")
    return texts[0]


def _audiocraft_codec(path: Path, content: Mapping[str, Any], device: str) -> Loaded:
    builders: Any = importlib.import_module("audiocraft.models.builders")
    config: Any = importlib.import_module("omegaconf").OmegaConf
    settings = _settings(content)
    settings.device = device
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*weight_norm.* is deprecated", FutureWarning)
        network = builders.get_compression_model(settings)
    network.load_state_dict(_best(content))
    made_of = [settings.compression_model, *(name for name in ("seanet", "rvq") if name in settings)]
    return Loaded(network, [path], {name: config.to_container(settings[name], resolve=True) for name in made_of})


def _transformers_codec(folder: Path, device: str) -> Loaded:
    encodec: Any = importlib.import_module("audiocraft.models.encodec")
    model: Any = EncodecModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    network = encodec.HFEncodecCompressionModel(model).to(torch.device(device))
    kept = ("transformers_version", "_name_or_path")
    settings = {name: value for name, value in model.config.to_dict().items() if name not in kept}
    return Loaded(network, weights_files(folder), settings)


def _unfit() -> tuple[type[Exception], ...]:
    """What the libraries raise where files, settings and weights do not fit each other."""
    misfit = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
    unreadable = (OSError, EOFError, pickle.UnpicklingError, SafetensorError, YAMLError)
    errors: Any = importlib.import_module("omegaconf.errors")
    return (*misfit, *unreadable, errors.OmegaConfBaseException)


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
