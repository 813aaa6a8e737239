"""True beats of clips, known without listening: from one file a clip, or from a table of all clips.

A file of text holds one beat a line, seconds first. A file of JSON holds seconds under "beats", or a tempo under "bpm"
and the time of its first beat under "first_beat", as d2m's .rhythm.json files and the .truth.json files of the examples
do. A table holds the same: a line for each beat of each clip, or a line with tempo and first beat for each clip.
"""

from __future__ import annotations

import csv
import json
import math
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from d2m_cli.errors import InputError, UsageError
from d2m_cli.evaluation.rhythm.tempo import beats_tempo
from d2m_cli.evaluation.stems import by_stem
from d2m_cli.media.passage import Passage

SUFFIXES = frozenset({".beats", ".csv", ".json", ".txt"})
KINDS = (".beats", ".rhythm", ".truth")
"""What may stand before the suffix and is no part of a clip's name."""
CLIP_COLUMNS = ("clip", "name")
BPM_RANGE = (20.0, 400.0)
"""Outside of it a number is no tempo of music but a mistake."""


@dataclass(frozen=True)
class TrueBeats:
    """Where the beats of a clip are.

    Attributes
    ----------
    times
        Seconds from the start of the clip, rising, 0 or more; None where the tempo says them.
    bpm
        Tempo in beats per minute; None where the times say it.
    first_beat
        Seconds of the first beat, from which on they go at the tempo; None where there are times. Where it is below 0,
        the first one after it that is not counts.
    source
        Where they stand, for messages.
    """

    times: tuple[float, ...] | None
    bpm: float | None
    first_beat: float | None
    source: str

    def within(self, seconds: float) -> NDArray[np.float64]:
        """(b,) seconds of the beats in a clip of a length; rising.

        Raises
        ------
        InputError
            There are none.
        """
        if self.times is not None:
            times = np.array(self.times, dtype=np.float64)
        else:
            assert self.bpm is not None
            assert self.first_beat is not None
            times = np.arange(self.first_beat, seconds, 60.0 / self.bpm)
        times = times[(times >= 0.0) & (times < seconds)]
        if not len(times):
            raise InputError(
                f"{self.source}: no beat within the {seconds:.2f} s of the clip; times are seconds from its start"
            )
        return times

    def of(self, passage: Passage) -> TrueBeats:
        """Those of a passage of the clip, in seconds from where it begins."""
        start, first = passage.start, self.first_beat
        end = math.inf if passage.duration is None else passage.duration
        times = None if self.times is None else tuple(time - start for time in self.times if 0 <= time - start < end)
        return replace(self, times=times, first_beat=None if first is None else first - start)

    def tempo(self, seconds: float) -> float | None:
        """Beats per minute in a clip of a length, or None where there are too few beats to tell."""
        return self.bpm if self.bpm is not None else beats_tempo(self.within(seconds))


Read = Callable[[], TrueBeats]


def find_true_beats(source: Path) -> Mapping[str, Read]:
    """What reads the beats of each clip, by the clip's name.

    Parameters
    ----------
    source
        Folder of files, one a clip; or a table with the column "clip" (or "name") and either "time" or "bpm" and
        "first_beat". A table is read at once, a file of a folder when it is asked for.

    Raises
    ------
    UsageError
        There is no such folder or table, it holds no file of beats, or two of one clip; or a line of the table says
        nothing that can be used. A file of a folder says so once it is read, with its line.
    InputError
        From what is returned: a file holds no beats.
    """
    if source.is_dir():
        found: dict[str, Path] = {}
        for stem, path in by_stem(source, SUFFIXES).items():
            clip = stem
            for kind in KINDS:
                clip = clip.removesuffix(kind)
            if clip in found:
                raise UsageError(f"{found[clip]} and {path} are both beats of {clip}; move one of them away")
            found[clip] = path
        if not found:
            raise UsageError(f"{source}: no file of beats in it; they end in {', '.join(sorted(SUFFIXES))}")
        return {clip: partial(read_file, path) for clip, path in found.items()}
    return {clip: partial(_same, beats) for clip, beats in read_table(source).items()}


def _same(beats: TrueBeats) -> TrueBeats:
    return beats


def read_file(path: Path) -> TrueBeats:
    """Read the beats of one clip.

    Raises
    ------
    UsageError
        It can't be read, or a line of it is no beat after the one before.
    InputError
        It holds none.
    """
    text = _text(path)
    if path.suffix.lower() == ".json":
        return _from_json(path, text)
    times: list[float] = []
    for number, fields in _lines(path, text):
        where = f"{path}, line {number}"
        if not times and fields[0].strip().casefold() == "time":
            continue
        times.append(_next(where, fields[0], times))
    if not times:
        raise InputError(f"{path}: holds no beats")
    return TrueBeats(tuple(times), None, None, str(path))


def read_table(path: Path) -> dict[str, TrueBeats]:
    """Read the beats of all clips; see `find_true_beats`."""
    rows = csv.DictReader(_text(path).splitlines())
    columns = [name.strip() for name in rows.fieldnames or ()]
    rows.fieldnames = columns
    key = next((name for name in CLIP_COLUMNS if name in columns), "")
    by_time, by_tempo = "time" in columns, {"bpm", "first_beat"} <= set(columns)
    if not key or by_time == by_tempo:
        raise UsageError(
            f"{path}: its first line must name the column clip and either time or bpm and first_beat, with commas "
            f"between them, not {', '.join(columns) or 'nothing'}"
        )
    times: dict[str, list[float]] = {}
    found: dict[str, TrueBeats] = {}
    try:
        for row in rows:
            where = f"{path}, line {rows.line_num}"
            clip = unicodedata.normalize("NFC", (row[key] or "").strip())
            if not clip:
                raise UsageError(f"{where}: the clip has no name")
            if by_time:
                known = times.setdefault(clip, [])
                known.append(_next(where, row["time"] or "", known))
            elif clip in found:
                raise UsageError(f"{where}: the clip {clip} stands there twice")
            else:
                found[clip] = TrueBeats(None, _bpm(where, row["bpm"]), _number(where, row["first_beat"]), where)
    except csv.Error as error:
        raise UsageError(f"{path}, line {rows.line_num}: {error}") from error
    found |= {clip: TrueBeats(tuple(each), None, None, f"{path}, {clip}") for clip, each in times.items()}
    if not found:
        raise UsageError(f"{path}: no line after the first; give one for each beat, or for each clip")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: can't be read as text in UTF-8 ({error})") from error


def _lines(path: Path, text: str) -> list[tuple[int, list[str]]]:
    """Fields of each line that holds some, with its number; "#" begins a comment."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        told = line.partition("#")[0].strip()
        if told:
            found.append((number, told.split(",") if path.suffix.lower() == ".csv" else told.split()))
    return found


def _from_json(path: Path, text: str) -> TrueBeats:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"{path}, line {error.lineno}: no JSON ({error.msg})") from error
    if not isinstance(document, dict):
        raise UsageError(f'{path}: give an object with "beats", or with "bpm" and "first_beat"')
    beats, tempo = document.get("beats"), document
    if isinstance(document.get("tempo"), dict):
        tempo = document["tempo"]
    by_tempo = tempo.get("bpm") is not None and tempo.get("first_beat") is not None
    # As of a dance without music.
    if beats == [] or ("beats" in document and beats is None and not by_tempo):
        raise InputError(f"{path}: holds no beats")
    if isinstance(beats, list):
        times: list[float] = []
        for number, value in enumerate(beats, start=1):
            times.append(_next(f'{path}, number {number} of "beats"', value, times))
        bpm = document.get("bpm")
        return TrueBeats(tuple(times), None if bpm is None else _bpm(f'{path}, "bpm"', bpm), None, str(path))
    if beats is not None or not by_tempo:
        raise UsageError(f'{path}: give "beats", a list of seconds, or "bpm" and "first_beat"')
    first_beat = _number(f'{path}, "first_beat"', tempo["first_beat"])
    return TrueBeats(None, _bpm(f'{path}, "bpm"', tempo["bpm"]), first_beat, str(path))


def _next(where: str, told: object, before: list[float]) -> float:
    """A beat after those before it."""
    time = _number(where, told)
    if time < 0.0:
        raise UsageError(f"{where}: {told} lies before the start of the clip; give seconds from its start")
    if before and time <= before[-1]:
        raise UsageError(f"{where}: {told} does not come after {before[-1]}, the beat before it; sort the beats")
    return time


def _bpm(where: str, told: object) -> float:
    bpm = _number(where, told)
    low, high = BPM_RANGE
    if not low <= bpm <= high:
        raise UsageError(f"{where}: a tempo of {told} is none; give {low:.0f} to {high:.0f} beats per minute")
    return bpm


def _number(where: str, told: object) -> float:
    try:
        number = float(told) if isinstance(told, str | int | float) and not isinstance(told, bool) else np.nan
    except ValueError:
        number = np.nan
    if not np.isfinite(number):
        raise UsageError(f"{where}: {told!r} is no number; give seconds and beats per minute as in 12.5")
    return number
