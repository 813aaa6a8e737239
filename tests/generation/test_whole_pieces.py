"""Music of models that write a whole piece at once: one window, two channels, and a tempo in a field."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

import d2m_cli.app
from d2m_cli.backbones.base import Draw
from d2m_cli.generation.compose import compose
from d2m_cli.generation.models import Models
from d2m_cli.generation.options import GenerateOptions
from d2m_cli.generation.windows import piece_seconds, plan_windows
from d2m_cli.inversion.prompt import TempoWords
from d2m_cli.rhythm.sequence import Rhythm, Tempo
from tests.fakes import RATE, FakeBackbone, FakeEncoders, FakePoses
from tests.generation.test_snapped import onsets
from tests.latent_audio_models import TINY_RATE, save_ace_step

SECONDS = 24.0
BPM = 112.4
OPTIONS = GenerateOptions(rhythm="words", ending="none", candidates=1)


class Band(FakeBackbone):
    """Plays at the whole number of beats a minute that its field says, as long as is asked for, in two channels."""

    tempo_words = TempoWords(place="field", suffices=True)

    def __init__(self, longest: float) -> None:
        super().__init__()
        self.longest_seconds = longest
        self.told: list[tuple[str, float, bool]] = []
        self.seconds: list[float] = []
        self.bpm = 0

    def full_prompt(self, prompt: str, tempo: Tempo | None, seconds: float, goes_on: bool) -> str:
        self.told.append((prompt, seconds, goes_on))
        self.bpm = round(tempo.bpm) if tempo is not None else 0
        return f"{prompt} | {self.bpm} bpm"

    def generate(self, condition, negative, seeds, context=None, sampling=None, *, seconds=5.12):
        self.contexts.append(context)
        self.seconds.append(seconds)
        audio = np.random.default_rng(seeds[0]).normal(0, 1e-3, (2, round(seconds * RATE))).astype(np.float32)
        first = 0.1
        if context is not None:
            known = context.audio[0].numpy()
            audio[:, : known.shape[1]] = known
            first = onsets(known[0])[-1] + 60 / (self.bpm or 120)
        for beat in np.arange(first, seconds - 0.05, 60 / (self.bpm or 120)):
            at = round(beat * RATE)
            audio[0, at : at + 200] += 0.4 * np.exp(-np.arange(200) / 30)
        return Draw(torch.from_numpy(audio[None].repeat(len(seeds), 0)), RATE)


def dance(seconds: float = SECONDS) -> Rhythm:
    return Rhythm(np.ones(round(seconds * 50), np.float32), 50.0, np.zeros(0), seconds, Tempo(BPM, 0.2, 0.9), "stable")


def composed(band: Band, options: GenerateOptions = OPTIONS, encoders: Any = None) -> Any:
    models = Models(FakePoses(SECONDS), band, encoders, "e" * 64 if encoders else "")  # type: ignore[arg-type]
    return compose(dance(), SECONDS, models, options, "aa", lambda *_: None)


def test_a_video_is_one_window_and_the_snap_mends_the_rounding_of_its_tempo() -> None:
    band = Band(600.0)
    music, takes = composed(band)
    assert len(takes) == 1
    assert band.seconds[0] >= SECONDS
    assert takes[0].prompt == "dance music, a steady beat | 112 bpm"
    assert music.samples.shape == (2, round(SECONDS * RATE))
    beats = 0.2 + np.arange(46) * 60 / BPM
    off = np.abs(onsets(music.samples[0])[:, None] - beats[None]).min(1)
    assert len(off) >= 43
    assert off.max() < 0.03
    assert music.snap is not None
    assert music.snap.done == "bent"
    # Unsnapped it runs away from the dance: by 0.4 bpm, 1.9 hundredths of a second in every beat of the phase.
    plain, _ = composed(Band(600.0), replace(OPTIONS, snap="off"))
    assert np.abs(onsets(plain.samples[0])[:, None] - beats[None]).min(1).max() > 0.08


def test_longer_videos_are_made_in_windows_that_begin_on_beats_and_go_on() -> None:
    band = Band(10.0)
    _, takes = composed(band)
    assert len(takes) >= 3
    assert band.seconds == [10.0] * len(takes)
    assert [goes_on for _, _, goes_on in band.told] == [False] + [True] * (len(takes) - 1)
    beats = 0.2 + np.arange(60) * 60 / BPM
    for take in takes[1:]:
        assert np.abs(take.window.start - beats).min() <= 0.04 + 1e-9
    assert all(context is not None for context in band.contexts[1:])


def test_what_stands_for_a_dance_is_made_of_one_window_of_it() -> None:
    """With encoders windows are as long as those that "*" was trained on, and the field stays open."""
    band = Band(600.0)
    _, takes = composed(band, GenerateOptions(candidates=1, ending="none", snap="off"), FakeEncoders())
    assert band.seconds == [5.12] * len(takes)
    assert len(takes) > 4
    assert takes[0].prompt.startswith("a music with * as the rhythm | 0 bpm")


@pytest.mark.parametrize(
    ("duration", "longest", "seconds"),
    [(3.0, 600.0, 5.12), (12.3, 600.0, 12.32), (12.32, 600.0, 12.32), (700.0, 600.0, 600.0), (47.54, 47.55, 47.55)],
)
def test_length_of_a_piece(duration: float, longest: float, seconds: float) -> None:
    found = piece_seconds(duration, 5.12, longest, 0.04)
    assert found == pytest.approx(seconds)
    if duration <= longest:
        assert len(plan_windows(duration, found, 1.28, 0.04)) == 1


@pytest.fixture
def generate(tmp_path: Path, make_video, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the command on one short video with a small ACE-Step and a dancer that needs no network."""
    monkeypatch.setattr("d2m_cli.pose.estimator.PoseEstimator", lambda options, **_: FakePoses(6.0))
    save_ace_step(tmp_path / "ace")
    video = make_video(tmp_path / "dance.mp4", seconds=6.0)
    fixed = [video, "--backbone", f"ace-step:{tmp_path / 'ace'}", "--out", tmp_path / "out", "--device", "cpu"]
    fixed += ["--steps", "1", "--candidates", "1"]
    return lambda *more: CliRunner().invoke(d2m_cli.app.app, ["generate", *map(str, fixed), *map(str, more)])


def test_stereo_survives_to_the_files_and_the_record_says_what_was_told(generate, tmp_path: Path) -> None:
    result = generate("--genre", "house", "--prompt", "in A minor")
    assert result.exit_code == 0, result.output
    said = " ".join(result.stderr.split())
    assert "has no encoders for '*' and '@' here: it is told the tempo and the genre" in said
    assert "on the CPU takes about" in said
    samples, rate = soundfile.read(tmp_path / "out" / "dance.wav")
    assert rate == TINY_RATE
    assert samples.shape == (6 * TINY_RATE, 2)
    assert np.abs(samples[:, 0] - samples[:, 1]).max() > 0.01
    with av.open(str(tmp_path / "out" / "dance.mp4")) as film:
        assert film.streams.audio[0].codec_context.channels == 2
        heard = np.concatenate([frame.to_ndarray() for frame in film.decode(audio=0)], axis=1)
    assert np.abs(heard[0] - heard[1]).max() > 0.01
    document = json.loads((tmp_path / "out" / "dance.json").read_text())
    assert len(document["windows"]) == 1
    prompt = document["windows"][0]["prompt"]
    assert "# Caption\nhouse, a steady beat" in prompt
    for line in ("- bpm: 120\n", "- timesignature: 4\n", "- keyscale: A minor\n"):
        assert line in prompt


def test_refusals_end_the_run_with_the_reason(generate) -> None:
    result = generate("--negative-prompt", "vocals")
    assert result.exit_code == 2
    assert "--negative-prompt is not for ace-step" in " ".join(result.stderr.split())
    result = generate("--offload")
    assert result.exit_code == 2
    assert "--offload is for a GPU" in " ".join(result.stderr.split())
