"""From one piece of music, and the dance it was made for, to what the report page draws."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import starmap
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from d2m_cli.evaluation.rhythm.chance import chance_floors
from d2m_cli.evaluation.rhythm.detections import Detections
from d2m_cli.evaluation.rhythm.protocols import BEATS70, PAPER, PROTOCOLS
from d2m_cli.evaluation.rhythm.scores import Pair, score_pair
from d2m_cli.ground.mel import Mel
from d2m_cli.ground.nearest import nearest
from d2m_cli.report.page.values import RANGE_DB, UNSEEN, Drawing, Score, Skeletons, Spectrogram, Take, Times

if TYPE_CHECKING:
    from d2m_cli.pose.track import PoseTrack

SHOWN = (BEATS70, PAPER)
"""Protocols whose F1 the page shows."""
TIED = 0.2
"""Seconds within which beats are tied, as in the paper."""
COLUMNS_PER_SECOND = 40
BANDS = 48
HIGHEST = 10_000.0
"""Hz; nearly all that moves in music lies below."""
MOST_COLUMNS = 24_000
"""Of a spectrogram; those of longer music (10 minutes) are wider."""
SKELETONS_PER_SECOND = 15
MOST_SKELETONS = 18_000
"""Moments of all dancers together; with more, there are fewer a second."""
FEWEST_PER_SECOND = 5
"""Under so many moments a second a skeleton would jump, and is left out."""
CONFIDENT = 0.3
"""Score from which a joint is drawn."""
NEAR = 0.1
"""Seconds from a moment to the pose that is drawn for it."""


def draw(
    samples: NDArray[np.float32],
    rate: int,
    *,
    accents: Sequence[float] | Times,
    dance_beats: Sequence[float] | Times,
    bpm: float | None,
    tracks: Sequence[PoseTrack] | None,
    no_skeletons: str = "",
    takes: Iterable[tuple[int, NDArray[np.float32]]] = (),
) -> Drawing:
    """Listen to music, compare it with its dance, and thin out what is drawn.

    Parameters
    ----------
    samples
        (channels, n) float32 of the music.
    rate
        In Hz.
    accents, dance_beats
        Of the dance, in seconds; no beats where it has no steady one.
    bpm
        Tempo of the dance, or None.
    tracks
        The dancers; None where their poses are not at hand.
    no_skeletons
        Why not, as a sentence.
    takes
        (number, samples) of each that was kept, at the same rate; each is let go of before the next is taken.
    """
    seconds = samples.shape[1] / rate
    heard = _listen(samples, rate)
    accented, beats = _within(accents, seconds), _within(dance_beats, seconds)
    aimed_at = beats if len(beats) else accented
    dance = Detections.at(aimed_at, seconds, bpm)
    skeletons, left_out = None, [no_skeletons] if no_skeletons else []
    if tracks:
        skeletons = thin_skeletons(tracks, seconds)
        if skeletons is None:
            left_out.append("The skeletons are left out: the video is too long for them.")
    return Drawing(
        seconds,
        accented,
        beats,
        heard.beats,
        heard.loris_onsets,
        tie(aimed_at, heard.beats),
        bool(len(beats)),
        heard.bpm,
        judge(dance, heard) if len(aimed_at) else (),
        spectrogram(samples, rate),
        skeletons,
        tuple(left_out),
        tuple(starmap(partial(_draw_take, rate=rate, dance=dance, aimed_at=aimed_at), takes)),
    )


def _listen(samples: NDArray[np.float32], rate: int) -> Detections:
    with warnings.catch_warnings():
        # What it warns of, silence and very short sound, is seen in the picture.
        warnings.simplefilter("ignore", UserWarning)
        return Detections.from_audio(samples, rate)


def _draw_take(number: int, samples: NDArray[np.float32], *, rate: int, dance: Detections, aimed_at: Times) -> Take:
    heard = _listen(samples, rate)
    return Take(
        number,
        heard.beats,
        heard.loris_onsets,
        tie(aimed_at, heard.beats),
        judge(dance, heard) if len(aimed_at) else (),
        spectrogram(samples, rate),
    )


def judge(dance: Detections, music: Detections) -> tuple[Score, ...]:
    """Scores under the protocols of `SHOWN`, each beside a metronome at the dance's tempo that starts anywhere."""
    floors = chance_floors([Pair("", "", dance, music)])[0].protocols
    counts = score_pair(dance, music, continuity=False).counts
    found = []
    for protocol, counted, floor in zip(PROTOCOLS, counts, floors, strict=True):
        if protocol not in SHOWN or floor.f1 is None or protocol.tolerance is None:
            continue
        low, high = floor.f1.low or 0.0, floor.f1.high or 0.0
        found.append(
            Score(
                protocol.name,
                round(protocol.ratios(counted)[2], 4),
                counted.hits,
                counted.reference,
                counted.estimated,
                protocol.tolerance,
                round(floor.f1.value, 4),
                round(low, 4),
                round(high, 4),
            )
        )
    return tuple(sorted(found, key=lambda score: [one.name for one in SHOWN].index(score.protocol)))


def tie(dance: Times, music: Times, within: float = TIED) -> Times:
    """(n, 2) pairs of times that are each the nearest of the other, and no further apart than `within` seconds."""
    if not len(dance) or not len(music):
        return np.zeros((0, 2))
    to_music, to_dance = nearest(dance, music), nearest(music, dance)
    pairs = np.stack([dance, music[to_music]], axis=1)
    mutual = to_dance[to_music] == np.arange(len(dance))
    tied: Times = pairs[mutual & (np.abs(np.diff(pairs, axis=1)[:, 0]) <= within + 1e-9)]
    return tied


def spectrogram(samples: NDArray[np.float32], rate: int) -> Spectrogram:
    """Mel spectrogram with the loudest column of those that are drawn as one."""
    highest = min(HIGHEST, rate / 2)
    hop = max(1, round(rate / COLUMNS_PER_SECOND))
    mel = Mel(samples, rate, 2048, hop, BANDS, highest)
    joined = -(-mel.count // MOST_COLUMNS)
    power = np.zeros((-(-mel.count // joined), BANDS), np.float32)
    for first, part in mel:
        columns, starts = np.unique(np.arange(first, first + part.shape[1]) // joined, return_index=True)
        power[columns] = np.maximum(power[columns], np.maximum.reduceat(part, starts, axis=1).T)
    loudest = float(power.max(initial=0.0))
    decibels = 10.0 * np.log10(np.maximum(power, loudest * 1e-12) / loudest) if loudest > 0.0 else power - RANGE_DB
    levels = np.clip(255.0 * (1.0 + decibels / RANGE_DB), 0, 255)
    return Spectrogram(rate / hop / joined, highest, levels.round().astype(np.uint8))


def thin_skeletons(tracks: Sequence[PoseTrack], seconds: float) -> Skeletons | None:
    """Dancers at even moments; None where there would be too few a second."""
    rate = min(SKELETONS_PER_SECOND, int(MOST_SKELETONS / max(seconds * len(tracks), 1e-6)))
    if rate < FEWEST_PER_SECOND:
        return None
    moments = np.arange(int(np.ceil(seconds * rate)) + 1) / rate
    points = np.stack([_points(track, moments) for track in tracks])
    return Skeletons(float(rate), tracks[0].frame_size, points)


def _points(track: PoseTrack, moments: Times) -> NDArray[np.uint16]:
    points = np.full((len(moments), track.keypoints.shape[1], 2), UNSEEN, np.uint16)
    if not len(track.times):
        return points
    nearest = np.searchsorted((track.times[1:] + track.times[:-1]) / 2, moments)
    poses = track.keypoints[nearest]
    parts = (poses[..., :2] + 0.5) / np.array(track.frame_size)
    near = np.abs(track.times[nearest] - moments) <= NEAR
    seen = (poses[..., 2] >= CONFIDENT) & near[:, None] & ((parts >= 0.0) & (parts <= 1.0)).all(axis=-1)
    points[seen] = np.round(parts[seen] * (UNSEEN - 1)).astype(np.uint16)
    return points


def _within(times: Any, seconds: float) -> Times:
    found = np.asarray(times, dtype=np.float64).reshape(-1)
    return found[(found >= 0.0) & (found < seconds)]
