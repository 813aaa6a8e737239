"""Call d2m from Python: find the dancer of a video and print the rhythm of the dance.

python examples/library.py examples/videos/lock_112.mp4
"""

from __future__ import annotations

import sys
from pathlib import Path

from d2m_cli.pose.estimator import PoseEstimator, PoseOptions
from d2m_cli.rhythm.extract import RhythmOptions, extract_rhythm


def main(paths: list[str]) -> int:
    """Print tempo and accents of each video."""
    if not paths:
        print(__doc__, file=sys.stderr)
        return 2
    estimator = PoseEstimator(PoseOptions())  # networks are loaded once, for any number of videos
    for path in paths:
        poses = estimator.estimate(Path(path))
        rhythm = extract_rhythm(poses, RhythmOptions())
        print(f"{path}: {poses.tracks[0]}")
        if rhythm.tempo is None:
            print("  no steady beat")
        else:
            print(f"  {rhythm.tempo.bpm:.1f} bpm, first beat at {rhythm.tempo.first_beat:.2f} s")
        print("  accents at " + " ".join(f"{peak:.2f}" for peak in rhythm.peaks) + " s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
