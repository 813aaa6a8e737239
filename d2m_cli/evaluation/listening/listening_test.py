"""Mean opinion scores (paper, Sec. 4.3): a listening test as one page for a browser, and what its answers say.

People rate how well music and dance go together and how good the music is, from 1 to 5. The paper's text calls 1 the
best, its Table 1 reads as if 5 were; here 5 is best, as in ITU-T P.800, and the page says so.

The page is blinded: every item bears a hash for a name, its media carry no title, and which system an item comes from
is written to a key that stays with the maker. It asks nothing of the network and sends nothing; each participant sends
back a file.
"""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import blake2b
from importlib.resources import files as package_files
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m_cli import __version__
from d2m_cli.errors import InputError, UsageError, VideoError
from d2m_cli.evaluation.pairing import SOUND_SUFFIXES, Missing, by_stem
from d2m_cli.ground.digests import content_digest
from d2m_cli.ground.files import atomic_path
from d2m_cli.ground.search import VIDEO_SUFFIXES
from d2m_cli.ground.statistics import RESAMPLES, Interval, draw_songs, percentiles, ratio
from d2m_cli.media.audio import Samples, load_audio, resample
from d2m_cli.media.mux import mux, picture_seconds

Array = NDArray[np.float64]

SCALES = ("coherence", "quality")
"""What is rated: coherence of music and dance, and quality of the music."""
LOWEST, HIGHEST = 1, 5
LIMIT_BYTES = 200 * 2**20
"""Largest page that `make_listening_test` writes with everything inside."""
LOUDNESS = -18.0
"""LUFS to which all clips are brought, unless one of them would then pass full scale."""
PAGE, KEY, MEDIA = "index.html", "key.json", "media"
KEY_FORMAT, RESULT_FORMAT, FORMAT_VERSION = "d2m-listening-key", "d2m-listening-result", 1

_HEADROOM_DB = 1.0
_PLAYED_EVERYWHERE = {"h264": ("yuv420p", "yuvj420p"), "vp9": ("yuv420p",), "av1": ("yuv420p",)}
_K_WEIGHTING = (
    ((1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585)),
    ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621)),
)


@dataclass(frozen=True)
class ListeningTest:
    """What `make_listening_test` made.

    Attributes
    ----------
    page
        The page to give away; where `media` is not None, together with that folder.
    media
        Folder of the media, or None where they are inside the page.
    key
        Tells which item is which system; not to be given away.
    test
        Digest of the test, which its answers bear.
    systems
        Their names, in the order in which scores are listed.
    clips
        Stems of the dances used.
    items
        How many clips with music there are to rate: systems times dances.
    size
        Bytes of page and media.
    loudness
        LUFS of all clips, or None where they were left as they are.
    incomplete
        Dances that are not used.
    notes
        What was done to single clips, in words: music cut or lengthened, pictures encoded anew, silence.
    """

    page: Path
    media: Path | None
    key: Path
    test: str
    systems: tuple[str, ...]
    clips: tuple[str, ...]
    items: int
    size: int
    loudness: float | None
    incomplete: tuple[Missing, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Source:
    """What one item is made from: the dance, and the music of one system for it."""

    clip: str
    system: str
    picture: Path
    sound: Path


def make_listening_test(
    systems: Mapping[str, Path],
    videos: Path | None,
    out: Path,
    seed: int = 0,
    clips: int | None = None,
    *,
    embed: bool = True,
    repeat: bool = True,
    same_loudness: bool = True,
    limit_bytes: int = LIMIT_BYTES,
) -> ListeningTest:
    """Write a blinded listening test: OUT/index.html to give away, and OUT/key.json to keep.

    Systems and videos are paired by stem (path below the folder, without suffix). Every system is treated alike: its
    sound, from a sound file where there is one and else from its video, is put under the picture by
    `d2m_cli.media.mux.mux`, all titles are removed, and all clips are brought to one loudness, since the louder of two
    is easily taken for the better. The same files and the same seed make the same items and key.

    Parameters
    ----------
    systems
        Folder of sound files or videos of each system; the true music can be one of them.
    videos
        Folder of the dances, or None where each system has videos of its own.
    out
        Folder to write to.
    seed
        Draws dances where there are more than `clips`, and shuffles. Each participant's code shuffles once more.
    clips
        How many dances to use, drawn by chance; None for all.
    embed
        Whether the media are inside the page, which can then be mailed, or in OUT/media.
    repeat
        Whether each participant rates one item a second time, unannounced, to tell how steady the ratings are.
    same_loudness
        Whether all clips are brought to `LOUDNESS`, or as near below as keeps every one of them under full scale.
    limit_bytes
        Largest page with everything inside.

    Raises
    ------
    UsageError
        No system, a folder that is missing, no dance that all systems have, fewer than `clips`, a page over the limit,
        or a folder that holds the key of another test.
    AudioError, VideoError
        A file can't be read, or its picture is none that browsers play.
    OutputError
        A result can't be written.
    """
    out = Path(out)
    complete, incomplete = _pair({name: Path(folder) for name, folder in systems.items()}, videos)
    dances = [_named(dance, seed) for dance in _drawn(complete, clips, seed)]
    sources = {name: source for dance in dances for name, source in dance.items()}
    test = _test_name(sources, repeat, same_loudness)
    _refuse_other_key(out / KEY, test)
    gains, heard, notes = _gains(sources, same_loudness)

    with tempfile.TemporaryDirectory(prefix="d2m-listening-") as folder:
        media: dict[str, Path] = {}
        seconds = 0.0
        for name, source in sources.items():
            media[name] = Path(folder) / f"{name}.mp4"
            length, note = _make_clip(source, gains[name], media[name])
            seconds += length
            notes += [f"{source.system}, {source.clip}: {note}"] if note else []
        document = {
            "test": test,
            "clips": [list(dance) for dance in dances],
            "seconds": round(seconds, 1),
            "loudness": round(heard, 1),
            "repeat": repeat,
        }
        head, tail = _template().replace("{{test}}", json.dumps(document)).split("{{media}}\n")
        size = len((head + tail).encode()) + sum(_size(path, embed) for path in media.values())
        if embed and size > limit_bytes:
            raise UsageError(_too_large(size, limit_bytes, len(dances)))
        # The key first: a page without its key would be of no use.
        with atomic_path(out / KEY) as part:
            part.write_text(_key_text(tuple(systems), dances, document, seed), encoding="utf-8")
        if not embed:
            for path in media.values():
                with atomic_path(out / MEDIA / path.name) as part:
                    part.write_bytes(path.read_bytes())
        with atomic_path(out / PAGE) as part, part.open("w", encoding="utf-8", newline="\n") as page:
            page.write(head)
            if embed:
                page.writelines(_media_element(name, path.read_bytes()) for name, path in media.items())
            page.write(tail)
    return ListeningTest(
        page=out / PAGE,
        media=None if embed else out / MEDIA,
        key=out / KEY,
        test=test,
        systems=tuple(systems),
        clips=tuple(next(iter(dance.values())).clip for dance in dances),
        items=len(sources),
        size=size,
        loudness=heard if same_loudness else None,
        incomplete=tuple(incomplete),
        notes=tuple(notes),
    )


def loudness(samples: Samples, rate: int) -> float | None:
    """Integrated loudness of ITU-R BS.1770-4 in LUFS; None for silence, or under 0.4 s of sound.

    Parameters
    ----------
    samples
        (channels, n) float32, one or two channels.
    rate
        In Hz.
    """
    from scipy.signal import lfilter

    weighted = (samples if rate == 48000 else resample(samples, rate, 48000)).astype(np.float64)
    for numerator, denominator in _K_WEIGHTING:
        weighted = lfilter(numerator, denominator, weighted, axis=1)
    block, step = 19200, 4800
    sums = np.concatenate([[0.0], np.cumsum((weighted**2).sum(axis=0))])
    starts = np.arange(0, len(sums) - block, step)
    powers = (sums[starts + block] - sums[starts]) / block
    powers = powers[powers > 10.0 ** ((-70.0 + 0.691) / 10.0)]
    if not len(powers):
        return None
    powers = powers[powers > 0.1 * powers.mean()]
    return float(-0.691 + 10.0 * np.log10(powers.mean()))


def _pair(systems: Mapping[str, Path], videos: Path | None) -> tuple[list[tuple[_Source, ...]], list[Missing]]:
    """The dances that every system has music for, each with one source a system, and the others."""
    if not systems:
        raise UsageError("no system: name at least one folder of music")
    references = None if videos is None else by_stem(Path(videos), VIDEO_SUFFIXES)
    pictures = {name: by_stem(folder, VIDEO_SUFFIXES) for name, folder in systems.items()}
    # A sound file goes before a video of the same stem, whose sound has been encoded once more.
    sounds = {name: pictures[name] | by_stem(folder, SOUND_SUFFIXES) for name, folder in systems.items()}
    complete: list[tuple[_Source, ...]] = []
    incomplete: list[Missing] = []
    for clip in sorted(set().union(*sounds.values())):
        lacks = [f"music of {name}" for name in systems if clip not in sounds[name]]
        if references is None:
            lacks += [f"a video of {name}" for name in systems if clip in sounds[name] and clip not in pictures[name]]
        elif clip not in references:
            lacks.append(f"a dance in {videos}")
        if lacks:
            incomplete.append(Missing(clip, tuple(lacks)))
            continue
        shown = {name: pictures[name][clip] if references is None else references[clip] for name in systems}
        complete.append(tuple(_Source(clip, name, shown[name], sounds[name][clip]) for name in systems))
    if not complete:
        reasons = "; ".join(f"{one.clip} lacks {', '.join(one.lacks)}" for one in incomplete[:5])
        raise UsageError(
            "no dance has music by every system; files are paired by their names without suffix. "
            + (reasons or "The folders hold no sound and no video: " + ", ".join(map(str, systems.values())))
        )
    return complete, incomplete


def _drawn(complete: Sequence[tuple[_Source, ...]], clips: int | None, seed: int) -> list[tuple[_Source, ...]]:
    """Some dances by chance, in an order by chance, each with its systems in an order by chance."""
    number = len(complete) if clips is None else clips
    if not 1 <= number <= len(complete):
        raise UsageError(f"can't use {number} dances: {len(complete)} have music by every system")
    rng = np.random.default_rng(seed)
    chosen = [complete[index] for index in rng.permutation(len(complete))[:number]]
    return [tuple(dance[index] for index in rng.permutation(len(dance))) for dance in chosen]


def _named(dance: Sequence[_Source], seed: int) -> dict[str, _Source]:
    # The sound's content is not on the page as it is, so nobody can check a guess at the name of a system.
    def name(source: _Source) -> str:
        text = f"{seed}/{source.clip}/{source.system}/{content_digest(source.sound)}"
        return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()

    return {name(source): source for source in dance}


def _test_name(sources: Mapping[str, _Source], repeat: bool, same_loudness: bool) -> str:
    pictures = {path: content_digest(path) for path in {source.picture for source in sources.values()}}
    shown = {name: pictures[source.picture] for name, source in sources.items()}
    text = json.dumps([KEY_FORMAT, FORMAT_VERSION, repeat, same_loudness, shown])
    return blake2b(text.encode(), digest_size=8).hexdigest()


def _refuse_other_key(path: Path, test: str) -> None:
    if path.exists() and _read_key(path).test != test:
        raise UsageError(f"{path} is another test's key, without which its answers are lost; choose another folder")


def _load(path: Path) -> tuple[Samples, int]:
    samples, rate = load_audio(path)
    return (samples if len(samples) <= 2 else samples.mean(axis=0, keepdims=True)), rate


def _gains(sources: Mapping[str, _Source], same_loudness: bool) -> tuple[dict[str, float], float, list[str]]:
    """Factor for each item, the loudness of all afterwards (the median where they are left as they are), and notes."""
    levels: dict[str, float] = {}
    rooms: dict[str, float] = {}
    notes: list[str] = []
    for name, source in sources.items():
        samples, rate = _load(source.sound)
        samples = samples[:, : round(picture_seconds(source.picture) * rate)]
        level = loudness(samples, rate)
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


def _make_clip(source: _Source, gain: float, out: Path) -> tuple[float, str]:
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


def _template() -> str:
    return package_files("d2m_cli.evaluation.listening").joinpath("page.html").read_text(encoding="utf-8")


def _media_element(name: str, content: bytes) -> str:
    return f'<script type="text/plain" id="m-{name}">{base64.b64encode(content).decode("ascii")}</script>\n'


def _size(path: Path, embed: bool) -> int:
    size = path.stat().st_size
    return len(_media_element(path.stem, b"")) + -(-size // 3) * 4 if embed else size


def _too_large(size: int, limit: int, dances: int) -> str:
    fitting = dances * limit // size
    fewer = f"use fewer dances (--dances-in-test {fitting} of {dances}), or " if fitting else ""
    return (
        f"the page would have {size / 2**20:.1f} MiB, more than {limit / 2**20:.1f} MiB: {fewer}"
        "leave the media beside it (--no-embed)"
    )


def _key_text(
    systems: Sequence[str], dances: Sequence[Mapping[str, _Source]], document: Mapping[str, Any], seed: int
) -> str:
    key = {
        "format": KEY_FORMAT,
        "version": FORMAT_VERSION,
        "d2m": __version__,
        "test": document["test"],
        "seed": seed,
        "repeat": document["repeat"],
        "loudness": document["loudness"],
        "systems": list(systems),
        "clips": [
            {
                "clip": next(iter(dance.values())).clip,
                "items": {name: source.system for name, source in dance.items()},
            }
            for dance in dances
        ],
    }
    return json.dumps(key, indent=1, ensure_ascii=False) + "\n"


@dataclass(frozen=True)
class Opinion:
    """Mean opinion score of one system on one scale.

    Attributes
    ----------
    system, scale
        Which.
    mean
        Mean of all ratings, 1 to 5; None where there is none.
    low, high
        Its 95 % interval, or None where fewer than two participants or two dances were rated.
    ratings, participants, clips
        How many there are.
    """

    system: str
    scale: str
    mean: float | None
    low: float | None
    high: float | None
    ratings: int
    participants: int
    clips: int


@dataclass(frozen=True)
class Difference:
    """How much higher one system was rated than another, by the same people for the same dances.

    Attributes
    ----------
    first, second, scale
        Which.
    mean
        Mean of first minus second, -4 to 4; None where nobody rated both.
    low, high
        Its 95 % interval, or None as in `Opinion`. Each holds for one comparison: of twenty pairs of
        equal systems, about one will seem to differ.
    pairs
        How many pairs of ratings there are.
    """

    first: str
    second: str
    scale: str
    mean: float | None
    low: float | None
    high: float | None
    pairs: int

    @property
    def verdict(self) -> str:
        """In words what the interval shows."""
        if self.low is None or self.high is None:
            return "too few ratings to tell"
        if self.low <= 0.0 <= self.high:
            return "no difference shown"
        return f"{self.first if self.low > 0.0 else self.second} is rated higher"


@dataclass(frozen=True)
class Repeat:
    """What one participant said to the same item the second time, less what they said at first."""

    participant: str
    clip: str
    system: str
    coherence: int
    quality: int


@dataclass(frozen=True)
class Unplayed:
    """An item that a participant's browser could not play, with the reason that the page noted."""

    participant: str
    clip: str
    system: str
    reason: str


@dataclass(frozen=True)
class LeftOut:
    """A file of answers that does not count, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Scores:
    """What the answers to one listening test say.

    Attributes
    ----------
    test
        Digest of the test.
    participants, clips
        How many people's answers count, and how many dances there are.
    opinions
        By system in the order of the key, and scale.
    differences
        Of all pairs of systems, by scale.
    repeats
        How steady participants are, one line for each who rated an item twice; second ratings count nowhere else.
    unplayed
        What was skipped since it could not be played.
    refused
        Files that are no answers to this test.
    replaced
        Files after which the same participant sent a later one.
    """

    test: str
    participants: int
    clips: int
    opinions: tuple[Opinion, ...]
    differences: tuple[Difference, ...]
    repeats: tuple[Repeat, ...]
    unplayed: tuple[Unplayed, ...]
    refused: tuple[LeftOut, ...]
    replaced: tuple[LeftOut, ...]

    def rows(self) -> list[dict[str, str | int | float | None]]:
        """One line a system: its name, and mean, low, high, ratings and participants of each scale."""
        lines: dict[str, dict[str, str | int | float | None]] = {}
        for opinion in self.opinions:
            line = lines.setdefault(opinion.system, {"system": opinion.system})
            line[opinion.scale] = opinion.mean
            for name in ("low", "high", "ratings", "participants"):
                line[f"{opinion.scale}_{name}"] = getattr(opinion, name)
        return list(lines.values())

    def to_json(self) -> dict[str, Any]:
        """All of it as values that JSON can hold."""
        document = asdict(self)
        for difference, line in zip(self.differences, document["differences"], strict=True):
            line["verdict"] = difference.verdict
        for name in ("refused", "replaced"):
            for line in document[name]:
                line["path"] = str(line["path"])
        return {"format": "d2m-listening-scores", "version": FORMAT_VERSION, **document}


def read_results(files: Iterable[Path], key: Path, resamples: int = RESAMPLES, seed: int = 0) -> Scores:
    """Mean opinion scores from the files that participants sent back.

    A score is to hold for other people and other dances, so both are drawn with replacement, each on its own, and a
    rating counts as often as its participant times its dance was drawn (Owen, "The pigeonhole bootstrap", 2007). The
    usual interval over participants alone takes these very dances for all there are and is too narrow; a bootstrap over
    single ratings takes each of them for independent, and is narrower still. This one errs a little to the wide side.
    With fewer than about ten participants or dances it can still be too narrow.

    Parameters
    ----------
    files
        Files as the page saves them. One that is none, or is of another test, is left out and listed; of several by one
        participant (letter case aside) the one finished last counts.
    key
        KEY.json of the test.
    resamples, seed
        How many times people and dances are drawn, and by which seed.

    Raises
    ------
    InputError
        The key is none, or none of the files can be used.
    """
    names = _read_key(Path(key))
    latest: dict[str, _Answers] = {}
    refused: list[LeftOut] = []
    replaced: list[LeftOut] = []
    for path in map(Path, files):
        try:
            answers = _read_answers(path, names)
        except InputError as error:
            refused.append(LeftOut(path, str(error).removeprefix(f"{path}: ")))
            continue
        who = answers.participant.casefold()
        if who in latest:
            older, answers = sorted((latest[who], answers), key=lambda one: one.finished)
            replaced.append(LeftOut(older.path, f"{older.participant} finished {answers.path} later"))
        latest[who] = answers
    if not latest:
        reasons = "; ".join(f"{one.path}: {one.reason}" for one in refused[:5])
        raise InputError(f"no file of answers can be used: {reasons or 'none was given'}")
    return _scores(names, [latest[who] for who in sorted(latest)], refused, replaced, resamples, seed)


@dataclass(frozen=True)
class _Key:
    """Which item is which."""

    test: str
    repeat: bool
    systems: tuple[str, ...]
    clips: tuple[str, ...]
    items: Mapping[str, tuple[int, int]]
    """Number of clip and system of each item."""

    def of(self, item: str) -> tuple[str, str]:
        clip, system = self.items[item]
        return self.clips[clip], self.systems[system]


@dataclass(frozen=True)
class _Answers:
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


def _read_key(path: Path) -> _Key:
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
        return _Key(str(document["test"]), bool(document["repeat"]), systems, clips, items)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: is a damaged key of a listening test ({error}); make the test again") from error


def _read_answers(path: Path, key: _Key) -> _Answers:
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
    return _Answers(path, participant, finished, first, again)


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


def _scores(
    key: _Key,
    answers: Sequence[_Answers],
    refused: Sequence[LeftOut],
    replaced: Sequence[LeftOut],
    resamples: int,
    seed: int,
) -> Scores:
    values = np.full((len(answers), len(key.clips), len(key.systems), len(SCALES)), np.nan)
    unplayed: list[Unplayed] = []
    repeats: list[Repeat] = []
    for person, answer in enumerate(answers):
        for item, rating in answer.first.items():
            if isinstance(rating, str):
                unplayed.append(Unplayed(answer.participant, *key.of(item), rating))
            else:
                values[(person, *key.items[item])] = rating
        for item, rating in answer.again.items():
            before = answer.first[item]
            if not isinstance(rating, str) and not isinstance(before, str):
                change = (now - then for now, then in zip(rating, before, strict=True))
                repeats.append(Repeat(answer.participant, *key.of(item), *change))

    opinions: list[Opinion] = []
    for number, system in enumerate(key.systems):
        table = values[:, :, number]
        there = np.isfinite(table)
        for column, estimate in enumerate(_estimates(table, resamples, seed)):
            rated = there[:, :, column]
            people, clips = int(rated.any(axis=1).sum()), int(rated.any(axis=0).sum())
            opinions.append(Opinion(system, SCALES[column], *estimate, int(rated.sum()), people, clips))
    differences: list[Difference] = []
    for first, second in combinations(range(len(key.systems)), 2):
        table = values[:, :, first] - values[:, :, second]
        for column, estimate in enumerate(_estimates(table, resamples, seed)):
            count = int(np.isfinite(table[:, :, column]).sum())
            names = key.systems[first], key.systems[second]
            differences.append(Difference(*names, SCALES[column], *estimate, count))
    return Scores(
        key.test,
        len(answers),
        len(key.clips),
        tuple(opinions),
        tuple(differences),
        tuple(repeats),
        tuple(unplayed),
        tuple(refused),
        tuple(replaced),
    )


def crossed_bootstrap(values: Array, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """95 % intervals of means over participants and dances, both drawn with replacement (see `read_results`).

    Parameters
    ----------
    values
        (participants, clips, v); NaN where there is no value.
    resamples, seed
        As in `read_results`.

    Returns
    -------
    (v,) each; NaN where fewer than two participants, or two clips, have a value.
    """
    people, clips, width = values.shape
    there = np.isfinite(values)
    weights = draw_songs(people, resamples, seed), draw_songs(clips, resamples, seed + 1)

    def drawn(table: Array) -> Array:
        by_clip = (weights[0] @ table.reshape(people, -1)).reshape(resamples, clips, width)
        return np.asarray(np.einsum("rc,rcv->rv", weights[1], by_clip))

    several = (there.any(axis=1).sum(axis=0) >= 2) & (there.any(axis=0).sum(axis=0) >= 2)
    means = ratio(drawn(np.where(there, values, 0.0)), drawn(there.astype(np.float64)))
    return percentiles(np.where(several, means, np.nan))


def _estimates(table: Array, resamples: int, seed: int) -> list[tuple[float | None, float | None, float | None]]:
    """Mean, low and high of each column, None where there is none."""
    interval = crossed_bootstrap(table, resamples, seed)
    columns = np.moveaxis(table, 2, 0)
    means = [column[np.isfinite(column)].mean() if np.isfinite(column).any() else np.nan for column in columns]

    def known(value: float) -> float | None:
        return None if np.isnan(value) else float(value)

    lines = zip(means, interval.low, interval.high, strict=True)
    return [(known(mean), known(low), known(high)) for mean, low, high in lines]
