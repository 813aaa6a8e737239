"""The camera's motion, found in a thread of its own while people are looked for in the next frames."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from d2m_cli.media.video import FrameChunk
from d2m_cli.pose.camera import CameraEstimator
from d2m_cli.pose.movenet import Detections
from d2m_cli.pose.track import CameraMotion


class CameraThread:
    """Takes frames in order, and lags behind by one chunk at most.

    Parameters
    ----------
    wanted
        Whether to estimate anything.
    """

    def __init__(self, wanted: bool) -> None:
        self._pass = CameraPass() if wanted else None
        self._thread = ThreadPoolExecutor(1, "d2m-camera")
        self._last: Future[None] | None = None

    def __enter__(self) -> CameraThread:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(cancel_futures=True)

    def add(self, chunk: FrameChunk, seen: Mapping[int, Detections]) -> None:
        """Follow the background through a chunk.

        Parameters
        ----------
        chunk
            The frames.
        seen
            The people of some of them, by the frame's place in the chunk.
        """
        if self._pass is None:
            return
        self._wait()
        self._last = self._thread.submit(self._pass.add_chunk, chunk.frames, dict(seen))

    def _wait(self) -> None:
        if self._last is not None:
            self._last.result()

    def finish(self, times: NDArray[np.float64], scale: tuple[float, float]) -> CameraMotion | None:
        """See `CameraEstimator.finish`; None where nothing was wanted."""
        self._wait()
        return None if self._pass is None else self._pass.finish(times, scale)


class CameraPass:
    """Feeds the camera estimator: a frame between two detections is masked by the people of both."""

    def __init__(self) -> None:
        self._estimator = CameraEstimator()
        self._waiting: list[NDArray[np.uint8]] = []
        self._before = np.zeros((0, 4))

    def add_chunk(self, frames: NDArray[np.uint8], seen: Mapping[int, Detections]) -> None:
        """Take in (n, h, w, 3) frames, and the people of some by their place."""
        for index, frame in enumerate(frames):
            self.add(frame, seen.get(index))

    def add(self, frame: NDArray[np.uint8], people: Detections | None) -> None:
        if people is None:
            self._waiting.append(frame)
            return
        self._flush(people.boxes)
        self._estimator.add(frame, people.boxes)
        self._before = people.boxes

    def _flush(self, after: NDArray[np.float64]) -> None:
        for frame in self._waiting:
            self._estimator.add(frame, np.concatenate([self._before, after]))
        self._waiting.clear()

    def finish(self, times: NDArray[np.float64], scale: tuple[float, float]) -> CameraMotion | None:
        self._flush(np.zeros((0, 4)))
        return self._estimator.finish(times, scale)
