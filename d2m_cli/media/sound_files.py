"""Music as a file of its own: .wav, .flac, .mp3 and .m4a."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m_cli.ground.files import atomic_path
from d2m_cli.media.aac import AAC_RATES, sound_packets
from d2m_cli.media.audio import BLOCK, Samples, resample, save_wav, sound_file, to_steps
from d2m_cli.media.film import writing

SOUND_SUFFIXES = (".wav", ".flac", ".mp3", ".m4a")
MP3_RATES = (48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
"""Sample rates in Hz that MP3 knows."""

Tags = Mapping[str, str]
"""Any of "title", "comment" and "genre" to what is to stand there."""
NO_TAGS: Tags = {}

_MP3_LEVEL = 0.1
"""Of libsndfile, 0 to 1: variable bit rates of the best kind but one (LAME's V1), about 225 kbit/s for stereo."""


def save_sound(path: Path, samples: Samples, sample_rate: int, tags: Tags = NO_TAGS) -> None:
    """Write music to a file of the kind that its suffix says, whole or not at all.

    A .flac holds the very steps of the .wav. Encoders of .mp3 and .m4a put silence in front, and note in the file how
    much: whoever reads that note hears every sample at its time, and as many as there were.

    Parameters
    ----------
    path
        The file to make, with one of `SOUND_SUFFIXES`.
    samples
        (channels, n) float32, one or two channels; values beyond full scale are held there.
    sample_rate
        In Hz; one that .mp3 or .m4a does not know is converted to 48 kHz.
    tags
        What the file tells of itself; a .wav tells nothing.

    Raises
    ------
    OutputError
        The file can't be written.
    """
    if samples.ndim != 2 or samples.shape[0] not in (1, 2):
        raise ValueError(f"samples must be of shape (1 or 2, n), not {samples.shape}")
    _WRITERS[path.suffix](path, samples, sample_rate, tags)


def _save_wav(path: Path, samples: Samples, rate: int, tags: Tags) -> None:
    save_wav(path, samples, rate)


def _save_flac(path: Path, samples: Samples, rate: int, tags: Tags) -> None:
    kind = {"format": "FLAC", "subtype": "PCM_16"}
    _save_by_soundfile(path, samples, rate, tags, kind, lambda block: to_steps(block, 16))


def _save_mp3(path: Path, samples: Samples, rate: int, tags: Tags) -> None:
    if rate not in MP3_RATES:
        samples, rate = resample(samples, rate, MP3_RATES[0]), MP3_RATES[0]
    kind = {"format": "MP3", "compression_level": _MP3_LEVEL, "bitrate_mode": "VARIABLE"}
    # Of 16-bit steps in stereo libsndfile 1.2 makes noise.
    _save_by_soundfile(path, samples, rate, tags, kind, lambda block: np.clip(block, -1.0, 1.0))


def _save_by_soundfile(
    path: Path,
    samples: Samples,
    rate: int,
    tags: Tags,
    kind: Mapping[str, Any],
    prepared: Callable[[Samples], NDArray[Any]],
) -> None:
    with atomic_path(path) as part, sound_file(part, rate, len(samples), kind) as file:
        for name, text in tags.items():
            setattr(file, name, text)
        for first in range(0, samples.shape[1], BLOCK):
            file.write(prepared(samples[:, first : first + BLOCK]).T)


def _save_m4a(path: Path, samples: Samples, rate: int, tags: Tags) -> None:
    import av

    if rate not in AAC_RATES:
        samples, rate = resample(samples, rate, 48000), 48000
    options = {"movflags": "+faststart"}
    with atomic_path(path) as part, writing(part), av.open(str(part), "w", format="ipod", options=options) as target:
        target.metadata.update(tags)
        for packet in sound_packets(target, samples, rate):
            target.mux(packet)


_WRITERS: Mapping[str, Callable[[Path, Samples, int, Tags], None]] = {
    ".wav": _save_wav,
    ".flac": _save_flac,
    ".mp3": _save_mp3,
    ".m4a": _save_m4a,
}
