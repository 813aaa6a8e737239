"""`d2m_cli.evaluate` from Python, on seconds of the example music."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import d2m_cli as d2m
from d2m_cli.errors import UsageError
from d2m_cli.evaluation.rhythm.chance import DRAWS
from d2m_cli.ground.statistics import RESAMPLES
from d2m_cli.media.audio import load_audio, save_wav

PAIRED = Path(__file__).parents[2] / "examples" / "paired"
SECONDS = 4
FAST = d2m.EvaluateOptions(embedding=("none",), classifier=("none",), resamples=100, draws=20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pieces of the example music, the same at half the level, and the same half a second late."""
    made = tmp_path_factory.mktemp("verb")
    for name in ("train_00", "train_01"):
        samples, rate = load_audio(PAIRED / f"{name}.ogg")
        samples = samples[:, : SECONDS * rate]
        late = np.concatenate([np.zeros_like(samples[:, : rate // 2]), samples], axis=1)[:, : SECONDS * rate]
        for system, sound in (("true", samples), ("quiet", 0.5 * samples), ("late", late)):
            save_wav(made / system / f"{name}.wav", sound.astype(np.float32), rate)
    return made


def test_music_against_itself_is_perfect_and_nothing_is_printed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = d2m.evaluate(folder / "true", reference=folder / "true", options=FAST)
    assert isinstance(found, d2m.Evaluation)
    assert (found.clips, found.songs, found.reference) == (2, 2, "the true music")
    (system,) = found.systems
    assert system.name == "generated"
    assert {one.protocol: one.f1.value for one in system.rhythm.system.protocols if one.f1 is not None} == {
        "paper": 1.0,
        "bins5": 1.0,
        "loris": 1.0,
        "beats70": 1.0,
        "beats200": 1.0,
    }
    assert capsys.readouterr() == ("", "")


def test_systems_by_name_are_compared(folder: Path) -> None:
    found = d2m.evaluate(
        {"quiet": str(folder / "quiet"), "late": folder / "late"}, reference=str(folder / "true"), options=FAST
    )
    assert [system.name for system in found.systems] == ["quiet", "late"]
    (comparison,) = found.comparisons
    assert (comparison.first, comparison.second) == ("quiet", "late")
    f1 = {
        system.name: next(one.f1.value for one in system.rhythm.system.protocols if one.protocol == "beats70")
        for system in found.systems
    }
    gain = next(one.difference for one in comparison.differences if one.measure == "beats70.f1")
    assert gain == pytest.approx(f1["quiet"] - f1["late"])
    assert gain > 0.0


def test_options_are_checked_and_named_as_python_writes_them(folder: Path) -> None:
    with pytest.raises(UsageError, match="with reference='FOLDER'"):
        d2m.evaluate(folder / "true")
    with pytest.raises(UsageError, match="draws=3: give 20 or more"):
        d2m.EvaluateOptions(draws=3)
    with pytest.raises(UsageError, match="name one with clap"):
        d2m.EvaluateOptions(prompt="rock")


def test_defaults_are_those_of_the_library() -> None:
    assert (d2m.EvaluateOptions().resamples, d2m.EvaluateOptions().draws) == (RESAMPLES, DRAWS)


def test_true_beats_and_seeds(folder: Path) -> None:
    # The rhythm files of the examples hold the true beats.
    found = d2m.evaluate(
        {"both": [folder / "quiet", folder / "late"], "pattern": f"{folder}/[lq]*"},
        reference=folder / "true",
        beats=PAIRED,
        options=FAST,
    )
    assert [system.seeds for system in found.systems] == [("quiet", "late"), ("late", "quiet")]
    f1 = [
        next(one.f1.value for one in scores.protocols if one.protocol == "beats70" and one.f1 is not None)
        for scores in (system.rhythm.system for system in found.systems)
    ]
    assert f1[0] == pytest.approx(f1[1])
    assert found.comparisons[0].seeds == (2, 2)
    assert not found.comparisons[0].one_seed
    assert found.ceiling is not None
    assert found.ceiling.shows("beats70")


def test_true_beats_stand_in_for_a_dance(folder: Path) -> None:
    with pytest.raises(UsageError, match="beats gives the beats that dances would be looked through for"):
        d2m.evaluate(folder / "quiet", beats=PAIRED, dances=folder / "true")
