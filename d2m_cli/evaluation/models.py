"""The models that an evaluation needs, by their names."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from d2m_cli.errors import InputError, UsageError
from d2m_cli.evaluation.pieces import WHOLE
from d2m_cli.evaluation.rhythm.detections import Detections
from d2m_cli.ground.options import option
from d2m_cli.media.audio import Samples
from d2m_cli.media.passage import Passage

if TYPE_CHECKING:
    from d2m_cli.evaluation.genre.divergence import Classifier
    from d2m_cli.evaluation.sound.clap_score import Clap
    from d2m_cli.evaluation.sound.embedding import Embedder
    from d2m_cli.pose.estimator import PoseEstimator
    from d2m_cli.pose.track import Poses


@dataclass(frozen=True)
class Models:
    """What scores clips.

    Attributes
    ----------
    embedders
        For FAD, FAD-infinity and KAD; used where there is true music.
    classifiers
        For genre KLD and accuracy.
    clap
        For the CLAP score of prompts, or None.
    dance
        Gives the beats of a dance, where those are the reference.
    """

    embedders: tuple[Embedder, ...] = ()
    classifiers: tuple[Classifier, ...] = ()
    clap: Clap | None = None
    dance: DanceBeats | None = None


class DanceBeats(Protocol):
    """Gives the beats of a passage of a dance, from a video or a pose file."""

    def __call__(self, path: Path, passage: Passage = WHOLE) -> Detections: ...


class _HasName(Protocol):
    @property
    def name(self) -> str: ...


Named = TypeVar("Named", bound=_HasName)


def load_models(
    *,
    reference: bool,
    dances: bool,
    embeddings: Sequence[str],
    classifiers: Sequence[str],
    clap: Path | None,
    device: str = "auto",
    decoder: str = "auto",
    tell: Callable[[str], None] | None = None,
) -> Models:
    """Load models by their names.

    Parameters
    ----------
    reference
        Whether there is true music; else no embedder is used.
    dances
        Whether the beats of dances are the reference.
    embeddings
        Of "listener", "vggish", "vggish:FILE", "clap", "clap:FOLDER" and "none"; without a path those that
        ``d2m weights pull`` fetched.
    classifiers
        Of "listener", "sincresnet", "sincresnet:FILE" and "none".
    clap
        Folder of a CLAP model for prompts, "clap" for the one that ``d2m weights pull clap`` fetched, or None.
    device, decoder
        For poses; see `PoseOptions`.
    tell
        Told each time that a pose network computes less at once for want of memory.

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
    return Models(embedders, known, text, dance_beats(_poses(device, decoder, tell)) if dances else None)


def detect(samples: Samples, rate: int) -> Detections:
    """Beats and onsets of music, without warnings: what was not found is said once at the end, with the clip's name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return Detections.from_audio(samples, rate)


def dance_beats(estimate: Callable[[Path], Poses]) -> DanceBeats:
    """What finds the beats of a dance, or of a passage of it.

    Parameters
    ----------
    estimate
        Gives the poses of a video or of a pose file.

    Raises
    ------
    InputError
        From what is returned: the dance, or the passage that the poses are of, does not reach so far.
    """
    from d2m_cli.evaluation.rhythm.dance_beats import detect_dance

    # Several passages of a dance are parts of what is found in the whole.
    @cache
    def detect_once(path: Path) -> tuple[Detections, float]:
        poses = estimate(path)
        told = dict(poses.source.settings) if poses.source is not None else {}
        return detect_dance(poses), float(told.get("start", 0.0))

    def beats(path: Path, passage: Passage = WHOLE) -> Detections:
        found, begins = detect_once(path)
        if passage.is_whole:
            return found
        if passage.start < begins:
            raise InputError(f"{path}: its poses begin at {begins:g} s, and the music is for {passage}")
        return found.of(Passage(passage.start - begins, passage.duration))

    return beats


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


def _poses(device: str, decoder: str, tell: Callable[[str], None] | None) -> Callable[[Path], Poses]:
    from d2m_cli.pose.io import SUFFIX, load_poses

    @cache
    def estimator() -> PoseEstimator:
        from d2m_cli.pose.estimator import PoseEstimator, PoseOptions

        return PoseEstimator(PoseOptions(device=device, decoder=decoder), tell=tell)

    return lambda path: load_poses(path) if path.name.endswith(SUFFIX) else estimator().estimate(path)
