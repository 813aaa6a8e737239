"""Stable Audio Open and Stable Audio 3 on small models of diffusers' own classes, beside their pipelines."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from d2m_cli.backbones.base import Draw, Identity, Sampling, refused
from d2m_cli.backbones.stable_audio import (
    CosineScheduler,
    StableAudio3Backbone,
    StableAudioOpenBackbone,
    open_stable_audio,
)
from d2m_cli.errors import MissingWeightsError
from tests.latent_audio_models import save_stable_audio_3, save_stable_audio_open

PUBLISHED = {
    "_class_name": "CosineDPMSolverMultistepScheduler",
    "euler_at_final": False,
    "final_sigmas_type": "zero",
    "lower_order_final": True,
    "num_train_timesteps": 1000,
    "prediction_type": "v_prediction",
    "rho": 7.0,
    "sigma_data": 1.0,
    "sigma_max": 500,
    "sigma_min": 0.3,
    "sigma_schedule": "exponential",
    "solver_order": 2,
    "solver_type": "midpoint",
}
"""The scheduler of Stable Audio Open 1.0, as its folder has it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_stable_audio_open(tmp_path_factory.mktemp("open"))


@pytest.fixture(scope="module")
def first(folder: Path) -> Any:
    return open_stable_audio(folder, Identity("stable-audio:tiny", "x"))


@pytest.fixture(scope="module")
def folder_3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_stable_audio_3(tmp_path_factory.mktemp("three"))


@pytest.fixture(scope="module")
def third(folder_3: Path) -> Any:
    return open_stable_audio(folder_3, Identity("stable-audio:tiny-3", "x"))


def ours(
    backbone: Any, sampling: Sampling, negative: str = "", context: Draw | None = None, seconds: float = 1.0
) -> Draw:
    made: Draw = backbone.generate(
        backbone.embed(["funky guitar"], {}), backbone.embed([negative], {}), [7], context, sampling, seconds=seconds
    )
    return made


def near(found: Tensor, wanted: Tensor) -> bool:
    """Within 1e-4 of the loudest."""
    return torch.allclose(found, wanted, rtol=0, atol=1e-4 * float(wanted.abs().max()))


def test_the_folder_says_which_of_the_two_it_is(first: Any, third: Any) -> None:
    assert type(first) is StableAudioOpenBackbone
    assert type(third) is StableAudio3Backbone


@pytest.mark.parametrize("negative", [None, "drum"])
@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_the_music_is_that_of_diffusers_pipeline(
    first: Any, folder: Path, guidance: float, negative: str | None
) -> None:
    from diffusers import StableAudioPipeline

    pipeline: Any = StableAudioPipeline.from_pretrained(folder)
    theirs = pipeline(
        "funky guitar", audio_end_in_s=1.0, num_inference_steps=4, guidance_scale=guidance, negative_prompt=negative,
        generator=torch.Generator().manual_seed(7),
    ).audios  # fmt: skip
    made = ours(first, Sampling(4, guidance), negative or "").audio
    assert made.shape == theirs.shape == (1, 2, 8000)
    assert near(made.clamp(-1, 1), theirs)


def test_so_is_that_of_stable_audio_3(third: Any, folder_3: Path) -> None:
    from diffusers import StableAudio3Pipeline

    pipeline: Any = StableAudio3Pipeline.from_pretrained(folder_3)
    theirs = pipeline(
        "funky guitar", duration=1.0, num_inference_steps=4, generator=torch.Generator().manual_seed(7)
    ).audios
    made = ours(third, Sampling(4)).audio
    assert made.shape == theirs.shape == (1, 2, 8000)
    assert near(made.clamp(-1, 1), theirs)
    # Its length is told as it is, also where a frame goes on behind the end.
    theirs = pipeline(
        "funky guitar", duration=0.999, num_inference_steps=4, generator=torch.Generator().manual_seed(7)
    ).audios
    assert near(ours(third, Sampling(4), seconds=0.999).audio.clamp(-1, 1), theirs)


def test_so_is_that_of_a_model_with_guidance(tmp_path: Path) -> None:
    from diffusers import StableAudio3Pipeline

    save_stable_audio_3(tmp_path, distilled=False)
    backbone: Any = open_stable_audio(tmp_path, Identity("stable-audio:base", "x"))
    assert backbone.heeds == ("steps", "guidance")
    assert not refused(backbone)
    pipeline: Any = StableAudio3Pipeline.from_pretrained(tmp_path)
    for negative in ("", "drum"):
        theirs = pipeline(
            "funky guitar", duration=1.0, num_inference_steps=4, guidance_scale=5.0, negative_prompt=negative,
            generator=torch.Generator().manual_seed(7),
        ).audios  # fmt: skip
        assert near(ours(backbone, Sampling(4, 5.0), negative).audio.clamp(-1, 1), theirs)
    # What is there already is told to both halves of the batch.
    before = ours(backbone, Sampling(2, 5.0)).end(0.6)
    assert before is not None
    assert before.latents is not None
    after = ours(backbone, Sampling(2, 5.0), context=before)
    assert after.latents is not None
    assert torch.equal(after.latents[..., :50], before.latents)


def test_a_window_that_goes_on_is_inpainted_as_diffusers_pipeline_does(third: Any, folder_3: Path) -> None:
    from diffusers import StableAudio3InpaintPipeline

    pipeline: Any = StableAudio3InpaintPipeline.from_pretrained(folder_3)
    sound = 0.1 * torch.randn(1, 2, 50 * 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        known = pipeline.vae.encode(sound).latents[..., :49]
    random = torch.Generator().manual_seed(7)
    noise = torch.randn(1, 8, 125, generator=random)

    def hold(pipe: Any, step: int, _time: Tensor, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        noisy = pipe.scheduler.sigmas[step + 1]
        tensors["latents"][..., :49] = (1 - noisy) * known + noisy * noise[..., :49]
        return tensors

    mask = (torch.arange(125) < 49).float()[None, None]
    theirs = pipeline(
        "funky guitar", duration=1.0, audio=sound, mask=mask, num_inference_steps=4, latents=noise, generator=random,
        callback_on_step_end=hold, output_type="latent",
    ).audios  # fmt: skip
    made = ours(third, Sampling(4), context=Draw(sound, 8000)).latents
    assert made is not None
    assert torch.allclose(made, theirs, atol=1e-4)
    # The blocks were told: with nothing added the music behind is other music.
    hook = third.transformer.register_forward_pre_hook(
        lambda _module, given, named: (given, {**named, "local_add_cond": None}), with_kwargs=True
    )
    untold = ours(third, Sampling(4), context=Draw(sound, 8000)).latents
    hook.remove()
    assert untold is not None
    assert torch.allclose(untold, theirs, atol=1e-3)


def test_long_pieces_are_decoded_in_parts_with_the_same_result(third: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    latents = torch.randn(1, 8, 61, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = third.vae.decode(latents).sample
        monkeypatch.setattr("d2m_cli.backbones.stable_audio.DECODED_FRAMES", 10)
        parts = third.decode(latents)
    assert parts.shape == whole.shape
    assert near(parts, whole)


def test_distilled_models_refuse_guidance(third: Any, first: Any) -> None:
    assert set(refused(third)) == {"guidance", "negative_prompt"}
    assert third.heeds == ("steps",)
    assert not refused(first)


def test_pieces_end_where_the_models_do(first: Any, third: Any) -> None:
    assert first.longest_seconds == 10.0
    assert third.longest_seconds == 384.0


# Noise and time of Stable Audio Open.


def test_the_published_scheduler_needs_no_torchsde(folder: Path, tmp_path: Path) -> None:
    import shutil

    copy = shutil.copytree(folder, tmp_path / "model")
    (copy / "scheduler" / "scheduler_config.json").write_text(json.dumps(PUBLISHED))
    index = json.loads((copy / "model_index.json").read_text())
    index["scheduler"] = ["diffusers", "CosineDPMSolverMultistepScheduler"]
    (copy / "model_index.json").write_text(json.dumps(index))
    backbone: Any = open_stable_audio(copy, Identity("stable-audio:tiny", "x"))
    assert type(backbone.pipeline.scheduler) is CosineScheduler
    scheduler: Any = backbone.pipeline.scheduler
    scheduler.set_timesteps(3)
    sigmas = [500.0, math.sqrt(500 * 0.3), 0.3]
    assert scheduler.sigmas.tolist() == pytest.approx([*sigmas, 0.0], rel=1e-5)
    assert scheduler.timesteps.tolist() == pytest.approx([2 / math.pi * math.atan(s) for s in sigmas], rel=1e-5)
    assert ours(backbone, Sampling(3, 2.0)).audio.std() > 0
    config = PUBLISHED | {"prediction_type": "epsilon"}
    (copy / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
    with pytest.raises(MissingWeightsError, match="predicts 'epsilon'"):
        open_stable_audio(copy, Identity("stable-audio:tiny", "x"))


def test_a_step_of_the_scheduler_by_hand() -> None:
    """The first step of SDE-DPM-Solver++: towards what the network takes for the music, with fresh noise."""
    scheduler: Any = CosineScheduler.from_config(PUBLISHED, algorithm_type="sde-dpmsolver++")
    scheduler.set_timesteps(4)
    there = scheduler.init_noise_sigma * torch.randn(1, 2, 5, generator=torch.Generator().manual_seed(0))
    said = torch.randn(1, 2, 5, generator=torch.Generator().manual_seed(1))
    scheduler.scale_model_input(there, scheduler.timesteps[0])
    found = scheduler.step(said, scheduler.timesteps[0], there, generator=torch.Generator().manual_seed(2)).prev_sample
    now, then = (float(sigma) for sigma in scheduler.sigmas[:2])
    music = there / (now**2 + 1) - now / math.sqrt(now**2 + 1) * said
    fresh = torch.randn(1, 2, 5, generator=torch.Generator().manual_seed(2))
    left = then / now
    wanted = left**2 * there + (1 - left**2) * music + then * math.sqrt(1 - left**2) * fresh
    assert torch.allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_all_steps_are_those_of_diffusers_scheduler_given_its_noise() -> None:
    pytest.importorskip("torchsde")
    from diffusers import CosineDPMSolverMultistepScheduler

    theirs: Any = CosineDPMSolverMultistepScheduler.from_config(PUBLISHED)
    scheduler: Any = CosineScheduler.from_config(PUBLISHED, algorithm_type="sde-dpmsolver++")
    random, again = torch.Generator().manual_seed(0), torch.Generator().manual_seed(0)
    found = wanted = theirs.init_noise_sigma * torch.randn(1, 2, 50, generator=torch.Generator().manual_seed(1))
    scheduler.set_timesteps(6)
    theirs.set_timesteps(6)
    theirs.noise_sampler = lambda _now, _then: torch.randn(1, 2, 50, generator=again)
    assert torch.allclose(scheduler.timesteps, theirs.timesteps)
    for step in theirs.timesteps:
        said = torch.tanh(scheduler.scale_model_input(found, step))
        found = scheduler.step(said, step, found, generator=random).prev_sample
        said = torch.tanh(theirs.scale_model_input(wanted, step))
        wanted = theirs.step(said, step, wanted).prev_sample
        assert torch.allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_the_loss_is_that_of_v_prediction_worked_by_hand(first: Any) -> None:
    condition = first.embed(["a music"], {})
    targets = first.targets(0.1 * torch.randn(1, 2, 40960))
    found = first.loss(targets, condition, torch.Generator().manual_seed(3))
    random = torch.Generator().manual_seed(3)
    noise = torch.randn(targets.shape, generator=random)
    angle = torch.rand(1, generator=random) * math.pi / 2
    said = first.predict(angle.cos() * targets + angle.sin() * noise, angle / (math.pi / 2), condition)
    velocity = angle.cos() * noise - angle.sin() * targets
    assert found.item() == pytest.approx(((said - velocity) ** 2).mean().item(), rel=1e-5)


def test_velocity_and_time_are_those_of_the_scheduler(first: Any) -> None:
    """What the loss asks for is what the scheduler takes the network's word for."""
    music, noise = torch.randn(1, 8, 20), torch.randn(1, 8, 20)
    scheduler: Any = CosineScheduler.from_config(PUBLISHED)
    sigma = torch.tensor(2.0)
    time = scheduler.precondition_noise(sigma)
    noisy, velocity = first.noisy(music, noise, time[None])
    there = music + sigma * noise
    assert torch.allclose(scheduler.precondition_inputs(there, sigma), noisy, atol=1e-5)
    assert torch.allclose(scheduler.precondition_outputs(there, velocity, sigma), music, atol=1e-5)


def test_nothing_said_is_nothing_at_all(first: Any) -> None:
    """The model learned its unconditional half without any text."""
    empty = first.embed(["", "drum"], {})
    assert not empty.mask[0].any()
    assert not empty.states[0].any()
    assert empty.mask[1].any()
