"""The file beside the page that holds the drawing of one result.

A page that is opened from the disk may load scripts and media, and nothing else; so the file is a script that hands its
values to the page. Its first line is a comment with what the page itself shows, so that a page over thousands of
results is written without reading their pictures.
"""

from __future__ import annotations

import base64
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from d2m_cli.ground.files import atomic_path
from d2m_cli.report.page.values import Drawing, Head, Score, Times

MARK = "/*d2m-report 1 "
"""What the first line begins with; of another version a drawing is made again."""
_LONGEST_LINE = 1 << 16


def write_drawing(path: Path, drawing: Drawing | None, head: Head) -> None:
    """Write one drawing, whole or not at all.

    Parameters
    ----------
    path
        The file to write.
    drawing
        None where there is nothing to draw.
    head
        From `head_of`, or of what can't be drawn.

    Raises
    ------
    OutputError
        It can't be written.
    """
    # A comment ends at the first "*/", wherever that stands.
    first = json.dumps(asdict(head), allow_nan=False).replace("/", "\\/")
    values = json.dumps(_values(drawing) if drawing is not None else None, allow_nan=False, separators=(",", ":"))
    with atomic_path(path) as part:
        part.write_text(f"{MARK}{first}*/\nd2mReport({values});\n", encoding="ascii")


def head_of(drawing: Drawing, record: str) -> Head:
    """What the page itself needs of a drawing of the music with this record (a digest)."""
    lines = (drawing.accents, drawing.dance_beats, drawing.music_beats, drawing.onsets, drawing.ties)
    a, d, m, o, t = map(len, lines)
    return Head(record, drawing.scores, (a, d, m, o, t), drawing.music_bpm, drawing.left_out)


def is_drawing(path: Path) -> bool:
    """Whether a file is a drawing that d2m wrote, of whatever version.

    Raises
    ------
    OSError
        It can't be read.
    """
    with path.open("rb") as file:
        return file.read(len(MARK)).startswith(b"/*d2m-report ")


def read_head(path: Path) -> Head | None:
    """The first line of a drawing; None where there is none, or one of another version."""
    try:
        with path.open("rb") as file:
            line = file.readline(_LONGEST_LINE)
        if not line.startswith(MARK.encode()) or not line.endswith(b"*/\n"):
            return None
        raw = json.loads(line[len(MARK) : -3])
        counts = raw["counts"]
        return Head(
            record=str(raw["record"]),
            scores=tuple(Score(**score) for score in raw["scores"]),
            counts=None if counts is None else tuple(map(int, counts)),  # type: ignore[arg-type]
            music_bpm=None if raw["music_bpm"] is None else float(raw["music_bpm"]),
            left_out=tuple(map(str, raw["left_out"])),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _values(drawing: Drawing) -> dict[str, Any]:
    spectrogram, skeletons = drawing.spectrogram, drawing.skeletons
    return {
        "seconds": round(drawing.seconds, 4),
        "accents": _rounded(drawing.accents),
        "danceBeats": _rounded(drawing.dance_beats),
        "musicBeats": _rounded(drawing.music_beats),
        "onsets": _rounded(drawing.onsets),
        "ties": _rounded(drawing.ties),
        "tiedToBeats": drawing.tied_to_beats,
        "spectrogram": None if spectrogram is None else {
            "rate": spectrogram.rate,
            "bands": spectrogram.levels.shape[1],
            "highest": spectrogram.highest,
            "levels": _packed(spectrogram.levels),
        },
        "skeletons": None if skeletons is None else {
            "rate": skeletons.rate,
            "people": len(skeletons.points),
            "size": list(skeletons.frame_size),
            "points": _packed(skeletons.points.astype("<u2")),
        },
    }  # fmt: skip


def _rounded(times: Times) -> Any:
    return np.round(times, 4).tolist()


def _packed(values: np.ndarray[Any, Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")
