"""Music of many videos, with the manners of the batch room: resume, skip what is done, name what fails."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from d2m_cli.api.music import Generator
from d2m_cli.backbones.registry import known_sampling
from d2m_cli.batch.display import say
from d2m_cli.batch.options import PLAIN, BatchOptions
from d2m_cli.batch.runner import BatchSummary, ItemResult, Job, run_batch
from d2m_cli.errors import InputError
from d2m_cli.generation.artefacts import FILMS, USUAL, suffixes
from d2m_cli.generation.generated import Generated
from d2m_cli.generation.genre import check_genre_words
from d2m_cli.generation.models import Models, TrackModels
from d2m_cli.generation.options import GenerateOptions
from d2m_cli.generation.pipeline import Dance, music_for, see_dance
from d2m_cli.generation.video_genre import AUTO
from d2m_cli.ground.background import Background
from d2m_cli.ground.options import option
from d2m_cli.ground.progress import Report
from d2m_cli.ground.search import Found, Search
from d2m_cli.hub.known import files_stamp, known_sha256
from d2m_cli.media.mix import NO_SOUND, SILENT
from d2m_cli.pose.options import PoseOptions
from d2m_cli.pose.settings import network_hashes, seen_at_once, takes_gpu

IN_HAND, IN_HAND_ON_GPU = 2, 8
"""Videos in hand at once: while the music of one is drawn, another is seen, and a third is written."""


def generate_files(
    videos: Search,
    out: Path,
    generator: Generator,
    options: GenerateOptions,
    *,
    formats: Sequence[str] = USUAL,
    batch: BatchOptions = PLAIN,
) -> BatchSummary:
    """Write the music of each video, the video with it, and a record of it; see `run_batch` for the rest.

    Parameters
    ----------
    videos
        What the search for them found and passed over.
    out
        Folder of the results.
    generator
        The networks.
    options
        What music to make.
    formats
        Of `d2m_cli.generation.artefacts.FORMATS` those to write.

    Raises
    ------
    UsageError
        The options do not fit, or a network is not there.
    """
    if options.music is not None:
        for name in (*generator.given, *options.sampling.given):
            _say(f"{option(name)} has no effect with {option('music')}")

    if options.mix is not None and not set(formats) & set(FILMS):
        _say(f"{option('mix')} has no effect without a film: ask for {' or '.join(FILMS)} with {option('format')}")

    def load() -> Models | TrackModels:
        if options.music is not None:
            track = generator.track_models(options)
            _say(track.description)
            return track
        loaded = generator.models(options)
        for name in options.sampling.given:
            if name not in loaded.backbone.heeds:
                _say(f"{option(name)} has no effect with {option('backbone', generator.choice_for(options).name)}")
        for remark in generator.remarks(options):
            _say(remark)
        _say(f"{loaded.description}; licence of the music's weights: {loaded.backbone.licence}")
        if loaded.desk is not None:
            stack.enter_context(loaded.desk.shared(_say))
        return loaded

    # What is said of one video need not be said again of the next.
    tell = cache(_say)
    on_gpu = takes_gpu(generator.device)
    # On a CPU, where it takes all cores, one at a time: the sooner has music something to do.
    seeing_at_once = threading.Semaphore(seen_at_once(generator.device) if on_gpu else 1)

    def see(job: Job, wanted: GenerateOptions, report: Report) -> Dance:
        report("reading")
        with seeing_at_once:
            try:
                # A track is there before the first video is looked at, which it may be too short for.
                seeing = generator.seeing(wanted) if wanted.music is None else models.value()
                return see_dance(job.path, job.content, seeing, wanted, report)
            except InputError:
                # What is wrong with the networks concerns all files, and goes first.
                models.value()
                raise

    def work(job: Job, report: Report) -> ItemResult:
        # Only once there is something to do: a batch that is done already answers at once.
        models.begin()

        def told(step: str, fraction: float = 0.0) -> None:
            models.check()
            report(step, fraction)

        wanted = options.of_video(job.path)
        dance = see(job, wanted, told)
        report("loading models", 0.3)
        made = music_for(dance, models.value(), wanted, report, tell)
        report("writing", 0.96)
        return result_of(made, made.write(job.artefacts, job.beside))

    settings = music_settings(generator, options, verify=batch.verify)
    common = {name: value for name, value in settings.items() if name not in ("genre", "genre_table")}

    def own_settings(item: Found) -> dict[str, Any]:
        # As if its genre had been named: a line more in a table makes no other video's music again.
        return {**common, "genre": options.of_video(item.path).genre}

    with ExitStack() as stack, Background(load) as models:
        summary = run_batch(
            videos.found,
            work,
            settings=settings,
            own_settings=own_settings if options.genre == AUTO and options.music is None else None,
            artefacts=suffixes(formats, options.kept_candidates),
            out_dir=out,
            options=batch,
            passed_over=videos.passed_over,
            also_read=(options.music, options.genre_audio, options.genre_table),
            label="generate",
            workers=IN_HAND_ON_GPU if on_gpu else IN_HAND,
        )
        if summary.interrupted:
            models.stop()
    return summary


def _say(line: str) -> None:
    say(f"d2m: {line}")


def music_settings(generator: Generator, options: GenerateOptions, *, verify: bool = False) -> dict[str, Any]:
    """All that changes the music of a given video, told without loading a network; values that JSON can hold.

    Raises
    ------
    MissingWeightsError
        A network is not there.
    UsageError
        The options need encoders, and there are none; or they do not fit those that there are.
    """
    settings = {
        **options.settings,
        "gpu": takes_gpu(generator.device),
        "poses": network_hashes(PoseOptions(dancers=options.dancers), verify=verify),
    }
    if options.music is not None:
        return settings
    encoders = generator.encoders_for(options)
    check_genre_words(encoders, options)
    settings |= {
        # A default that changes makes other music, as the same value does where it is given.
        "sampling": asdict(known_sampling(generator.choice_for(options), options.sampling)),
        "backbone": generator.choice_for(options).name,
        "backbone_files": files_stamp(generator.choice_for(options).folder, verify=verify),
        "encoders": known_sha256(encoders, verify=verify) if encoders is not None else None,
        "compiled": generator.compile,
    }
    if verify and options.clap is not None:
        settings["clap"] = files_stamp(options.clap, verify=True)
    return settings


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
    speed = f"{tempo.bpm:.1f} bpm" if tempo is not None else "no steady tempo"
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
            "bpm": tempo.bpm if tempo is not None else None,
            "peaks": len(made.rhythm.peaks),
            "beats": len(made.music.beats),
            "windows": len(takes),
            **({"prompt": takes[0].prompt} if takes else {}),
            **({"unread": takes[0].unread} if takes and takes[0].unread else {}),
            **notes,
        },
    )
