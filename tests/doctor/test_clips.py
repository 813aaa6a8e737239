from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from d2m_cli.doctor.clips import KINDS, write_beginning, write_clip
from d2m_cli.ground.example_clip import example_clip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_each_kind_is_what_it_says(kind, tmp_path: Path) -> None:
    path = tmp_path / f"clip{kind.suffix}"
    write_clip(path, kind)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name in (kind.codec, f"lib{kind.codec}", "libdav1d")
        frames = [frame.to_ndarray(format="gray") for frame in container.decode(stream)]
    assert len(frames) == 12
    # From 60 in steps of 12 on the right, of a picture of 160 columns.
    for number, frame in enumerate(frames):
        assert abs(float(frame[:, :60].mean()) - 0.0) < 10
        assert abs(float(frame[:, 100:].mean()) - (60 + 12 * number)) < 10


def test_the_beginning_of_a_video(tmp_path: Path) -> None:
    path = tmp_path / "beginning.mp4"
    write_beginning(example_clip(), path, 0.5)
    with av.open(str(example_clip())) as whole, av.open(str(path)) as part:
        frames = [frame.to_ndarray(format="gray") for frame in part.decode(video=0)]
        assert len(frames) == 30  # 60 frames a second
        first = next(whole.decode(video=0)).to_ndarray(format="gray")
    assert np.abs(frames[0].astype(int) - first).mean() < 4
    with av.open(str(path)) as part:
        stream = part.streams.video[0]
        assert float(stream.duration * stream.time_base) == pytest.approx(0.5)
