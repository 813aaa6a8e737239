"""A clip of two seconds from end to end: poses, rhythm, music, files, and these read back."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from d2m_cli.doctor.check import Check, guarded
from d2m_cli.doctor.clips import write_beginning
from d2m_cli.ground.example_clip import CLIP_GENRE, example_clip

if TYPE_CHECKING:
    from d2m_cli.generation.generated import Generated

GROUP = "self-test"
SECONDS, STEPS = 2.0, 4
"""Length of the clip, and denoising steps: enough to see that all works, not for good music."""
NEAR = 0.05
"""Seconds by which sound and picture that were written may differ from the clip in length."""


def look(remedy: str) -> Iterator[str | Check]:
    """Make music for the beginning of the example video.

    Parameters
    ----------
    remedy
        What may mend what goes wrong.
    """
    steps = Steps()
    clip = "two seconds of the example video"
    yield clip
    with tempfile.TemporaryDirectory(prefix="d2m-") as folder:
        for check in guarded(GROUP, clip, lambda: [steps.run(Path(folder))], remedy):
            if check.state == "ok":
                yield check
            else:
                yield Check(GROUP, steps.at or clip, "bad", check.text, check.remedy, check.values)


class Steps:
    """Steps of the self-test, and how long each took.

    Attributes
    ----------
    at
        The step that has begun last.
    seconds
        Step to seconds of those that are done.
    """

    def __init__(self) -> None:
        self.at = ""
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """One of them."""
        self.at = name
        begun = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - begun, 3)

    def run(self, folder: Path) -> Check:
        """All of them, in a folder for files that are not kept.

        Raises
        ------
        D2MError
            As `d2m_cli.generate` does.
        ValueError
            What was written is not what was made.
        """
        from d2m_cli.api.music import Generator
        from d2m_cli.backbones.base import Sampling
        from d2m_cli.generation.options import GenerateOptions
        from d2m_cli.generation.pipeline import music_for, see_dance
        from d2m_cli.ground.digests import content_digest
        from d2m_cli.ground.progress import silent
        from d2m_cli.rhythm.extract import extract_rhythm

        clip, wav, mp4 = (folder / name for name in ("clip.mp4", "music.wav", "music.mp4"))
        options = GenerateOptions(genre=CLIP_GENRE, candidates=1, sampling=Sampling(steps=STEPS))
        generator = Generator("embedded")
        with self.step("clip"):
            write_beginning(example_clip(), clip, SECONDS)
        with self.step("loading"):
            models = generator.models(options)
            seeing = generator.seeing(options)
        with self.step("pose"):
            dance = see_dance(clip, content_digest(clip), seeing, options, silent)
        with self.step("rhythm"):
            # The music finds it anew, which is quick: here it is to be told apart.
            assert dance.poses is not None
            extract_rhythm(dance.poses)
        with self.step("music"):
            made = music_for(dance, models, options, silent)
        with self.step("writing"):
            made.save(wav)
            made.save(mp4)
        with self.step("reading back"):
            check_files(made, wav, mp4)
        times = ", ".join(f"{name} {seconds:.1f}" for name, seconds in self.seconds.items())
        text = f"music for {SECONDS:.0f} s in {sum(self.seconds.values()):.1f} s: {times}"
        return Check(GROUP, "end to end", "ok", text, values={"seconds": self.seconds})


def check_files(made: Generated, wav: Path, mp4: Path) -> None:
    """Compare files with what was made.

    Raises
    ------
    ValueError
        They hold something else, or silence.
    """
    import av
    import soundfile

    samples, rate = soundfile.read(wav, dtype="float32", always_2d=True)
    wanted = made.music.samples.T
    if rate != made.music.sample_rate or samples.shape != wanted.shape:
        raise ValueError(f"{wav.name} holds {samples.shape} samples at {rate} Hz, not {wanted.shape}")
    off = float(np.abs(samples - wanted).max())
    if off > 2 / 2**15:
        raise ValueError(f"{wav.name} differs from the music by {off:.4f}")
    if not np.abs(samples).max() > 0.01:
        raise ValueError("the music is silent")
    with av.open(str(mp4)) as container:
        pictures = sum(1 for _ in container.decode(video=0))
    with av.open(str(mp4)) as container:
        sound = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
    if pictures != made.timeline.frames or abs(sound - made.timeline.duration) > NEAR:
        raise ValueError(
            f"{mp4.name} holds {pictures} pictures and {sound:.2f} s of sound, not {made.timeline.frames} and "
            f"{made.timeline.duration:.2f} s"
        )
