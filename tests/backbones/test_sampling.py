from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
from typer.testing import CliRunner

import d2m_cli.app
from d2m_cli.backbones.base import full_sampling
from d2m_cli.backbones.registry import FAMILIES, Choice, identity, known_sampling
from d2m_cli.backbones.sampling import PLAIN_SAMPLING, FullSampling, Sampling
from d2m_cli.errors import UsageError
from d2m_cli.ground.weights_path import weights_dir

TODAY = {"steps": 20, "guidance": 3.0, "temperature": 1.0, "top_k": 250, "top_p": 1.0}
OF_FAMILIES = {
    "embedded": {**TODAY, "steps": 10},
    "riffusion": {**TODAY, "steps": 50, "guidance": 7.0},
    "musicgen": TODAY,
    "audiocraft": TODAY,
}


def chosen(family: str) -> Choice:
    return Choice(family, weights_dir() / "embedded", family, None)


@pytest.mark.parametrize("family", OF_FAMILIES)
def test_each_family_is_drawn_from_as_its_makers_do(family: str) -> None:
    assert asdict(known_sampling(chosen(family), Sampling())) == OF_FAMILIES[family]
    # The backbone is told the same, whether a card lies beside its weights or not.
    assert asdict(identity(chosen(family)).sampling) == OF_FAMILIES[family]


def test_a_card_leaves_the_familys_sampling(tmp_path: Path) -> None:
    (tmp_path / "d2m.json").write_text('{"licence": "MIT", "speaks_tempo": true}')
    assert identity(Choice("riffusion", tmp_path, "riffusion:mine", None)).sampling.guidance == 7.0


def test_what_is_asked_for_goes_before_the_familys() -> None:
    wanted = known_sampling(chosen("riffusion"), Sampling(steps=8, top_k=0))
    assert wanted == FullSampling(8, 7.0, 1.0, 0, 1.0)
    assert PLAIN_SAMPLING.filling(None) == FullSampling()
    assert PLAIN_SAMPLING.filling(Sampling(guidance=0.0, temperature=0.0)) == FullSampling(20, 0.0, 0.0, 250, 1.0)
    assert Sampling(guidance=0.0, top_k=0).given == {"guidance": 0.0, "top_k": 0}


def test_a_family_of_another_package_is_left_its_own() -> None:
    wanted = Sampling(steps=8)
    assert known_sampling(chosen("drums"), wanted) is wanted

    class Without:
        pass

    class With:
        default_sampling = FullSampling(30, 5.0)

    assert full_sampling(Without(), wanted) == FullSampling(8)  # type: ignore[arg-type]
    assert full_sampling(With(), wanted) == FullSampling(8, 5.0)  # type: ignore[arg-type]
    assert full_sampling(With(), None) == FullSampling(30, 5.0)  # type: ignore[arg-type]


def test_filled_values_are_checked_too() -> None:
    with pytest.raises(UsageError, match="top_p must be above 0"):
        Sampling(top_p=0.0)
    with pytest.raises(UsageError, match="steps must be at least 1"):
        FullSampling(steps=0)


@pytest.mark.parametrize(
    ("turbo", "told"), [('{"is_turbo": true}', (8, 1.0)), ('{"is_turbo": false}', (50, 7.0)), (None, (50, 7.0))]
)
def test_a_familys_models_may_differ(tmp_path: Path, turbo: str | None, told: tuple[int, float]) -> None:
    (tmp_path / "transformer").mkdir()
    if turbo is not None:
        (tmp_path / "transformer" / "config.json").write_text(turbo)
    found = known_sampling(Choice("ace-step", tmp_path, "ace-step:mine", None), Sampling(temperature=0.5))
    assert found == FullSampling(*told, temperature=0.5)


def test_help_names_the_defaults_of_the_families() -> None:
    told = CliRunner().invoke(d2m_cli.app.app, ["generate", "--help"], env={"COLUMNS": "400"}).output
    riffusion = FAMILIES["riffusion"].sampling
    for line in (
        f"Default: {riffusion.guidance:g} for riffusion, stable-audio and ace-step:xl-base, else "
        f"{PLAIN_SAMPLING.guidance:g}; distilled",
        f"Default: {FAMILIES['embedded'].sampling.steps} for embedded, {riffusion.steps} for riffusion and ",
        f"Default: {PLAIN_SAMPLING.temperature:g} for musicgen and audiocraft.",
        f"Default: {PLAIN_SAMPLING.top_k} for musicgen and audiocraft.",
        f"Default: {PLAIN_SAMPLING.top_p:g}, which is all, for musicgen and audiocraft.",
    ):
        assert line in told
