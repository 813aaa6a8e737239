"""The folder of a training's results: whose it is, and what lies in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from d2m_cli.errors import UsageError
from d2m_cli.ground.files import output_error
from d2m_cli.ground.options import option

STATE_NAME = "state.pt"
ENCODERS_NAME = "encoders.safetensors"
UPDATES_NAME, EPOCHS_NAME = "updates.csv", "epochs.csv"
RECORD_NAME = "train.json"
PLOT_NAME = "loss.png"
_FILES = (STATE_NAME, ENCODERS_NAME, UPDATES_NAME, EPOCHS_NAME, PLOT_NAME, RECORD_NAME)
_FOLDERS = ("tensorboard", "samples")


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Keep other trainings out of a folder meanwhile; UsageError where one is at work there."""
    from filelock import FileLock, Timeout

    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = FileLock(out / ".lock")
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UsageError(
            f"another training is at work in {out}: wait for it, or choose another folder with {option('out')}"
        ) from error
    except OSError as error:
        raise output_error(out, error) from error
    try:
        yield
    finally:
        lock.release()


def clear_folder(out: Path) -> None:
    """Remove what an older training wrote; the cache stays."""
    for name in _FILES:
        (out / name).unlink(missing_ok=True)
    for name in _FOLDERS:
        shutil.rmtree(out / name, ignore_errors=True)


def refuse_others(out: Path) -> None:
    """Raise UsageError where a folder holds encoders that are not part of a training."""
    if (out / ENCODERS_NAME).exists() and not (out / STATE_NAME).exists():
        raise UsageError(
            f"{out} holds an {ENCODERS_NAME} and no training to go on with: choose another folder with "
            f"{option('out')}, or replace it with {option('overwrite', True)}"
        )
