"""Music of many videos, with the manners of the batch room: resume, skip what is done, name what fails."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from pathlib import Path

from d2m_cli.api.music import Generator
from d2m_cli.batch.asked import Asked, music_settings
from d2m_cli.batch.engines.engine import on_engine
from d2m_cli.batch.options import PLAIN, BatchOptions
from d2m_cli.batch.pose_files import loading_poses
from d2m_cli.batch.report_drawing import draw_generated
from d2m_cli.batch.report_page import ReportPage
from d2m_cli.batch.runner import BatchSummary, ItemResult, Job, Work, run_batch
from d2m_cli.batch.voice import loading, say, size_of
from d2m_cli.errors import InputError, UsageError
from d2m_cli.generation.artefacts import FILMS, USUAL, suffixes
from d2m_cli.generation.generated import Generated
from d2m_cli.generation.models import Models, Seeing, TrackModels
from d2m_cli.generation.options import GenerateOptions
from d2m_cli.generation.pipeline import Dance, music_for, see_dance
from d2m_cli.ground.background import Background
from d2m_cli.ground.once import Once
from d2m_cli.ground.options import option
from d2m_cli.ground.progress import StageReport
from d2m_cli.ground.search import Search
from d2m_cli.ground.uncollected import uncollected
from d2m_cli.media.mix import NO_SOUND, SILENT
from d2m_cli.media.shortage import is_shortage
from d2m_cli.pose.on_demand import EstimatorOnDemand
from d2m_cli.pose.options import PoseOptions
from d2m_cli.pose.session import check_device
from d2m_cli.pose.settings import seen_at_once, takes_gpu

IN_HAND, IN_HAND_ON_GPU = 2, 8
"""Videos in hand at once: while the music of one is drawn, another is seen, and a third is written."""


def generate_files(
    videos: Search,
    out: Path,
    generator: Generator,
    options: GenerateOptions,
    *,
    formats: Sequence[str] = USUAL,
    report: bool = True,
    batch: BatchOptions = PLAIN,
) -> BatchSummary:
    """Write the music of each video, the video with it, and a record of it; see `run_batch` for the rest.

    Parameters
    ----------
    videos
        What the search for them found and passed over; or the pieces that `d2m_cli.batch.pieces.pieces_of` made of it.
    out
        Folder of the results.
    generator
        The networks.
    options
        What music to make.
    formats
        Of `d2m_cli.generation.artefacts.FORMATS` those to write.
    report
        Whether to write a page over all results of the folder (`d2m_cli.batch.report_page`).

    Raises
    ------
    UsageError
        The options do not fit, or a network is not there.
    """
    asked = Asked(videos.found, generator, options, verify=batch.verify)
    if asked.of_most.music is not None:
        for name in (*generator.given, *options.sampling.given):
            _say(f"{option(name)} has no effect with {option('music')}")

    if options.mix is not None and not set(formats) & set(FILMS):
        _say(f"{option('mix')} has no effect without a film: ask for {' or '.join(FILMS)} with {option('format')}")

    if report and batch.store is not None:
        raise UsageError(f"{option('report')} shows results beside it: leave out {option('store')}")
    page = ReportPage(batch.overwrite) if report else None

    def run(work: Work, workers: int) -> BatchSummary:
        return run_batch(
            videos.found,
            work,
            settings=asked.settings,
            own_settings=asked.settings_of if asked.differs else None,
            artefacts=suffixes(formats, options.kept_candidates),
            out_dir=out,
            options=batch,
            passed_over=videos.passed_over,
            also_read=(*asked.tracks, options.genre_audio, options.genre_table),
            label="generate",
            stages=("look", "music", "write"),
            page=page,
            workers=workers,
        )

    on_gpu = takes_gpu(generator.device)
    return on_engine(
        partial(_making, asked, generator, options),
        run,
        batch,
        workers=IN_HAND_ON_GPU if on_gpu else IN_HAND,
        on_gpu=on_gpu,
        settings=music_settings(generator, asked.of_most),
        settings_there=partial(music_settings, generator, asked.of_most),
    )


@contextmanager
def _making(asked: Asked, generator: Generator, options: GenerateOptions) -> Iterator[Work]:
    """The work on one piece, in whichever process it is done."""

    def load() -> Models | TrackModels:
        # Else it would be refused only once the first networks are loaded.
        check_device(generator.device)
        if asked.of_most.music is not None:
            music = asked.of_most.music
            with loading(f"the track {music.name}", size_of(music), music.parent):
                track = generator.track_models(asked.of_most)
            _say(track.description)
            return track
        choice = generator.choice_for(asked.of_most)
        with loading(choice.name, size_of(choice.folder), choice.folder), uncollected():
            loaded = generator.models(asked.of_most)
        asked.check(loaded)
        for name in options.sampling.given:
            if name not in loaded.backbone.heeds:
                _say(f"{option(name)} has no effect with {option('backbone', choice.name)}")
        for remark in generator.remarks(asked.of_most):
            _say(remark)
        _say(f"{loaded.description}; licence of the music's weights: {loaded.backbone.licence}")
        if loaded.desk is not None:
            stack.enter_context(loaded.desk.shared(_say))
        return loaded

    # What is said of one video need not be said again of the next.
    tell = cache(_say)
    on_gpu = takes_gpu(generator.device)
    in_hand = IN_HAND_ON_GPU if on_gpu else IN_HAND
    # On a CPU, where it takes all cores, one at a time: the sooner has music something to do.
    seeing_at_once = threading.Semaphore(seen_at_once(generator.device) if on_gpu else 1)

    def networks(wanted: GenerateOptions) -> Models | TrackModels:
        own_track = wanted.music is not None and wanted.music != asked.of_most.music
        return tracks.value(wanted.music, lambda: generator.track_models(wanted)) if own_track else models.value()

    pose_options = PoseOptions(dancers=options.dancers, device=generator.device, decoder=options.decoder)
    loading_eyes = threading.Lock()
    eyes_loaded = False

    def eyes(job: Job, wanted: GenerateOptions) -> Seeing:
        """What sees a dance; its networks are loaded before they are needed, which is no work on that dance."""
        nonlocal eyes_loaded
        with loading_eyes:
            if eyes_loaded or generator.knows_poses(job.content, wanted):
                return generator.seeing(wanted)
            with loading_poses(pose_options):
                seeing = generator.seeing(wanted)
                if isinstance(seeing.poses, EstimatorOnDemand):
                    seeing.poses.load()
            eyes_loaded = True
            return seeing

    def see(job: Job, wanted: GenerateOptions, report: StageReport) -> Dance:
        def told(step: str, fraction: float = 0.0) -> None:
            models.check()
            report(step, fraction)

        report.wait("waiting to be looked at")
        with seeing_at_once:
            try:
                # A track is there before the first video is looked at, which it may be too short for.
                seeing = eyes(job, wanted) if wanted.music is None else networks(wanted)
                told("reading")
                return see_dance(job.path, job.content, seeing, wanted, told)
            except InputError:
                # What is wrong with the networks concerns all files, and goes first.
                if wanted.music == asked.of_most.music:
                    models.value()
                raise

    seen: Once[Dance] = Once(in_hand, passing=is_shortage)
    tracks: Once[TrackModels] = Once(IN_HAND, passing=is_shortage)

    def work(job: Job, report: StageReport) -> ItemResult:
        wanted = asked.of(job.item).of_video(job.path)
        # Only once there is something to do: a batch that is done already answers at once.
        if wanted.music == asked.of_most.music:
            models.begin()

        if asked.is_alone(job.item):
            dance = see(job, wanted, report)
        else:
            key = job.path, job.content, wanted.passage, wanted.music, wanted.music_start
            report.wait("waiting for what sees this video for another piece")
            dance = seen.value(key, lambda: see(job, wanted, report))
        report.length(dance.timeline.duration)
        report.stage("music", "waiting for the models")
        report.wait("waiting for the models")
        made = music_for(dance, networks(wanted), wanted, report, tell)
        report.stage("write", "writing")
        notes = made.write(job.artefacts, job.beside)
        if job.drawing is not None:
            report("drawing", 0.9)
            why = draw_generated(job.drawing, made, dance.poses, job.artefacts[".json"])
            if why is not None:
                _say(f"{job.stem}: not drawn for the page: {why}")
        return result_of(made, notes)

    with ExitStack() as stack, Background(load) as models:
        yield work


def _say(line: str) -> None:
    say(f"d2m: {line}")


def result_of(made: Generated, notes: dict[str, str]) -> ItemResult:
    """What the batch has to say of one piece of music.

    Parameters
    ----------
    made
        The music.
    notes
        From `Generated.write`.
    """
    tempo, takes = made.rhythm.tempo, made.takes
    if made.timeline.notes:
        notes = {**notes, "video": "; ".join(made.timeline.notes)}
    if made.notes:
        notes = {**notes, "note": "; ".join(made.notes)}
    speed = f"{tempo.bpm:.1f} bpm" if tempo is not None and made.rhythm.beats.steady else "no steady beat"
    source = f"{len(takes)} {'window' if len(takes) == 1 else 'windows'}" if takes else made.models.backbone
    snapped = made.music.snap
    if snapped is not None:
        notes = {**notes, "snap": snapped.done if not snapped.why else f"{snapped.done}: {snapped.why}"}
    lacking = [notes["mix"]] if notes.get("mix") in (NO_SOUND, SILENT) else []
    return ItemResult(
        summary=", ".join([f"{made.music.seconds:.2f} s", speed, source, *made.notes, *lacking]),
        details={
            "seconds": round(made.music.seconds, 6),
            "genre": made.options.genre,
            "seed": made.options.seed,
            **made.options.passage.settings,
            "bpm": tempo.bpm if tempo is not None else None,
            "peaks": len(made.rhythm.peaks),
            "beats": len(made.music.beats),
            "windows": len(takes),
            **({"prompt": takes[0].prompt} if takes else {}),
            **({"unread": takes[0].unread} if takes and takes[0].unread else {}),
            **notes,
        },
    )
