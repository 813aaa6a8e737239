"""What ACE-Step and Stable Audio have in common, on small models of diffusers' own classes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from d2m_cli.backbones import gpu_room
from d2m_cli.backbones.ace_step import AceStepBackbone
from d2m_cli.backbones.base import (
    Condition,
    Draw,
    FullSampling,
    Identity,
    Sampling,
    forecast,
    longest_seconds,
    parameters_digest,
    unread_words,
)
from d2m_cli.backbones.diffusers_files import weights_count
from d2m_cli.backbones.latent_audio import LatentAudioBackbone
from d2m_cli.backbones.stable_audio import open_stable_audio
from d2m_cli.errors import EncoderMismatchError, MissingWeightsError, UsageError
from d2m_cli.inversion.prompt import TempoWords
from tests.latent_audio_models import TINY_RATE, save_ace_step, save_stable_audio_3, save_stable_audio_open

FEW = FullSampling(steps=3, guidance=2.0)
FAMILIES: dict[str, tuple[Callable[..., Path], Callable[..., Any]]] = {
    "ace-step": (save_ace_step, AceStepBackbone),
    "stable-audio": (save_stable_audio_open, open_stable_audio),
    "stable-audio-3": (save_stable_audio_3, open_stable_audio),
}


@pytest.fixture(scope="module", params=FAMILIES)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LatentAudioBackbone:
    save, make = FAMILIES[request.param]
    folder = save(tmp_path_factory.mktemp(request.param))
    backbone: LatentAudioBackbone = make(folder, Identity(f"{request.param}:tiny", "MIT"))
    return backbone


def drawn(backbone: LatentAudioBackbone, seeds: list[int], context: Draw | None = None, seconds: float = 1.0) -> Draw:
    condition = backbone.embed(["funky guitar"], {}).repeated(len(seeds))
    return backbone.generate(condition, backbone.embed([""], {}), seeds, context, FEW, seconds=seconds)


def test_a_piece_has_the_length_that_is_asked_for(opened: LatentAudioBackbone) -> None:
    assert longest_seconds(opened) >= 10.0
    for seconds, frames in ((1.0, 125), (1.5, 188), (0.999, 125)):
        made = drawn(opened, [1], seconds=seconds)
        assert made.audio.shape == (1, 2, round(seconds * TINY_RATE))
        assert made.audio.dtype == torch.float32
        assert made.latents is not None
        assert made.latents.shape == (1, 8, frames)
        assert made.latent_rate == 125.0
    window = opened.generate(opened.embed(["a"], {}), opened.embed([""], {}), [1], None, Sampling(steps=1))
    assert window.audio.shape == (1, 2, round(5.12 * TINY_RATE))
    with pytest.raises(ValueError, match="at once"):
        drawn(opened, [1], seconds=longest_seconds(opened) + 1)


def test_the_two_channels_differ(opened: LatentAudioBackbone) -> None:
    left, right = drawn(opened, [1]).audio[0]
    assert (left - right).abs().max() > 0.1 * left.abs().max() > 0


def test_one_seed_gives_the_same_bytes_alone_and_among_others(opened: LatentAudioBackbone) -> None:
    first, again, both = drawn(opened, [5]).audio, drawn(opened, [5]).audio, drawn(opened, [4, 5]).audio
    assert first.numpy().tobytes() == again.numpy().tobytes()
    assert torch.allclose(both[1], first[0], atol=1e-5 * float(first.abs().max()))
    assert not torch.allclose(both[0], both[1], atol=0.01 * float(first.abs().max()))


def test_texts_of_other_lengths_change_nothing(opened: LatentAudioBackbone) -> None:
    """A short text in a batch with a long one is read as if it were alone."""
    both = opened.embed(["funky guitar", "funky guitar music with a drum as the rhythm"], {})
    negative = opened.embed([""], {})
    made = opened.generate(both, negative, [5, 5], None, FEW, seconds=1.0).audio
    alone = drawn(opened, [5]).audio
    assert torch.allclose(made[0], alone[0], atol=1e-4 * float(alone.abs().max()))
    assert not torch.equal(made[0], made[1])


def test_a_continuation_begins_with_what_it_was_given(opened: LatentAudioBackbone) -> None:
    before = drawn(opened, [1])
    context = before.end(0.6)
    assert context is not None
    assert context.latents is not None
    assert context.latents.shape[-1] == 50
    after = drawn(opened, [2], context)
    assert after.latents is not None
    assert torch.equal(after.latents[..., :50], context.latents)
    # The decoder looks a few frames past its own.
    inside = slice(20 * 64, 30 * 64)
    loud = float(context.audio.abs().max())
    assert torch.allclose(after.audio[..., inside], context.audio[..., inside], atol=1e-4 * loud)
    # What comes behind goes on from it: without it the same seed gives other music.
    alone = drawn(opened, [2])
    assert (alone.audio[..., 60 * 64 :] - after.audio[..., 60 * 64 :]).abs().max() > 1e-3 * loud


def test_sound_from_elsewhere_is_encoded_and_held(opened: LatentAudioBackbone) -> None:
    sound = 0.1 * torch.randn(1, 1, 50 * 64, generator=torch.Generator().manual_seed(0))
    after = drawn(opened, [2], Draw(sound, TINY_RATE))
    with torch.no_grad():
        known = opened.encode(sound.expand(-1, 2, -1))
    assert after.latents is not None
    assert torch.allclose(after.latents[..., :49], known[..., :49], atol=1e-5)
    assert not torch.allclose(after.latents[..., 49], known[..., 49], atol=1e-3)


def test_a_pseudo_word_with_a_words_own_embedding_is_that_word(opened: LatentAudioBackbone) -> None:
    table = opened.text_encoder.get_input_embeddings().weight
    ids = opened.tokenizer("drum", add_special_tokens=False)["input_ids"]
    placed = opened.embed(["*"], {"*": table[ids][None]})
    plain = opened.embed(["drum"], {})
    assert torch.allclose(placed.states, plain.states, atol=1e-6)
    with pytest.raises(EncoderMismatchError, match="1 place"):
        opened.embed(["*"], {"*": torch.zeros(1, 3, 1, opened.text_width)})


def test_what_is_not_read_of_a_prompt_is_told(opened: LatentAudioBackbone) -> None:
    assert unread_words(opened, "drum", {}) == ""
    assert unread_words(opened, " ".join(["drum"] * 300), {}).startswith("drum drum")
    with pytest.raises(UsageError, match=r"'\*' lies behind"):
        opened.embed([" ".join(["drum"] * 300) + " *"], {"*": torch.zeros(1, opened.text_width)})


def test_gradient_flows_to_pseudo_words_and_nowhere_else(opened: LatentAudioBackbone) -> None:
    before = parameters_digest(opened.modules())
    vector = torch.randn(2, opened.text_width, requires_grad=True)
    condition = opened.embed(["a music with * as the rhythm"] * 2, {"*": vector})
    targets = opened.targets(0.1 * torch.randn(2, 1, round(5.12 * TINY_RATE)))
    assert targets.shape == (2, 8, 640)
    loss = opened.loss(targets, condition, torch.Generator().manual_seed(0))
    assert loss.shape == (2,)
    loss.sum().backward()
    assert vector.grad is not None
    assert vector.grad.abs().sum(1).min() > 0
    assert all(value.grad is None for module in opened.modules().values() for value in module.parameters())
    assert parameters_digest(opened.modules()) == before


@pytest.mark.slow
def test_training_a_pseudo_word_lowers_the_loss(opened: LatentAudioBackbone) -> None:
    sound = 0.1 * torch.randn(1, 2, round(5.12 * TINY_RATE), generator=torch.Generator().manual_seed(1))
    targets = opened.targets(sound)
    vector = torch.zeros(1, opened.text_width, requires_grad=True)
    optimizer = torch.optim.Adam([vector], 0.3)
    losses = []
    for _ in range(8):
        condition = opened.embed(["a music with * as the rhythm"], {"*": vector})
        loss = opened.loss(targets, condition, torch.Generator().manual_seed(0)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert min(losses[1:]) < losses[0] - 1e-5


def test_a_higher_focus_draws_noisier_times(opened: LatentAudioBackbone) -> None:
    seen: list[float] = []

    def noisy(targets: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> Any:
        seen.append(float(times[0]))
        raise KeyboardInterrupt

    condition = Condition(torch.zeros(1, 1, opened.text_width))
    opened.noisy = noisy
    for focus in (0.0, 3.0):
        with pytest.raises(KeyboardInterrupt):
            opened.loss(torch.zeros(1, 8, 4), condition, torch.Generator().manual_seed(2), focus)
    del opened.noisy
    # The same number drawn: u without focus, u^(1/4) with one of 3.
    assert seen[1] == pytest.approx(seen[0] ** 0.25, rel=1e-5)
    with pytest.raises(ValueError, match="focus"):
        opened.loss(torch.zeros(1, 8, 4), condition, None, -1.0)


def test_the_cpu_says_how_slow_it_is_by_a_step_that_it_measured(opened: LatentAudioBackbone) -> None:
    opened._step = None
    measured = forecast(opened, 1.5, FEW, 1)
    assert "one of them measured" in measured
    # Of the next video there is nothing new to be said.
    assert forecast(opened, 1.0, FEW, 1) == measured
    opened._step = (2.0, 10.0)
    told = forecast(opened, 1.0, FullSampling(steps=30, guidance=1.0), 3)
    # 3 takes of 30 passes, 12 s a minute each.
    assert "takes about 18 min a minute of music" in told
    assert "3 x 30 passes of 2 s for 10.0 s" in told


def test_long_pieces_go_through_in_fewer_at_once(opened: LatentAudioBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("d2m_cli.backbones.latent_audio.TOGETHER_SECONDS", 2.0)
    condition = opened.embed(["a"], {}).repeated(5)
    assert list(opened._together(condition, 5, 1.0)) == [[0, 1], [2, 3], [4]]
    assert list(opened._together(condition, 5, 9.0)) == [[0], [1], [2], [3], [4]]


# What does not fit, and what is broken.


def test_a_gpu_without_room_is_refused_with_figures(
    opened: LatentAudioBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = sum(sum(v.numel() for v in module.state_dict().values()) for module in opened.modules().values())
    assert sum(weights_count(opened.folder / part) for part in opened.networks) == pytest.approx(count, rel=0.01)
    gpu, given = torch.device("cuda:0"), (opened.folder, opened.networks, "it")
    need = count * 2 + gpu_room.WORKING_BYTES
    monkeypatch.setattr(gpu_room, "free_bytes", lambda device: need + 2**20)
    gpu_room.check_room(*given, gpu, torch.float16, False)
    monkeypatch.setattr(gpu_room, "free_bytes", lambda device: need - 2**20)
    with pytest.raises(UsageError, match=r"it needs 3\.0 GiB .* in float16, and 3\.0 GiB of cuda:0 are free"):
        gpu_room.check_room(*given, gpu, torch.float16, False)
    gpu_room.check_room(*given, gpu, torch.float16, True)
    with pytest.raises(UsageError, match="main memory anyway"):
        gpu_room.check_room(*given, torch.device("cpu"), torch.float32, True)


@pytest.mark.parametrize(("free", "how"), [(2**40, "each network in its turn"), (0, "layer by layer")])
def test_offloading_changes_no_sample(
    opened: LatentAudioBackbone, monkeypatch: pytest.MonkeyPatch, free: int, how: str
) -> None:
    """diffusers' hooks work between any two devices; here both are the CPU."""
    first = drawn(opened, [1])
    wanted = drawn(opened, [2], first.end(0.8)).audio
    other = FAMILIES[opened.name.partition(":")[0]][1](opened.folder, Identity("x", "MIT"))
    monkeypatch.setattr(gpu_room, "free_bytes", lambda device: free)
    assert gpu_room.offload(other.pipeline, other.networks, torch.device("cpu")) == f"cpu, {how}"
    found = drawn(other, [2], drawn(other, [1]).end(0.8)).audio
    assert torch.allclose(found, wanted, atol=1e-5 * float(wanted.abs().max()))
    other.offloaded = True
    with pytest.raises(UsageError, match="training needs"):
        other.ready_for_training("fp32")


def test_a_part_that_is_missing_or_broken_is_named(opened: LatentAudioBackbone, tmp_path: Path) -> None:
    make = FAMILIES[opened.name.partition(":")[0]][1]
    folder = shutil.copytree(opened.folder, tmp_path / "model")
    path = next((folder / "vae").glob("*.safetensors"))
    tensors = load_file(path)
    name = min(tensors)
    save_file({other: value for other, value in tensors.items() if other != name}, path)
    with pytest.raises(MissingWeightsError, match="vae"):
        make(folder, Identity("x", "MIT"))
    shutil.rmtree(folder / "vae")
    with pytest.raises(MissingWeightsError, match="no folder vae"):
        make(folder, Identity("x", "MIT"))
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": "FluxPipeline"}))
    with pytest.raises(MissingWeightsError, match="'FluxPipeline'"):
        make(folder, Identity("x", "MIT"))
    (folder / "model_index.json").unlink()
    with pytest.raises(MissingWeightsError, match=r"model_index\.json: can't be read"):
        make(folder, Identity("x", "MIT"))


def test_a_tempo_beside_the_prompt_leaves_a_steady_beat_in_it() -> None:
    from d2m_cli.rhythm.sequence import Tempo

    assert TempoWords(place="field").say(Tempo(112.3, 0.2, 0.9)) == "a steady beat"
