"""CLAP by transformers, tiny and random, with a tokenizer of eight words; it hears 1 s at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, ClapModel

from d2m_cli.errors import AudioError, MissingWeightsError, UsageError
from d2m_cli.evaluation.sound.clap_score import Clap
from d2m_cli.evaluation.sound.embedders import load_embedder
from d2m_cli.evaluation.sound.embedding import embed_clips
from d2m_cli.inversion.clap import ClapAudio
from tests.evaluation.clips import noise, tone
from tests.tiny_clap import save_tiny_clap, teach_to_read


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return teach_to_read(save_tiny_clap(tmp_path_factory.mktemp("clap") / "model"))


@pytest.fixture(scope="module")
def clap(folder: Path) -> Clap:
    return Clap.load(folder)


def test_a_score_is_the_cosine_of_what_transformers_gives(clap: Clap, folder: Path) -> None:
    sound = tone(1.0, 48000) + noise(1.0, 48000, amplitude=0.02)
    found = clap.score(sound, 48000, " funky  guitar ")
    tokens = AutoTokenizer.from_pretrained(folder)(["funky guitar"], return_tensors="pt")
    assert tokens["input_ids"].tolist() == [[0, 4, 5, 2]]
    with torch.no_grad():
        out = ClapModel.from_pretrained(folder).eval().get_text_features(**tokens)
    text = torch.nn.functional.normalize((out if isinstance(out, torch.Tensor) else out.pooler_output)[0], dim=0)
    audio = ClapAudio(folder).embed(sound, 48000)
    assert found == pytest.approx(float(audio @ text), abs=1e-5)
    assert -1.0 <= found <= 1.0
    assert clap.score(sound, 48000, "slow piano") != pytest.approx(found, abs=1e-4)
    assert clap.score(np.stack([sound, sound]), 48000, "funky guitar") == pytest.approx(found, abs=1e-6)


def test_words_have_length_1_and_pseudo_words_are_refused(clap: Clap) -> None:
    assert np.linalg.norm(clap.read("funky guitar")) == pytest.approx(1.0, abs=1e-5)
    for prompt in ("", "  ", "a @ music with * as the rhythm", "funky guitar, *"):
        with pytest.raises(UsageError, match="plain words"):
            clap.read(prompt)


def test_frames_of_ten_seconds(clap: Clap, folder: Path) -> None:
    sound = np.concatenate([tone(10.0, 48000), noise(10.0, 48000), tone(2.0, 48000, 880.0)])
    frames = clap.embed(sound, 48000)
    assert frames.shape == (3, 512)
    assert np.allclose(np.linalg.norm(frames, axis=1), 1.0, atol=1e-5)
    alone = ClapAudio(folder).embed(sound[960000:], 48000).numpy()
    assert frames[2] == pytest.approx(alone, abs=1e-6)
    # Half a second is left at the end, and belongs to no frame.
    assert clap.embed(sound[: 10 * 48000 + 24000], 48000).shape == (1, 512)


def test_as_an_embedder_by_name(folder: Path) -> None:
    embedder = load_embedder("clap", folder)
    assert (embedder.name, embedder.sample_rate, embedder.width) == ("clap", 48000, 512)
    heard = embed_clips(
        [("a", tone(1.0, 24000), 24000), ("b", tone(0.5, 24000), 24000), ("c", np.zeros(24000), 24000)], embedder
    )
    assert heard.clips == ("a", "c")
    assert heard.silent == ("c",)
    assert heard.left_out == (("b", "0.50 s are too short for clap, which needs 1.00 s; give a longer clip"),)
    with pytest.raises(AudioError, match="too short for clap"):
        embedder.score(tone(0.5, 24000), 24000, "piano")  # type: ignore[attr-defined]


def test_a_model_that_is_not_there_or_can_not_read(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match="Fetch it with 'd2m weights pull clap'"):
        Clap.load(None)
    with pytest.raises(MissingWeightsError, match="no such folder"):
        Clap.load(tmp_path / "absent")
    mute = Clap.load(save_tiny_clap(tmp_path / "mute"))
    with pytest.raises(MissingWeightsError, match="can't read text"):
        mute.read("piano")
