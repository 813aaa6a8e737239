"""Put music under a video: the picture is copied as it is, the sound becomes AAC (.mp4) or FLAC (.mkv)."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from d2m_cli.ground.files import atomic_path
from d2m_cli.ground.strip import Strip
from d2m_cli.media.aac import AAC_FRAME
from d2m_cli.media.audio import BLOCK, Samples, fit_length, resample
from d2m_cli.media.film import Film, write_film
from d2m_cli.media.film_formats import FILM_FORMATS, FilmFormat
from d2m_cli.media.messages import pack
from d2m_cli.media.process import SEPARATE, media_process
from d2m_cli.media.timeline import Timeline, silent
from d2m_cli.media.video import probe


@dataclass(frozen=True)
class MuxResult:
    """What `mux` made.

    Attributes
    ----------
    path
        The film.
    copied
        Whether the picture was copied bit for bit.
    note
        In words: copied, or re-encoded and why; and where the sound was cut or lengthened.
    seconds
        Length of the picture in seconds, from time zero (`d2m_cli.media.timeline`) to the end of the last picture.
    """

    path: Path
    copied: bool
    note: str
    seconds: float


def mux(
    video: Path,
    samples: Samples | Strip,
    sample_rate: int,
    out: Path,
    *,
    timeline: Timeline | None = None,
    titles: bool = True,
    comment: str = "",
) -> MuxResult:
    """Write a film with the picture of `video` and the given music in place of any sound it had.

    Every picture is shown when the timeline of the video says, turned and mirrored as before. The picture is copied, or
    encoded to H.264 where such a film can't hold it. The music is cut or lengthened with silence to the length of the
    picture where they differ by more than one AAC frame.

    Parameters
    ----------
    video
        The video.
    samples
        (channels, n) float32, one or two channels.
    sample_rate
        In Hz; a rate that AAC does not know is converted to 48 kHz for an .mp4.
    out
        The .mp4 or .mkv to make, whole or not at all.
    timeline
        That of the video where it has been read; else it is read here.
    titles
        Whether to keep the video's title, artist, comment, date and place. Without, the file tells nothing of its
        origin.
    comment
        What the film is to tell besides, behind the video's own comment.

    Raises
    ------
    VideoError
        The video can't be read, or its picture can't be decoded where it must be re-encoded.
    OutputError
        The result can't be written.
    """
    if len(samples.shape) != 2 or samples.shape[0] not in (1, 2):
        raise ValueError(f"samples must be of shape (1 or 2, n), not {samples.shape}")
    kind = FILM_FORMATS[out.suffix]
    if kind.rates is not None and sample_rate not in kind.rates:
        samples, sample_rate = resample(samples, sample_rate, 48000), 48000
    if timeline is None:
        timeline = probe(video)
    samples, sound_note = _match_length(samples, sample_rate, timeline.duration)
    with atomic_path(out) as part:
        film = _film(timeline, samples, sample_rate, part, kind, titles, comment)
    return MuxResult(out, film.copied, film.note + sound_note, film.seconds)


def picture_seconds(video: Path) -> float:
    """Length of a video's picture in seconds, from time zero to the end of the last picture.

    Raises
    ------
    VideoError
        The video can't be read.
    """
    return probe(video).duration


def _film(
    timeline: Timeline, samples: Samples | Strip, rate: int, part: Path, kind: FilmFormat, titles: bool, comment: str
) -> Film:
    """`write_film` in another process, where there is one to be had."""
    if not SEPARATE:
        return write_film(timeline, samples[:, :], rate, part, silent, kind=kind, titles=titles, comment=comment)
    channels, count = samples.shape
    # A file without a name, beside the film, where there must be room: in memory it would be the sound once more.
    with tempfile.TemporaryFile(dir=part.parent) as sound:
        for channel in range(channels):
            for first in range(0, count, BLOCK):
                sound.write(np.ascontiguousarray(samples[:, first : first + BLOCK][channel], np.float32).data)
        sound.truncate(max(4 * channels * count, 4))
        sound.flush()
        values, blobs = pack(timeline)
        request = {
            "do": "film",
            "timeline": values,
            "channels": channels,
            "count": count,
            "rate": rate,
            "part": os.path.abspath(part),
            "kind": kind.suffix,
            "titles": titles,
            "comment": comment,
        }
        with media_process() as process:
            process.request(timeline.path, request, blobs, sound.fileno())
            answer, _ = process.answer(timeline.path, growing=part)
    if "system" in answer:
        number, text, name = answer["system"]
        raise OSError(number, text, name)
    return Film(answer["copied"], answer["note"], answer["seconds"])


def _match_length(samples: Samples | Strip, rate: int, seconds: float) -> tuple[Samples | Strip, str]:
    length = round(seconds * rate)
    if abs(samples.shape[1] - length) <= AAC_FRAME:
        return samples, ""
    change = "cut" if samples.shape[1] > length else "lengthened with silence"
    note = f"; music {change} from {samples.shape[1] / rate:.2f} s to the picture's {seconds:.2f} s"
    return fit_length(samples[:, :], length), note
