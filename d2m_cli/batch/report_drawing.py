"""Drawings of music for the report page: made when a video is finished, or later from what is kept of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from d2m_cli.errors import D2MError, OutputError, ResultError
from d2m_cli.ground.digests import content_digest
from d2m_cli.ground.files import atomic_path
from d2m_cli.ground.printable import printable
from d2m_cli.ground.search import name_key
from d2m_cli.report.page.listing import files_of, music_file
from d2m_cli.report.page.sidecar import head_of, is_drawing, write_drawing
from d2m_cli.report.page.values import Drawing, Head

if TYPE_CHECKING:
    from d2m_cli.generation.generated import Generated
    from d2m_cli.ground.file_cache import FileCache
    from d2m_cli.ground.ledger import Entry
    from d2m_cli.pose.track import Poses

FOLDER = "report_files"
"""Folder of the drawings, beside the page."""

NOBODY = "Nobody was found in the picture, so there is no skeleton to draw."
NOT_KEPT = (
    "The skeleton is left out: the poses of this video are not kept here (a cache keeps them where the music was made)."
)


def drawing_path(folder: Path, stem: str) -> Path:
    """Where the drawing of a result lies."""
    return folder / FOLDER / f"{stem}.js"


def draw_generated(path: Path, made: Generated, poses: Poses | None, record: Path) -> str | None:
    """Draw music that was just made; why that failed, in words, or None.

    Parameters
    ----------
    path
        From `drawing_path`.
    made
        The music.
    poses
        Of its dancers; None where nobody dances.
    record
        The record as it was written.
    """

    def drawing() -> Drawing:
        from d2m_cli.pose.track import tracks_of
        from d2m_cli.report.page.drawing import draw

        beats, tempo, pieces = made.rhythm.beats, made.rhythm.tempo, made.music.candidates
        return draw(
            made.music.samples,
            made.music.sample_rate,
            accents=made.rhythm.peaks,
            dance_beats=beats.beats if beats.steady else (),
            bpm=tempo.bpm if tempo is not None else None,
            tracks=tracks_of(poses.tracks, made.options.dancers) if poses is not None else None,
            no_skeletons="" if poses is not None else NOBODY,
            takes=((number + 1, pieces[number].samples) for number in range(len(pieces))),
        )

    return _keep(path, content_digest(record), drawing)


def draw_again(path: Path, folder: Path, stem: str, entry: Entry, record: Path, cache: FileCache | None) -> str | None:
    """Draw music that was made before, from its files; why that failed, in words, or None.

    Parameters
    ----------
    path
        From `drawing_path`.
    folder
        Of the results.
    stem, entry
        Of the result, in the ledger.
    record
        Its record.
    cache
        Where poses may be kept.
    """

    def drawing() -> Drawing:
        from d2m_cli.generation.pipeline import NOBODY as BY_PROMPT
        from d2m_cli.generation.pipeline import NOBODY_TRACK
        from d2m_cli.media.audio import load_audio
        from d2m_cli.pose.track import tracks_of
        from d2m_cli.report.page.drawing import draw

        document = json.loads(record.read_bytes())
        music = music_file(files_of(entry, document, stem))
        if music is None:
            raise ResultError(f"{stem}: no file of its music is listed")
        samples, rate = load_audio(folder / music)
        rhythm, dancers = document["rhythm"], document["settings"]["dancers"]
        nobody = not {BY_PROMPT, NOBODY_TRACK}.isdisjoint(document.get("notes") or ())
        poses = None if nobody else kept_poses(document, cache)
        tempo = rhythm["tempo"]
        return draw(
            samples,
            rate,
            accents=rhythm["peaks"],
            # Records of older versions hold no beats of the dance.
            dance_beats=rhythm.get("beats", ()) if rhythm.get("steady") else (),
            bpm=tempo["bpm"] if tempo is not None else None,
            tracks=tracks_of(poses.tracks, dancers) if poses is not None else None,
            no_skeletons="" if poses is not None else NOBODY if nobody else NOT_KEPT,
            # One at a time: each is as long as the video. One that is gone can't be heard either, and the page says so.
            takes=(
                (int(take["number"]), load_audio(heard)[0])
                for take in document["music"].get("takes") or ()
                if (heard := record.with_name(str(take["file"]))).is_file()
            ),
        )

    return _keep(path, content_digest(record), drawing)


def kept_poses(document: Mapping[str, Any], cache: FileCache | None) -> Poses | None:
    """Poses of the video that a record tells of, where they are kept; None where not."""
    if cache is None:
        return None
    from d2m_cli.media.passage import Passage
    from d2m_cli.pose.cache import PoseCache
    from d2m_cli.pose.io import SUFFIX, load_poses
    from d2m_cli.pose.options import PoseOptions

    settings = document["settings"]
    known = PoseCache(cache, PoseOptions(dancers=settings["dancers"], decoder=settings["decoder"]))
    passage = Passage(settings.get("start", 0.0), settings.get("duration"))
    return cache.read(known.key(str(document["video"]["content"]), passage), SUFFIX, load_poses)


def keep_drawing(path: Path, content: bytes) -> str | None:
    """Put a drawing that was made elsewhere in its place; why that failed, in words, or None."""
    try:
        _refuse_strangers(path)
        with atomic_path(path) as part:
            part.write_bytes(content)
    except (OutputError, ResultError, OSError) as error:
        return str(error)
    return None


def remove_others(folder: Path, stems: Collection[str]) -> None:
    """Remove the drawings of a folder of results that are of none of these results; what d2m did not make stays.

    Parameters
    ----------
    folder
        Of the results.
    stems
        Of the results whose drawings are kept.
    """
    kept = {name_key(stem) for stem in stems}
    root = folder / FOLDER
    for place, _, names in os.walk(root, topdown=False):
        below = Path(place)
        for path in (below / name for name in names if name.endswith(".js")):
            with suppress(OSError):  # what can't be removed does no harm
                if name_key(path.relative_to(root).as_posix().removesuffix(".js")) not in kept and is_drawing(path):
                    path.unlink()
        with suppress(OSError):  # it is not empty
            below.rmdir()


def _refuse_strangers(path: Path) -> None:
    if path.exists() and not is_drawing(path):
        raise ResultError(f"{path} is in the way and d2m did not make it: move it")


def _keep(path: Path, record: str, make: Callable[[], Drawing]) -> str | None:
    """Write a drawing, or in its place why there is none."""
    try:
        _refuse_strangers(path)
        try:
            drawing = make()
        except Exception as error:  # the music is there, and is worth more than its picture; the page says what failed
            known = isinstance(error, D2MError)
            why = printable(error if known else f"{type(error).__name__}: {error}")
            write_drawing(path, None, Head(record, left_out=(f"It could not be drawn: {why}",)))
            return why
        write_drawing(path, drawing, head_of(drawing, record))
    except (OutputError, OSError) as error:
        return str(error)
    return None
