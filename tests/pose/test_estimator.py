"""The whole way from a file to poses, on real videos where the development data is, and on small made ones."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from d2m_cli.errors import NoPersonError, UsageError, VideoError
from d2m_cli.ground.one_core import on_one_core_each
from d2m_cli.media.video import VideoReader
from d2m_cli.pose.estimator import PoseEstimator, PoseOptions
from d2m_cli.pose.metrics import keypoint_similarity

Shared = Callable[[str], Path]
PHRASE = "video/talmolab_KeithNotationPhrase.mp4"
SMALL = {"device": "cpu", "threads": 1, "batch": 4}


@pytest.fixture(scope="module")
def estimator() -> PoseEstimator:
    return PoseEstimator(PoseOptions(**SMALL))  # type: ignore[arg-type]


def write_frames(path: Path, frames: list[np.ndarray], fps: int = 10) -> Path:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "18", "preset": "ultrafast"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def phrase_frames(shared: Shared, numbers: range) -> list[np.ndarray]:
    wanted, frames = set(numbers), []
    for chunk in VideoReader(shared(PHRASE)):
        frames += [frame for i, frame in enumerate(chunk.frames) if chunk.start + i in wanted]
        if chunk.start > max(wanted):
            break
    return frames


def test_what_is_used_is_told(estimator: PoseEstimator) -> None:
    assert estimator.description == "movenet-thunder with movenet-multipose on CPUExecutionProvider"
    assert set(estimator.model_hashes) == {"movenet-thunder", "movenet-multipose"}
    assert all(len(value) == 64 for value in estimator.model_hashes.values())


def test_it_waits_for_music_where_that_is_asked_for(
    estimator: PoseEstimator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    pictures = [np.zeros((64, 64, 3), np.uint8)]
    yielding = PoseEstimator(PoseOptions(**SMALL), yields=True)  # type: ignore[arg-type]
    found: list[int] = []
    looking = threading.Thread(target=lambda: found.append(len(yielding._detect(pictures))))

    def while_music_is_made() -> None:
        looking.start()
        assert len(estimator._detect(pictures)) == 1
        looking.join(0.5)
        assert not found

    on_one_core_each([while_music_is_made], "music")
    looking.join(30)
    assert found == [1]


@pytest.mark.slow
def test_a_real_dance(shared: Shared, estimator: PoseEstimator) -> None:
    """Against somebody else's MoveNet track of the same video."""
    h5py = pytest.importorskip("h5py")
    poses = estimator.estimate(shared(PHRASE))
    with h5py.File(shared("video/talmolab_KeithNotationPhrase.movenet.slp")) as file:
        points = file["pred_points"][:]
    reference = np.stack([points["x"], points["y"]], axis=1).reshape(-1, 17, 2)
    (track,) = poses.tracks
    assert track.keypoints.shape == (545, 17, 3)
    confident = (track.keypoints[..., 2] >= 0.3).sum(axis=1) >= 12
    assert confident.mean() >= 0.99
    found = track.keypoints[..., :2]
    torso = np.linalg.norm(reference[:, [5, 6]].mean(axis=1) - reference[:, [11, 12]].mean(axis=1), axis=1)
    assert np.mean(np.linalg.norm(reference - found, axis=2) <= 0.2 * torso[:, None]) >= 0.98  # PCK
    np.testing.assert_allclose(track.times, np.arange(545) / 30, atol=1e-4)
    assert poses.camera is not None
    assert poses.source is not None
    assert poses.duration == pytest.approx(545 / 30, abs=0.01)


def test_neither_chunk_nor_memory_nor_decoder_changes_the_poses(
    shared: Shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_frames(tmp_path / "a.mp4", phrase_frames(shared, range(0, 44, 2)))
    first = PoseEstimator(PoseOptions(**SMALL)).estimate(path)  # type: ignore[arg-type]
    monkeypatch.setattr("d2m_cli.pose.estimator.CHUNK", 5)
    for changed in ({"max_frames_in_memory": 0}, {"decoder": "pyav"}):
        again = PoseEstimator(PoseOptions(**(SMALL | changed))).estimate(path)  # type: ignore[arg-type]
        np.testing.assert_array_equal(again.tracks[0].keypoints, first.tracks[0].keypoints)
        assert (again.camera is None) == (first.camera is None)
        if again.camera is not None and first.camera is not None:
            np.testing.assert_array_equal(again.camera.transforms, first.camera.transforms)


def test_a_small_dancer_is_looked_at_closely(shared: Shared, tmp_path: Path, estimator: PoseEstimator) -> None:
    """The dancer at a quarter of the frame's width: as the same frames in full, moved into the large frame."""
    import cv2

    frames = phrase_frames(shared, range(0, 20, 2))
    large = []
    for frame in frames:
        wide = np.full((480, 640, 3), 90, np.uint8)
        wide[150:398, 300:492] = cv2.resize(frame, (192, 248), interpolation=cv2.INTER_AREA)
        large.append(wide)
    small = estimator.estimate(write_frames(tmp_path / "s.mp4", large)).tracks[0]
    full = estimator.estimate(write_frames(tmp_path / "f.mp4", frames)).tracks[0]
    moved = full.keypoints[..., :2] * 0.5 + [300, 150]
    area = np.full(len(frames), 60.0 * 170)
    alike = keypoint_similarity(small.keypoints, moved, area, full.keypoints[..., 2])
    assert alike.mean() > 0.9


def test_a_dancer_whom_the_crop_cut_is_looked_at_again(
    shared: Shared, tmp_path: Path, estimator: PoseEstimator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The detector's boxes end at the hips in every frame: the wider crop finds the legs all the same."""
    path = write_frames(tmp_path / "a.mp4", phrase_frames(shared, range(100, 108, 2)))
    whole = estimator.estimate(path).tracks[0].keypoints
    detect = type(estimator._detector).detect

    def cut(self: Any, frames: np.ndarray, least: float) -> list[Any]:
        found = detect(self, frames, least)
        for people in found:
            people.boxes[:, 3] = people.boxes[:, 1] + 0.6 * (people.boxes[:, 3] - people.boxes[:, 1])
        return found

    monkeypatch.setattr(type(estimator._detector), "detect", cut)
    again = estimator.estimate(path).tracks[0].keypoints
    monkeypatch.setattr("d2m_cli.pose.estimator.EDGE", -1.0)
    once = estimator.estimate(path).tracks[0].keypoints
    ankles = [15, 16]
    assert np.abs(once[:, ankles, :2] - whole[:, ankles, :2]).max() > 30
    assert np.abs(again[:, ankles, :2] - whole[:, ankles, :2]).max() < 20


def test_two_real_dancers_who_cross_keep_their_tracks(shared: Shared, tmp_path: Path) -> None:
    """One walks to the right in front of the other, a mirrored and recoloured one who walks to the left."""
    import cv2

    frames = phrase_frames(shared, range(0, 160, 4))
    wide, truth = [], []
    for index, frame in enumerate(frames):
        share = index / (len(frames) - 1)
        person = cv2.resize(frame, (192, 248), interpolation=cv2.INTER_AREA)
        dark = person.max(axis=2) < 110
        dark &= np.abs(np.arange(192) - 95) < 60
        picture = np.full((272, 640, 3), 190, np.uint8)
        left, right = round(20 + 400 * share), round(420 - 400 * share)
        other = np.clip(person[:, ::-1].astype(int) + np.array([150, 0, 0]), 0, 255).astype(np.uint8)
        for x, body, mask in ((right, other, dark[:, ::-1]), (left, person, dark)):
            picture[12:260, x : x + 192][mask] = body[mask]
        wide.append(picture)
        truth.append((left + 95, right + 96))
    path = write_frames(tmp_path / "cross.mp4", wide)
    poses = PoseEstimator(PoseOptions(dancers=2, **SMALL)).estimate(path)  # type: ignore[arg-type]
    assert len(poses.tracks) == 2
    for track in poses.tracks:
        middle = track.keypoints[:, [5, 6, 11, 12], 0].mean(axis=1)
        present = track.keypoints[..., 2].max(axis=1) > 0
        start = int(np.flatnonzero(present)[0])
        mine = int(np.argmin(np.abs(np.array(truth[start]) - middle[start])))
        gaps = np.abs(np.array(truth)[:, mine] - middle)[present]
        assert np.mean(gaps < 40) > 0.9


def test_one_dancer_by_number_is_the_same_as_among_all(shared: Shared, tmp_path: Path) -> None:
    # The second one is the first once more, half as tall and as wide.
    frames = [
        np.concatenate(
            [frame, np.pad(frame[::2, ::2], ((frame.shape[0] // 2, 0), (0, 0), (0, 0)), mode="edge")], axis=1
        )
        for frame in phrase_frames(shared, range(0, 12, 4))
    ]
    path = write_frames(tmp_path / "two.mp4", frames)
    every, second = (
        PoseEstimator(PoseOptions(dancers=dancers, **SMALL)).estimate(path)  # type: ignore[arg-type]
        for dancers in ("all", "only:1")
    )
    assert [track.person for track in every.tracks] == [0, 1]
    assert [track.person for track in second.tracks] == [1]
    np.testing.assert_array_equal(second.tracks[0].keypoints, every.tracks[1].keypoints)


def test_a_dancer_who_is_not_there(shared: Shared, tmp_path: Path) -> None:
    path = write_frames(tmp_path / "one.mp4", phrase_frames(shared, range(0, 2)))
    with pytest.raises(NoPersonError, match=r"one\.mp4: there is no dancer 7, only 0; give dancers one of these"):
        PoseEstimator(PoseOptions(dancers="only:7", **SMALL)).estimate(path)  # type: ignore[arg-type]


def test_nobody(make_video: Callable[..., Path], tmp_path: Path, estimator: PoseEstimator) -> None:
    with pytest.raises(NoPersonError, match=r"grey\.mp4"):
        estimator.estimate(make_video(tmp_path / "grey.mp4", seconds=0.4, size=(160, 120)))


def test_one_frame(shared: Shared, tmp_path: Path, estimator: PoseEstimator) -> None:
    poses = estimator.estimate(write_frames(tmp_path / "one.mp4", phrase_frames(shared, range(0, 1))))
    assert poses.tracks[0].keypoints.shape == (1, 17, 3)
    assert poses.tracks[0].keypoints[..., 2].mean() > 0.5


def test_broken_files_are_video_errors(tmp_path: Path, estimator: PoseEstimator) -> None:
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(VideoError, match=r"empty\.mp4"):
        estimator.estimate(tmp_path / "empty.mp4")


@pytest.mark.parametrize("detector", ["pose/rtmdet_nano_person.onnx", "pose/nanodet.onnx"])
def test_other_detectors_and_a_heat_map_network(
    shared: Shared, tmp_path: Path, heat_model: Callable[..., Path], estimator: PoseEstimator, detector: str
) -> None:
    """A network that sees every joint in the middle of its crop: the joints are the middle of the dancer's box."""
    y, x = np.mgrid[:64, :48]
    bell = np.exp(-((x - 24) ** 2 + (y - 32) ** 2) / 8.0)
    model = heat_model(np.tile(bell, (17, 1, 1)))
    path = write_frames(tmp_path / "a.mp4", phrase_frames(shared, range(100, 108, 2)))
    options = PoseOptions(model=f"hrnet:{model}", detector=str(shared(detector)), **SMALL)  # type: ignore[arg-type]
    poses = PoseEstimator(options).estimate(path)
    (track,) = poses.tracks
    assert track.model == model.stem
    real = estimator.estimate(path).tracks[0].keypoints[..., :2]
    middle = (real.min(axis=1) + real.max(axis=1)) / 2
    np.testing.assert_allclose(track.keypoints[..., :2], np.tile(middle[:, None], (1, 17, 1)), atol=25)


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": "openpose"},
        {"dancers": 0},
        {"dancers": "two"},
        {"device": "tpu"},
        {"decoder": "vlc"},
        {"decoding": "x"},
        {"longest": 63},
        {"detect_longest": 63},
        {"batch": -1},
        {"threads": -1},
        {"max_frames_in_memory": -1},
    ],
)
def test_options_that_make_no_sense_are_named(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(UsageError, match=f"^{name}\\b"):
        PoseOptions(**wrong)


def test_cuda_that_is_not_here_is_an_error() -> None:
    from d2m_cli.pose.session import gpu_is_visible

    if gpu_is_visible():
        pytest.skip("there is a GPU here")
    with pytest.raises(UsageError, match="cuda"):
        PoseEstimator(PoseOptions(device="cuda"))


@pytest.mark.gpu
def test_cuda_agrees_with_the_cpu(shared: Shared, tmp_path: Path, estimator: PoseEstimator) -> None:
    path = write_frames(tmp_path / "a.mp4", phrase_frames(shared, range(0, 16, 2)))
    fast = PoseEstimator(PoseOptions(device="cuda"))
    assert "CUDAExecutionProvider" in fast.description
    one, two = fast.estimate(path).tracks[0], estimator.estimate(path).tracks[0]
    seen = two.keypoints[..., 2] > 0.3
    assert np.median(np.abs(one.keypoints - two.keypoints)[seen]) < 0.5
