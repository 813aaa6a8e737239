"""What d2m makes of videos that hold no dance: rope jumping, kicks, cartwheels, two at once, nobody.

    python examples/measure_wild.py FOLDER

Draws the clips into FOLDER (where they are missing), then reads poses and rhythm with default settings and in the other
modes. Needs what `make_videos.py` needs, and takes about ten minutes on one core. A line a clip:

found    share of frames with at least 12 joints of score 0.3 or more
pck      PCK@0.2: share of joints nearer to the truth than a fifth of the torso
tempo    beats a minute that were read, and how sure d2m is of them
F1       of the beats (`stable`: of the accents) against the jumps at 70 ms, by mir_eval
chance   mean F1 of a metronome at the true tempo, over all phases
late     median of beat minus nearest jump, ms
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mir_eval
import numpy as np
from dance.camera import Camera
from dance.choreography import DANCES, Dance
from dance.sports import Cartwheels, Sport
from make_videos import encode
from numpy.typing import NDArray

import d2m_cli as d2m
from d2m_cli.errors import D2MError

Array = NDArray[np.floating[Any]]

ADA, BEN = DANCES["waack_124_pan"].dancers[0], DANCES["groove_104"].dancers[0]
NEAR, WIDE = Camera(), Camera(size=(640, 480), focal=830.0, position=(0.0, -5.6, 1.3))
SECONDS = 10.0


def clips() -> list[Dance]:
    """All clips, by name."""

    def rope(name: str, jumps: float, **changes: Any) -> Sport:
        made = Sport(name, None, jumps, 0.2, SECONDS, (), (ADA,), NEAR, seed=11, jitter=0.012, missed=0.0, off=0.0)
        return replace(made, **changes)

    return [
        rope("rope_100", 100),
        rope("rope_120", 120, dancers=(BEN,), seed=12),
        rope("rope_132", 132),
        rope("rope_132_24fps", 132, fps=24, seed=13),
        rope("rope_150", 150, dancers=(BEN,), seed=14),
        rope("rope_180", 180, seed=15),
        rope("rope_side_132", 132, dancers=(replace(ADA, facing=1.4),), seed=16),
        rope("double_bounce_140", 140, family="double_bounce", seed=17),
        rope("two_jumpers_132", 132, camera=WIDE, seed=18,
             dancers=(replace(ADA, home=(-0.8, 0.0)), replace(BEN, home=(0.8, 0.1)))),
        rope("kicks", 75, family="kicks", unsteady=0.35, seed=19),
        Cartwheels("cartwheels_100", None, 100, 0.2, SECONDS, (), (ADA,), WIDE, seed=20),
        rope("nobody", 120, dancers=()),
    ]  # fmt: skip


def pictures(dance: Dance, factory: Any) -> Iterator[NDArray[np.uint8]]:
    """Frames of a clip, with the rope where there is one."""
    import cv2
    from dance.quick_render import frames, scenery

    times = dance.times()
    skips = isinstance(dance, Sport) and dance.family != "kicks" and len(dance.dancers) == 1
    rope = dance.camera.project(dance.rope(times), times)[..., :2] if skips else None
    for t, picture in enumerate(frames(dance, factory, scenery(dance.seed))):
        if rope is not None:
            line = np.round(rope[t] * 16).astype(np.int32)
            cv2.polylines(picture, [line], False, (40, 36, 34), 2, cv2.LINE_AA, 4)
        yield picture


def pck(truth: Array, found: Array) -> float:
    """PCK@0.2 of (T, 17, 2) joints; the torso is from the left shoulder to the right hip in its longest frame."""
    torso = np.linalg.norm(truth[:, 5] - truth[:, 12], axis=-1).max()
    return float((np.linalg.norm(truth - found, axis=-1) <= 0.2 * torso).mean())


def chance(jumps: Array, seconds: float) -> float:
    """Mean F1 of a metronome at the jumps' tempo over 50 phases."""
    period = float(np.median(np.diff(jumps)))
    phases = (np.arange(50) + 0.5) / 50 * period
    return float(np.mean([mir_eval.beat.f_measure(jumps, np.arange(p, seconds, period)) for p in phases]))


def figures(dance: Dance, path: Path) -> str:
    """The line of a clip."""
    try:
        poses = d2m.estimate_poses(path, options=d2m.PoseOptions(dancers="all"))
    except D2MError as error:
        return f"{dance.name:18} {error}"
    cells = [f"{dance.name:18} {len(poses.tracks)} of {len(dance.dancers)}"]
    track = poses.tracks[0]
    if len(dance.dancers):
        truths = [dance.pixel_keypoints(i, track.times) for i in range(len(dance.dancers))]
        found = float(((track.keypoints[..., 2] >= 0.3).sum(1) >= 12).mean())
        cells.append(f"found {found:.3f}  pck {max(pck(t, track.keypoints[..., :2]) for t in truths):.3f}")
    jumps = dance.accent_times(0)
    steady = dance.bpm is not None and isinstance(dance, Sport) and not dance.unsteady and len(dance.dancers) > 0
    for mode in ("beats", "stable"):
        rhythm = d2m.extract_rhythm(poses, d2m.RhythmOptions(mode=mode))
        if mode == "beats":
            bpm = rhythm.beats.bpm
            cells.append(f"tempo {0.0 if bpm is None else bpm:6.1f} ({rhythm.beats.confidence:.2f})")
        times = np.asarray(rhythm.beats.beats if mode == "beats" else rhythm.peaks)
        if steady and len(times):
            late = np.array([t - jumps[np.abs(jumps - t).argmin()] for t in times])
            f1 = mir_eval.beat.f_measure(jumps, times)
            cells.append(f"{mode} F1 {f1:.2f} late {1e3 * np.median(late):+.0f}")
        elif mode == "stable":
            cells.append(f"{len(times)} accents")
    if steady:
        cells.append(f"chance {chance(jumps, dance.seconds):.2f}")
    return "  ".join(cells)


def main() -> int:
    """Draw, read, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    factory = None
    for dance in clips():
        path = folder / f"{dance.name}.mp4"
        if not path.exists():
            if factory is None:
                from dance.body import BodyFactory

                factory = BodyFactory()
            encode(path, pictures(dance, factory), dance.fps, dance.camera.size, 23)
        print(figures(dance, path), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
