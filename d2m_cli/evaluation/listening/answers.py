"""The key of a listening test and the files of answers that participants send back, read and checked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from d2m_cli.errors import InputError, UsageError
from d2m_cli.ground.options import option

SCALES = ("coherence", "quality")
"""What is rated: coherence of music and dance, and quality of the music."""
LOWEST, HIGHEST = 1, 5
KEY_FORMAT, RESULT_FORMAT, FORMAT_VERSION = "d2m-listening-key", "d2m-listening-result", 1


@dataclass(frozen=True)
class Key:
    """Which item is which."""

    test: str
    repeat: bool
    systems: tuple[str, ...]
    clips: tuple[str, ...]
    items: Mapping[str, tuple[int, int]]
    """Number of clip and system of each item."""

    def of(self, item: str) -> tuple[str, str]:
        """Clip and system of an item, by name."""
        clip, system = self.items[item]
        return self.clips[clip], self.systems[system]


@dataclass(frozen=True)
class Answers:
    """One valid file of answers; ratings in the order of `SCALES`, or why there are none."""

    path: Path
    participant: str
    finished: datetime
    first: Mapping[str, tuple[int, ...] | str]
    again: Mapping[str, tuple[int, ...] | str]


def _read_json(path: Path, kind: str, name: str) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is no JSON ({error}); ask for the file as the page saved it") from error
    if not isinstance(document, dict) or document.get("format") != kind:
        raise InputError(f"{path}: is no {name} (its format is not {kind})")
    if document.get("version") != FORMAT_VERSION:
        raise InputError(f"{path}: is of version {document.get('version')}, this d2m reads version {FORMAT_VERSION}")
    return document


def read_key(path: Path) -> Key:
    """Read KEY.json; InputError where it is none or damaged."""
    document = _read_json(path, KEY_FORMAT, "key of a listening test")
    try:
        systems = tuple(map(str, document["systems"]))
        clips = tuple(str(clip["clip"]) for clip in document["clips"])
        items = {
            str(item): (number, systems.index(system))
            for number, clip in enumerate(document["clips"])
            for item, system in clip["items"].items()
        }
        if len(items) != len(systems) * len(clips):
            raise ValueError(f"{len(items)} items for {len(systems)} systems and {len(clips)} dances")
        return Key(str(document["test"]), bool(document["repeat"]), systems, clips, items)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: is a damaged key of a listening test ({error}); make the test again") from error


def read_answers(path: Path, key: Key) -> Answers:
    """Read what one participant sent back; InputError, with the reason, where it can't count."""
    document = _read_json(path, RESULT_FORMAT, "file of answers")

    def check(holds: bool, reason: str) -> None:
        if not holds:
            raise InputError(f"{path}: {reason}")

    test = document.get("test")
    check(test == key.test, f"answers test {test}, not {key.test}; take the key of that test")
    participant = document.get("participant")
    participant = participant.strip() if isinstance(participant, str) else ""
    check(bool(participant), "names no participant")
    started, finished = (_time(path, document, name) for name in ("started", "finished"))
    check(started <= finished, "was finished before it was started")
    lines = document.get("ratings")
    if not isinstance(lines, list) or not all(isinstance(line, dict) for line in lines):
        raise InputError(f"{path}: holds no list of ratings")
    first: dict[str, tuple[int, ...] | str] = {}
    again: dict[str, tuple[int, ...] | str] = {}
    for line in lines:
        item, repeat = line.get("item"), line.get("repeat")
        if not isinstance(item, str) or item not in key.items:
            raise InputError(f"{path}: rates {item!r}, which is not in this test")
        check(isinstance(repeat, bool), f"does not say whether item {item} is a repeat")
        into = again if repeat else first
        check(item not in into, f"rates item {item} more than once")
        into[item] = _rating(path, item, line)
    lacking = len(key.items) - len(first)
    check(not lacking, f"lacks {lacking} of {len(key.items)} items")
    expected = int(key.repeat and len(key.items) > 1)
    check(len(again) == expected, f"holds {len(again)} repeated items instead of {expected}")
    return Answers(path, participant, finished, first, again)


def _time(path: Path, document: Mapping[str, Any], name: str) -> datetime:
    try:
        time = datetime.fromisoformat(document[name])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: does not say when it was {name}") from error
    if time.tzinfo is None:
        raise InputError(f"{path}: does not say in which time zone it was {name}")
    return time


def _rating(path: Path, item: str, line: Mapping[str, Any]) -> tuple[int, ...] | str:
    """Ratings in the order of `SCALES`, or why the item could not be played."""
    ratings = tuple(line.get(scale) for scale in SCALES)
    problem = line.get("problem")
    if isinstance(problem, str) and problem and ratings == (None,) * len(SCALES):
        return problem
    # A bool is an int to isinstance, and no rating.
    if problem is not None or not all(type(value) is int and LOWEST <= value <= HIGHEST for value in ratings):
        raise InputError(
            f"{path}: item {item} is rated {' and '.join(map(repr, ratings))}, not with whole numbers from "
            f"{LOWEST} to {HIGHEST}"
        )
    plays = line.get("plays")
    if type(plays) is not int or plays < 1:
        raise InputError(f"{path}: item {item} is rated, but was not played to its end")
    return tuple(value for value in ratings if value is not None)


def answer_files(paths: Sequence[Path], key: Path) -> list[Path]:
    """Files of answers that are named, or stand in a folder that is; the key is none of them.

    Raises
    ------
    UsageError
        There is no such key.
    """
    if not key.is_file():
        raise UsageError(f"{option('key', str(key))}: no such file; name the key.json of the listening test")
    found: list[Path] = []
    for path in paths:
        found += sorted(path.glob("*.json")) if path.is_dir() else [path]
    return [path for path in found if path.resolve() != key.resolve()]
