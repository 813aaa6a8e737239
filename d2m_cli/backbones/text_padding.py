"""Text states filled up to a fixed number of tokens, so that those of several prompts have one shape."""

from __future__ import annotations

from d2m_cli.backbones.base import Condition

TEXT_BLOCK = 64
"""Tokens to whose multiples texts are filled up: else hardly two of a batch would be alike, and steps that are recorded
would have to be recorded for each length."""


def in_blocks(condition: Condition) -> Condition:
    """Text states filled up to a multiple of `TEXT_BLOCK` tokens."""
    return filled_up(condition, -(-condition.states.shape[-2] // TEXT_BLOCK) * TEXT_BLOCK)


def filled_up(condition: Condition, tokens: int) -> Condition:
    """Text states filled up with zeros to so many tokens, which the mask hides; it is made where there is none."""
    import torch
    from torch.nn.functional import pad

    states, mask = condition.states, condition.mask
    if mask is None:
        mask = torch.ones(len(states), states.shape[-2], dtype=torch.bool, device=states.device)
    more = tokens - states.shape[-2]
    return Condition(pad(states, (0, 0, 0, more)), pad(mask, (0, more)))
