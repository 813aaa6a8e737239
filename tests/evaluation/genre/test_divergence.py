"""Divergences by hand and by scipy, the public code's own arithmetic, and what no label can say."""

from __future__ import annotations

import math

import numpy as np
import numpy.ma as ma
import pytest
from scipy.special import kl_div, log_softmax, softmax
from scipy.stats import entropy

from d2m_cli.errors import AudioError, UsageError
from d2m_cli.evaluation.genre.divergence import (
    GENRE_COLUMNS,
    GENRES,
    GenreClip,
    Recording,
    classify_clip,
    divergence,
    dmd_divergence,
    genre_scores,
    label_divergence,
)
from d2m_cli.evaluation.sound.embedding import too_short


def spread(first: int, share: float) -> np.ndarray:
    """`share` for one genre, the rest evenly for the others."""
    out = np.full(10, (1 - share) / 9)
    out[first] = share
    return out


def test_genres_are_sorted_codes() -> None:
    assert GENRES == ("BR", "HO", "JB", "JS", "KR", "LH", "LO", "MH", "PO", "WA")


def test_a_label() -> None:
    assert label_divergence(spread(3, 0.25), 3) == pytest.approx(math.log(4))
    # The whole sum over a one-hot label: 1 ln(1 / p) and nothing else.
    one_hot = np.eye(10)[3]
    assert label_divergence(spread(3, 0.25), 3) == pytest.approx(entropy(one_hot, spread(3, 0.25)))
    assert label_divergence(spread(3, 1.0), 3) == 0.0
    assert label_divergence(spread(3, 1.0), 4) == pytest.approx(6 * math.log(10))


def test_two_distributions() -> None:
    assert divergence(np.array([0.5, 0.5]), np.array([0.25, 0.75])) == pytest.approx(
        0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    )
    rng = np.random.default_rng(0)
    for _ in range(5):
        a, b = rng.dirichlet(np.ones(10), 2)
        assert divergence(a, b) == pytest.approx(entropy(a, b))
        assert divergence(a, a) == pytest.approx(0.0, abs=1e-12)
    assert divergence(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == pytest.approx(6 * math.log(10))


def test_the_public_codes_arithmetic_by_hand() -> None:
    # Logits 0, 1, 2 become 0, 0.5, 1; logits 0, 2, 2 become 0, 1, 1: 0.5 ln 0.5 - 0.5 + 1.
    by_hand = 0.5 * math.log(0.5) + 0.5
    assert dmd_divergence(softmax([0.0, 1.0, 2.0]), softmax([0.0, 2.0, 2.0])) == pytest.approx(by_hand)
    # Another genre comes last: x ln(x / 0).
    assert dmd_divergence(softmax([0.0, 1.0, 2.0]), softmax([1.0, 0.0, 2.0])) == math.inf
    assert dmd_divergence(np.full(3, 1 / 3), np.full(3, 1 / 3)) == 0.0


def test_a_data_set_as_the_public_code_means_it() -> None:
    rng = np.random.default_rng(1)
    true, heard = rng.standard_normal((2, 12, 10)) * 2
    # The same genre comes last in both.
    heard[np.arange(7), true[:7].argmin(1)] = heard[:7].min(1) - 1

    def scaled(logits: np.ndarray) -> np.ndarray:
        return (logits - np.min(logits)) / (np.max(logits) - np.min(logits))

    sums = [sum(kl_div(scaled(a), scaled(b))) for a, b in zip(true, heard, strict=True)]
    clips = [GenreClip(GENRES, softmax(b), softmax(a)) for a, b in zip(true, heard, strict=True)]
    found = genre_scores("net", clips)
    assert found.kld_dmd == pytest.approx(np.mean(ma.masked_invalid(sums)))
    assert found.dmd_clips == np.isfinite(sums).sum()
    assert 7 <= found.dmd_clips < 12
    finite = found.dmd_clips
    assert found.notes == (
        f"kld_dmd: mean of the other {finite}, since it is infinite for {12 - finite} of 12 clips (in which another "
        "genre comes last than in the true music)",
    )
    terms = softmax(true, 1) * (log_softmax(true, 1) - log_softmax(heard, 1))
    assert found.kld_reference == pytest.approx(terms.sum(1).mean(), rel=1e-3)
    assert (found.kld_label, found.accuracy) == (None, None)


@pytest.mark.parametrize(("clips", "told"), [(1, "1 of 1 clip "), (3, "3 of 3 clips ")])
def test_infinities_alone_have_no_mean(clips: int, told: str) -> None:
    found = genre_scores("net", [GenreClip(GENRES, spread(0, 0.9), spread(1, 0.9))] * clips)
    # Scaled, HO is 1 in the true music and 0 in the other.
    assert (found.kld_dmd, found.dmd_clips) == (None, 0)
    assert found.notes[0].startswith(f"kld_dmd: no mean, since it is infinite for {told}")


def test_means_over_clips() -> None:
    clips = [
        GenreClip(GENRES, spread(0, 0.5), label="BR"),
        GenreClip(GENRES, spread(1, 0.8), label="HO"),
        GenreClip(GENRES, spread(1, 0.8), label="BR"),
        GenreClip(GENRES, spread(2, 0.9)),
    ]
    found = genre_scores("net", clips, [("e", "too short")])
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.kld_label == pytest.approx((math.log(2) + math.log(1.25) + math.log(45)) / 3)
    assert (found.clips, found.kld_reference, found.kld_dmd, found.dmd_clips) == (4, None, None, 0)
    assert found.notes == ()
    assert found.left_out == (("e", "too short"),)
    assert len(clips[0].values()) == len(GENRE_COLUMNS)
    assert np.isnan(clips[3].values()).all()
    empty = genre_scores("net", [])
    assert (empty.clips, empty.accuracy, empty.kld_label) == (0, None, None)


def test_a_classifier_of_other_genres_has_no_label() -> None:
    clip = GenreClip(("jazz", "rock"), np.array([0.9, 0.1]), np.array([0.5, 0.5]), "LO")
    found = genre_scores("gtzan", [clip])
    assert (found.kld_label, found.accuracy) == (None, None)
    assert found.kld_reference == pytest.approx(0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(5))
    assert "knows jazz, rock: no label of AIST++" in found.notes[0]


def test_a_clip_checks_itself() -> None:
    with pytest.raises(ValueError, match="add up to 1"):
        GenreClip(GENRES, np.full(10, 0.2))
    with pytest.raises(ValueError, match="add up to 1"):
        GenreClip(GENRES, spread(0, 0.5), np.full(10, np.nan))
    with pytest.raises(ValueError, match="must be one of BR"):
        GenreClip(GENRES, spread(0, 0.5), label="rock")


class Deaf:
    name = "deaf"
    classes, same_music = GENRES, ()

    def genres(self, samples: np.ndarray, rate: int) -> np.ndarray:
        if len(samples) < rate:
            raise too_short(self.name, len(samples) / rate, 1.0)
        return spread(0, 0.5) if samples.any() else np.full(10, np.nan)


def test_classifying_a_clip() -> None:
    loud, short, silent = (Recording(name, array, 100) for name, array in (
        ("loud", np.ones(100)), ("short", np.ones(50)), ("silent", np.zeros(100))))  # fmt: skip
    heard = classify_clip(Deaf(), loud, loud, "break")
    assert heard.label == "BR"
    assert repr(heard) == "GenreClip(predicted=BR, label=BR)"
    assert heard.values()[:2] == pytest.approx([math.log(2), 0.0])
    assert classify_clip(Deaf(), loud).values()[1:3] == pytest.approx([np.nan, np.nan], nan_ok=True)
    with pytest.raises(AudioError, match=r"^short: 0\.50 s are too short for deaf"):
        classify_clip(Deaf(), loud, short)
    with pytest.raises(AudioError, match=r"^silent: deaf gives values"):
        classify_clip(Deaf(), silent)
    with pytest.raises(UsageError, match="unknown genre 'polka'"):
        classify_clip(Deaf(), loud, None, "polka")
