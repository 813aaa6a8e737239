"""From what the user names on the command line to what `d2m_cli.evaluation.systems` takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from d2m_cli.errors import UsageError
from d2m_cli.evaluation.pairing import ClipFacts, Pairing, by_stem, music_by_stem, pair_up, read_facts
from d2m_cli.evaluation.systems import Judges, danced, true_music
from d2m_cli.ground.search import VIDEO_SUFFIXES
from d2m_cli.pose.io import SUFFIX as POSE_SUFFIX

if TYPE_CHECKING:
    from d2m_cli.evaluation.genre.divergence import Classifier
    from d2m_cli.evaluation.listening.listening_test import Scores
    from d2m_cli.evaluation.sound.clap_score import Clap
    from d2m_cli.evaluation.sound.embedding import Embedder

TRUE_MUSIC = "true music"


class _HasName(Protocol):
    @property
    def name(self) -> str: ...


Named = TypeVar("Named", bound=_HasName)


def make_judges(
    *,
    reference: Path | None,
    dances: Path | None,
    embeddings: Sequence[str],
    classifiers: Sequence[str],
    clap: Path | None,
    device: str,
    decoder: str = "auto",
) -> tuple[Judges, str]:
    """Load what listens.

    Parameters
    ----------
    reference, dances
        Folder of the true music, or of the dances where there is none.
    embeddings
        Of "listener", "vggish", "vggish:FILE", "clap", "clap:FOLDER" and "none"; without a path those that
        ``d2m weights pull`` fetched.
    classifiers
        Of "listener", "sincresnet", "sincresnet:FILE" and "none".
    clap
        Folder of a CLAP model for prompts, "clap" for the one that ``d2m weights pull clap`` fetched, or None.
    device, decoder
        For poses; see `PoseOptions`.

    Returns
    -------
    The judges, and in words what beats are compared with.

    Raises
    ------
    UsageError
        Both or neither of `reference` and `dances`, an unknown listener, or one whose weights are missing.
    """
    if (reference is None) == (dances is None):
        raise UsageError(
            "say what the music is compared with: --reference FOLDER of the true music, or --dances FOLDER of the "
            "videos where there is none"
        )
    heard = _embedders(embeddings) if reference is not None else ()
    known = _classifiers(classifiers, heard)
    text = _clap(clap) if clap is not None else None
    if reference is not None:
        return Judges(true_music, heard, known, text), "the true music"
    looked = Judges(danced(_poses(device, decoder)), (), known, text)
    return looked, "the dance: moments at which it comes to rest or turns"


def _embedders(names: Sequence[str]) -> tuple[Embedder, ...]:
    wanted = [name for name in dict.fromkeys(names) if name != "none"]
    if not wanted:
        return ()
    from d2m_cli.evaluation.sound.embedding import load_embedder

    return _named_apart([load_embedder(*_split(name)) for name in wanted], "--embedding")


def _classifiers(names: Sequence[str], embedders: Sequence[Embedder]) -> tuple[Classifier, ...]:
    made: list[Classifier] = []
    for text in dict.fromkeys(names):
        name, path = _split(text)
        if name == "listener":
            from d2m_cli.evaluation.sound.listener import Listener

            # The one that embeds serves here, too.
            loaded = [one for one in embedders if isinstance(one, Listener) and path is None]
            made.append(loaded[0] if loaded else Listener.load(path))
        elif name == "sincresnet":
            from d2m_cli.evaluation.genre.sincresnet import MsSincResNet

            made.append(MsSincResNet.load(path))
        elif name != "none":
            raise UsageError(f"--classifier {text}: say listener, sincresnet, sincresnet:FILE or none")
    return _named_apart(made, "--classifier")


def _clap(folder: Path) -> Clap:
    from d2m_cli.evaluation.sound.clap_score import Clap

    return Clap.load(folder)


def _named_apart(made: Sequence[Named], option: str) -> tuple[Named, ...]:
    twice = [one.name for number, one in enumerate(made) if one.name in {other.name for other in made[:number]}]
    if twice:
        raise UsageError(f"{option}: two are named {twice[0]}, and their figures would look alike; give one of them")
    return tuple(made)


def _split(text: str) -> tuple[str, Path | None]:
    name, _, path = text.partition(":")
    return name, Path(path) if path else None


def _poses(device: str, decoder: str) -> Any:
    from d2m_cli.pose.io import load_poses

    @cache
    def estimator() -> Any:
        from d2m_cli.pose.estimator import PoseEstimator, PoseOptions

        return PoseEstimator(PoseOptions(device=device, decoder=decoder))

    def look(path: Path) -> Any:
        return load_poses(path) if path.name.endswith(POSE_SUFFIX) else estimator().estimate(path)

    return look


def pair_folders(
    systems: Mapping[str, Path],
    *,
    reference: Path | None,
    dances: Path | None,
    table: Path | None,
    prompt: str | None,
) -> Pairing:
    """Pair the files of all folders; see `d2m_cli.evaluation.pairing.pair_up`.

    Parameters
    ----------
    systems
        Folder of each system.
    reference, dances
        Folder of the true music, or of the dances where there is none.
    table
        What is known of clips, as `d2m_cli.evaluation.pairing.read_facts` reads it, or None.
    prompt
        Of clips that the table gives none for.

    Raises
    ------
    UsageError
        A folder holds nothing of what it should, or the table names none of the clips.
    InputError
        No clip is everywhere.
    """
    known = read_facts(table) if table is not None else {}
    against: dict[str, Path] = {}
    if reference is not None:
        against = music_by_stem(reference)
        if not against:
            raise UsageError(f"{reference}: no sound file and no video in it")
    elif dances is not None:
        against = dances_by_stem(dances)
        if not against:
            raise UsageError(f"{dances}: no video and no {POSE_SUFFIX} file in it")
    pairing = pair_up(systems, against, known)
    if known and not set(known) & ({clip.name for clip in pairing.clips} | {one.clip for one in pairing.missing}):
        raise UsageError(
            f"{table}: no system has any of its clips, such as {next(iter(known))!r}; clips are named by their paths "
            f"below the folders without suffix, such as {pairing.clips[0].name!r}"
        )
    return replace(pairing, clips=tuple(_asked(clip, prompt) for clip in pairing.clips))


def _asked(clip: ClipFacts, prompt: str | None) -> ClipFacts:
    return clip if clip.prompt or not prompt else replace(clip, prompt=prompt)


def dances_by_stem(folder: Path) -> dict[str, Path]:
    """Pose files, and videos where there is no pose file, by name without suffix."""
    poses = by_stem(folder, frozenset({".npz"}))
    return by_stem(folder, VIDEO_SUFFIXES) | {
        stem.removesuffix(".pose"): path for stem, path in poses.items() if path.name.endswith(POSE_SUFFIX)
    }


def listening_folders(systems: Mapping[str, Path], reference: Path | None) -> dict[str, Path]:
    """The systems of a listening test: the true music, where it is given, is one of them."""
    if reference is None:
        return dict(systems)
    if TRUE_MUSIC in systems:
        raise UsageError(f"--reference is listed as {TRUE_MUSIC!r} in a listening test; name that system otherwise")
    return {**systems, TRUE_MUSIC: reference}


def opinion_scores(files: Sequence[Path], key: Path, resamples: int, seed: int) -> Scores:
    """Opinion scores from files, or folders of files, that listeners sent back."""
    from d2m_cli.evaluation.listening.listening_test import read_results

    answers: list[Path] = []
    for path in files:
        answers += sorted(path.glob("*.json")) if path.is_dir() else [path]
    return read_results([path for path in answers if path.resolve() != key.resolve()], key, resamples, seed)
