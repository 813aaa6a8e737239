"""What a `Generator` loads, each by a function of its own whose value is kept, and what options a backbone refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from d2m_cli.errors import UsageError
from d2m_cli.generation.options import GenerateOptions
from d2m_cli.ground.options import option

if TYPE_CHECKING:
    from d2m_cli.backbones.base import Backbone
    from d2m_cli.backbones.registry import Choice
    from d2m_cli.generation.desk import Desk
    from d2m_cli.generation.models import DancerEstimator
    from d2m_cli.generation.track import Track
    from d2m_cli.inversion.checkpoint import Encoders
    from d2m_cli.inversion.clap import ClapAudio


def given(options: GenerateOptions) -> tuple[str, ...]:
    """Names of those of the options that a backbone may refuse, where they are given."""
    return (*options.sampling.given, *(["negative_prompt"] if options.negative_prompt else []))


def _open_backbone(choice: Choice, device: str, compiled: bool, offloaded: bool, precision: str) -> Backbone:
    from d2m_cli.backbones.registry import open_backbone
    from d2m_cli.ground.progress import quiet_libraries

    quiet_libraries()
    return open_backbone(choice, device, precision, compiled, offloaded)


def refuse(backbone: Backbone, options: GenerateOptions) -> None:
    """Raise UsageError for an option that a backbone refuses."""
    from d2m_cli.backbones.base import refused
    from d2m_cli.backbones.sampling import check_guidance

    for name, reason in refused(backbone).items():
        if name in given(options):
            raise UsageError(f"{option(name)} is not for {backbone.name}: {reason}. Leave it out")
    check_guidance(backbone, backbone.name, options.sampling)


def open_desk(*wanted: Any, tell: Callable[[str], None] | None = None) -> Desk:
    """The backbone that is asked for, and the desk that draws from it: one value, so that they are let go together."""
    from d2m_cli.generation.desk import Desk

    return Desk.of(_open_backbone(*wanted), tell)


def load_encoders(path: Path) -> Encoders:
    from d2m_cli.inversion.checkpoint import Encoders

    return Encoders.load(path)


def load_estimator(
    dancers: str | int, device: str, decoder: str, *, on_demand: bool, tell: Callable[[str], None]
) -> DancerEstimator:
    from d2m_cli.pose.options import PoseOptions

    options = PoseOptions(dancers=dancers, device=device, decoder=decoder)
    if on_demand:
        from d2m_cli.pose.on_demand import EstimatorOnDemand

        return EstimatorOnDemand(options, tell)
    from d2m_cli.pose.estimator import PoseEstimator

    return PoseEstimator(options, yields=True, tell=tell)


def load_track(path: Path, digest: str) -> Track:
    from d2m_cli.generation.track import Track

    return Track.load(path, digest)


def load_listener(folder: Path) -> ClapAudio:
    """On a CPU, wherever the music is drawn: threads listen to takes while the next are drawn.

    On a GPU a take's score, and with it the choice among takes, would hang on the settings of PyTorch that hold while
    something else is drawn; taking turns with that would keep the GPU waiting for spectrograms made on a CPU.
    """
    from d2m_cli.inversion.clap import ClapAudio

    return ClapAudio(folder)
