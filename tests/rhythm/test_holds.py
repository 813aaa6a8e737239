from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from d2m_cli.pose.track import Poses
from d2m_cli.rhythm.holds import find_holds
from tests.rhythm.dances import Dance, arm_hits, film, groove, human

START, END = 5.0, 7.0


def held(dance: Dance, start: float = START, end: float = END) -> Dance:
    """The dance with everything at rest from one time to another, and the rest of it behind."""

    def joints(t: np.ndarray) -> np.ndarray:
        return dance.joints(np.where(t < start, t, np.maximum(start, t - (end - start))))

    return replace(dance, joints=joints)


@pytest.mark.parametrize("dance", [groove(), arm_hits(), human()], ids=["groove", "arm hits", "human"])
@pytest.mark.parametrize("jitter", [0.0, 0.01])
def test_a_hold_is_found_where_it_is(dance: Dance, jitter: float) -> None:
    # 2 s are four beats of 120 bpm; what a joint does shortly before and after is slow.
    assert find_holds(film(dance, jitter=jitter), 120.0) == ()
    ((start, end),) = find_holds(film(held(dance), jitter=jitter), 120.0)
    assert start == pytest.approx(START, abs=0.4)
    assert end == pytest.approx(END, abs=0.4)


def test_two_beats_are_no_hold_and_seventeen_are_none_either() -> None:
    dance = groove(seconds=30.0)
    assert find_holds(film(held(dance, 5.0, 7.0)), 50.0) == ()
    assert len(find_holds(film(held(dance, 5.0, 12.0)), 120.0)) == 1
    assert find_holds(film(held(dance, 5.0, 14.0)), 120.0) == ()


def test_a_rest_at_the_beginning_or_the_end_is_no_hold() -> None:
    assert find_holds(film(held(groove(), 0.0, 3.0)), 120.0) == ()
    dance = groove()
    assert find_holds(film(replace(dance, joints=lambda t: dance.joints(np.minimum(t, 9.0)))), 120.0) == ()


def test_a_dancer_who_is_not_seen_does_not_hold_and_others_go_on() -> None:
    poses = film(groove())
    (track,) = poses.tracks
    keypoints = track.keypoints.copy()
    keypoints[(track.times > START) & (track.times < END)] = 0.0
    assert find_holds(replace(poses, tracks=(replace(track, keypoints=keypoints),)), 120.0) == ()
    resting, dancing = film(held(groove())), film(groove())
    both = Poses((resting.tracks[0], replace(dancing.tracks[0], person=1)), None, resting.duration)
    assert find_holds(both, 120.0) == ()
    together = Poses((resting.tracks[0], replace(resting.tracks[0], person=1)), None, resting.duration)
    assert len(find_holds(together, 120.0)) == 1
