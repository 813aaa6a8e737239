"""Encoders on disk: one ``encoders.safetensors`` whose header says what they were made for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from d2m_cli.errors import EncoderMismatchError, UsageError
from d2m_cli.ground.digests import file_sha256
from d2m_cli.ground.files import atomic_path
from d2m_cli.ground.options import option
from d2m_cli.inversion.constant import Constant
from d2m_cli.inversion.genre_encoder import CLAP_WIDTH, GenreClap, GenreLabel, one_hot
from d2m_cli.inversion.prompt import GENRE_WORD, RHYTHM_WORD
from d2m_cli.inversion.rhythm_encoder import AttnPos, RhythmMLP, RhythmSequence
from d2m_cli.inversion.shape import WordShape
from d2m_cli.rhythm.sequence import RhythmGrid

PROJECTORS = ("mlp", "attn-pos", "sequence", "constant")
GENRES = ("label", "clap", "constant")
WINDOW_TOLERANCE = 0.1
"""Seconds by which a grid may differ from a window: the published clips of "5.12 s" give 303 steps at 60 Hz, 5.05 s."""
_PARTS = {"rhythm": "rhythm_network", "genre": "genre_network"}
"""Prefix of a tensor in the file to the network that it belongs to."""


@dataclass(frozen=True)
class EncoderConfig:
    """What a pair of encoders was made for.

    Attributes
    ----------
    backbone
        Name of the backbone.
    fingerprint
        `fingerprint` of its frozen parameters. "" where that is not known, as for encoders that were trained by other
        code: they are not bound to one set of weights, and `Encoders.check` compares family and text width alone.
    width
        Its text width.
    grid
        Rhythm mode and clock that "*" was trained on.
    hidden
        Inner width of the rhythm projectors "mlp" and "sequence".
    projector
        "mlp" or "attn-pos" (the paper's), "sequence" (a row of vectors in time) or "constant" (textual inversion).
    genre
        "label" (the paper's), "clap" (a sound example), "constant", or None where only "*" was trained.
    rhythm_vectors, genre_vectors
        How many tokens "*" and "@" take.
    layers
        1, or the backbone's `condition_layers`: vectors of its own for every place that reads the text (P+).
    clap
        For genre "clap": `ClapAudio.fingerprint` of the model whose embeddings "@" was trained on; "" is not checked.
    """

    backbone: str
    fingerprint: str
    width: int
    grid: RhythmGrid
    hidden: int = 512
    projector: str = "mlp"
    genre: str | None = "label"
    rhythm_vectors: int = 1
    genre_vectors: int = 1
    layers: int = 1
    clap: str = ""

    def __post_init__(self) -> None:
        if self.projector not in PROJECTORS:
            raise UsageError(f"unknown rhythm projector {self.projector!r}; choose one of {', '.join(PROJECTORS)}")
        if self.genre is not None and self.genre not in GENRES:
            raise UsageError(f"unknown genre encoder {self.genre!r}; choose one of {', '.join(GENRES)}, or none")
        smallest = {"width": 1, "hidden": 4, "rhythm_vectors": 1, "genre_vectors": 1, "layers": 1}
        for name, least in smallest.items():
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise UsageError(f"{name} of encoders must be a whole number of at least {least}, not {value!r}")
        if self.grid.steps < 1 or not self.grid.rate > 0:
            raise UsageError(f"encoders need a rhythm grid with steps and a rate, not {self.grid}")
        if self.projector == "sequence" and self.rhythm_vectors > self.grid.steps:
            raise UsageError(f"{self.rhythm_vectors} rhythm vectors are more than the rhythm's {self.grid.steps} steps")
        if self.clap and self.genre != "clap":
            raise UsageError("only encoders with genre 'clap' go with a CLAP model")


class Reader(Protocol):
    """What a backbone tells of how it reads pseudo-words; see `d2m_cli.backbones.base.Backbone`."""

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def text_width(self) -> int: ...

    @property
    def window_seconds(self) -> float: ...

    @property
    def condition_layers(self) -> int: ...


class Encoders(nn.Module):
    """The two trained encoders of one backbone.

    Parameters
    ----------
    config
        What they are made for.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.rhythm_network = _rhythm_network(config)
        self.genre_network = _genre_network(config)
        self.path: Path | None = None
        self.sha256 = ""

    @property
    def grid(self) -> RhythmGrid:
        """Rhythm mode and clock that "*" was trained on."""
        return self.config.grid

    @property
    def genre_kind(self) -> str | None:
        """What "@" listens to: "label", "clap", "constant", or None where only "*" was trained."""
        return self.config.genre

    @property
    def device(self) -> torch.device:
        """Where the parameters lie; what comes in is brought there."""
        return next(self.parameters()).device

    @property
    def note(self) -> str:
        """What a user should know before trusting these encoders, or ""."""
        if self.config.fingerprint:
            return ""
        return (
            f"{self._where} are not bound to one set of weights; they were made for {self.config.backbone} of text "
            f"width {self.config.width}"
        )

    @property
    def _where(self) -> str:
        return str(self.path or "these encoders")

    def rhythm(self, sequences: Tensor) -> Tensor:
        """Vectors of "*": (batch, steps) binary sequences -> (batch, layers, vectors, width)."""
        if sequences.ndim != 2 or sequences.shape[1] != self.grid.steps:
            raise ValueError(f"rhythms must have shape (batch, {self.grid.steps}), not {tuple(sequences.shape)}")
        if isinstance(self.rhythm_network, Constant):
            return self.rhythm_network(len(sequences))  # type: ignore[no-any-return]
        return self.rhythm_network(sequences.to(self.device))  # type: ignore[no-any-return]

    def genre(self, codes: Sequence[str] | Tensor) -> Tensor:
        """Vectors of "@": -> (batch, layers, vectors, width).

        Parameters
        ----------
        codes
            Two-letter codes for genre "label"; (batch, 512) embeddings of sounds for "clap"; either for "constant",
            where only their number counts.

        Raises
        ------
        UsageError
            Only "*" was trained, or "@" listens to something else.
        """
        network = self.genre_network
        if network is None:
            raise UsageError(f"{self._where}: made without genres; leave {option('genre')} out")
        if isinstance(network, Constant):
            return network(len(codes))  # type: ignore[no-any-return]
        if isinstance(network, GenreClap):
            if not isinstance(codes, Tensor) or codes.ndim != 2 or codes.shape[1] != CLAP_WIDTH:
                raise UsageError(
                    f"{self._where}: '@' stands for a sound example here; give {option('genre_audio')}, not "
                    f"{option('genre')}"
                )
            return network(codes.to(self.device))  # type: ignore[no-any-return]
        if isinstance(codes, Tensor):
            raise UsageError(
                f"{self._where}: '@' stands for a genre's name here; give {option('genre')}, not "
                f"{option('genre_audio')}"
            )
        return network(one_hot(codes).to(self.device))  # type: ignore[no-any-return]

    def pseudo_words(self, sequences: Tensor, genres: str | Sequence[str] | Tensor | None) -> dict[str, Tensor]:
        """Both pseudo-words for a batch of windows, as `Backbone.embed` takes them.

        Parameters
        ----------
        sequences
            (batch, steps) binary rhythms.
        genres
            As in `genre`, one for each window; one code for all of them; or None, which leaves "@" out.

        Returns
        -------
        {"*": ..., "@": ...}, each (batch, layers, vectors, width).
        """
        words = {RHYTHM_WORD: self.rhythm(sequences)}
        if genres is not None:
            words[GENRE_WORD] = self.genre([genres] * len(sequences) if isinstance(genres, str) else genres)
        return words

    def save(self, path: Path) -> None:
        """Write one file in half precision with the configuration in its header.

        Raises
        ------
        UsageError
            A value is not finite in half precision: the training has run away.
        OutputError
            The file can't be written.
        """
        tensors = {}
        for name, value in self.state_dict().items():
            part, _, rest = name.partition(".")
            half = value.detach().cpu().half().contiguous()
            if not half.isfinite().all():
                raise UsageError(
                    f"{path}: not written: {name} holds values that are no finite numbers in half precision; train "
                    f"again ({option('overwrite', True)}) with a lower {option('learning_rate')}"
                )
            tensors[f"{part.removesuffix('_network')}.{rest}"] = half
        with atomic_path(path) as unfinished:
            unfinished.write_bytes(save(tensors, metadata={"d2m": json.dumps(asdict(self.config))}))

    @classmethod
    def load(cls, path: Path) -> Encoders:
        """Read encoders, ready to use and frozen; UsageError where the file is missing or isn't one."""
        path = Path(path)
        try:
            with safe_open(str(path), framework="pt") as opened:
                header = (opened.metadata() or {}).get("d2m")
                tensors = {name: opened.get_tensor(name).float() for name in opened.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise UsageError(
                f"{path}: can't be read as encoders ({error}). Give the encoders.safetensors of a training."
            ) from error
        if header is None:
            raise UsageError(f"{path}: a safetensors file, but not encoders of d2m: its header has no 'd2m' entry")
        encoders = cls(_read_config(path, header))
        for prefix, attribute in _PARTS.items():
            network = getattr(encoders, attribute)
            if network is not None:
                fill(network, _under(tensors, f"{prefix}."), f"{path}: {prefix}.")
        encoders.eval().requires_grad_(False)
        encoders.path = path
        encoders.sha256 = file_sha256(path)
        return encoders

    def check(self, backbone: Reader) -> None:
        """Raise EncoderMismatchError unless these were made for ``backbone``."""
        where, config = self._where, self.config
        if config.width != backbone.text_width:
            raise EncoderMismatchError(
                f"{where}: made for {config.backbone} (text width {config.width}), but {backbone.name} has "
                f"text width {backbone.text_width}. Train encoders for it with `d2m train`, or choose the other "
                f"{option('backbone')}."
            )
        if abs(self.grid.seconds - backbone.window_seconds) > WINDOW_TOLERANCE:
            raise EncoderMismatchError(
                f"{where}: made for windows of {self.grid.seconds:.2f} s, but {backbone.name} makes "
                f"{backbone.window_seconds:.2f} s. Train encoders for it with `d2m train`."
            )
        if config.layers > 1 and config.layers != backbone.condition_layers:
            raise EncoderMismatchError(
                f"{where}: made for {config.layers} layers, but {backbone.name} reads the text at "
                f"{backbone.condition_layers} places. Train encoders for it with `d2m train`."
            )
        if not config.fingerprint and _family(config.backbone) != _family(backbone.name):
            raise EncoderMismatchError(
                f"{where}: made for {config.backbone}, which {backbone.name} is not. Choose the other "
                f"{option('backbone')}, or train encoders for this one with `d2m train`."
            )
        if config.fingerprint and config.fingerprint != backbone.fingerprint:
            raise EncoderMismatchError(
                f"{where}: made for {config.backbone}, whose weights are not those of {backbone.name}. "
                f"Train encoders for it with `d2m train`, or choose the other {option('backbone')}."
            )


def _rhythm_network(config: EncoderConfig) -> nn.Module:
    shape = WordShape(config.width, config.rhythm_vectors, config.layers)
    if config.projector == "mlp":
        return RhythmMLP(config.grid.steps, shape, config.hidden)
    if config.projector == "attn-pos":
        return AttnPos(config.grid.steps, shape)
    if config.projector == "sequence":
        return RhythmSequence(config.grid.steps, shape, config.hidden)
    return Constant(shape)


def _genre_network(config: EncoderConfig) -> nn.Module | None:
    shape = WordShape(config.width, config.genre_vectors, config.layers)
    if config.genre == "label":
        return GenreLabel(shape)
    if config.genre == "clap":
        return GenreClap(shape)
    return Constant(shape) if config.genre == "constant" else None


def _family(backbone: str) -> str:
    return backbone.partition(":")[0]


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _read_config(path: Path, header: str) -> EncoderConfig:
    try:
        raw = json.loads(header)
        return EncoderConfig(**{**raw, "grid": RhythmGrid(**raw["grid"])})
    except (ValueError, TypeError, KeyError, UsageError) as error:
        raise UsageError(
            f"{path}: its header does not say what the encoders are ({error}). Was it made by a newer d2m? Then update "
            "this one; else train again."
        ) from error


def fill(
    network: nn.Module, tensors: Mapping[str, Tensor], where: str, name_in_file: Callable[[str], str] = str
) -> None:
    """Load a network's tensors, all of them and no others.

    Parameters
    ----------
    network
        The network to fill.
    tensors
        By the names that the file has for them.
    where
        File and prefix to begin an error's text with.
    name_in_file
        From a name in the network's ``state_dict`` to the file's; the same where nothing is given.

    Raises
    ------
    UsageError
        A tensor is missing, too many, of another shape or not finite; the text names the first.
    """
    state = {}
    for name, wanted in network.state_dict().items():
        named = name_in_file(name)
        if named not in tensors:
            raise UsageError(f"{where}{named}: missing; the file is not complete, or holds another network")
        given = tensors[named]
        if given.shape != wanted.shape:
            raise UsageError(
                f"{where}{named}: of shape {tuple(given.shape)}, where {tuple(wanted.shape)} is needed; the file holds "
                "another network"
            )
        if not given.isfinite().all():
            raise UsageError(f"{where}{named}: holds values that are not finite; fetch or train the file again")
        state[name] = given
    unknown = sorted(set(tensors) - {name_in_file(name) for name in state})
    if unknown:
        raise UsageError(f"{where}{unknown[0]}: not a part of this network; the file holds another one")
    network.load_state_dict(state)
