"""Backbones by name: ``FAMILY`` or ``FAMILY:FOLDER_OR_HUB_ID``.

A family is a class that fulfils :class:`d2m_cli.backbones.base.Backbone` and one entry here, or an entry point
``d2m.backbones`` of another package (docs/backbones.md). Nothing here touches the network: a model that is not on this
machine is an error that says how to fetch it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from d2m_cli.backbones.ace_step_folder import passed_over
from d2m_cli.backbones.base import Identity
from d2m_cli.backbones.sampling import PLAIN_SAMPLING, FullSampling, Sampling
from d2m_cli.errors import MissingWeightsError, UsageError
from d2m_cli.ground.devices import check_device_name, refuse_absent
from d2m_cli.ground.options import option
from d2m_cli.ground.weights_path import data_home, weights_dir
from d2m_cli.hub.catalogue import CATALOGUE, LAYOUTS, MUSICGEN_SIZES, SHORT_NAMES
from d2m_cli.hub.store import model_folder
from d2m_cli.inversion.prompt import MOST_MODELS, TempoWords

if TYPE_CHECKING:
    from d2m_cli.backbones.base import Backbone

ENTRY_POINTS = "d2m.backbones"
CARD = "d2m.json"
"""Beside a model's weights: what d2m should know of a model that was trained for it."""

_MUSICGEN = {size: f"facebook/musicgen-{size}" for size in MUSICGEN_SIZES}


@dataclass(frozen=True)
class Family:
    """One kind of text-to-music model.

    Attributes
    ----------
    backbone
        "module:class" of its backbone, called with a folder, an `Identity`, a device and a precision.
    short_names
        Hub ids by short name.
    default
        What is meant where only the family is named; None where a folder must be given.
    compiles
        Whether its class takes ``compiled``.
    find
        "module:function" that turns what follows the colon into a folder, or None for the common way: a folder, or a
        model that `d2m weights pull` fetched.
    tempo_words
        How its models are told a tempo, but for those whose captions gave tempo and first beat.
    offloads
        Whether its class takes ``offloaded``.
    sampling
        How music is drawn from its models where nothing is said.
    sampling_in
        "module:function" that reads off a model's folder how music is drawn from it; None where all are alike.
    """

    backbone: str
    short_names: Mapping[str, str] = field(default_factory=dict)
    default: str | None = None
    compiles: bool = False
    find: str | None = None
    tempo_words: TempoWords = MOST_MODELS
    offloads: bool = False
    sampling: FullSampling = PLAIN_SAMPLING
    sampling_in: str | None = None

    def sampling_of(self, folder: Path) -> FullSampling:
        """How music is drawn from one of its models where nothing is said."""
        if self.sampling_in is None:
            return self.sampling
        read: Callable[[Path], FullSampling] = _named(self.sampling_in)
        return read(folder)


# Part of MusicGen's captions ended in such fields of metadata.
_MUSICGEN_TEMPO = TempoWords("bpm: {bpm}")

FAMILIES: dict[str, Family] = {
    "embedded": Family("d2m_cli.backbones.riffusion:RiffusionBackbone", sampling=FullSampling(steps=10)),
    "riffusion": Family(
        "d2m_cli.backbones.riffusion:RiffusionBackbone",
        default="riffusion/riffusion-model-v1",
        sampling=FullSampling(steps=50, guidance=7.0),
    ),
    "musicgen": Family(
        "d2m_cli.backbones.musicgen:MusicgenBackbone",
        _MUSICGEN,
        default="facebook/musicgen-small",
        compiles=True,
        tempo_words=_MUSICGEN_TEMPO,
    ),
    "audiocraft": Family(
        "d2m_cli.backbones.audiocraft:AudiocraftBackbone",
        _MUSICGEN,
        default="facebook/musicgen-small",
        find="d2m_cli.backbones.audiocraft_files:find",
        tempo_words=_MUSICGEN_TEMPO,
    ),
    "ace-step": Family(
        "d2m_cli.backbones.ace_step:AceStepBackbone",
        SHORT_NAMES["ace-step"],
        default="ACE-Step/acestep-v15-xl-turbo-diffusers",
        tempo_words=TempoWords(place="field", suffices=True),
        offloads=True,
        sampling_in="d2m_cli.backbones.latent_audio_sampling:ace_step_sampling",
    ),
    "stable-audio": Family(
        "d2m_cli.backbones.stable_audio:open_stable_audio",
        SHORT_NAMES["stable-audio"],
        default="stabilityai/stable-audio-open-1.0",
        tempo_words=TempoWords(suffices=True),
        offloads=True,
        sampling_in="d2m_cli.backbones.latent_audio_sampling:stable_audio_sampling",
    ),
}

NO_COMMERCIAL_USE = "CC-BY-NC-4.0 (no commercial use)"


@dataclass(frozen=True)
class Choice:
    """A backbone that was asked for or chosen, and the encoders that go with it.

    Attributes
    ----------
    family
        One of `families`.
    folder
        Where its weights lie.
    name
        What it is called in results and in encoder checkpoints.
    encoders
        Encoders made for it, or None where none were found.
    why
        Why "auto" took it, in words; "" where it was named, or where there was no ACE-Step to choose.
    """

    family: str
    folder: Path
    name: str
    encoders: Path | None
    why: str = ""

    @property
    def needs_encoders(self) -> bool:
        """Whether the rhythm can't reach it but by encoders, unless it is put in words at the user's wish."""
        own = FAMILIES.get(self.family)
        return self.encoders is None and not (own is not None and own.tempo_words.suffices)


def families() -> dict[str, Family | EntryPoint]:
    """All families by name: d2m's own, and those that other packages bring; d2m's own come first."""
    return {**{point.name: point for point in entry_points(group=ENTRY_POINTS)}, **FAMILIES}


def encoders_home() -> Path:
    """Folder in which trained encoders are looked for: ``$D2M_HOME/encoders``, else ``~/.local/share/d2m/encoders``."""
    return data_home() / "encoders"


def choose(
    spec: str,
    device: str = "cpu",
    precision: str = "auto",
    offloaded: bool = False,
    given: Collection[str] = (),
    encoders: Path | None = None,
) -> Choice:
    """Find the weights of a backbone.

    Parameters
    ----------
    spec
        "auto" (ACE-Step where it is on this machine, a GPU is large enough for it and it refuses no option; Riffusion
        where it and encoders for it are there; else the embedded model), a family, or "FAMILY:FOLDER_OR_HUB_ID".
    device, precision, offloaded
        Where and how music is to be made, for "auto"; as for `open_backbone`. ACE-Step is taken for a GPU alone.
    given
        Names of the options that are given, for "auto".
    encoders
        Encoders that are to be used, for "auto".

    Raises
    ------
    UsageError
        Unknown family; or for "auto", a GPU is asked for and absent.
    MissingWeightsError
        The weights are not on this machine.
    """
    if spec == "auto":
        return _automatic(lambda folder: passed_over(folder, device, precision, offloaded, given, encoders))
    name, _, origin = spec.partition(":")
    family = _family(name, spec)
    if name == "embedded":
        if origin:
            raise UsageError("the embedded backbone takes no folder; for a folder of your own say riffusion:FOLDER")
        folder = weights_dir() / "embedded"
        return Choice(name, folder, name, _existing(folder / "encoders.safetensors"))
    origin = family.short_names.get(origin, origin) or family.default or ""
    if not origin:
        raise UsageError(f"{option('backbone', name)}: say which model, as {name}:FOLDER")
    folder = _found(name, family, origin)
    beside = (
        folder / "encoders.safetensors",
        encoders_home() / name / Path(origin).name / "encoders.safetensors",
        encoders_home() / name / "encoders.safetensors",
    )
    return Choice(name, folder, f"{name}:{origin}", next(filter(Path.is_file, beside), None))


def _automatic(unfit: Callable[[Path], str]) -> Choice:
    """What "auto" means here, and why; `unfit` says of an ACE-Step why it is passed over."""
    passed = ""
    try:
        ace_step = choose("ace-step")
    except MissingWeightsError:
        pass  # nobody who has none is surprised to get another model
    else:
        passed = unfit(ace_step.folder)
        if not passed:
            return replace(ace_step, why="it is here, and the GPU has room for it")
    try:
        riffusion = choose("riffusion")
    except MissingWeightsError:
        return replace(choose("embedded"), why=passed)
    return replace(riffusion if riffusion.encoders else choose("embedded"), why=passed)


def _family(name: str, spec: str) -> Family:
    known = families()
    if name not in known:
        raise UsageError(
            f"{option('backbone')}: unknown backbone {spec!r}. Families: auto, {', '.join(known)}; or "
            "FAMILY:FOLDER_OR_HUB_ID"
        )
    family = known[name]
    return family if isinstance(family, Family) else Family(family.value)


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None


def _found(name: str, family: Family, origin: str) -> Path:
    if family.find is not None:
        find: Callable[[str], Path] = _named(family.find)
        return find(origin)
    if Path(origin).is_dir():
        return Path(origin)
    if name not in LAYOUTS:
        raise MissingWeightsError(f"{option('backbone', f'{name}:{origin}')}: there is no such folder")
    return model_folder(name, origin)


def open_backbone(
    choice: Choice, device: str = "auto", precision: str = "auto", compiled: bool = False, offloaded: bool = False
) -> Backbone:
    """Load a backbone.

    Parameters
    ----------
    choice
        From :func:`choose`.
    device
        "auto" (CUDA where there is one), "cpu", "cuda", or "cuda:1" of several.
    precision
        "auto", "fp32", "bf16" or "fp16"; see `d2m_cli.backbones.base.number_format`.
    compiled
        Compile what runs again and again, for families that can.
    offloaded
        Keep networks in main memory until they compute, for families that can.

    Raises
    ------
    UsageError
        CUDA is asked for and absent, the precision does not fit the device, a GPU has no room, or the family can't be
        compiled or offloaded.
    MissingWeightsError
        The weights can't be loaded.
    """
    check_able(choice, compiled, offloaded)
    family = _family(choice.family, choice.family)
    where = pick_device(device)
    if choice.why and choice.family == "ace-step" and where == "cpu":
        raise UsageError(
            "there is a GPU here, for which auto takes ACE-Step, but PyTorch can't use it: check that the driver fits "
            f"PyTorch's CUDA, or say {option('device', 'cpu')}"
        )
    make: Callable[..., Backbone] = _named(family.backbone)
    options: dict[str, Any] = {name: True for name, on in (("compiled", compiled), ("offloaded", offloaded)) if on}
    return make(choice.folder, identity(choice), where, precision, **options)


def check_able(choice: Choice, compiled: bool, offloaded: bool) -> None:
    """Raise UsageError where a backbone is to be compiled or offloaded that can't be; nothing is loaded for that."""
    family = _family(choice.family, choice.family)
    if compiled and not family.compiles:
        able = ", ".join(name for name, one in FAMILIES.items() if one.compiles)
        raise UsageError(f"{option('compile', True)}: {choice.family} has nothing to compile; it is for {able}")
    if offloaded and not family.offloads:
        able = ", ".join(name for name, one in FAMILIES.items() if one.offloads)
        raise UsageError(f"{option('offload', True)}: {choice.family} has room on any GPU; it is for {able}")


def identity(choice: Choice) -> Identity:
    """Name and licence of a chosen backbone: as its card `d2m.json` has them, else as they are known.

    Raises
    ------
    MissingWeightsError
        The card can't be read.
    """
    card = choice.folder / CARD
    family = _family(choice.family, choice.family)
    if card.is_file():
        try:
            told = json.loads(card.read_text(encoding="utf-8"))
            licence, speaks_tempo = str(told["licence"]), bool(told.get("speaks_tempo", False))
            return Identity(choice.name, licence, speaks_tempo, family.tempo_words, family.sampling_of(choice.folder))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise MissingWeightsError(
                f"{card}: is not a card of a model ({error!r}). It should hold "
                '{"licence": "MIT", "speaks_tempo": false}; mend it or take it away.'
            ) from error
    if choice.family == "embedded":
        return Identity(choice.name, "MIT", speaks_tempo=True, sampling=family.sampling)
    known = _published_licence(choice.name.partition(":")[2]) or _readme_licence(choice.folder)
    if known and known.lower() == "cc-by-nc-4.0":
        known = NO_COMMERCIAL_USE
    licence = known or f"not known, see {choice.folder}"
    return Identity(choice.name, licence, tempo_words=family.tempo_words, sampling=family.sampling_of(choice.folder))


def known_sampling(choice: Choice, wanted: Sampling) -> Sampling:
    """How music is drawn from a chosen backbone, told without loading it.

    A backbone of another package may have a choice of its own, so that what is left to it stays open here.
    """
    own = FAMILIES.get(choice.family)
    return own.sampling_of(choice.folder).filling(wanted) if own is not None else wanted


def _published_licence(origin: str) -> str | None:
    return next((entry.licence for entry in CATALOGUE.values() if entry.origin == origin), None)


def _readme_licence(folder: Path) -> str | None:
    """What the README.md of a hub model says in its head; None where there is none, or none that can be read."""
    from huggingface_hub import metadata_load
    from yaml import YAMLError

    try:
        head = metadata_load(folder / "README.md") or {}
        # Of a licence that the hub has no name for its authors give one.
        told = head.get("license_name") if head.get("license") == "other" else head.get("license")
    except (OSError, ValueError, YAMLError):
        return None
    return str(told) if told else None


def _named(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def pick_device(device: str) -> str:
    """Resolve "auto", and check that "cuda", or "cuda:1" of several, is there."""
    import torch

    check_device_name(device)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    refuse_absent(device, count, ", or check that the driver fits PyTorch's CUDA")
    return ("cuda" if count else "cpu") if device == "auto" else device
