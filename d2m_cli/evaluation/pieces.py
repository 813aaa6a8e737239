"""Which clip a result of d2m is for: told by the record beside it, whatever the result itself is called.

Several pieces for one video, by different seeds or lines of a manifest, count as seeds of the system that made them.
What was made for a passage of a video is a clip of its own, to be compared with that passage alone.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from d2m_cli.errors import UsageError
from d2m_cli.evaluation.seeds import Seed
from d2m_cli.generation.artefacts import RECORD
from d2m_cli.generation.record import FORMAT
from d2m_cli.ground.words import count
from d2m_cli.media.passage import Passage

WHOLE = Passage()


@dataclass(frozen=True)
class Origin:
    """What a clip of a system is for.

    Attributes
    ----------
    video
        Name of the whole clip: a path below its folder, without suffix.
    passage
        Which part of it is meant.
    """

    video: str
    passage: Passage = WHOLE

    @property
    def clip(self) -> str:
        """Name of the clip; that of a passage says where it begins and ends."""
        return self.video if self.passage.is_whole else f"{self.video}, {self.passage}"


@dataclass(frozen=True)
class Piece:
    """Music of a system for one clip.

    Attributes
    ----------
    path
        Its file.
    origin
        What it is for.
    content
        Digest of the video that it was made for; "" where no record says.
    seed
        Random seed; None where no record says, and for a track of one's own.
    """

    path: Path
    origin: Origin
    content: str = ""
    seed: int | None = None


def read_record(music: Path) -> Mapping[str, Any] | None:
    """The record of d2m that lies beside a sound file or video; None where there is none."""
    try:
        record = json.loads(music.with_suffix(RECORD).read_bytes())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and record.get("format") == FORMAT else None


def pieces_by_clip(files: Mapping[str, Path], known: Container[str]) -> dict[Origin, tuple[Piece, ...]]:
    """Music of one folder by what it is for.

    Parameters
    ----------
    files
        By name, as `d2m_cli.evaluation.pairing.music_by_stem` finds them.
    known
        Names of clips that there is something to compare with. A file of such a name is for that clip; another that
        has a record is for the video that this names, in the folder that mirrors its own.

    Returns
    -------
    Several pieces for one clip are in the order of their seeds, then of their names.
    """
    found: dict[Origin, list[Piece]] = defaultdict(list)
    for (name, path), piece in zip(files.items(), _told_apart(files, known), strict=True):
        found[piece.origin if piece is not None else Origin(name)].append(piece or Piece(path, Origin(name)))
    return {
        origin: tuple(sorted(pieces, key=lambda one: (one.seed is not None, one.seed or 0)))
        for origin, pieces in found.items()
    }


def _told_apart(files: Mapping[str, Path], known: Container[str]) -> list[Piece | None]:
    """What the record of each file says; videos of one name are told apart by the names of their results alone."""
    told = [_told(name, path, known) for name, path in files.items()]
    contents: dict[str, set[str]] = defaultdict(set)
    for piece in told:
        if piece is not None:
            contents[piece.origin.video].add(piece.content)
    return [
        piece
        if piece is None or len(contents[piece.origin.video]) == 1
        else Piece(piece.path, Origin(name, piece.origin.passage), piece.content, piece.seed)
        for name, piece in zip(files, told, strict=True)
    ]


def _told(name: str, path: Path, known: Container[str]) -> Piece | None:
    record = read_record(path)
    if record is None:
        return None
    try:
        video, settings = record["video"], record["settings"]
        file, content = str(video["file"]), str(video["content"])
        # A track of one's own is laid under the video without one.
        seed = None if "music" in settings else int(settings["seed"])
        start, duration = settings.get("start"), settings.get("duration")
        passage = Passage(float(start or 0.0), None if duration is None else float(duration))
    except (KeyError, TypeError, ValueError, AttributeError, UsageError):
        return None  # of another version, or written by hand
    stem = Path(unicodedata.normalize("NFC", file)).stem
    of_record = Path(name).with_name(stem).as_posix() if stem else name
    return Piece(path, Origin(name if name in known else of_record, passage), content, seed)


def as_seeds(name: str, pieces: Mapping[Origin, tuple[Piece, ...]]) -> tuple[tuple[Seed, ...], dict[str, str]]:
    """Pieces of one folder as seeds: the first pieces of all clips, the second, and so on.

    Every seed has every clip, so there are as many as leave the most pieces in: of a clip that has more, the rest is
    left out, and one that has fewer lacks its music by the last seeds.

    Parameters
    ----------
    name
        Of the folder.
    pieces
        From `pieces_by_clip`.

    Returns
    -------
    seeds
        A single one has the folder's name.
    left_out
        Clip to how many of its pieces are left out, in words.
    """
    numbers = [len(each) for each in pieces.values()]
    most = max(set(numbers), key=lambda number: (number * sum(one >= number for one in numbers), number))
    seeds = []
    for number in range(most):
        made = {origin.clip: each[number] for origin, each in pieces.items() if len(each) > number}
        drawn = {piece.seed for piece in made.values()}
        called = f"seed {drawn.pop()}" if len(drawn) == 1 and None not in drawn else f"piece {number + 1}"
        seeds.append(Seed(name if most == 1 else called, {clip: piece.path for clip, piece in made.items()}))
    names = Counter(seed.name for seed in seeds)
    if max(names.values()) > 1:
        seeds = [replace(seed, name=f"piece {number}") for number, seed in enumerate(seeds, 1)]
    left = {origin.clip: count(len(each) - most, "more piece") for origin, each in pieces.items() if len(each) > most}
    return tuple(seeds), left
