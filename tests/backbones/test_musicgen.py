"""MusicGen on tiny untrained models: against transformers' own forward pass, loss, generation and codec."""

from __future__ import annotations

import json
import shutil
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from d2m_cli.backbones.base import Condition, Draw, FullSampling, Identity, Sampling, parameters_digest, unread_words
from d2m_cli.backbones.codebooks import delayed
from d2m_cli.backbones.codec_language import side_by_side
from d2m_cli.backbones.musicgen import MusicgenBackbone
from d2m_cli.backbones.musicgen_steps import Recording, heard
from d2m_cli.backbones.text_padding import in_blocks
from d2m_cli.errors import EncoderMismatchError, MissingWeightsError, UsageError
from d2m_cli.rhythm.sequence import Tempo
from tests.tiny_models import save_tiny_musicgen

IDENTITY = Identity("musicgen:tiny", "MIT")
FRAMES = 32
PROMPTS = ["a funky guitar music with drum", "a drum", "", "100 bpm"]
GREEDY = Sampling(guidance=1.0, temperature=0.0)


class Brief(MusicgenBackbone):
    """With windows of 0.64 s: 32 frames, which are quick to draw."""

    window_seconds = FRAMES / 50


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_musicgen(tmp_path_factory.mktemp("mono"))


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stereo model whose text is as wide as its decoder, so that nothing stands between the two."""
    return save_tiny_musicgen(tmp_path_factory.mktemp("stereo"), channels=2, text_width=32)


@pytest.fixture(scope="module")
def mono(tiny: Path) -> Brief:
    return Brief(tiny, IDENTITY)


@pytest.fixture(scope="module")
def stereo(wide: Path) -> Brief:
    return Brief(wide, IDENTITY)


@pytest.fixture(params=["mono", "stereo"])
def backbone(request: pytest.FixtureRequest) -> Brief:
    return request.getfixturevalue(request.param)


@pytest.fixture
def decoded(backbone: Brief, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The tokens that the codec is given, in the order of its calls; transformers keeps them to itself."""
    seen: list[Tensor] = []
    decode = backbone.codec.decode

    def note(codes: Tensor, *arguments: Any, **named: Any) -> Any:
        seen.append(codes)
        return decode(codes, *arguments, **named)

    monkeypatch.setattr(backbone.codec, "decode", note)
    return seen


def text(backbone: Brief, prompts: list[str]) -> dict[str, Any]:
    """Tokens as transformers' own processor makes them."""
    made = backbone.tokenizer(prompts, padding=True, return_tensors="pt")
    mask = made["attention_mask"]
    # An empty prompt is what its generation uses without text: no states and an empty mask.
    mask = mask * torch.tensor([[bool(prompt)] for prompt in prompts])
    return {"input_ids": made["input_ids"], "attention_mask": mask}


def sound(backbone: Brief, batch: int, seconds: float = FRAMES / 50) -> Tensor:
    shape = (batch, backbone.layout.channels, round(seconds * backbone.sample_rate))
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 0.1


def their_tokens(backbone: Brief, decoded: list[Tensor], frames: int = FRAMES, **given: Any) -> tuple[Tensor, Tensor]:
    """Codes and audio of transformers' own generation."""
    decoded.clear()
    books = len(backbone.layout.delays)
    total = 1 + frames + max(backbone.layout.delays)
    audio = backbone.model.generate(
        **given, do_sample=False, max_length=total, pad_token_id=32, decoder_start_token_id=32, bos_token_id=32
    )
    if backbone.layout.channels == 1:
        return decoded[0][0], audio
    left, right = decoded[0][0], decoded[1][0]
    return torch.stack([left, right], 2).reshape(len(left), books, -1), audio


# What transformers makes of the same input.


def test_logits_are_transformers_own(backbone: Brief) -> None:
    books = len(backbone.layout.delays)
    tokens = torch.randint(0, 33, (4, books, 11))
    words = {"*": torch.randn(4, backbone.text_width)}
    for condition in (backbone.embed(PROMPTS, {}), backbone.embed(PROMPTS, words)):
        with torch.no_grad():
            ours = backbone._logits(tokens, condition)
            theirs = backbone.model(**text(backbone, PROMPTS), decoder_input_ids=tokens.flatten(0, 1)).logits
        assert ours.shape == (4, books, 11, 32)
        assert torch.allclose(ours, theirs.reshape(ours.shape), atol=1e-5)
        assert ours.std() > 0.5


def test_reading_step_by_step_is_reading_at_once(backbone: Brief) -> None:
    condition = backbone.embed(PROMPTS, {})
    tokens = torch.randint(0, 33, (4, len(backbone.layout.delays), 11))
    with torch.no_grad():
        whole = backbone._logits(tokens, condition)
        step = backbone._stepping(condition, 11)
        pieces = [step(tokens[..., :4])] + [step(tokens[..., at : at + 1]) for at in range(4, 11)]
    for at, piece in enumerate(pieces, 3):
        assert torch.allclose(piece, whole[:, :, at], atol=1e-5)


def test_no_step_sees_what_comes_after_it(mono: Brief) -> None:
    condition = mono.embed(PROMPTS, {})
    tokens = torch.randint(0, 33, (4, 4, 11))
    other = tokens.clone()
    other[..., 6:] = (other[..., 6:] + 1) % 33
    with torch.no_grad():
        one, two = mono._logits(tokens, condition), mono._logits(other, condition)
    assert torch.allclose(one[:, :, :6], two[:, :, :6], atol=1e-6)
    assert not torch.allclose(one[:, :, 6:], two[:, :, 6:], atol=1e-2)


def test_loss_is_transformers_own(backbone: Brief) -> None:
    targets = torch.randint(0, 32, (4, len(backbone.layout.delays), 9))
    ours = backbone.loss(targets.to(torch.int16), backbone.embed(PROMPTS, {}))
    assert ours.shape == (4,)
    labels = delayed(targets, backbone.layout.delays, 32).transpose(1, 2)
    with torch.no_grad():
        theirs = backbone.model(**text(backbone, PROMPTS), labels=labels).loss
    assert ours.mean().item() == pytest.approx(theirs.item(), rel=1e-5)
    # Row by row as well: each by itself is a batch of one.
    for row in range(4):
        alone = backbone.loss(targets[row : row + 1], backbone.embed(PROMPTS[row : row + 1], {}))
        assert ours[row].item() == pytest.approx(alone.item(), rel=1e-4)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_the_likeliest_tokens_are_transformers_own(backbone: Brief, decoded: list[Tensor], guidance: float) -> None:
    # Without an empty prompt: with guidance transformers would not take its states away.
    prompts = [prompt for prompt in PROMPTS if prompt]
    codes, audio = their_tokens(backbone, decoded, **text(backbone, prompts), guidance_scale=guidance)
    sampling = Sampling(guidance=guidance, temperature=0.0)
    drawn = backbone.generate(backbone.embed(prompts, {}), backbone.embed([""], {}), [0, 1, 2], None, sampling)
    assert codes.shape == (3, len(backbone.layout.delays), FRAMES)
    assert torch.equal(drawn.codes, codes)
    assert torch.allclose(drawn.audio, audio, atol=1e-6)
    assert drawn.audio.shape == (3, backbone.layout.channels, 8000 * FRAMES // 50)
    # The text is heard, and the tokens are not all the same.
    assert len({row.numpy().tobytes() for row in drawn.codes}) == 3
    assert len(drawn.codes.unique()) > 8


def test_guidance_changes_the_likeliest_tokens(mono: Brief) -> None:
    condition, negative = mono.embed(["a drum"], {}), mono.embed([""], {})
    drawn = [mono.generate(condition, negative, [0], None, Sampling(guidance=g, temperature=0.0)) for g in (1.0, 3.0)]
    assert not torch.equal(drawn[0].codes, drawn[1].codes)


def test_no_text_is_transformers_own_null_condition(backbone: Brief, decoded: list[Tensor]) -> None:
    nothing = backbone.embed(["", "  "], {})
    assert nothing.states.abs().max() == 0
    assert not nothing.mask.any()
    # All hidden would be zero divided by zero where a number format has no room for the mask.
    assert heard(nothing, torch.float32).abs().max() == 0
    unconditional = backbone.model.get_unconditional_inputs(num_samples=2)
    given = {"encoder_outputs": unconditional.encoder_outputs, "attention_mask": unconditional.attention_mask}
    codes, _ = their_tokens(backbone, decoded, **given, guidance_scale=1.0)
    assert torch.equal(backbone.generate(nothing, nothing, [0, 1], None, GREEDY).codes, codes)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_going_on_from_tokens_is_transformers_own(backbone: Brief, decoded: list[Tensor], guidance: float) -> None:
    prompts = ["a funky guitar music", "a drum"]
    known = torch.randint(0, 32, (2, len(backbone.layout.delays), 10))
    codes, audio = their_tokens(
        backbone, decoded, **text(backbone, prompts), decoder_input_ids=known.flatten(0, 1), guidance_scale=guidance
    )
    context = Draw(torch.zeros(2, backbone.layout.channels, 1600), 8000, known, 50.0)
    sampling = Sampling(guidance=guidance, temperature=0.0)
    drawn = backbone.generate(backbone.embed(prompts, {}), backbone.embed([""], {}), [0, 1], context, sampling)
    assert torch.equal(drawn.codes[..., :10], known)
    assert torch.equal(drawn.codes, codes)
    assert torch.allclose(drawn.audio, audio, atol=1e-6)


def test_going_on_from_sound_is_transformers_own(backbone: Brief, decoded: list[Tensor]) -> None:
    prompts, audio = ["a funky guitar music", "a drum"], sound(backbone, 2, 0.2)
    codes, _ = their_tokens(backbone, decoded, **text(backbone, prompts), input_values=audio, guidance_scale=3.0)
    sampling = Sampling(guidance=3.0, temperature=0.0)
    condition, negative = backbone.embed(prompts, {}), backbone.embed([""], {})
    drawn = backbone.generate(condition, negative, [0, 1], Draw(audio, 8000), sampling)
    assert torch.equal(drawn.codes, codes)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_pseudo_words_are_input_embeddings(backbone: Brief, decoded: list[Tensor], guidance: float) -> None:
    prompts = ["a @ music with * as the rhythm", "a @ drum, *"]
    words = {"*": torch.randn(2, backbone.text_width) * 3, "@": torch.randn(2, backbone.text_width) * 3}
    condition = backbone.embed(prompts, words)
    # The same by hand: look all tokens up, and put the vectors where "@" and "*" stand.
    given = text(backbone, prompts)
    table = backbone.text_encoder.get_input_embeddings().weight
    embeddings = table[given["input_ids"]].clone()
    for word, vectors in words.items():
        (token,) = backbone.tokenizer.convert_tokens_to_ids([word])
        for row in range(2):
            (place,) = (given["input_ids"][row] == token).nonzero()[:, 0].tolist()
            embeddings[row, place] = vectors[row]
    # transformers' tokenizer sets a blank of its own before each; d2m cuts the text there, so there is none.
    mask = given["attention_mask"] * (given["input_ids"] != backbone.tokenizer.convert_tokens_to_ids("\u2581"))
    kept = [embeddings[row][mask[row].bool()] for row in range(2)]
    longest = max(map(len, kept))
    embeddings = torch.stack([torch.nn.functional.pad(row, (0, 0, 0, longest - len(row))) for row in kept])
    mask = torch.tensor([[int(at < len(row)) for at in range(longest)] for row in kept])
    assert torch.equal(condition.mask, mask.bool())
    with torch.no_grad():
        states = backbone.text_encoder(inputs_embeds=embeddings, attention_mask=mask).last_hidden_state
        projected = backbone._project(states) * mask[..., None]
    assert torch.allclose(condition.states, projected, atol=1e-5)
    codes, _ = their_tokens(backbone, decoded, inputs_embeds=embeddings, attention_mask=mask, guidance_scale=guidance)
    sampling = Sampling(guidance=guidance, temperature=0.0)
    drawn = backbone.generate(condition, backbone.embed([""], {}), [0, 1], None, sampling)
    assert torch.equal(drawn.codes, codes)


# Tokens and sound.


def test_targets_are_the_codecs_own_tokens(backbone: Brief) -> None:
    audio = sound(backbone, 3)
    targets = backbone.targets(audio)
    assert targets.shape == (3, len(backbone.layout.delays), FRAMES)
    assert targets.dtype == torch.int16
    for channel in range(backbone.layout.channels):
        theirs = backbone.model.audio_encoder.encode(audio[:, channel : channel + 1]).audio_codes
        assert torch.equal(targets[:, channel :: backbone.layout.channels].long(), theirs[0])
    assert len(targets.unique()) > 8


def test_a_window_is_filled_with_silence_or_cut(backbone: Brief) -> None:
    audio = sound(backbone, 1, 2 * FRAMES / 50)
    length = backbone.sample_rate * FRAMES // 50
    assert torch.equal(backbone.targets(audio), backbone.targets(audio[..., :length]))
    short = audio[..., : length // 2]
    filled = torch.nn.functional.pad(short, (0, length - length // 2))
    assert torch.equal(backbone.targets(short), backbone.targets(filled))


def test_one_channel_is_heard_by_two_and_two_by_one(mono: Brief, stereo: Brief) -> None:
    both = sound(stereo, 2)
    assert torch.equal(mono.targets(both), mono.targets(both.mean(1, keepdim=True)))
    one = both[:, :1]
    assert torch.equal(stereo.targets(one), stereo.targets(one.expand(-1, 2, -1)))
    left, right = stereo.targets(one)[:, ::2], stereo.targets(one)[:, 1::2]
    assert torch.equal(left, right)


def test_the_channels_of_a_draw_are_decoded_alone(stereo: Brief) -> None:
    drawn = stereo.generate(stereo.embed(["a drum"], {}), stereo.embed([""], {}), [3])
    for channel in range(2):
        alone = stereo.codec.decode(drawn.codes[:, channel::2][None], [None]).audio_values
        assert torch.allclose(drawn.audio[:, channel : channel + 1], alone, atol=1e-6)
    assert not torch.allclose(drawn.audio[:, 0], drawn.audio[:, 1])


def test_a_draw_says_what_it_is(backbone: Brief) -> None:
    drawn = backbone.generate(backbone.embed(["a drum"] * 2, {}), backbone.embed([""], {}), [3, 4])
    assert drawn.audio.shape == (2, backbone.layout.channels, 5120)
    assert drawn.audio.dtype == torch.float32
    assert drawn.audio.isfinite().all()
    assert (drawn.sample_rate, drawn.code_rate) == (8000, 50.0)
    assert 0 <= drawn.codes.min() <= drawn.codes.max() < 32


def test_the_end_of_a_draw() -> None:
    audio, codes = torch.arange(8000.0).expand(1, 2, -1), torch.arange(50).expand(1, 4, -1)
    drawn = Draw(audio, 8000, codes, 50.0)
    end = drawn.end(0.7)
    assert end is not None
    assert (end.audio[0, 0, 0], end.audio.shape[-1]) == (5600, 2400)
    assert (end.codes[0, 0, 0], end.codes.shape[-1]) == (35, 15)
    assert (end.sample_rate, end.code_rate) == (8000, 50.0)
    assert drawn.end(1.0) is None
    assert drawn.end(7.0) is None
    assert torch.equal(drawn.end(0.0).codes, codes)
    without = Draw(audio, 8000).end(0.5)
    assert without.codes is None
    assert without.audio.shape[-1] == 4000
    # Times that are no sums of halves still fall on whole frames and samples.
    for quantum in range(50):
        assert drawn.end(quantum * 0.02).codes[0, 0, 0] == quantum
        assert drawn.end(quantum * 0.02).audio[0, 0, 0] == 160 * quantum


def test_windows_go_on_from_the_very_tokens(backbone: Brief) -> None:
    condition, negative = backbone.embed(["a drum"], {}), backbone.embed([""], {})
    first = backbone.generate(condition, negative, [1])
    context = first.end(0.48)
    second = backbone.generate(condition, negative, [2], context)
    assert context.codes.shape[-1] == 8
    assert torch.equal(second.codes[..., :8], first.codes[..., 24:])
    assert not torch.equal(second.codes, backbone.generate(condition, negative, [2]).codes)
    # One context serves several takes.
    takes = backbone.generate(backbone.embed(["a drum"] * 2, {}), negative, [2, 3], context)
    assert torch.equal(takes.codes[0], second.codes[0])
    assert torch.equal(takes.codes[1, :, :8], first.codes[0, :, 24:])


def test_a_context_without_tokens_is_encoded(backbone: Brief) -> None:
    condition, negative = backbone.embed(["a drum"], {}), backbone.embed([""], {})
    audio = sound(backbone, 1, 0.16)
    drawn = backbone.generate(condition, negative, [2], Draw(audio, 8000))
    assert torch.equal(drawn.codes[..., :8], backbone._encode(audio))


def test_a_context_as_long_as_the_window_is_the_window(mono: Brief) -> None:
    condition, negative = mono.embed(["a drum"], {}), mono.embed([""], {})
    first = mono.generate(condition, negative, [1])
    same = mono.generate(condition, negative, [2], first)
    assert torch.equal(same.codes, first.codes)
    assert torch.equal(same.audio, first.audio)


def test_one_seed_gives_the_same_bytes_and_another_does_not(backbone: Brief) -> None:
    condition, negative = backbone.embed(["a drum"], {}), backbone.embed([""], {})
    first, again = (backbone.generate(condition, negative, [5]) for _ in range(2))
    assert first.audio.numpy().tobytes() == again.audio.numpy().tobytes()
    assert not torch.equal(backbone.generate(condition, negative, [6]).codes, first.codes)


def test_a_row_does_not_hang_on_the_others(mono: Brief) -> None:
    """Not on their number, nor on the padding that a longer prompt brings."""
    negative = mono.embed([""], {})
    prompts = ["a drum", "a funky guitar music with drum as the rhythm, 120 bpm"]
    both = mono.embed(prompts, {})
    alone = mono.embed(prompts[:1], {})
    length = alone.states.shape[1]
    assert both.states.shape[1] > length
    assert torch.allclose(both.states[:1, :length], alone.states, atol=1e-6)
    assert both.states[0, length:].abs().max() == 0
    drawn = mono.generate(both, negative, [3, 4])
    assert torch.equal(drawn.codes[:1], mono.generate(alone, negative, [3]).codes)


# Text.


def test_a_pseudo_word_with_a_words_own_embedding_is_that_word(backbone: Brief) -> None:
    table = backbone.text_encoder.get_input_embeddings().weight
    drum = backbone.tokenizer("drum", add_special_tokens=False)["input_ids"]
    assert len(drum) == 1
    placed = backbone.embed(["a * music *", "a * guitar"], {"*": table[drum].expand(2, -1)})
    plain = backbone.embed(["a drum music drum", "a drum guitar"], {})
    assert torch.equal(placed.mask, plain.mask)
    assert torch.allclose(placed.states, plain.states, atol=1e-6)
    row = table[backbone.tokenizer("funky guitar drum", add_special_tokens=False)["input_ids"]]
    placed = backbone.embed(["a * music"], {"*": row[None]})
    assert torch.allclose(placed.states, backbone.embed(["a funky guitar drum music"], {}).states, atol=1e-6)


def test_without_a_vector_a_placeholder_is_an_ordinary_word(mono: Brief) -> None:
    words = {"*": torch.randn(1, 24)}
    ordinary = mono.embed(["a @ music"], {})
    assert torch.allclose(mono.embed(["a @ music"], words).states, ordinary.states, atol=1e-6)
    assert torch.allclose(ordinary.states[0], mono._project(mono.text_encoder(
        **mono.tokenizer(["a @ music"], return_tensors="pt")).last_hidden_state)[0], atol=1e-6)  # fmt: skip


def test_gradient_flows_to_pseudo_words_and_nowhere_else(backbone: Brief) -> None:
    before = parameters_digest(backbone.modules())
    words = {word: torch.randn(2, backbone.text_width, requires_grad=True) for word in "@*"}
    condition = backbone.embed(["a @ music with *", "* drum"], words)
    loss = backbone.loss(backbone.targets(sound(backbone, 2)), condition)
    loss.sum().backward()
    assert words["*"].grad.abs().sum(1).min() > 0
    assert words["@"].grad[0].abs().sum() > 0
    # The second prompt has no "@".
    assert words["@"].grad[1].abs().sum() == 0
    for module in backbone.modules().values():
        assert all(parameter.grad is None for parameter in module.parameters())
        assert not module.training
    assert parameters_digest(backbone.modules()) == before


def test_gradient_is_the_slope_of_the_loss(mono: Brief) -> None:
    torch.manual_seed(0)
    targets = mono.targets(sound(mono, 1))
    vector = torch.randn(1, 24, requires_grad=True)

    def loss(vector: Tensor) -> Tensor:
        return mono.loss(targets, mono.embed(["a * music"], {"*": vector}))

    loss(vector).backward()
    for direction in (vector.grad, torch.randn(1, 24)):
        direction = direction / direction.norm()
        with torch.no_grad():
            slope = (loss(vector + 1e-2 * direction) - loss(vector - 1e-2 * direction)) / 2e-2
        assert slope.item() == pytest.approx((vector.grad * direction).sum().item(), rel=2e-2, abs=1e-4)


def test_a_rows_gradient_is_its_own(mono: Brief) -> None:
    targets = mono.targets(sound(mono, 2))
    vectors = torch.randn(2, 24, requires_grad=True)
    mono.loss(targets, mono.embed(["a * music", "*"], {"*": vectors}))[0].backward()
    assert vectors.grad[0].abs().sum() > 0
    assert vectors.grad[1].abs().sum() == 0


def test_made_ready_for_training_it_is_the_same_model(tiny: Path) -> None:
    backbone = Brief(tiny, IDENTITY)
    digest, targets = parameters_digest(backbone.modules()), backbone.targets(sound(backbone, 2))
    words = {"*": torch.randn(2, 24)}
    losses, gradients = [], []
    for ready in (False, True):
        if ready:
            backbone.ready_for_training("bf16")
        vectors = words["*"].clone().requires_grad_()
        loss = backbone.loss(targets, backbone.embed(["a * music", "*"], {"*": vectors}))
        loss.sum().backward()
        losses.append(loss.detach())
        gradients.append(vectors.grad)
    assert backbone.decoder.config._attn_implementation == "eager"
    assert not any(module.training for part in backbone.modules().values() for module in part.modules())
    assert torch.allclose(losses[0], losses[1], atol=1e-5)
    assert torch.allclose(gradients[0], gradients[1], atol=1e-5)
    assert parameters_digest(backbone.modules()) == digest
    negative = backbone.embed([""], {})
    condition = backbone.embed(["a drum"], {})
    drawn = [one.generate(condition, negative, [1], None, GREEDY) for one in (backbone, Brief(tiny, IDENTITY))]
    assert torch.equal(drawn[0].codes, drawn[1].codes)
    with torch.autocast("cpu", torch.bfloat16):
        vectors = words["*"].clone().requires_grad_()
        loss = backbone.loss(targets, backbone.embed(["a * music", "*"], {"*": vectors}))
        loss.sum().backward()
    assert loss.dtype == torch.float32
    assert torch.allclose(loss, losses[0], rtol=0.02)
    assert torch.nn.functional.cosine_similarity(vectors.grad.flatten(), gradients[0].flatten(), 0) > 0.9


def test_words_and_tempo_as_vectors(tiny: Path, mono: Brief) -> None:
    table = mono.text_encoder.get_input_embeddings().weight
    ids = mono.tokenizer.convert_tokens_to_ids(["\u2581funky", "\u2581guitar"])
    assert torch.allclose(mono.words_vector("funky guitar"), table[ids].mean(0))
    tempo = Tempo(112.4, 0.31, 1.0)
    assert torch.equal(mono.tempo_vector(tempo), mono.words_vector("112 bpm"))
    told = Brief(tiny, Identity("musicgen:tiny", "MIT", speaks_tempo=True))
    assert torch.equal(told.tempo_vector(tempo), mono.words_vector("112") + mono.words_vector("0.31"))
    assert mono.text_width == 24


def test_a_prompt_too_long_for_its_placeholder_is_refused(mono: Brief) -> None:
    with pytest.raises(UsageError, match="lies behind"):
        mono.embed(["a " * 600 + "*"], {"*": torch.zeros(1, 24)})


def test_what_is_not_read_of_a_prompt_is_told(mono: Brief) -> None:
    assert mono.embed(["a " * 600], {}).states.shape[1] == 512
    # 511 words and the end: of 600 words 89 are left.
    assert unread_words(mono, "a " * 600, {}).split() == ["a"] * 89
    assert unread_words(mono, "a " * 511, {}) == ""
    # A pseudo-word of 3 vectors takes 3 of them.
    assert unread_words(mono, "* " + "a " * 509, {"*": torch.zeros(1, 3, 24)}) == "a"


# One set of vectors for every layer (P+).


def test_the_same_text_in_all_layers_is_the_text(backbone: Brief) -> None:
    assert backbone.condition_layers == 3
    one = torch.randn(2, 1, 2, backbone.text_width)
    prompts = ["a * music", "* guitar drum"]
    plain = backbone.embed(prompts, {"*": one})
    same = backbone.embed(prompts, {"*": one.expand(-1, 3, -1, -1)})
    assert same.states.shape == (2, 3, *plain.states.shape[1:])
    assert torch.equal(same.mask, plain.mask)
    assert torch.allclose(same.states, plain.states[:, None].expand_as(same.states), atol=1e-6)
    same = Condition(plain.states[:, None].expand_as(same.states), same.mask)
    targets = backbone.targets(sound(backbone, 2))
    assert torch.equal(backbone.loss(targets, plain), backbone.loss(targets, same))
    negative = backbone.embed([""], {})
    drawn = [backbone.generate(condition, negative, [5, 6]) for condition in (plain, same)]
    assert torch.equal(drawn[0].codes, drawn[1].codes)


def layered(backbone: Brief, batch: int, layers: int = 3) -> Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randn(batch, layers, 2, backbone.text_width, generator=random) * 3


def test_every_layer_reads_its_own_text(mono: Brief) -> None:
    condition = mono.embed(["a * music"], {"*": layered(mono, 1)})
    read: list[Tensor] = []
    handles = [
        layer.encoder_attn.k_proj.register_forward_hook(lambda _m, given, _o: read.append(given[0]))
        for layer in mono.decoder.model.decoder.layers
    ]
    targets = mono.targets(sound(mono, 1))
    found = [mono.loss(targets, condition).item()]
    for handle in handles:
        handle.remove()
    assert [torch.equal(one, condition.states[:, layer]) for layer, one in enumerate(read)] == [True] * 3
    plain = mono.embed(["a drum music as"], {}).states
    for layer in range(3):
        states = condition.states.clone()
        states[:, layer, : plain.shape[1]] = plain
        found.append(mono.loss(targets, Condition(states, condition.mask)).item())
    assert len(set(found)) == 4


def test_gradient_flows_to_every_layer(mono: Brief) -> None:
    vectors = layered(mono, 2).requires_grad_()
    mono.loss(mono.targets(sound(mono, 2)), mono.embed(["a * music", "* guitar"], {"*": vectors})).sum().backward()
    assert vectors.grad.abs().sum(-1).min() > 0


def test_step_by_step_and_at_once_agree_with_layers(mono: Brief) -> None:
    condition = mono.embed(["a * music", "*"], {"*": layered(mono, 2)})
    drawn = mono.generate(condition, condition, [0, 0], None, GREEDY)
    tokens = torch.cat([torch.full((2, 4, 1), 32), delayed(drawn.codes, mono.layout.delays, 32)], -1)
    with torch.no_grad():
        likeliest = mono._logits(tokens[..., :-1], condition).argmax(-1)
    for book in range(4):
        assert torch.equal(likeliest[:, book, book : book + FRAMES], drawn.codes[:, book])


def test_layers_of_another_backbone_are_refused(mono: Brief) -> None:
    with pytest.raises(EncoderMismatchError, match="for 2 layers, but musicgen:tiny reads the text at 3 places"):
        mono.embed(["a *"], {"*": layered(mono, 1, 2)})


def test_condition_and_negative_side_by_side() -> None:
    short = Condition(torch.ones(1, 2, 4), torch.tensor([[True, True]]))
    long = Condition(torch.full((2, 3, 4), 2.0), torch.tensor([[True, True, True], [True, True, False]]))
    both = side_by_side(long, short)
    assert both.states.shape == (4, 3, 4)
    assert torch.equal(both.states[:2], long.states)
    assert torch.equal(both.states[2:], torch.nn.functional.pad(short.states, (0, 0, 0, 1)).expand(2, -1, -1))
    assert both.mask.tolist() == [[1, 1, 1], [1, 1, 0], [1, 1, 0], [1, 1, 0]]
    other = side_by_side(Condition(short.states.expand(2, -1, -1)), long)
    assert other.mask.tolist() == [[1, 1, 0], [1, 1, 0], [1, 1, 1], [1, 1, 0]]
    layers = Condition(torch.full((2, 5, 2, 4), 3.0), torch.ones(2, 2, dtype=torch.bool))
    assert side_by_side(layers, long).states.shape == (4, 5, 3, 4)
    assert torch.equal(side_by_side(layers, long).states[2:, 4], long.states)
    assert torch.equal(side_by_side(long, layers).states[:2, 3], long.states)


def test_a_negative_prompt_without_layers_steers_a_condition_with_them(mono: Brief) -> None:
    condition, negative = mono.embed(["a * music"], {"*": layered(mono, 1)}), mono.embed(["guitar"], {})
    made = mono.generate(condition, negative, [5])
    all_layers = Condition(negative.states[:, None].expand(-1, 3, -1, -1), negative.mask)
    assert torch.equal(mono.generate(condition, all_layers, [5]).codes, made.codes)
    assert not torch.equal(mono.generate(condition, mono.embed([""], {}), [5]).codes, made.codes)


# Number formats, and a compiled decoder.


def test_half_precision_is_near(tiny: Path, mono: Brief) -> None:
    half = Brief(tiny, IDENTITY, precision="bf16")
    assert "bfloat16" in half.description
    assert "float32" in mono.description
    # T5 and codec stay as they are.
    assert next(half.text_encoder.parameters()).dtype == next(half.codec.parameters()).dtype == torch.float32
    tokens, condition = torch.randint(0, 33, (4, 4, 20)), mono.embed(PROMPTS, {})
    assert torch.equal(half.embed(PROMPTS, {}).states, condition.states)
    with torch.no_grad():
        near, full = half._logits(tokens, condition).float(), mono._logits(tokens, condition)
    assert (near - full).norm() / full.norm() < 0.02
    drawn = half.generate(condition, half.embed([""], {}), [1, 2, 3, 4])
    assert drawn.audio.dtype == torch.float32
    assert drawn.audio.isfinite().all()
    words = torch.randn(4, 24, requires_grad=True)
    loss = half.loss(half.targets(sound(half, 4)), half.embed(["* a"] * 4, {"*": words}))
    loss.sum().backward()
    assert words.grad.isfinite().all()
    assert half.fingerprint == mono.fingerprint
    assert half.targets_settings == mono.targets_settings


def test_numbers_that_the_device_can_not_use_are_refused(tiny: Path) -> None:
    with pytest.raises(UsageError, match="'fp16' needs a CUDA device"):
        Brief(tiny, IDENTITY, precision="fp16")
    with pytest.raises(UsageError, match="unknown precision 'int8'"):
        Brief(tiny, IDENTITY, precision="int8")


def check_recorded(folder: Path, kind: type[MusicgenBackbone], compiled: bool = False) -> None:
    plain, recorded = kind(folder, IDENTITY), kind(folder, IDENTITY, compiled=compiled, recorded=True)
    assert recorded.description.endswith("(float32, compiled)" if compiled else "(float32)")
    negative = plain.embed([""], {})
    half = plain.window_seconds / 2
    for prompts in (["a drum"], ["a funky guitar music with drum, as the rhythm", "a drum"], ["a drum"]):
        seeds = list(range(len(prompts)))
        condition = plain.embed(prompts, {})
        drawn = [backbone.generate(condition, negative, seeds) for backbone in (plain, recorded)]
        assert torch.equal(drawn[0].codes, drawn[1].codes)
        # A second window goes on from the first, in the same memory.
        drawn = [backbone.generate(condition, negative, seeds, drawn[0].end(half)) for backbone in (plain, recorded)]
        assert torch.equal(drawn[0].codes, drawn[1].codes)
    vectors = {"*": torch.randn(1, plain.condition_layers, 2, plain.text_width) * 3}
    condition = plain.embed(["a * music"], vectors)
    for guidance in (1.0, 3.0):
        for sampling in (Sampling(guidance=guidance), Sampling(guidance=guidance, temperature=0.0)):
            drawn = [backbone.generate(condition, negative, [7], None, sampling) for backbone in (plain, recorded)]
            assert torch.equal(drawn[0].codes, drawn[1].codes)
    # As `d2m generate` calls it, and then without; the shape is a new one.
    prompts, seeds = ["a drum"] * 3, [1, 2, 3]
    with torch.inference_mode():
        within = recorded.generate(recorded.embed(prompts, {}), recorded.embed([""], {}), seeds)
    assert torch.equal(within.codes, recorded.generate(plain.embed(prompts, {}), negative, seeds).codes)


@pytest.mark.slow
def test_steps_in_memory_that_stays_draw_the_same_tokens(backbone: Brief) -> None:
    check_recorded(backbone.folder, Brief)


@pytest.mark.slow
def test_a_step_that_was_recorded_draws_the_same_tokens(backbone: Brief, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaying the operations of one step, and none of its Python: what a CUDA graph does, traced on a CPU.

    A number that was fetched from a tensor would break the tracing, as it would break the recording of a graph.
    """
    recorded = []

    def record(self: Recording) -> None:
        self._step()
        replay = make_fx(lambda: self._step())()
        self._graph = SimpleNamespace(replay=replay)  # type: ignore[assignment]
        recorded.append(self)

    monkeypatch.setattr(Recording, "_record", record)
    fixed = Brief(backbone.folder, IDENTITY, recorded=True)
    vectors = {"*": torch.randn(2, backbone.condition_layers, 1, backbone.text_width) * 3}
    condition, negative = backbone.embed(["a * music", "a drum, *"], vectors), backbone.embed([""], {})
    for sampling in (Sampling(), Sampling(guidance=1.0, top_p=0.7), Sampling(temperature=0.0)):
        first = backbone.generate(condition, negative, [1, 2], None, sampling)
        assert torch.equal(fixed.generate(condition, negative, [1, 2], None, sampling).codes, first.codes)
        following = [one.generate(condition, negative, [3, 4], first.end(0.4), sampling) for one in (backbone, fixed)]
        assert torch.equal(following[0].codes, following[1].codes)
    assert len(recorded) == 3


def test_recorded_steps_read_their_own_copies_alone(mono: Brief, monkeypatch: pytest.MonkeyPatch) -> None:
    fixed = Brief(mono.folder, IDENTITY, recorded=True)
    negative, wanted = mono.embed([""], {}), mono.embed(["a funky guitar music", "a drum"], {})
    context = mono.generate(wanted, negative, [1, 2]).end(0.32)
    expected = mono.generate(wanted, negative, [3, 4], context).codes
    condition = mono.embed(["a funky guitar music", "a drum"], {})
    given = in_blocks(side_by_side(condition, negative))
    monkeypatch.setattr("d2m_cli.backbones.musicgen.in_blocks", lambda *_: given)
    known = fixed._known(context, 2)
    step, steps = Recording._step, []

    def scribble(self: Recording) -> None:
        given.states.fill_(torch.nan)
        given.mask.fill_(False)
        known.fill_(0)
        steps.append(0)
        step(self)

    monkeypatch.setattr(Recording, "_step", scribble)
    assert torch.equal(fixed._write(given, known, [3, 4], FullSampling()), expected)
    # The pattern has 32 + 3 steps, of which 16 are given, and one is drawn with the first piece.
    assert len(steps) == 18


def test_few_recordings_are_kept(mono: Brief) -> None:
    fixed = Brief(mono.folder, IDENTITY, recorded=True)
    negative = mono.embed([""], {})

    def check(rows: int) -> None:
        condition, seeds = mono.embed(["a drum"] * rows, {}), list(range(rows))
        expected = mono.generate(condition, negative, seeds, None, GREEDY).codes
        assert torch.equal(fixed.generate(condition, negative, seeds, None, GREEDY).codes, expected)

    for rows in (1, 2, 3, 4, 1, 5):
        check(rows)
    # The second shape was used longest ago.
    assert [key[0] for key in fixed._recordings] == [3, 4, 1, 5]
    kept = fixed._recordings.copy()
    check(3)
    assert all(fixed._recordings[key] is recording for key, recording in kept.items())
    fixed.ready_for_training("fp32")
    assert not fixed._recordings


def test_memory_that_does_not_suffice_is_told_and_given_back(mono: Brief, monkeypatch: pytest.MonkeyPatch) -> None:
    fixed = Brief(mono.folder, IDENTITY, recorded=True)
    negative, two = mono.embed([""], {}), mono.embed(["a drum"] * 2, {})
    expected = fixed.generate(two, negative, [1, 2]).codes
    record = Recording._record
    half_way = []

    def refuse(self: Recording) -> None:
        self._step()
        half_way.append(weakref.ref(self))
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Recording, "_record", refuse)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        fixed.generate(mono.embed(["a drum"] * 4, {}), negative, [1, 2, 3, 4])
    assert not fixed._recordings
    assert [recording() for recording in half_way] == [None]
    monkeypatch.setattr(Recording, "_record", record)
    assert torch.equal(fixed.generate(two, negative, [1, 2]).codes, expected)
    # Nor may they outlast memory that runs out behind them, in the codec.
    assert fixed._recordings

    def full(_codes: torch.Tensor) -> torch.Tensor:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(fixed, "_decode", full)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        fixed.generate(two, negative, [1, 2])
    assert not fixed._recordings


def test_what_a_run_was_interrupted_in_is_not_replayed(mono: Brief, monkeypatch: pytest.MonkeyPatch) -> None:
    fixed = Brief(mono.folder, IDENTITY, recorded=True)
    negative, condition = mono.embed([""], {}), mono.embed(["a drum"], {})
    expected = mono.generate(condition, negative, [1]).codes
    step, steps = Recording._step, []

    def interrupted(self: Recording) -> None:
        steps.append(0)
        if len(steps) == 5:
            raise KeyboardInterrupt
        step(self)

    monkeypatch.setattr(Recording, "_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fixed.generate(condition, negative, [9])
    assert torch.equal(fixed.generate(condition, negative, [1]).codes, expected)


def test_a_recording_made_in_inference_mode_serves_outside_of_it(backbone: Brief) -> None:
    fixed = Brief(backbone.folder, Identity("musicgen:tiny", "MIT"), recorded=True)

    def draw() -> Tensor:
        condition, negative = fixed.embed(["a music"], {}), fixed.embed([""], {})
        return fixed.generate(condition, negative, [1], None, Sampling(guidance=3.0)).codes

    with torch.inference_mode():
        first = draw()
    assert torch.equal(draw(), first)


def test_steps_are_recorded_on_a_gpu_and_where_compiled(mono: Brief) -> None:
    assert not mono.recorded
    assert Brief(mono.folder, IDENTITY, compiled=True).recorded


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("channels", [1, 2])
def test_a_compiled_decoder_draws_the_same_tokens(tmp_path: Path, channels: int) -> None:
    check_recorded(save_tiny_musicgen(tmp_path, channels), MusicgenBackbone, compiled=True)


# Folders.


def test_a_model_says_how_it_writes_tokens(tiny: Path, wide: Path) -> None:
    one, two = MusicgenBackbone(tiny, IDENTITY), MusicgenBackbone(wide, IDENTITY)
    assert one.frames == two.frames == 256
    assert (one.sample_rate, one.window_seconds, one.quantum_seconds) == (8000, 5.12, 0.02)
    assert one.layout.delays == (0, 1, 2, 3)
    assert two.layout.delays == (0, 0, 1, 1, 2, 2, 3, 3)
    assert (one.layout.channels, two.layout.channels) == (1, 2)
    assert set(one.modules()) == {"decoder", "text_encoder", "audio_encoder", "enc_to_dec_proj"}
    assert set(two.modules()) == {"decoder", "text_encoder", "audio_encoder"}
    assert one.heeds == ("guidance", "temperature", "top_k", "top_p")
    assert (one.name, one.licence, one.speaks_tempo) == ("musicgen:tiny", "MIT", False)


def test_a_whole_window(tiny: Path) -> None:
    backbone = MusicgenBackbone(tiny, IDENTITY)
    condition, negative = backbone.embed(["a drum"], {}), backbone.embed([""], {})
    first = backbone.generate(condition, negative, [1])
    assert first.audio.shape == (1, 1, 40960)
    context = first.end(3.84)
    second = backbone.generate(condition, negative, [2], context)
    assert torch.equal(second.codes[..., :64], first.codes[..., 192:])
    assert backbone.targets(torch.zeros(1, 1, 40960)).shape == (1, 4, 256)


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "model"))


def changed(folder: Path, part: str | None, **values: Any) -> None:
    """Write other values into a model's config.json."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    (config if part is None else config[part]).update(values)
    path.write_text(json.dumps(config))


def refused(folder: Path, match: str) -> None:
    with pytest.raises(MissingWeightsError, match=match):
        MusicgenBackbone(folder, IDENTITY)


@pytest.mark.parametrize(
    ("part", "values", "match"),
    [
        (None, {"model_type": "t5"}, "model of type 't5', not 'musicgen'"),
        (None, {"model_type": "musicgen_melody"}, "melody models read a tune"),
        (None, {"model_type": "of my own"}, r"config\.json can't be read"),
        ("decoder", {"pad_token_id": 31}, "fills gaps with token 31"),
        ("decoder", {"ffn_dim": 128}, r"model\.safetensors: can't be loaded"),
        ("decoder", {"num_hidden_layers": 4}, r"16 of the model's tensors are missing, 'decoder\.model\.decoder\.lay"),
        ("audio_encoder", {"sampling_rate": 8100}, r"50\.625 frames a second, of which 5\.12 s hold no whole number"),
        ("audio_encoder", {"chunk_length_s": 1.0}, "its codec is no EnCodec, or one that levels"),
        ("audio_encoder", {"normalize": True}, "its codec is no EnCodec, or one that levels"),
        ("audio_encoder", {"model_type": "dac"}, "its codec is no EnCodec"),
    ],
    ids=str,
)
def test_a_model_of_another_make_is_refused(copy: Path, part: str | None, values: dict[str, Any], match: str) -> None:
    changed(copy, part, **values)
    refused(copy, match)


def test_a_melody_model_is_refused(copy: Path) -> None:
    from transformers import MusicgenMelodyConfig

    (copy / "config.json").write_text(MusicgenMelodyConfig().to_json_string())
    refused(copy, "type 'musicgen_melody', not 'musicgen'")


def test_a_folder_without_weights_is_named(tmp_path: Path, copy: Path) -> None:
    refused(tmp_path / "absent", r"absent: holds no model\.safetensors and no pytorch_model\.bin")
    (copy / "model.safetensors").unlink()
    refused(copy, r"model: holds no model\.safetensors and no pytorch_model\.bin")


@pytest.mark.parametrize("length", [0, 3, 1000, 100_000])
def test_a_broken_weights_file_is_named(copy: Path, length: int) -> None:
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:length])
    refused(copy, r"model\.safetensors: can't be loaded")


def test_weights_with_a_hole_are_refused(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    del weights["decoder.lm_heads.1.weight"]
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    refused(copy, r"model\.safetensors: 1 of the model's tensors are missing, 'decoder\.lm_heads\.1\.weight' for one")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_missing_or_broken_description_is_named(copy: Path, name: str) -> None:
    part = name.partition(".")[0]
    (copy / name).write_text("{")
    refused(copy, part)
    (copy / name).unlink()
    refused(copy, part)


def test_a_missing_tokenizer_is_not_made_up(copy: Path) -> None:
    """transformers would make one that knows no words, and say nothing."""
    for path in copy.glob("tokenizer*"):
        path.unlink()
    refused(copy, r"holds no tokenizer\.json and no spiece\.model")


@pytest.fixture
def pickled(copy: Path) -> Path:
    """The same weights as pytorch_model.bin."""
    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    return copy


def test_weights_of_the_older_kind_are_read(pickled: Path, mono: Brief) -> None:
    backbone = Brief(pickled, IDENTITY)
    assert parameters_digest(backbone.modules()) == parameters_digest(mono.modules())
    assert backbone.fingerprint != mono.fingerprint
    # Hub folders hold audiocraft's files as well.
    (pickled / "state_dict.bin").write_bytes(b"")
    assert Brief(pickled, IDENTITY).fingerprint == backbone.fingerprint


@pytest.mark.parametrize("content", ["nonsense", "an object"])
def test_a_pickle_that_holds_more_than_tensors_is_refused(pickled: Path, content: str) -> None:
    if content == "nonsense":
        (pickled / "pytorch_model.bin").write_bytes(b"nonsense")
    else:
        torch.save({"decoder": Path("x")}, pickled / "pytorch_model.bin")
    refused(pickled, r"pytorch_model\.bin: can't be loaded")


def test_the_fingerprint_is_of_the_weights_alone(copy: Path, mono: Brief) -> None:
    assert Brief(copy, IDENTITY).fingerprint == mono.fingerprint
    (copy / "encoders.safetensors").write_bytes(b"encoders that were trained for it")
    (copy / "pytorch_model.bin").write_bytes(b"the same in another file, which is not read")
    assert Brief(copy, IDENTITY).fingerprint == mono.fingerprint
    weights = load_file(copy / "model.safetensors")
    weights["decoder.lm_heads.1.weight"][0, 0] += 1
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    assert Brief(copy, IDENTITY).fingerprint != mono.fingerprint


def test_weights_in_several_files(copy: Path, mono: Brief) -> None:
    whole = Brief(copy, IDENTITY)
    (copy / "model.safetensors").unlink()
    whole.model.save_pretrained(copy, max_shard_size="40KB")
    shards = sorted(copy.glob("model-*.safetensors"))
    assert len(shards) > 1
    parts = Brief(copy, IDENTITY)
    assert parameters_digest(parts.modules()) == parameters_digest(mono.modules())
    first = parts.fingerprint
    assert first != mono.fingerprint
    shards[-1].unlink()
    refused(copy, "can't be loaded|are missing")


def test_what_targets_hang_on_is_the_codec_and_the_channels(copy: Path, mono: Brief, stereo: Brief) -> None:
    assert Brief(copy, IDENTITY).targets_settings == mono.targets_settings
    assert stereo.targets_settings != mono.targets_settings
    changed(copy, "audio_encoder", dilation_growth_rate=3)
    assert Brief(copy, IDENTITY).targets_settings != mono.targets_settings
    json.loads(mono.targets_settings)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny matrices are slower on many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
