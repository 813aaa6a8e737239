"""From a line of the ledger, and the record of the music, to what the page says of one result."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from d2m_cli.generation.artefacts import is_take
from d2m_cli.ground.genres import GENRE_NAMES
from d2m_cli.ground.ledger_entries import Entry
from d2m_cli.ground.printable import printable
from d2m_cli.report.page.values import Head, Listed, Sound, State

PICTURES = (".mp4", ".m4v", ".mov", ".webm", ".mkv")
"""Suffixes of results that show the dance with its music, first what all browsers play."""
SOUNDS = (".wav", ".m4a", ".mp3", ".flac", ".ogg", ".opus")
"""Suffixes of the music alone."""


def link(path: str) -> str:
    """A relative path, with forward slashes, as a link of a page in the folder that it starts from."""
    # A colon in the first part would make it a protocol.
    return "./" + quote(os.fsencode(path))


def files_of(entry: Entry, document: Mapping[str, Any], stem: str) -> tuple[str, ...]:
    """Paths of the results of one video, from the folder: as its record lists them, else as the ledger does."""
    listed = document.get("files")
    if isinstance(listed, list) and all(isinstance(name, str) for name in listed):
        return (*(_beside(stem, name) for name in listed), f"{stem}.json")
    return tuple(artefact.path for artefact in entry.artefacts)


def music_file(files: Sequence[str]) -> str | None:
    """The one of some results that holds the music, best without loss."""
    files = _without_takes(files)
    return next(iter(_by_suffix(files, SOUNDS)), None) or next(iter(_by_suffix(files, PICTURES)), None)


def _without_takes(files: Sequence[str]) -> list[str]:
    """Some results but the takes that were kept."""
    return [name for name in files if not is_take(PurePosixPath(name))]


def list_failed(stem: str, entry: Entry, state: State, reason: str) -> Listed:
    """What is said of a video that has no music."""
    return Listed(
        name=printable(stem),
        video=printable(entry.input),
        source=entry.place or entry.input,
        state=state,
        reason=printable(reason),
        took=entry.seconds or None,
        made_at=_when(entry.at),
    )


def list_made(stem: str, entry: Entry, document: Mapping[str, Any], drawing: str | None, head: Head | None) -> Listed:
    """What is said of one piece of music.

    Parameters
    ----------
    stem
        Path of the results without a suffix, with forward slashes.
    entry
        Its line in the ledger.
    document
        Its record.
    drawing, head
        Where its drawing lies, from the folder, and what that begins with; None where there is none.

    Raises
    ------
    KeyError, TypeError, ValueError, AttributeError
        The record is none that d2m wrote.
    """
    settings, music, rhythm = document["settings"], document["music"], document["rhythm"]
    backbone = document["models"]["backbone"]
    files = files_of(entry, document, stem)
    pictures = _by_suffix(files, PICTURES)
    # Without a video of its own, the input is shown and its sound replaced; of a passage it would be out of step.
    picture = pictures[0] if pictures else "" if "start" in settings or "duration" in settings else entry.place
    music_alone = _link_or_none(next(iter(_by_suffix(_without_takes(files), SOUNDS)), None))
    sounds = [Sound("The music chosen", None if pictures else music_alone, alone=music_alone if pictures else None)]
    drawn = {take.number: take for take in head.takes} if head is not None else {}
    takes = {int(take["number"]): _beside(stem, str(take["file"])) for take in music.get("takes") or ()}
    sounds += [Sound(f"Take {number}", link(name), drawn.get(number)) for number, name in takes.items()]
    written = dict.fromkeys((*files, *takes.values()))
    tempo = rhythm["tempo"]
    genre, track = settings.get("genre") or "", settings.get("music")
    return Listed(
        name=printable(stem),
        video=printable(document["video"]["file"]),
        source=str(document["video"]["content"]),
        state="done",
        genre=printable(GENRE_NAMES.get(genre, genre)),
        prompt=printable(settings.get("prompt") or ""),
        negative_prompt=printable(settings.get("negative_prompt") or ""),
        model=printable(backbone["name"]) if track is None else f"none, from {printable(track['file'])}",
        licence=printable(document["licences"]["music"]),
        # A track of one's own is cut and bent, and nothing of it drawn.
        seed=str(int(settings["seed"])) if track is None else "",
        seconds=float(music["seconds"]),
        # A tempo that is not sure enough to be gone by is none to show; older records do not say how sure they are.
        bpm=float(tempo["bpm"]) if tempo is not None and rhythm.get("steady", True) else None,
        took=entry.seconds or None,
        made_at=_when(entry.at),
        notes=tuple(map(printable, _notes(document))),
        facts=tuple((term, printable(text)) for term, text in _facts(document)),
        picture=link(picture) if picture else None,
        sounds=tuple(one for one in sounds if pictures or one.href is not None),
        files=tuple((printable(PurePosixPath(name).name), link(name)) for name in written),
        drawing=link(drawing) if drawing is not None and head is not None and head.counts is not None else None,
        head=head,
    )


def _notes(document: Mapping[str, Any]) -> list[str]:
    found = [*map(str, document.get("notes") or ()), *map(str, document["video"].get("notes") or ())]
    unread = sorted({window["unread"] for window in document["windows"] if window["unread"]})
    found += [f"the model's text encoder did not read these words of the prompt: {text}" for text in unread]
    snap, level = document["music"].get("snap"), document["music"].get("level")
    if snap is not None and snap["why"]:
        found.append(f"bending the music onto the dance's beat: {snap['done']}; {snap['why']}")
    # Music of under 0.4 s has peaks, and no loudness.
    if level is not None and level["decided_by"] == "peak" and level["loudness"] is not None:
        reached, wanted = f"{level['loudness']:.1f} LUFS", f"{level['wanted']:g} LUFS"
        found.append(f"{reached}, not the {wanted} asked for: louder, its peaks would clip")
    return found


def _facts(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    music, rhythm, settings = document["music"], document["rhythm"], document["settings"]
    found = []
    if "start" in settings or "duration" in settings:
        start = float(settings.get("start") or 0.0)
        found.append(("Passage", f"{start:g} s to {start + float(music['seconds']):g} s"))
    prompts = sorted({window["prompt"] for window in document["windows"]})
    if prompts:
        found.append(("Words the model was given", "; ".join(prompts)))
    if rhythm["tempo"] is not None:
        found.append(("Sure of the dance's tempo", f"{100 * rhythm['tempo']['confidence']:.0f} %"))
    snap, level = music.get("snap"), music.get("level")
    if snap is not None and snap["done"] == "bent":
        slow, fast = 100 * (1 - snap["slowest"]), 100 * (snap["fastest"] - 1)
        found.append(("Bent onto the dance's beat", f"slowed by {slow:.1f} %, sped up by {fast:.1f} % at most"))
    if level is not None and level["loudness"] is not None:
        found.append(("Loudness", f"{level['loudness']:.1f} LUFS"))
    found.append(("Sound", f"{music['sample_rate'] / 1000:g} kHz, {_channels(music['channels'])}"))
    if "mp4" in document:
        found.append(("Picture", str(document["mp4"]).removeprefix("picture ")))
    if "mix" in document:
        found.append(("The video's own sound", str(document["mix"]).removeprefix("the video's own sound ")))
    steps = settings.get("sampling", {}).get("steps")
    if steps is not None:
        found.append(("Steps", str(steps)))
    if document["windows"]:
        found.append(("Takes of each window", str(settings.get("candidates", 1))))
    found.append(("Computed by", str(document["run"]["models"])))
    found.append(("d2m", str(document["versions"]["d2m"])))
    return found


def _channels(count: int) -> str:
    return {1: "mono", 2: "stereo"}.get(count, f"{count} channels")


def _by_suffix(files: Iterable[str], suffixes: Sequence[str]) -> list[str]:
    kinds = [(PurePosixPath(name).suffix.lower(), name) for name in files]
    return [name for suffix in suffixes for kind, name in kinds if kind == suffix]


def _beside(stem: str, name: str) -> str:
    return (PurePosixPath(stem).parent / name).as_posix()


def _link_or_none(path: str | None) -> str | None:
    return link(path) if path is not None else None


def _when(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC") if at > 0 else ""
