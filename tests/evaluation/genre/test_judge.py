"""Which systems a classifier may judge: by the records of d2m beside their music, and by the true music."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from d2m_cli.evaluation.genre.divergence import GENRES, GenreClip, genre_scores
from d2m_cli.evaluation.genre.judge import backbone_of, judge_genres
from d2m_cli.evaluation.results import Ceiling, Comparison, Evaluation, GenreResult, SystemResult
from d2m_cli.evaluation.rhythm.detections import Detections
from d2m_cli.evaluation.rhythm.scores import Estimate, Pair
from d2m_cli.evaluation.rhythm.summary import NO_DIFFERENCE, Difference, summarise
from d2m_cli.evaluation.sound.listener import Listener


class Judge:
    """Learned from the music of the backbone "embedded"."""

    name, classes, same_music = "listener", GENRES, ("embedded",)

    def genres(self, samples: np.ndarray, rate: int) -> np.ndarray:
        raise AssertionError("what was heard is judged, not heard again")


def music(path: Path, backbone: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    if backbone is not None:
        record = {"format": "d2m-music", "models": {"backbone": {"name": backbone}}}
        path.with_suffix(".json").write_text(json.dumps(record))
    return path


def genre(right: float, low: float | None) -> GenreResult:
    clip = GenreClip(GENRES, np.eye(10)[0], label="BR")
    return GenreResult(genre_scores("listener", [clip]), {"genre.accuracy": Estimate(right, low, None)})


def evaluation(*names: str, true: GenreResult | None = None) -> Evaluation:
    beats = Detections.at(np.arange(0.2, 5.9, 0.5), 6.0, 120.0)
    rhythm = summarise([Pair("a", "a", beats, beats)], draws=20, resamples=100)
    systems = tuple(SystemResult(name, rhythm, (), (genre(1.0, 1.0),), None) for name in names)
    ceiling = None if true is None else Ceiling(rhythm.system, (), (true,))
    differences = tuple(
        Difference(measure, 0.5, 0.25, 0.75, 0.01, "first is higher")
        for measure in ("beats70.f1", "genre.accuracy (listener)", "genre.accuracy (other)")
    )
    comparisons = (Comparison(names[0], names[-1], differences),)
    return Evaluation(2, 2, "the true music", systems, comparisons, (), (), ceiling)


def test_the_record_beside_the_music_names_its_backbone(tmp_path: Path) -> None:
    assert backbone_of(music(tmp_path / "a.b.wav", "embedded")) == "embedded"
    assert backbone_of(music(tmp_path / "video.mp4", "riffusion:x")) == "riffusion:x"
    assert backbone_of(music(tmp_path / "none.wav")) is None
    for number, text in enumerate(("{}", "[]", "{", '{"format": "d2m-music"}', '{"format": "d2m-music", "models": 1}')):
        path = music(tmp_path / f"odd{number}.wav")
        path.with_suffix(".json").write_text(text)
        assert backbone_of(path) is None


def test_a_model_that_learned_from_the_same_music_is_not_judged(tmp_path: Path) -> None:
    files = {
        "own": [music(tmp_path / "own" / "a.wav", "embedded"), music(tmp_path / "own" / "b.wav", "embedded")],
        "mixed": [music(tmp_path / "mixed" / "a.wav", "embedded"), music(tmp_path / "mixed" / "b.wav")],
        "other": [music(tmp_path / "other" / "a.wav", "riffusion"), music(tmp_path / "other" / "b.wav", "musicgen")],
    }
    found = judge_genres(evaluation(*files), [Judge()], files)
    own, mixed, other = (system.genres[0] for system in found.systems)
    assert own.no_verdict == "listener learned from the same music as the embedded backbone, which made all of it"
    assert mixed.no_verdict.endswith("which made 1 of 2 clips")
    assert (own.doubt, mixed.doubt) == ("", "")
    assert (other.no_verdict, other.doubt) == ("", "")
    # The figures stay.
    assert own.estimates["genre.accuracy"].value == 1.0
    assert [one.verdict for one in found.comparisons[0].differences] == [
        "first is higher",
        "no verdict: listener can't judge",
        "first is higher",
    ]


def test_where_it_cannot_be_known_that_is_said(tmp_path: Path) -> None:
    files = {"a": [music(tmp_path / "a.wav")], "b": [music(tmp_path / "b.wav"), music(tmp_path / "c.wav", "musicgen")]}
    found = judge_genres(evaluation("a", "b"), [Judge()], files)
    assert [system.genres[0].no_verdict for system in found.systems] == ["", ""]
    told = [system.genres[0].doubt for system in found.systems]
    assert told[0].startswith("what made its music is not known (no .json of d2m beside it): if it was the embedded")
    assert told[1].startswith("what made 1 of 2 clips is not known")
    # It does not matter to a classifier that shares its music with no backbone.
    stranger = Judge()
    stranger.same_music = ()  # type: ignore[assignment]
    assert judge_genres(evaluation("a", "b"), [stranger], files).systems[0].genres[0].doubt == ""


@pytest.mark.parametrize(
    ("right", "low", "judges"),
    [(0.0, 0.0, False), (0.1, None, False), (0.3, 0.05, False), (0.3, 0.15, True), (1.0, None, True)],
)
def test_one_that_does_not_know_the_true_music_gives_no_verdict(
    tmp_path: Path, right: float, low: float | None, judges: bool
) -> None:
    files = {"a": [music(tmp_path / "a.wav", "musicgen")]}
    found = judge_genres(evaluation("a", true=genre(right, low)), [Judge()], files)
    reason = found.systems[0].genres[0].no_verdict
    told = f"listener does not know the true music: right for {right:.2f} of it, chance 0.10"
    assert reason == ("" if judges else told)


def test_differences_that_show_nothing_either_way(tmp_path: Path) -> None:
    files = {"a": [music(tmp_path / "a.wav", "embedded")], "b": [music(tmp_path / "b.wav", "musicgen")]}
    found = evaluation("a", "b")
    nothing = Difference("genre.kld_label (listener)", 0.0, -0.1, 0.1, 0.9, NO_DIFFERENCE)
    found = replace(found, comparisons=(Comparison("b", "a", (nothing,)),))
    (difference,) = judge_genres(found, [Judge()], files).comparisons[0].differences
    assert difference.verdict == "no verdict: listener can't judge"


def test_the_listener_that_ships_learned_from_what_the_embedded_backbone_did() -> None:
    assert Listener.load().same_music == ("embedded",)
