from __future__ import annotations

import json
import shutil
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from d2m_cli.backbones.base import Condition, Draw, Identity, Sampling, parameters_digest, tempo_words, unread_words
from d2m_cli.backbones.riffusion import RiffusionBackbone, split_condition
from d2m_cli.backbones.riffusion_steps import GuidedStep
from d2m_cli.backbones.spectrogram import SpectrogramConfig, audio_from_picture, unfold
from d2m_cli.errors import EncoderMismatchError, MissingWeightsError, UsageError
from d2m_cli.ground.weights_path import weights_dir
from d2m_cli.inversion.prompt import TempoWords


@pytest.fixture(scope="module")
def backbone(tiny_riffusion: Path) -> RiffusionBackbone:
    return RiffusionBackbone(tiny_riffusion, Identity("riffusion:tiny", "MIT"))


FEW = Sampling(steps=3, guidance=2.0)


def test_a_pseudo_word_with_a_words_own_embedding_is_that_word(backbone: RiffusionBackbone) -> None:
    table = backbone.text_encoder.get_input_embeddings().weight
    drum = backbone.tokenizer("drum", add_special_tokens=False)["input_ids"]
    assert len(drum) == 1
    placed = backbone.embed(["a * music, *", "a * guitar"], {"*": table[drum].expand(2, -1)})
    plain = backbone.embed(["a drum music, drum", "a drum guitar"], {})
    assert torch.allclose(placed.states, plain.states, atol=1e-6)


def test_what_is_not_read_of_a_prompt_is_told(backbone: RiffusionBackbone) -> None:
    length = backbone.tokenizer.model_max_length
    words = ["drum"] * (length - 2)
    assert unread_words(backbone, " ".join(words), {}) == ""
    assert unread_words(backbone, " ".join([*words, "guitar"]), {}) == "guitar"
    star = {"*": torch.zeros(1, 3, backbone.text_width)}
    assert unread_words(backbone, " ".join(["*", *words]), star) == "drum drum drum"
    # What is told is not read: it changes nothing, and the word before it does.
    first = backbone.embed([" ".join([*words, "guitar"])], {}).states
    assert torch.equal(backbone.embed([" ".join(words)], {}).states, first)
    assert not torch.equal(backbone.embed([" ".join([*words[:-1], "guitar"])], {}).states, first)
    with pytest.raises(UsageError, match=r"'\*' lies behind"):
        backbone.embed([" ".join([*words, "*"])], star)


def test_gradient_flows_to_pseudo_words_and_nowhere_else(backbone: RiffusionBackbone) -> None:
    before = parameters_digest(backbone.modules())
    vector = torch.randn(2, backbone.text_width, requires_grad=True)
    condition = backbone.embed(["a * music", "a music with * as the rhythm"], {"*": vector})
    targets = backbone.targets(torch.randn(2, 1, 5120) * 0.1)
    loss = backbone.loss(targets, condition, torch.Generator().manual_seed(0))
    assert loss.shape == (2,)
    loss.sum().backward()
    assert vector.grad is not None
    assert vector.grad.abs().sum(1).min() > 0
    assert all(p.grad is None for p in backbone.unet.parameters())
    assert parameters_digest(backbone.modules()) == before


def test_the_fingerprint_is_of_the_files_not_of_a_precision(backbone: RiffusionBackbone, tiny_riffusion: Path) -> None:
    other = RiffusionBackbone(tiny_riffusion, Identity("riffusion:tiny", "MIT"))
    other.unet.half()
    assert other.fingerprint == backbone.fingerprint


def test_a_broken_weights_file_is_named(tiny_riffusion: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_riffusion, tmp_path / "model")
    weights = next((tmp_path / "model" / "unet").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(MissingWeightsError, match="unet"):
        RiffusionBackbone(tmp_path / "model", Identity("riffusion:tiny", "MIT"))


def test_loss_is_eq_2_worked_by_hand(backbone: RiffusionBackbone) -> None:
    condition = backbone.embed(["a music"], {})
    targets = backbone.targets(torch.randn(1, 1, 5120) * 0.1)
    ours = backbone.loss(targets, condition, torch.Generator().manual_seed(3))
    random = torch.Generator().manual_seed(3)
    noise = torch.randn(targets.shape, generator=random)
    step = torch.randint(0, 1000, (1,), generator=random)
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    kept = torch.cumprod(1 - betas, 0)[step]
    noisy = kept.sqrt() * targets + (1 - kept).sqrt() * noise
    predicted = backbone.unet(noisy, step, condition.states).sample
    assert ours.item() == pytest.approx(((predicted - noise) ** 2).mean().item(), rel=1e-4)


def test_one_seed_gives_the_same_bytes_and_another_does_not(backbone: RiffusionBackbone) -> None:
    condition, negative = backbone.embed(["funky guitar"], {}), backbone.embed([""], {})
    first = backbone.generate(condition, negative, [5], None, FEW).audio
    again = backbone.generate(condition, negative, [5], None, FEW).audio
    other = backbone.generate(condition, negative, [6], None, FEW).audio
    assert first.shape == (1, 1, 5120)
    assert first.dtype == torch.float32
    assert first.numpy().tobytes() == again.numpy().tobytes()
    assert not torch.allclose(first, other)


def test_condition_changes_the_audio(backbone: RiffusionBackbone) -> None:
    negative = backbone.embed([""], {})
    vectors = torch.randn(2, backbone.text_width) * 3
    made = [
        backbone.generate(backbone.embed(["a * music"], {"*": vectors[i : i + 1]}), negative, [5], None, FEW).audio
        for i in range(2)
    ]
    assert not torch.allclose(made[0], made[1])


def test_context_is_kept_at_the_windows_start(backbone: RiffusionBackbone) -> None:
    assert backbone.quantum_seconds == pytest.approx(0.08)
    condition, negative = backbone.embed(["a"], {}), backbone.embed([""], {})
    context = Draw(torch.randn(1, 1, round(0.32 * 8000)) * 0.1, 8000)
    assert backbone._known(context).shape[-1] == 3
    assert backbone.generate(condition, negative, [1], context, FEW).audio.shape == (1, 1, 5120)


def test_a_window_goes_on_from_the_last_ones_latents(
    backbone: RiffusionBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    condition, negative = backbone.embed(["a", "b"], {}), backbone.embed([""], {})
    first = backbone.generate(condition, negative, [1, 2], None, FEW)
    assert first.latents is not None
    assert first.latents.shape == (2, *backbone.latent_shape)
    assert first.latent_rate == pytest.approx(12.5)
    # Latents and sound are of the same moments: what is decoded from them is the sound.
    scaled = first.latents / backbone.vae.config.scaling_factor
    decoded = torch.cat([backbone.vae.decode(row[None]).sample for row in scaled])
    sound = audio_from_picture(unfold(decoded, backbone.spectrogram), backbone.spectrogram, seeds=[1, 2])
    assert torch.allclose(sound, first.audio[:, 0], atol=1e-6)

    def encode(*_: object) -> None:
        raise AssertionError("the context was encoded again")

    monkeypatch.setattr(backbone.vae, "encode", encode)
    quantum = backbone.quantum_seconds
    context = first.end(5 * quantum)
    assert context is not None
    second = backbone.generate(condition, negative, [3, 4], context, FEW)
    assert torch.equal(second.latents[..., :3], first.latents[..., 5:])
    assert not torch.allclose(second.latents, backbone.generate(condition, negative, [3, 4], None, FEW).latents)
    # A row's context is its own.
    takes = backbone.generate(condition, negative, [3, 4], context.row(0).repeated(2), FEW)
    assert torch.equal(takes.latents[1, ..., :3], first.latents[0, ..., 5:])
    assert torch.equal(takes.audio[0], second.audio[0])
    # In the middle of a column there is only the sound.
    with pytest.raises(AssertionError, match="encoded again"):
        backbone.generate(condition, negative, [3, 4], first.end(4.5 * quantum), FEW)


# A step in memory that stays.


def recorded(backbone: RiffusionBackbone) -> RiffusionBackbone:
    return RiffusionBackbone(backbone.folder, Identity("riffusion:tiny", "MIT"), recorded=True)


@pytest.mark.slow
@pytest.mark.parametrize("layers", [False, True])
def test_a_step_that_was_recorded_makes_the_same_music(
    backbone: RiffusionBackbone, monkeypatch: pytest.MonkeyPatch, layers: bool
) -> None:
    """Replaying the operations of one step, and none of its Python: what a CUDA graph does, traced on a CPU.

    A number that was fetched from a tensor would break the tracing, as it would break the recording of a graph.
    """
    traced = []

    def record(self: GuidedStep) -> None:
        self._make()
        self._graph = SimpleNamespace(replay=make_fx(lambda: self._make())())  # type: ignore[assignment]
        traced.append(self)

    monkeypatch.setattr(GuidedStep, "_record", record)
    fixed, negative = recorded(backbone), backbone.embed([""], {})

    def check(seed: int, sampling: Sampling, context: Draw | None = None) -> Draw:
        vectors = layered(backbone, 2, seed) if layers else torch.randn(2, backbone.text_width)
        condition = backbone.embed(["a * music", "* guitar"], {"*": vectors})
        # What is recorded in inference mode is used outside of it.
        with torch.inference_mode(seed == 1):
            made = fixed.generate(condition, negative, [seed, 9], context, sampling)
        plain = backbone.generate(condition, negative, [seed, 9], context, sampling)
        assert torch.equal(made.audio, plain.audio)
        assert torch.equal(made.latents, plain.latents)
        return plain

    first = check(1, FEW)
    check(2, FEW, first.end(3 * backbone.quantum_seconds))
    check(3, Sampling(steps=4, guidance=7.3), Draw(torch.randn(1, 1, 2560) * 0.1, 8000))
    check(4, Sampling(steps=3, guidance=1.0))
    # One with guidance, however strong, and one without.
    assert len(traced) == 2


def test_few_recordings_are_kept(backbone: RiffusionBackbone) -> None:
    fixed, negative = recorded(backbone), backbone.embed([""], {})
    for rows in (1, 2, 1, 3):
        fixed.generate(backbone.embed(["a drum"] * rows, {}), negative, list(range(rows)), None, FEW)
    assert [key[0] for key in fixed._recordings] == [1, 3]
    fixed.ready_for_training("fp32")
    assert not fixed._recordings


@pytest.mark.parametrize("where", ["recording", "sounding"])
def test_memory_that_does_not_suffice_is_told_and_given_back(
    backbone: RiffusionBackbone, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    fixed, negative = recorded(backbone), backbone.embed([""], {})
    one, two = (backbone.embed(["a drum"] * rows, {}) for rows in (1, 2))
    expected = fixed.generate(one, negative, [1], None, FEW)
    held = [weakref.ref(recording) for recording in fixed._recordings.values()]

    def refuse(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patched:
        if where == "recording":
            patched.setattr(GuidedStep, "_record", refuse)
        else:
            patched.setattr(fixed, "_sound", refuse)
        with pytest.raises(torch.cuda.OutOfMemoryError):
            fixed.generate(two, negative, [1, 2], None, FEW)
    assert not fixed._recordings
    assert [recording() for recording in held] == [None]
    assert torch.equal(fixed.generate(one, negative, [1], None, FEW).audio, expected.audio)


def test_what_a_run_was_interrupted_in_is_not_replayed(
    backbone: RiffusionBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixed, negative, one = recorded(backbone), backbone.embed([""], {}), backbone.embed(["a drum"], {})
    tried = []

    def interrupt(self: GuidedStep) -> None:
        tried.append(self)
        if len(tried) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(GuidedStep, "_record", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fixed.generate(one, negative, [1], None, FEW)
    made = fixed.generate(one, negative, [1], None, FEW)
    assert len(tried) == 2
    assert torch.equal(made.audio, backbone.generate(one, negative, [1], None, FEW).audio)


def test_steps_are_recorded_where_there_is_a_gpu(backbone: RiffusionBackbone) -> None:
    assert not backbone.recorded
    condition, negative = backbone.embed(["a drum"], {}), backbone.embed([""], {})
    backbone.generate(condition, negative, [1], None, FEW)
    assert not backbone._recordings


@pytest.mark.parametrize(("device", "parts"), [("cuda", [[0, 1], [2]]), ("cpu", [[0], [1], [2]])])
def test_windows_are_sounded_a_few_at_once_on_a_gpu_and_elsewhere_alone(
    backbone: RiffusionBackbone, monkeypatch: pytest.MonkeyPatch, device: str, parts: list[list[int]]
) -> None:
    monkeypatch.setattr("d2m_cli.backbones.riffusion.SOUNDED", 2)
    latents = torch.randn(3, *backbone.latent_shape)
    with torch.no_grad():
        wanted = torch.cat([backbone._sound(latents[rows], rows) for rows in parts])
        monkeypatch.setattr(backbone, "device", SimpleNamespace(type=device))
        made = backbone._in_parts(latents, [0, 1, 2])
    assert made.audio.shape == (3, 1, 5120)
    assert torch.equal(made.audio[:, 0], wanted)


def test_a_draft_has_the_latents_and_finished_the_bytes_of_full_sound(
    backbone: RiffusionBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds: list[int] = []

    def sounded(picture: Tensor, config: SpectrogramConfig, **given: Any) -> Tensor:
        rounds.append(given["iterations"])
        return audio_from_picture(picture, config, **given)

    monkeypatch.setattr("d2m_cli.backbones.riffusion.audio_from_picture", sounded)
    assert backbone.drafts
    condition, negative, seeds = backbone.embed(["a", "b", "c"], {}), backbone.embed([""], {}), [1, 2, 3]
    full = backbone.generate(condition, negative, seeds, None, FEW)
    draft = backbone.generate(condition, negative, seeds, None, FEW, draft=True)
    assert rounds == [8, 8, 8, 4, 4, 4]
    assert torch.equal(draft.latents, full.latents)
    assert not torch.equal(draft.audio, full.audio)
    # One alone, as a window is finished, though it was drawn among others.
    done = backbone.in_full(draft.row(1), [2])
    assert rounds[6:] == [8]
    assert done.audio.numpy().tobytes() == full.row(1).audio.numpy().tobytes()
    assert torch.equal(done.latents, full.latents[1:2])
    with pytest.raises(ValueError, match="a draft has latents"):
        backbone.in_full(Draw(full.audio, full.sample_rate), seeds)


def test_all_of_a_window_is_made_repeatable(backbone: RiffusionBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    @contextmanager
    def noting(device: torch.device) -> Iterator[None]:
        told.append(f"begins on {device}")
        yield
        told.append("ends")

    monkeypatch.setattr("d2m_cli.backbones.riffusion.repeatable", noting)
    networks = {"unet": backbone.unet, "decoder": backbone.vae.decoder}
    hooks = [
        network.register_forward_pre_hook(lambda *_, name=name: told.append(name)) for name, network in networks.items()
    ]
    backbone.generate(backbone.embed(["a"], {}), backbone.embed([""], {}), [1], None, FEW)
    for hook in hooks:
        hook.remove()
    assert told == ["begins on cpu", "unet", "unet", "unet", "decoder", "ends"]


def test_attention_is_fused(tiny_riffusion: Path) -> None:
    fresh = RiffusionBackbone(tiny_riffusion, Identity("riffusion:tiny", "MIT"))
    for network in (fresh.unet, fresh.vae):
        assert network.attn_processors
        assert {type(one) for one in network.attn_processors.values()} == {AttnProcessor2_0}


def test_weights_with_channels_last_are_the_same_model(backbone: RiffusionBackbone, tiny_riffusion: Path) -> None:
    """As a GPU holds them."""
    other = RiffusionBackbone(tiny_riffusion, Identity("riffusion:tiny", "MIT"))
    other.unet.to(memory_format=torch.channels_last)
    other.vae.to(memory_format=torch.channels_last)
    assert not other.unet.conv_in.weight.is_contiguous()
    assert parameters_digest(other.modules()) == parameters_digest(backbone.modules())
    condition, negative = backbone.embed(["a"], {}), backbone.embed([""], {})
    first, second = (one.generate(condition, negative, [1], None, FEW).latents for one in (backbone, other))
    assert torch.allclose(first, second, atol=1e-4)


def test_a_folder_that_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match=r"no folder unet, vae"):
        RiffusionBackbone(tmp_path, Identity("x", "MIT"))


# Several vectors for a pseudo-word, and one set for every place that reads the text.


def test_a_row_of_vectors_takes_a_row_of_tokens(backbone: RiffusionBackbone) -> None:
    table = backbone.text_encoder.get_input_embeddings().weight
    ids = backbone.tokenizer("funky guitar drum", add_special_tokens=False)["input_ids"]
    assert len(ids) == 3
    placed = backbone.embed(["a *, with *", "* music"], {"*": table[ids].expand(2, -1, -1)})
    plain = backbone.embed(["a funky guitar drum, with funky guitar drum", "funky guitar drum music"], {})
    assert torch.allclose(placed.states, plain.states, atol=1e-6)
    with_layers = backbone.embed(["a *, with *", "* music"], {"*": table[ids].expand(2, 1, -1, -1)})
    assert torch.equal(placed.states, with_layers.states)


def test_a_placeholder_may_be_left_out_of_some_prompts(backbone: RiffusionBackbone) -> None:
    words = {"*": torch.randn(2, backbone.text_width), "@": torch.randn(2, backbone.text_width)}
    both = backbone.embed(["a @ music with *", "a music with *"], words)
    alone = backbone.embed(["a music with *"], {"*": words["*"][1:]})
    assert torch.allclose(both.states[1:], alone.states, atol=1e-6)


def test_texts_are_tokenised_once(tiny_riffusion: Path) -> None:
    backbone = RiffusionBackbone(tiny_riffusion, Identity("riffusion:tiny", "MIT"))
    for _ in range(3):
        backbone.embed(["a * music", "a * guitar"], {"*": torch.randn(2, 24)})
    assert (backbone._read_text._tokenized.cache_info().misses, backbone._read_text._tokenized.cache_info().hits) == (
        2,
        4,
    )
    # With two vectors the same text has other tokens.
    assert backbone.embed(["a * music"], {"*": torch.randn(1, 2, 24)}).states.shape == (1, 20, 24)
    assert backbone._read_text._tokenized.cache_info().misses == 3


def layered(backbone: RiffusionBackbone, batch: int, seed: int = 0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(batch, backbone.condition_layers, 2, backbone.text_width, generator=random)


def test_places_that_read_the_text_are_counted() -> None:
    def places(config: dict[str, Any]) -> int:
        with torch.device("meta"):
            return split_condition(UNet2DConditionModel.from_config(config))

    # Stable Diffusion 1.5 has 16, as P+ counts them (6 down, 1 in the middle, 9 up).
    assert places({"cross_attention_dim": 768}) == 16
    embedded = json.loads((weights_dir() / "embedded" / "unet" / "config.json").read_text())
    # Two down, one in the middle, four up, and the text that scales and shifts.
    assert places(embedded) == 8


def test_the_same_text_in_all_layers_is_the_text(backbone: RiffusionBackbone) -> None:
    assert backbone.condition_layers == 4
    one = torch.randn(2, 1, 2, backbone.text_width)
    prompts = ["a * music", "* guitar"]
    plain = backbone.embed(prompts, {"*": one})
    same = backbone.embed(prompts, {"*": one.expand(-1, 4, -1, -1)})
    assert plain.states.shape == (2, 20, 24)
    assert same.states.shape == (2, 4, 20, 24)
    # A batch of other size may round otherwise.
    assert torch.allclose(same.states, plain.states[:, None].expand(-1, 4, -1, -1), atol=1e-6)
    same = Condition(plain.states[:, None].expand(-1, 4, -1, -1))
    targets = backbone.targets(torch.randn(2, 1, 5120) * 0.1)
    losses = [backbone.loss(targets, c, torch.Generator().manual_seed(1)) for c in (plain, same)]
    assert torch.equal(losses[0], losses[1])
    negative = backbone.embed([""], {})
    audio = [backbone.generate(c, negative, [5, 6], None, FEW).audio for c in (plain, same)]
    assert torch.equal(audio[0], audio[1])


@pytest.mark.parametrize("processor", [AttnProcessor, AttnProcessor2_0])
def test_every_layer_has_a_say_of_its_own(backbone: RiffusionBackbone, processor) -> None:
    usual = backbone.unet.attn_processors
    backbone.unet.set_attn_processor(processor())
    states = backbone.embed(["a * music"], {"*": layered(backbone, 1)}).states
    targets = backbone.targets(torch.randn(1, 1, 5120) * 0.1)

    def loss(states: torch.Tensor) -> float:
        return float(backbone.loss(targets, Condition(states), torch.Generator().manual_seed(1)))

    found = [loss(states)]
    for layer in range(4):
        other = states.clone()
        other[:, layer] = backbone.embed(["guitar"], {}).states
        found.append(loss(other))
    backbone.unet.set_attn_processor(usual)
    assert len(set(found)) == 5


def test_layers_are_read_from_the_first_to_the_last(backbone: RiffusionBackbone) -> None:
    states = torch.randn(1, 4, 20, 24)
    read: list[torch.Tensor] = []
    attentions = [
        backbone.unet.down_blocks[0].attentions[0],
        backbone.unet.mid_block.attentions[0],
        *backbone.unet.up_blocks[1].attentions,
    ]
    handles = [
        attention.transformer_blocks[0].attn2.to_k.register_forward_hook(lambda _m, given, _o: read.append(given[0]))
        for attention in attentions
    ]
    backbone.loss(backbone.targets(torch.randn(1, 1, 5120)), Condition(states))
    for handle in handles:
        handle.remove()
    assert [torch.equal(one, states[:, layer]) for layer, one in enumerate(read)] == [True] * 4


def test_the_text_that_scales_and_shifts_reads_the_last_layer() -> None:
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, block_out_channels=(16,), layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",), up_block_types=("CrossAttnUpBlock2D",), cross_attention_dim=24,
        attention_head_dim=2, norm_num_groups=8, addition_embed_type="text", addition_embed_type_num_heads=4,
    )  # fmt: skip
    assert split_condition(unet) == 5
    picture, step = torch.randn(2, 4, 8, 8), torch.tensor([10, 900])
    states = torch.randn(2, 5, 7, 24)
    seen: list[torch.Tensor] = []
    unet.add_embedding.norm1.register_forward_hook(lambda _m, given, _o: seen.append(given[0]))
    with torch.no_grad():
        made = unet(picture, step, states).sample
        same = unet(picture, step, states[:, :1].expand(-1, 5, -1, -1)).sample
        plain = unet(picture, step, states[:, 0]).sample
    assert torch.equal(seen[0], states[:, 4])
    assert torch.equal(same, plain)
    assert not torch.allclose(made, plain, atol=1e-4)


def test_gradient_flows_to_every_layer(backbone: RiffusionBackbone) -> None:
    vectors = layered(backbone, 2).requires_grad_()
    targets = backbone.targets(torch.randn(2, 1, 5120) * 0.1)
    with torch.autocast("cpu", torch.bfloat16):
        condition = backbone.embed(["a * music", "* guitar"], {"*": vectors})
        backbone.loss(targets, condition, torch.Generator().manual_seed(0)).sum().backward()
    assert vectors.grad is not None
    assert vectors.grad.abs().sum(-1).min() > 0
    assert all(parameter.grad is None for parameter in backbone.unet.parameters())


def test_gradient_checkpointing_changes_nothing(tiny_riffusion: Path) -> None:
    backbone = RiffusionBackbone(tiny_riffusion, Identity("riffusion:tiny", "MIT"))
    targets = backbone.targets(torch.randn(1, 1, 5120) * 0.1)
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            backbone.unet.enable_gradient_checkpointing()
            backbone.unet.train()
        vectors = layered(backbone, 1).requires_grad_()
        condition = backbone.embed(["a * music"], {"*": vectors})
        backbone.loss(targets, condition, torch.Generator().manual_seed(0)).sum().backward()
        gradients.append(vectors.grad)
    assert gradients[0] is not None
    assert torch.allclose(gradients[0], gradients[1], atol=1e-7)


def test_a_negative_prompt_without_layers_steers_a_condition_with_them(backbone: RiffusionBackbone) -> None:
    condition = backbone.embed(["a * music", "* guitar"], {"*": layered(backbone, 2)})
    negative = backbone.embed(["guitar"], {})
    made = backbone.generate(condition, negative, [5, 6], None, FEW).audio
    wide = Condition(negative.states[:, None].expand(2, 4, -1, -1))
    assert torch.equal(made, backbone.generate(condition, wide, [5, 6], None, FEW).audio)
    plain = backbone.embed(["a music"], {})
    assert torch.equal(
        backbone.generate(plain, Condition(wide.states[:1]), [5], None, FEW).audio,
        backbone.generate(plain, negative, [5], None, FEW).audio,
    )


def test_layers_of_another_backbone_are_refused(backbone: RiffusionBackbone) -> None:
    with pytest.raises(EncoderMismatchError, match="for 3 layers, but riffusion:tiny reads the text at 4 places"):
        backbone.embed(["a *"], {"*": torch.zeros(1, 3, 1, 24)})


# Eq. 2.


def predicting(source: Path, folder: Path, kind: str) -> Path:
    """The same model, said to predict something else."""
    shutil.copytree(source, folder)
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "prediction_type": kind}))
    return folder


@pytest.mark.parametrize("focus", [0.0, 2.0])
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_loss_worked_by_hand_for_noise_and_velocity(
    tiny_riffusion: Path, tmp_path: Path, kind: str, focus: float
) -> None:
    backbone = RiffusionBackbone(predicting(tiny_riffusion, tmp_path / "m", kind), Identity("riffusion:tiny", "MIT"))
    condition = backbone.embed(["a music", "guitar", "drum"], {})
    targets = backbone.targets(torch.randn(3, 1, 5120) * 0.1)
    ours = backbone.loss(targets, condition, torch.Generator().manual_seed(3), focus)
    random = torch.Generator().manual_seed(3)
    noise = torch.randn(targets.shape, generator=random)
    if focus:
        steps = (1000 * torch.rand(3, generator=random) ** (1 / 3)).long()
    else:
        steps = torch.randint(0, 1000, (3,), generator=random)
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    kept = torch.cumprod(1 - betas, 0)[steps][:, None, None, None]
    noisy = kept.sqrt() * targets + (1 - kept).sqrt() * noise
    wanted = kept.sqrt() * noise - (1 - kept).sqrt() * targets if kind == "v_prediction" else noise
    with torch.no_grad():
        predicted = backbone.unet(noisy, steps, condition.states).sample
    expected = ((predicted - wanted) ** 2).mean((1, 2, 3))
    assert torch.allclose(ours, expected, rtol=1e-4)


def test_focus_draws_noisy_steps_more_often(backbone: RiffusionBackbone) -> None:
    for focus in (0.0, 1.0, 3.0):
        steps = backbone._draw_steps(40_000, torch.Generator().manual_seed(0), focus).float()
        # A density that rises as t^f has its mean at (f + 1) / (f + 2) and its median at 2^(-1 / (f + 1)).
        assert steps.mean().item() / 1000 == pytest.approx((focus + 1) / (focus + 2), abs=0.005)
        assert steps.median().item() / 1000 == pytest.approx(2 ** (-1 / (focus + 1)), abs=0.008)
        assert steps.min() >= 0
        assert steps.max() <= 999
    with pytest.raises(ValueError, match="focus must be 0 or more"):
        backbone._draw_steps(1, None, -0.5)


def test_a_model_that_predicts_something_else_is_refused(tiny_riffusion: Path, tmp_path: Path) -> None:
    folder = predicting(tiny_riffusion, tmp_path / "m", "sample")
    with pytest.raises(MissingWeightsError, match="predicts 'sample'"):
        RiffusionBackbone(folder, Identity("riffusion:tiny", "MIT"))


def without_a_tensor(path: Path) -> None:
    tensors = load_file(path)
    tensors.pop(sorted(tensors)[-1])
    save_file(tensors, path, {"format": "pt"})


@pytest.mark.parametrize("part", ["unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"])
def test_weights_with_a_hole_are_refused(tiny_riffusion: Path, tmp_path: Path, part: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_riffusion, folder)
    without_a_tensor(folder / f"{part}.safetensors")
    with pytest.raises(MissingWeightsError, match=rf"{part.split('/')[0]}: .*Fetch the model again"):
        RiffusionBackbone(folder, Identity("riffusion:tiny", "MIT"))


def test_a_missing_tokenizer_is_not_made_up(tiny_riffusion: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_riffusion, folder)
    for path in (folder / "tokenizer").iterdir():
        path.unlink()
    with pytest.raises(MissingWeightsError, match=r"tokenizer: holds no tokenizer\.json and no vocab\.json"):
        RiffusionBackbone(folder, Identity("riffusion:tiny", "MIT"))


def test_it_is_told_a_tempo_as_its_identity_says(tiny_riffusion: Path) -> None:
    words = TempoWords("at {bpm}", (100.0, 200.0))
    told = RiffusionBackbone(tiny_riffusion, Identity("riffusion:tiny", "MIT", tempo_words=words))
    assert tempo_words(told) is words
    # A backbone of another package need not have the attribute.
    assert tempo_words(object()) == TempoWords()  # type: ignore[arg-type]
