"""Counting by hand, agreement with mir_eval, and with LORIS's way of adding up."""

from __future__ import annotations

import math

import mir_eval
import numpy as np
import pytest

from d2m_cli.evaluation.rhythm.detections import Detections
from d2m_cli.evaluation.rhythm.protocols import (
    BEATS70,
    BEATS200,
    BINS5,
    CDCD_BINS,
    LORIS_BINS,
    PAPER,
    PROTOCOLS,
    Averaging,
    Counts,
    aligned,
)


def at(*times: float, seconds: float = 5.0) -> Detections:
    return Detections.at(np.array(times, dtype=float), seconds, 100.0)


def test_names() -> None:
    assert [protocol.name for protocol in PROTOCOLS] == ["paper", "bins5", "loris", "cdcd", "beats70", "beats200"]


# True onsets 0.50 1.00 2.40 3.00, generated 0.65 0.70 1.10 2.65 3.19:
# within 0.2 s: 0.50-0.65 (0.70 finds 0.50 taken), 1.00-1.10, 3.00-3.19; 2.40-2.65 is 0.25 away. 3 of 4, 3 of 5.
# bins of 0.2 s: true {2, 5, 12, 15}, generated {3, 5, 13, 15} (0.65 and 0.70 share bin 3): hits 5 and 15.
# bins of 1 s: true {0, 1, 2, 3}, generated {0, 1, 2, 3}: all four.
# within 0.07 s: none (the nearest two are 0.10 apart).
TRUE, MADE = (0.5, 1.0, 2.4, 3.0), (0.65, 0.7, 1.1, 2.65, 3.19)


@pytest.mark.parametrize(
    ("protocol", "counts", "ratios"),
    [
        (PAPER, Counts(4, 5, 3), (3 / 5, 3 / 4, 2 * 3 / 9)),
        (BINS5, Counts(4, 4, 2), (0.5, 0.5, 0.5)),
        (LORIS_BINS, Counts(4, 4, 4), (1.0, 1.0, 1.0)),
        (CDCD_BINS, Counts(4, 4, 4), (1.0, 1.0, math.nan)),
        (BEATS70, Counts(4, 5, 0), (0.0, 0.0, 0.0)),
        (BEATS200, Counts(4, 5, 3), (3 / 5, 3 / 4, 2 * 3 / 9)),
    ],
)
def test_by_hand(protocol, counts: Counts, ratios: tuple[float, float, float]) -> None:
    found = protocol.count(at(*TRUE), at(*MADE))
    assert found == counts
    assert protocol.ratios(found) == pytest.approx(ratios, nan_ok=True)


def test_coverage_of_cdcd_passes_one() -> None:
    # One true second with a beat, three generated ones of which one hits: 3 / 1 and 1 / 1.
    found = CDCD_BINS.count(at(1.2), at(0.3, 1.9, 4.0))
    assert found == Counts(1, 3, 1)
    assert CDCD_BINS.ratios(found)[:2] == (3.0, 1.0)
    assert LORIS_BINS.ratios(found)[:2] == (1 / 3, 1.0)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("counts", [Counts(0, 0, 0), Counts(0, 3, 0), Counts(3, 0, 0)])
def test_nothing_to_divide_by_is_zero(protocol, counts: Counts) -> None:
    bcs, bhs, f1 = protocol.ratios(counts)
    assert (bcs, bhs) == (0.0, 0.0)
    assert math.isnan(f1) if protocol.averaging is Averaging.UNBOUNDED else f1 == 0.0


def test_a_partner_is_taken_once() -> None:
    assert aligned([1.0], [0.9, 1.0, 1.1], 0.2) == 1
    assert aligned([0.9, 1.0, 1.1], [1.0], 0.2) == 1
    # The nearest first would pair 1.0 with 1.1 and leave 1.25 and 0.85 alone.
    assert aligned([1.0, 1.25], [0.85, 1.1], 0.2) == 2
    assert aligned([], [1.0], 0.2) == aligned([1.0], [], 0.2) == 0


def test_the_edge_of_the_tolerance_counts() -> None:
    assert aligned([1.0], [1.25], 0.25) == 1
    assert aligned([1.0], [0.75], 0.25) == 1
    assert aligned([1.0], [1.2501], 0.25) == 0


def test_agrees_with_mir_eval() -> None:
    rng = np.random.default_rng(0)
    for trial in range(300):
        reference, estimated = (np.unique(rng.uniform(0, 5, rng.integers(0, 25)).round(2)) for _ in range(2))
        tolerance = (0.07, 0.2)[trial % 2]
        protocol = (BEATS70, BEATS200)[trial % 2]
        counts = protocol.count(at(*reference, seconds=5.0), at(*estimated, seconds=5.0))
        assert counts.hits == len(mir_eval.util.match_events(reference, estimated, tolerance))
        if len(reference) and len(estimated):
            wanted = mir_eval.beat.f_measure(reference, estimated, tolerance)
            assert protocol.ratios(counts)[2] == pytest.approx(wanted, abs=1e-12)


def loris_by_the_letter(true: Detections, made: Detections, resolution: int) -> tuple[float, float]:
    """Lists of zeros and ones, the true one cut to the generated one's length, as LORIS's beats_scores.py has them."""
    lists = []
    for heard in (true, made):
        beats = [0] * math.ceil(heard.seconds * resolution)
        for time in heard.loris_onsets:
            beats[int(time * resolution)] = 1
        lists.append(beats)
    first, second = lists[0][: len(lists[1])], lists[1]
    hits = sum(a and b for a, b in zip(first, second, strict=True))
    return (hits / sum(second) if any(second) else 0), (hits / sum(first) if any(first) else 0)


@pytest.mark.parametrize(("protocol", "resolution"), [(LORIS_BINS, 1), (BINS5, 5)])
def test_bins_are_loris(protocol, resolution: int) -> None:
    rng = np.random.default_rng(1)
    for _ in range(100):
        longer, shorter = rng.uniform(4.5, 6.0), rng.uniform(2.0, 4.5)
        true = at(*np.unique(rng.uniform(0, longer, rng.integers(0, 12))), seconds=longer)
        made = at(*np.unique(rng.uniform(0, shorter, rng.integers(0, 12))), seconds=shorter)
        found = protocol.ratios(protocol.count(true, made))[:2]
        assert found == pytest.approx(loris_by_the_letter(true, made, resolution))


def test_what_goes_on_after_the_reference_does_not_count() -> None:
    assert PAPER.count(at(1.0, 4.9, seconds=5.0), at(1.0, 5.05, 6.0, 7.0, seconds=8.0)) == Counts(2, 1, 1)
    # What is missing is missed.
    assert PAPER.count(at(1.0, 4.9, seconds=5.0), at(1.0, seconds=2.0)) == Counts(2, 1, 1)


def test_f1_of_a_data_set() -> None:
    # Two clips: BCS 1 and 0.2, BHS 0.5 and 0.5, F1 2/3 and 2/7.
    means = np.array([0.6, 0.5, (2 / 3 + 2 / 7) / 2])
    assert PAPER.overall_f1(means) == pytest.approx(2 * 0.6 * 0.5 / 1.1)
    assert BEATS70.overall_f1(means) == pytest.approx((2 / 3 + 2 / 7) / 2)
    assert PAPER.overall_f1(np.zeros((4, 3))).tolist() == [0.0] * 4
    assert np.isnan(CDCD_BINS.overall_f1(np.array([1.2, 0.5, np.nan])))
