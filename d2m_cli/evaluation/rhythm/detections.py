"""The value that evaluation compares: when something happens in one clip, as each detector hears it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m_cli.errors import InputError
from d2m_cli.evaluation.rhythm.beat_tracker import SHORTEST_SECONDS, pulse_beats
from d2m_cli.evaluation.rhythm.onsets import CDCD, LORIS, RATE, Times, onset_strength, pick_onsets, to_mono
from d2m_cli.evaluation.rhythm.tempo import beats_tempo
from d2m_cli.media.passage import Passage

DETECTORS = ("loris_onsets", "cdcd_onsets", "beats")


@dataclass(frozen=True, repr=False)
class Detections:
    """All events of one clip, found once and used by every protocol.

    Attributes
    ----------
    seconds
        Length of the clip.
    loris_onsets, cdcd_onsets
        (o,) seconds, rising: see `d2m_cli.evaluation.rhythm.onsets`.
    beats
        (b,) seconds, rising: see `d2m_cli.evaluation.rhythm.beat_tracker`.
    bpm
        Tempo in beats per minute, or None where there are too few beats for one.
    """

    seconds: float
    loris_onsets: Times
    cdcd_onsets: Times
    beats: Times
    bpm: float | None

    def __post_init__(self) -> None:
        if not (np.isfinite(self.seconds) and self.seconds >= 0.0):
            raise ValueError(f"seconds must be 0 or more, not {self.seconds}")
        for name in DETECTORS:
            times = self.events(name)
            if times.ndim != 1 or not np.isfinite(times).all() or (times[1:] <= times[:-1]).any():
                raise ValueError(f"{name} must be rising times in seconds")
        if self.bpm is not None and not (np.isfinite(self.bpm) and self.bpm > 0.0):
            raise ValueError(f"bpm must be above 0, not {self.bpm}")

    def __repr__(self) -> str:
        counts = ", ".join(f"{name}={len(self.events(name))}" for name in DETECTORS)
        return f"Detections(seconds={self.seconds:.2f}, {counts}, bpm={self.bpm})"

    def events(self, detector: str) -> Times:
        """What one of `DETECTORS` found, in seconds."""
        if detector not in DETECTORS:
            raise ValueError(f"no detector {detector!r}; there are: {', '.join(DETECTORS)}")
        times: Times = getattr(self, detector)
        return times

    @property
    def remarks(self) -> tuple[str, ...]:
        """What keeps this clip from being judged, in words; empty where nothing does."""
        found = []
        if not (len(self.loris_onsets) and len(self.cdcd_onsets)):
            found.append("no onsets found")
        if self.seconds < SHORTEST_SECONDS:
            found.append(f"{self.seconds:.2f} s are too short for a beat")
        elif not len(self.beats):
            found.append("no beats found")
        return tuple(found)

    @classmethod
    def from_audio(cls, samples: NDArray[np.floating[Any]], rate: int) -> Detections:
        """Listen to music with every detector; the onset strength is computed once for all of them.

        Parameters
        ----------
        samples
            (channels, n) or (n,) audio, full scale at 1; n may be 0.
        rate
            Hz.

        Warns
        -----
        UserWarning
            There are no onsets or no beats (silence, very short sound); they count as missed.

        Raises
        ------
        ValueError
            The samples are not finite, or of another shape.
        """
        mono = to_mono(samples, rate)
        strength = onset_strength(mono)
        seconds = len(mono) / RATE
        beats = pulse_beats(strength)
        beats = beats[(beats >= 0.0) & (beats < seconds)]
        found = cls(seconds, pick_onsets(strength, LORIS), pick_onsets(strength, CDCD), beats, beats_tempo(beats))
        if found.remarks:
            warnings.warn("; ".join(found.remarks), stacklevel=2)
        return found

    @classmethod
    def at(cls, times: NDArray[np.floating[Any]], seconds: float, bpm: float | None = None) -> Detections:
        """Events that are known without listening (annotated beats, a metronome, a dance), for all detectors alike.

        Parameters
        ----------
        times
            (b,) seconds, rising.
        seconds
            Length of the clip.
        bpm
            Tempo, or None to read it off the times.
        """
        events = np.asarray(times, dtype=np.float64)
        return cls(seconds, events, events, events, beats_tempo(events) if bpm is None else bpm)

    def of(self, passage: Passage) -> Detections:
        """Those of a passage of the clip, in seconds from where it begins; the tempo is that of the whole.

        Raises
        ------
        InputError
            The clip ends before it begins.
        """
        if passage.is_whole:
            return self
        left = self.seconds - passage.start
        if left <= 0.0:
            raise InputError(f"the clip ends at {self.seconds:.2f} s, before {passage} begins")
        seconds = left if passage.duration is None else min(left, passage.duration)
        loris, cdcd, beats = (
            times[(times >= 0.0) & (times < seconds)]
            for times in (self.events(name) - passage.start for name in DETECTORS)
        )
        return Detections(seconds, loris, cdcd, beats, self.bpm)
