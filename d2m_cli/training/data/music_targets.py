"""What the loss rebuilds of the music (latents, codec tokens), computed once and kept in a cache folder."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from d2m_cli.errors import InputError, OutputError
from d2m_cli.ground.digests import settings_digest
from d2m_cli.ground.files import atomic_path
from d2m_cli.ground.options import option
from d2m_cli.ground.progress import Progress
from d2m_cli.media.audio import fit_length
from d2m_cli.training.data.clips import Clip, Skip
from d2m_cli.training.data.sources import content_of, song

if TYPE_CHECKING:
    from d2m_cli.backbones.base import Backbone

SILENCE = 1e-4
"""Root mean square below which a window of music holds nothing to learn."""
TOGETHER = 8
"""Windows that go through the backbone's autoencoder or codec at once."""
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
        with progress.stage("targets of the music", left) as advance:
            # One song serves many clips: it is decoded once for those that follow each other.
            for audio, group in groupby(sorted(missing, key=lambda c: str(c.audio)), lambda c: c.audio):
                clips = list(group)
                try:
                    samples = song(audio, self.backbone.sample_rate)
                except InputError as error:
                    skipped.append(Skip(audio, str(error)))
                    continue
                for clip in clips:
                    path = self._target_path(clip, starts[clip])
                    # Dances to the same stretch of a song, or seen by several cameras, share their targets.
                    made = _load(path) if path.is_file() else self._targets(clip, starts[clip], samples)
                    if made is None:
                        skipped.append(Skip(audio, f"{audio}: the music of {clip.name} is silent"))
                    else:
                        if not path.is_file():
                            self._keep(path, made, left)
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

    def _targets(self, clip: Clip, starts: list[float], samples: NDArray[np.float32]) -> dict[str, Tensor] | None:
        rate = self.backbone.sample_rate
        length = round(self.backbone.window_seconds * rate)
        first = [round((clip.audio_start + start) * rate) for start in starts]
        windows = [fit_length(samples[:, at : at + length], length) for at in first]
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
                f"free some space, or choose another folder with {option('cache')}"
            )
        with atomic_path(path) as part:
            # Not save_file: on a full disk it raises an error that is no OSError.
            part.write_bytes(save(tensors))


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
