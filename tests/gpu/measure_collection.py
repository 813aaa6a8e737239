"""A collection on the device: the example videos with everything that surrounds the networks, once all is loaded."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.gpu.report import Effort, Place, Report

PART = "collection"
VIDEOS = Path(__file__).resolve().parents[2] / "examples" / "videos"
NEEDED = ("av", "cv2", "soundfile", "librosa", "rich", "filelock")
GOAL = 15.0
"""Seconds that the eight examples may take on a GPU after loading."""


def measure_collection(report: Report, place: Place, effort: Effort, size: str) -> None:
    """Seconds from the embedded model's being loaded to the last file, from no poses kept; and one video's bytes alone.

    Of tiny size two passages of 2 s, in few steps.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        report.absent.append((PART, f"not here: {', '.join(missing)}"))
        return
    from d2m_cli.api.music import Generator
    from d2m_cli.backbones.base import Sampling
    from d2m_cli.generation.options import GenerateOptions

    videos = sorted(VIDEOS.glob("*.mp4"))
    options = GenerateOptions(genre="lock", prompt="funky guitar")
    if size == "tiny":
        videos = [VIDEOS / "lock_112.mp4", VIDEOS / "toprock_132.mp4"]
        options = GenerateOptions(
            genre="lock", prompt="funky guitar", duration=2.0, candidates=1, sampling=Sampling(steps=2)
        )
    generator = Generator("embedded", device=place.device)
    begun = time.perf_counter()
    models = generator.models(options)
    place.wait()
    report.add(PART, "loading", time.perf_counter() - begun, "s", models.backbone.description)
    name = f"{len(videos)} videos"
    with tempfile.TemporaryDirectory() as folder:
        outs = [Path(folder) / which for which in ("first", "again", "alone")]
        taken = [_make(generator, options, videos, out) for out in outs[:2]]
        report.add(PART, f"{name}, the first time", taken[0], "s", "after loading, with all that happens once")
        report.add(PART, f"{name}, once more", taken[1], "s", "the same process, no poses kept")
        alone = _make(generator, options, videos[:1], outs[2])
        report.add(PART, "one of them alone", alone, "s", videos[0].name)
        music = [(out / videos[0].name).with_suffix(".wav").read_bytes() for out in outs]
    report.check(PART, f"{name}, the same bytes twice", music[0] == music[1], videos[0].name)
    report.check(PART, "alone and in company, the same bytes", music[0] == music[2], videos[0].name)
    if place.is_gpu:
        held = taken[0] <= GOAL
        report.check(PART, f"{name} within {GOAL:g} s after loading", held, f"{taken[0]:.1f} s, {taken[1]:.1f} again")


def _make(generator: object, options: object, videos: Sequence[Path], out: Path) -> float:
    """Seconds for the music of videos, and all files of it."""
    from d2m_cli.batch.music_files import generate_files
    from d2m_cli.ground.inputs import Input
    from d2m_cli.ground.search import VIDEO_SUFFIXES, search

    found = search([Input(video) for video in videos], VIDEO_SUFFIXES)
    begun = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        summary = generate_files(found, out, generator, options, report=False)  # type: ignore[arg-type]
    if summary.exit_code:
        raise RuntimeError(f"not all music was made: {summary}")
    return time.perf_counter() - begun
