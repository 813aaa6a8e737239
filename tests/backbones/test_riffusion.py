from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from d2m_cli.backbones.base import Sampling, parameters_digest
from d2m_cli.backbones.riffusion import Identity, RiffusionBackbone
from d2m_cli.errors import MissingWeightsError


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
    first = backbone.generate(condition, negative, [5], None, FEW)
    again = backbone.generate(condition, negative, [5], None, FEW)
    other = backbone.generate(condition, negative, [6], None, FEW)
    assert first.shape == (1, 1, 5120)
    assert first.dtype == torch.float32
    assert first.numpy().tobytes() == again.numpy().tobytes()
    assert not torch.allclose(first, other)


def test_condition_changes_the_audio(backbone: RiffusionBackbone) -> None:
    negative = backbone.embed([""], {})
    vectors = torch.randn(2, backbone.text_width) * 3
    made = [
        backbone.generate(backbone.embed(["a * music"], {"*": vectors[i : i + 1]}), negative, [5], None, FEW)
        for i in range(2)
    ]
    assert not torch.allclose(made[0], made[1])


def test_context_is_kept_at_the_windows_start(backbone: RiffusionBackbone) -> None:
    assert backbone.quantum_seconds == pytest.approx(0.08)
    condition, negative = backbone.embed(["a"], {}), backbone.embed([""], {})
    context = torch.randn(1, 1, round(0.32 * 8000)) * 0.1
    known, width = backbone._known(context)
    assert width == 3
    assert known.shape[-1] == 3
    assert backbone.generate(condition, negative, [1], context, FEW).shape == (1, 1, 5120)


def test_a_folder_that_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match=r"no folder unet, vae"):
        RiffusionBackbone(tmp_path, Identity("x", "MIT"))
