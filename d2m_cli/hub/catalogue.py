"""Which weights d2m can use beside those that ship with it, where each comes from, and under which licence.

What is written here was published by those who made the weights. Where they publish no size and no checksum, there is
none here. The hub knows both for each of its files, and `d2m_cli.hub.models` asks it; sizes of hub models that stand
here are what its pages showed in 2023 to 2025, rounded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from d2m_cli.errors import UsageError


@dataclass(frozen=True)
class HubModel:
    """Some files of a model on the Hugging Face hub.

    Attributes
    ----------
    repo
        Its hub id.
    needs
        Files that are needed. Of each tuple the first that the hub has whole is taken, alone or, where there is an
        ``.index.json`` of that name, in numbered pieces.
    also
        Patterns of small files that are taken where there are any.
    megabytes
        About how much that is, or None.
    """

    repo: str
    needs: tuple[tuple[str, ...], ...]
    also: tuple[str, ...] = ()
    megabytes: int | None = None


@dataclass(frozen=True)
class Download:
    """One file behind an address.

    Attributes
    ----------
    url
        Where it is.
    sha256
        Its checksum in hexadecimal, or the first digits of it where only those are published; None where nothing is.
    size
        Bytes, or None where it is not published.
    """

    url: str
    sha256: str | None = None
    size: int | None = None

    @property
    def file_name(self) -> str:
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class Weights:
    """One entry of the catalogue.

    Attributes
    ----------
    name
        What it is called on the command line.
    purpose
        What d2m does with it.
    source
        Where it comes from.
    licence
        Of the weights.
    terms
        What the licence means for the user, in one sentence; told before anything is fetched.
    family
        Family of backbones that it belongs to, or "".
    with_weights
        Names of what is fetched along with it.
    mmpose_config
        Configuration of mmpose for the export to ONNX, by its name without ".py"; "" where there is nothing to export.
    ready
        A model of the hub that holds the same network as ONNX, made by others: taken where it is there and says how it
        wants its pictures; its page has its licence.
    member
        Name of the one file of an archive (.zip) that is kept; "" where what is fetched is no archive.
    """

    name: str
    purpose: str
    source: HubModel | Download
    licence: str
    terms: str = ""
    family: str = ""
    with_weights: tuple[str, ...] = ()
    mmpose_config: str = ""
    member: str = ""
    ready: HubModel | None = None

    @property
    def slug(self) -> str:
        """The name as a file name."""
        return re.sub(r"[^\w.-]+", "--", self.name)

    @property
    def origin(self) -> str:
        """Hub id or address."""
        return self.source.repo if isinstance(self.source, HubModel) else self.source.url

    @property
    def fetch_command(self) -> str:
        """The one command that fetches it."""
        return f"d2m weights pull {self.name}"


NO_COMMERCIAL_USE = "no commercial use of the weights."
STABILITY_LICENCE = "Stability AI Community License"
STABILITY_TERMS = (
    "free for individuals and for organisations with less than 1 million US dollars of revenue a year; others need a "
    "licence of Stability AI (stability.ai/license). On its page its terms have to be accepted first."
)
GEMMA_TERMS = " Its text encoder is under Google's Gemma terms of use (ai.google.dev/gemma/terms)."
UNKNOWN_LICENCE = "not known to d2m"
MMPOSE_INSTALL = (
    "pip install 'd2m[mmpose]', then pip install --no-deps mmpose==1.3.2 mmengine==0.10.7 mmcv-lite==2.1.0; "
    "only the export needs it, poses are found without"
)
"""How to get what turns a fetched HRNet into ONNX."""

_OF_D2M = ("d2m.json", "encoders.safetensors")
"""What a model that was trained for d2m may have beside it."""
_RIFFUSION = (
    ("unet/config.json",),
    ("unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.bin"),
    ("vae/config.json",),
    ("vae/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.bin"),
    ("text_encoder/config.json",),
    ("text_encoder/model.safetensors", "text_encoder/pytorch_model.bin"),
    ("tokenizer/vocab.json", "tokenizer/tokenizer.json"),
    ("scheduler/scheduler_config.json",),
)
_RIFFUSION_ALSO = ("model_index.json", "tokenizer/*.json", "tokenizer/*.txt", "spectrogram.json", *_OF_D2M)


def _diffusers(*networks: str) -> tuple[tuple[str, ...], ...]:
    """Files of a model in diffusers' layout, with the text encoder that all have."""
    parts = [(f"{part}/config.json",) for part in networks]
    parts += [(f"{part}/diffusion_pytorch_model.safetensors",) for part in networks]
    return (
        ("model_index.json",),
        *parts,
        ("text_encoder/config.json",),
        ("text_encoder/model.safetensors",),
        ("tokenizer/tokenizer.json", "tokenizer/vocab.json", "tokenizer/tokenizer.model", "tokenizer/spiece.model"),
        ("scheduler/scheduler_config.json",),
    )


_DIFFUSERS_ALSO = ("tokenizer/*", "text_encoder/generation_config.json", "README.md")
_MODEL = (("config.json",), ("model.safetensors", "pytorch_model.bin"))
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "spiece.model")
_MUSICGEN = (*_MODEL, ("tokenizer.json", "spiece.model"))
_MUSICGEN_ALSO = ("generation_config.json", "preprocessor_config.json", *_TOKENIZER, *_OF_D2M)
_AUDIOCRAFT = (("state_dict.bin",), ("compression_state_dict.bin",))
_T5 = (*_MODEL, ("tokenizer.json", "spiece.model"))
_CLAP = (*_MODEL, ("preprocessor_config.json",), ("tokenizer.json", "vocab.json"))
_CLAP_ALSO = ("vocab.json", "merges.txt", *_TOKENIZER)

_ACE_STEP = _diffusers("vae", "transformer", "condition_encoder")
_STABLE_AUDIO = _diffusers("vae", "transformer")

LAYOUTS: dict[str, tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]] = {
    "riffusion": (_RIFFUSION, _RIFFUSION_ALSO),
    "musicgen": (_MUSICGEN, _MUSICGEN_ALSO),
    "audiocraft": (_AUDIOCRAFT, ()),
    "ace-step": (_ACE_STEP, (*_DIFFUSERS_ALSO, *_OF_D2M)),
    # Open and 3 differ by one small network each.
    "stable-audio": (_STABLE_AUDIO, (*_DIFFUSERS_ALSO, "projection_model/*", "duration_embedder/*", *_OF_D2M)),
}
"""Family of backbones to `HubModel.needs` and `HubModel.also`."""
SHORT_NAMES = {
    "ace-step": {
        "xl-turbo": "ACE-Step/acestep-v15-xl-turbo-diffusers",
        "xl-base": "ACE-Step/acestep-v15-xl-base-diffusers",
    },
    "stable-audio": {
        "open": "stabilityai/stable-audio-open-1.0",
        "3": "stabilityai/stable-audio-3-medium",
        "3-small": "stabilityai/stable-audio-3-small-music",
        "3-base": "stabilityai/stable-audio-3-medium-base",
    },
}
"""Family of backbones to hub ids by short name."""
MUSICGEN_SIZES = {
    "small": "MusicGen, 300 million parameters",
    "medium": "MusicGen, 1.5 billion parameters",
    "large": "MusicGen, 3.3 billion parameters",
    "stereo-small": "MusicGen in stereo, 300 million parameters",
    "stereo-medium": "MusicGen in stereo, 1.5 billion parameters",
    "stereo-large": "MusicGen in stereo, 3.3 billion parameters",
}


def _on_hub(
    family: str, name: str, repo: str, purpose: str, licence: str, terms: str, megabytes: int | None = None
) -> Weights:
    needs, also = LAYOUTS[family]
    # Published checkpoints of audiocraft hold no text encoder, and those in stereo only name their codec.
    others = ("t5-base", *(("encodec-32khz",) if "stereo" in repo else ())) if family == "audiocraft" else ()
    return Weights(name, purpose, HubModel(repo, needs, also, megabytes), licence, terms, family, others)


def _musicgen(size: str, megabytes: int | None = None) -> Weights:
    repo, purpose = f"facebook/musicgen-{size}", MUSICGEN_SIZES[size]
    return _on_hub("musicgen", f"musicgen-{size}", repo, purpose, "CC-BY-NC-4.0", NO_COMMERCIAL_USE, megabytes)


def _audiocraft(size: str, megabytes: int | None = None) -> Weights:
    repo, name, purpose = f"facebook/musicgen-{size}", f"musicgen-{size}-audiocraft", MUSICGEN_SIZES[size]
    purpose = f"{purpose}, for audiocraft"
    return _on_hub("audiocraft", name, repo, purpose, "CC-BY-NC-4.0", NO_COMMERCIAL_USE, megabytes)


def _stable_audio(name: str, repo: str, purpose: str, more: str = "") -> Weights:
    # As the models' pages say ("stable-audio-community"), which name stability.ai/license.
    return _on_hub("stable-audio", name, repo, purpose, STABILITY_LICENCE, f"{STABILITY_TERMS}{more}")


def _hrnet(name: str, config: str, file: str, size: str, sha256: str = "", length: int | None = None) -> Weights:
    # mmpose's publish_model.py puts the first 8 digits of the file's sha256 into its name.
    digits = file.rpartition("-")[2].partition("_")[0]
    url = f"https://download.openmmlab.com/mmpose/top_down/hrnet/{file}"
    source = Download(url, sha256 or digits, length)
    # The only one that others publish as ONNX; by its card from the authors' own checkpoint.
    ready = HubModel("qualcomm/HRNetPose", (("HRNetPose.onnx",),), megabytes=114) if name == "hrnet-w32" else None
    purpose = f"HRNet, the paper's pose network, {size} pixels"
    return Weights(name, purpose, source, "Apache-2.0", mmpose_config=config, ready=ready)


def _rtmpose(size: str, file: str) -> Weights:
    # The digits in the name are of the checkpoint that the archive was made from, not of the archive.
    url = f"https://download.openmmlab.com/mmpose/v1/projects/rtmposev1/onnx_sdk/{file}"
    purpose = f"RTMPose-{size}, a pose network, 256 x 192 pixels"
    return Weights(f"rtmpose-{size}", purpose, Download(url), "Apache-2.0", member="end2end.onnx")


def _rtmo(size: str) -> Weights:
    source = HubModel(f"Xenova/RTMO-{size}", (("onnx/model.onnx",),))
    return Weights(f"rtmo-{size}", f"RTMO-{size}, people and their poses in one go", source, "Apache-2.0")


_ALL = (
    _on_hub(
        "riffusion",
        "riffusion",
        "riffusion/riffusion-model-v1",
        "backbone of the paper: diffusion on spectrograms",
        "CreativeML OpenRAIL-M",
        "some uses are forbidden, and whoever gets the weights from you must be told (attachment A of the licence).",
        4270,
    ),
    _musicgen("small", 2360),
    _musicgen("medium", 8040),
    _musicgen("large", 13720),
    _musicgen("stereo-small"),
    _musicgen("stereo-medium", 4070),
    _musicgen("stereo-large", 6920),
    _audiocraft("small", 1080),
    _audiocraft("medium"),
    _audiocraft("large", 6750),
    _on_hub(
        "ace-step",
        "ace-step",
        "ACE-Step/acestep-v15-xl-turbo-diffusers",
        "ACE-Step 1.5 XL turbo, 48 kHz in stereo, up to 10 minutes at once, 8 steps",
        # As its page says; the same stands in the authors' repository.
        "MIT",
        "",
        11000,
    ),
    _on_hub(
        "ace-step",
        "ace-step-xl-base",
        "ACE-Step/acestep-v15-xl-base-diffusers",
        "ACE-Step 1.5 XL before its distillation: it knows guidance",
        "MIT",
        "",
    ),
    _stable_audio(
        "stable-audio", "stabilityai/stable-audio-open-1.0", "Stable Audio Open 1.0, 44.1 kHz in stereo, 47 s at once"
    ),
    _stable_audio(
        "stable-audio-3",
        "stabilityai/stable-audio-3-medium",
        "Stable Audio 3 medium, 44.1 kHz in stereo, up to 380 s at once, 8 steps",
        GEMMA_TERMS,
    ),
    _stable_audio(
        "stable-audio-3-small",
        "stabilityai/stable-audio-3-small-music",
        "Stable Audio 3 small, for music, 44.1 kHz in stereo, up to 2 minutes at once, 8 steps",
        GEMMA_TERMS,
    ),
    _stable_audio(
        "stable-audio-3-base",
        "stabilityai/stable-audio-3-medium-base",
        "Stable Audio 3 medium before its distillation: it knows guidance",
        GEMMA_TERMS,
    ),
    Weights(
        "t5-base",
        "text encoder of MusicGen, for audiocraft",
        HubModel("google-t5/t5-base", _T5, _TOKENIZER),
        "Apache-2.0",
    ),
    Weights(
        "encodec-32khz",
        "codec of MusicGen, for audiocraft's stereo models",
        HubModel("facebook/encodec_32khz", _MODEL, ("preprocessor_config.json",)),
        # Its page names no licence; audiocraft's LICENSE_weights is that of all its weights.
        "CC-BY-NC-4.0",
        NO_COMMERCIAL_USE,
    ),
    _hrnet(
        "hrnet-w32",
        "td-hm_hrnet-w32_8xb64-210e_coco-256x192",
        "hrnet_w32_coco_256x192-c78dce93_20200708.pth",
        "256 x 192",
    ),
    _hrnet(
        "hrnet-w32-384",
        "td-hm_hrnet-w32_8xb64-210e_coco-384x288",
        "hrnet_w32_coco_384x288-d9f0d786_20200708.pth",
        "384 x 288",
    ),
    _hrnet(
        "hrnet-w48",
        "td-hm_hrnet-w48_8xb32-210e_coco-256x192",
        "hrnet_w48_coco_256x192-b9e0b3ab_20200708.pth",
        "256 x 192",
        # Whole sum and size as the hub lists them for copies of this file.
        "b9e0b3ab0439cb68e166c7543e59d2587cd8d7e9acf5ea62a8378eeb82fb50e5",
        255011654,
    ),
    _hrnet(
        "hrnet-w48-384",
        "td-hm_hrnet-w48_8xb32-210e_coco-384x288",
        "hrnet_w48_coco_384x288-314c8528_20200708.pth",
        "384 x 288",
    ),
    _rtmpose("s", "rtmpose-s_simcc-body7_pt-body7_420e-256x192-acd4a1ef_20230504.zip"),
    _rtmpose("m", "rtmpose-m_simcc-body7_pt-body7_420e-256x192-e48f03d0_20230504.zip"),
    _rtmpose("l", "rtmpose-l_simcc-body7_pt-body7_420e-256x192-4dba18fc_20230504.zip"),
    _rtmo("t"),
    _rtmo("s"),
    _rtmo("m"),
    Weights(
        "vggish",
        "embedding of the paper's FAD, for d2m eval",
        # torch.hub's way of naming: the digits behind the line are the first of the sha256.
        Download(
            "https://github.com/harritaylor/torchvggish/releases/download/v0.1/vggish-10086976.pth", sha256="10086976"
        ),
        "Apache-2.0",
    ),
    Weights(
        "clap",
        "sound examples for '@', CLAP score and FAD of d2m eval",
        HubModel("laion/clap-htsat-unfused", _CLAP, _CLAP_ALSO, 615),
        "Apache-2.0",
    ),
    Weights(
        "sincresnet",
        "the paper's genre classifier (GTZAN's genres), for d2m eval",
        # Its authors' demo.py loads the file from the top of their repository; they give no other address.
        Download("https://github.com/PeiChunChang/MS-SincResNet/raw/HEAD/MS-SincResNet.tar"),
        "none stated",
        "its authors state no licence: ask them before you pass the weights on.",
    ),
)
CATALOGUE: dict[str, Weights] = {entry.name: entry for entry in _ALL}
HRNETS = tuple(name for name, entry in CATALOGUE.items() if entry.mmpose_config)
"""Pose networks that are turned into ONNX."""
POSE_KINDS = ("hrnet", "rtmpose", "rtmo")
"""Heads of pose networks that d2m reads."""
POSE_NETWORKS = (
    "rtmpose-l",
    "hrnet-w48-384",
    "hrnet-w32-384",
    "hrnet-w48",
    "rtmpose-m",
    "hrnet-w32",
    "rtmo-m",
    "rtmpose-s",
    "rtmo-s",
    "rtmo-t",
)
"""Pose networks, those first that have the higher AP on COCO as published (docs/pose.md); of two alike the quicker."""

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def find(text: str) -> Weights:
    """An entry by its name, or by a backbone as the option of that name takes it.

    Parameters
    ----------
    text
        A name of the catalogue; a family ("musicgen"); or a family with a short name or a hub id ("musicgen:large",
        "riffusion:someone/their-model"). A hub id that is not in the catalogue is taken to have its family's layout.

    Raises
    ------
    UsageError
        There is nothing of that name.
    """
    if text in CATALOGUE:
        return CATALOGUE[text]
    family, _, origin = text.partition(":")
    origin = SHORT_NAMES.get(family, {}).get(origin, origin)
    if family in LAYOUTS:
        known = [entry for entry in CATALOGUE.values() if entry.family == family]
        for entry in known:
            if not origin or origin in (entry.origin, entry.origin.rpartition("musicgen-")[2]):
                return entry
        repo = f"facebook/musicgen-{origin}" if family != "riffusion" and origin in MUSICGEN_SIZES else origin
        if _HUB_ID.fullmatch(repo):
            return _stranger(family, repo)
    raise UsageError(
        f"no weights are called {text!r}: 'd2m weights list' shows those that there are; of other models on the hub "
        f"give FAMILY:HUB_ID, with a family of {', '.join(LAYOUTS)}"
    )


def _stranger(family: str, repo: str) -> Weights:
    """A hub model that the catalogue does not hold, or not for this family."""
    kin = next((entry for entry in CATALOGUE.values() if entry.origin == repo), None)
    licence = kin.licence if kin else UNKNOWN_LICENCE
    terms = kin.terms if kin else f"read https://huggingface.co/{repo} before you use it."
    return _on_hub(family, f"{family}:{repo}", repo, f"backbone of the family {family}", licence, terms)
