"""CLAP score: whether generated music is what its prompt says, and CLAP as an embedding for FAD and KAD.

Wu et al., "Large-Scale Contrastive Language-Audio Pretraining" (2023); the score is the cosine of the angle between the
embeddings of sound and text.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from d2m_cli.errors import UsageError
from d2m_cli.evaluation.sound.embedding import Samples, mono_at, too_short
from d2m_cli.hub.store import locate
from d2m_cli.inversion.clap import ClapAudio
from d2m_cli.inversion.genre_encoder import CLAP_WIDTH
from d2m_cli.inversion.prompt import GENRE_WORD, RHYTHM_WORD

RATE = 48000
"""Hz."""
FRAME_SECONDS = 10.0
"""What CLAP hears at once."""
SHORTEST_SECONDS = 1.0
"""Under which a sound, or what is left at its end, gives no frame."""


class Clap:
    """A CLAP model that hears and reads; an embedder of `d2m_cli.evaluation.sound.embedding`.

    Parameters
    ----------
    audio
        The model.
    """

    name = "clap"
    sample_rate = RATE
    width = CLAP_WIDTH

    def __init__(self, audio: ClapAudio) -> None:
        self.audio = audio

    @classmethod
    def load(cls, folder: Path | None) -> Clap:
        """Load a model.

        Parameters
        ----------
        folder
            As transformers saves one, or "clap" or None for the one that ``d2m weights pull clap`` fetched.

        Raises
        ------
        MissingWeightsError
            There is no such model in the folder.
        """
        return cls(ClapAudio(locate("clap") if folder is None else folder))

    def embed(self, samples: Samples, rate: int) -> NDArray[np.float32]:
        """One embedding of length 1 for every 10 s, the last of which may be shorter.

        Parameters
        ----------
        samples
            (n,) or (channels, n), full scale 1.
        rate
            Hz.

        Returns
        -------
        (frames, 512)

        Raises
        ------
        AudioError
            The sound is shorter than 1 s, or holds values that are not numbers.
        """
        sound = mono_at(samples, rate, RATE)
        shortest, longest = round(SHORTEST_SECONDS * RATE), round(FRAME_SECONDS * RATE)
        if len(sound) < shortest:
            raise too_short(self.name, len(sound) / RATE, SHORTEST_SECONDS)
        starts = range(0, len(sound) - shortest + 1, longest)
        return np.stack([self.audio.embed(sound[start : start + longest], RATE).numpy() for start in starts])

    def read(self, prompt: str) -> NDArray[np.float32]:
        """Embed a text.

        Parameters
        ----------
        prompt
            Plain words. The pseudo-words "@" and "*" mean nothing to CLAP and are refused.

        Returns
        -------
        (512,) of length 1.

        Raises
        ------
        UsageError
            The text is empty or holds a pseudo-word.
        MissingWeightsError
            The folder holds no tokenizer or no text half.
        """
        words = prompt.split()
        if not words or {GENRE_WORD, RHYTHM_WORD} & {word.strip(",.;:") for word in words}:
            raise UsageError(
                f"a CLAP score takes plain words without {GENRE_WORD!r} and {RHYTHM_WORD!r}, not {prompt!r}; "
                "give what was asked for in words alone, such as 'funky guitar'"
            )
        return np.asarray(self.audio.read(prompt).numpy())

    def score(self, samples: Samples, rate: int, prompt: str) -> float:
        """Cosine similarity of a clip and its prompt, -1 to 1.

        Raises
        ------
        AudioError, UsageError, MissingWeightsError
            As in `embed` and `read`.
        """
        sound = mono_at(samples, rate, RATE)
        if len(sound) < round(SHORTEST_SECONDS * RATE):
            raise too_short(self.name, len(sound) / RATE, SHORTEST_SECONDS)
        return float(self.audio.embed(sound, RATE).numpy() @ self.read(prompt))
