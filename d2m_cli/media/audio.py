"""Sound in and out: samples are float32 of shape (channels, n), full scale at 1."""

from __future__ import annotations

import io
import math
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m_cli.errors import AudioError, VideoError
from d2m_cli.ground.files import atomic_path
from d2m_cli.ground.strip import Strip
from d2m_cli.media.container import check_file
from d2m_cli.media.process import SEPARATE, media_process
from d2m_cli.media.timeline import LONGEST, Timeline, silent

Samples = NDArray[np.float32]

BLOCK = 1 << 20
"""Samples read or written at a time."""
CONVERTED = 1 << 18
"""Samples that are brought to another rate at a time, about."""


def load_audio(path: Path, sample_rate: int | None = None, mono: bool = False) -> tuple[Samples, int]:
    """Read the sound of an audio or video file.

    Where the sound of a video begins later than the picture, silence stands in front, so that time 0 is that of the
    timeline (`d2m_cli.media.timeline`).

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
    check_file(path, AudioError)
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


def film_sound(timeline: Timeline) -> tuple[Strip, int] | None:
    """The sound of a video from its time zero to the end of its picture at most, and its rate in Hz; None without.

    Of more than two channels it is the mix for two. Where it begins later, silence stands in front.

    Raises
    ------
    AudioError
        It can't be decoded.
    OutputError
        The folder of temporary files has no room for it.
    """
    if not timeline.has_audio:
        return None
    zero = float(timeline.zero * timeline.time_base)
    found: tuple[Strip, int] | None = None
    asked = {"zero": zero, "seconds": timeline.duration, "stereo": True}
    with closing(_blocks(timeline.path, asked)) as blocks:
        for rate, block in blocks:
            if not np.isfinite(block).all():
                raise AudioError(f"{timeline.path}: its sound holds values that are not numbers; convert it")
            if block.shape[1]:
                found = found or (Strip(len(block)), rate)
                found[0].lay(found[0].shape[1], block)
    return found


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
    if samples.ndim != 2:
        raise ValueError(f"samples must be of shape (channels, n), not {samples.shape}")
    kind = {"format": "WAV", "subtype": f"PCM_{bits}"}
    with atomic_path(path) as part, sound_file(part, sample_rate, len(samples), kind) as file:
        for first in range(0, samples.shape[1], BLOCK):
            file.write(to_steps(samples[:, first : first + BLOCK], bits).T)


@contextmanager
def sound_file(path: Path, rate: int, channels: int, kind: Mapping[str, Any]) -> Iterator[Any]:
    """A `soundfile.SoundFile` to write to, for which what the system says of a failed write is raised as OSError.

    Parameters
    ----------
    path
        The file, whose content is replaced.
    rate, channels
        Of the sound, in Hz.
    kind
        What `soundfile.SoundFile` is told besides.
    """
    import soundfile

    with _Written(path, "w+") as target:
        try:
            with soundfile.SoundFile(target, "w", samplerate=rate, channels=channels, **kind) as file:
                yield file
        finally:
            if target.error is not None:
                raise target.error


class _Written(io.FileIO):
    """A file that keeps what the system said of a failed write: libsndfile does not."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        rest = memoryview(data).cast("B")
        length = len(rest)
        try:
            while len(rest):
                rest = rest[super().write(rest) or 0 :]
        except OSError as error:
            self.error = error
        return length - len(rest)


def resample(samples: Samples | Strip, rate: int, new_rate: int) -> Samples:
    """Convert (channels, n) samples to another rate with a polyphase filter; n becomes round(n * new_rate / rate)."""
    converted = np.empty((samples.shape[0], round(samples.shape[1] * new_rate / rate)), np.float32)
    for first, block in resampled(samples, rate, new_rate):
        converted[:, first : first + block.shape[1]] = block
    return converted


def resampled(samples: Samples | Strip, rate: int, new_rate: int) -> Iterator[tuple[int, Samples]]:
    """What `resample` makes of sound, block by block: number of its first sample, and (channels, n) float32."""
    from scipy.signal import resample_poly

    count = samples.shape[1]
    shared = math.gcd(rate, new_rate)
    up, down = new_rate // shared, rate // shared
    # A block begins where samples of both rates fall together, and is given what the filter looks at beside it: ten
    # samples of the lower rate.
    step = down * max(CONVERTED // down, 1)
    around = down * math.ceil(10 * max(up, down) / (up * down) + 1)
    for first in range(0, count, step):
        begin, behind = max(first - around, 0), first + step
        made = resample_poly(samples[:, begin : behind + around].astype(np.float64), up, down, axis=1)
        start = first // down * up
        end = behind // down * up if behind < count else round(count * new_rate / rate)
        block = made[:, (first - begin) // down * up :][:, : end - start].astype(np.float32)
        yield start, fit_length(block, end - start)


def fit_length(samples: Samples, length: int) -> Samples:
    """Cut (channels, n) samples to a length, or lengthen them with silence."""
    missing = length - samples.shape[1]
    return np.pad(samples, ((0, 0), (0, missing))) if missing > 0 else samples[:, :length]


def to_steps(samples: Samples, bits: int) -> NDArray[np.int16] | NDArray[np.int32]:
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

    blocks, count = [np.zeros((0, 1), np.float32)], 0
    try:
        with soundfile.SoundFile(str(path)) as file:
            rate = int(file.samplerate)
            # A header may claim any length: memory is asked for as samples come.
            while len(block := file.read(BLOCK, dtype="float32", always_2d=True)):
                blocks.append(block)
                count += len(block)
                if count > LONGEST * rate:
                    raise AudioError(f"{path}: its sound lasts over {LONGEST / 3600:.0f} h; cut it into parts")
    except (soundfile.LibsndfileError, UnicodeEncodeError):
        return None
    samples = np.empty((blocks[-1].shape[1], count), np.float32)
    while blocks:
        # Let go of at once: there is no room for long sound twice.
        block = blocks.pop()
        samples[:, count - len(block) : count] = block.T
        count -= len(block)
    return samples, rate


def _read_pyav(path: Path, asked: Mapping[str, Any] = MappingProxyType({})) -> tuple[Samples, int]:
    """The sound as FFmpeg decodes it, in another process; see `d2m_cli.media.sound`."""
    taken = list(_blocks(path, asked))
    if not taken:
        return np.zeros((1, 0), np.float32), 0
    return np.concatenate([block for _, block in taken], axis=1), taken[0][0]


def _blocks(path: Path, asked: Mapping[str, Any]) -> Generator[tuple[int, Samples]]:
    try:
        if not SEPARATE:
            from d2m_cli.media.sound import decode_sound

            yield from decode_sound(path, silent, **asked)
            return
        with media_process() as process:
            process.request(path, {"do": "sound", **asked})
            while "end" not in (answer := process.answer(path))[0]:
                message, blobs = answer
                yield message["rate"], np.frombuffer(blobs[0], np.float32).reshape(message["channels"], -1)
    except VideoError as error:
        raise AudioError(str(error)) from error


def sound_seconds(path: Path) -> float:
    """Length of the sound of a file in seconds, from time zero, as its header has it.

    Raises
    ------
    AudioError
        The file is missing, holds no sound, or does not say a length that can be true.
    """
    import soundfile

    path = Path(path)
    check_file(path, AudioError)
    try:
        info = soundfile.info(str(path))
        seconds = float(info.frames) / float(info.samplerate) if info.samplerate > 0 else 0.0
    except (soundfile.LibsndfileError, UnicodeEncodeError):
        seconds = _pyav_seconds(path)
    if not seconds > 0.0:
        raise AudioError(f"{path}: its sound has no length; is it a complete file?")
    if seconds > LONGEST:
        hours = LONGEST / 3600
        raise AudioError(f"{path}: says that its sound lasts {seconds:g} s; more than {hours:.0f} h are not read")
    return seconds


def _pyav_seconds(path: Path) -> float:
    try:
        if not SEPARATE:
            from d2m_cli.media.sound import sound_length

            return sound_length(path)
        with media_process() as process:
            process.request(path, {"do": "sound length"})
            return float(process.answer(path)[0]["seconds"])
    except VideoError as error:
        raise AudioError(str(error)) from error
