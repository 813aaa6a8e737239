"""Beats of the dance itself, for judging music where no true music is given.

They are those that `d2m_cli.rhythm` finds in mode "beats", dated as it dates them. A dance without a steady beat is
judged by its accents. On nine songs of AIST++ that the model had not learned from, true music meets them better than
the field's kinematic beats (minima of the mean speed of all joints), which lie at chance (docs/rhythm.md).

Music that d2m made was made for these very beats; for it they tell whether the music landed where it was aimed.
"""

from __future__ import annotations

from d2m_cli.evaluation.rhythm.detections import Detections
from d2m_cli.pose.track import Poses
from d2m_cli.rhythm.extract import RhythmOptions, extract_rhythm


def detect_dance(poses: Poses, dancers: int | str = "all") -> Detections:
    """A dance as the reference of a `Pair`: its beats for every detector, and its tempo.

    Parameters
    ----------
    poses
        Dancers with true time stamps.
    dancers
        As `d2m_cli.pose.dancers` has it.

    Raises
    ------
    NoPersonError
        There is no dancer of the number asked for.
    """
    rhythm = extract_rhythm(poses, RhythmOptions(dancers=dancers))
    if rhythm.beats.steady:
        beats = rhythm.beats.beats
        return Detections.at(beats[beats < rhythm.duration], rhythm.duration, rhythm.beats.bpm)
    accents = rhythm.peaks[(rhythm.peaks >= 0.0) & (rhythm.peaks < rhythm.duration)]
    tempo = rhythm.tempo
    return Detections(rhythm.duration, accents, accents, accents, None if tempo is None else tempo.bpm)
