"""Kinds of times: rates, edit lists, late starts, reordered, joined and wrapped streams."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path

from tests.media.made_video import MadeVideo, describe
from tests.media.patching import drop_stamps, set_edits
from tests.media.writing import Packets, Sound, Track, write

COUNT = 50
SLOTS = tuple(range(COUNT))
CLICK_EVERY = 10
WRAP = Fraction(2**33, 90_000)
"""Seconds after which the clock of MPEG-TS and MPEG-PS begins again."""

_NTSC_FILM, _NTSC = Fraction(24000, 1001), Fraction(30000, 1001)
_DROPPED = tuple(slot for slot in range(90) if slot % 7 not in (2, 3) and not 40 <= slot < 60)
_JITTERED = tuple(4 * slot + (0, 1, -1, 0, 2, -1)[slot % 6] for slot in range(COUNT))
_REORDERED = {
    "libx264": {"bf": "3", "x264-params": "b-pyramid=normal:b-adapt=0"},
    "libx265": {"x265-params": "log-level=none:pools=1:bframes=3:b-adapt=0"},
    "mpeg4": {"bf": "2"},
    "mpeg2video": {"bf": "2", "g": "12"},
}
_OPEN = {
    "libx264": {"g": "12", "bf": "3", "x264-params": "b-pyramid=normal:b-adapt=0:open-gop=1:scenecut=0"},
    "libx265": {"x265-params": "log-level=none:pools=1:keyint=12:bframes=3:b-adapt=0:open-gop=1:scenecut=0"},
    "mpeg2video": {"bf": "2", "g": "12", "sc_threshold": "1000000000"},
}
_UNTOLD = frozenset({"ts", "m2ts", "mpg", "vob", "avi", "flv", "wmv", "asf"})

Maker = Callable[[Path, str], MadeVideo]


def sounding(track: Track, codec: str, suffix: str, start: Fraction | None = None) -> Sound:
    """Sound that clicks with every tenth picture and begins and ends with the picture, or begins at `start`."""
    start = track.stamps[0] if start is None else start
    clicks = tuple(stamp for stamp in track.stamps[CLICK_EVERY::CLICK_EVERY] if stamp > start)
    rate = 48000 if codec == "libopus" else 44100
    return Sound(clicks, track.end, start, codec, rate, suffix not in _UNTOLD)


def plain(
    suffix: str,
    track: Track,
    sound: str | None,
    folder: Path,
    kind: str,
    *,
    sound_start: Fraction | None = None,
    end_known: bool = True,
    copied_told: bool = True,
) -> MadeVideo:
    """A file that shows all pictures of its track."""
    heard = sounding(track, sound, suffix, sound_start) if sound else None
    path = write(folder / f"{kind}.{suffix}", track, *([heard] if heard else []))
    return describe(path, kind, track, heard, end_known=end_known, copied_told=copied_told)


def _rates() -> dict[str, Maker]:
    rows: list[tuple[str, str, str, Fraction, str | None]] = [
        ("mp4", "libx264", "23.976", _NTSC_FILM, "aac"),
        ("mkv", "libx264", "23.976", _NTSC_FILM, "pcm_s16le"),
        ("avi", "mpeg4", "23.976", _NTSC_FILM, "pcm_s16le"),
        ("mp4", "libx264", "29.97", _NTSC, None),
        ("mkv", "libx265", "29.97", _NTSC, None),
        ("webm", "libvpx-vp9", "29.97", _NTSC, "libopus"),
        ("ts", "libx264", "29.97", _NTSC, "aac"),
        ("vob", "mpeg2video", "29.97", _NTSC, "mp2"),
        ("flv", "libx264", "29.97", _NTSC, None),
        ("wmv", "wmv2", "29.97", _NTSC, None),
        ("mp4", "libx264", "60", Fraction(60), None),
        ("gif", "gif", "10", Fraction(10), None),
    ]
    return {
        f"{suffix}-rate-{name}": partial(plain, suffix, Track(SLOTS, rate, codec), sound)
        for suffix, codec, name, rate, sound in rows
    }


def _variable() -> dict[str, Maker]:
    rows: list[tuple[str, str, bool]] = [
        ("mp4", "libx264", True),
        ("mov", "mpeg4", True),
        ("mkv", "libx264", True),
        ("webm", "libvpx-vp9", True),
        ("flv", "libx264", False),
        ("ts", "libx264", False),
        ("gif", "gif", True),
    ]
    kinds: dict[str, Maker] = {}
    for suffix, codec, end_known in rows:
        track = Track(_DROPPED, codec=codec, options=_REORDERED.get(codec, {}))
        kinds[f"{suffix}-dropped"] = partial(plain, suffix, track, None, end_known=end_known)
    # Matroska has one length for all pictures, which is none of these; with reordering, the length that an .mp4 has for
    # the last one shown is that of its place in decoding order.
    for name, codec, options, end_known in (
        ("mp4-jittered", "libx264", {}, True),
        ("mp4-jittered-bframes", "libx264", _REORDERED["libx264"], False),
        ("mkv-jittered", "libx264", _REORDERED["libx264"], False),
        ("webm-jittered", "libvpx-vp9", {}, False),
        ("gif-jittered", "gif", {}, True),
    ):
        track = Track(_JITTERED, Fraction(100), codec, options=options, last=4)
        kinds[name] = partial(plain, name.partition("-")[0], track, None, end_known=end_known)
    return kinds


def _reordered() -> dict[str, Maker]:
    rows: list[tuple[str, str, str | None]] = [
        ("mp4", "libx264", "aac"),
        ("mp4", "libx265", None),
        ("mp4", "mpeg4", None),
        ("mov", "libx264", None),
        ("mkv", "libx264", "pcm_s16le"),
        ("mkv", "libx265", None),
        ("mkv", "mpeg2video", None),
        ("ts", "libx264", "aac"),
        ("ts", "libx265", None),
        ("ts", "mpeg2video", "mp2"),
        ("m2ts", "libx264", None),
        ("mpg", "mpeg2video", None),
        ("vob", "mpeg2video", "mp2"),
        ("flv", "libx264", None),
        ("3gp", "libx264", None),
        ("avi", "mpeg4", None),
        ("avi", "libx264", None),
    ]
    return {
        f"{suffix}-bframes-{codec.removeprefix('lib')}": partial(
            plain,
            suffix,
            Track(SLOTS, codec=codec, options=_REORDERED[codec]),
            sound,
            # An .avi doesn't tell when reordered pictures are shown; whether to copy them is the program's choice.
            copied_told=suffix != "avi",
        )
        for suffix, codec, sound in rows
    }


def _from_second_key(packets: Packets) -> Packets:
    """Packets from the second key picture on, as when a recording is cut without encoding it anew."""
    keys = [place for place, packet in enumerate(packets) if packet.is_keyframe]
    return packets[keys[1] :]


def _cut_in_open_gop(suffix: str, codec: str, folder: Path, kind: str) -> MadeVideo:
    """Begins at a key picture whose leading pictures refer to what was cut off and can't be shown."""
    kept: list[int] = []
    track = Track(SLOTS, codec=codec, options=_OPEN[codec])

    def cut(packets: Packets) -> Packets:
        rest = _from_second_key(packets)
        first = round(rest[0].pts * rest[0].time_base * track.rate)
        if not any(packet.pts < rest[0].pts for packet in rest):
            raise ValueError(f"{kind}: the group is closed")
        kept.append(first)
        return rest

    path = write(folder / f"{kind}.{suffix}", replace(track, edit=cut))
    shown = SLOTS[kept[0] :]
    return describe(path, kind, track, numbers=shown, stamps=track.stamps[kept[0] :])


def _open() -> dict[str, Maker]:
    kinds: dict[str, Maker] = {}
    for suffix, codec in (
        ("mp4", "libx264"),
        ("mkv", "libx264"),
        ("ts", "libx264"),
        ("mkv", "libx265"),
        ("ts", "libx265"),
        ("vob", "mpeg2video"),
    ):
        name = f"{suffix}-open-gop-{codec.removeprefix('lib')}"
        kinds[name] = partial(plain, suffix, Track(SLOTS, codec=codec, options=_OPEN[codec]), None)
        if suffix != "mp4":
            kinds[f"{name}-cut"] = partial(_cut_in_open_gop, suffix, codec)
    return kinds


def _late() -> dict[str, Maker]:
    half, hour = Fraction(1, 2), Fraction(3600)
    kinds: dict[str, Maker] = {}
    for suffix, codec, sound in (
        ("mp4", "libx264", "aac"),
        ("mov", "mjpeg", "pcm_s16le"),
        ("mkv", "libx264", "pcm_s16le"),
        ("webm", "libvpx-vp9", "libopus"),
        ("ts", "libx264", "aac"),
        ("vob", "mpeg2video", "mp2"),
        ("flv", "libx264", "aac"),
    ):
        options = _REORDERED.get(codec, {}) if suffix in ("mp4", "ts", "mkv") else {}
        track = Track(SLOTS, codec=codec, options=options)
        late = replace(track, start=half)
        kinds[f"{suffix}-late-picture"] = partial(plain, suffix, late, sound, sound_start=Fraction(0))
        kinds[f"{suffix}-late-sound"] = partial(plain, suffix, track, sound, sound_start=half)
    for suffix, codec in (("mkv", "libx264"), ("webm", "libvpx"), ("ts", "libx264"), ("vob", "mpeg2video")):
        track = Track(SLOTS, codec=codec, start=hour, options=_REORDERED.get(codec, {}))
        kinds[f"{suffix}-from-one-hour"] = partial(plain, suffix, track, None)
    return kinds


def _trimmed(suffix: str, codec: str, sound: str | None, options: dict[str, str], folder: Path, kind: str) -> MadeVideo:
    """An edit list hides pictures 0 to 19, which are there because the rest builds on them."""
    hidden = 20
    track = Track(SLOTS, codec=codec, options=options, start=Fraction(-hidden, 25))
    heard = sounding(track, sound, suffix, Fraction(0)) if sound else None
    path = write(folder / f"{kind}.{suffix}", track, *([heard] if heard else []))
    return describe(path, kind, track, heard, numbers=SLOTS[hidden:], stamps=track.stamps[hidden:])


def _edited(options: dict[str, str], parts: list[tuple[int, int]], folder: Path, kind: str) -> MadeVideo:
    """An edit list shows only the pictures of the given parts (first, last + 1)."""
    track = Track(SLOTS, options=options)
    path = write(folder / f"{kind}.mp4", track)
    # 25 pictures a second: 40 ticks each of the movie's clock, 512 of the track's. Reordering delays by its depth.
    delay = 512 * (2 if options else 0)
    set_edits(path, [(40 * (stop - first), 512 * first + delay) for first, stop in parts])
    numbers = tuple(number for first, stop in parts for number in range(first, stop))
    stamps = [Fraction(place, 25) for place in range(len(numbers))]
    return describe(
        path, kind, track, numbers=numbers, stamps=stamps, end=Fraction(len(numbers), 25), copied_told=False
    )


def _edit_lists() -> dict[str, Maker]:
    reordered = _REORDERED["libx264"]
    return {
        "mp4-trimmed": partial(_trimmed, "mp4", "libx264", None, {}),
        "mp4-trimmed-bframes": partial(_trimmed, "mp4", "libx264", "aac", reordered),
        "mp4-trimmed-x265": partial(_trimmed, "mp4", "libx265", "aac", _REORDERED["libx265"]),
        "mov-trimmed": partial(_trimmed, "mov", "libx264", "pcm_s16le", reordered),
        "mov-trimmed-mpeg4": partial(_trimmed, "mov", "mpeg4", None, {}),
        "mp4-end-hidden": partial(_edited, {}, [(0, 30)]),
        "mp4-end-hidden-bframes": partial(_edited, reordered, [(0, 30)]),
        "mp4-both-hidden-bframes": partial(_edited, reordered, [(10, 30)]),
        "mp4-middle-hidden": partial(_edited, {}, [(0, 20), (30, 50)]),
    }


def _joined(suffix: str, codec: str, sound: str | None, options: dict[str, str], folder: Path, kind: str) -> MadeVideo:
    """Two files put together byte by byte: the stamps jump back in the middle."""
    content = b""
    track = Track(SLOTS[:25], codec=codec, options=options)
    for part in range(2):
        one = replace(track, numbers=tuple(25 * part + slot for slot in track.slots))
        heard = sounding(one, sound, suffix) if sound else None
        content += write(folder / f"{kind}-{part}.{suffix}", one, *([heard] if heard else [])).read_bytes()
    path = folder / f"{kind}.{suffix}"
    path.write_bytes(content)
    return describe(path, kind, Track(SLOTS, codec=codec), copied_told=False)


def _unstamped(suffix: str, codec: str, folder: Path, kind: str) -> MadeVideo:
    """Only every fifth picture has a time stamp."""
    track = Track(SLOTS, codec=codec)
    path = write(folder / f"{kind}.{suffix}", track)
    drop_stamps(path, keep_every=5)
    return describe(path, kind, track, copied_told=False)


def _streams() -> dict[str, Maker]:
    kinds: dict[str, Maker] = {
        "ts-joined": partial(_joined, "ts", "libx264", None, {}),
        "ts-joined-bframes": partial(_joined, "ts", "libx264", "aac", _REORDERED["libx264"]),
        "mpg-joined": partial(_joined, "mpg", "mpeg2video", None, {}),
        "vob-joined-bframes": partial(_joined, "vob", "mpeg2video", "mp2", _REORDERED["mpeg2video"]),
        "ts-unstamped": partial(_unstamped, "ts", "libx264"),
        "ts-unstamped-mpeg2video": partial(_unstamped, "ts", "mpeg2video"),
        "vob-unstamped": partial(_unstamped, "vob", "mpeg2video"),
    }
    for suffix, codec, sound in (("ts", "libx264", "aac"), ("m2ts", "libx264", "ac3"), ("vob", "mpeg2video", "mp2")):
        track = Track(SLOTS, codec=codec, options=_REORDERED[codec], start=WRAP - Fraction(4, 5))
        kinds[f"{suffix}-wrapped"] = partial(plain, suffix, track, sound)
        kinds[f"{suffix}-wrapped-silent"] = partial(plain, suffix, track, None)
    slow = Track(tuple(range(80)), Fraction(1), options={"g": "10"}, start=WRAP - 70)
    kinds["ts-wrapped-after-70-s"] = partial(plain, "ts", slow, None)
    kinds["m2ts-wrapped-after-70-s"] = partial(plain, "m2ts", slow, None)
    quick = replace(slow, codec="mpeg2video", options={})
    kinds["vob-wrapped-after-70-s"] = partial(plain, "vob", quick, None)
    return kinds


KINDS_OF_TIMES: dict[str, Maker] = {
    **_rates(),
    **_variable(),
    **_reordered(),
    **_open(),
    **_late(),
    **_edit_lists(),
    **_streams(),
}
