"""What ``import d2m_cli`` offers, and what it costs."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import d2m_cli as d2m
import d2m_cli.api.poses as api_poses
from tests.rhythm.dances import film, groove

# Whoever adds a public name adds it here; taking one away breaks other people's code.
PUBLIC = {
    "poses": {"estimate_poses", "Estimator", "PoseOptions", "PoseTrack", "Poses"},
    "rhythm": {"extract_rhythm", "Rhythm", "RhythmOptions"},
    "music": {"generate", "Generator", "GenerateOptions", "Generated", "Music", "Sampling"},
    "training": {"train", "TrainOptions", "Trained"},
    "evaluation": {"evaluate", "EvaluateOptions", "Evaluation"},
    "errors": {"D2MError"},
    "about": {"__version__"},
}
EXAMPLE = Path(__file__).parents[1] / "examples" / "videos" / "lock_112.mp4"
HEAVY = ("torch", "numpy", "av", "scipy", "cv2", "librosa", "onnxruntime", "matplotlib", "typer", "rich")


@pytest.fixture
def dance(tmp_path: Path) -> Path:
    """The first 12 frames of an example."""
    import av

    path = tmp_path / "dance.mp4"
    with av.open(str(EXAMPLE)) as source, av.open(str(path), "w") as target:
        picture = source.streams.video[0]
        stream = target.add_stream("libx264", rate=picture.average_rate)
        stream.width, stream.height, stream.pix_fmt = picture.width, picture.height, "yuv420p"
        for _, frame in zip(range(12), source.decode(video=0), strict=False):
            frame.pict_type = 0
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return path


def test_the_public_names() -> None:
    assert sorted(d2m.__all__) == sorted(name for names in PUBLIC.values() for name in names)
    assert len(set(d2m.__all__)) == len(d2m.__all__)


@pytest.mark.parametrize("name", [name for name in d2m.__all__ if name != "__version__"])
def test_each_name_is_there_and_documented(name: str) -> None:
    thing = getattr(d2m, name)
    assert inspect.getdoc(thing)
    assert name in dir(d2m)


def test_type_checkers_see_the_same_names() -> None:
    text = Path(d2m.__file__).read_text(encoding="utf-8")
    named = {name for name in d2m.__all__ if f" as {name}\n" in text}
    assert named == set(d2m.__all__) - {"__version__"}
    assert (Path(d2m.__file__).parent / "py.typed").is_file()


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="'d2m_cli' has no attribute 'dance'"):
        d2m.dance  # noqa: B018


def test_importing_loads_nothing_heavy() -> None:
    script = f"import json, sys, d2m_cli; print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
    assert done.stderr == ""


def test_rhythm_of_poses_and_of_their_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from d2m_cli.pose.io import save_poses

    poses = film(groove(seconds=9.0, bpm=116.0), 30.0)
    save_poses(tmp_path / "a.pose.npz", poses)
    found, read = d2m.extract_rhythm(poses), d2m.extract_rhythm(str(tmp_path / "a.pose.npz"))
    assert isinstance(found, d2m.Rhythm)
    assert found.tempo is not None
    assert found.tempo.bpm == pytest.approx(116.0, rel=0.01)
    np.testing.assert_array_equal(read.peaks, found.peaks)
    assert capfd.readouterr() == ("", "")


def test_a_video_gives_what_its_poses_give(
    dance: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    estimator = d2m.Estimator(d2m.PoseOptions(device="cpu", threads=1))
    capfd.readouterr()
    poses = d2m.estimate_poses(dance, estimator=estimator)
    assert isinstance(poses, d2m.Poses)
    assert poses.tracks[0].keypoints.shape == (12, 17, 3)
    by_poses, by_video = d2m.extract_rhythm(poses), d2m.extract_rhythm(str(dance), estimator=estimator)
    np.testing.assert_array_equal(by_video.envelope, by_poses.envelope)
    assert capfd.readouterr() == ("", "")
    # Kept by content and options: networks are not even loaded.
    cache, options = dance.parent / "cache", estimator.options
    kept = d2m.estimate_poses(dance, estimator=estimator, cache=cache)
    with monkeypatch.context() as patch:
        patch.setattr(api_poses, "Estimator", None)
        for again in (kept, d2m.estimate_poses(dance, options, cache=str(cache))):
            np.testing.assert_array_equal(again.tracks[0].keypoints, poses.tracks[0].keypoints)
        by_cache = d2m.extract_rhythm(dance, estimator=estimator, cache=cache)
    np.testing.assert_array_equal(by_cache.envelope, by_poses.envelope)
    with pytest.raises(d2m.D2MError, match="give the cache to it"):
        d2m.generate(dance, generator=d2m.Generator("embedded"), cache=cache)
    with pytest.raises(d2m.D2MError, match="give either options or an estimator"):
        d2m.estimate_poses(dance, d2m.PoseOptions(), estimator=estimator)
