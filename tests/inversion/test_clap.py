"""CLAP by transformers, tiny, random and short of breath: it hears 1 s at a time."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import ClapFeatureExtractor, ClapModel

from d2m_cli.errors import AudioError, MissingWeightsError, UsageError
from d2m_cli.inversion.clap import ClapAudio
from d2m_cli.media.audio import resample
from tests.tiny_clap import save_tiny_clap, teach_to_read


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_clap(tmp_path_factory.mktemp("clap") / "model")


def sound(seconds: float, rate: int, seed: int = 0) -> np.ndarray:
    steps = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(seed).standard_normal(len(steps))
    return (0.3 * np.sin(2 * np.pi * 220 * (seed + 1) * steps) + 0.02 * noise).astype(np.float32)


def by_transformers(folder: Path, samples: np.ndarray) -> torch.Tensor:
    features = ClapFeatureExtractor.from_pretrained(folder)(samples, sampling_rate=48000, return_tensors="pt")
    with torch.no_grad():
        return ClapModel.from_pretrained(folder).eval().get_audio_features(**features).pooler_output[0]


def test_a_short_sound_is_what_transformers_makes_of_it(folder: Path) -> None:
    samples = sound(0.7, 48000)
    heard = ClapAudio(folder).embed(samples, 48000)
    assert heard.shape == (512,)
    assert heard.dtype == torch.float32
    assert heard.norm().item() == pytest.approx(1.0, abs=1e-5)
    expected = torch.nn.functional.normalize(by_transformers(folder, samples), dim=0)
    assert torch.allclose(heard, expected, atol=1e-5)


def test_other_rates_are_brought_to_48_khz(folder: Path) -> None:
    samples = sound(0.5, 24000)
    listener = ClapAudio(folder)
    at_48 = resample(samples[None], 24000, 48000)[0]
    assert len(at_48) == 24000
    assert torch.equal(listener.embed(samples, 24000), listener.embed(at_48, 48000))


def test_a_long_sound_is_the_mean_of_its_pieces_and_never_random(folder: Path) -> None:
    first, second = sound(1.0, 48000), sound(0.5, 48000, seed=3)
    listener = ClapAudio(folder)
    whole = np.concatenate([first, second])
    heard = listener.embed(whole, 48000)
    mean = 2 * listener.embed(first, 48000) + listener.embed(second, 48000)
    assert torch.allclose(heard, mean / mean.norm(), atol=1e-5)
    assert torch.equal(heard, listener.embed(whole, 48000))
    assert not torch.allclose(heard, listener.embed(first, 48000), atol=1e-4)


def test_a_model_is_known_by_its_weights(folder: Path, tmp_path: Path) -> None:
    assert ClapAudio(folder).fingerprint == ClapAudio(folder).fingerprint
    assert ClapAudio(save_tiny_clap(tmp_path / "other", seed=1)).fingerprint != ClapAudio(folder).fingerprint


def test_a_model_that_is_not_there_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match=r"absent: no such folder.*laion/clap-htsat-unfused.*clap='clap'"):
        ClapAudio(tmp_path / "absent")
    with pytest.raises(MissingWeightsError, match=r"not a CLAP model.*laion/clap-htsat-unfused"):
        ClapAudio(tmp_path)
    with pytest.raises(UsageError, match="48 numbers, and d2m takes 512"):
        ClapAudio(save_tiny_clap(tmp_path / "narrow", width=48))


def test_a_model_that_is_not_whole_is_not_filled_up_at_random(folder: Path, tmp_path: Path) -> None:
    part = tmp_path / "part"
    shutil.copytree(folder, part)
    tensors = load_file(part / "model.safetensors")
    del tensors["audio_projection.linear1.weight"]
    save_file(tensors, part / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(MissingWeightsError, match=r"not a whole CLAP model, audio_projection\.linear1\.weight"):
        ClapAudio(part)


def test_words_are_what_transformers_makes_of_them(folder: Path, tmp_path: Path) -> None:
    assert ClapAudio(folder).unable_to_read == "can't read text (no tokenizer.json or vocab.json)"
    with pytest.raises(MissingWeightsError, match=r"CLAP can't read text \(no tokenizer"):
        ClapAudio(folder).read("piano")
    shutil.copytree(folder, tmp_path / "reads")
    reads = teach_to_read(tmp_path / "reads")
    read = ClapAudio(reads).read(" slow  piano ")
    with torch.no_grad():
        model = ClapModel.from_pretrained(reads).eval()
        out = model.get_text_features(input_ids=torch.tensor([[0, 6, 7, 2]])).pooler_output[0]
    assert torch.allclose(read, torch.nn.functional.normalize(out, dim=0), atol=1e-5)
    tensors = load_file(reads / "model.safetensors")
    del tensors["text_projection.linear1.weight"]
    save_file(tensors, reads / "model.safetensors", metadata={"format": "pt"})
    assert ClapAudio(reads).unable_to_read == "lacks text_projection.linear1.weight"


def test_silence_of_no_length_is_refused(folder: Path) -> None:
    with pytest.raises(AudioError, match=r"shape \(n,\)"):
        ClapAudio(folder).embed(np.zeros(0, np.float32), 48000)
    with pytest.raises(AudioError, match=r"shape \(n,\)"):
        ClapAudio(folder).embed(np.zeros((2, 100), np.float32), 48000)
