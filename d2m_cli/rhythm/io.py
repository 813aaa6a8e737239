"""Rhythm files: JSON that people and other programs can read."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from d2m_cli import __version__
from d2m_cli.batch.atomic import atomic_path
from d2m_cli.errors import InputError
from d2m_cli.rhythm.extract import RhythmOptions
from d2m_cli.rhythm.sequence import Rhythm, Tempo
from d2m_cli.rhythm.tempo import beat_grid

SUFFIX = ".rhythm.json"
FORMAT = "d2m-rhythm"
FORMAT_VERSION = 1


def rhythm_to_json(
    rhythm: Rhythm, options: RhythmOptions | None = None, source: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A rhythm as values that JSON can hold.

    Parameters
    ----------
    rhythm
        The rhythm.
    options
        Settings it was made with, to be written beside it.
    source
        What it was made from: file name, content hash, pose network.

    Returns
    -------
    Times in seconds: ``peaks``, ``beats`` (of the tempo's grid), ``duration``; ``envelope`` from 0 to 1 at ``rate``
    steps per second from time 0.
    """
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "mode": rhythm.mode,
        "settings": asdict(options) if options is not None else None,
        "source": source,
        "versions": {"d2m": __version__, "numpy": version("numpy"), "scipy": version("scipy")},
        "duration": rhythm.duration,
        "tempo": asdict(rhythm.tempo) if rhythm.tempo is not None else None,
        "beats": [round(float(beat), 6) for beat in beat_grid(rhythm)],
        "peaks": [float(peak) for peak in rhythm.peaks],
        "rate": rhythm.rate,
        "envelope": [_rounded(value, rhythm.mode) for value in rhythm.envelope],
    }


def _rounded(value: np.float32, mode: str) -> float:
    # In mode "published" peaks are picked from the envelope again: nine digits bring the same number back.
    return float(f"{value:.9g}") if mode == "published" else round(float(value), 5)


def save_rhythm(
    path: Path, rhythm: Rhythm, options: RhythmOptions | None = None, source: dict[str, Any] | None = None
) -> None:
    """Write `rhythm_to_json` to a file, whole or not at all.

    Raises
    ------
    OutputError
        The file can't be written.
    """
    text = json.dumps(rhythm_to_json(rhythm, options, source), allow_nan=False, indent=1)
    with atomic_path(path) as part:
        part.write_text(text + "\n", encoding="utf-8")


def load_rhythm(path: Path) -> Rhythm:
    """Read a file that `save_rhythm` wrote.

    Raises
    ------
    InputError
        The file can't be read or is not such a file.
    """
    advice = "make it anew with 'd2m rhythm'"
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {advice}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path} is not a rhythm file: {advice}")
    if content.get("format_version") != FORMAT_VERSION:
        found = content.get("format_version")
        raise InputError(f"{path} is a rhythm file of version {found}, not {FORMAT_VERSION}: {advice}")
    try:
        return _rhythm_of(content)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is a damaged rhythm file ({type(error).__name__}: {error}): {advice}") from error


def _rhythm_of(content: dict[str, Any]) -> Rhythm:
    tempo = content["tempo"]
    return Rhythm(
        envelope=np.array(content["envelope"], dtype=np.float32),
        rate=float(content["rate"]),
        peaks=np.array(content["peaks"], dtype=np.float64),
        duration=float(content["duration"]),
        tempo=None
        if tempo is None
        else Tempo(**{key: float(tempo[key]) for key in ("bpm", "first_beat", "confidence")}),
        mode=str(content["mode"]),
    )
