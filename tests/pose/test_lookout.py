"""When people are looked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from d2m_cli.media.video import FrameChunk
from d2m_cli.pose.lookout import SELDOM, Looked, Lookout, same_people
from d2m_cli.pose.movenet import Detections

STEP = 4


def box(x: float, y: float = 10.0) -> list[float]:
    return [x, y, x + 40, y + 100]


def people(*boxes: list[float], score: float = 0.8) -> Detections:
    joints = np.array([[[x0, y0, score]] * 17 for x0, y0, _, _ in boxes]).reshape(-1, 17, 3)
    return Detections(np.array(boxes, float).reshape(-1, 4), np.full(len(boxes), score), joints)


class Film:
    """Frames that show their own number in every pixel, and whom one sees in each."""

    def __init__(self, shown: Sequence[Detections]) -> None:
        self.shown, self.asked = shown, list[int]()

    def detect(self, pictures: Sequence[np.ndarray]) -> list[Detections]:
        numbers = [int(picture[0, 0, 0]) for picture in pictures]
        self.asked += numbers
        return [self.shown[number] for number in numbers]

    def looked(self, chunk: int = 32) -> list[Looked]:
        lookout, found = Lookout(self.detect, STEP), list[Looked]()
        for start in range(0, len(self.shown), chunk):
            numbers = np.arange(start, min(start + chunk, len(self.shown)))
            frames = np.zeros((len(numbers), 2, 2, 3), np.uint8) + numbers[:, None, None, None].astype(np.uint8)
            found += lookout.add(FrameChunk(frames, numbers / 30, start))
        return found + lookout.finish()


def test_steady_people_are_looked_for_seldom_and_interpolated_between() -> None:
    film = Film([people(box(100 + 0.5 * number), score=0.8) for number in range(65)])
    looked = film.looked()
    assert film.asked == [0, 16, 32, 48, 64]
    assert [frame.number for frame in looked] == list(range(65))
    assert [frame.number for frame in looked if frame.people is not None] == list(range(0, 65, STEP))
    for frame in looked[::STEP]:
        assert frame.people is not None
        assert frame.people.keypoints is not None
        np.testing.assert_allclose(frame.people.boxes, [box(100 + 0.5 * frame.number)])
        np.testing.assert_allclose(frame.people.keypoints[0, 3], [100 + 0.5 * frame.number, 10, 0.8])
        np.testing.assert_allclose(frame.people.scores, 0.8)


def test_the_rest_after_the_last_seldom_look_is_looked_at() -> None:
    film = Film([people(box(100)) for _ in range(27)])
    film.looked()
    assert film.asked == [0, 16, 20, 24]


def test_somebody_who_comes_in_is_seen_as_early_as_by_looking_at_every_step() -> None:
    shown = [people(box(100)) if number < 23 else people(box(100), box(300)) for number in range(65)]
    film = Film(shown)
    looked = film.looked()
    assert sorted(film.asked) == [0, 16, 20, 24, 28, 32, 48, 64]
    counts = {frame.number: len(frame.people.boxes) for frame in looked if frame.people is not None}
    assert [number for number, count in counts.items() if count == 2] == list(range(24, 65, STEP))


@pytest.mark.parametrize("chunk", [1, 5, 7, 16, 64])
def test_chunks_change_nothing(chunk: int) -> None:
    shown = [
        people(box(100 + number % 40)) if number < 23 else people(box(100), box(300 - 4 * number))
        for number in range(61)
    ]
    whole, parts = Film(shown), Film(shown)
    first, second = whole.looked(), parts.looked(chunk)
    assert sorted(whole.asked) == sorted(parts.asked)
    for one, other in zip(first, second, strict=True):
        assert one.number == other.number
        assert (one.people is None) == (other.people is None)
        if one.people is not None and other.people is not None:
            np.testing.assert_array_equal(one.people.boxes, other.people.boxes)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (people(), people()),  # nobody: there may be somebody between
        (people(box(100)), people(box(100), box(300))),
        (people(box(100)), people(box(130))),  # far away: (40 - 30) of 40 + 30 is shared
        (people(box(100), score=0.25), people(box(100))),  # doubtful
        (people(box(100), box(130)), people(box(100), box(130))),  # in front of each other
    ],
)
def test_what_is_not_steady(first: Detections, second: Detections) -> None:
    assert same_people(first, second) is None
    film = Film([first] * SELDOM * STEP + [second])
    film.looked()
    assert sorted(film.asked) == [0, 4, 8, 12, 16]


def test_the_same_people_in_another_order() -> None:
    found = same_people(people(box(100), box(300)), people(box(305), box(104)))
    assert found is not None
    np.testing.assert_array_equal(found.boxes, [box(104), box(305)])
    assert found.keypoints is not None
    np.testing.assert_array_equal(found.keypoints[:, 0, 0], [104, 305])


def test_a_detector_of_boxes_has_no_joints_between_either() -> None:
    plain = Detections(np.array([box(100)]), np.array([0.9]))
    looked = Film([plain] * 33).looked()
    assert len([frame for frame in looked if frame.people is not None]) == 9
    assert all(frame.people.keypoints is None for frame in looked if frame.people is not None)


def test_no_frames_at_all() -> None:
    assert Lookout(lambda _pictures: [], STEP).finish() == []
