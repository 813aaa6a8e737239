"""A folder of videos with sound, sorted into sub-folders by genre and, where wanted, by split.

::

    dances/lock/anna.mp4           genre LO, split by the hash of its name
    dances/Street Jazz/b.mov       genre JS; any name or code of the ten genres
    dances/anna.mp4                genre not known
    dances/train/lock/anna.mp4     with train, validation (or val) and test at the top, these are the splits

Each video counts as a song of its own, but for videos with names of AIST's, which say genre and song.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from d2m_cli.errors import UsageError
from d2m_cli.ground.aist import Split, parse_clip_name
from d2m_cli.ground.genres import genre_code
from d2m_cli.ground.search import find_videos
from d2m_cli.training.data.clips import Skip
from d2m_cli.training.data.collate import Draft, Drafts, Place
from d2m_cli.training.data.splits import split_word


def read_folder(source: Path) -> Drafts:
    """Find the videos of a folder.

    Parameters
    ----------
    source
        The folder; searched recursively. The innermost sub-folder that names a genre gives it.

    Raises
    ------
    UsageError
        There is no video.
    """
    items = find_videos([source])
    sorted_by_hand = any(_top_split(item.path.relative_to(source)) for item in items)
    drafts: list[Draft] = []
    skipped: list[Skip] = []
    nameless: Counter[str] = Counter()
    for item in items:
        inside = item.path.relative_to(source)
        split = _top_split(inside)
        place = Place(item.path)
        if sorted_by_hand and split is None:
            skipped.append(place.skip("lies outside the folders of the splits"))
            continue
        aist = parse_clip_name(item.path.stem)
        genre = aist.genre if aist else _genre(inside.parts[:-1])
        if genre is None:
            nameless[inside.parts[-2] if len(inside.parts) > 1 else "."] += 1
        name = item.stem.as_posix()
        song = aist.song if aist else name
        drafts.append(Draft(name, item.path, None, item.path, 0.0, song, genre, split, place))
    return Drafts(tuple(drafts), tuple(skipped), "folder", _notes(source, nameless))


def _top_split(inside: Path) -> Split | None:
    return split_word(inside.parts[0]) if len(inside.parts) > 1 else None


def _genre(folders: tuple[str, ...]) -> str | None:
    for folder in reversed(folders):
        try:
            return genre_code(folder)
        except UsageError:
            continue
    return None


def _notes(source: Path, nameless: Counter[str]) -> tuple[str, ...]:
    if not nameless:
        return ()
    told = ", ".join(f"{'the folder itself' if name == '.' else name} ({nameless[name]})" for name in sorted(nameless))
    return (f"{source}: videos in folders that name no genre have none: {told}",)
