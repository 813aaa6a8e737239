"""The models that an evaluation needs, by their names, and where the reference beats come from."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from d2m_cli.errors import UsageError
from d2m_cli.evaluation.rhythm.detections import Detections
from d2m_cli.ground.options import option
from d2m_cli.media.audio import Samples, load_audio

if TYPE_CHECKING:
    from d2m_cli.evaluation.genre.divergence import Classifier
    from d2m_cli.evaluation.sound.clap_score import Clap
    from d2m_cli.evaluation.sound.embedding import Embedder
    from d2m_cli.pose.estimator import PoseEstimator
    from d2m_cli.pose.track import Poses

Sound = tuple[Samples, int]
"""(channels, n) samples and their rate in Hz."""


class Reference(Protocol):
    """Where the reference beats come from."""

    def __call__(self, path: Path) -> tuple[Detections, Sound | None]:
        """Beats of one clip, and its sound where it has one."""
        ...


@dataclass(frozen=True)
class Models:
    """What scores clips.

    Attributes
    ----------
    reference
        Gives the reference beats: `true_music`, or `dance_beats` for clips without true music.
    about_reference
        What generated beats are compared with, in words, for the record.
    embedders
        For FAD, FAD-infinity and KAD; used where there is true music.
    classifiers
        For genre KLD and accuracy.
    clap
        For the CLAP score of prompts, or None.
    """

    reference: Reference
    about_reference: str
    embedders: tuple[Embedder, ...] = ()
    classifiers: tuple[Classifier, ...] = ()
    clap: Clap | None = None


class _HasName(Protocol):
    @property
    def name(self) -> str: ...


Named = TypeVar("Named", bound=_HasName)


def load_models(
    *,
    reference: bool,
    embeddings: Sequence[str],
    classifiers: Sequence[str],
    clap: Path | None,
    device: str = "auto",
    decoder: str = "auto",
) -> Models:
    """Load models by their names.

    Parameters
    ----------
    reference
        Whether there is true music; else the beats of the dance are the reference, and no embedder is used.
    embeddings
        Of "listener", "vggish", "vggish:FILE", "clap", "clap:FOLDER" and "none"; without a path those that
        ``d2m weights pull`` fetched.
    classifiers
        Of "listener", "sincresnet", "sincresnet:FILE" and "none".
    clap
        Folder of a CLAP model for prompts, "clap" for the one that ``d2m weights pull clap`` fetched, or None.
    device, decoder
        For poses; see `PoseOptions`.

    Raises
    ------
    UsageError
        A name is unknown, or two models would have the same column.
    MissingWeightsError
        The weights of a model are not on this machine.
    """
    embedders = _embedders(embeddings) if reference else ()
    known = _classifiers(classifiers, embedders)
    text = _clap(clap) if clap is not None else None
    if reference:
        return Models(true_music, "the true music", embedders, known, text)
    about = "the dance: its beats, or its accents where no steady beat was seen"
    return Models(dance_beats(_poses(device, decoder)), about, (), known, text)


def detect(samples: Samples, rate: int) -> Detections:
    """Beats and onsets of music, without warnings: what was not found is said once at the end, with the clip's name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return Detections.from_audio(samples, rate)


def true_music(path: Path) -> tuple[Detections, Sound | None]:
    """Beats of the true music, from a sound file or a video."""
    samples, rate = load_audio(path)
    return detect(samples, rate), (samples, rate)


def dance_beats(estimate: Callable[[Path], Poses]) -> Reference:
    """The dance itself as the reference: the beats of poses, for clips without true music.

    Parameters
    ----------
    estimate
        Gives the poses of a video or of a pose file.
    """
    from d2m_cli.evaluation.rhythm.dance_beats import detect_dance

    return lambda path: (detect_dance(estimate(path)), None)


def _embedders(names: Sequence[str]) -> tuple[Embedder, ...]:
    wanted = [name for name in dict.fromkeys(names) if name != "none"]
    if not wanted:
        return ()
    from d2m_cli.evaluation.sound.embedders import load_embedder

    return _named_apart([load_embedder(*_split(name)) for name in wanted], "embedding")


def _classifiers(names: Sequence[str], embedders: Sequence[Embedder]) -> tuple[Classifier, ...]:
    made: list[Classifier] = []
    for text in dict.fromkeys(names):
        name, path = _split(text)
        if name == "listener":
            from d2m_cli.evaluation.sound.listener import Listener

            # The one that embeds classifies, too.
            loaded = [one for one in embedders if isinstance(one, Listener) and path is None]
            made.append(loaded[0] if loaded else Listener.load(path))
        elif name == "sincresnet":
            from d2m_cli.evaluation.genre.sincresnet import MsSincResNet

            made.append(MsSincResNet.load(path))
        elif name != "none":
            raise UsageError(f"{option('classifier', text)}: choose listener, sincresnet, sincresnet:FILE or none")
    return _named_apart(made, "classifier")


def _clap(folder: Path) -> Clap:
    from d2m_cli.evaluation.sound.clap_score import Clap

    return Clap.load(folder)


def _named_apart(made: Sequence[Named], name: str) -> tuple[Named, ...]:
    twice = [one.name for number, one in enumerate(made) if one.name in {other.name for other in made[:number]}]
    if twice:
        raise UsageError(
            f"{option(name)}: two are named {twice[0]}, and their figures would look alike; give one of them"
        )
    return tuple(made)


def _split(text: str) -> tuple[str, Path | None]:
    name, _, path = text.partition(":")
    return name, Path(path) if path else None


def _poses(device: str, decoder: str) -> Callable[[Path], Poses]:
    from d2m_cli.pose.io import SUFFIX, load_poses

    @cache
    def estimator() -> PoseEstimator:
        from d2m_cli.pose.estimator import PoseEstimator, PoseOptions

        return PoseEstimator(PoseOptions(device=device, decoder=decoder))

    return lambda path: load_poses(path) if path.name.endswith(SUFFIX) else estimator().estimate(path)
