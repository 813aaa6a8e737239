"""What ``d2m eval`` takes for the scores of clips whose beats are known, against mir_eval.

::

    python benchmarks/eval_against_mir_eval.py

mir_eval computes F1 of beats at 70 ms, CMLt and AMLt of every pair; d2m computes these and its other 20 or so figures,
and then the 95 % intervals of all by resampling songs, which mir_eval has not. Both see the same beats.
"""

from __future__ import annotations

import argparse

import mir_eval.beat
import numpy as np
from side_by_side import compare, machine, seconds

from d2m_cli.evaluation.rhythm.detections import Detections
from d2m_cli.evaluation.rhythm.scores import Pair, score_pair
from d2m_cli.evaluation.rhythm.summary import score_clips
from d2m_cli.ground.statistics import RESAMPLES

CLIP_SECONDS = 30.0


def main() -> None:
    """Time both on made-up beats: metronomes of many tempi with errors of 30 ms."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    print(machine(), f"mir_eval {mir_eval.__version__}")
    rng = np.random.default_rng(0)
    pairs = []
    for number in range(given.clips):
        beats = np.arange(rng.uniform(0, 0.5), CLIP_SECONDS, 60 / rng.uniform(80, 140))
        played = np.sort(np.clip(beats + rng.normal(0, 0.03, len(beats)), 0, CLIP_SECONDS))
        times = [Detections.at(one, CLIP_SECONDS) for one in (beats, played)]
        pairs.append(Pair(f"clip{number}", f"song{number // 4}", *times))

    def ours() -> list[object]:
        return [score_pair(pair.reference, pair.estimated) for pair in pairs]

    def theirs() -> list[object]:
        both = [(pair.reference.beats, pair.estimated.beats) for pair in pairs]
        return [(mir_eval.beat.f_measure(*two), mir_eval.beat.continuity(*two)) for two in both]

    compare("scores of each pair", ours, theirs, "mir_eval", given.repeats, f"for {given.clips} clips")
    songs = {pair.name: pair.song for pair in pairs}
    clips = [(pair.name, (score_pair(pair.reference, pair.estimated),)) for pair in pairs]
    taken = seconds(lambda: score_clips("d2m", clips, songs))
    print(f"intervals of all figures, from {RESAMPLES:,} draws of songs: {taken:.2f} s")


if __name__ == "__main__":
    main()
