"""The network that ships, on ten rendered clips that no training saw, one a genre (held/, weights/recipes)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from d2m_cli.backbones.spectrogram import SpectrogramConfig, picture_from_audio
from d2m_cli.errors import AudioError, MissingWeightsError
from d2m_cli.evaluation.genre.divergence import GENRES, Recording, classify_clip, genre_scores
from d2m_cli.evaluation.sound.embedders import load_embedder
from d2m_cli.evaluation.sound.embedding import embed_clips
from d2m_cli.evaluation.sound.frechet import kad
from d2m_cli.evaluation.sound.listener import Listener, ListenerConfig, ListenerNetwork
from d2m_cli.ground.weights_path import weights_dir
from d2m_cli.media.audio import resample
from tests.evaluation.clips import noise, tone

HELD = sorted((Path(__file__).parent / "held").glob("*.ogg"))
RATE = 24000


@pytest.fixture(scope="module")
def listener() -> Listener:
    return Listener.load()


@pytest.fixture(scope="module")
def held() -> list[tuple[str, np.ndarray, int]]:
    return [(path.stem, *soundfile.read(path, dtype="float32")) for path in HELD]


def test_it_ships_small_with_its_words(listener: Listener) -> None:
    folder = weights_dir() / "listener"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 150_000
    assert sum(parameter.numel() for parameter in listener.network.parameters()) == 67_627
    assert (listener.name, listener.sample_rate, listener.width) == ("listener", RATE, 64)
    assert listener.classes == GENRES
    assert listener.config.leads[1:3] == ("piano", "guitar")
    assert isinstance(load_embedder("listener"), Listener)


def test_it_names_the_genre_of_music_it_never_heard(listener: Listener, held: list) -> None:
    clips = [classify_clip(listener, Recording(name, samples, rate), label=name) for name, samples, rate in held]
    assert len(clips) == 10
    scores = genre_scores(listener.name, clips)
    assert scores.accuracy is not None
    assert scores.accuracy >= 0.9
    assert scores.kld_label is not None
    assert scores.kld_label < 0.5
    for clip in clips:
        assert clip.generated.shape == (10,)
        assert clip.generated.sum() == pytest.approx(1.0)


def test_loudness_rate_and_channels_matter_little(listener: Listener, held: list) -> None:
    _, samples, rate = held[0]
    plain = listener.genres(samples, rate)
    assert listener.genres(0.01 * samples, rate) == pytest.approx(plain, abs=1e-4)
    up = resample(samples[None], rate, 44100)
    stereo = np.concatenate([1.2 * up, 0.8 * up])
    assert listener.genres(stereo, 44100) == pytest.approx(plain, abs=0.05)


def test_frames_and_what_is_too_short(listener: Listener, held: list) -> None:
    _, samples, rate = held[0]
    # 5.12 s, the 5.08 s of the published clips, and a frame less 80 ms.
    for seconds, frames in ((5.12, 4), (5.08, 4), (1.2, 1), (2.3, 1), (2.5, 2)):
        assert listener.embed(samples[: round(seconds * rate)], rate).shape == (frames, 64)
    for hear in (listener.embed, listener.genres):
        with pytest.raises(AudioError, match=r"1\.19 s are too short for listener, which needs 1\.20 s"):
            hear(samples[: round(1.19 * rate)], rate)
        with pytest.raises(AudioError, match="not numbers"):
            hear(np.full(rate * 2, np.inf), rate)
    heard = embed_clips(
        [("a", samples, rate), ("b", samples[:100], rate), ("c", np.zeros((2, 2 * rate)), rate)], listener
    )
    assert (heard.clips, heard.counts, heard.silent) == (("a", "c"), (4, 1), ("c",))
    assert heard.left_out[0][0] == "b"
    assert listener.genres(np.zeros(2 * rate), rate).sum() == pytest.approx(1.0)


def test_a_frame_is_the_mean_of_its_steps_and_the_genre_that_of_all(listener: Listener, held: list) -> None:
    """From the picture that the backbone draws, which is another way to the same amplitude."""
    _, samples, rate = held[3]
    config = SpectrogramConfig(
        sample_rate=RATE, hop_length=240, win_length=1200, n_fft=2048, n_mels=128, max_frequency=12000.0,
        max_value=1e6, sample_scale=1.0,
    )  # fmt: skip
    picture = 1 - picture_from_audio(torch.from_numpy(samples)[None], config).flip(-2)
    with torch.no_grad():
        steps = listener.network(picture)[0]
        logits = steps.mean(0) @ listener.network.heads["genre"].weight.T + listener.network.heads["genre"].bias
    assert steps.shape == (65, 64)
    embedded = listener.embed(samples, rate)
    for number in range(4):
        assert embedded[number] == pytest.approx(steps[16 * number : 16 * number + 16].mean(0).numpy(), abs=2e-3)
    assert listener.genres(samples, rate) == pytest.approx(logits.softmax(0).numpy(), abs=2e-3)


def test_noise_moves_music_away(listener: Listener, held: list) -> None:
    real = embed_clips(held, listener)
    values = []
    for level in (0.001, 0.03, 0.3):
        noisy = [(name, samples + noise(len(samples) / rate, rate, 1, level), rate) for name, samples, rate in held]
        values.append(kad(real, embed_clips(noisy, listener)).value)
    assert values == sorted(values)
    assert values[2] > values[0] + 1.0
    tones = [(str(f), tone(5.0, RATE, f), RATE) for f in (220.0, 330.0, 440.0)]
    assert kad(real, embed_clips(tones, listener)).value > values[0] + 1.0


def test_a_listener_that_is_not_there_or_another(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match=r"listener\.json: no such file; install d2m again"):
        Listener.load(tmp_path)
    source = weights_dir() / "listener"
    config = json.loads((source / "listener.json").read_text())
    (tmp_path / "listener.json").write_text(json.dumps(config))
    with pytest.raises(MissingWeightsError, match="no such file"):
        Listener.load(tmp_path)
    weights = (source / "listener.safetensors").read_bytes()
    for content in (b"no weights", weights[:-1000]):
        (tmp_path / "listener.safetensors").write_bytes(content)
        with pytest.raises(MissingWeightsError, match="not a listener"):
            Listener.load(tmp_path)
    (tmp_path / "listener.safetensors").write_bytes(weights)
    for change in ({"moods": ["joyful"]}, {"surprise": 1}):
        (tmp_path / "listener.json").write_text(json.dumps(config | change))
        with pytest.raises(MissingWeightsError, match="not a listener"):
            Listener.load(tmp_path)
    (tmp_path / "listener.json").write_text("{")
    with pytest.raises(MissingWeightsError, match="not a listener"):
        Listener.load(tmp_path)


def test_a_configuration_comes_back(tmp_path: Path) -> None:
    picture = SpectrogramConfig(sample_rate=16000, hop_length=160, win_length=400, n_fft=512, n_mels=32)
    config = ListenerConfig("small", picture, ("calm",), ("", "piano"), ("",), 8, 16, (1, 2), 4)
    config.save(tmp_path / "listener.json")
    assert ListenerConfig.load(tmp_path / "listener.json") == config
    network = ListenerNetwork(config).eval()
    with torch.no_grad():
        # 101 columns: 26 after the first layer, 13 steps.
        assert network(torch.rand(2, 32, 101)).shape == (2, 13, 8)
        assert torch.isfinite(network(torch.zeros(1, 32, 101))).all()
    assert {name: head.out_features for name, head in network.heads.items()} == {
        "genre": 10, "mood": 1, "lead": 2, "comp": 1, "wear": 3,
    }  # fmt: skip
