"""The clips of a listening test: which music goes under which dance, drawn, named, made equally loud and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

from d2m_cli.errors import UsageError, VideoError
from d2m_cli.evaluation.pairing import SOUND_SUFFIXES, Missing
from d2m_cli.evaluation.stems import by_stem
from d2m_cli.ground.digests import content_digest
from d2m_cli.ground.search import VIDEO_SUFFIXES
from d2m_cli.media.audio import Samples, load_audio
from d2m_cli.media.loudness import integrated_loudness
from d2m_cli.media.mux import mux, picture_seconds

LOUDNESS = -18.0
"""LUFS to which all clips are brought, unless one of them would then pass full scale."""

_HEADROOM_DB = 1.0
_PLAYED_EVERYWHERE = {"h264": ("yuv420p", "yuvj420p"), "vp9": ("yuv420p",), "av1": ("yuv420p",)}


@dataclass(frozen=True)
class Source:
    """What one item is made from: the dance, and the music of one system for it."""

    clip: str
    system: str
    picture: Path
    sound: Path


def pair_sources(systems: Mapping[str, Path], dances: Path | None) -> tuple[list[tuple[Source, ...]], list[Missing]]:
    """The dances that every system has music for, each with one source a system, and the others."""
    if not systems:
        raise UsageError("no system: name at least one folder of music")
    references = None if dances is None else by_stem(dances, VIDEO_SUFFIXES)
    pictures = {name: by_stem(folder, VIDEO_SUFFIXES) for name, folder in systems.items()}
    # A sound file goes before a video of the same stem, whose sound has been encoded once more.
    sounds = {name: pictures[name] | by_stem(folder, SOUND_SUFFIXES) for name, folder in systems.items()}
    complete: list[tuple[Source, ...]] = []
    incomplete: list[Missing] = []
    for clip in sorted(set().union(*sounds.values())):
        lacks = [f"music of {name}" for name in systems if clip not in sounds[name]]
        if references is None:
            lacks += [f"a video of {name}" for name in systems if clip in sounds[name] and clip not in pictures[name]]
        elif clip not in references:
            lacks.append(f"a dance in {dances}")
        if lacks:
            incomplete.append(Missing(clip, tuple(lacks)))
            continue
        shown = {name: pictures[name][clip] if references is None else references[clip] for name in systems}
        complete.append(tuple(Source(clip, name, shown[name], sounds[name][clip]) for name in systems))
    if not complete:
        reasons = "; ".join(f"{one.clip} lacks {', '.join(one.lacks)}" for one in incomplete[:5])
        raise UsageError(
            "no dance has music by every system; files are paired by their names without suffix. "
            + (reasons or "The folders hold no sound and no video: " + ", ".join(map(str, systems.values())))
        )
    return complete, incomplete


def draw_dances(complete: Sequence[tuple[Source, ...]], count: int | None, seed: int) -> list[tuple[Source, ...]]:
    """Some dances in random order, each with its systems in random order."""
    number = len(complete) if count is None else count
    if not 1 <= number <= len(complete):
        raise UsageError(f"can't use {number} dances: {len(complete)} have music by every system")
    rng = np.random.default_rng(seed)
    chosen = [complete[index] for index in rng.permutation(len(complete))[:number]]
    return [tuple(dance[index] for index in rng.permutation(len(dance))) for dance in chosen]


def name_items(dance: Sequence[Source], seed: int) -> dict[str, Source]:
    """The sources of one dance by the names of their items, which tell nothing of the system."""

    # The sound's content is not on the page as it is, so nobody can check a guess at the name of a system.
    def name(source: Source) -> str:
        text = f"{seed}/{source.clip}/{source.system}/{content_digest(source.sound)}"
        return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()

    return {name(source): source for source in dance}


def _load(path: Path) -> tuple[Samples, int]:
    samples, rate = load_audio(path)
    return (samples if len(samples) <= 2 else samples.mean(axis=0, keepdims=True)), rate


def equal_gains(sources: Mapping[str, Source], same_loudness: bool) -> tuple[dict[str, float], float, list[str]]:
    """Factor for each item, the loudness of all afterwards (the median where they are left as they are), and notes."""
    levels: dict[str, float] = {}
    rooms: dict[str, float] = {}
    notes: list[str] = []
    for name, source in sources.items():
        samples, rate = _load(source.sound)
        samples = samples[:, : round(picture_seconds(source.picture) * rate)]
        level = integrated_loudness(samples, rate)
        if level is None:
            notes.append(f"{source.system}, {source.clip}: silence, or too short to have a loudness")
            continue
        levels[name] = level
        rooms[name] = level - 20.0 * float(np.log10(np.abs(samples).max())) - _HEADROOM_DB
    if not same_loudness or not levels:
        return dict.fromkeys(sources, 1.0), float(np.median(list(levels.values()) or [LOUDNESS])), notes
    lowest = min(rooms, key=lambda name: rooms[name])
    target = min(LOUDNESS, rooms[lowest])
    if target < LOUDNESS:
        source = sources[lowest]
        notes.append(f"all clips are at {target:.1f} LUFS, so that the peaks of {source.system}, {source.clip} fit in")
    return {name: 10.0 ** ((target - levels.get(name, target)) / 20.0) for name in sources}, target, notes


def write_clip(source: Source, gain: float, out: Path) -> tuple[float, str]:
    """Write one item; its length in seconds, and what was done to it in words (empty where nothing was)."""
    samples, rate = _load(source.sound)
    made = mux(source.picture, samples * np.float32(gain), rate, out, titles=False)
    _check_played_everywhere(out, source.picture)
    return made.seconds, made.note.removeprefix("picture copied").removeprefix("; ")


def _check_played_everywhere(made: Path, picture: Path) -> None:
    import av

    with av.open(str(made)) as film:
        codec = film.streams.video[0].codec_context
        name = codec.codec.canonical_name
        if codec.pix_fmt not in _PLAYED_EVERYWHERE.get(name, ()):
            raise VideoError(
                f"{picture}: its picture is {name} ({codec.pix_fmt}), which not every browser plays; "
                "convert it to H.264 (yuv420p)"
            )
