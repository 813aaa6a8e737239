"""Results stay what they are: an example's rhythm and music beside what the same command gave before.

Other processors round otherwise, so the numbers have tolerances: peaks 10 ms, tempo 0.1 bpm, the level of each half
second of music 1.5 dB, beats of the music 50 ms. Results that are meant to change take a new reference and a line
in the changelog.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from d2m_cli.app import app

ROOT = Path(__file__).parents[2]
VIDEO = ROOT / "examples" / "videos" / "lock_112.mp4"
BEFORE = json.loads(Path(__file__).with_name("lock_112.reference.json").read_text())


@pytest.mark.slow
def test_an_example_gives_what_it_gave(tmp_path: Path) -> None:
    asked = ["--genre", "lock", "--prompt", "funky guitar", "--no-mp4"]
    result = CliRunner().invoke(app, ["generate", str(VIDEO), *asked, "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    made = json.loads((tmp_path / "lock_112.json").read_text())
    assert made["rhythm"]["tempo"]["bpm"] == pytest.approx(BEFORE["bpm"], abs=0.1)
    assert made["rhythm"]["tempo"]["first_beat"] == pytest.approx(BEFORE["first_beat"], abs=0.01)
    assert made["rhythm"]["peaks"] == pytest.approx(BEFORE["peaks"], abs=0.01)
    assert made["music"]["beats"] == pytest.approx(BEFORE["music_beats"], abs=0.05)
    samples, rate = soundfile.read(tmp_path / "lock_112.wav")
    halves = samples[: len(samples) // (rate // 2) * (rate // 2)].reshape(-1, rate // 2)
    level = 20 * np.log10(np.sqrt(np.mean(halves**2, axis=1)) + 1e-9)
    assert level == pytest.approx(np.array(BEFORE["level_db"]), abs=1.5)
