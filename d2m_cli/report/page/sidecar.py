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
from d2m_cli.report.page.values import Counts, Drawing, Head, Score, Spectrogram, Take, TakeHead, Times

MARK = "/*d2m-report 1 "
"""What the first line begins with; of another version a drawing is made again."""
_LONGEST_LINE = 1 << 20


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
    takes = tuple(TakeHead(take.number, take.scores, _counts(drawing, take)) for take in drawing.takes)
    return Head(record, drawing.scores, _counts(drawing, drawing), drawing.music_bpm, drawing.left_out, takes)


def _counts(drawing: Drawing, music: Drawing | Take) -> Counts:
    of_dance = len(drawing.accents), len(drawing.dance_beats)
    return *of_dance, len(music.music_beats), len(music.onsets), len(music.ties)


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
            scores=_read_scores(raw["scores"]),
            counts=None if counts is None else _read_counts(counts),
            music_bpm=None if raw["music_bpm"] is None else float(raw["music_bpm"]),
            left_out=tuple(map(str, raw["left_out"])),
            # Older drawings have none of them.
            takes=tuple(
                TakeHead(int(take["number"]), _read_scores(take["scores"]), _read_counts(take["counts"]))
                for take in raw.get("takes", ())
            ),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _read_scores(raw: Any) -> tuple[Score, ...]:
    return tuple(Score(**score) for score in raw)


def _read_counts(raw: Any) -> Counts:
    accents, dance_beats, music_beats, onsets, ties = map(int, raw)
    return accents, dance_beats, music_beats, onsets, ties


def _values(drawing: Drawing) -> dict[str, Any]:
    skeletons = drawing.skeletons
    return {
        "seconds": round(drawing.seconds, 4),
        "accents": _rounded(drawing.accents),
        "danceBeats": _rounded(drawing.dance_beats),
        "tiedToBeats": drawing.tied_to_beats,
        **_music(drawing),
        "takes": {take.number: _music(take) for take in drawing.takes},
        "skeletons": None if skeletons is None else {
            "rate": skeletons.rate,
            "people": len(skeletons.points),
            "size": list(skeletons.frame_size),
            "points": _packed(skeletons.points.astype("<u2")),
        },
    }  # fmt: skip


def _music(music: Drawing | Take) -> dict[str, Any]:
    return {
        "musicBeats": _rounded(music.music_beats),
        "onsets": _rounded(music.onsets),
        "ties": _rounded(music.ties),
        "spectrogram": None if music.spectrogram is None else _picture(music.spectrogram),
    }


def _picture(spectrogram: Spectrogram) -> dict[str, Any]:
    return {
        "rate": spectrogram.rate,
        "bands": spectrogram.levels.shape[1],
        "highest": spectrogram.highest,
        "levels": _packed(spectrogram.levels),
    }


def _rounded(times: Times) -> Any:
    return np.round(times, 4).tolist()


def _packed(values: np.ndarray[Any, Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")
