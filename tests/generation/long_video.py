"""The music of a long small video in a process of its own, for the tests.

Prints the MiB that it grew by, and the MiB that making and writing the music took beside what was there before.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from pathlib import Path

import numpy as np
import torch

from d2m_cli.backbones.base import Draw
from d2m_cli.generation import pipeline
from d2m_cli.generation.artefacts import USUAL, suffixes
from d2m_cli.generation.compose import compose
from d2m_cli.generation.models import Models
from d2m_cli.generation.options import GenerateOptions
from d2m_cli.generation.pipeline import generate_music
from d2m_cli.ground.digests import content_digest
from d2m_cli.ground.progress import Report
from d2m_cli.media.timeline import Timeline
from d2m_cli.media.video import VideoReader
from d2m_cli.pose.track import Poses
from tests.fakes import RATE, FakeBackbone, FakeEncoders, FakePoses


class Watching(FakePoses):
    """Sees a made-up dancer, and looks at every picture."""

    def estimate(self, video: Path, report: Report | None = None, timeline: Timeline | None = None) -> Poses:
        seen = sum(len(chunk.times) for chunk in VideoReader(video, timeline=timeline))
        assert seen == round(self.seconds * 10)
        return super().estimate(video, report, timeline)


class Slow(FakeBackbone):
    """Plays all that it is told by 2 % too slowly, so that it has to be bent."""

    def generate(self, condition, negative, seeds, context=None, sampling=None):
        audio = super().generate(condition, negative, seeds, context, sampling).audio
        # Each would keep the window that it is the end of.
        self.contexts.clear()
        return Draw(audio[..., (torch.arange(audio.shape[-1]) / 1.02).long()], RATE)


def memory(name: str) -> float:
    """MiB: "VmHWM" is the most that there was, "VmRSS" what there is."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


class Music:
    """What there was when the music was begun; from then on the most is counted anew."""

    before = most_before = 0.0

    @classmethod
    def begin(cls, *given: object, **named: object) -> object:
        gc.collect()
        # What reading the rhythm has let go of would make room for the sound.
        ctypes.CDLL(None).malloc_trim(0)
        cls.most_before = memory("VmHWM")
        Path("/proc/self/clear_refs").write_text("5")
        cls.before = memory("VmRSS")
        return compose(*given, **named)  # type: ignore[arg-type]


HOW = {
    "plain": GenerateOptions(candidates=1, snap="on"),
    "takes": GenerateOptions(candidates=2, snap="on", keep_candidates=True),
    "mix": GenerateOptions(candidates=1, snap="on", mix=-6.0),
}


def make(video: Path, seconds: float, options: GenerateOptions) -> None:
    models = Models(Watching(seconds), Slow(), FakeEncoders(), "e" * 64)  # type: ignore[arg-type]
    made = generate_music(video, content_digest(video), models, options, lambda *_: None)
    assert made.music.seconds == seconds
    assert made.music.snap is not None
    assert made.music.snap.done == "bent", made.music.snap
    artefacts = {suffix: video.with_suffix(f".made{suffix}") for suffix in suffixes(USUAL, options.kept_candidates)}
    notes = made.write(artefacts)
    assert ("both together have" in notes.get("mix", "")) == (options.mix is not None)
    assert all(path.stat().st_size > 0 for path in artefacts.values())
    assert np.isfinite(made.music.samples).all()


if __name__ == "__main__":
    # What is loaded once is loaded for a short one.
    options = HOW[sys.argv[4]]
    make(Path(sys.argv[1]), 20.0, options)
    before = memory("VmHWM")
    pipeline.compose = Music.begin  # type: ignore[assignment,attr-defined]
    make(Path(sys.argv[2]), float(sys.argv[3]), options)
    most = memory("VmHWM")
    print(max(most, Music.most_before) - before, most - Music.before)
