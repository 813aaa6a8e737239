"""What all backbones share whose text goes through a text encoder of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from d2m_cli.backbones.base import tempo_embedding, words_embedding

if TYPE_CHECKING:
    from torch import Tensor

    from d2m_cli.inversion.text_encoding import PromptReader
    from d2m_cli.rhythm.sequence import Tempo


class ReadsText:
    """Plain words as input embeddings of the text encoder, and what that does not read; see the protocol."""

    text_encoder: Any
    tokenizer: Any
    speaks_tempo: bool
    _read_text: PromptReader

    def words_vector(self, text: str) -> Tensor:
        """Mean input embedding of a text's tokens; see the protocol."""
        return words_embedding(self.tokenizer, self.text_encoder.get_input_embeddings().weight, text)

    def tempo_vector(self, tempo: Tempo) -> Tensor:
        """A tempo as one word; see the protocol."""
        return tempo_embedding(self.words_vector, tempo, self.speaks_tempo)

    def unread(self, prompt: str, pseudo_words: Mapping[str, Tensor]) -> str:
        """The end of a prompt that the text transformer does not read; see `d2m_cli.backbones.base.unread_words`."""
        return self._read_text.unread(prompt, pseudo_words)
