"""d2m: music that moves with the dancers.

::

    import d2m_cli as d2m

    poses = d2m.estimate_poses("dance.mp4")
    rhythm = d2m.extract_rhythm(poses)
    d2m.generate("dance.mp4", genre="lock", prompt="funky guitar").save("music.wav")

Importing this loads nothing heavy: each verb loads what it needs when it is called.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from d2m_cli.ground.surroundings import settle_libraries

if TYPE_CHECKING:
    from d2m_cli.api.evaluation import EvaluateOptions as EvaluateOptions
    from d2m_cli.api.evaluation import evaluate as evaluate
    from d2m_cli.api.music import Generator as Generator
    from d2m_cli.api.music import generate as generate
    from d2m_cli.api.poses import Estimator as Estimator
    from d2m_cli.api.poses import PoseOptions as PoseOptions
    from d2m_cli.api.poses import Poses as Poses
    from d2m_cli.api.poses import PoseTrack as PoseTrack
    from d2m_cli.api.poses import estimate_poses as estimate_poses
    from d2m_cli.api.rhythm import Rhythm as Rhythm
    from d2m_cli.api.rhythm import RhythmOptions as RhythmOptions
    from d2m_cli.api.rhythm import extract_rhythm as extract_rhythm
    from d2m_cli.api.training import train as train
    from d2m_cli.backbones.base import Sampling as Sampling
    from d2m_cli.errors import D2MError as D2MError
    from d2m_cli.evaluation.results import Evaluation as Evaluation
    from d2m_cli.generation.generated import Generated as Generated
    from d2m_cli.generation.music import Music as Music
    from d2m_cli.generation.options import GenerateOptions as GenerateOptions
    from d2m_cli.training.options import TrainOptions as TrainOptions
    from d2m_cli.training.record import Trained as Trained

__version__ = "0.1.0"

_HOMES: dict[str, str] = {
    "D2MError": "d2m_cli.errors",
    "estimate_poses": "d2m_cli.api.poses",
    "Estimator": "d2m_cli.api.poses",
    "evaluate": "d2m_cli.api.evaluation",
    "EvaluateOptions": "d2m_cli.api.evaluation",
    "Evaluation": "d2m_cli.evaluation.results",
    "extract_rhythm": "d2m_cli.api.rhythm",
    "generate": "d2m_cli.api.music",
    "Generated": "d2m_cli.generation.generated",
    "GenerateOptions": "d2m_cli.generation.options",
    "Generator": "d2m_cli.api.music",
    "Music": "d2m_cli.generation.music",
    "PoseOptions": "d2m_cli.api.poses",
    "Poses": "d2m_cli.api.poses",
    "PoseTrack": "d2m_cli.api.poses",
    "Rhythm": "d2m_cli.api.rhythm",
    "RhythmOptions": "d2m_cli.api.rhythm",
    "Sampling": "d2m_cli.backbones.base",
    "train": "d2m_cli.api.training",
    "Trained": "d2m_cli.training.record",
    "TrainOptions": "d2m_cli.training.options",
}
"""Public name to the module it comes from."""

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)


settle_libraries()
