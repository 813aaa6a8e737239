"""Models by name, and what is said of names that are none."""

from __future__ import annotations

import pytest

from d2m_cli.errors import MissingWeightsError, UsageError
from d2m_cli.evaluation.models import Models, load_models
from d2m_cli.ground.options import tell_flags


def load(**changed: object) -> Models:
    options = {"reference": True, "dances": False, "embeddings": ["none"], "classifiers": ["none"], "clap": None}
    return load_models(**{**options, **changed})  # type: ignore[arg-type]


def test_the_listener_is_loaded_once_for_both() -> None:
    found = load(embeddings=["listener"], classifiers=["listener"])
    assert found.embedders[0] is found.classifiers[0]
    assert found.dance is None


def test_a_dance_has_no_distance_of_sound() -> None:
    found = load(reference=False, dances=True, embeddings=["listener"], classifiers=["listener"])
    assert (found.embedders, len(found.classifiers)) == ((), 1)
    assert found.dance is not None


def test_names_that_are_none() -> None:
    with pytest.raises(UsageError, match="classifier='ear': choose listener, sincresnet, sincresnet:FILE or none"):
        load(classifiers=["ear"])
    with pytest.raises(MissingWeightsError, match="d2m weights pull sincresnet"):
        load(classifiers=["sincresnet"])
    with pytest.raises(UsageError, match="no embedder 'ear'"):
        load(embeddings=["ear"])


def test_options_are_flags_on_the_command_line() -> None:
    tell_flags()
    with pytest.raises(UsageError, match="--classifier ear: choose listener"):
        load(classifiers=["ear"])
