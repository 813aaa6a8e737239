"""Encoders of "*": from a binary rhythm sequence to a pseudo-word's vectors (Sec. 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from d2m_cli.inversion.shape import WordShape

PUBLISHED_INNER, PUBLISHED_HEADS, PUBLISHED_HEAD_WIDTH = 768, 8, 64


class RhythmMLP(nn.Module):
    """The paper's MLP projector.

    The paper names "multiple linear layers and activation layers" and no more; ours are four linear layers with SiLU
    between them. Units of the first start as sinusoids of time, of 2 to 26 cycles a window (0.4 to 5 Hz in 5.12 s):
    what a pulse train answers to them is its tempo and phase, which spares the training most of its way.

    Parameters
    ----------
    steps
        Length of the binary sequence.
    shape
        Of the pseudo-word.
    hidden
        Width of the inner layers.
    """

    def __init__(self, steps: int, shape: WordShape, hidden: int = 512) -> None:
        super().__init__()
        self.shape = shape
        self.layers = nn.Sequential(
            nn.Linear(steps, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, shape.size),
        )
        with torch.no_grad():
            # Four phases of each frequency, as SiLU passes one side only.
            count = hidden // 4
            angle = 2 * torch.pi * torch.linspace(2, 26, count)[:, None] * torch.arange(steps) / steps
            waves = torch.cat([angle.cos(), angle.sin(), -angle.cos(), -angle.sin()])
            self.layers[0].get_parameter("weight")[: 4 * count] = 0.4 * waves

    def forward(self, sequence: Tensor) -> Tensor:
        """(batch, steps) of zeros and ones -> (batch, layers, vectors, width)."""
        return self.shape.fold(self.layers(sequence.to(torch.float32)))


class SingleTokenAttention(nn.Module):
    """Multi-head attention as in Stable Diffusion's transformer blocks: no bias in q, k and v."""

    def __init__(self, width: int, heads: int, head_width: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        inner = heads * head_width
        self.to_q = nn.Linear(width, inner, bias=False)
        self.to_k = nn.Linear(width, inner, bias=False)
        self.to_v = nn.Linear(width, inner, bias=False)
        self.to_out = nn.Sequential(nn.Linear(inner, width), nn.Dropout(dropout))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """(batch, n, width) asks (batch, m, width) -> (batch, n, width)."""
        q, k, v = (
            layer(given).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, given in ((self.to_q, x), (self.to_k, context), (self.to_v, context))
        )
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.to_out(mixed.transpose(1, 2).flatten(2))
        return out


class AttnPos(nn.Module):
    """The paper's "Attn+Pos" projector, layer for layer as in the published MusicGen variant.

    A scalar position embedding is added to the binary sequence; LayerNorm, Linear, Dropout, SiLU, Linear; then two
    residual attention layers, of which the second asks the input of the first, and Dropout, Linear. The whole sequence
    is one token there, so that each attention passes its own values on whatever q and k say; they are kept because the
    published checkpoints hold them. At 303 steps and one vector of width 768 there are 4,562,829 parameters.

    Parameters
    ----------
    steps
        Length of the binary sequence; 303 in the published model.
    shape
        Of the pseudo-word. The inner width stays 768.
    """

    def __init__(self, steps: int, shape: WordShape) -> None:
        super().__init__()
        inner = PUBLISHED_INNER
        self.shape = shape
        self.position = nn.Embedding(steps, 1)
        self.enter = nn.Sequential(
            nn.LayerNorm(steps), nn.Linear(steps, inner), nn.Dropout(0.1), nn.SiLU(), nn.Linear(inner, inner)
        )
        self.first = SingleTokenAttention(inner, PUBLISHED_HEADS, PUBLISHED_HEAD_WIDTH, 0.05)
        self.second = SingleTokenAttention(inner, PUBLISHED_HEADS, PUBLISHED_HEAD_WIDTH, 0.05)
        self.leave = nn.Sequential(nn.Dropout(0.05), nn.Linear(inner, shape.size))

    def forward(self, sequence: Tensor) -> Tensor:
        """(batch, steps) of zeros and ones -> (batch, layers, vectors, width)."""
        x = self.enter((sequence.to(torch.float32) + self.position.weight[:, 0])[:, None])
        attended = self.first(x, x) + x
        attended = self.second(attended, x) + attended
        return self.shape.fold(self.leave(attended)[:, 0])


class RhythmSequence(nn.Module):
    """The rhythm as a row of vectors in time: each token hears its own stretch of the window, the first the first.

    One vector has to hold all accents of 5 s at once. Here the window is cut into as many even stretches as there are
    vectors, and the same small network reads each: two convolutions, which look `reach` steps past a stretch's ends so
    that an accent near its edge is seen from both sides, then one filter bank as long as the stretch, which keeps where
    in it the accents lie, and two linear layers. A vector of its own for every stretch tells the text transformer which
    one it is.

    Parameters
    ----------
    steps
        Length of the binary sequence; a last stretch that is not full is filled with silence.
    shape
        Of the pseudo-word; `shape.vectors` is the number of stretches.
    hidden
        Width of the inner layers.
    """

    KERNEL, CHANNELS = 9, 32

    def __init__(self, steps: int, shape: WordShape, hidden: int = 512) -> None:
        super().__init__()
        self.shape = shape
        stretch = -(-steps // shape.vectors)
        self.missing = stretch * shape.vectors - steps
        self.listen = nn.Sequential(
            nn.Conv1d(1, self.CHANNELS, self.KERNEL, padding="same"),
            nn.SiLU(),
            nn.Conv1d(self.CHANNELS, self.CHANNELS, self.KERNEL, padding="same"),
            nn.SiLU(),
            nn.Conv1d(self.CHANNELS, hidden, stretch, stride=stretch),
        )
        self.place = nn.Parameter(0.02 * torch.randn(shape.vectors, hidden))
        self.speak = nn.Sequential(
            nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, shape.layers * shape.width)
        )

    @property
    def reach(self) -> int:
        """How many steps past the ends of its stretch a vector hears."""
        return self.KERNEL - 1

    def forward(self, sequence: Tensor) -> Tensor:
        """(batch, steps) of zeros and ones -> (batch, layers, vectors, width)."""
        padded = nn.functional.pad(sequence.to(torch.float32), (0, self.missing))
        heard = self.listen(padded[:, None]).transpose(1, 2)
        spoken: Tensor = self.speak(heard + self.place)
        return spoken.reshape(*spoken.shape[:2], self.shape.layers, self.shape.width).transpose(1, 2)
