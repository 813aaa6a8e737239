"""Names of AIST, and of the clips that are cut from its dances."""

from __future__ import annotations

import pytest

from d2m_cli.ground.aist import parse_clip_name, parse_name

NAME = "gLO_sBM_cAll_d13_mLO2_ch02"


@pytest.mark.parametrize("suffix", ["", "_1", "_slice0", "_slice12", ".cut", " (2)", "-b", "_c01"])
def test_a_suffix_leaves_genre_song_and_dancer(suffix: str) -> None:
    found = parse_clip_name(NAME + suffix)
    assert found is not None
    assert (found.genre, found.song, found.dancers, found.choreography) == ("LO", "mLO2", "d13", "ch02")
    assert found == parse_name(NAME)
    assert (parse_name(NAME + suffix) is None) == bool(suffix)


@pytest.mark.parametrize(
    "name",
    [f"{NAME}1", f"{NAME}b", f"{NAME}é", f"x_{NAME}", NAME[:-1], NAME.replace("gLO", "gXX"), "lock_112", ""],
)
def test_other_names_are_none_of_aist(name: str) -> None:
    assert parse_clip_name(name) is None


def test_several_dancers() -> None:
    found = parse_clip_name("gWA_sGR_c03_d25_d26_mWA4_ch10_slice1")
    assert found is not None
    assert (found.dancers, found.seen_by("cAll")) == ("d25_d26", "gWA_sGR_cAll_d25_d26_mWA4_ch10")
