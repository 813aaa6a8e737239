"""The shipped example videos are what their ground truth says, and the choreography still makes that truth."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
VIDEOS = EXAMPLES / "videos"
STEMS = sorted(path.stem for path in VIDEOS.glob("*.mp4"))
GENRES = {
    "break", "house", "ballet jazz", "street jazz", "krump",
    "la style hip-hop", "lock", "middle hip-hop", "pop", "waack",
}  # fmt: skip


def truth_of(stem: str) -> dict[str, Any]:
    truth: dict[str, Any] = json.loads((VIDEOS / f"{stem}.truth.json").read_text(encoding="utf-8"))
    return truth


def keypoints_of(truth: dict[str, Any]) -> np.ndarray:
    with np.load(VIDEOS / truth["keypoints"], allow_pickle=False) as stored:
        return stored["tenths"] / 10.0


@pytest.fixture
def dances(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import dance.choreography as choreography

    yield choreography
    for name in [name for name in sys.modules if name == "dance" or name.startswith("dance.")]:
        del sys.modules[name]


def test_there_are_enough_videos_and_they_are_small() -> None:
    assert len(STEMS) >= 5
    assert all((VIDEOS / f"{stem}.mp4").stat().st_size < 1_000_000 for stem in STEMS)
    assert sum(path.stat().st_size for path in VIDEOS.iterdir()) < 5_000_000
    truths = [truth_of(stem) for stem in STEMS]
    assert {24, 30, 60} <= {truth["fps"] for truth in truths}
    assert 2 in {len(truth["dancers"]) for truth in truths}


@pytest.mark.parametrize("stem", STEMS)
def test_video_is_as_its_truth_says(stem: str) -> None:
    truth = truth_of(stem)
    with av.open(str(VIDEOS / f"{stem}.mp4")) as container:
        assert not container.streams.audio
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert [stream.codec_context.width, stream.codec_context.height] == truth["size"]
        assert stream.average_rate == truth["fps"]
        times = sorted(
            float(packet.pts * stream.time_base) for packet in container.demux(stream) if packet.pts is not None
        )
    np.testing.assert_allclose(times, np.arange(truth["frames"]) / truth["fps"], atol=1e-3)
    assert 8 <= truth["frames"] / truth["fps"] <= 20


@pytest.mark.parametrize("stem", STEMS)
def test_beats_and_accents_are_consistent(stem: str) -> None:
    truth = truth_of(stem)
    if truth["bpm"] is None:
        assert truth["beats"] is None
        return
    assert truth["genre"] in GENRES
    beats, period, seconds = np.array(truth["beats"]), 60 / truth["bpm"], truth["frames"] / truth["fps"]
    np.testing.assert_allclose(np.diff(beats), period, atol=2e-6)
    assert 0 < beats[0] < period
    assert seconds - period <= beats[-1] < seconds
    for dancer in truth["dancers"]:
        accents = np.array(dancer["accents"])
        assert np.all(np.diff(accents) > 0.1)
        # Jitter is cut at 25 ms; what is further from every beat is a hit half-way between two.
        half_beats = np.concatenate([beats, beats - period / 2, beats + period / 2])
        assert np.abs(accents[:, None] - half_beats).min(1).max() < 0.026
        on_beat = np.abs(accents[:, None] - beats).min(1) < 0.026
        assert on_beat.mean() > 0.8
        assert on_beat.sum() > 0.8 * len(beats)


@pytest.mark.parametrize("stem", STEMS)
def test_keypoints_lie_inside_the_picture(stem: str) -> None:
    truth = truth_of(stem)
    keypoints = keypoints_of(truth)
    assert keypoints.shape == (len(truth["dancers"]), truth["frames"], 17, 2)
    assert keypoints.min() > 2
    assert np.all(keypoints.reshape(-1, 2).max(0) < np.array(truth["size"]) - 2)
    # Upright all the time: nose over hips over ankles.
    assert np.all(keypoints[:, :, 0, 1] < keypoints[:, :, 11:13, 1].min(-1))
    assert np.all(keypoints[:, :, 11:13, 1].max(-1) < keypoints[:, :, 15:17, 1].min(-1))


def test_the_choreography_still_makes_the_shipped_truth(dances: Any) -> None:
    assert set(dances.DANCES) <= set(STEMS)
    for name, dance in dances.DANCES.items():
        truth = truth_of(name)
        shipped = keypoints_of(truth)
        for i in range(len(dance.dancers)):
            made = dance.pixel_keypoints(i, dance.times())
            np.testing.assert_allclose(made, shipped[i], atol=0.2)


def test_a_dance_is_the_same_at_every_frame_rate(dances: Any) -> None:
    slow, fast = dances.keypoints("lock_112", 30), dances.keypoints("lock_112", 60)
    np.testing.assert_allclose(fast[::2], slow, atol=1e-6)


def test_the_dance_stops_on_its_accents(dances: Any) -> None:
    """Whatever way d2m reads rhythm: the joints' acceleration at accents is far above its level between them."""
    for name, dance in dances.DANCES.items():
        times = dance.times(120)
        points = dance.world_keypoints(0, times)
        force = np.linalg.norm(np.diff(points, 2, axis=0), axis=-1).mean(1)
        clock, accents = times[1:-1], dance.accent_times()
        near = np.abs(clock[:, None] - accents).min(1)
        assert force[near < 0.02].mean() > 3 * force[near > 0.1].mean(), name


def test_bones_keep_their_length(dances: Any) -> None:
    dance = dances.DANCES["krump_88_24fps"]
    points = dance.world_keypoints(0, dance.times())
    for a, b in ((7, 9), (8, 10), (13, 15), (14, 16)):
        length = np.linalg.norm(points[:, a] - points[:, b], axis=1)
        # Regressed joints sit in the flesh, which skinning bends a little.
        assert length.std() < 0.05 * length.mean()
