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
    from d2m_cli.evaluation.results import Evaluation as Evaluation

__version__ = "0.1.0"

_HOMES: dict[str, str] = {
    "EvaluateOptions": "d2m_cli.api.evaluation",
    "Evaluation": "d2m_cli.evaluation.results",
    "evaluate": "d2m_cli.api.evaluation",
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
