"""What a sound is like, or words are, in 512 numbers: CLAP, for "@" by example (the paper's ablation, Sec. 4.5)."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor

from d2m_cli.errors import AudioError, MissingWeightsError, UsageError
from d2m_cli.ground.digests import files_digest
from d2m_cli.ground.options import option
from d2m_cli.hub.store import named_path
from d2m_cli.inversion.genre_encoder import CLAP_WIDTH
from d2m_cli.media.audio import resample


def _advice() -> str:
    return (
        f"Fetch laion/clap-htsat-unfused with 'd2m weights pull clap' and say {option('clap', 'clap')}, or give the "
        f"folder of a model: {option('clap', 'FOLDER')}."
    )


class ClapAudio:
    """A CLAP model that listens, and that reads where its folder holds what that takes.

    Parameters
    ----------
    folder
        A model as transformers saves one: ``config.json``, ``preprocessor_config.json`` and the weights; or "clap" for
        the one that ``d2m weights pull clap`` fetched.
    device
        "cpu", "cuda", or "cuda:1" of several.

    Raises
    ------
    MissingWeightsError
        There is no such model in the folder.
    UsageError
        Its embeddings do not have 512 numbers.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        from transformers import ClapFeatureExtractor, ClapModel

        self.folder = named_path(folder)
        if not self.folder.is_dir():
            raise MissingWeightsError(f"{folder}: no such folder. {_advice()}")
        extractor: Any = ClapFeatureExtractor
        model: Any = ClapModel
        self._extractor: Any
        self._model: Any
        try:
            self._extractor = extractor.from_pretrained(self.folder, local_files_only=True)
            self._model, loading = model.from_pretrained(self.folder, local_files_only=True, output_loading_info=True)
        except (OSError, ValueError, SafetensorError) as error:
            raise MissingWeightsError(f"{folder}: not a CLAP model ({error}). {_advice()}") from error
        # What a file lacks is drawn at random, with a warning alone.
        heard = {name for name, _ in self._model.named_parameters() if name.startswith("audio_")}
        lacking = sorted(heard & set(loading["missing_keys"]))
        if lacking:
            raise MissingWeightsError(f"{folder}: not a whole CLAP model, {lacking[0]} is missing. {_advice()}")
        self._unread = sorted(name for name in loading["missing_keys"] if name.startswith("text_"))
        width = int(self._model.config.projection_dim)
        if width != CLAP_WIDTH:
            raise UsageError(f"{folder}: its embeddings have {width} numbers, and d2m takes {CLAP_WIDTH}. {_advice()}")
        self.device = torch.device(device)
        self._model.to(self.device).eval().requires_grad_(False)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the weights files."""
        return files_digest(self.folder, (".",))

    @torch.no_grad()
    def embed(self, samples: NDArray[np.float32], rate: int) -> Tensor:
        """Listen to a sound.

        CLAP hears 10 s at a time, and its own feature extractor cuts longer sounds at random. Here they are cut into
        pieces of 10 s, the last of which may be shorter, and the mean over the pieces is taken by their lengths: one
        sound always gives the same embedding.

        Parameters
        ----------
        samples
            (n,) float32, mono.
        rate
            In Hz; brought to the 48 kHz that CLAP hears.

        Returns
        -------
        (512,) float32 on the CPU, of length 1.

        Raises
        ------
        AudioError
            There are no samples.
        """
        if samples.ndim != 1 or not len(samples):
            raise AudioError(f"a sound example must have samples of shape (n,), not {samples.shape}")
        wanted = int(self._extractor.sampling_rate)
        heard = resample(samples[None], rate, wanted)[0] if rate != wanted else samples
        longest = int(self._extractor.nb_max_samples)
        pieces = [heard[start : start + longest] for start in range(0, len(heard), longest)]
        total = sum((len(piece) * self._embed_piece(piece) for piece in pieces), torch.zeros(CLAP_WIDTH))
        return torch.nn.functional.normalize(total, dim=0)

    @cached_property
    def unable_to_read(self) -> str:
        """Why it can't read, in words; "" where it can."""
        # Without its files, transformers makes a tokenizer that knows no words, and says nothing.
        if not any((self.folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
            return "can't read text (no tokenizer.json or vocab.json)"
        return f"lacks {self._unread[0]}" if self._unread else ""

    @torch.no_grad()
    def read(self, text: str) -> Tensor:
        """Embed a text, which is cut where it is longer than CLAP reads.

        Parameters
        ----------
        text
            Plain words.

        Returns
        -------
        (512,) float32 on the CPU, of length 1.

        Raises
        ------
        MissingWeightsError
            The folder holds no tokenizer or no text half.
        """
        tokens = self._tokenizer([" ".join(text.split())], return_tensors="pt", truncation=True)
        out = self._model.get_text_features(**tokens.to(self.device))
        embedding: Tensor = out if isinstance(out, Tensor) else out.pooler_output
        return torch.nn.functional.normalize(embedding[0].float().cpu(), dim=0)

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        if self.unable_to_read:
            raise MissingWeightsError(f"{self.folder}: CLAP {self.unable_to_read}. {_advice()}")
        tokenizer: Any = AutoTokenizer
        try:
            return tokenizer.from_pretrained(self.folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise MissingWeightsError(f"{self.folder}: CLAP can't read text ({error}). {_advice()}") from error

    def _embed_piece(self, piece: NDArray[np.float32]) -> Tensor:
        kind = "fusion" if self._model.config.audio_config.enable_fusion else "rand_trunc"
        rate = int(self._extractor.sampling_rate)
        features = self._extractor(piece, truncation=kind, sampling_rate=rate, return_tensors="pt")
        out = self._model.get_audio_features(**features.to(self.device))
        # transformers 5.0 answers with the embedding itself, later ones with an output that holds it.
        embedding: Tensor = out if isinstance(out, Tensor) else out.pooler_output
        return torch.nn.functional.normalize(embedding[0].float().cpu(), dim=0)
