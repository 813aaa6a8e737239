"""What the loss rebuilds of the music (latents, codec tokens), computed once and kept in a cache folder."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from d2m_cli.errors import InputError, OutputError
from d2m_cli.ground.cores import cores
from d2m_cli.ground.digests import settings_digest
from d2m_cli.ground.files import atomic_path
from d2m_cli.ground.options import option
from d2m_cli.ground.progress import Progress
from d2m_cli.ground.spread import spread
from d2m_cli.media.audio import fit_length, load_audio
from d2m_cli.training.data.clips import Clip, Skip
from d2m_cli.training.data.sources import content_of

if TYPE_CHECKING:
    from d2m_cli.backbones.base import Backbone

SILENCE = 1e-4
"""Root mean square below which a window of music holds nothing to learn."""
TOGETHER = 8
"""Windows that go through the backbone's autoencoder or codec at once."""
SONGS_AHEAD = 4
"""Songs that are decoded at most while an accelerator encodes one, which takes it less time; on a CPU it is one."""
_SPARE = 64 << 20


@dataclass(frozen=True)
class TargetCache:
    """Targets of windows.

    Attributes
    ----------
    folder
        Of the cache.
    backbone
        Whose targets they are.
    """

    folder: Path
    backbone: Backbone

    def all(
        self, starts: Mapping[Clip, list[float]], progress: Progress
    ) -> tuple[dict[Clip, dict[float, Tensor]], tuple[Skip, ...]]:
        """Targets of windows, and which music can't be used, with the reason.

        Parameters
        ----------
        starts
            Where the windows of each clip begin, in seconds of the dance.
        progress
            Told where the work is.

        Returns
        -------
        For each clip the target of each start (`rounded`) whose music is not silent; and what is left out.

        Raises
        ------
        OutputError
            The cache can't be written, or the disk is too small for it.
        """
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
        pieces = closing(self._cut(missing, starts, skipped))
        with pieces as cut, progress.stage("targets of the music", left) as advance:
            for piece, made in self._encoded(cut):
                for clip in piece.clips:
                    if made is None:
                        skipped.append(Skip(clip.audio, f"{clip.audio}: the music of {clip.name} is silent"))
                    else:
                        if not piece.path.is_file():
                            self._keep(piece.path, made, left)
                        out[clip] = _by_start(made)
                    left -= len(starts[clip])
                    advance(len(starts[clip]), clip.name)
        return out, (*skipped, *self._silent(out, starts))

    @staticmethod
    def _silent(out: Mapping[Clip, Mapping[float, Tensor]], starts: Mapping[Clip, list[float]]) -> list[Skip]:
        """Clips of which some windows are silent."""
        skipped = []
        for clip, found in out.items():
            silent = sum(rounded(start) not in found for start in starts[clip])
            if silent:
                told = f"{clip.audio}: {silent} of {len(starts[clip])} windows of {clip.name} are silent"
                skipped.append(Skip(clip.audio, told))
        return skipped

    def _target_path(self, clip: Clip, starts: list[float]) -> Path:
        key = {
            "audio": content_of(clip.audio),
            "starts": [rounded(clip.audio_start + start) for start in starts],
            "from": rounded(clip.audio_start),
            "backbone": self.backbone.fingerprint,
            "settings": self.backbone.targets_settings,
        }
        return self.folder / "targets" / f"{settings_digest('targets', key)}.safetensors"

    def _cut(
        self, clips: Sequence[Clip], starts: Mapping[Clip, list[float]], skipped: list[Skip]
    ) -> Generator[_Piece, None, None]:
        """The windows of clips, one song after the other, of which the next are decoded meanwhile."""
        songs = [(audio, list(group)) for audio, group in groupby(sorted(clips, key=_song_of), lambda c: c.audio)]
        ahead = min(cores(), SONGS_AHEAD) if self._on_accelerator else 1
        with ThreadPoolExecutor(ahead, "d2m-decoding") as threads:
            decoded = spread(threads, self._decode, [audio for audio, _ in songs], 1 + ahead)
            names = iter(songs)  # a zip would hold each song until it has the next
            for samples in decoded:
                audio, group = next(names)
                if isinstance(samples, InputError):
                    skipped.append(Skip(audio, str(samples)))
                    continue
                # Dances to the same stretch of a song, or seen by several cameras, share their targets.
                together: dict[Path, list[Clip]] = {}
                for clip in group:
                    together.setdefault(self._target_path(clip, starts[clip]), []).append(clip)
                for path, sharing in together.items():
                    yield self._piece(path, sharing, starts[sharing[0]], samples)
                del samples  # before the next one is waited for

    def _decode(self, audio: Path) -> NDArray[np.float32] | InputError:
        try:
            return load_audio(audio, self.backbone.sample_rate)[0]
        except InputError as error:
            return error

    def _piece(self, path: Path, clips: list[Clip], starts: list[float], samples: NDArray[np.float32]) -> _Piece:
        rate = self.backbone.sample_rate
        length = round(self.backbone.window_seconds * rate)
        first = [round((clips[0].audio_start + start) * rate) for start in starts]
        windows = [fit_length(samples[:, at : at + length], length) for at in first]
        loud = [i for i, window in enumerate(windows) if float(np.sqrt(np.mean(window**2))) > SILENCE]
        return _Piece(path, clips, [starts[i] for i in loud], [windows[i] for i in loud])

    def _encoded(self, pieces: Iterable[_Piece]) -> Iterator[tuple[_Piece, dict[str, Tensor] | None]]:
        """Pieces in order with what the cache keeps of each; None for one without windows.

        On an accelerator a batch that is half empty takes as long as a full one: batches are filled from clip to clip,
        and the last is filled up with silence, since there, too, the last bits hang on a batch's shape. What else is in
        a batch changes nothing. On a CPU nothing is gained by that, and a window that is alone in a batch has other
        last bits than with company: each clip has batches of its own, so that its targets don't hang on other clips.
        """
        across = self._on_accelerator
        waiting: deque[_Piece] = deque()
        windows: deque[NDArray[np.float32]] = deque()
        rows: deque[Tensor] = deque()

        def encode(count: int) -> None:
            batch = np.stack([windows.popleft() for _ in range(count)])
            if across and count < TOGETHER:
                batch = np.concatenate([batch, np.zeros((TOGETHER - count, *batch.shape[1:]), batch.dtype)])
            rows.extend(self.backbone.targets(torch.from_numpy(batch)).cpu()[:count])

        def whole() -> Iterator[tuple[_Piece, dict[str, Tensor] | None]]:
            while waiting and len(waiting[0].starts) <= len(rows):
                piece = waiting.popleft()
                yield piece, _kept_of(piece, [rows.popleft() for _ in piece.starts])

        for piece in pieces:
            if windows and piece.windows and len(windows[0]) != len(piece.windows[0]):  # mono and stereo
                encode(len(windows))
            waiting.append(piece)
            windows.extend(piece.windows)
            piece.windows.clear()
            while len(windows) >= TOGETHER:
                encode(TOGETHER)
            if across:
                # A view would hold its whole song.
                windows = deque(window.copy() for window in windows)
            elif windows:
                encode(len(windows))
            yield from whole()
        if windows:
            encode(len(windows))
        yield from whole()

    @cached_property
    def _on_accelerator(self) -> bool:
        networks = self.backbone.modules().values()
        return any(value.device.type != "cpu" for network in networks for value in network.parameters())

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
                f"free some space, or choose another folder with {option('cache')}"
            )
        with atomic_path(path) as part:
            # Not save_file: on a full disk it raises an error that is no OSError.
            part.write_bytes(save(tensors))


class _Piece(NamedTuple):
    """Clips that share a stretch of a song: where their targets are kept, and their windows that are not silent."""

    path: Path
    clips: list[Clip]
    starts: list[float]
    windows: list[NDArray[np.float32]]


def _kept_of(piece: _Piece, rows: list[Tensor]) -> dict[str, Tensor] | None:
    if not rows:
        return None
    targets = torch.stack(rows)
    return {
        "targets": (targets.half() if targets.is_floating_point() else targets).contiguous(),
        "starts": torch.tensor(piece.starts, dtype=torch.float64),
    }


def _song_of(clip: Clip) -> str:
    return str(clip.audio)


def _load(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(str(path))
    except (SafetensorError, OSError) as error:
        raise OutputError(f"{path}: a damaged file in the cache ({error}): remove it and run again") from error


def rounded(seconds: float) -> float:
    """As a file of targets is found by: two clips that share it may differ by less."""
    return round(seconds, 6)


def _by_start(tensors: Mapping[str, Tensor]) -> dict[float, Tensor]:
    return {rounded(float(start)): row for start, row in zip(tensors["starts"], tensors["targets"], strict=True)}
