from __future__ import annotations

from pathlib import Path

import pytest

from d2m_cli.evaluation.listening.page import ListeningTest, make_listening_test
from d2m_cli.media.audio import save_wav
from tests.evaluation.listening.material import DANCES, RATE, SYSTEMS, clicks, systems_of, titled


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three systems with music of different loudness for three dances; one has a piece more."""
    root = tmp_path_factory.mktemp("listening")
    (root / "dances").mkdir()
    for dance in DANCES:
        titled(root / "dances" / f"{dance}.mp4", f"{dance} by {SYSTEMS[0]}")
    for number, system in enumerate(SYSTEMS):
        for dance in DANCES:
            save_wav(root / system / f"{dance}.wav", clicks(0.9 / 2**number), RATE)
    save_wav(root / SYSTEMS[0] / "waltz_dance.wav", clicks(0.5), RATE)
    return root


@pytest.fixture(scope="package")
def made(folder: Path) -> ListeningTest:
    return make_listening_test(systems_of(folder), folder / "made", dances=folder / "dances", seed=5)


@pytest.fixture(scope="package")
def beside(folder: Path) -> ListeningTest:
    return make_listening_test(systems_of(folder), folder / "beside", dances=folder / "dances", seed=5, embed=False)
