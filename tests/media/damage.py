"""Damaged and hostile files: what downloads, cameras and people do to videos, the same for the same seed."""

from __future__ import annotations

import io
import json
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from tests.media.made_videos import make
from tests.media.pattern import draw
from tests.media.writing import Sound, write

SOURCES = (
    "mp4-bframes-x264",
    "mp4-trimmed-bframes",
    "mov-mjpeg",
    "mkv-x264",
    "webm-vpx-vp9",
    "avi-mpeg4",
    "ts-x264",
    "m2ts-x264",
    "mpg-mpeg2video",
    "vob-mpeg2video",
    "flv-x264",
    "wmv-wmv2",
    "3gp-h263",
    "gif-gif",
)
"""Kinds of made videos that are damaged."""

_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mpg", ".flv", ".wmv", ".3gp")

_ISO_SUFFIXES = (".mp4", ".mov", ".3gp")

# What stands in front of sizes, counts, lengths and times in each container.
_ISO = (
    *(b"ftyp", b"moov", b"mvhd", b"trak", b"tkhd", b"edts", b"elst", b"mdia", b"mdhd", b"hdlr", b"minf", b"stbl"),
    *(b"stsd", b"stts", b"ctts", b"stsc", b"stsz", b"stco", b"stss", b"avcC", b"esds", b"mdat"),
)
_EBML = tuple(
    bytes.fromhex(identifier)
    for identifier in (
        *("1a45dfa3", "18538067", "1549a966", "2ad7b1", "4489", "1654ae6b", "ae", "d7", "83", "86", "63a2", "23e383"),
        *("e0", "b0", "ba", "1f43b675", "e7", "a3", "a0", "a1", "9b", "1c53bb6b", "1254c367"),
    )
)
_PES = (
    b"\0\0\1\xe0",
    b"\0\0\1\xc0",
    b"\0\0\1\xba",
    b"\0\0\1\xbb",
    b"\0\0\1\xb3",
    b"\0\0\1\xb5",
    b"\x47\x40",
    b"\x47\x41",
)
_RIFF = (b"RIFF", b"hdrl", b"avih", b"strl", b"strh", b"strf", b"movi", b"00dc", b"01wb", b"idx1")
_FIELDS = {
    **dict.fromkeys(_ISO_SUFFIXES, _ISO),
    **dict.fromkeys((".mkv", ".webm"), _EBML),
    **dict.fromkeys((".ts", ".m2ts", ".mpg", ".vob"), _PES),
    ".avi": _RIFF,
    ".flv": (b"FLV", b"onMetaData", b"duration", b"\x09\0\0", b"\x08\0\0"),
    ".wmv": tuple(bytes.fromhex(part) for part in ("3026b275", "a1dcab8c", "9107dcb7", "3626b275", "828200")),
    ".gif": (b"GIF89a", b"\x21\xf9", b"\x2c\0\0", b"NETSCAPE"),
}

# Where times are written: marks, places of the first byte counted from the mark's, and bytes.
_TIMES: dict[str, tuple[tuple[bytes, ...], int, int]] = {
    **dict.fromkeys(_ISO_SUFFIXES, ((b"stts",), 16, 4)),
    **dict.fromkeys((".mkv", ".webm"), ((b"\xa3", b"\x2a\xd7\xb1"), 4, 3)),
    **dict.fromkeys((".ts", ".m2ts", ".mpg", ".vob"), ((b"\0\0\1\xe0",), 9, 5)),
    ".avi": ((b"strh",), 28, 4),
    ".flv": ((b"\x09\0\0",), 4, 4),
    ".wmv": ((b"\x82\0\0",), 5, 4),
    ".gif": ((b"\x21\xf9",), 4, 2),
}
_OF_ISO = frozenset({"table changed", "huge count"})

Damage = Callable[[bytes, str, np.random.Generator], bytes]


@dataclass(frozen=True)
class DamagedFile:
    """A file that may not be readable.

    Attributes
    ----------
    path
        The file.
    kind
        What was done to it.
    hopeless
        Whether no picture can be right: nothing that is a film is left in it.
    """

    path: Path
    kind: str
    hopeless: bool


def damaged_files(folder: Path, count: int, seed: int) -> list[DamagedFile]:
    """Write so many damaged files into a folder, all kinds in turn.

    Files that the playlists among them refer to are written too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as whole:
        sources = [make(kind, Path(whole)).path for kind in SOURCES]
        contents = [(source.read_bytes(), source.suffix) for source in sources]
    if count:
        (folder / "part.bin").write_bytes(contents[SOURCES.index("ts-x264")][0])
    kinds = list({**_DAMAGES, **_HOPELESS})
    files = []
    for number in range(count):
        kind = kinds[number % len(kinds)]
        rng = np.random.default_rng([seed, number])
        if kind in _HOPELESS:
            content, suffix = _HOPELESS[kind](rng), str(rng.choice(_SUFFIXES))
        else:
            fit = [one for one in contents if one[1] in _ISO_SUFFIXES or kind not in _OF_ISO]
            whole_content, suffix = fit[rng.integers(len(fit))]
            content = _DAMAGES[kind](whole_content, suffix, rng)
            if kind == "wrong suffix":
                suffix = str(rng.choice([other for other in _SUFFIXES if other != suffix]))
        if kind == "photo" and rng.random() < 0.5:
            suffix = ".jpg"
        path = folder / f"{number:04d} {kind}{suffix}"
        path.write_bytes(content)
        files.append(DamagedFile(path, kind, kind in _HOPELESS))
    return files


def _part(content: bytes, rng: np.random.Generator, longest: float = 0.3) -> tuple[int, int]:
    """Start and end of a random part."""
    length = int(rng.integers(1, max(2, int(longest * len(content)))))
    start = int(rng.integers(0, max(1, len(content) - length)))
    return start, start + length


def _cut(content: bytes, suffix: str, rng: np.random.Generator) -> bytes:
    return content[: rng.integers(1, len(content))]


def _cut_early(content: bytes, suffix: str, rng: np.random.Generator) -> bytes:
    return content[: rng.integers(1, 2000)]


def _flip_bits(content: bytes, suffix: str, rng: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for place in rng.integers(0, len(content), rng.integers(1, 30)):
        changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _change_bytes(content: bytes, suffix: str, rng: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for place in rng.integers(0, len(content), rng.integers(1, max(2, len(content) // 200))):
        changed[place] = int(rng.integers(256))
    return bytes(changed)


def _change_head(content: bytes, suffix: str, rng: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for place in rng.integers(0, min(400, len(content)), rng.integers(1, 6)):
        changed[place] = int(rng.integers(256))
    return bytes(changed)


def _zero(content: bytes, suffix: str, rng: np.random.Generator) -> bytes:
    start, end = _part(content, rng)
    return content[:start] + bytes(end - start) + content[end:]


def _randomise(content: bytes, suffix: str, rng: np.random.Generator) -> bytes:
    start, end = _part(content, rng)
    return content[:start] + rng.bytes(end - start) + content[end:]


def _cut_out(content: bytes, suffix: str, rng: np.random.Generator) -> bytes:
    start, end = _part(content, rng)
    return content[:start] + content[end:]


def _double(content: bytes, suffix: str, rng: np.random.Generator) -> bytes:
    start, end = _part(content, rng)
    return content[:end] + content[start:]


def _swap(content: bytes, suffix: str, rng: np.random.Generator) -> bytes:
    first, second, third = sorted(int(place) for place in rng.integers(0, len(content), 3))
    return content[:first] + content[second:third] + content[first:second] + content[third:]


def _prepend(content: bytes, suffix: str, rng: np.random.Generator) -> bytes:
    return rng.bytes(int(rng.integers(1, 3000))) + content


def _append(content: bytes, suffix: str, rng: np.random.Generator) -> bytes:
    return content + rng.bytes(int(rng.integers(1, 30_000)))


def _keep(content: bytes, suffix: str, rng: np.random.Generator) -> bytes:
    return content


def _change_field(content: bytes, suffix: str, rng: np.random.Generator) -> bytes:
    """Another number in a field of a header: a size, count, length or time that is not so."""
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        marks = [mark for mark in _FIELDS[suffix] if mark in content]
        mark = marks[rng.integers(len(marks))]
        places = [place for place in range(len(content)) if content.startswith(mark, place)]
        place = places[rng.integers(len(places))] + int(rng.choice([-4, len(mark)])) + int(rng.choice([0, 0, 4, 8, 12]))
        size = int(rng.choice([1, 2, 4, 8]))
        place = min(max(place, 0), len(content) - size)
        order: Literal["little", "big"] = "little" if suffix in (".avi", ".wmv", ".gif") else "big"
        old = int.from_bytes(changed[place : place + size], order)
        top = 1 << 8 * size
        new = [0, 1, top - 1, top // 2, top // 2 - 1, old + 1, old - 1, old ^ 1 << int(rng.integers(8 * size))]
        changed[place : place + size] = (new[rng.integers(len(new))] % top).to_bytes(size, order)
    return bytes(changed)


def _change_table(content: bytes, suffix: str, rng: np.random.Generator) -> bytes:
    """A number in a table of samples of an ISO file."""
    tables = [name for name in (b"stts", b"ctts", b"stsc", b"stsz", b"stco", b"elst") if name in content]
    changed = bytearray(content)
    start = content.index(tables[rng.integers(len(tables))])
    (size,) = struct.unpack_from(">I", content, start - 4)
    place = start + 8 + 4 * int(rng.integers(max(1, (size - 12) // 4)))
    values = [0, 1, 0x10, 0x7FFFFFFF, 0xFFFFFFFF, 0x40000000, int(rng.integers(1 << 32))]
    struct.pack_into(">I", changed, min(place, len(changed) - 4), values[rng.integers(len(values))])
    return bytes(changed)


def _huge_count(content: bytes, suffix: str, rng: np.random.Generator) -> bytes:
    """Far more samples in the first row of an ISO file's table of durations than the file has bytes."""
    changed = bytearray(content)
    struct.pack_into(">I", changed, content.index(b"stts") + 12, int(rng.integers(1 << 20, 1 << 31)))
    return bytes(changed)


def _change_times(content: bytes, suffix: str, rng: np.random.Generator) -> bytes:
    """Times that jump: a time stamp, or what stamps are counted in, is another from a random place on."""
    changed = bytearray(content)
    marks, offset, size = _TIMES[suffix]
    places = [place for mark in marks for place in range(len(content)) if content.startswith(mark, place)]
    for place in places[int(rng.integers(len(places))) :][: int(rng.integers(1, 20))]:
        if place + offset + size <= len(changed):
            changed[place + offset] ^= 1 << int(rng.integers(1, 4))
            changed[place + offset + size - 1] ^= int(rng.integers(256))
    return bytes(changed)


def _empty(rng: np.random.Generator) -> bytes:
    return b""


def _one_byte(rng: np.random.Generator) -> bytes:
    return rng.bytes(1)


def _noise(rng: np.random.Generator) -> bytes:
    return rng.bytes(int(rng.integers(100, 50_000)))


def _text(rng: np.random.Generator) -> bytes:
    pages = [
        "<html><head><title>404 Not Found</title></head></html>\n",
        json.dumps({"error": "expired"}),
        "dance\n" * 400,
    ]
    return pages[rng.integers(len(pages))].encode()


def _playlist(rng: np.random.Generator) -> bytes:
    """Lists that refer to `part.bin` beside them, or to what no video should be able to read."""
    target = ["part.bin", "/etc/hostname", "http://127.0.0.1:9/part.ts", "subfile,,start,0,end,100,,:part.bin"]
    name = target[rng.integers(len(target))]
    lists = [
        f"ffconcat version 1.0\nfile '{name}'\nduration 2\nfile '{name}'\n",
        f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\n{name}\n#EXT-X-ENDLIST\n",
        '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT2S"><Period><AdaptationSet mimeType="video/mp2t"><Representation id="1" '
        f'bandwidth="1000"><BaseURL>{name}</BaseURL></Representation></AdaptationSet></Period></MPD>\n',
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=dance\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
        "a=rtpmap:96 H264/90000\n",
        f"[playlist]\nFile1={name}\nLength1=2\nNumberOfEntries=1\nVersion=2\n",
    ]
    return lists[rng.integers(len(lists))].encode()


def _photo(rng: np.random.Generator) -> bytes:
    file = io.BytesIO()
    Image.fromarray(draw(int(rng.integers(128)))).save(file, str(rng.choice(["jpeg", "png", "bmp", "webp", "tiff"])))
    return file.getvalue()


@cache
def _sounds() -> tuple[bytes, ...]:
    contents = []
    with tempfile.TemporaryDirectory() as folder:
        for suffix, codec in (("mp4", "aac"), ("mkv", "pcm_s16le"), ("wav", "pcm_s16le"), ("ts", "mp2")):
            path = Path(folder) / f"sound.{suffix}"
            contents.append(write(path, Sound((Fraction(1, 2),), Fraction(1), codec=codec)).read_bytes())
    return tuple(contents)


def _sound(rng: np.random.Generator) -> bytes:
    return _sounds()[rng.integers(len(_sounds()))]


_DAMAGES: dict[str, Damage] = {
    "cut": _cut,
    "cut early": _cut_early,
    "bits flipped": _flip_bits,
    "bytes changed": _change_bytes,
    "head changed": _change_head,
    "field changed": _change_field,
    "table changed": _change_table,
    "huge count": _huge_count,
    "times changed": _change_times,
    "zeros": _zero,
    "noise inside": _randomise,
    "part missing": _cut_out,
    "part doubled": _double,
    "parts swapped": _swap,
    "noise before": _prepend,
    "noise after": _append,
    "wrong suffix": _keep,
}
_HOPELESS: dict[str, Callable[[np.random.Generator], bytes]] = {
    "empty": _empty,
    "one byte": _one_byte,
    "noise": _noise,
    "text": _text,
    "playlist": _playlist,
    "photo": _photo,
    "sound": _sound,
}
