"""`evaluate`: how well generated music fits the true music, or the dance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from d2m_cli.errors import UsageError
from d2m_cli.ground.options import option
from d2m_cli.ground.progress import Progress

if TYPE_CHECKING:
    from d2m_cli.evaluation.results import Evaluation


@dataclass(frozen=True)
class EvaluateOptions:
    """How music is scored.

    Attributes
    ----------
    clips
        Table (.csv) with the column clip and any of song, genre, prompt, or None.
    embedding
        Embeddings for FAD and KAD, of "listener" (embedded), "vggish", "vggish:FILE", "clap", "clap:FOLDER" and "none".
    classifier
        Genre classifiers, of "listener" (embedded), "sincresnet", "sincresnet:FILE" and "none".
    clap
        "clap", or the folder of a CLAP model: how well the music follows its prompts. None for no such score.
    prompt
        Prompt of clips that `clips` gives none for.
    device, decoder
        Where poses of dance videos are estimated, and what decodes the videos; see `PoseOptions`.
    resamples
        Bootstrap resamples of the intervals, 100 or more.
    draws
        Draws of each kind of chance, 20 or more.
    seed
        Random seed of intervals and chance.

    Raises
    ------
    UsageError
        A number is too small, or there is a prompt and no CLAP model to compare it with.
    """

    clips: Path | None = None
    embedding: tuple[str, ...] = ("listener",)
    classifier: tuple[str, ...] = ("listener",)
    clap: Path | None = None
    prompt: str | None = None
    device: str = "auto"
    decoder: str = "auto"
    resamples: int = 2000
    draws: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("resamples", 100), ("draws", 20)):
            if getattr(self, name) < least:
                raise UsageError(f"{option(name, getattr(self, name))}: give {least} or more")
        if self.prompt is not None and self.clap is None:
            raise UsageError(
                f"{option('prompt')} is compared with the music by a CLAP model: name one with {option('clap')}"
            )


def evaluate(
    generated: str | Path | Mapping[str, str | Path | Sequence[str | Path]],
    *,
    reference: str | Path | None = None,
    dances: str | Path | None = None,
    beats: str | Path | None = None,
    options: EvaluateOptions | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Score generated music against the true music or the dance, beside what chance would score.

    ::

        found = d2m.evaluate("generated/", reference="music/")
        found.systems[0].rhythm.system.protocols[0].f1

    Parameters
    ----------
    generated
        Folder of sound files, or of videos with sound; or several systems, name to folder, which are scored on the
        same clips and compared. A folder for each of several random seeds of one system, with the same clips, is a
        pattern such as "OUT/seed*", or a sequence of folders in place of one. Results of d2m go with the video that
        the record beside them names: several for one video are seeds, too, and one for a passage is compared with that
        passage.
    reference
        Folder of the true music, or of videos with it; files go together by their paths without suffix. Its own scores
        are the ceiling; without `dances` and `beats` its beats and onsets are the reference.
    dances
        Folder of the dance videos or of their .pose.npz files, whose beats are then the reference, or whose accents
        where no steady beat was seen. No verdict follows from protocols that count onsets.
    beats
        Folder of files of true beats, or a table of them, in place of tracked ones: see
        `d2m_cli.evaluation.true_beats`. Onsets are compared with those of the true music where there is any; else no
        verdict follows from protocols that count them.
    options
        How music is scored; the default where None.
    progress
        Told where the work is; None for silence.

    Returns
    -------
    Scores of every system, of the true music and of chance, with 95 % intervals by song and seed, and the differences
    between systems.

    Raises
    ------
    UsageError
        None of `reference`, `dances` and `beats`, or both of the last; a folder that is missing or empty, an unknown
        model, or a table or a file of beats that can't be read.
    MissingWeightsError
        A model is not on this machine.
    InputError
        No clip is in all folders, or none can be read.
    """
    options = options or EvaluateOptions()
    if reference is None and dances is None and beats is None:
        raise UsageError(
            f"compare the music with {option('reference', 'FOLDER')} of the true music or, where there is none, with "
            f"{option('beats', 'FOLDER')} of true beats or {option('dances', 'FOLDER')} of the videos"
        )
    if dances is not None and beats is not None:
        raise UsageError(
            f"{option('beats')} gives the beats that {option('dances')} would be looked through for: give one of them"
        )
    from d2m_cli.evaluation.models import load_models
    from d2m_cli.evaluation.pairing import pair_folders
    from d2m_cli.evaluation.seeds import seed_folders
    from d2m_cli.evaluation.systems import score_systems

    systems = generated if isinstance(generated, Mapping) else {"generated": generated}
    pairing = pair_folders(
        {name: seed_folders(folders) for name, folders in systems.items()},
        reference=None if reference is None else Path(reference),
        dances=None if dances is None else Path(dances),
        beats=None if beats is None else Path(beats),
        table=options.clips,
        prompt=options.prompt,
    )
    told = progress or Progress(quiet=True)
    with told.busy("loading the models that listen"):
        models = load_models(
            reference=reference is not None,
            dances=dances is not None,
            embeddings=options.embedding,
            classifiers=options.classifier,
            clap=options.clap,
            device=options.device,
            decoder=options.decoder,
            tell=told.say,
        )
    return score_systems(
        pairing,
        models,
        told,
        resamples=options.resamples,
        draws=options.draws,
        seed=options.seed,
    )
