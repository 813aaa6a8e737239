from __future__ import annotations

import pytest
import torch

from d2m_cli.backbones.base import Draw


def piece(batch: int = 1, columns: int = 4) -> Draw:
    """Columns of 0.1 s: 10 samples, 5 tokens in each of 2 codebooks, and 3 x 2 latents that count the columns."""
    latents = torch.arange(columns).float().expand(batch, 3, 2, -1)
    codes = torch.arange(5 * columns).expand(batch, 2, -1)
    return Draw(torch.arange(10.0 * columns).expand(batch, 1, -1), 100, codes, 50.0, latents, 10.0)


def test_the_end_of_a_piece_begins_with_the_same_moment_everywhere() -> None:
    end = piece().end(0.3)
    assert end is not None
    assert (end.audio[0, 0, 0], end.codes[0, 0, 0], end.latents[0, 0, 0, 0]) == (30, 15, 3)
    assert (end.audio.shape[-1], end.codes.shape[-1], end.latents.shape[-1]) == (10, 5, 1)
    assert (end.sample_rate, end.code_rate, end.latent_rate) == (100, 50.0, 10.0)
    assert piece().end(0.4) is None


@pytest.mark.parametrize("column", range(64))
def test_starts_of_windows_are_whole_columns(column: int) -> None:
    start = round(round((5 + column) * 0.08, 9) - round(5 * 0.08, 9), 9)
    end = Draw(torch.zeros(1, 1, 512), 100, None, 0.0, torch.arange(64.0)[None, None, None], 12.5).end(start)
    assert end is not None
    assert end.latents is not None
    assert end.latents[0, 0, 0, 0] == column


def test_latents_that_begin_before_the_sound_are_left_out() -> None:
    end = piece().end(0.15)
    assert end is not None
    assert end.audio[0, 0, 0] == 15
    assert end.latents is None


def test_rows_and_repetitions_keep_tokens_and_latents() -> None:
    rows = Draw.joined([piece(), piece().row(0), piece(2)])
    rows.latents[3] += 7
    assert rows.audio.shape == (4, 1, 40)
    last = rows.row(3)
    assert (last.audio.shape, last.codes.shape, last.latents.shape) == ((1, 1, 40), (1, 2, 20), (1, 3, 2, 4))
    assert last.latents[0, 0, 0].tolist() == [7, 8, 9, 10]
    three = last.repeated(3)
    assert (three.audio.shape, three.codes.shape, three.latents.shape) == ((3, 1, 40), (3, 2, 20), (3, 3, 2, 4))
    assert torch.equal(three.latents[2], last.latents[0])
    alone = Draw.joined([Draw(torch.zeros(1, 1, 10), 100)] * 2)
    assert (alone.audio.shape, alone.codes, alone.latents) == ((2, 1, 10), None, None)


def test_pieces_that_are_no_batch_are_not_joined() -> None:
    with pytest.raises(ValueError, match=r"latents of the same shapes, not .*None"):
        Draw.joined([piece(), Draw(torch.zeros(1, 1, 40), 100, piece().codes, 50.0)])
    with pytest.raises(ValueError, match="latents of the same shapes"):
        Draw.joined([piece(), piece(columns=3)])
