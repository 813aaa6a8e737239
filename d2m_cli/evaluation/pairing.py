"""Which file of one folder goes with which of another: paths below the folder without suffix, or what records say."""

from __future__ import annotations

import unicodedata
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from d2m_cli.errors import InputError, UsageError
from d2m_cli.evaluation.pieces import WHOLE, Origin, as_seeds, pieces_by_clip
from d2m_cli.evaluation.seeds import Seed, seed_names
from d2m_cli.evaluation.stems import by_stem
from d2m_cli.evaluation.true_beats import Read, TrueBeats, find_true_beats
from d2m_cli.ground.aist import parse_clip_name
from d2m_cli.ground.genres import genre_code
from d2m_cli.ground.options import option
from d2m_cli.ground.search import VIDEO_SUFFIXES
from d2m_cli.ground.tables import table_rows
from d2m_cli.ground.words import count
from d2m_cli.media.passage import Passage
from d2m_cli.pose.io import SUFFIX as POSE_SUFFIX

SOUND_SUFFIXES = frozenset({".aac", ".aif", ".aiff", ".flac", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".wav"})
TABLE_COLUMNS = ("clip", "song", "genre", "prompt")


@dataclass(frozen=True)
class ClipFacts:
    """What is known of one clip besides its sound.

    Attributes
    ----------
    name
        Path below its folder, without suffix; of a passage with where it begins and ends.
    song
        What clips that are no independent evidence share.
    genre
        Two-letter code it should have, or None.
    prompt
        Words it should follow, or None.
    passage
        Part of the true music, beats or dance that it is for.
    """

    name: str
    song: str
    genre: str | None
    prompt: str | None
    passage: Passage = WHOLE


@dataclass(frozen=True)
class Missing:
    """A clip that can't be compared.

    Attributes
    ----------
    clip
        Its name.
    lacks
        What is not there.
    """

    clip: str
    lacks: tuple[str, ...]


@dataclass(frozen=True)
class Pairing:
    """Clips that every system and the reference have.

    Attributes
    ----------
    clips
        Sorted by name.
    systems
        Name of each system to its seeds, each with the file of each clip.
    reference
        File of each clip's true music, or None where there is none.
    missing
        Clips that only some have.
    notes
        Clips that no system was asked for, and what is not known, in words.
    dances
        File of each clip's dance where its beats are the reference, or None.
    beats
        True beats of each clip where they are the reference, or None.
    videos
        Names of all whole clips that any system has music for.
    """

    clips: tuple[ClipFacts, ...]
    systems: Mapping[str, tuple[Seed, ...]]
    reference: Mapping[str, Path] | None
    missing: tuple[Missing, ...]
    notes: tuple[str, ...] = ()
    dances: Mapping[str, Path] | None = None
    beats: Mapping[str, TrueBeats] | None = None
    videos: frozenset[str] = frozenset()


def music_by_stem(folder: Path) -> dict[str, Path]:
    """Sound of each clip; a sound file goes before a video of the same name, whose sound was encoded once more."""
    return by_stem(folder, VIDEO_SUFFIXES) | by_stem(folder, SOUND_SUFFIXES)


def pair_up(
    systems: Mapping[str, Sequence[Path]],
    reference: Mapping[str, Path] | None,
    facts: Mapping[str, ClipFacts] | None = None,
    *,
    dances: Mapping[str, Path] | None = None,
    beats: Mapping[str, Read] | None = None,
) -> Pairing:
    """Find the clips that can be compared; what a result of d2m is for is told by its record.

    Parameters
    ----------
    systems
        Folders of each system's sound files or videos, one for each of its seeds.
    reference, dances
        File of the true music and of the dance of each clip, or None.
    facts
        What is known of clips, from `read_facts`; what it does not name is read off file names (`facts_of`).
    beats
        True beats, from `d2m_cli.evaluation.true_beats.find_true_beats`, or None.

    Raises
    ------
    UsageError
        A folder holds no music, or a file of true beats can't be read.
    InputError
        No clip is everywhere.
    """
    others: list[tuple[str, str, Mapping[str, object]]] = [
        (lack, name, held)
        for lack, name, held in (
            ("no reference", "the reference", reference),
            ("no dance", "the folder of dances", dances),
            ("no true beats", "the source of true beats", beats),
        )
        if held is not None
    ]
    origins: dict[str, Origin] = {}
    surplus: list[str] = []
    compared = {clip for _, _, held in others for clip in held}
    seeds = {name: _seeds(name, folders, compared, origins, surplus) for name, folders in systems.items()}
    made = {clip for each in seeds.values() for seed in each for clip in seed.files}
    videos = {origins[clip].video for clip in made}
    clips, missing = [], []
    known: dict[str, TrueBeats] = {}
    # What only the reference has was never asked of a system that makes a part of a data set.
    for clip in sorted(made):
        lacks = [
            f"no music by {name}{f', {seed.name}' if len(each) > 1 else ''}"
            for name, each in seeds.items()
            for seed in each
            if clip not in seed.files
        ]
        video, passage = origins[clip].video, origins[clip].passage
        lacks += [lack for lack, _, held in others if video not in held]
        if not lacks and beats is not None:
            try:
                known[clip] = beats[video]()
            except InputError as error:
                lacks.append(str(error))
        if lacks:
            missing.append(Missing(clip, tuple(lacks)))
        else:
            of_video = (facts or {}).get(video) or facts_of(video)
            clips.append(replace(of_video, name=clip, passage=passage))
    if not clips:
        told = "; ".join(f"{one.clip}: {', '.join(one.lacks)}" for one in missing[:4])
        more = f"; and {len(missing) - 4} more" if len(missing) > 4 else ""
        raise InputError(
            "no clip is in all folders; files go together by their paths below the folders, without suffix, results "
            "of d2m by the video that the .json beside them names. "
            f"{told}{more}"
        )
    names = [clip.name for clip in clips]
    kept = {
        name: tuple(Seed(seed.name, {clip: seed.files[clip] for clip in names}) for seed in each)
        for name, each in seeds.items()
    }
    notes = (
        *surplus,
        *(_not_asked(name, sorted(set(held) - videos)) for _, name, held in others),
        _not_asked("the table of clips", sorted(set(facts or ()) - videos)),
        _unknown_songs(sum(clip.song == origins[clip.name].video for clip in clips)),
    )
    true, danced = (
        None if held is None else {clip: held[origins[clip].video] for clip in names} for held in (reference, dances)
    )
    told_beats = None if beats is None else known
    said = tuple(filter(None, notes))
    return Pairing(tuple(clips), kept, true, tuple(missing), said, danced, told_beats, frozenset(videos))


def _seeds(
    system: str, folders: Sequence[Path], known: Container[str], origins: dict[str, Origin], surplus: list[str]
) -> tuple[Seed, ...]:
    """Music of each seed of a system; what each clip is for, and what is left out in words, are added to the last."""
    music = [music_by_stem(folder) for folder in folders]
    empty = [str(folder) for folder, files in zip(folders, music, strict=True) if not files]
    if empty:
        raise UsageError(f"{', '.join(empty)}: no sound file and no video in it")
    seeds: list[Seed] = []
    for name, files in zip(seed_names(folders), music, strict=True):
        pieces = pieces_by_clip(files, known)
        origins.update({origin.clip: origin for origin in pieces})
        own, left = as_seeds(name, pieces)
        whole = len(own) == 1 or len(folders) == 1
        seeds += own if whole else (replace(seed, name=f"{name}, {seed.name}") for seed in own)
        where = system if len(folders) == 1 else f"{system}, {name}"
        fewest = count(len(own), "piece")
        surplus += [f"{clip}: {more} by {where} left out: others have {fewest}" for clip, more in left.items()]
    return tuple(seeds)


def _not_asked(who: str, clips: Sequence[str]) -> str:
    if not clips:
        return ""
    more = ", ..." if len(clips) > 3 else ""
    return f"{who} has {count(len(clips), 'more clip')}, for which no system has music: {', '.join(clips[:3])}{more}"


def _unknown_songs(lone: int) -> str:
    if not lone:
        return ""
    if lone == 1:
        return "the song of 1 clip is not known, so it counts as a song of its own"
    return (
        f"the song of {lone} clips is not known, so each counts as a song of its own; where several are cut from one, "
        f"name songs in a table ({option('clips')}), or the intervals are too narrow"
    )


def facts_of(clip: str) -> ClipFacts:
    """What a name says: song and genre in AIST's (``gLO_..._mLO2_...``), else the genre that a folder is named by.

    A suffix behind AIST's name, such as "_slice0", changes nothing.
    """
    name = parse_clip_name(Path(clip).name)
    if name is not None:
        return ClipFacts(clip, name.song, name.genre, None)
    for folder in reversed(Path(clip).parts[:-1]):
        try:
            return ClipFacts(clip, clip, genre_code(folder), None)
        except UsageError:
            continue
    return ClipFacts(clip, clip, None, None)


def read_facts(path: Path) -> dict[str, ClipFacts]:
    """Read a table with the column "clip" and any of "song", "genre" and "prompt".

    Raises
    ------
    UsageError
        It can't be read, has other columns, names an unknown genre, or a clip twice or not at all; the text gives the
        line.
    """
    found: dict[str, ClipFacts] = {}
    for where, row in table_rows(path, _has_columns, "the column clip and any of song, genre, prompt"):
        facts = _facts(where, row)
        if facts.name in found:
            raise UsageError(f"{where}: the clip {facts.name} stands there twice")
        found[facts.name] = facts
    return found


def _has_columns(columns: tuple[str, ...]) -> bool:
    return "clip" in columns and not set(columns) - set(TABLE_COLUMNS)


def _facts(where: str, row: Mapping[str, str | None]) -> ClipFacts:
    # What has no column is kept under None.
    if None in row:
        raise UsageError(f"{where}: more values than columns; put values that hold commas in double quotes")
    values = {column: (value or "").strip() for column, value in row.items()}
    clip = unicodedata.normalize("NFC", values["clip"])
    if not clip:
        raise UsageError(f"{where}: the clip has no name")
    known = facts_of(clip)
    try:
        genre = genre_code(values["genre"]) if values.get("genre") else known.genre
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error
    return ClipFacts(clip, values.get("song") or known.song, genre, values.get("prompt") or None)


def pair_folders(
    systems: Mapping[str, Sequence[Path]],
    *,
    reference: Path | None = None,
    dances: Path | None = None,
    beats: Path | None = None,
    table: Path | None = None,
    prompt: str | None = None,
) -> Pairing:
    """Pair the files of all folders; see `pair_up`.

    Parameters
    ----------
    systems
        Folders of each system, one for each of its seeds.
    reference, dances
        Folder of the true music, and of the dances, or None.
    beats
        Folder or table of true beats, as `d2m_cli.evaluation.true_beats` reads it, or None.
    table
        What is known of clips, as `read_facts` reads it, or None.
    prompt
        Of clips that the table gives none for.

    Raises
    ------
    UsageError
        A folder holds nothing of what it should, the table names none of the clips, or true beats can't be read.
    InputError
        No clip is everywhere.
    """
    known = read_facts(table) if table is not None else {}
    music = None if reference is None else music_by_stem(reference)
    if music is not None and not music:
        raise UsageError(f"{reference}: no sound file and no video in it")
    danced = None if dances is None else dances_by_stem(dances)
    if danced is not None and not danced:
        raise UsageError(f"{dances}: no video and no {POSE_SUFFIX} file in it")
    true = None if beats is None else find_true_beats(beats)
    pairing = pair_up(systems, music, known, dances=danced, beats=true)
    if known and not set(known) & pairing.videos:
        raise UsageError(
            f"{table}: no system has any of its clips, such as {next(iter(known))!r}; clips are named by their paths "
            f"below the folders without suffix, such as {min(pairing.videos)!r}"
        )
    return replace(pairing, clips=tuple(_prompted(clip, prompt) for clip in pairing.clips))


def _prompted(clip: ClipFacts, prompt: str | None) -> ClipFacts:
    return clip if clip.prompt or not prompt else replace(clip, prompt=prompt)


def dances_by_stem(folder: Path) -> dict[str, Path]:
    """Pose files, and videos where there is no pose file, by name without suffix."""
    poses = by_stem(folder, frozenset({".npz"}))
    return by_stem(folder, VIDEO_SUFFIXES) | {
        stem.removesuffix(".pose"): path for stem, path in poses.items() if path.name.endswith(POSE_SUFFIX)
    }
