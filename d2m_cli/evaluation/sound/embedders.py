"""Embedders by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from d2m_cli.errors import UsageError

if TYPE_CHECKING:
    from d2m_cli.evaluation.sound.embedding import Embedder

EMBEDDERS = ("listener", "vggish", "clap")


def load_embedder(name: str, weights: Path | None = None) -> Embedder:
    """Load an embedder by its name.

    Parameters
    ----------
    name
        One of `EMBEDDERS`.
    weights
        For "vggish" the file of published weights, for "clap" the folder of a model, or None for those that
        ``d2m weights pull`` fetched; "listener" ships with d2m.

    Raises
    ------
    UsageError
        There is no such embedder.
    MissingWeightsError
        Its weights are not there; the text says where to get them.
    """
    if name == "listener":
        from d2m_cli.evaluation.sound.listener import Listener

        return Listener.load(weights)
    if name == "vggish":
        from d2m_cli.evaluation.sound.vggish import Vggish

        return Vggish.load(weights)
    if name == "clap":
        from d2m_cli.evaluation.sound.clap_score import Clap

        return Clap.load(weights)
    raise UsageError(f"no embedder {name!r}; choose one of: {', '.join(EMBEDDERS)}")
