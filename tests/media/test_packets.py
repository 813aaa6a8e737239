"""Order and times of pictures from packets; all numbers worked out by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from d2m_cli.media.packets import DROPPED, HIDDEN, UNKNOWN, Packets, decoding_times, lay_out

U = UNKNOWN


def packets(
    pts: list[int],
    dts: list[int],
    durations: list[int] | None = None,
    *,
    discard: list[int] | None = None,
    rate: int | None = 25,
    clock: int = 1000,
    end: int = U,
    clock_restarts: bool = False,
    sparse: bool = False,
    counted: bool = False,
) -> Packets:
    hidden = np.isin(np.arange(len(pts)), discard or [])
    return Packets(
        np.array(pts),
        np.array(dts),
        np.array(durations or [40] * len(pts)),
        hidden,
        Fraction(1, clock),
        Fraction(rate) if rate else None,
        end,
        clock_restarts,
        sparse,
        counted,
    )


def test_reordered_pictures_are_shown_by_their_time() -> None:
    laid = lay_out(packets([0, 120, 40, 80], [-40, 0, 40, 80]))
    assert laid.order.tolist() == [0, 3, 1, 2]
    assert laid.ticks.tolist() == [0, 40, 80, 120]
    assert (laid.end, laid.in_sequence, laid.notes) == (160, False, ())


def test_lead_in_is_decoded_and_not_shown() -> None:
    laid = lay_out(packets([-80, -40, 0, 40], [-80, -40, 0, 40], discard=[0, 1]), first=2)
    assert laid.order.tolist() == [HIDDEN, HIDDEN, 0, 1]
    assert laid.ticks.tolist() == [0, 40]


def test_pictures_before_the_first_that_can_be_decoded_are_dropped() -> None:
    # I(120) B(40) B(80) P(240) B(160) B(200): the first two B refer to what was cut off.
    laid = lay_out(packets([120, 40, 80, 240, 160, 200], [0, 40, 80, 120, 160, 200]), first=0)
    assert laid.order.tolist() == [0, DROPPED, DROPPED, 3, 1, 2]
    assert laid.ticks.tolist() == [120, 160, 200, 240]


def test_joined_recordings_follow_one_another() -> None:
    laid = lay_out(packets([1000, 1040, 1080, 500, 540], [1000, 1040, 1080, 500, 540], clock_restarts=True))
    assert laid.ticks.tolist() == [1000, 1040, 1080, 1120, 1160]
    assert laid.notes == ("clock starts again once: joined without a gap",)


def test_a_wrapped_clock_is_a_clock_that_starts_anew() -> None:
    wrap = 1 << 33
    stamps = [wrap - 7200, wrap - 3600, 0, 3600]
    laid = lay_out(packets(stamps, stamps, [3600] * 4, clock=90_000, clock_restarts=True))
    assert (laid.ticks - laid.ticks[0]).tolist() == [0, 3600, 7200, 10800]


def test_missing_times_are_filled_in_by_the_rate() -> None:
    laid = lay_out(packets([0, U, U, 120], [0, U, U, 120]))
    assert laid.ticks.tolist() == [0, 40, 80, 120]
    assert laid.in_sequence
    assert laid.notes == ("2 of 4 pictures have no time stamp: filled in by the frame rate",)


def test_no_times_at_all() -> None:
    laid = lay_out(packets([U, U, U], [U, U, U], [0, 0, 0], rate=50))
    assert laid.ticks.tolist() == [0, 20, 40]
    assert laid.end == 60


def test_an_avi_counts_its_pictures() -> None:
    """FFmpeg guesses presentation times that begin one late."""
    laid = lay_out(packets([1, 4, 2, 3], [0, 1, 2, 3], [1] * 4, rate=30, clock=30, counted=True))
    assert laid.ticks.tolist() == [0, 1, 2, 3]
    assert (laid.in_sequence, laid.end) == (True, 4)


def test_a_program_stream_with_few_stamps_is_dated_by_its_rate() -> None:
    """The guesses run two pictures ahead until the next stamp, and then show two at one time."""
    pts = [55800, 48600, 52200, 66600, 59400, 63000, 66600, 70200]
    laid = lay_out(packets(pts, sorted(pts), [3600] * 8, clock=90_000, sparse=True))
    assert laid.order.tolist() == [0, DROPPED, DROPPED, 1, 2, 3, 4, 5]
    assert np.diff(laid.ticks).tolist() == [3600] * 5


def test_the_end_of_a_reordered_film_is_what_the_container_says() -> None:
    # Shown at 0, 100, 200 and for 40 each time no picture follows; durations are steps of decoding.
    film = packets([0, 200, 100], [-100, 0, 100], [100, 100, 40], rate=None)
    assert lay_out(film).end == 240
    assert lay_out(packets([0, 200, 100], [-100, 0, 100], [100, 100, 40], rate=None, end=233)).end == 233
    # A header that ends before the last picture, or long after it, is not believed.
    assert lay_out(packets([0, 200, 100], [-100, 0, 100], [100, 100, 40], rate=None, end=150)).end == 240
    assert lay_out(packets([0, 200, 100], [-100, 0, 100], [100, 100, 40], rate=None, end=9000)).end == 240


@pytest.mark.parametrize(
    ("pts", "dts"),
    [
        ([0, 120, 40, 80], [-40, 0, 40, 80]),
        ([0, 40, 80], [0, 40, 80]),
        ([0, 300, 100, 200, 310], [-100, 0, 100, 200, 210]),
        ([], []),
    ],
)
def test_decoding_times(pts: list[int], dts: list[int]) -> None:
    made = decoding_times(np.array(pts, np.int64), 40)
    assert made.tolist() == dts
    assert (made <= np.array(pts, np.int64)).all()
