"""Rhythms of many videos and pose files, with the manners of the batch room."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from d2m_cli.batch.engines.engine import on_engine
from d2m_cli.batch.options import PLAIN, BatchOptions
from d2m_cli.batch.pose_files import loading_poses
from d2m_cli.batch.runner import BatchSummary, ItemResult, Job, Work, run_batch
from d2m_cli.batch.voice import say
from d2m_cli.errors import InputError, UsageError
from d2m_cli.ground.background import Background
from d2m_cli.ground.file_cache import FileCache, is_entry
from d2m_cli.ground.inputs import Input
from d2m_cli.ground.options import option
from d2m_cli.ground.progress import StageReport
from d2m_cli.ground.search import VIDEO_SUFFIXES, Found, Search, search
from d2m_cli.media.passage import WHOLE, Passage
from d2m_cli.media.video import probe
from d2m_cli.pose.dancers import to_follow
from d2m_cli.pose.io import SUFFIX as POSES
from d2m_cli.pose.io import load_poses
from d2m_cli.pose.options import PoseOptions
from d2m_cli.pose.settings import pose_settings, seen_at_once, takes_gpu
from d2m_cli.pose.track import Poses
from d2m_cli.report.beats_plot import TRACKED, plot_rhythm, tracked_beats
from d2m_cli.rhythm.cache import DanceCache
from d2m_cli.rhythm.extract import RhythmOptions, extract_rhythm
from d2m_cli.rhythm.io import SUFFIX, save_rhythm, settings_of
from d2m_cli.rhythm.sequence import Rhythm

if TYPE_CHECKING:
    from d2m_cli.pose.estimator import PoseEstimator

PLOT_SUFFIX = ".rhythm.png"
ARRAYS = ".npz"


def find_dances(inputs: Sequence[Path | Input]) -> Search:
    """Videos and pose files among files and folders; other .npz files of a folder, and a cache in it, are left out.

    Results are named after the video: those of ``a.pose.npz`` as those of ``a.mp4``.

    Raises
    ------
    UsageError
        There are none, or an input does not exist.
    """
    inside = search(inputs, VIDEO_SUFFIXES | {ARRAYS}, made_too=frozenset({ARRAYS}))
    named = {one.path if isinstance(one, Input) else one for one in inputs}
    kept = tuple(
        Found(item.path, item.stem.with_suffix("") if item.stem.suffix == ".pose" else item.stem)
        for item in inside.found
        if item.path.suffix.lower() != ARRAYS or item.path in named or _is_pose_file(item.path)
    )
    if not kept:
        raise UsageError(f"no video and no {POSES} file among the inputs: make pose files with 'd2m pose'")
    return Search(kept, inside.passed_over)


def _is_pose_file(path: Path) -> bool:
    return path.name.endswith(POSES) and not is_entry(path)


def extract_files(
    dances: Search,
    out: Path,
    options: RhythmOptions,
    *,
    device: str = "auto",
    decoder: str = "auto",
    passage: Passage = WHOLE,
    plot: bool = False,
    cache: FileCache | None = None,
    batch: BatchOptions = PLAIN,
) -> BatchSummary:
    """Write a rhythm file for each dance, and a drawing where `plot` asks for one; see `run_batch` for the rest.

    Parameters
    ----------
    dances
        From `find_dances`.
    out
        Folder of the results.
    options
        How to read rhythm off poses.
    device, decoder
        As in `PoseOptions`, for videos.
    passage
        The part of each video that is looked at; pose files have none.
    plot
        Whether to write drawings.
    cache
        Where poses and rhythms of videos are kept and looked for; None makes all anew.
    batch
        How to go through them.

    Raises
    ------
    UsageError
        The options do not fit, or a network is not there.
    """
    pose_options = PoseOptions(
        dancers=to_follow(options.dancers),
        device=device,
        decoder=decoder,
        start=passage.start,
        duration=passage.duration,
    )

    settings = _settings(options, pose_options, verify=batch.verify)

    def run(work: Work, workers: int) -> BatchSummary:
        return run_batch(
            dances.found,
            work,
            settings=settings,
            artefacts=(SUFFIX, PLOT_SUFFIX) if plot else (SUFFIX,),
            out_dir=out,
            options=batch,
            passed_over=dances.passed_over,
            label="rhythm",
            stages=("look", "rhythm", "write"),
            workers=workers,
        )

    return on_engine(
        partial(_making, options, pose_options, plot, cache),
        run,
        batch,
        workers=seen_at_once(device),
        on_gpu=takes_gpu(device),
        settings=settings,
        settings_there=partial(_settings, options, pose_options),
    )


def _settings(options: RhythmOptions, pose_options: PoseOptions, *, verify: bool = False) -> dict[str, Any]:
    return {"rhythm": settings_of(options), "pose": pose_settings(pose_options, verify=verify)}


@contextmanager
def _making(
    options: RhythmOptions, pose_options: PoseOptions, plot: bool, cache: FileCache | None
) -> Iterator[Work]:
    """The work on one dance, in whichever process it is done."""
    passage = pose_options.passage
    known = DanceCache(cache, pose_options)
    drawing = threading.Lock()  # matplotlib is not made for several threads

    def load() -> PoseEstimator:
        from d2m_cli.pose.estimator import PoseEstimator

        with loading_poses(pose_options):
            loaded = PoseEstimator(pose_options, tell=lambda text: say(f"d2m rhythm: {text}"))
        say(f"d2m rhythm: poses: {loaded.description}")
        return loaded

    def poses_of(job: Job, report: StageReport) -> Poses:
        path = job.path
        if path.suffix.lower() == ARRAYS:
            if not passage.is_whole:
                raise InputError(
                    f"{path} holds poses, and {passage} can only be taken of a video: leave out {option('start')} and "
                    f"{option('duration')}, or give the video"
                )
            report("reading poses")
            return load_poses(path)

        def estimate() -> Poses:
            timeline = probe(path, pose_options.passage)
            report.length(timeline.duration)
            # Loaded only once a video needs it: pose files and what is done already need none.
            report.wait("waiting for the networks")
            return estimator.value().estimate(path, report, timeline)

        return known.poses(path, job.content, estimate)

    def rhythm_of(job: Job, poses: Poses) -> Rhythm:
        if job.path.suffix.lower() == ARRAYS:
            return extract_rhythm(poses, options)
        return known.rhythm(job.content, options, lambda: extract_rhythm(poses, options))

    def work(job: Job, report: StageReport) -> ItemResult:
        poses = poses_of(job, report)
        report.length(poses.duration)
        report.stage("rhythm", "rhythm")
        found = rhythm_of(job, poses)
        report.stage("write", "writing")
        source = {"file": job.path.name, "content": job.content, "pose_model": poses.tracks[0].model}
        save_rhythm(job.artefacts[SUFFIX], found, options, source)
        result = _result(poses, found)
        if not plot:
            return result
        report("plot")
        with drawing:
            return ItemResult(result.summary, {**result.details, "music_beats": _draw(job, found, passage)})

    with Background(load) as estimator:
        yield work


def _result(poses: Poses, found: Rhythm) -> ItemResult:
    tempo = found.tempo
    beat = "no tempo" if tempo is None else f"{tempo.bpm:.1f} bpm, confidence {tempo.confidence:.2f}"
    details = {
        "peaks": len(found.peaks),
        "duration": found.duration,
        "bpm": None if tempo is None else tempo.bpm,
        "first_beat": None if tempo is None else tempo.first_beat,
        "confidence": None if tempo is None else tempo.confidence,
        "dancers": len(poses.tracks),
    }
    return ItemResult(f"{len(found.peaks)} peaks, {beat}", details)


def _draw(job: Job, found: Rhythm, passage: Passage) -> int | None:
    """Draw, and say how many beats the video's music has; None where it has none."""
    beats = None if job.path.suffix.lower() == ARRAYS else tracked_beats(job.path)
    if beats is not None and not passage.is_whole:
        beats = beats[(beats >= passage.start) & (beats < passage.start + found.duration)] - passage.start
    music = None if beats is None else {TRACKED: beats}
    plot_rhythm(found, job.artefacts[PLOT_SUFFIX], title=job.path.name, music=music)
    return None if beats is None else len(beats)
