"""The Python of the README runs as it stands there, on seconds of the examples."""

from __future__ import annotations

import csv
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.documents import ROOT, blocks

PAIRED = ROOT / "examples" / "paired"
SECONDS = 2
MUSIC = next(path.name for path in sorted((ROOT / "examples" / "music").iterdir()) if path.stem.startswith("lock_112"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the examples of the README speak of: two videos, true music for one, and a table of six dances."""
    import av

    with av.open(str(ROOT / "examples" / "videos" / "lock_112.mp4")) as source:
        rate = source.streams.video[0].average_rate
        assert rate is not None
        frames = [frame for _, frame in zip(range(round(SECONDS * rate)), source.decode(video=0), strict=False)]
    for name in ("dance", "other"):
        with av.open(str(tmp_path / f"{name}.mp4"), "w") as target:
            stream = target.add_stream("libx264", rate=Fraction(rate))
            stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, "yuv420p"
            for number, frame in enumerate(frames):
                picture = av.VideoFrame.from_ndarray(frame.to_ndarray(format="rgb24"), format="rgb24")
                picture.pts = number
                target.mux(stream.encode(picture))
            target.mux(stream.encode(None))
    (tmp_path / "true_music").mkdir()
    sound, sample_rate = soundfile.read(ROOT / "examples" / "music" / MUSIC, dtype="float32")
    soundfile.write(tmp_path / "true_music" / "dance.wav", sound[: SECONDS * sample_rate], sample_rate)
    with (PAIRED / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    few = [*[row for row in rows if row["split"] == "train"][:4], *[r for r in rows if r["split"] == "validation"][:2]]
    for row in few:
        shutil.copy(PAIRED / row["video"], tmp_path)
        shutil.copy(PAIRED / row["audio"], tmp_path)
    with (tmp_path / "dances.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(few)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_the_python_of_the_readme(folder: Path) -> None:
    shown = blocks(ROOT / "README.md", "python")
    assert len(shown) == 2
    names: dict[str, Any] = {}
    for block in shown:
        exec(compile(block.text, block.name, "exec"), names)
    samples, rate = soundfile.read(folder / "music" / "dance.wav")
    assert len(samples) == SECONDS * rate
    assert np.abs(samples).max() > 0.01
    assert (folder / "music" / "other.mp4").stat().st_size > 10_000
    assert names["poses"].tracks[0].keypoints.shape[1:] == (17, 3)
    assert [system.name for system in names["found"].systems] == ["generated"]
    assert (folder / "encoders" / "encoders.safetensors").is_file()
