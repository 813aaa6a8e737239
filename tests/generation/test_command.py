"""``d2m generate`` with encoders of every kind, on a tiny backbone that does what the large one does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import d2m_cli.app
from d2m_cli.api.music import Generator
from d2m_cli.backbones.base import Sampling
from d2m_cli.backbones.registry import choose, open_backbone
from d2m_cli.backbones.spectrogram import SpectrogramConfig
from d2m_cli.batch.asked import music_settings
from d2m_cli.generation.options import GenerateOptions
from d2m_cli.inversion.checkpoint import EncoderConfig, Encoders
from d2m_cli.inversion.clap import ClapAudio
from d2m_cli.media.audio import save_wav
from d2m_cli.rhythm.sequence import RhythmGrid
from tests.fakes import FakePoses
from tests.tiny_clap import save_tiny_clap, teach_to_read

SECONDS = 1.0


@pytest.fixture(scope="module")
def model(tiny_riffusion: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with windows of 5.12 s."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    shutil.copytree(tiny_riffusion, folder)
    config = folder / "spectrogram.json"
    replace(SpectrogramConfig.load(config), columns=512, griffin_lim_iterations=1).save(config)
    return folder


@pytest.fixture
def generate(model: Path, make_video, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run the command on one short video with the tiny backbone and a dancer that needs no network."""
    import d2m_cli.pose.estimator as estimator

    monkeypatch.setattr(estimator, "PoseEstimator", lambda options, **_: FakePoses(SECONDS))
    video = make_video(tmp_path / "dance.mp4", seconds=SECONDS)
    fixed = [video, "--backbone", f"riffusion:{model}", "--out", tmp_path / "out", "--device", "cpu"]
    fixed += ["--steps", "2", "--candidates", "1", "--no-mp4"]
    return lambda *more: CliRunner().invoke(d2m_cli.app.app, ["generate", *map(str, fixed), *map(str, more)])


@pytest.fixture
def encoders(model: Path, tmp_path: Path) -> Callable[..., Path]:
    """A function that writes untrained encoders for the tiny backbone."""
    backbone = open_backbone(choose(f"riffusion:{model}"), "cpu")

    def make(**options: Any) -> Path:
        fingerprint = options.pop("fingerprint", backbone.fingerprint)
        config = EncoderConfig(backbone.name, fingerprint, backbone.text_width, RhythmGrid(), hidden=16, **options)
        Encoders(config).save(tmp_path / "encoders.safetensors")
        return tmp_path / "encoders.safetensors"

    return make


@pytest.fixture
def example(tmp_path: Path) -> Path:
    path = tmp_path / "example.wav"
    save_wav(path, np.random.default_rng(0).uniform(-0.1, 0.1, (2, 22050)).astype(np.float32), 22050)
    return path


def test_the_record_and_the_settings_tell_how_it_was_drawn(generate, model: Path, tmp_path: Path) -> None:
    result = generate("--rhythm", "words", "--temperature", "0.5")
    assert result.exit_code == 0, result.output
    assert "--temperature has no effect with --backbone riffusion:" in result.stderr
    assert "--guidance has no effect" not in result.stderr
    drawn = {"steps": 2, "guidance": 7.0, "temperature": 0.5, "top_k": 250, "top_p": 1.0}
    assert json.loads((tmp_path / "out" / "dance.json").read_text())["settings"]["sampling"] == drawn
    generator, options = Generator(f"riffusion:{model}"), GenerateOptions(rhythm="words")
    left = music_settings(generator, options)
    assert left["sampling"] == {**drawn, "steps": 50, "temperature": 1.0}
    # A default is the same music as its value.
    assert left == music_settings(generator, replace(options, sampling=Sampling(steps=50, guidance=7.0)))
    again = generate("--rhythm", "words", "--temperature", "0.5", "--guidance", "7", "--top-k", "250")
    assert again.exit_code == 0
    assert "already done" in again.stderr


def test_genre_by_a_sound_example_with_vectors_for_every_layer(generate, encoders, example, tmp_path: Path) -> None:
    clap = save_tiny_clap(tmp_path / "clap")
    fingerprint = ClapAudio(clap).fingerprint
    file = encoders(projector="sequence", genre="clap", rhythm_vectors=4, genre_vectors=2, layers=4, clap=fingerprint)
    result = generate("--encoders", file, "--genre-audio", example, "--clap", clap)
    assert result.exit_code == 0, result.output
    document = json.loads((tmp_path / "out" / "dance.json").read_text())
    assert document["settings"]["genre_audio"]["file"] == "example.wav"
    assert document["models"]["clap"] == {"sha256": fingerprint}
    assert document["windows"][0]["prompt"] == "a @ music with * as the rhythm"
    first = (tmp_path / "out" / "dance.wav").read_bytes()
    # The same again is there already; another sound is another "@".
    assert "already" in generate("--encoders", file, "--genre-audio", example, "--clap", clap).output
    save_wav(example, np.sin(np.arange(22050) * 0.1)[None].astype(np.float32) * 0.3, 22050)
    assert generate("--encoders", file, "--genre-audio", example, "--clap", clap).exit_code == 0
    assert (tmp_path / "out" / "dance.wav").read_bytes() != first


@pytest.mark.parametrize("projector", ["mlp", "attn-pos", "constant"])
def test_every_rhythm_encoder_makes_music(generate, encoders, tmp_path: Path, projector: str) -> None:
    result = generate("--encoders", encoders(projector=projector, genre="constant"))
    assert result.exit_code == 0, result.output
    document = json.loads((tmp_path / "out" / "dance.json").read_text())
    assert document["windows"][0]["prompt"] == "a @ music with * as the rhythm"
    assert "genre_audio" not in document["settings"]


def test_encoders_that_are_not_bound_to_weights_say_so_once(generate, encoders) -> None:
    result = generate("--encoders", encoders(fingerprint=""))
    assert result.exit_code == 0, result.output
    assert result.output.count("not bound to one set of weights") == 1


def test_a_dry_run_refuses_words_for_a_genre_that_encoders_make_a_vector_of(generate, encoders) -> None:
    words = ("--genre", "lock", "--genre-words", "funk", "--dry-run")
    refused = generate("--encoders", encoders(genre="label"), *words)
    assert refused.exit_code == 2
    assert "--genre-words is for backbones that read a genre in plain words" in " ".join(refused.stderr.split())
    assert generate("--rhythm", "words", *words).exit_code == 0


def test_clap_hears_how_well_takes_fit_the_prompt(generate, tmp_path: Path) -> None:
    clap = save_tiny_clap(tmp_path / "clap")
    asked = ("--rhythm", "words", "--prompt", "slow piano", "--clap", clap, "--candidates", "2")
    refused = generate(*asked)
    assert refused.exit_code == 2
    assert "CLAP can't read text" in " ".join(refused.stderr.split())
    teach_to_read(clap)
    result = generate(*asked)
    assert result.exit_code == 0, result.output
    document = json.loads((tmp_path / "out" / "dance.json").read_text())
    assert document["models"]["clap"] == {"sha256": ClapAudio(clap).fingerprint}
    first, second = (take["prompt"] for take in document["windows"][0]["takes"])
    assert -1.0 <= first <= 1.0
    assert first != second


def test_a_genre_that_the_encoders_do_not_know_ends_the_run(generate, encoders, example, tmp_path: Path) -> None:
    clap = save_tiny_clap(tmp_path / "clap")
    for options, arguments, text in (
        ({"genre": "label"}, ("--genre-audio", example, "--clap", clap), "knows genres by name"),
        ({"genre": "clap"}, ("--genre", "lock"), "give a sound example"),
        ({"genre": "constant"}, ("--genre", "lock"), "one learned constant"),
        ({"genre": None}, ("--genre", "lock"), "made without '@'"),
        ({"genre": "clap", "clap": "0"}, ("--genre-audio", example, "--clap", clap), "another CLAP model"),
    ):
        result = generate("--encoders", encoders(**options), *arguments)
        assert result.exit_code == 2
        assert text in " ".join(result.stderr.split())
    assert not (tmp_path / "out" / "dance.wav").exists()


def test_options_that_do_not_go_together(generate, example, tmp_path: Path) -> None:
    for arguments, text in (
        (("--genre-audio", example), "its folder with --clap"),
        (("--clap", tmp_path), "give one with --genre-audio"),
        (("--genre", "lock", "--genre-audio", example, "--clap", tmp_path), "not both"),
        (("--genre-audio", tmp_path / "absent.wav", "--clap", tmp_path), "absent.wav: no such file"),
        (("--genre-audio", example, "--clap", tmp_path / "absent"), "absent: no such folder"),
        (("--genre-audio", example, "--clap", tmp_path, "--rhythm", "words"), "this run has no encoders"),
    ):
        result = generate(*arguments)
        assert result.exit_code == 2, arguments
        assert text in " ".join(result.stderr.split())


def test_a_video_without_a_dancer_is_named_as_failed_or_gets_music_by_the_prompt(generate, tmp_path: Path) -> None:
    video = tmp_path / "dance.mp4"
    video.write_bytes(video.read_bytes() + b"nobody")
    failed = generate("--rhythm", "words")
    assert failed.exit_code == 1
    assert "nobody was found" in " ".join(failed.stderr.split())
    assert "--allow-no-dancer makes music by the prompt alone" in " ".join(failed.stderr.split())
    assert not (tmp_path / "out" / "dance.wav").exists()
    asked = ("--rhythm", "words", "--genre", "waack", "--genre-words", "disco, horns", "--ending", "hit", "--breaks")
    result = generate(*asked, "--loudness", "-20", "--allow-no-dancer")
    assert result.exit_code == 0, result.output
    assert "music is by the prompt alone" in " ".join(result.output.split())
    document = json.loads((tmp_path / "out" / "dance.json").read_text())
    assert document["windows"][0]["prompt"] == "disco, a steady beat, horns"
    assert document["music"]["level"]["wanted"] == -20.0
    assert (document["settings"]["ending"], document["settings"]["breaks"]) == ("hit", True)


def test_words_for_prompts_are_listed_without_a_video() -> None:
    result = CliRunner().invoke(d2m_cli.app.app, ["generate", "--list-words"])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines[:3]] == ["instruments", "moods", "genres"]
    assert "waack (WA): disco, four-on-the-floor kick, octave bass, sweeping strings" in lines


def test_each_video_has_the_genre_of_its_name_or_of_a_table(generate, encoders, make_video, tmp_path: Path) -> None:
    file, out = encoders(genre="label"), tmp_path / "out"
    name = "gKR_sFM_c01_d28_mKR1_ch02_slice0"
    aist = make_video(tmp_path / f"{name}.mp4", seconds=SECONDS, fps=20)
    result = generate(aist, "--encoders", file, "--genre", "auto")
    assert result.exit_code == 1
    assert "dance.mp4: its genre can't be told" in " ".join(result.stderr.split())
    assert not (out / "dance.wav").exists()
    assert json.loads((out / f"{name}.json").read_text())["settings"]["genre"] == "KR"
    first = (out / f"{name}.wav").read_bytes()

    table = tmp_path / "genres.csv"
    table.write_text("name,genre\ndance,house\n")
    result = generate(aist, "--encoders", file, "--genre", "auto", "--genre-table", table, "--json")
    assert result.exit_code == 0, result.output
    told = {Path(item["input"]).stem: item for item in json.loads(result.stdout)["items"]}
    assert (told["dance"]["state"], told["dance"]["details"]["genre"]) == ("done", "HO")
    # The line that came to the table says nothing of this one.
    assert told[name]["state"] == "already done"
    assert (out / f"{name}.wav").read_bytes() == first

    # Where the line changes, the music does; naming the same genre for all makes the same music.
    table.write_text("name,genre\ndance,lock\n")
    result = generate("--encoders", file, "--genre", "auto", "--genre-table", table)
    assert json.loads((out / "dance.json").read_text())["settings"]["genre"] == "LO"
    assert "already" in generate("--encoders", file, "--genre", "lock").output


def test_a_genre_for_each_video_needs_encoders_that_know_them(generate, encoders, make_video, tmp_path: Path) -> None:
    aist = make_video(tmp_path / "gLO_sBM_c01_d13_mLO2_ch02.mp4", seconds=SECONDS)
    result = generate(aist, "--encoders", encoders(genre="constant"), "--genre", "auto")
    assert result.exit_code == 2
    assert "--genre auto needs encoders whose '@' knows genres by name" in " ".join(result.stderr.split())
