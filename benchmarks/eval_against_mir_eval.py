"""What ``d2m eval`` takes for the scores of clips, against mir_eval, and against librosa's beat tracker and mir_eval.

::

    python benchmarks/eval_against_mir_eval.py

Of beats that are known mir_eval computes F1 at 70 ms, CMLt and AMLt for every pair; d2m computes these and its other
20 or so figures, and then the 95 % intervals of all by resampling songs, which mir_eval has not. Of sound, which is the
examples' true music over and over, librosa's `beat_track` finds the beats of both sides of a pair for mir_eval; d2m
finds beats and two kinds of onsets, whose strength it computes once.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence

import librosa
import mir_eval.beat
import numpy as np
from numpy.typing import NDArray
from side_by_side import ROOT, compare, machine, seconds

from d2m_cli.evaluation.rhythm.detections import Detections
from d2m_cli.evaluation.rhythm.scores import Pair, score_pair
from d2m_cli.evaluation.rhythm.summary import score_clips
from d2m_cli.ground.statistics import RESAMPLES
from d2m_cli.media.audio import load_audio

CLIP_SECONDS = 30.0
MUSIC = ROOT / "examples" / "music"
Sound = tuple[NDArray[np.float32], int]


def theirs(reference: NDArray[np.float64], estimated: NDArray[np.float64]) -> object:
    """mir_eval's three figures."""
    return mir_eval.beat.f_measure(reference, estimated), mir_eval.beat.continuity(reference, estimated)


def known_beats(clips: int, repeats: int) -> None:
    """Metronomes of many tempi, and the same with errors of 30 ms."""
    rng = np.random.default_rng(0)
    pairs = []
    for number in range(clips):
        beats = np.arange(rng.uniform(0, 0.5), CLIP_SECONDS, 60 / rng.uniform(80, 140))
        played = np.sort(np.clip(beats + rng.normal(0, 0.03, len(beats)), 0, CLIP_SECONDS))
        times = [Detections.at(one, CLIP_SECONDS) for one in (beats, played)]
        pairs.append(Pair(f"clip{number}", f"song{number // 4}", *times))

    def ours() -> list[object]:
        return [score_pair(pair.reference, pair.estimated) for pair in pairs]

    def rival() -> list[object]:
        return [theirs(pair.reference.beats, pair.estimated.beats) for pair in pairs]

    compare("scores of each pair, beats known", ours, rival, "mir_eval", repeats, f"for {clips} clips")
    songs = {pair.name: pair.song for pair in pairs}
    scored = [(pair.name, (score_pair(pair.reference, pair.estimated),)) for pair in pairs]
    taken = seconds(lambda: score_clips("d2m", scored, songs))
    print(f"intervals of all figures, from {RESAMPLES:,} draws of songs: {taken:.2f} s")


def from_sound(pairs: Sequence[tuple[Sound, Sound]], repeats: int) -> None:
    """Both sides of each pair listened to, and then scored."""

    def ours() -> list[object]:
        heard = [[Detections.from_audio(*sound) for sound in pair] for pair in pairs]
        return [score_pair(*pair) for pair in heard]

    def rival() -> list[object]:
        heard = [[librosa.beat.beat_track(y=y.mean(0), sr=rate, units="time")[1] for y, rate in pair] for pair in pairs]
        return [theirs(*pair) for pair in heard]

    unit = f"for {len(pairs)} pairs of some 12 s"
    compare("scores of each pair, from sound", ours, rival, "librosa and mir_eval", repeats, unit)


def main() -> None:
    """Time both, of beats and of sound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=200, help="with known beats")
    parser.add_argument("--pairs", type=int, default=21, help="of sound")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    print(machine(), f"mir_eval {mir_eval.__version__}, librosa {librosa.__version__}")
    known_beats(given.clips, given.repeats)
    # Decoding is left out: mir_eval and librosa's users decode alike.
    music = [load_audio(path, sample_rate=22050) for path in sorted(MUSIC.glob("*.ogg"))]
    from_sound(list(itertools.islice(itertools.permutations(music, 2), given.pairs)), given.repeats)


if __name__ == "__main__":
    main()
