"""ACE-Step on a small model of diffusers' own classes, beside their pipeline called by hand."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from d2m_cli.api.loaders import refuse
from d2m_cli.backbones.ace_step import AceStepBackbone
from d2m_cli.backbones.base import Draw, FullSampling, Identity, Sampling, refused
from d2m_cli.errors import UsageError
from d2m_cli.generation.options import GenerateOptions
from d2m_cli.rhythm.sequence import Tempo
from tests.latent_audio_models import save_ace_step

TEMPO = Tempo(111.6, 0.2, 0.9)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_ace_step(tmp_path_factory.mktemp("ace-step"))


@pytest.fixture(scope="module")
def backbone(folder: Path) -> AceStepBackbone:
    return AceStepBackbone(folder, Identity("ace-step:tiny", "MIT"))


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> Any:
    from diffusers import AceStepPipeline

    return AceStepPipeline.from_pretrained(folder)


def loud(audio: Tensor) -> Tensor:
    """As diffusers' pipeline scales what it made: the peak at -1 dBFS."""
    return audio * (10 ** (-1 / 20) / audio.abs().amax((1, 2), keepdim=True))


def by_hand(pipeline: Any, seed: int, **options: Any) -> Tensor:
    made: Tensor = pipeline(
        prompt="funky guitar in A minor", lyrics="[Instrumental]", vocal_language="unknown", audio_duration=2.0,
        bpm=112, keyscale="A minor", timesignature="4", generator=torch.Generator().manual_seed(seed), **options,
    ).audios  # fmt: skip
    return made


def ours(backbone: AceStepBackbone, seed: int, sampling: Sampling, context: Draw | None = None) -> Draw:
    text = backbone.full_prompt("funky guitar in A minor", TEMPO, 2.0, context is not None)
    return backbone.generate(
        backbone.embed([text], {}), backbone.embed([""], {}), [seed], context, sampling, seconds=2.0
    )


def test_the_music_is_that_of_diffusers_pipeline(backbone: AceStepBackbone, pipeline: Any) -> None:
    theirs = by_hand(pipeline, 7, num_inference_steps=4)
    made = ours(backbone, 7, Sampling(steps=4)).audio
    assert made.shape == theirs.shape == (1, 2, 16000)
    assert torch.allclose(loud(made), theirs, atol=1e-4)
    assert not torch.allclose(loud(ours(backbone, 8, Sampling(steps=4)).audio), theirs, atol=1e-2)


def test_so_is_that_of_a_model_with_guidance(tmp_path: Path) -> None:
    from diffusers import AceStepPipeline

    save_ace_step(tmp_path, turbo=False)
    backbone = AceStepBackbone(tmp_path, Identity("ace-step:base", "MIT"))
    assert backbone.heeds == ("steps", "guidance")
    theirs = by_hand(AceStepPipeline.from_pretrained(tmp_path), 7, num_inference_steps=3, guidance_scale=4.0)
    assert torch.allclose(loud(ours(backbone, 7, Sampling(3, 4.0)).audio), theirs, atol=1e-4)
    plain = loud(ours(backbone, 7, Sampling(3, 1.0)).audio)
    assert not torch.allclose(plain, theirs, atol=1e-3)
    assert set(refused(backbone)) == {"negative_prompt"}


def test_fields_reach_the_prompt(backbone: AceStepBackbone, pipeline: Any) -> None:
    theirs, _ = pipeline._format_prompt("a harp", audio_duration=12.5, bpm=112, keyscale="F# minor", timesignature="4")
    text = backbone.full_prompt("a harp in F sharp minor", TEMPO, 12.5)
    assert text == theirs.replace("a harp", "a harp in F sharp minor")
    for line in ("- bpm: 112\n", "- timesignature: 4\n", "- keyscale: F# minor\n", "- duration: 12 seconds\n"):
        assert line in text
    unknown = backbone.full_prompt("a harp", None, 5.12)
    for line in ("- bpm: N/A\n", "- timesignature: N/A\n", "- keyscale: N/A\n", "- duration: 5 seconds\n"):
        assert line in unknown
    assert "Repaint the mask area" in backbone.full_prompt("a harp", None, 5.12, goes_on=True)
    # A text that has its fields is taken as it is, and another tempo is another condition.
    assert backbone.full_prompt(text, None, 1.0) == text
    faster = backbone.full_prompt("a harp in F sharp minor", Tempo(140.0, 0.0, 0.9), 12.5)
    first, second = backbone.embed([text], {}).states, backbone.embed([faster], {}).states
    assert not torch.allclose(first[:, -1], second[:, -1], atol=1e-4)


@pytest.mark.parametrize(
    ("words", "key"),
    [("in C major", "C major"), ("Bb minor pads", "Bb minor"), ("E flat major", "Eb major"), ("a minor chord", "N/A")],
)
def test_a_key_is_read_off_the_words(backbone: AceStepBackbone, words: str, key: str) -> None:
    assert f"- keyscale: {key}\n" in backbone.full_prompt(words, None, 5.0)


def test_a_continuation_is_repainted(backbone: AceStepBackbone, pipeline: Any) -> None:
    """The same by hand: source and mask beside the noise, and what is there held at every step."""
    context = ours(backbone, 1, Sampling(steps=2)).end(1.6)
    assert context is not None
    assert context.latents is not None
    made = ours(backbone, 7, Sampling(steps=4), context)
    known, width, frames = context.latents.transpose(1, 2), 50, 250
    text = backbone.full_prompt("funky guitar in A minor", TEMPO, 2.0, goes_on=True)
    ids = pipeline.tokenizer(text, return_tensors="pt").input_ids
    _, lyrics = pipeline._format_prompt("", lyrics="[Instrumental]", vocal_language="unknown")
    sung = pipeline.text_encoder.get_input_embeddings()(pipeline.tokenizer(lyrics, return_tensors="pt").input_ids)
    encoder = pipeline.condition_encoder
    with torch.no_grad():
        states = pipeline.text_encoder(ids).last_hidden_state
        condition, _ = encoder(
            states, torch.ones(states.shape[:2], dtype=torch.bool), sung, torch.ones(sung.shape[:2], dtype=torch.bool),
            encoder.silence_latent[:, : 30 * 125], torch.zeros(1, dtype=torch.long),
        )  # fmt: skip
        source = torch.cat([known, encoder.silence_latent[:, width:frames]], 1)
        mask = (torch.arange(frames) >= width).float()[None, :, None].expand(1, frames, 8)
        noise = torch.randn(1, frames, 8, generator=torch.Generator().manual_seed(7))
        times = torch.linspace(1.0, 0.0, 5)
        times = 3 * times / (1 + 2 * times)
        latents = noise.clone()
        for now, then in pairwise(times):
            said = pipeline.transformer(
                latents, now[None], now[None], condition, torch.cat([source, mask], -1), return_dict=False
            )[0]
            latents = latents + (then - now) * said
            latents[:, :width] = (1 - then) * known + then * noise[:, :width]
    assert made.latents is not None
    assert torch.allclose(made.latents.transpose(1, 2), latents, atol=1e-4)


def test_the_loss_is_that_of_rectified_flow_worked_by_hand(backbone: AceStepBackbone) -> None:
    condition = backbone.embed(["a music"], {})
    targets = backbone.targets(0.1 * torch.randn(1, 2, 40960))
    found = backbone.loss(targets, condition, torch.Generator().manual_seed(3))
    random = torch.Generator().manual_seed(3)
    noise = torch.randn(targets.shape, generator=random)
    time = torch.rand(1, generator=random)
    said = backbone.predict((1 - time) * targets + time * noise, time, condition)
    assert found.item() == pytest.approx(((said - (noise - targets)) ** 2).mean().item(), rel=1e-5)
    # A step of the sampler from there, had the network said just that, ends in the music.
    there = (1 - time) * targets + time * noise
    assert torch.allclose(there - time * (noise - targets), targets, atol=1e-5)


def test_a_guidance_that_the_pipeline_would_not_heed_is_refused(tmp_path: Path) -> None:
    base = AceStepBackbone(save_ace_step(tmp_path, turbo=False), Identity("ace-step:base", "MIT"))
    with pytest.raises(UsageError, match=r"guidance is 1 or more for ace-step:base, not 0\.5"):
        refuse(base, GenerateOptions(sampling=Sampling(guidance=0.5)))
    # As at 1, the pipeline draws the same.
    first = ours(base, 7, Sampling(steps=2, guidance=0.5)).audio
    assert torch.equal(first, ours(base, 7, Sampling(steps=2, guidance=1.0)).audio)
    assert not torch.equal(first, ours(base, 7, Sampling(steps=2, guidance=2.0)).audio)
    for guidance, passes in ((0.5, 4), (1.0, 4), (2.0, 8)):
        sampling = FullSampling(steps=4, guidance=guidance)
        assert base.passes(sampling) == passes
        if guidance >= 1:
            refuse(base, GenerateOptions(sampling=Sampling(guidance=guidance)))


def test_nothing_is_held_of_a_draw_that_failed(backbone: AceStepBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ours(backbone, 7, Sampling(steps=1))

    def full(*_: Any, **__: Any) -> None:
        assert backbone.pipeline.source is not None
        raise torch.OutOfMemoryError

    with monkeypatch.context() as patch:
        patch.setattr(backbone.transformer, "forward", full)
        with pytest.raises(torch.OutOfMemoryError):
            ours(backbone, 7, Sampling(steps=1), first.end(1.0))
    assert backbone.pipeline.source is None


def test_a_turbo_model_refuses_what_it_does_not_know(backbone: AceStepBackbone) -> None:
    assert backbone.heeds == ("steps",)
    assert set(refused(backbone)) == {"guidance", "negative_prompt"}
    with pytest.raises(UsageError, match=r"negative_prompt is not for ace-step:tiny: the turbo models .* distilled"):
        refuse(backbone, GenerateOptions(negative_prompt="vocals"))
    refuse(backbone, GenerateOptions())


def test_a_word_for_the_tempo_and_a_vector_for_words(backbone: AceStepBackbone) -> None:
    table = backbone.text_encoder.get_input_embeddings().weight
    ids = backbone.tokenizer("112 bpm", add_special_tokens=False)["input_ids"]
    assert torch.allclose(backbone.tempo_vector(TEMPO), table[ids].mean(0))
    assert backbone.words_vector("guitar").shape == (backbone.text_width,)
