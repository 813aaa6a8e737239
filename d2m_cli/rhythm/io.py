"""Rhythm files: JSON that people and other programs can read."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m_cli import __version__
from d2m_cli.errors import InputError
from d2m_cli.ground.files import atomic_path
from d2m_cli.pose.dancers import only_dancer
from d2m_cli.rhythm.extract import RhythmOptions
from d2m_cli.rhythm.sequence import BeatMap, Rhythm, Tempo

SUFFIX = ".rhythm.json"
FORMAT = "d2m-rhythm"
FORMAT_VERSION = 1
LARGEST = 64 << 20
"""Bytes of a rhythm file: 24 hours at 60 Hz take fewer."""
_LARGEST_VALUE = 1e9


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
    Times in seconds: ``peaks``, ``beats``, ``duration``; ``envelope`` from 0 to 1 at ``rate`` steps per second from
    time 0. ``beat_map`` says, in mode "beats", how sure the beats are, and the tempo at each.
    """
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "mode": rhythm.mode,
        "settings": settings_of(options) if options is not None else None,
        "source": source,
        "versions": {"d2m": __version__, "numpy": version("numpy"), "scipy": version("scipy")},
        "duration": rhythm.duration,
        "tempo": asdict(rhythm.tempo) if rhythm.tempo is not None else None,
        "beats": [round(float(beat), 6) for beat in rhythm.beats.beats],
        "beat_map": None if rhythm.mapped is None else _map_to_json(rhythm.mapped),
        "peaks": [float(peak) for peak in rhythm.peaks],
        "rate": rhythm.rate,
        "envelope": [_rounded(value, rhythm.mode) for value in rhythm.envelope],
    }


def _map_to_json(beats: BeatMap) -> dict[str, Any]:
    tempi = [round(float(bpm), 4) for bpm in beats.tempo]
    return {"bpm": beats.bpm, "confidence": beats.confidence, "tempo": tempi}


def settings_of(options: RhythmOptions) -> dict[str, str | int | float]:
    """Options as rhythm files hold them: "dancer" is the number of one dancer, "all", or "at most N"."""
    dancers = options.dancers
    one = 0 if dancers == "largest" else None if dancers is None else only_dancer(dancers)
    several = f"at most {dancers}" if isinstance(dancers, int) else "all"
    return {
        "mode": options.mode,
        "sectors": options.sectors,
        "window_seconds": options.window,
        "rate": options.rate,
        "dancer": several if one is None else one,
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
    advice = "make it again with 'd2m rhythm'"
    path = Path(path)
    try:
        content = json.loads(_text(path))
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror or error}") from error
    except RecursionError as error:
        raise InputError(f"{path} is not a rhythm file, but lists within lists without end: {advice}") from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({str(error)[:120]}): {advice}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path} is not a rhythm file: {advice}")
    if content.get("format_version") != FORMAT_VERSION:
        found = str(content.get("format_version"))[:40]
        raise InputError(f"{path} is a rhythm file of version {found}, not {FORMAT_VERSION}: {advice}")
    try:
        return _rhythm_of(content)
    except KeyError as error:
        raise InputError(f"{path} is a damaged rhythm file (it holds no {error}): {advice}") from error
    except (ValueError, OverflowError) as error:
        raise InputError(f"{path} is a damaged rhythm file ({str(error)[:160]}): {advice}") from error


def _text(path: Path) -> str:
    if path.exists() and not path.is_file():
        raise ValueError("it is no file")
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"it takes more than {LARGEST >> 20} MiB")
    return content.decode("utf-8-sig")


def _rhythm_of(content: dict[str, Any]) -> Rhythm:
    tempo, mode = content["tempo"], content["mode"]
    if not isinstance(mode, str):
        raise ValueError("mode is no text")
    return Rhythm(
        envelope=_vector(content, "envelope").astype(np.float32),
        rate=_number(content, "rate"),
        peaks=_vector(content, "peaks"),
        duration=_number(content, "duration"),
        tempo=None if tempo is None else _tempo_of(tempo),
        mode=mode,
        mapped=_mapped(content),
    )


def _mapped(content: dict[str, Any]) -> BeatMap | None:
    told = content.get("beat_map")
    if told is None:
        return None
    if not isinstance(told, dict):
        raise ValueError("beat_map is none")
    return BeatMap(_vector(content, "beats"), _number(told, "bpm"), _number(told, "confidence"), _vector(told, "tempo"))


def _tempo_of(content: Any) -> Tempo:
    if not isinstance(content, dict):
        raise ValueError("tempo is none")
    tempo = Tempo(*(_number(content, name) for name in ("bpm", "first_beat", "confidence")))
    if tempo.first_beat > 60.0 / tempo.bpm:
        raise ValueError(f"the first beat at {tempo.first_beat:g} s is not the first at {tempo.bpm:g} bpm")
    return tempo


def _number(content: dict[str, Any], name: str) -> float:
    value = content[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is no number")
    return float(value)


def _vector(content: dict[str, Any], name: str) -> NDArray[np.float64]:
    values = content[name]
    # numpy would make numbers of texts, and long numbers would become objects or overflow.
    if not isinstance(values, list) or not all(type(value) in (int, float) for value in values):
        raise ValueError(f"{name} is no list of numbers")
    vector = np.array([float(value) for value in values], np.float64)
    if not (np.abs(vector) <= _LARGEST_VALUE).all():
        raise ValueError(f"{name} holds values that are not finite, or huge")
    return vector
