"""Music for a few windows after each epoch, to be listened to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from d2m_cli.backbones.base import Backbone
    from d2m_cli.inversion.checkpoint import Encoders
    from d2m_cli.training.data.windows import Windows


def sampler(backbone: Backbone, windows: Windows, count: int, out: Path) -> Callable[[int, Encoders], None]:
    """A function that makes music for a few windows after an epoch: ``samples/epoch-003/<clip>-<start>.wav``."""
    import torch

    from d2m_cli.backbones.base import full_sampling
    from d2m_cli.inversion.prompt import training_prompt
    from d2m_cli.media.audio import save_wav

    chosen = np.unique(np.linspace(0, len(windows) - 1, count).astype(int)) if count else np.zeros(0, int)

    def make(epoch: int, encoders: Encoders) -> None:
        encoders.eval()
        for number in chosen:
            index = np.array([number])
            segment = windows.segments[number]
            sequences, genres, _ = windows.batch(index)
            with torch.inference_mode():
                words = encoders.pseudo_words(sequences.float(), genres)
                prompt = training_prompt(genre="@" in words)
                condition, negative = backbone.embed([prompt], words), backbone.embed([""], {})
                drawn = backbone.generate(condition, negative, [int(number)], None, full_sampling(backbone, None))
            name = f"{segment.clip.name.replace('/', '_')}-{segment.start:.2f}.wav"
            save_wav(out / "samples" / f"epoch-{epoch:03}" / name, drawn.audio[0].numpy(), backbone.sample_rate)

    return make
