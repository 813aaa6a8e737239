"""The camera's motion, found in a thread of its own while people are looked for in the next frames."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from d2m_cli.pose.camera import CameraEstimator
from d2m_cli.pose.lookout import Looked
from d2m_cli.pose.track import CameraMotion

ENOUGH = 12.0
"""Frames a second that the camera is followed through at least; between them its motion is interpolated."""


class CameraThread:
    """Takes frames in order, and lags behind by one call at most.

    Parameters
    ----------
    wanted
        Whether to estimate anything.
    fps
        Frames a second.
    """

    def __init__(self, wanted: bool, fps: float) -> None:
        self._pass = CameraPass(max(1, int(fps / ENOUGH))) if wanted else None
        self._thread = ThreadPoolExecutor(1, "d2m-camera")
        self._last: Future[None] | None = None

    def __enter__(self) -> CameraThread:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(cancel_futures=True)

    def add(self, frames: Sequence[Looked]) -> None:
        """Follow the background through some frames."""
        if self._pass is None or not frames:
            return
        self._wait()
        self._last = self._thread.submit(self._pass.add_all, frames)

    def _wait(self) -> None:
        if self._last is not None:
            self._last.result()

    def finish(self, times: NDArray[np.float64], scale: tuple[float, float]) -> CameraMotion | None:
        """See `CameraEstimator.finish`; None where nothing was wanted."""
        self._wait()
        return None if self._pass is None else self._pass.finish(times, scale)


class CameraPass:
    """Feeds the camera estimator with one of so many frames, and with the last.

    What lies between two detections is masked by the people of both.

    Parameters
    ----------
    every
        Frames from one that is followed to the next.
    """

    def __init__(self, every: int) -> None:
        self._estimator = CameraEstimator()
        self._every = every
        self._waiting: list[Looked] = []
        self._before = np.zeros((0, 4))
        self._followed: list[int] = []
        self._final: tuple[Looked, NDArray[np.float64]] | None = None

    def add_all(self, frames: Sequence[Looked]) -> None:
        """Take in frames in their order."""
        for frame in frames:
            if frame.people is None:
                self._waiting.append(frame)
                continue
            self._flush(frame.people.boxes)
            self._follow(frame, frame.people.boxes)
            self._before = frame.people.boxes

    def _flush(self, after: NDArray[np.float64]) -> None:
        for frame in self._waiting:
            self._follow(frame, np.concatenate([self._before, after]))
        self._waiting.clear()

    def _follow(self, frame: Looked, boxes: NDArray[np.float64]) -> None:
        self._final = (frame, boxes)
        if frame.number % self._every == 0:
            self._followed.append(frame.number)
            self._estimator.add(frame.picture, boxes)

    def finish(self, times: NDArray[np.float64], scale: tuple[float, float]) -> CameraMotion | None:
        """See `CameraEstimator.finish`; `times` (T,) are those of all frames."""
        self._flush(np.zeros((0, 4)))
        if self._final is not None and self._final[0].number != self._followed[-1]:
            self._followed.append(self._final[0].number)
            self._estimator.add(self._final[0].picture, self._final[1])
        motion = self._estimator.finish(times[self._followed], scale)
        if motion is None:
            return None
        flat = motion.transforms.reshape(len(self._followed), 6)
        each = np.stack([np.interp(times, motion.times, column) for column in flat.T], axis=1)
        return CameraMotion(each.reshape(-1, 2, 3), times)
