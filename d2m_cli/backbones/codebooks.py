"""Music as tokens of several codebooks: delay pattern, Eq. 3, and drawing tokens one frame after the other.

A codec turns each frame of audio into one token a codebook, the first of which says most. A language model writes them
with codebook k delayed by k frames (Copet et al. 2023, Sec. 2.2), so that each token sees the coarser ones of its own
frame. Nothing here knows which library the model comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from d2m_cli.backbones.base import FullSampling as Sampling

Step = Callable[[Tensor], Tensor]
"""Tokens (batch, codebooks, n) that follow those given before -> (batch, codebooks, cardinality) logits of what comes
next. Keeps what it has read."""


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


def pick(logits: Tensor, chance: Tensor, sampling: Sampling) -> Tensor:
    """Draw one token each.

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
    # The sum of many probabilities needs more than half precision has.
    ranked, tokens = (logits.float() / sampling.temperature).topk(min(sampling.top_k or count, count), dim=-1)
    shares = ranked.softmax(-1)
    if sampling.top_p < 1:
        before = shares.cumsum(-1) - shares
        shares = shares * (before < sampling.top_p)
    reached = shares.cumsum(-1)
    place = (reached < chance.to(reached)[..., None] * reached[..., -1:]).sum(-1, keepdim=True)
    return tokens.gather(-1, place.clamp(max=tokens.shape[-1] - 1))[..., 0]


def guided(logits: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance: (2 * batch, ...), first with the prompt and then without -> (batch, ...)."""
    given, without = logits.chunk(2)
    return without + scale * (given - without)


def write_frames(
    step: Step, known: Tensor, frames: int, delays: Sequence[int], filler: int, seeds: Sequence[int], sampling: Sampling
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
    batch, codebooks, given = known.shape
    length = frames + max(delays)
    tokens = known.new_full((batch, codebooks, 1 + length), filler)
    if given:
        tokens[..., 1 : 1 + given + max(delays)] = delayed(known, delays, filler)
    numbers = chances(seeds, codebooks, length).to(known.device)
    # Codebook k holds frame (at - its delay) at step `at`: drawn unless given, and filler past either end.
    offsets = torch.tensor(list(delays), device=known.device)
    twice = sampling.guidance != 1
    read = 0
    for at in range(given, length):
        new = tokens[..., read : at + 1]
        logits = step(torch.cat([new, new]) if twice else new)
        drawn = pick(guided(logits, sampling.guidance) if twice else logits, numbers[..., at], sampling)
        frame = at - offsets
        ours = (frame >= given) & (frame < frames)
        tokens[..., at + 1] = torch.where(ours, drawn, tokens[..., at + 1])
        read = at + 1
    return undelayed(tokens[..., 1:], delays)
