"""Tempo and first beat of the music in each window, as a beat tracker hears them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import theilslopes

from d2m_cli.ground.audio_beats import BEAT_TRACKER, track_beats
from d2m_cli.ground.compiled import librosa_with
from d2m_cli.ground.cores import cores
from d2m_cli.ground.digests import settings_digest
from d2m_cli.ground.files import atomic_path
from d2m_cli.ground.npz import UNREADABLE, read_npy
from d2m_cli.ground.progress import Progress
from d2m_cli.ground.spread import spread
from d2m_cli.media.audio import load_audio
from d2m_cli.rhythm.sequence import Tempo
from d2m_cli.training.data.clips import Segment
from d2m_cli.training.data.sources import content_of

TRACKER_RATE = 22050
"""Hz that the beat tracker's window is made for."""
NEAR = 8.0
"""Seconds around a window whose beats tell its tempo."""
LAG = 0.035
"""Seconds by which librosa's tracker hears a beat late: 42 ms in the median on rendered drums with known beats, about
20 ms on bare clicks."""


@dataclass(frozen=True)
class BeatCache:
    """Beats of songs, in a folder of the cache."""

    folder: Path

    def tempi(self, segments: Sequence[Segment], seconds: float, progress: Progress) -> tuple[Tempo | None, ...]:
        """Tempo of the music in each window of some seconds; None where it has none."""
        songs = sorted({segment.clip.audio for segment in segments})
        beats: dict[Path, NDArray[np.float64]] = {}
        missing: dict[Path, Path] = {}
        with progress.stage("beats of the music", len(songs)) as advance:
            for audio in songs:
                kept = self._kept(audio)
                if isinstance(kept, Path):
                    missing[audio] = kept
                else:
                    beats[audio] = kept
                    advance(1, audio.name)
            if missing:
                librosa_with("beat")  # once for all threads
            # Threads: of a song there are few arrays, all large, in whose arithmetic they don't wait for each other.
            # The same song may lie there under several names.
            named: dict[Path, list[Path]] = {}
            for audio, path in missing.items():
                named.setdefault(path, []).append(audio)
            count = max(1, min(cores(), len(named)))
            with ThreadPoolExecutor(count, "d2m-beats") as threads:
                found = spread(threads, lambda item: self._track(item[1][0], item[0]), named.items(), count)
                for names, heard in zip(named.values(), found, strict=True):
                    beats.update(dict.fromkeys(names, heard))
                    advance(len(names), names[0].name)
        return tuple(tempo_at(beats[s.clip.audio], s.clip.audio_start + s.start, seconds) for s in segments)

    def _kept(self, audio: Path) -> NDArray[np.float64] | Path:
        """The beats of a song, where they are in the cache; else where it will have them."""
        key = settings_digest("beats", {"audio": content_of(audio), "tracker": BEAT_TRACKER})
        path = self.folder / "beats" / f"{key}.npy"
        with suppress(*UNREADABLE):  # Not made yet, or damaged since: they are made again.
            return np.asarray(read_npy(path), dtype=np.float64)
        return path

    @staticmethod
    def _track(audio: Path, path: Path) -> NDArray[np.float64]:
        beats = track_beats(load_audio(audio, TRACKER_RATE)[0], TRACKER_RATE)
        with atomic_path(path) as part, part.open("wb") as file:
            np.save(file, beats, allow_pickle=False)
        return beats


def tempo_at(beats: NDArray[np.float64], start: float, seconds: float) -> Tempo | None:
    """Tempo and first beat of one window, by a line through the beats in and around it, less the tracker's lag.

    Parameters
    ----------
    beats
        (b,) seconds, as a tracker hears them in the whole song.
    start, seconds
        Of the window.

    Returns
    -------
    Seen from the window's start; None where fewer than four beats are near. The confidence is 1 less the mean distance
    of the beats from the line in half periods, at least 0.
    """
    near = beats[(beats >= start - NEAR) & (beats <= start + seconds + NEAR)]
    if len(near) < 4:
        return None
    # A beat that the tracker missed must not bend the line: beats are numbered by the median distance.
    period = float(np.median(np.diff(near)))
    number = np.concatenate([[0.0], np.cumsum(np.maximum(1.0, np.round(np.diff(near) / period)))])
    # Theil and Sen's line does not follow a beat that was heard where none is.
    slope, offset, _, _ = theilslopes(near, number)
    away = np.abs(near - (offset + slope * number)) / (slope / 2)
    tempo = Tempo(60.0 / float(slope), float((offset - LAG) % slope), float(max(0.0, 1.0 - away.mean())))
    return tempo.seen_from(start)
