"""Distances between Gaussians that are known, agreement with scipy and with a double loop, and what can't be told."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from scipy.linalg import sqrtm

from d2m_cli.evaluation.sound.embedding import EmbeddingSet
from d2m_cli.evaluation.sound.frechet import Gaussian, fad, fad_infinity, frechet_distance, kad, squared_discrepancy
from tests.evaluation.clips import frames_as_set


def random_covariance(width: int, seed: int) -> np.ndarray:
    root = np.random.default_rng(seed).standard_normal((2 * width, width))
    return root.T @ root / width


def gaussian(mean: np.ndarray, covariance: np.ndarray) -> Gaussian:
    values, vectors = np.linalg.eigh(covariance)
    return Gaussian(mean, np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        # N(0, 1) and N(3, 4): 3^2 + (1 - 2)^2.
        (([0.0], [1.0]), ([3.0], [4.0]), 10.0),
        # Means (1, 2) apart: 1 + 4; standard deviations 2 and 1, 3 and 4: 1 + 1.
        (([1.0, 2.0], [4.0, 9.0]), ([0.0, 0.0], [1.0, 16.0]), 7.0),
        # A point and a spread: 0 + (0 - 5)^2.
        (([1.0], [0.0]), ([1.0], [25.0]), 25.0),
    ],
)
def test_diagonal_gaussians_by_hand(first: tuple, second: tuple, expected: float) -> None:
    sides = [gaussian(np.array(mean), np.diag(variance)) for mean, variance in (first, second)]
    assert frechet_distance(*sides) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("width", [2, 7, 40])
def test_the_formula_with_scipys_matrix_root(width: int) -> None:
    means = np.random.default_rng(1).standard_normal((2, width))
    first, second = random_covariance(width, 2), random_covariance(width, 3)
    root = sqrtm(first @ second)
    expected = ((means[0] - means[1]) ** 2).sum() + np.trace(first + second - 2 * np.real(root))
    sides = gaussian(means[0], first), gaussian(means[1], second)
    assert frechet_distance(*sides) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(*reversed(sides)) == pytest.approx(expected, rel=1e-9)


def test_moments_are_numpys() -> None:
    frames = np.random.default_rng(0).standard_normal((30, 6)) @ np.diag([1, 2, 3, 4, 5, 6.0]) + 1
    gaussian = Gaussian.of(frames)
    assert np.allclose(gaussian.mean, frames.mean(0))
    assert np.allclose(gaussian.root.T @ gaussian.root, np.cov(frames, rowvar=False))
    few = Gaussian.of(frames[:4])
    assert np.allclose(few.root.T @ few.root, np.cov(frames[:4], rowvar=False))


def test_identical_sets_are_at_distance_0() -> None:
    frames = np.random.default_rng(0).standard_normal((50, 128)) * 100
    found = fad(frames_as_set(frames), frames_as_set(frames[::-1]))
    assert found.value == pytest.approx(0.0, abs=1e-6)
    assert found.value is not None
    assert found.value >= 0.0


def test_few_frames_in_many_dimensions_are_as_far_as_in_their_own_plane() -> None:
    rng = np.random.default_rng(4)
    first, second = rng.standard_normal((6, 3)), rng.standard_normal((5, 3)) * 2 + 1
    axes = np.linalg.qr(rng.standard_normal((512, 3)))[0]
    flat = fad(frames_as_set(first), frames_as_set(second))
    lifted = fad(frames_as_set(first @ axes.T), frames_as_set(second @ axes.T))
    assert lifted.value == pytest.approx(flat.value, rel=1e-9)
    assert flat.notes == ()
    assert [note.split(":")[0] for note in lifted.notes] == [
        "6 real frames in 512 dimensions",
        "5 generated frames in 512 dimensions",
    ]


def test_a_shift_counts_squared() -> None:
    frames = np.random.default_rng(0).standard_normal((200, 4))
    found = fad(frames_as_set(frames), frames_as_set(frames + np.array([1.0, 2.0, 0.0, 0.0])))
    assert found.value == pytest.approx(5.0, rel=1e-9)
    assert (found.kind, found.embedding, found.column) == ("FAD", "test", "FAD (test)")
    assert (found.reference_frames, found.estimated_frames) == (200, 200)


def test_one_file_tells_no_distance() -> None:
    several = frames_as_set(np.random.default_rng(0).standard_normal((40, 3)))
    one = frames_as_set(np.random.default_rng(1).standard_normal((40, 3)), clips=1)
    none = EmbeddingSet("test", np.zeros((0, 3)), (), ())
    for distance in (fad, fad_infinity, kad):
        for reference, estimated, words in (
            (several, one, "1 generated clip with 40 frames"),
            (one, several, "1 real clip with 40 frames"),
            (several, none, "0 generated clips with 0 frames"),
        ):
            found = distance(reference, estimated)
            assert found.value is None
            assert words in found.notes[0]


def test_embeddings_of_different_networks_are_not_compared() -> None:
    frames = np.random.default_rng(0).standard_normal((9, 3))
    for distance in (fad, fad_infinity, kad):
        with pytest.raises(ValueError, match="vggish and clap have nothing in common"):
            distance(frames_as_set(frames, "vggish"), frames_as_set(frames, "clap"))


@pytest.mark.parametrize("per_clip", [1, 4])
def test_fad_infinity_takes_the_bias_of_small_sets_away(per_clip: int) -> None:
    """Frames of a clip differ by half of the variance only, so that four of them are worth less than two."""
    width, clips = 8, 100
    rng = np.random.default_rng(7)
    spread, other = np.linspace(0.5, 2.0, width), np.full(width, 0.3)

    def draw(count: int) -> np.ndarray:
        shared, own = rng.standard_normal((count, 1, width)), rng.standard_normal((count, per_clip, width))
        both = own if per_clip == 1 else (shared + own) / np.sqrt(2)
        return (both * spread).reshape(-1, width)

    # So many real clips that their own bias can't be seen.
    reference = frames_as_set(draw(4000), clips=4000)
    true = width * 0.09
    plain, endless = [], []
    for seed in range(12):
        estimated = frames_as_set(draw(clips) + other, clips=clips)
        plain.append(fad(reference, estimated).value)
        endless.append(fad_infinity(reference, estimated, seed=seed).value)
    bias, left = np.mean(plain) - true, np.mean(endless) - true
    assert bias > 0.15
    assert abs(left) < 2.5 * np.std(endless) / math.sqrt(len(endless))
    assert abs(left) < 0.4 * bias
    again = [fad_infinity(reference, estimated, seed=3).value for _ in range(2)]
    assert again[0] == again[1]


def test_fad_infinity_needs_twice_as_many_frames_as_dimensions() -> None:
    rng = np.random.default_rng(0)
    reference = frames_as_set(rng.standard_normal((100, 10)))
    short = fad_infinity(reference, frames_as_set(rng.standard_normal((21, 10)), clips=21))
    assert short.value is None
    assert short.notes == ("21 clips with 21 frames are too few to extrapolate from; it takes 22 such clips",)
    assert fad_infinity(reference, frames_as_set(rng.standard_normal((22, 10)), clips=22)).value is not None
    pairs = fad_infinity(reference, frames_as_set(rng.standard_normal((22, 10)), clips=11))
    assert pairs.notes[0].endswith("it takes 12 such clips")
    assert fad_infinity(reference, frames_as_set(rng.standard_normal((24, 10)), clips=12)).value is not None


def test_kad_is_what_a_double_loop_gives() -> None:
    rng = np.random.default_rng(5)
    real, made = rng.standard_normal((7, 3)), rng.standard_normal((5, 3)) + 0.5
    apart = statistics.median(math.dist(real[i], real[j]) for i in range(7) for j in range(i))

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return math.exp(-(math.dist(a, b) ** 2) / (2 * apart**2))

    within_real = sum(kernel(real[i], real[j]) for i in range(7) for j in range(7) if i != j) / 42
    within_made = sum(kernel(made[i], made[j]) for i in range(5) for j in range(5) if i != j) / 20
    across = sum(kernel(a, b) for a in real for b in made) / 35
    found = kad(frames_as_set(real), frames_as_set(made))
    assert found.value == pytest.approx(100 * (within_real + within_made - 2 * across), rel=1e-9)
    assert found.column == "KAD (test)"


def test_kad_has_no_bias_and_rises_with_distance() -> None:
    rng = np.random.default_rng(6)
    same = [
        kad(frames_as_set(rng.standard_normal((40, 5))), frames_as_set(rng.standard_normal((30, 5)))).value
        for _ in range(60)
    ]
    assert abs(np.mean(same)) < 3 * np.std(same) / math.sqrt(len(same))
    assert min(same) < 0.0
    real = rng.standard_normal((200, 5))
    values = [kad(frames_as_set(real), frames_as_set(rng.standard_normal((200, 5)) + d)).value for d in (0, 0.5, 1, 2)]
    assert values == sorted(values)


def test_kernels_are_added_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(8)
    first, second = rng.standard_normal((23, 4)), rng.standard_normal((17, 4))
    whole = squared_discrepancy(first, second, 1.3)
    monkeypatch.setattr("d2m_cli.evaluation.sound.frechet.BLOCK", 5)
    assert squared_discrepancy(first, second, 1.3) == pytest.approx(whole, rel=1e-12)


def test_kad_of_a_reference_that_is_all_the_same() -> None:
    found = kad(frames_as_set(np.ones((6, 3))), frames_as_set(np.random.default_rng(0).standard_normal((6, 3))))
    assert found.value is None
    assert found.notes == ("the frames of the reference are all the same",)
