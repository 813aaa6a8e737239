"""What training reads of each window, computed once: the dance's rhythm, and what the loss rebuilds.

Both are kept in a cache folder under names made from the content of the files and of all settings they hang on, so that
a moved data set is known again, and a changed one is not mistaken for the old.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from hashlib import blake2b
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from d2m_cli.errors import InputError, OutputError
from d2m_cli.ground.audio_beats import BEAT_TRACKER, track_beats
from d2m_cli.ground.digests import content_digest, settings_digest
from d2m_cli.ground.files import atomic_path
from d2m_cli.ground.npz import UNREADABLE, read_npy
from d2m_cli.ground.progress import Progress
from d2m_cli.media.audio import fit_length, load_audio
from d2m_cli.pose.io import SUFFIX as POSE_SUFFIX
from d2m_cli.pose.io import load_poses, save_poses
from d2m_cli.rhythm.extract import RhythmOptions, extract_rhythm
from d2m_cli.rhythm.io import SUFFIX as RHYTHM_SUFFIX
from d2m_cli.rhythm.io import load_rhythm, save_rhythm
from d2m_cli.rhythm.sequence import Rhythm, RhythmGrid, Tempo
from d2m_cli.training.data.aist_keypoints import load_keypoints
from d2m_cli.training.data.dataset import Clip, Segment, Skip
from d2m_cli.training.loop.warm_start import tempo_at

if TYPE_CHECKING:
    from d2m_cli.backbones.base import Backbone
    from d2m_cli.pose.track import Poses

SILENCE = 1e-4
"""Root mean square below which a window of music holds nothing to learn."""
TRACKER_RATE = 22050
"""Hz that the beat tracker's window is made for."""
TOGETHER = 8
"""Windows that go through the backbone's autoencoder or codec at once."""
_SPARE = 64 << 20


class Dancers(Protocol):
    """What is needed of `d2m_cli.pose.estimator.PoseEstimator`."""

    @property
    def model_hashes(self) -> dict[str, str]: ...

    def estimate(self, video: Path) -> Poses: ...


class GenreListener(Protocol):
    """What is needed of `d2m_cli.inversion.clap.ClapAudio`."""

    @property
    def fingerprint(self) -> str: ...

    def embed(self, samples: NDArray[np.float32], rate: int) -> Tensor: ...


@dataclass(frozen=True, repr=False)
class Windows:
    """Everything that training reads of one split, in memory.

    Attributes
    ----------
    segments
        Where each window comes from.
    sequences
        (n, steps) uint8: binary rhythm of each window.
    genres
        Two-letter code of each, or (n, 512) float32 embeddings of another part of each song; None without "@".
    targets
        (n, ...): what the backbone's loss rebuilds; float16 or integers.
    tempi
        Tempo and first beat of each window's music (None where it has none), or None where nobody asked for them.
    """

    segments: tuple[Segment, ...]
    sequences: Tensor
    genres: tuple[str, ...] | Tensor | None
    targets: Tensor
    tempi: tuple[Tempo | None, ...] | None = None

    def __len__(self) -> int:
        return len(self.segments)

    def __repr__(self) -> str:
        return f"Windows(n={len(self)}, targets={tuple(self.targets.shape[1:])})"

    def batch(
        self, index: NDArray[np.int64], device: torch.device | str = "cpu"
    ) -> tuple[Tensor, Sequence[str] | Tensor | None, Tensor]:
        """Sequences (on the CPU), genres, and targets on a device, of some windows."""
        rows = torch.from_numpy(index)
        targets = self.targets[rows].to(device)
        return self.sequences[rows], self.genres_at(index), targets.float() if targets.is_floating_point() else targets

    def digest(self) -> str:
        """Of what a training reads, and not of where it lies."""
        digest = blake2b(digest_size=16)
        genres = self.genres.numpy().tobytes() if isinstance(self.genres, Tensor) else repr(self.genres).encode()
        names = "\n".join(f"{segment.clip.name} {segment.start:.6f}" for segment in self.segments)
        tempi = repr(self.tempi).encode()
        for part in (self.sequences.numpy().tobytes(), genres, self.targets.numpy().tobytes(), names.encode(), tempi):
            digest.update(part)
        return digest.hexdigest()

    def genres_at(self, index: NDArray[np.int64]) -> Sequence[str] | Tensor | None:
        """The genres of some windows."""
        if isinstance(self.genres, Tensor):
            return self.genres[torch.from_numpy(index)]
        return None if self.genres is None else [self.genres[i] for i in index]


@dataclass(frozen=True)
class FeatureCache:
    """Computes features, or finds them.

    Attributes
    ----------
    folder
        Of the cache.
    backbone
        Whose targets are wanted.
    grid
        Rhythm mode and clock of "*".
    dancers
        Gives the pose estimator; called only where a video's poses are not in the cache.
    listener
        Hears the genre of another part of the song, for encoders of kind "clap"; None for all others.
    """

    folder: Path
    backbone: Backbone
    grid: RhythmGrid
    dancers: Callable[[], Dancers]
    listener: GenreListener | None = None

    def windows(
        self, segments: Sequence[Segment], progress: Progress, *, genres: bool = True, tempi: bool = False
    ) -> tuple[Windows | None, tuple[Skip, ...]]:
        """Features of some windows.

        Parameters
        ----------
        segments
            Windows asked for.
        progress
            Told where the work is.
        genres, tempi
            Whether genres and the music's tempi are wanted.

        Returns
        -------
        The windows that can be used (None where there is none), and which files can't, with the reason.

        Raises
        ------
        OutputError
            The cache can't be written, or the disk is too small for it.
        """
        clips = list(dict.fromkeys(segment.clip for segment in segments))
        rhythms, skipped = self._rhythms(clips, progress)
        by_clip: dict[Clip, list[float]] = {}
        for segment in segments:
            if segment.clip in rhythms:
                by_clip.setdefault(segment.clip, []).append(segment.start)
        targets, unheard = self._all_targets(by_clip, progress)
        kept, sequences, rows = [], [], []
        for segment in segments:
            found = targets.get(segment.clip, {}).get(_rounded(segment.start))
            if found is not None:
                kept.append(segment)
                sequences.append(rhythms[segment.clip].window(segment.start, self.grid))
                rows.append(found)
        if not kept:
            return None, (*skipped, *unheard)
        heard: tuple[str, ...] | Tensor | None = None
        if genres and self.listener is not None:
            heard = self._other_parts(kept, self.listener, progress)
        elif genres:
            heard = tuple(str(segment.clip.genre) for segment in kept)
        pulses = torch.from_numpy(np.stack(sequences)).to(torch.uint8)
        found_tempi = self._tempi(kept, progress) if tempi else None
        return Windows(tuple(kept), pulses, heard, torch.stack(rows), found_tempi), (*skipped, *unheard)

    # Rhythm.

    def _rhythms(self, clips: Sequence[Clip], progress: Progress) -> tuple[dict[Clip, Rhythm], tuple[Skip, ...]]:
        found: dict[Clip, Rhythm] = {}
        skipped = []
        with progress.stage("rhythm of the dances", len(clips)) as advance:
            for clip in clips:
                try:
                    found[clip] = self.rhythm(clip)
                except InputError as error:
                    skipped.append(Skip(clip.dance, str(error)))
                advance(1, clip.name)
        return found, tuple(skipped)

    def rhythm(self, clip: Clip) -> Rhythm:
        """Rhythm of one dance.

        Raises
        ------
        InputError
            Nobody is in the video, the file is damaged, or it is a rhythm file of another mode.
        """
        if clip.dance.name.endswith(RHYTHM_SUFFIX):
            rhythm = load_rhythm(clip.dance)
            if rhythm.mode != self.grid.mode:
                raise InputError(
                    f"{clip.dance}: is a rhythm of mode {rhythm.mode!r}, and {self.grid.mode!r} is wanted; make it "
                    f"anew with 'd2m rhythm --mode {self.grid.mode}'"
                )
            try:
                rhythm.check_clock(self.grid)
            except InputError as error:
                raise InputError(f"{clip.dance}: is {error}") from error
            return rhythm
        options = RhythmOptions(mode=self.grid.mode)
        key = settings_digest("rhythm", {"dance": self._dance_key(clip), "options": asdict(options)})
        path = self.folder / "rhythm" / f"{key}{RHYTHM_SUFFIX}"
        with suppress(InputError):  # Not made yet, or damaged since: it is made anew.
            return load_rhythm(path)
        rhythm = extract_rhythm(self._poses(clip), options)
        save_rhythm(path, rhythm, options)
        # Read back, so that a first run and a later one see the same rounded values.
        return load_rhythm(path)

    def _dance_key(self, clip: Clip) -> dict[str, object]:
        key: dict[str, object] = {"content": _digest(clip.dance), "view": clip.view}
        if not _holds_poses(clip.dance):
            key["networks"] = self.dancers().model_hashes
        return key

    def _poses(self, clip: Clip) -> Poses:
        if clip.dance.name.endswith(POSE_SUFFIX):
            return load_poses(clip.dance)
        if clip.dance.suffix == ".pkl":
            return load_keypoints(clip.dance, clip.view or 0)
        path = self.folder / "poses" / f"{settings_digest('pose', self._dance_key(clip))}{POSE_SUFFIX}"
        with suppress(InputError):  # Not made yet, or damaged since: they are made anew.
            return load_poses(path)
        save_poses(path, self.dancers().estimate(clip.dance))
        return load_poses(path)

    # Targets.

    def _all_targets(
        self, starts: Mapping[Clip, list[float]], progress: Progress
    ) -> tuple[dict[Clip, dict[float, Tensor]], tuple[Skip, ...]]:
        out: dict[Clip, dict[float, Tensor]] = {}
        skipped: list[Skip] = []
        missing = []
        for clip in starts:
            try:
                path = self._target_path(clip, starts[clip])
            except InputError as error:
                skipped.append(Skip(clip.audio, str(error)))
                continue
            if path.is_file():
                out[clip] = _by_start(_load(path))
            else:
                missing.append(clip)
        left = sum(len(starts[clip]) for clip in missing)
        with progress.stage("targets of the music", left) as advance:
            # One song serves many clips: it is decoded once for those that follow each other.
            for audio, group in groupby(sorted(missing, key=lambda c: str(c.audio)), lambda c: c.audio):
                clips = list(group)
                try:
                    song = _song(audio, self.backbone.sample_rate)
                except InputError as error:
                    skipped.append(Skip(audio, str(error)))
                    continue
                for clip in clips:
                    path = self._target_path(clip, starts[clip])
                    # Dances to the same stretch of a song, or seen by several cameras, share their targets.
                    made = _load(path) if path.is_file() else self._targets(clip, starts[clip], song)
                    if made is None:
                        skipped.append(Skip(audio, f"{audio}: the music of {clip.name} is silent"))
                    else:
                        if not path.is_file():
                            self._keep(path, made, left)
                        out[clip] = _by_start(made)
                    left -= len(starts[clip])
                    advance(len(starts[clip]), clip.name)
        for clip, found in out.items():
            silent = sum(_rounded(start) not in found for start in starts[clip])
            if silent:
                told = f"{clip.audio}: {silent} of {len(starts[clip])} windows of {clip.name} are silent"
                skipped.append(Skip(clip.audio, told))
        return out, tuple(skipped)

    def _target_path(self, clip: Clip, starts: list[float]) -> Path:
        key = {
            "audio": _digest(clip.audio),
            "starts": [_rounded(clip.audio_start + start) for start in starts],
            "from": _rounded(clip.audio_start),
            "backbone": self.backbone.fingerprint,
            "settings": self.backbone.targets_settings,
        }
        return self.folder / "targets" / f"{settings_digest('targets', key)}.safetensors"

    def _targets(self, clip: Clip, starts: list[float], song: NDArray[np.float32]) -> dict[str, Tensor] | None:
        rate = self.backbone.sample_rate
        length = round(self.backbone.window_seconds * rate)
        first = [round((clip.audio_start + start) * rate) for start in starts]
        windows = [fit_length(song[:, at : at + length], length) for at in first]
        loud = [i for i, window in enumerate(windows) if float(np.sqrt(np.mean(window**2))) > SILENCE]
        if not loud:
            return None
        made = []
        for at in range(0, len(loud), TOGETHER):
            audio = torch.from_numpy(np.stack([windows[i] for i in loud[at : at + TOGETHER]]))
            made.append(self.backbone.targets(audio).cpu())
        targets = torch.cat(made)
        return {
            "targets": (targets.half() if targets.is_floating_point() else targets).contiguous(),
            "starts": torch.tensor([starts[i] for i in loud], dtype=torch.float64),
        }

    def _keep(self, path: Path, tensors: dict[str, Tensor], left: int) -> None:
        from safetensors.torch import save

        one = tensors["targets"][0]
        needed = left * one.numel() * one.element_size() + _SPARE
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.folder).free
        except OSError:
            free = needed  # Then the write itself says what is wrong.
        if free < needed:
            raise OutputError(
                f"the cache {self.folder} needs {needed / 1e6:.0f} MB more, and its disk has {free / 1e6:.0f} MB left: "
                "free some space, or choose another folder with --cache"
            )
        with atomic_path(path) as part:
            # Not save_file: on a full disk it raises an error that is no OSError.
            part.write_bytes(save(tensors))

    # Tempo by ear.

    def _tempi(self, segments: Sequence[Segment], progress: Progress) -> tuple[Tempo | None, ...]:
        songs = sorted({segment.clip.audio for segment in segments})
        beats = {}
        with progress.stage("beats of the music", len(songs)) as advance:
            for song in songs:
                beats[song] = self._beats(song)
                advance(1, song.name)
        seconds = self.grid.seconds
        return tuple(tempo_at(beats[s.clip.audio], s.clip.audio_start + s.start, seconds) for s in segments)

    def _beats(self, song: Path) -> NDArray[np.float64]:
        path = (
            self.folder / "beats" / f"{settings_digest('beats', {'audio': _digest(song), 'tracker': BEAT_TRACKER})}.npy"
        )
        with suppress(*UNREADABLE):  # Not made yet, or damaged since: they are made anew.
            return np.asarray(read_npy(path), dtype=np.float64)
        beats = track_beats(_song(song, TRACKER_RATE), TRACKER_RATE)
        with atomic_path(path) as part, part.open("wb") as file:
            np.save(file, beats, allow_pickle=False)
        return beats

    # Genre by ear.

    def _other_parts(self, segments: Sequence[Segment], listener: GenreListener, progress: Progress) -> Tensor:
        """(n, width): for each window the embedding of another window of the same song, the next that does not overlap.

        Where a song has no other, its own is taken.
        """
        seconds = self.backbone.window_seconds

        @cache
        def heard(audio: Path, at: float) -> Tensor:
            rate = self.backbone.sample_rate
            first = round(at * rate)
            samples = _song(audio, rate)[:, first : first + round(seconds * rate)].mean(axis=0)
            return listener.embed(samples, rate)

        places: dict[Path, set[float]] = {}
        for segment in segments:
            places.setdefault(segment.clip.audio, set()).add(segment.clip.audio_start + segment.start)
        rows = []
        with progress.stage("genre by ear", len(segments)) as advance:
            for segment in segments:
                own = segment.clip.audio_start + segment.start
                apart = [at for at in sorted(places[segment.clip.audio]) if abs(at - own) >= seconds - 1e-6]
                later = [at for at in apart if at > own]
                rows.append(heard(segment.clip.audio, (later or apart or [own])[0]))
                advance()
        return torch.stack(rows)


def _load(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(str(path))
    except (SafetensorError, OSError) as error:
        raise OutputError(f"{path}: a damaged file in the cache ({error}): remove it and run again") from error


def _holds_poses(path: Path) -> bool:
    return path.name.endswith(POSE_SUFFIX) or path.suffix == ".pkl"


@cache
def _digest(path: Path) -> str:
    try:
        return content_digest(path)
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror or error})") from error


@lru_cache(maxsize=1)
def _song(path: Path, rate: int) -> NDArray[np.float32]:
    """(channels, n) of a whole song at a rate; the last one asked for is held."""
    return load_audio(path, rate)[0]


def _rounded(seconds: float) -> float:
    """As a file of targets is found by: two clips that share it may differ by less."""
    return round(seconds, 6)


def _by_start(tensors: Mapping[str, Tensor]) -> dict[float, Tensor]:
    return {_rounded(float(start)): row for start, row in zip(tensors["starts"], tensors["targets"], strict=True)}
