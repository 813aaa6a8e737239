"""Make paired data for the encoders: rendered pieces of music with dances to them, in three splits that share nothing.

    python make_pairs.py OUT --train-songs 700 --validation-songs 36 --test-songs 36    # all but the pictures
    python make_pairs.py OUT --train-songs 700 --validation-songs 36 --test-songs 36 --draw --only validation --only test

The first line needs what `render.py` needs; the second what `examples/make_videos.py` needs (Anny, numba), in another
environment if one likes. Both need d2m. Files that are there already are kept, so a run that was cut short goes on;
``--only`` takes some splits, ``--first`` and ``--count`` some songs of each, so that several processes can share the
work (a last call without them writes the manifest of all). All follows from seeds.

Written are

``music/<song>.flac``
    mono 24 kHz, 22 s for training and 11 s for the other splits; the first beat, a downbeat, is at 0.
``dances/<clip>.pose.npz``
    training: keypoints of the choreography seen by a camera, as a pose network would report them.
``dances/<clip>.mp4``
    validation and test: drawn dances of 10.24 s.
``dances/<clip>.truth.json``
    of every dance: tempo, beats and accents (seconds from the start of the dance), family, body, camera, genre.
``manifest.csv``
    video, audio, genre, start (seconds of the audio at which the dance begins), song, split; what is complete.
``families.json``
    which move families, bodies and cameras each split uses.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from arrange import GENRES, Arrangement, arrange

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))
from dance import pairs
from dance.phrasing import marked_share

from d2m_cli.ground.files import atomic_path
from d2m_cli.ground.genres import genre_code
from d2m_cli.pose.io import save_poses
from d2m_cli.pose.track import CameraMotion, Poses, PoseTrack

RATE = 24000
MUSIC_SECONDS = {"train": 22.0, "validation": 11.0, "test": 11.0}
DRAWN_SECONDS = 10.24
HEADER = ("video", "audio", "genre", "start", "song", "split")


@dataclass(frozen=True)
class Song:
    """One piece of a split."""

    split: str
    index: int
    seed: int

    @property
    def name(self) -> str:
        """Stem of its file."""
        return f"{self.split}_{self.index:04d}_{self.seed}"

    def piece(self) -> Arrangement:
        """Its notes."""
        return arrange(self.seed, MUSIC_SECONDS[self.split] + 0.05)


@dataclass(frozen=True)
class Clip:
    """One dance to a song: where in the music it starts, and what is danced."""

    song: Song
    genre: str
    start: float
    dance: pairs.PairedDance

    @property
    def video(self) -> str:
        """Path of what the rhythm is read from."""
        return f"dances/{self.dance.name}{'.pose.npz' if self.song.split == 'train' else '.mp4'}"

    @property
    def audio(self) -> str:
        """Path of the music."""
        return f"music/{self.song.name}.flac"


def song_of(split: str, index: int) -> Song:
    """The song of a number; those of validation and test go through the genres in turn."""
    first = pairs.SONG_SEEDS[split]
    if split == "train":
        return Song(split, index, first + index)
    wanted = list(GENRES)[index % len(GENRES)]
    seed = first + 1000 * index
    while arrange(seed, 1.0).genre != wanted:
        seed += 1
    return Song(split, index, seed)


def clips_of(song: Song, piece: Arrangement, dances: int) -> list[Clip]:
    """The dances to a song."""
    clips = []
    for number in range(dances if song.split == "train" else 1):
        rng = np.random.default_rng([song.seed, number])
        if song.split == "train":
            seconds = round(float(rng.uniform(16, 20)), 2)
            start = round(float(rng.uniform(0, MUSIC_SECONDS["train"] - seconds)), 4)
        else:
            seconds, start = DRAWN_SECONDS, round(float(rng.uniform(0, 0.7)), 4)
        name = f"{song.name}_{chr(ord('a') + number)}"
        dance = pairs.paired_dance(name, song.split, song.index, number, piece.genre, float(piece.bpm), start, seconds)
        clips.append(Clip(song, genre_code(piece.genre), start, dance))
    return clips


def truth_of(clip: Clip) -> dict[str, object]:
    """What is known of a dance."""
    dance = clip.dance
    accents = dance.accent_times()
    return {
        "genre": dance.genre,
        "bpm": dance.bpm,
        "beats": [round(float(t), 6) for t in dance.beats()],
        "accents": [round(float(t), 4) for t in accents],
        "marked": round(marked_share(accents, dance.beats()), 3),
        "family": dance.parts[0][0],
        "families": sorted({name for name, _ in dance.parts}),
        "body": dance.dancers[0].body,
        "camera": {"name": dance.setup, "size": list(dance.camera.size), "mirror": dance.mirror}
        | dance.camera.describe(),
        "style": asdict(dance.style) | {"size": dance.size, "haste": dance.haste},
        "start": clip.start,
        "seconds": dance.seconds,
    }


def write_text(path: Path, text: str) -> None:
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")


def write_music(song: Song, piece: Arrangement, out: Path, players: list) -> None:
    """Play a song unless its file is there."""
    path = out / "music" / f"{song.name}.flac"
    if path.exists():
        return
    import soundfile

    if not players:
        from render import Player

        players.append(Player(RATE))
    samples = players[0].play(piece)[: round(MUSIC_SECONDS[song.split] * RATE)]
    with atomic_path(path) as part:
        soundfile.write(part, samples, RATE, format="FLAC", subtype="PCM_16")


def write_poses(clip: Clip, out: Path) -> None:
    """Save the keypoints of a training dance unless they are there."""
    path = out / clip.video
    if path.exists():
        return
    seen = pairs.observe_dance(clip.dance)
    track = PoseTrack(seen.keypoints.astype(np.float32), seen.times, seen.size, 0, "choreography")
    camera = None if seen.camera is None else CameraMotion(seen.camera, seen.times)
    save_poses(path, Poses((track,), camera, clip.dance.seconds))


def write_video(clip: Clip, out: Path, factories: list) -> None:
    """Draw a dance unless its video is there."""
    path = out / clip.video
    if path.exists():
        return
    from dance.body import BodyFactory
    from dance.quick_render import frames, scenery
    from make_videos import encode

    if not factories:
        factories.append(BodyFactory())
    started, dance = time.monotonic(), clip.dance
    pictures = frames(dance, factories[0], scenery(dance.camera.hand))
    if dance.mirror:
        pictures = (np.ascontiguousarray(picture[:, ::-1]) for picture in pictures)
    with atomic_path(path) as part:
        encode(part, pictures, dance.fps, dance.camera.size, 23)
    spent = (time.monotonic() - started) / len(dance.times())
    print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB, {spent:.3f} s a frame", file=sys.stderr, flush=True)


def every_song(options: argparse.Namespace) -> Iterator[Song]:
    """All songs of the data, training first."""
    for split, count in zip(
        pairs.SPLITS, (options.train_songs, options.validation_songs, options.test_songs), strict=True
    ):
        for index in range(count):
            yield song_of(split, index)


def write_manifest(options: argparse.Namespace) -> int:
    """List all clips of which video and audio are there; returns their number."""
    rows = []
    for song in every_song(options):
        if (options.out / "music" / f"{song.name}.flac").exists():
            for clip in clips_of(song, song.piece(), options.dances):
                if (options.out / clip.video).exists():
                    rows.append((clip.video, clip.audio, clip.genre, f"{clip.start:.4f}", song.name, song.split))
    with atomic_path(options.out / "manifest.csv") as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows(rows)
    return len(rows)


def main() -> None:
    """Parse, play, dance, draw, list."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--train-songs", type=int, default=700)
    parser.add_argument("--validation-songs", type=int, default=36)
    parser.add_argument("--test-songs", type=int, default=36)
    parser.add_argument("--dances", type=int, default=2, help="dances to each training song")
    parser.add_argument("--only", action="append", choices=pairs.SPLITS, help="this split; may be given again")
    parser.add_argument("--first", type=int, default=0, help="first song of each split to make")
    parser.add_argument("--count", type=int, help="number of songs of each split to make")
    parser.add_argument("--draw", action="store_true", help="draw the videos; everything else must be there already")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    tools: list = []
    started, made = time.monotonic(), 0
    for song in every_song(options):
        part = range(options.first, options.first + options.count if options.count is not None else 1 << 30)
        if song.index not in part or (options.only and song.split not in options.only):
            continue
        piece = song.piece()
        clips = clips_of(song, piece, options.dances)
        if not options.draw:
            write_music(song, piece, options.out, tools)
        for clip in clips:
            if options.draw:
                if song.split != "train":
                    write_video(clip, options.out, tools)
                continue
            write_text(options.out / "dances" / f"{clip.dance.name}.truth.json", json.dumps(truth_of(clip)) + "\n")
            if song.split == "train":
                write_poses(clip, options.out)
        made += 1
        if made % 50 == 0:
            print(f"{song.name}: {made} songs in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    about = {
        split: {
            "families": pairs.FAMILIES_OF[split],
            "bodies": pairs.BODIES_OF[split],
            "cameras": pairs.CAMERAS_OF[split],
        }
        for split in pairs.SPLITS
    }
    write_text(options.out / "families.json", json.dumps(about, indent=1) + "\n")
    print(f"{write_manifest(options)} clips complete", file=sys.stderr)


if __name__ == "__main__":
    main()
