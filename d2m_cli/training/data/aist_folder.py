"""The folder that AIST++ is downloaded to.

====================  ==================================================================================
keypoints2d/          ``gLO_sBM_cAll_d13_mLO2_ch02.pkl``
splits/               ``crossmodal_train.txt``, ``crossmodal_val.txt``, ``crossmodal_test.txt``: a name a line;
                      without the folder (it is not in ``keypoints2d.zip``) the rule that made the files is applied
ignore_list.txt       names whose 3D reconstruction failed; beside ``keypoints2d`` or in ``splits``
any place             videos ``gLO_sBM_c01_d13_mLO2_ch02.mp4``, music ``mLO2.wav`` or a .wav with a clip's name
====================  ==================================================================================

Other sound files will do in place of .wav. Of the dance, keypoints are preferred to videos; of the music, the clip's
own file to the song's, and that to the sound of a video. All of them begin together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from d2m_cli.errors import UsageError
from d2m_cli.ground.aist import AistName, Split, official_split, parse_name
from d2m_cli.ground.search import VIDEO_SUFFIXES, find_files
from d2m_cli.training.data.clips import Skip
from d2m_cli.training.data.collate import Draft, Drafts, Place, ReadOptions

KEYPOINTS = "keypoints2d"
SPLIT_FILES: dict[Split, str] = {
    "train": "crossmodal_train.txt", "validation": "crossmodal_val.txt", "test": "crossmodal_test.txt",
}  # fmt: skip
IGNORED = "ignore_list.txt"
CAMERAS = tuple(f"c{number:02}" for number in range(1, 10))
SOUND_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".m4a", ".aac", ".mp3")
"""In order of preference."""


@dataclass(frozen=True)
class _Files:
    """What there is, by stem; for sounds and videos the first found stays."""

    keypoints: dict[str, Path] = field(default_factory=dict)
    sounds: dict[str, Path] = field(default_factory=dict)
    videos: dict[str, Path] = field(default_factory=dict)
    odd: list[Path] = field(default_factory=list)


def find_tree(source: Path) -> Path | None:
    """The folder of an AIST++ tree: `source`, its parent where `source` is ``keypoints2d``, or up to two levels below.

    Raises
    ------
    UsageError
        There are several.
    """
    if source.name == KEYPOINTS and source.is_dir():
        return source.parent
    level = [source]
    for _ in range(3):
        trees = [folder for folder in level if _is_tree(folder)]
        if len(trees) > 1:
            raise UsageError(f"{source} holds several AIST++ trees: {trees[0]} and {trees[1]}; name one of them")
        if trees:
            return trees[0]
        level = sorted(entry for folder in level for entry in _entries(folder) if entry.is_dir())
    return None


def _is_tree(folder: Path) -> bool:
    return (folder / KEYPOINTS).is_dir() or (folder / "splits" / SPLIT_FILES["train"]).is_file()


def _entries(folder: Path) -> list[Path]:
    try:
        return [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise UsageError(f"can't look into the folder {folder}: {error.strerror}") from error


def read_tree(root: Path, options: ReadOptions) -> Drafts:
    """Find the dances of an AIST++ tree.

    Parameters
    ----------
    root
        From `find_tree`.
    options
        Cameras, further folders, and whether the ignore list counts.

    Raises
    ------
    UsageError
        A split file is missing, can't be read, or names what another one names.
    """
    files = _find(root, options)
    notes = []
    splits = _read_splits(root)
    if splits is None:
        notes.append(f"{root} has no folder splits: AIST++'s own rule gives its official splits by music")
    ignored = set() if options.keep_ignored else _read_ignored(root)
    if ignored is None:
        notes.append(f"{root} has no {IGNORED}: no sequence is left out for it")
    skipped = [Place(path).skip("its name is not one of AIST++'s") for path in files.odd]
    drafts: list[Draft] = []
    listed = set(splits or ())
    for sequence in sorted(listed | set(files.keypoints) | _filmed(files)):
        name = parse_name(sequence)
        place = Place(files.keypoints.get(sequence, root / KEYPOINTS / f"{sequence}.pkl"))
        if name is None:
            skipped.append(place.skip("a split file names it, and it is no name of AIST++'s"))
            continue
        split = official_split(name) if splits is None else splits.get(sequence)
        if split is None:
            skipped.append(place.skip("is in none of the official splits by music"))
        elif ignored and sequence in ignored:
            skipped.append(place.skip(f"{IGNORED} names it"))
        else:
            for view in options.views:
                made = _draft(name, view, split, files, place)
                (skipped if isinstance(made, Skip) else drafts).append(made)  # type: ignore[arg-type]
    return Drafts(tuple(drafts), tuple(skipped), "AIST++", tuple(notes))


def _draft(name: AistName, view: int, split: Split, files: _Files, place: Place) -> Draft | Skip:
    sequence, clip = name.seen_by("cAll"), name.seen_by(CAMERAS[view])
    keypoints, video = files.keypoints.get(sequence), files.videos.get(clip)
    dance = keypoints or video
    if dance is None:
        return place.skip(f"there are neither keypoints nor a video of camera {CAMERAS[view]}")
    # All cameras heard the same music.
    cameras = (CAMERAS[view], *CAMERAS)
    sounds = (files.sounds.get(key) for key in (clip, sequence, name.song))
    films = (files.videos.get(name.seen_by(camera)) for camera in cameras)
    audio = next((path for path in (*sounds, *films) if path is not None), None)
    if audio is None:
        return place.skip("there is no music to it", f": neither {name.song}.wav, nor a file or video of its own")
    return Draft(
        clip, dance, view if keypoints else None, audio, 0.0, name.song, name.genre, split, Place(dance)
    )  # fmt: skip


def _filmed(files: _Files) -> set[str]:
    names = (parse_name(stem) for stem in files.videos)
    return {name.seen_by("cAll") for name in names if name is not None}


def _find(root: Path, options: ReadOptions) -> _Files:
    files = _Files()
    extra = [folder for folder in (options.music, options.videos) if folder is not None]
    sounds: dict[str, list[Path]] = {}
    for folder in (*extra, root):
        for path in _files_below(folder):
            suffix = path.suffix.lower()
            if suffix == ".pkl":
                if path.parent.name == KEYPOINTS and folder == root:
                    _note_keypoints(path, files)
            elif suffix in SOUND_SUFFIXES:
                sounds.setdefault(path.stem, []).append(path)
            else:
                files.videos.setdefault(path.stem, path)
    for stem, paths in sounds.items():
        files.sounds[stem] = min(paths, key=lambda path: SOUND_SUFFIXES.index(path.suffix.lower()))
    return files


def _files_below(folder: Path) -> Iterator[Path]:
    suffixes = VIDEO_SUFFIXES | {".pkl", *SOUND_SUFFIXES}
    return (item.path for item in find_files([folder], suffixes))


def _note_keypoints(path: Path, files: _Files) -> None:
    name = parse_name(path.stem)
    if name is None or name.camera != "cAll":
        files.odd.append(path)
    else:
        files.keypoints[path.stem] = path


def _read_splits(root: Path) -> dict[str, Split] | None:
    folder = root / "splits"
    if not any((folder / name).is_file() for name in SPLIT_FILES.values()):
        return None
    splits: dict[str, Split] = {}
    for split, file in SPLIT_FILES.items():
        for sequence in _read_names(folder / file):
            if splits.setdefault(sequence, split) != split:
                raise UsageError(
                    f"{folder}: {sequence} is in {SPLIT_FILES[splits[sequence]]} and in {file}; take the files of "
                    "AIST++ as they are, or remove the folder to apply the rule that made them"
                )
    return splits


def _read_ignored(root: Path) -> set[str] | None:
    for path in (root / IGNORED, root / "splits" / IGNORED):
        if path.is_file():
            return set(_read_names(path))
    return None


def _read_names(path: Path) -> list[str]:
    """Sequence names, a line each; names of single cameras stand for their sequence."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except FileNotFoundError as error:
        raise UsageError(
            f"{path} is missing: take it from AIST++'s fullset.zip, or remove the folder to apply the rule that made it"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} can't be read: {error}") from error
    names = ((line, parse_name(line)) for line in lines if line)
    return [line if name is None else name.seen_by("cAll") for line, name in names]
