"""What a long video costs in memory, beside a short one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell how much memory was taken")
def test_twenty_minutes_take_little_more_than_one(make_video, tmp_path: Path) -> None:
    warm, short, long = (make_video(tmp_path / f"{seconds}.mp4", seconds=seconds, fps=10) for seconds in (20, 60, 1200))
    grown = []
    for video, seconds in ((short, 60), (long, 1200)):
        words = [sys.executable, "-m", "tests.generation.long_video", warm, video, seconds]
        done = subprocess.run(
            [str(word) for word in words], cwd=ROOT, capture_output=True, text=True, check=True, timeout=1200
        )
        grown.append([float(word) for word in done.stdout.split()])
    whole, music = (late - early for early, late in zip(*grown, strict=True))
    # Poses of 19 minutes take 7 MiB (30 a second), of which there are 25 while rhythm is read. The pictures would take
    # 33 MiB for each channel.
    assert whole < 240.0
    # The sound takes 35 MiB (8 kHz, 4 bytes), of which there is one copy. Its spectra, in which beats and attacks are
    # looked for, take up to 24 MiB, and those that are made at a time for them 50 MiB more than a minute needs.
    assert music < 150.0
