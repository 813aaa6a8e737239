"""Tokens of several codebooks, against patterns written out by hand, and against transformers' own."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor
from transformers import MusicgenDecoderConfig, MusicgenForCausalLM, TopKLogitsWarper, TopPLogitsWarper
from transformers.generation.logits_process import ClassifierFreeGuidanceLogitsProcessor

from d2m_cli.backbones.base import FullSampling
from d2m_cli.backbones.codebooks import (
    chances,
    codebook_loss,
    delayed,
    guided,
    inside,
    likeliest,
    pick,
    undelayed,
    write_frames,
)

MONO, STEREO = (0, 1, 2, 3), (0, 0, 1, 1)

# The delay pattern.


def test_each_codebook_is_shifted_by_its_delay() -> None:
    codes = torch.tensor([[[1, 2], [3, 4], [5, 6]]])
    assert delayed(codes, (0, 1, 3), 9).tolist() == [[[1, 2, 9, 9, 9], [9, 3, 4, 9, 9], [9, 9, 9, 5, 6]]]
    assert inside(2, (0, 1, 3)).long().tolist() == [[1, 1, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 1, 1]]


def test_the_two_channels_of_a_frame_are_shifted_alike() -> None:
    codes = torch.tensor([[[1, 2], [3, 4], [5, 6], [7, 8]]])
    assert delayed(codes, STEREO, 9).tolist() == [[[1, 2, 9], [3, 4, 9], [9, 5, 6], [9, 7, 8]]]
    assert inside(2, STEREO).long().tolist() == [[1, 1, 0], [1, 1, 0], [0, 1, 1], [0, 1, 1]]


@pytest.mark.parametrize("delays", [MONO, STEREO, (0, 0, 0, 0), (2, 0, 1, 5)])
@pytest.mark.parametrize("frames", [0, 1, 2, 7])
def test_undelayed_takes_the_shift_back(delays: Sequence[int], frames: int) -> None:
    codes = torch.randint(0, 9, (2, 4, frames))
    tokens = delayed(codes, delays, 9)
    assert tokens.shape == (2, 4, frames + max(delays))
    assert tokens.dtype == codes.dtype
    assert torch.equal(undelayed(tokens, delays), codes)
    # What is inside is the codes, and all else is filler.
    where = inside(frames, delays).expand(2, -1, -1)
    assert torch.equal(tokens[where], codes.flatten())
    assert (tokens[~where] == 9).all()


@pytest.mark.parametrize(("channels", "delays"), [(1, MONO), (2, (0, 0, 1, 1, 2, 2, 3, 3))])
def test_the_pattern_is_transformers_own(channels: int, delays: Sequence[int]) -> None:
    books, frames, known = 4 * channels, 6, 4
    decoder = MusicgenForCausalLM(small_config(books, channels))
    codes = torch.randint(0, 8, (2, books, frames))
    # It begins with one more filler, and marks what is to be drawn with -1.
    given = torch.cat([torch.full((2, books, 1), 8), codes[..., :known]], -1)
    _, pattern = decoder.build_delay_pattern_mask(given.flatten(0, 1), 8, 1 + frames + 3)
    pattern = pattern.unflatten(0, (2, books))[..., 1:]
    assert torch.equal(pattern != 8, inside(frames, delays).expand(2, -1, -1))
    ours = delayed(codes, delays, 8)
    assert torch.equal(pattern[pattern >= 0], ours[pattern >= 0])
    assert int((pattern == -1).sum()) == 2 * books * (frames - known)


# Eq. 3.


def small_config(books: int = 4, channels: int = 1, words: int = 8) -> MusicgenDecoderConfig:
    return MusicgenDecoderConfig(
        vocab_size=words, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, ffn_dim=16, num_codebooks=books,
        audio_channels=channels, pad_token_id=words, bos_token_id=words, dropout=0.0, max_position_embeddings=64,
    )  # fmt: skip


def test_loss_is_the_cross_entropy_of_each_codebook() -> None:
    torch.manual_seed(0)
    codes, delays = torch.randint(0, 5, (3, 4, 6)), (0, 1, 1, 3)
    logits = torch.randn(3, 4, 9, 5) * 3
    ours = codebook_loss(logits, delayed(codes, delays, 5), inside(6, delays))
    assert ours.shape == (3,)
    for row in range(3):
        # Codebook k's frame f is foretold at step f + delay.
        each = [
            torch.nn.functional.cross_entropy(logits[row, book, delay : delay + 6], codes[row, book])
            for book, delay in enumerate(delays)
        ]
        assert ours[row].item() == pytest.approx(torch.stack(each).mean().item(), rel=1e-6)


def test_loss_by_hand() -> None:
    # Two words; the first codebook is sure and right, the second sure of the wrong one by a margin of ln 3.
    three = torch.log(torch.tensor(3.0)).item()
    logits = torch.tensor([[[[50.0, -50.0], [0.0, 0.0]], [[0.0, 0.0], [three, 0.0]]]])
    loss = codebook_loss(logits, torch.tensor([[[0, 2], [2, 1]]]), inside(1, (0, 1)))
    # -ln(1) and -ln(1/4), averaged.
    assert loss.item() == pytest.approx(torch.log(torch.tensor(4.0)).item() / 2, rel=1e-6)


def test_what_lies_outside_plays_no_part() -> None:
    codes = torch.randint(0, 5, (2, 4, 6))
    logits = torch.randn(2, 4, 9, 5, requires_grad=True)
    where = inside(6, MONO)
    tokens = delayed(codes, MONO, 5)
    loss = codebook_loss(logits, tokens, where)
    loss.sum().backward()
    assert logits.grad is not None
    assert (logits.grad[:, ~where] == 0).all()
    assert (logits.grad[:, where].abs().sum(-1) > 0).all()
    other = torch.where(where[None, :, :, None], logits, torch.randn(2, 4, 9, 5))
    assert torch.equal(codebook_loss(other, torch.where(where, tokens, 0), where), loss)


def test_loss_gradient_is_the_one_of_cross_entropy() -> None:
    torch.manual_seed(0)
    codes = torch.randint(0, 5, (2, 4, 6))
    logits = torch.randn(2, 4, 9, 5, requires_grad=True)
    (ours,) = torch.autograd.grad(codebook_loss(logits, delayed(codes, MONO, 5), inside(6, MONO)).sum(), logits)
    labels = delayed(codes, MONO, -100)
    summed = torch.nn.functional.cross_entropy(logits.permute(0, 3, 1, 2), labels, reduction="sum")
    # Each of 4 codebooks has 6 frames.
    (theirs,) = torch.autograd.grad(summed / 24, logits)
    assert torch.allclose(ours, theirs, atol=1e-7)


@pytest.mark.parametrize(("channels", "delays"), [(1, MONO), (2, (0, 0, 1, 1, 2, 2, 3, 3))])
def test_loss_is_transformers_own(channels: int, delays: Sequence[int]) -> None:
    """transformers delays nothing itself: with labels as they come it would learn another order of tokens."""
    torch.manual_seed(0)
    decoder = MusicgenForCausalLM(small_config(4 * channels, channels)).eval()
    for value in decoder.parameters():
        value.data.normal_(std=0.5)
    text, mask = torch.randn(3, 5, 16), torch.tensor([[1] * 5, [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]])
    codes = torch.randint(0, 8, (3, 4 * channels, 7))
    tokens = delayed(codes, delays, 8)
    before = torch.cat([torch.full_like(tokens[..., :1], 8), tokens[..., :-1]], -1)
    with torch.no_grad():
        given = {"encoder_hidden_states": text, "encoder_attention_mask": mask}
        logits = decoder(before.flatten(0, 1), **given).logits.unflatten(0, (3, 4 * channels))
        ours = codebook_loss(logits, tokens, inside(7, delays))
        # Filler in labels becomes -100 inside, and the labels shifted by one become the input.
        theirs = decoder(labels=tokens.transpose(1, 2), **given).loss
        undelayed_loss = decoder(labels=codes.transpose(1, 2), **given).loss
    assert ours.mean().item() == pytest.approx(theirs.item(), rel=1e-5)
    assert abs(theirs.item() - undelayed_loss.item()) > 1e-3


def test_loss_of_tokens_held_in_few_bits_and_of_half_precision() -> None:
    codes = torch.randint(0, 5, (2, 4, 6))
    logits = torch.randn(2, 4, 9, 5)
    tokens, where = delayed(codes, MONO, 5), inside(6, MONO)
    full = codebook_loss(logits, tokens, where)
    assert torch.equal(codebook_loss(logits, tokens.to(torch.int16), where), full)
    half = codebook_loss(logits.bfloat16(), tokens, where)
    assert half.dtype == torch.float32
    assert torch.equal(half, codebook_loss(logits.bfloat16().float(), tokens, where))


# Drawing a token.


def shares_of(logits: Tensor, sampling: FullSampling) -> Tensor:
    """Exact probabilities: softmax at a temperature, then the k largest, then the fewest that reach p."""
    shares = (logits.double() / sampling.temperature).softmax(-1)
    order = shares.argsort(descending=True)
    kept = order[: sampling.top_k or len(order)]
    shares = torch.zeros_like(shares).index_copy(0, kept, shares[kept] / shares[kept].sum())
    total, reaching = 0.0, []
    for token in kept.tolist():
        if total >= sampling.top_p:
            break
        reaching.append(token)
        total += float(shares[token])
    out = torch.zeros_like(shares)
    out[reaching] = shares[reaching] / shares[reaching].sum()
    return out


SETTINGS = [
    FullSampling(top_k=0),
    FullSampling(top_k=0, temperature=0.5),
    FullSampling(top_k=0, temperature=2.0),
    FullSampling(top_k=4),
    FullSampling(top_k=4, temperature=1.7),
    FullSampling(top_k=0, top_p=0.8),
    FullSampling(top_k=6, top_p=0.6, temperature=1.3),
    FullSampling(top_k=1),
    FullSampling(top_k=0, top_p=0.01),
    FullSampling(top_k=250),
]


@pytest.mark.parametrize("sampling", SETTINGS, ids=str)
def test_tokens_come_as_often_as_their_share(sampling: FullSampling) -> None:
    draws = 40_000
    logits = torch.randn(12, generator=torch.Generator().manual_seed(2)) * 1.5
    random = torch.rand(draws, generator=torch.Generator().manual_seed(5))
    drawn = pick(logits.expand(draws, -1), random, sampling)
    assert drawn.dtype == torch.int64
    expected = shares_of(logits, sampling) * draws
    seen = torch.bincount(drawn, minlength=12).double()
    allowed = expected > 0
    assert (seen[~allowed] == 0).all()
    distance = float(((seen - expected)[allowed] ** 2 / expected[allowed]).sum())
    freedom = int(allowed.sum()) - 1
    assert distance <= (chi2.ppf(0.999, freedom) if freedom else 1e-6)


@pytest.mark.parametrize("sampling", SETTINGS, ids=str)
def test_transformers_keeps_the_same_tokens(sampling: FullSampling) -> None:
    logits = torch.randn(20, 12, generator=torch.Generator().manual_seed(3)) * 2
    scores = logits / sampling.temperature
    if sampling.top_k:
        scores = TopKLogitsWarper(min(sampling.top_k, 12))(None, scores)
    if sampling.top_p < 1:
        scores = TopPLogitsWarper(sampling.top_p)(None, scores)
    theirs = scores.isfinite()
    # So many draws that no token with a share of 1 in 1000 is left out.
    random = torch.linspace(0, 1 - 1e-7, 1501)
    drawn = pick(logits[:, None].expand(-1, len(random), -1), random.expand(20, -1), sampling)
    ours = torch.zeros(20, 12, dtype=torch.bool).scatter(1, drawn, True)
    shares = scores.softmax(-1)
    assert torch.equal(ours[shares > 1e-3], theirs[shares > 1e-3])
    assert not (ours & ~theirs).any()


def test_a_random_number_is_spread_over_tokens_from_the_likeliest_on() -> None:
    logits = torch.tensor([0.2, 0.5, 0.3]).log()
    random = torch.tensor([0.0, 0.49, 0.51, 0.79, 0.81, 1 - 2**-24])
    drawn = pick(logits.expand(6, -1), random, FullSampling(top_k=0))
    assert drawn.tolist() == [1, 1, 2, 2, 0, 0]


def test_no_temperature_takes_the_likeliest() -> None:
    logits = torch.randn(3, 4, 9)
    assert torch.equal(pick(logits, torch.rand(3, 4), FullSampling(temperature=0.0)), logits.argmax(-1))


def test_the_number_one_and_hardly_any_share_still_give_a_token() -> None:
    logits = torch.randn(7, 9)
    assert (pick(logits, torch.ones(7), FullSampling(top_k=3)) < 9).all()
    assert torch.equal(pick(logits, torch.rand(7), FullSampling(top_p=1e-9, top_k=0)), logits.argmax(-1))
    # A token that the model rules out is not drawn, however the rest is cut.
    ruled_out = logits.clone()
    ruled_out[:, 4:] = -torch.inf
    assert (pick(ruled_out, torch.rand(7), FullSampling(top_k=0)) < 4).all()


def test_half_precision_draws_what_its_logits_say() -> None:
    # The sum of 2048 shares in bfloat16 would stop growing at 1/256 steps.
    logits = torch.zeros(1024, 2048).bfloat16()
    drawn = pick(logits, chances([0], 1, 1024)[0, 0], FullSampling(top_k=0))
    assert len(drawn.unique()) > 700


def test_of_tokens_that_are_alike_the_lowest_number_comes_first() -> None:
    logits = torch.tensor([0.0, 2.0, -1.0, 2.0, -0.0, -torch.inf, 2.0, -1.0])
    assert likeliest(logits, 8).tolist() == [1, 3, 6, 0, 4, 2, 7, 5]
    assert likeliest(logits.half(), 2).tolist() == [1, 3]
    # All alike: cut at k by number, and as often as they are likely.
    drawn = pick(torch.zeros(8, 12).bfloat16(), torch.linspace(0, 1 - 2**-24, 8), FullSampling(top_k=4))
    assert drawn.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    # By p as well: of six with a share of 1/6 each, three reach a half, and no fourth is kept.
    drawn = pick(torch.zeros(8, 6), torch.linspace(0, 1 - 2**-24, 8), FullSampling(top_k=0, top_p=0.499))
    assert drawn.unique().tolist() == [0, 1, 2]


def test_tokens_do_not_hang_on_how_logits_lie_in_memory() -> None:
    """Rows full of ties, each drawn alone, among others, and from memory in another order."""
    logits = torch.randint(-3, 4, (16, 4, 2048), generator=torch.Generator().manual_seed(1)).half()
    numbers = chances(range(16), 4, 1)[..., 0]
    wanted = logits.float().sort(dim=-1, descending=True, stable=True).indices[..., :250]
    assert torch.equal(likeliest(logits, 250), wanted)
    for sampling in (FullSampling(), FullSampling(top_k=0), FullSampling(top_p=0.7), FullSampling(temperature=0.0)):
        drawn = pick(logits, numbers, sampling)
        assert torch.equal(pick(logits.permute(2, 1, 0).contiguous().permute(2, 1, 0), numbers, sampling), drawn)
        assert torch.equal(torch.stack([pick(logits[row], numbers[row], sampling) for row in range(16)]), drawn)
        # Of each value only the lowest numbers are taken in: nothing drawn stands behind what was left out.
        if sampling.top_k:
            assert (wanted == drawn[..., None]).any(-1).all()


def test_guidance_is_the_usual_one() -> None:
    given, without = torch.randn(2, 4, 9), torch.randn(2, 4, 9)
    both = torch.cat([given, without])
    assert torch.allclose(guided(both, 1.0), given, atol=1e-6)
    assert torch.equal(guided(both, 0.0), without)
    by_hand = guided(torch.tensor([[2.0, 0.0], [1.0, 1.0]]), 3.0)
    assert by_hand.tolist() == [[4.0, -2.0]]
    theirs = ClassifierFreeGuidanceLogitsProcessor(3.0)(torch.zeros(2, 1), both.flatten(1))
    assert torch.allclose(guided(both, 3.0).flatten(1), theirs, atol=1e-6)


# Writing frames.


class Reader:
    """A model that foretells from all that it has read: a sum of tokens with weights by place and codebook.

    It notes the pieces that it is given, so that a test can see what was read, and when.
    """

    def __init__(self, books: int, cardinality: int, rows: int = 1) -> None:
        self.cardinality = cardinality
        self.pieces: list[Tensor] = []
        random = torch.Generator().manual_seed(0)
        self.weights = torch.randn(books, cardinality + 1, books, cardinality, generator=random)
        self.sums = torch.zeros(1)

    def __call__(self, tokens: Tensor) -> Tensor:
        self.pieces.append(tokens.clone())
        for at in range(tokens.shape[-1]):
            new = sum(self.weights[book, tokens[:, book, at]] for book in range(tokens.shape[1]))
            self.sums = 0.7 * self.sums + new
        return self.sums

    def read(self) -> Tensor:
        return torch.cat(self.pieces, -1)


class Counting:
    """Surely foretells, for each codebook, one more than its last token; the filler is followed by 0."""

    def __call__(self, tokens: Tensor) -> Tensor:
        last = tokens[..., -1]
        following = torch.where(last == 10, 0, (last + 1) % 10)
        return torch.nn.functional.one_hot(following, 10) * 100.0


def nothing(rows: int, books: int = 4) -> Tensor:
    return torch.zeros(rows, books, 0, dtype=torch.int64)


GREEDY = FullSampling(guidance=1.0, temperature=0.0)
FREE = FullSampling(guidance=1.0, top_k=0)


@pytest.mark.parametrize("delays", [MONO, STEREO])
def test_a_model_that_counts_writes_numbers(delays: Sequence[int]) -> None:
    written = write_frames(Counting(), nothing(2), 7, delays, 10, [1, 2], GREEDY)
    # Every codebook begins when its own first frame comes, and sees its own last token.
    assert written.tolist() == [[list(range(7))] * 4] * 2


def test_known_frames_are_kept_and_counted_on_from() -> None:
    known = torch.tensor([[[3, 1], [0, 0], [9, 5], [2, 8]]])
    written = write_frames(Counting(), known, 5, MONO, 10, [1], GREEDY)
    assert written.tolist() == [[[3, 1, 2, 3, 4], [0, 0, 1, 2, 3], [9, 5, 6, 7, 8], [2, 8, 9, 0, 1]]]


@pytest.mark.parametrize("given", [0, 1, 2, 3, 5, 9])
def test_the_model_reads_the_delayed_pattern_each_step_once(given: int) -> None:
    reader = Reader(4, 10)
    known = torch.randint(0, 10, (1, 4, given))
    written = write_frames(reader, known, 9, MONO, 10, [3], FREE)
    read = reader.read()
    assert torch.equal(written[..., :given], known)
    assert written.max() < 10
    # The filler first, then all but the last step of what was written; nothing at all where nothing was left to draw.
    pattern = torch.cat([torch.full((1, 4, 1), 10), delayed(written, MONO, 10)], -1)
    if given:
        assert reader.pieces[0].shape[-1] == given + 1
    assert torch.equal(read, pattern[..., :-1])
    assert all(piece.shape[-1] == 1 for piece in reader.pieces[1:])
    # Each token is the one that the model foretold there, at this row's own number.
    numbers = chances([3], 4, 12)
    again = Reader(4, 10)
    for at in range(12):
        foretold = pick(again(pattern[..., at : at + 1]), numbers[..., at], FREE)
        for book, delay in enumerate(MONO):
            if given <= at - delay < 9:
                assert foretold[0, book] == pattern[0, book, at + 1]


def test_with_all_frames_known_nothing_is_changed() -> None:
    known = torch.randint(0, 10, (2, 4, 6))
    assert torch.equal(write_frames(Reader(4, 10), known, 6, MONO, 10, [1, 2], FREE), known)


def test_a_seed_gives_the_same_tokens_whatever_the_other_rows_are() -> None:
    def write(seeds: list[int]) -> Tensor:
        return write_frames(Reader(4, 10), nothing(len(seeds)), 20, MONO, 10, seeds, FREE)

    alone = write([7])
    assert torch.equal(write([7]), alone)
    assert torch.equal(write([3, 7, 9])[1:2], alone)
    assert torch.equal(write([7, 7])[0], write([7, 7])[1])
    assert not torch.equal(write([8]), alone)


def test_going_on_from_its_own_beginning_is_the_same_music() -> None:
    whole = write_frames(Reader(4, 10), nothing(1), 20, MONO, 10, [7], FREE)
    for given in (1, 4, 13, 20):
        known = whole[..., :given]
        assert torch.equal(write_frames(Reader(4, 10), known, 20, MONO, 10, [7], FREE), whole)


def test_another_beginning_and_the_same_seed_are_other_music() -> None:
    whole = write_frames(Reader(4, 10), nothing(1), 20, MONO, 10, [7], FREE)
    other = write_frames(Reader(4, 10), (whole[..., :4] + 1) % 10, 20, MONO, 10, [7], FREE)
    assert not torch.equal(whole[..., 4:], other[..., 4:])


def test_with_guidance_both_halves_read_the_same_tokens() -> None:
    class Steered(Reader):
        """Foretells one thing with the prompt (the first rows), and half of it without."""

        def __call__(self, tokens: Tensor) -> Tensor:
            logits = super().__call__(tokens)
            return torch.cat([logits[: len(logits) // 2], logits[len(logits) // 2 :] / 2])

    reader = Steered(4, 10)
    guidance = FullSampling(guidance=3.0, top_k=0)
    written = write_frames(reader, nothing(2), 9, MONO, 10, [3, 4], guidance)
    read = reader.read()
    assert len(read) == 4
    assert torch.equal(read[:2], read[2:])
    # without + 3 * (given - without) = (1/2 + 3/2) of what it foretells: half the temperature.
    colder = FullSampling(guidance=1.0, top_k=0, temperature=0.5)
    assert torch.equal(written, write_frames(Reader(4, 10), nothing(2), 9, MONO, 10, [3, 4], colder))


def test_numbers_of_a_row_hang_on_its_seed_alone() -> None:
    numbers = chances([4, 5], 3, 11)
    assert numbers.shape == (2, 3, 11)
    assert torch.equal(chances([5], 3, 11)[0], numbers[1])
    assert not torch.equal(numbers[0], numbers[1])
    assert numbers.min() >= 0
    assert numbers.max() < 1
