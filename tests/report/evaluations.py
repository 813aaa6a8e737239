"""An evaluation of two systems, for tables and words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from d2m_cli.evaluation.genre.divergence import GenreScores
from d2m_cli.evaluation.pairing import Missing
from d2m_cli.evaluation.results import Ceiling, Comparison, Evaluation, GenreResult, SystemResult, TextScore
from d2m_cli.evaluation.rhythm.detections import Detections
from d2m_cli.evaluation.rhythm.scores import ONSET_GROUPS, Estimate, Pair
from d2m_cli.evaluation.rhythm.summary import Difference, summarise
from d2m_cli.evaluation.sound.frechet import Distance


def system(name: str, late: float) -> SystemResult:
    pairs = []
    for bpm in (90.0, 120.0):
        true, made = (Detections.at(np.arange(at, 5.9, 60 / bpm), 6.0, bpm) for at in (0.2, 0.2 + late))
        pairs.append(Pair(str(bpm), str(bpm), true, made))
    distances = (
        Distance("FAD", "listener", 1.5, 40, 40, ("few frames",)),
        Distance("FAD", "vggish", None, 40, 40, ("no frames",)),
    )
    genre = GenreResult(
        GenreScores("listener", 2, 0.5, None, None, 0, 1.0, ("a note",), (("c", "too short"),)),
        {"genre.kld_label": Estimate(0.5, 0.25, 0.75), "genre.accuracy": Estimate(1.0, 1.0, 1.0)},
    )
    text = TextScore(Estimate(-0.125, -0.25, 0.0), 2)
    return SystemResult(name, summarise(pairs, name, 100, 20), distances, (genre,), text)


def evaluation() -> Evaluation:
    """Of two clips, in which one system is in time and the other 30 ms late."""
    comparison = Comparison(
        "second best",
        "R&D_50% [x]",
        (
            Difference("beats70.f1", 0.5, 0.25, 0.75, 0.01, "first is higher"),
            Difference("paper.f1", -0.5, -0.75, -0.25, 0.01, "second is higher"),
            Difference("genre.accuracy (listener)", 0.1, -0.1, 0.3, 0.4, "no difference shown"),
            Difference("genre.kld_label (listener)", 0.5, 0.25, 0.75, 0.01, "first is higher"),
            Difference("loris.bhs", 0.1, -0.1, 0.3, 0.4, "no difference shown"),
        ),
    )
    systems = (system("second best", 0.0), system("R&D_50% [x]", 0.03))
    return Evaluation(
        2, 2, "the true music", systems, (comparison,), (Missing("lost", ("no reference",)),), ("a remark",)
    )


def known_beats(found: Evaluation) -> Evaluation:
    """The same with true beats: a ceiling for them alone, and two seeds of the first system."""
    first, second = found.systems
    distance = Distance("FAD", "listener", 1.5, 40, 40, (), (1.25, 1.75))
    seeds = replace(first, seeds=("seed0", "seed1"), distances=(distance, *first.distances[1:]))
    ceiling = Ceiling(second.rhythm.system, ONSET_GROUPS, second.genres, second.text)
    return replace(found, systems=(seeds, second), ceiling=ceiling)
