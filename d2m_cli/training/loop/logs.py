"""What a training writes down as it goes: CSV files, TensorBoard events, and the state it can go on from."""

from __future__ import annotations

import csv
import io
import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from d2m_cli.errors import UsageError
from d2m_cli.ground.files import atomic_path, output_error
from d2m_cli.ground.options import option

UPDATES = ("update", "epoch", "learning_rate", "loss", "gradient_norm", "seconds")
EPOCHS = ("epoch", "update", "training_loss", "validation_loss", "best", "seconds")


class Table:
    """A CSV file that grows by a row at a time.

    Parameters
    ----------
    path
        The file; made with its header where missing.
    columns
        Names of the columns; the first holds whole numbers that rise.
    keep
        Rows whose first column is greater than this are taken away: a training that was killed had gone on past the
        state from which it now goes on.
    """

    def __init__(self, path: Path, columns: tuple[str, ...], keep: int) -> None:
        self.path, self.columns = path, columns
        rows = [row for row in read_table(path) if int(row[columns[0]]) <= keep] if path.is_file() else []
        with atomic_path(path) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)

    def add(self, row: Mapping[str, Any]) -> None:
        """Write one row; floats as they are, so that equal rows are equal losses."""
        try:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self.columns).writerow({name: row[name] for name in self.columns})
        except OSError as error:
            raise output_error(self.path, error) from error


def read_table(path: Path) -> list[dict[str, str]]:
    """The whole rows of a `Table`; one that a killed process left unfinished is passed over."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()[: text.count("\n")]
    reader = csv.DictReader(lines)
    return [row for row in reader if None not in row.values()]


class Events:
    """The same numbers for TensorBoard.

    Parameters
    ----------
    folder
        Where the event files go.
    update
        Update from which this process goes on; what older event files hold beyond it is marked as dropped.
    """

    def __init__(self, folder: Path, update: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        try:
            self._writer = SummaryWriter(str(folder), purge_step=update + 1)
        except OSError as error:
            raise output_error(folder, error) from error

    def add(self, update: int, values: Mapping[str, float]) -> None:
        """One point on each curve."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, update)

    def close(self) -> None:
        """Write out what is still held."""
        self._writer.close()


@dataclass
class State:
    """From where a training goes on.

    Attributes
    ----------
    settings
        Digest of everything that the course of the training hangs on.
    update
        Updates done.
    best_loss, best_epoch
        Smallest validation loss so far, and when.
    epoch_loss
        Sum of the training losses of the epoch under way.
    finished
        Whether there is nothing left to do.
    networks, optimizer, average, best
        State dictionaries of the encoders, of AdamW, of the moving average, and of the best encoders so far.
    scaler
        State of the loss scaler of fp16.
    frozen
        Digest of the backbone before the first update.
    seconds
        Time spent so far.
    """

    settings: str
    update: int = 0
    best_loss: float = float("inf")
    best_epoch: int = 0
    epoch_loss: float = 0.0
    finished: bool = False
    networks: dict[str, Any] | None = None
    optimizer: dict[str, Any] | None = None
    average: dict[str, Any] | None = None
    best: dict[str, Any] | None = None
    scaler: dict[str, Any] | None = None
    frozen: str = ""
    seconds: float = 0.0

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        # By way of memory: on a full disk torch's own writer says nothing that tells what is wrong.
        buffer = io.BytesIO()
        torch.save(vars(self), buffer)
        with atomic_path(path) as part:
            part.write_bytes(buffer.getbuffer())

    @classmethod
    def load(cls, path: Path) -> State:
        """Read it; UsageError where the file is none."""
        try:
            return cls(**torch.load(str(path), weights_only=True, map_location="cpu"))
        except (OSError, RuntimeError, TypeError, ValueError, EOFError, pickle.UnpicklingError) as error:
            raise UsageError(
                f"{path}: can't be read as the state of a training ({type(error).__name__}); remove it, or start again "
                f"with {option('overwrite', True)}"
            ) from error


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a document, whole or not at all."""
    with atomic_path(path) as part:
        part.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
