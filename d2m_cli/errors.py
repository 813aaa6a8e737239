"""Every error that d2m raises on purpose, and the exit code each one maps to.

::

    D2MError                 exit 1
    ├── InputError           exit 1   one input can't be used: named, skipped, the batch goes on
    │   ├── VideoError                not a video, truncated, no frames
    │   ├── AudioError                not audio, no samples
    │   ├── PoseFileError             a pose file that isn't one
    │   └── NoPersonError             nobody to follow in the picture
    ├── OutputError          exit 1   results can't be written (full disk, read-only folder): the batch stops
    │   └── ResultError               one of them can't (long name, a folder in its place): the batch goes on
    ├── TrainingError        exit 1   a training can't go on
    ├── DownloadError        exit 1   weights can't be fetched, or came damaged
    └── UsageError           exit 2   the command can't start as asked
        ├── MissingExtraError         an optional dependency is not installed
        ├── NothingFoundError         a folder holds nothing to work on
        ├── MissingWeightsError       a model is not on this machine
        └── EncoderMismatchError      encoders made for another backbone or rhythm grid

An error's text says what was wrong, in which file, and what to do next.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class D2MError(Exception):
    """Base of all errors that d2m raises on purpose."""

    exit_code = 1


class InputError(D2MError):
    """One input file can't be used; a batch skips it and goes on."""


class VideoError(InputError):
    """The file is not a video that can be decoded, or holds no frames."""


class AudioError(InputError):
    """The file holds no audio that can be decoded."""


class PoseFileError(InputError):
    """The file is not a pose file written by ``d2m pose``."""


class NoPersonError(InputError):
    """No dancer was found in the video."""


class OutputError(D2MError):
    """A result can't be written: full disk, read-only folder, a file in the way."""


class ResultError(OutputError):
    """One result can't be written, which says nothing of the others."""


class TrainingError(D2MError):
    """A training can't go on: its loss is not a number any more."""


class DownloadError(D2MError):
    """Weights can't be fetched, or what came is not what is published."""


class UsageError(D2MError):
    """The command can't start as asked."""

    exit_code = 2


class NothingFoundError(UsageError):
    """A folder that is searched holds nothing to work on.

    Parameters
    ----------
    text
        In words.
    passed_over
        What lies there and can't be worked on: see `d2m_cli.ground.search.PassedOver`.
    """

    def __init__(self, text: str, passed_over: Iterable[Any] = ()) -> None:
        super().__init__(text)
        self.passed_over = tuple(passed_over)


class MissingExtraError(UsageError):
    """An optional dependency is not installed."""


class MissingWeightsError(UsageError):
    """A model that was asked for is not on this machine."""


class EncoderMismatchError(UsageError):
    """Encoders made for another backbone, or for another rhythm grid."""
