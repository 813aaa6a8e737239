"""Pose networks that are loaded for the first video whose poses nobody kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from d2m_cli.ground.progress import Report
from d2m_cli.pose.options import PoseOptions
from d2m_cli.pose.session import check_device

if TYPE_CHECKING:
    from d2m_cli.media.timeline import Timeline
    from d2m_cli.pose.estimator import PoseEstimator
    from d2m_cli.pose.track import Poses


class EstimatorOnDemand:
    """A `PoseEstimator` that yields and is loaded when it is first needed, whichever thread needs it.

    Parameters
    ----------
    options
        As `PoseEstimator` takes them.
    tell
        Told which networks run where, once they are loaded, and what a `PoseEstimator` tells.

    Raises
    ------
    UsageError
        CUDA was asked for and there is no GPU.
    MissingWeightsError, UsageError, MemoryError
        From whatever loads the networks: see `PoseEstimator`.
    """

    def __init__(self, options: PoseOptions, tell: Callable[[str], None]) -> None:
        check_device(options.device)
        self.options = options
        self._tell = tell
        self._loaded: PoseEstimator | None = None
        self._guard = Lock()

    @property
    def description(self) -> str:
        """Which networks run where, in words, where they are loaded."""
        return "loaded where none are kept" if self._loaded is None else self._loaded.description

    @property
    def model_hashes(self) -> dict[str, str]:
        """As `PoseEstimator` has them; loads the networks."""
        return self.load().model_hashes

    def estimate(self, video: Path, report: Report | None = None, timeline: Timeline | None = None) -> Poses:
        """As `PoseEstimator.estimate`; loads the networks."""
        return self.load().estimate(video, report, timeline)

    def load(self) -> PoseEstimator:
        """Load the networks, where they are not loaded."""
        with self._guard:
            if self._loaded is None:
                from d2m_cli.pose.estimator import PoseEstimator

                self._loaded = PoseEstimator(self.options, yields=True, tell=self._tell)
                self._tell(f"poses: {self._loaded.description}")
            return self._loaded
