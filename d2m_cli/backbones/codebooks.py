"""Music as tokens of several codebooks: delay pattern, Eq. 3, and drawing tokens one frame after the other.

A codec turns each frame of audio into one token a codebook, the first of which says most. A language model writes them
with codebook k delayed by k frames (Copet et al. 2023, Sec. 2.2), so that each token sees the coarser ones of its own
frame. Nothing here knows which library the model comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from d2m_cli.backbones.base import FullSampling

Step = Callable[[Tensor], Tensor]
"""Tokens (batch, codebooks, n) that follow those given before -> (batch, codebooks, cardinality) logits of what comes
next. Keeps what it has read."""
WHOLE = 2.0**40
"""What all shares of a token's choice are together, in whole numbers: far more than the 24 bits of a random number."""


def delayed(codes: Tensor, delays: Sequence[int], filler: int) -> Tensor:
    """Shift codebooks to the right.

    Parameters
    ----------
    codes
        (batch, codebooks, frames) tokens.
    delays
        By how many steps, for each codebook.
    filler
        What stands where a codebook has no frame.

    Returns
    -------
    (batch, codebooks, frames + max(delays)).
    """
    batch, codebooks, frames = codes.shape
    out = codes.new_full((batch, codebooks, frames + max(delays)), filler)
    for book, delay in enumerate(delays):
        out[:, book, delay : delay + frames] = codes[:, book]
    return out


def undelayed(tokens: Tensor, delays: Sequence[int]) -> Tensor:
    """The inverse of `delayed`: (batch, codebooks, frames + max(delays)) -> (batch, codebooks, frames)."""
    frames = tokens.shape[-1] - max(delays)
    return torch.stack([tokens[:, book, delay : delay + frames] for book, delay in enumerate(delays)], 1)


def inside(frames: int, delays: Sequence[int]) -> Tensor:
    """(codebooks, frames + max(delays)) bool: where the delayed pattern holds a frame."""
    at = torch.arange(frames + max(delays))
    return torch.stack([(at >= delay) & (at < delay + frames) for delay in delays])


def codebook_loss(logits: Tensor, tokens: Tensor, where: Tensor) -> Tensor:
    """Eq. 3: cross-entropy over the frames of each codebook, averaged over codebooks.

    Parameters
    ----------
    logits
        (batch, codebooks, steps, cardinality).
    tokens
        (batch, codebooks, steps) what they should foretell.
    where
        (codebooks, steps) bool, from `inside`; all other places play no part.

    Returns
    -------
    (batch,) nats. The mean over a batch is what transformers' loss gives, and audiocraft's where all steps are kept:
    its solver leaves the last, partly filled ones out (6 of 1024 tokens).
    """
    index = tokens.long().clamp(max=logits.shape[-1] - 1)
    lost = logits.float().logsumexp(-1) - logits.float().gather(-1, index[..., None])[..., 0]
    mask = where.to(lost.device, lost.dtype)
    return ((lost * mask).sum(-1) / mask.sum(-1)).mean(1)


def chances(seeds: Sequence[int], codebooks: int, steps: int) -> Tensor:
    """(batch, codebooks, steps) numbers of 0 to 1, one for each token that may be drawn; each row by its own seed.

    They are drawn on the CPU, so that a GPU draws the same tokens from the same probabilities and waits for none.
    """
    return torch.stack([torch.rand(codebooks, steps, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def pick(logits: Tensor, chance: Tensor, sampling: FullSampling) -> Tensor:
    """Draw one token each.

    The same logits give the same token on every call, also where several are alike, as half precision often makes them:
    of those the one with the lowest number stands first, and is kept first.

    Parameters
    ----------
    logits
        (..., cardinality), guidance included.
    chance
        (...) of 0 to 1, from `chances`.
    sampling
        `temperature`, `top_k` and `top_p` are used: first the k most likely tokens are kept, of these then the fewest
        whose share reaches p.

    Returns
    -------
    (...) int64.
    """
    if sampling.temperature == 0:
        return logits.argmax(-1)
    count = logits.shape[-1]
    kept = min(sampling.top_k or count, count)
    tokens = likeliest(logits, kept)
    ranked = logits.gather(-1, tokens).float() / sampling.temperature
    # The sum of many probabilities needs more than half precision has, and a GPU adds fractions up in any order: whole
    # numbers have one sum.
    shares = (ranked.softmax(-1) * WHOLE).long()
    reached = shares.cumsum(-1)
    if sampling.top_p < 1:
        shares = shares * (reached - shares < sampling.top_p * reached[..., -1:].double())
        reached = shares.cumsum(-1)
    place = (reached < chance[..., None].double() * reached[..., -1:]).sum(-1, keepdim=True)
    return tokens.gather(-1, place.clamp(max=kept - 1))[..., 0]


def likeliest(logits: Tensor, count: int) -> Tensor:
    """(..., count) numbers of the largest logits, the largest first; of those that are alike the lowest number first.

    `topk` by itself says nothing on the order of what is alike, nor on which of it is left out; so it is given whole
    numbers of which no two are: the bits of each logit, which are in the order of the numbers they stand for once those
    of negative ones are turned around, and behind them the token, counted from the end.
    """
    # The two zeros are alike, and become one.
    bits = (logits.float() + 0.0).view(torch.int32)
    order = bits ^ (bits >> 31 & 0x7FFFFFFF)
    last = logits.shape[-1] - 1
    from_end = last - torch.arange(last + 1, device=logits.device)
    keys = (order.long() * 2**32 + from_end).topk(count, dim=-1).values
    return last - keys % 2**32


def guided(logits: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance: (2 * batch, ...), first with the prompt and then without -> (batch, ...)."""
    given, without = logits.chunk(2)
    return without + scale * (given - without)


class Writing:
    """Tokens of a batch of windows while they are drawn.

    All that a step reads and changes are tensors that stay where they are in memory, the place that is drawn next among
    them, so that a step that was recorded on a GPU can be replayed, and waits for nothing.

    Parameters
    ----------
    batch
        Windows.
    frames
        Of each.
    delays, filler
        As in `delayed`; the filler is also the token that stands before the first.
    device
        Where the model computes.

    Attributes
    ----------
    tokens
        (batch, codebooks, 1 + frames + max(delays)) int64, the delayed pattern behind the filler.
    at
        (1,) int64: the last place of `tokens` that is known; the one behind it is drawn next.
    """

    def __init__(self, batch: int, frames: int, delays: Sequence[int], filler: int, device: torch.device) -> None:
        self.frames, self.delays, self.filler = frames, tuple(delays), filler
        books, self.steps = len(delays), frames + max(delays)
        self.tokens = torch.full((batch, books, 1 + self.steps), filler, dtype=torch.int64, device=device)
        self.at = torch.zeros(1, dtype=torch.int64, device=device)
        self._numbers = torch.zeros(batch, books, self.steps, device=device)
        self._ours = torch.zeros(books, self.steps, dtype=torch.bool, device=device)

    def begin(self, known: Tensor, seeds: Sequence[int]) -> int:
        """Start anew with (batch, codebooks, n) frames; returns how many steps remain to be drawn."""
        given = known.shape[-1]
        self.tokens.fill_(self.filler)
        if given:
            self.tokens[..., 1 : 1 + given + max(self.delays)] = delayed(known, self.delays, self.filler)
        self.at.fill_(given)
        self._numbers.copy_(chances(seeds, len(self.delays), self.steps))
        # Codebook k holds frame (at - its delay) at step `at`: drawn unless given, and filler past either end.
        frame = torch.arange(self.steps) - torch.tensor(self.delays)[:, None]
        self._ours.copy_((frame >= given) & (frame < self.frames))
        return self.steps - given

    def draw(self, logits: Tensor, sampling: FullSampling) -> None:
        """Write one token a codebook, drawn from logits (batch, codebooks, cardinality); with guidance twice the rows.

        `guidance`, `temperature`, `top_k` and `top_p` are used.
        """
        # Half precision would make many more tokens equally likely.
        logits = logits.float()
        if sampling.guidance != 1:
            logits = guided(logits, sampling.guidance)
        drawn = pick(logits, self._numbers.index_select(-1, self.at)[..., 0], sampling)
        following = self.at + 1
        ours = self._ours.index_select(-1, self.at)[:, 0]
        before = self.tokens.index_select(-1, following)[..., 0]
        self.tokens.index_copy_(-1, following, torch.where(ours, drawn, before)[..., None])
        self.at.copy_(following)

    def written(self) -> Tensor:
        """(batch, codebooks, frames) tokens, in memory of their own."""
        return undelayed(self.tokens[..., 1:], self.delays)


def write_frames(
    step: Step,
    known: Tensor,
    frames: int,
    delays: Sequence[int],
    filler: int,
    seeds: Sequence[int],
    sampling: FullSampling,
) -> Tensor:
    """Draw tokens until there are enough frames.

    Parameters
    ----------
    step
        The model. With guidance it takes each row twice, with the prompt and without.
    known
        (batch, codebooks, n) frames to begin with; n may be 0.
    frames
        How many there should be in all.
    delays, filler
        As in `delayed`; the filler is also the token that stands before the first.
    seeds
        One for each row.
    sampling
        `guidance`, `temperature`, `top_k` and `top_p` are used.

    Returns
    -------
    (batch, codebooks, frames), beginning with `known`.
    """
    writing = Writing(len(known), frames, delays, filler, known.device)
    left = writing.begin(known, seeds)
    read, last = 0, writing.steps - left
    for at in range(last, last + left):
        new = writing.tokens[..., read : at + 1]
        writing.draw(step(twice(new) if sampling.guidance != 1 else new), sampling)
        read = at + 1
    return writing.written()


def twice(tokens: Tensor) -> Tensor:
    """Each row with the prompt, and then each without: (batch, ...) -> (2 * batch, ...)."""
    return torch.cat([tokens, tokens])
