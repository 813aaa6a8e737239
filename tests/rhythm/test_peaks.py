"""Peak picking of each mode against sequences worked out by hand."""

from __future__ import annotations

import numpy as np

from d2m_cli.rhythm.peaks import find_accents, paper_peaks, published_peaks, published_peaks_by_clip


def test_paper_window_is_centred_and_in_seconds() -> None:
    values = np.array([0.0, 3.0, 1.0, 2.0, 0.0, 5.0, 0.0])
    clock = np.arange(7) * 0.1
    # +-0.1 s: the 2 at 0.3 s is the largest of its three; +-0.2 s: the 3 and the 5 are within reach of it.
    np.testing.assert_array_equal(paper_peaks(values, clock, 0.2), [1, 3, 5])  # type: ignore[arg-type]
    np.testing.assert_array_equal(paper_peaks(values, clock, 0.4), [1, 5])  # type: ignore[arg-type]


def test_paper_takes_the_first_of_equals_and_never_zero() -> None:
    clock = np.arange(6) * 0.1
    np.testing.assert_array_equal(paper_peaks(np.array([0.0, 2.0, 2.0, 0.0, 0.0, 0.0]), clock, 0.2), [1])  # type: ignore[arg-type]
    assert len(paper_peaks(np.zeros(6), clock, 0.2)) == 0  # type: ignore[arg-type]
    assert len(paper_peaks(np.zeros(0), np.zeros(0), 0.2)) == 0


def test_paper_window_follows_uneven_times() -> None:
    values = np.array([1.0, 2.0, 1.5])
    np.testing.assert_array_equal(paper_peaks(values, np.array([0.0, 0.1, 0.5]), 0.3), [1, 2])


def test_published_by_hand() -> None:
    # Mean of all: 0.3. Threshold 0.03 over the mean of four ahead.
    # i=1: max of [1.0 .2 0 0 0 .6] is itself, mean .3, 1.0 - .3 > .03: peak.
    # i=6: max of [.6 .6 0 0 0 .0] is itself, mean .3: peak; i=7 likewise, mean .15: peak. The run 6, 7 collapses to 7.
    envelope = np.array([0.6, 1.0, 0.2, 0.0, 0.0, 0.0, 0.6, 0.6, 0.0, 0.0])
    np.testing.assert_array_equal(published_peaks(envelope), [1, 7])


def test_published_looks_forward_only() -> None:
    # The 0.5 right after the 1.0 is the largest of what follows, so it is a peak too, and the run ends on it.
    np.testing.assert_array_equal(published_peaks(np.array([0.0, 1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0])), [2])


def test_published_tail_is_padded_with_zeros() -> None:
    # The last value: mean over [0.4, 0, 0, 0] is 0.1, and 0.3 exceeds 0.1 x the mean of all.
    np.testing.assert_array_equal(published_peaks(np.array([0.0, 0.0, 0.0, 0.4])), [3])


def test_published_clips_have_thresholds_of_their_own() -> None:
    """A clip is 307.2 steps: the second begins at step 307, where one quiet bump is all that moves."""
    envelope = np.zeros(620)
    envelope[[10, 100]] = 1.0
    envelope[400] = 0.01
    # It exceeds the mean of four steps by three quarters of its height, 0.0075. A tenth of the mean of all is 0.0003.
    np.testing.assert_array_equal(published_peaks(envelope), [10, 100, 400])
    envelope[400] = 0.0003
    np.testing.assert_array_equal(published_peaks(envelope), [10, 100])
    np.testing.assert_array_equal(published_peaks_by_clip(envelope), [10, 100, 400])
    # A maximum looks six steps ahead, but not over the clip's end.
    envelope[[305, 308]] = 0.5, 1.0
    np.testing.assert_array_equal(published_peaks(envelope), [10, 100, 308])
    np.testing.assert_array_equal(published_peaks_by_clip(envelope), [10, 100, 305, 308])
    assert len(published_peaks_by_clip(np.zeros(0))) == 0


def test_published_stillness_has_no_peaks() -> None:
    assert len(published_peaks(np.zeros(20))) == 0
    assert len(published_peaks(np.zeros(0))) == 0


def test_accents_are_found_between_the_steps_of_the_clock() -> None:
    clock = np.arange(200) / 50.0
    truth = np.array([0.507, 1.013, 2.5, 3.2])
    envelope = sum(3.0 * np.exp(-0.5 * ((clock - t) / 0.04) ** 2) for t in truth)
    accents = find_accents(np.asarray(envelope), 50.0, floor=0.5)
    np.testing.assert_allclose(accents.times, truth, atol=0.002)
    np.testing.assert_allclose(accents.standing, 1.0, atol=0.05)


def test_accents_too_close_keep_the_higher_one() -> None:
    clock = np.arange(100) / 50.0
    envelope = 2.0 * np.exp(-0.5 * ((clock - 0.8) / 0.03) ** 2) + 3.0 * np.exp(-0.5 * ((clock - 0.95) / 0.03) ** 2)
    np.testing.assert_allclose(find_accents(envelope, 50.0, floor=0.5).times, [0.95], atol=0.01)


def test_accents_of_nothing() -> None:
    for n in (0, 1, 2, 50):
        assert len(find_accents(np.zeros(n), 50.0, floor=0.5).times) == 0
