"""Whom to follow."""

from __future__ import annotations

import numpy as np
import pytest

from d2m_cli.errors import NoPersonError, UsageError
from d2m_cli.pose.dancers import only_dancer, parse_dancers, to_follow
from d2m_cli.pose.track import PoseTrack, tracks_of


@pytest.mark.parametrize(
    ("text", "dancers", "one", "followed"),
    [
        ("largest", "largest", None, "largest"),
        ("all", "all", None, "all"),
        ("1", 1, None, 1),
        ("12", 12, None, 12),
        ("only:0", "only:0", 0, "all"),
        ("only:3", "only:3", 3, "all"),
    ],
)
def test_words_and_what_they_mean(text: str, dancers: str | int, one: int | None, followed: str | int) -> None:
    assert parse_dancers(text) == dancers
    assert only_dancer(dancers) == one
    assert to_follow(dancers) == followed


@pytest.mark.parametrize("text", ["", "0", "-1", "2.5", "two", "only", "only:", "only:-1", "only:x", "²", "9" * 5000])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^dancers must be largest, all, how many at most \(from 1\)") as told:
        parse_dancers(text)
    assert len(str(told.value)) < 200


def test_the_tracks_that_are_meant() -> None:
    tracks = [PoseTrack(np.zeros((2, 17, 3), np.float32), np.array([0.0, 0.1]), (64, 48), n, "net") for n in (2, 0, 5)]
    meant: dict[str | int, list[int]] = {
        "largest": [2], "all": [2, 0, 5], 1: [2], 2: [2, 0], 9: [2, 0, 5], "only:5": [5]
    }  # fmt: skip
    assert {value: [track.person for track in tracks_of(tracks, value)] for value in meant} == meant
    with pytest.raises(NoPersonError, match="there is no dancer 1, only 2, 0, 5"):
        tracks_of(tracks, "only:1")
