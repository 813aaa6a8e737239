"""A listening test (paper, Sec. 4.3) as one page for a browser.

People rate how well music and dance go together and how good the music is, from 1 to 5. The paper's text calls 1 the
best, its Table 1 reads as if 5 were; here 5 is best, as in ITU-T P.800, and the page says so.

The page is blinded: every item bears a hash for a name, its media carry no title, and which system an item comes from
is written to a key that stays with the maker. It asks nothing of the network and sends nothing; each participant sends
back a file, which `d2m_cli.evaluation.listening.opinions` scores.
"""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

from d2m_cli import __version__
from d2m_cli.errors import UsageError
from d2m_cli.evaluation.listening.answers import FORMAT_VERSION, KEY_FORMAT, read_key
from d2m_cli.evaluation.listening.clips import Source, draw_dances, equal_gains, name_items, pair_sources, write_clip
from d2m_cli.evaluation.pairing import Missing
from d2m_cli.ground.digests import content_digest
from d2m_cli.ground.files import atomic_path
from d2m_cli.ground.options import option
from d2m_cli.ground.progress import Progress

LIMIT_BYTES = 200 * 2**20
"""Largest page that `make_listening_test` writes with everything inside."""
PAGE, KEY, MEDIA = "index.html", "key.json", "media"
TRUE_MUSIC = "true music"
"""Name of the true music as a system."""


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
        What was done to single clips, in words: music cut or lengthened, pictures re-encoded, silence.
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


def with_true_music(systems: Mapping[str, Path], reference: Path | None) -> dict[str, Path]:
    """The systems of a listening test: the true music, where it is given, is one of them.

    Raises
    ------
    UsageError
        A system has its name.
    """
    if reference is None:
        return dict(systems)
    if TRUE_MUSIC in systems:
        raise UsageError(
            f"{option('reference')} is listed as {TRUE_MUSIC!r} in a listening test; give that system another name"
        )
    return {**systems, TRUE_MUSIC: reference}


def make_listening_test(
    systems: Mapping[str, Path],
    out: Path,
    *,
    dances: Path | None = None,
    count: int | None = None,
    seed: int = 0,
    embed: bool = True,
    same_loudness: bool = True,
    limit_bytes: int = LIMIT_BYTES,
    progress: Progress | None = None,
) -> ListeningTest:
    """Write a blinded listening test: OUT/index.html to give away, and OUT/key.json to keep.

    Systems and dances are paired by stem (path below the folder, without suffix). Every system is treated alike: its
    sound, from a sound file where there is one and else from its video, is put under the picture by
    `d2m_cli.media.mux.mux`, all titles are removed, and all clips are brought to one loudness, since the louder of two
    is easily taken for the better. Each participant rates one item a second time, unannounced, which tells how steady
    the ratings are. The same files and the same seed make the same items and key.

    Parameters
    ----------
    systems
        Folder of sound files or videos of each system; the true music can be one of them.
    out
        Folder to write to.
    dances
        Folder of the dance videos, or None where each system has videos of its own.
    count
        How many dances to use, drawn by chance; None for all.
    seed
        Random seed of the dances and of their order. Each participant's code shuffles once more.
    embed
        Whether the media are inside the page, which can then be mailed, or in OUT/media.
    same_loudness
        Whether all clips are brought to `d2m_cli.evaluation.listening.clips.LOUDNESS`, or as near below as keeps every
        one of them under full scale.
    limit_bytes
        Largest page with everything inside.
    progress
        Told where the work is; None for silence.

    Raises
    ------
    UsageError
        No system, a folder that is missing, no dance that all systems have, fewer than `count`, a page over the limit,
        or a folder that holds the key of another test.
    AudioError, VideoError
        A file can't be read, or its picture is none that browsers play.
    OutputError
        A result can't be written.
    """
    complete, incomplete = pair_sources(systems, dances)
    drawn = [name_items(dance, seed) for dance in draw_dances(complete, count, seed)]
    sources = {name: source for dance in drawn for name, source in dance.items()}
    test = _test_name(sources, same_loudness)
    _refuse_other_key(out / KEY, test)
    told = progress or Progress(quiet=True)
    with told.busy("measuring the loudness of all clips"):
        gains, level, notes = equal_gains(sources, same_loudness)

    with (
        tempfile.TemporaryDirectory(prefix="d2m-listening-") as folder,
        told.stage("writing clips", len(sources)) as advance,
    ):
        media: dict[str, Path] = {}
        seconds = 0.0
        for name, source in sources.items():
            media[name] = Path(folder) / f"{name}.mp4"
            length, note = write_clip(source, gains[name], media[name])
            seconds += length
            notes += [f"{source.system}, {source.clip}: {note}"] if note else []
            advance(1, f"{source.system}, {source.clip}")
        document = {
            "test": test,
            "clips": [list(dance) for dance in drawn],
            "seconds": round(seconds, 1),
            "loudness": round(level, 1),
            "repeat": True,
        }
        key = _key_text(tuple(systems), drawn, document, seed)
        size = _write(out, document, key, media, embed, limit_bytes)
    return ListeningTest(
        page=out / PAGE,
        media=None if embed else out / MEDIA,
        key=out / KEY,
        test=test,
        systems=tuple(systems),
        clips=tuple(next(iter(dance.values())).clip for dance in drawn),
        items=len(sources),
        size=size,
        loudness=level if same_loudness else None,
        incomplete=tuple(incomplete),
        notes=tuple(notes),
    )


def _write(
    out: Path, document: Mapping[str, Any], key: str, media: Mapping[str, Path], embed: bool, limit_bytes: int
) -> int:
    """Write key, media and page; the bytes of page and media."""
    head, tail = _template().replace("{{test}}", json.dumps(document)).split("{{media}}\n")
    size = len((head + tail).encode()) + sum(_size(path, embed) for path in media.values())
    if embed and size > limit_bytes:
        raise UsageError(_too_large(size, limit_bytes, len(document["clips"])))
    # The key first: a page without its key would be of no use.
    with atomic_path(out / KEY) as part:
        part.write_text(key, encoding="utf-8")
    if not embed:
        for path in media.values():
            with atomic_path(out / MEDIA / path.name) as part:
                part.write_bytes(path.read_bytes())
    with atomic_path(out / PAGE) as part, part.open("w", encoding="utf-8", newline="\n") as page:
        page.write(head)
        if embed:
            page.writelines(_media_element(name, path.read_bytes()) for name, path in media.items())
        page.write(tail)
    return size


def _test_name(sources: Mapping[str, Source], same_loudness: bool) -> str:
    pictures = {path: content_digest(path) for path in {source.picture for source in sources.values()}}
    shown = {name: pictures[source.picture] for name, source in sources.items()}
    text = json.dumps([KEY_FORMAT, FORMAT_VERSION, True, same_loudness, shown])
    return blake2b(text.encode(), digest_size=8).hexdigest()


def _refuse_other_key(path: Path, test: str) -> None:
    if path.exists() and read_key(path).test != test:
        raise UsageError(f"{path} is another test's key, without which its answers are lost; choose another folder")


def _template() -> str:
    return package_files("d2m_cli.evaluation.listening").joinpath("page.html").read_text(encoding="utf-8")


def _media_element(name: str, content: bytes) -> str:
    return f'<script type="text/plain" id="m-{name}">{base64.b64encode(content).decode("ascii")}</script>\n'


def _size(path: Path, embed: bool) -> int:
    size = path.stat().st_size
    return len(_media_element(path.stem, b"")) + -(-size // 3) * 4 if embed else size


def _too_large(size: int, limit: int, dances: int) -> str:
    fitting = dances * limit // size
    fewer = f"use fewer dances ({option('count', fitting)} of {dances}), or " if fitting else ""
    return (
        f"the page would have {size / 2**20:.1f} MiB, more than {limit / 2**20:.1f} MiB: {fewer}"
        f"write the media beside it ({option('embed', False)})"
    )


def _key_text(
    systems: Sequence[str], dances: Sequence[Mapping[str, Source]], document: Mapping[str, Any], seed: int
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
