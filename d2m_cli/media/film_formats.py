"""The kinds of files that hold a video with its music: what each can hold, and how its sound is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from d2m_cli.media.aac import AAC_RATES, sound_packets
from d2m_cli.media.audio import Samples
from d2m_cli.media.flac import flac_packets


@dataclass(frozen=True)
class FilmFormat:
    """One kind of film.

    Attributes
    ----------
    suffix
        Of its files.
    container
        FFmpeg's name for it.
    codecs
        FFmpeg's names of the pictures that it takes as they are.
    rates
        Sample rates in Hz that its sound knows; None stands for all.
    sound
        Adds a stream for (1 or 2, n) samples at a rate to an open container at once, and gives its packets.
    options
        For FFmpeg.
    """

    suffix: str
    container: str
    codecs: frozenset[str]
    rates: tuple[int, ...] | None
    sound: Callable[[Any, Samples, int], Iterator[Any]]
    options: Mapping[str, str]


MP4 = FilmFormat(
    ".mp4",
    "mp4",
    frozenset({"h264", "hevc", "av1", "vp9", "mpeg4", "mpeg2video", "mpeg1video", "mjpeg"}),
    AAC_RATES,
    sound_packets,
    {"movflags": "+faststart", "movie_timescale": "90000"},
)
MKV = FilmFormat(
    ".mkv",
    "matroska",
    MP4.codecs | {"vp8", "theora", "ffv1", "prores"},
    None,
    flac_packets,
    # Times below 0 are those of decoding alone, which this container doesn't write: moved, all would begin late.
    {"avoid_negative_ts": "disabled"},
)
FILM_FORMATS: Mapping[str, FilmFormat] = {one.suffix: one for one in (MP4, MKV)}
"""Suffix to what it stands for."""
