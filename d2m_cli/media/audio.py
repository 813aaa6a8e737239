"""Sound in and out: samples are float32 of shape (channels, n), full scale at 1."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m_cli.batch.atomic import atomic_path
from d2m_cli.errors import AudioError

Samples = NDArray[np.float32]

_GAP = 0.001
"""Seconds by which sound may begin late in its container without being padded; below what any listener notices."""


def load_audio(path: Path, sample_rate: int | None = None, mono: bool = False) -> tuple[Samples, int]:
    """Read the sound of an audio or video file.

    Where the sound of a video begins later than the container, silence stands in front, so that time 0 is the start of
    the container as it is for frames (`d2m_cli.media.video`).

    Parameters
    ----------
    path
        WAV, FLAC, OGG, MP3 and others through libsndfile; AAC, MP4 and what else FFmpeg reads through PyAV.
    sample_rate
        Rate to convert to in Hz, or None to keep the file's own.
    mono
        Whether to return the mean of all channels.

    Returns
    -------
    samples
        (channels, n) float32.
    sample_rate
        In Hz.

    Raises
    ------
    AudioError
        The file is missing, holds no sound, or can't be decoded.
    """
    path = Path(path)
    if not path.is_file():
        raise AudioError(f"{path}: no such file")
    loaded = _read_soundfile(path)
    samples, rate = _read_pyav(path) if loaded is None else loaded
    if samples.shape[1] == 0:
        raise AudioError(f"{path}: holds no samples; is it a complete file?")
    if not np.isfinite(samples).all():
        raise AudioError(f"{path}: holds values that are not numbers; write the file again")
    if mono:
        samples = samples.mean(axis=0, keepdims=True)
    if sample_rate is not None and sample_rate != rate:
        samples, rate = resample(samples, rate, sample_rate), sample_rate
    return samples, rate


def save_wav(path: Path, samples: Samples, sample_rate: int, bits: int = 16) -> None:
    """Write a PCM .wav file, whole or not at all; each value is rounded to the nearest step, nothing is dithered.

    Parameters
    ----------
    path
        The file to make.
    samples
        (channels, n) float32; values beyond full scale are held there.
    sample_rate
        In Hz.
    bits
        16 or 24.

    Raises
    ------
    OutputError
        The file can't be written.
    """
    import soundfile

    content = io.BytesIO()
    with soundfile.SoundFile(
        content, "w", samplerate=sample_rate, channels=len(samples), format="WAV", subtype=f"PCM_{bits}"
    ) as file:
        file.write(_to_steps(samples, bits).T)
    # Written in one go from memory: libsndfile does not say why a write failed, the system does.
    with atomic_path(path) as part:
        part.write_bytes(content.getbuffer())


def resample(samples: Samples, rate: int, new_rate: int) -> Samples:
    """Convert (channels, n) samples to another rate with a polyphase filter; n becomes round(n * new_rate / rate)."""
    from scipy.signal import resample_poly

    length = round(samples.shape[1] * new_rate / rate)
    converted = resample_poly(samples.astype(np.float64), new_rate, rate, axis=1)
    return fit_length(converted.astype(np.float32), length)


def fit_length(samples: Samples, length: int) -> Samples:
    """Cut (channels, n) samples to a length, or lengthen them with silence."""
    missing = length - samples.shape[1]
    return np.pad(samples, ((0, 0), (0, missing))) if missing > 0 else samples[:, :length]


def _to_steps(samples: Samples, bits: int) -> NDArray[np.int16] | NDArray[np.int32]:
    if bits not in (16, 24):
        raise ValueError(f"a .wav is written with 16 or 24 bits, not {bits}")
    if samples.ndim != 2 or not np.isfinite(samples).all():
        raise ValueError(f"samples must be finite and of shape (channels, n), not {samples.shape}")
    full = 1 << (bits - 1)
    steps = np.clip(np.rint(samples.astype(np.float64) * full), -full, full - 1)
    # libsndfile takes 24 bits from the upper part of 32.
    return steps.astype(np.int16) if bits == 16 else steps.astype(np.int32) << 8


def _read_soundfile(path: Path) -> tuple[Samples, int] | None:
    import soundfile

    try:
        samples, rate = soundfile.read(str(path), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, UnicodeEncodeError):
        return None
    return np.ascontiguousarray(samples.T), int(rate)


def _read_pyav(path: Path) -> tuple[Samples, int]:
    import av

    try:
        # An absolute path can't be mistaken for a protocol or an option.
        with av.open(str(path.resolve())) as container:
            if not container.streams.audio:
                raise AudioError(f"{path}: holds no sound")
            return _decode(container)
    except (av.error.FFmpegError, IndexError, ValueError, OSError) as error:
        raise AudioError(
            f"{path}: its sound can't be decoded ({error}); copy it again or convert it to .wav"
        ) from error


def _decode(container: Any) -> tuple[Samples, int]:
    import av

    stream = container.streams.audio[0]
    rate = int(stream.rate)
    resampler = av.AudioResampler(format="fltp", layout=stream.layout, rate=rate)
    blocks: list[Samples] = []
    first: float | None = None
    for frame in container.decode(stream):
        if first is None:
            first = (frame.time or 0.0) - float(container.start_time or 0) / av.time_base
        blocks.extend(_planes(resampler, frame))
    blocks.extend(_planes(resampler, None))
    if not blocks:
        return np.zeros((1, 0), np.float32), rate
    samples = np.concatenate(blocks, axis=1)
    if first is not None and first > _GAP:
        samples = np.pad(samples, ((0, 0), (round(first * rate), 0)))
    return samples, rate


def _planes(resampler: Any, frame: Any) -> list[Samples]:
    return [np.asarray(block.to_ndarray(), dtype=np.float32) for block in resampler.resample(frame)]
