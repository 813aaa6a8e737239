"""Where audiocraft's checkpoints lie: folders, dora runs, and the Hugging Face cache. Imports nothing heavy.

A published model is two files (``audiocraft.utils.export``), the run of a solver is one, which names the codec that it
was trained with. Neither holds the text encoder.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from d2m_cli.errors import MissingWeightsError
from d2m_cli.ground.options import option
from d2m_cli.hub.store import model_folder

LANGUAGE = "state_dict.bin"
CODEC = "compression_state_dict.bin"
RUN = "checkpoint.th"
WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")
"""How transformers calls the files of a T5 or an EnCodec; of both kinds it takes the first."""

_PULLED = {
    "t5-base": "d2m weights pull t5-base",
    "facebook/encodec_32khz": "d2m weights pull encodec-32khz",
}
_SIGNATURE = re.compile(r"(?://sig/)?([0-9a-f]{8})")


def find(origin: str) -> Path:
    """The folder of a language model.

    Parameters
    ----------
    origin
        A folder with ``state_dict.bin`` and ``compression_state_dict.bin``, or with a run's ``checkpoint.th``; one of
        these files; the signature of a dora run ("1a2b3c4d" or "//sig/1a2b3c4d", under ``$AUDIOCRAFT_DORA_DIR/xps``);
        or a hub id whose two files are in ``$AUDIOCRAFT_CACHE_DIR`` or in the Hugging Face cache.

    Raises
    ------
    MissingWeightsError
        It is none of these.
    """
    path = Path(origin)
    if path.is_dir():
        return path
    if path.is_file() and path.name in (LANGUAGE, RUN):
        return path.parent
    signature = _SIGNATURE.fullmatch(origin)
    if signature:
        run = _runs() / signature[1]
        if run.is_dir():
            return run
        raise MissingWeightsError(
            f"audiocraft: no run {signature[1]} in {_runs()}. Set AUDIOCRAFT_DORA_DIR to the folder that holds 'xps', "
            f"or give the run's folder: {option('backbone', 'audiocraft:FOLDER')}"
        )
    own = os.environ.get("AUDIOCRAFT_CACHE_DIR")
    cached = in_cache(origin, LANGUAGE, own) if own else None
    return cached.parent if cached is not None else model_folder("audiocraft", origin)


def language_file(folder: Path) -> Path:
    """The file of a folder that holds the language model.

    Raises
    ------
    MissingWeightsError
        There is none.
    """
    for name in (LANGUAGE, RUN):
        if (folder / name).is_file():
            return folder / name
    raise MissingWeightsError(
        f"{folder}: holds no {LANGUAGE} and no {RUN}. Give the folder of a model that audiocraft exported or "
        f"published, or that of a run; for models in transformers' layout say {option('backbone', 'musicgen:FOLDER')}"
    )


def codec_of_run(folder: Path, trained_with: str) -> Path:
    """The codec that a run without an exported one was trained with.

    Parameters
    ----------
    folder
        Of the run.
    trained_with
        ``compression_model_checkpoint`` of its settings: "//pretrained/NAME", "//sig/SIGNATURE" of a run beside it, or
        a path.

    Returns
    -------
    A file of audiocraft's, or the folder of an EnCodec in transformers' layout.

    Raises
    ------
    MissingWeightsError
        It is not on this machine.
    """
    pretrained = trained_with.removeprefix("//pretrained/")
    if pretrained != trained_with:
        return pretrained_codec(folder, pretrained)
    run = trained_with.removeprefix("//sig/")
    path = folder.parent / run if run != trained_with else Path(trained_with)
    path = path / RUN if path.is_dir() else path
    if not path.is_file():
        raise MissingWeightsError(
            f"{folder}: was trained with the codec {trained_with!r}, and {path} is no checkpoint. Put an exported "
            f"{CODEC} beside the language model (audiocraft.utils.export)."
        )
    return path


def pretrained_codec(folder: Path, name: str) -> Path:
    """A codec that a model names instead of holding it; see `codec_of_run`.

    Parameters
    ----------
    folder
        Of the model, for texts.
    name
        Hub id of an EnCodec, or a path.

    Raises
    ------
    MissingWeightsError
        It is not on this machine, or not an EnCodec.
    """
    path = Path(name)
    if path.is_file():
        return path
    if path.is_dir():
        return path / CODEC if (path / CODEC).is_file() else path
    if "/" not in name:
        raise MissingWeightsError(f"{folder}: its codec is {name!r}, and d2m knows EnCodec only. Use another model.")
    cached = in_cache(name, "config.json")
    if cached is None:
        fetch = _PULLED.get(name, f"hf download {name} config.json model.safetensors")
        raise MissingWeightsError(
            f"{folder}: its codec {name!r} is not in the Hugging Face cache of this machine. Fetch it with '{fetch}'."
        )
    return cached.parent


def text_encoder_folder(folder: Path, name: str) -> Path:
    """The T5 that belongs to a language model.

    Parameters
    ----------
    folder
        Of the model; a folder ``t5`` or ``text_encoder`` in it comes first.
    name
        What audiocraft calls it: "t5-base", "google/flan-t5-base".

    Raises
    ------
    MissingWeightsError
        It is not on this machine.
    """
    for beside in (folder / "t5", folder / "text_encoder"):
        if beside.is_dir():
            return beside
    # The first T5s moved: the hub knows them by both names, the cache keeps the name that was asked for.
    homes = (f"google-t5/{name}", name) if name.startswith("t5-") else (name,)
    for home in homes:
        cached = in_cache(home, "config.json")
        if cached is not None and weights_files(cached.parent):
            return cached.parent
    fetch = _PULLED.get(name, f"hf download {homes[0]}")
    raise MissingWeightsError(
        f"{folder}: its text encoder {name} lies neither in a folder 't5' beside it nor in the Hugging Face cache of "
        f"this machine. Fetch it with '{fetch}'."
    )


def weights_files(folder: Path) -> list[Path]:
    """The files with which transformers fills a T5 or an EnCodec; empty where there are none."""
    kinds = (sorted(folder.glob(pattern)) for pattern in WEIGHTS)
    return next(filter(None, kinds), [])


def in_cache(hub_id: str, file: str, cache: str | None = None) -> Path | None:
    """A file of a hub model in the Hugging Face cache, without asking the network; None where it is not there."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(hub_id, file, cache_dir=cache)
    except HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None


def _runs() -> Path:
    # audiocraft's own place, where nothing else is set.
    home = os.environ.get("AUDIOCRAFT_DORA_DIR") or f"/tmp/audiocraft_{os.environ.get('USER', '')}"
    return Path(home) / "xps"
