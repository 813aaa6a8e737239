"""Pseudo-words inside the text encoders of both families, random and tiny, made by transformers itself."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, T5Config, T5EncoderModel, T5Tokenizer

from d2m_cli.inversion.placement import Placement, placed, spread, with_all_axes
from d2m_cli.inversion.prompt import tokenize

WIDTH, LENGTH = 16, 40


def clip() -> tuple[Any, Any]:
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)] + [",", ".", "*", "@"]
    vocabulary = ["<|startoftext|>", "<|endoftext|>", *letters, *(letter + "</w>" for letter in letters)]
    tokenizer = CLIPTokenizer(
        vocab={token: i for i, token in enumerate(vocabulary)}, merges=[], model_max_length=LENGTH
    )
    config = CLIPTextConfig(
        vocab_size=len(vocabulary), hidden_size=WIDTH, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=LENGTH, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    return tokenizer, CLIPTextModel(config)


def t5() -> tuple[Any, Any]:
    words = ["▁", "▁a", "▁music", "▁with", "▁as", "▁the", "▁rhythm", ",", ".", "*", "@", "▁funky"]
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((word, -2.0) for word in words)]
    tokenizer = T5Tokenizer(vocab=vocabulary, extra_ids=0)
    return tokenizer, T5EncoderModel(T5Config(vocab_size=40, d_model=WIDTH, d_kv=8, d_ff=32, num_layers=2, num_heads=2))


@pytest.fixture(scope="module", params=[clip, t5], ids=["clip", "t5"])
def family(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    torch.manual_seed(0)
    tokenizer, encoder = request.param()
    return tokenizer, encoder.eval().requires_grad_(False)


def run(
    family: tuple[Any, Any], prompts: list[str], words: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[dict[str, list[int]]]]:
    """Tokens, the input embeddings as the transformer gets them, its output, and where the placeholders begin."""
    tokenizer, encoder = family
    shaped = {word: with_all_axes(vectors) for word, vectors in words.items()}
    counts = {word: vectors.shape[2] for word, vectors in shaped.items()}
    tokenized = [tokenize(tokenizer, prompt, counts, LENGTH) for prompt in prompts]
    places = [where for _, where in tokenized]
    placement = spread(shaped, places)
    tokens = torch.tensor([ids for ids, _ in tokenized]).repeat_interleave(placement.layers, 0)
    seen = []
    inner = encoder.encoder.embed_tokens if isinstance(encoder, T5EncoderModel) else encoder.get_input_embeddings()
    with placed(encoder, placement):
        handle = inner.register_forward_hook(lambda module, given, output: seen.append(output))
        states = encoder(tokens).last_hidden_state
        handle.remove()
    assert len(seen) == 1
    return tokens, seen[0], states, places


PROMPTS = ["a @ music with * as the rhythm", "*, @.", "a music*, with*the *", "@*@*"]


def test_placeholders_get_their_vectors_and_all_other_words_keep_theirs(family) -> None:
    words = {"*": torch.randn(4, 3, WIDTH), "@": torch.randn(4, WIDTH)}
    tokens, seen, _, places = run(family, PROMPTS, words)
    assert [(len(where["*"]), len(where["@"])) for where in places] == [(1, 1), (1, 1), (3, 0), (2, 2)]
    expected = family[1].get_input_embeddings().weight[tokens].clone()
    for row, where in enumerate(places):
        for at in where["*"]:
            expected[row, at : at + 3] = words["*"][row]
        for at in where["@"]:
            expected[row, at] = words["@"][row]
    assert torch.equal(seen, expected)
    taken = sum(3 * len(where["*"]) + len(where["@"]) for where in places)
    untouched = (seen == family[1].get_input_embeddings().weight[tokens]).all(-1)
    assert (~untouched).sum() == taken


def test_words_around_a_placeholder_are_read_as_without_it(family) -> None:
    tokenizer, _ = family
    ids, places = tokenize(tokenizer, "a music, *, with", {"*": 2}, LENGTH)
    begin = places["*"][0]
    plain = tokenizer("a music,", add_special_tokens=False)["input_ids"]
    start = 1 if tokenizer.bos_token_id is not None else 0
    assert ids[start:begin] == plain
    behind = tokenizer(", with", add_special_tokens=False)["input_ids"]
    assert ids[begin + 2 : begin + 2 + len(behind)] == behind
    assert ids[begin + 2 + len(behind)] == tokenizer.eos_token_id
    assert len(ids) == LENGTH


def test_gradient_reaches_the_vectors_and_nothing_else(family) -> None:
    _, encoder = family
    vectors = torch.randn(4, 3, WIDTH, requires_grad=True)
    encoder.get_input_embeddings().weight.requires_grad_(True)
    _, _, states, _ = run(family, PROMPTS, {"*": vectors, "@": torch.randn(4, WIDTH)})
    (states**3).sum().backward()
    encoder.get_input_embeddings().weight.requires_grad_(False)
    assert vectors.grad is not None
    assert vectors.grad.abs().sum(-1).min() > 0
    assert all(parameter.grad is None for parameter in encoder.parameters())


def test_layers_are_rows_of_their_own(family) -> None:
    layered = torch.randn(2, 3, 2, WIDTH)
    _, seen, states, places = run(family, ["a * music", "music *"], {"*": layered, "@": torch.randn(2, WIDTH)})
    assert states.shape == (6, LENGTH, WIDTH)
    for row in range(2):
        at = places[row]["*"][0]
        for layer in range(3):
            assert torch.equal(seen[3 * row + layer, at : at + 2], layered[row, layer])
    alone = run(family, ["a * music", "music *"], {"*": layered[:, 1], "@": torch.randn(2, WIDTH)})[2]
    assert torch.allclose(states[1::3], alone, atol=1e-6)


def test_the_layout_worked_by_hand() -> None:
    star = torch.arange(2 * 2 * 2, dtype=torch.float32).reshape(2, 2, 2, 1)
    at = torch.tensor([[[[10.0]]], [[[20.0]]]])
    placement = spread({"*": star, "@": at}, [{"*": [4], "@": [1]}, {"*": [2], "@": []}])
    found = {
        (int(row), int(column)): float(vector)
        for row, column, vector in zip(placement.rows, placement.columns, placement.vectors, strict=True)
    }
    # Rows: prompt 0 layers 0 and 1, prompt 1 layers 0 and 1. "@" says the same in both layers.
    assert found == {
        (0, 4): 0.0, (0, 5): 1.0, (1, 4): 2.0, (1, 5): 3.0, (2, 2): 4.0, (2, 3): 5.0, (3, 2): 6.0, (3, 3): 7.0,
        (0, 1): 10.0, (1, 1): 10.0,
    }  # fmt: skip


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(batch, width\)"):
        with_all_axes(torch.zeros(3))
    with pytest.raises(ValueError, match=r"'\*' has vectors for 2 prompts, but there are 1"):
        spread({"*": torch.zeros(2, 1, 1, 4)}, [{"*": [1]}])
    with pytest.raises(ValueError, match="2 layers, another pseudo-word for 3"):
        spread({"*": torch.zeros(1, 2, 1, 4), "@": torch.zeros(1, 3, 1, 4)}, [{"*": [1]}])


def test_an_encoder_that_was_not_asked_is_noticed(family) -> None:
    placement = Placement(torch.tensor([0]), torch.tensor([1]), torch.zeros(1, WIDTH), 1)
    with pytest.raises(RuntimeError, match="no effect"), placed(family[1], placement):
        pass


def test_threads_that_share_an_encoder_read_their_own_words_alone(family) -> None:
    _, encoder = family
    tokens = torch.tensor([[4, 5, 6]])
    plain = encoder(tokens).last_hidden_state
    vectors = torch.randn(3, 1, WIDTH)

    def placement(number: int) -> Placement:
        return Placement(torch.tensor([0]), torch.tensor([1]), vectors[number], 1)

    alone = []
    for number in range(3):
        with placed(encoder, placement(number)):
            alone.append(encoder(tokens).last_hidden_state)
    opened = threading.Barrier(4, timeout=10.0)

    def read(number: int) -> torch.Tensor:
        with placed(encoder, placement(number)) if number < 3 else nullcontext():
            # All have opened theirs before the first reads, and none closes it before the last has read.
            opened.wait()
            states = encoder(tokens).last_hidden_state
            opened.wait()
        return states

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(read, range(4)))
    assert not torch.allclose(alone[0], alone[1])
    for got, wanted in zip(together, [*alone, plain], strict=True):
        assert torch.equal(got, wanted)
