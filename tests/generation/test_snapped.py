"""What is composed lands on the dance, whatever the backbone makes of tempo and phase."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from d2m_cli.backbones.base import Draw
from d2m_cli.generation.compose import compose, continued, finished
from d2m_cli.generation.finish import finish
from d2m_cli.generation.genre import SoundExample
from d2m_cli.generation.models import Models
from d2m_cli.generation.options import GenerateOptions
from d2m_cli.generation.snap import Snap
from d2m_cli.rhythm.sequence import Rhythm, RhythmGrid, Tempo
from tests.fakes import RATE, FakeBackbone, FakePoses

SECONDS = 12.0
PERIOD = 60 / 117
OPTIONS = GenerateOptions(rhythm="words", ending="none")


class Drummer(FakeBackbone):
    """Hits at 117 bpm, or another tempo, from a moment on that hangs on the seed, and in step with its context."""

    def __init__(self, period: float = PERIOD) -> None:
        super().__init__()
        self.period = period

    def generate(self, condition, negative, seeds, context=None, sampling=None):
        self.contexts.append(context)
        rows = np.stack([self.row(seed, context) for seed in seeds])[:, None]
        return Draw(torch.from_numpy(rows), RATE)

    def row(self, seed: int, context: Draw | None) -> np.ndarray:
        rng = np.random.default_rng(seed)
        audio = rng.normal(0, 1e-3, round(5.12 * RATE)).astype(np.float32)
        first = float(rng.uniform(0, self.period))
        if context is not None:
            known = context.audio[0, 0].numpy()
            audio[: len(known)] = known
            first = onsets(known)[-1] + self.period
        for beat in np.arange(first, 5.1, self.period):
            part = audio[round(beat * RATE) : round(beat * RATE) + 200]
            part += 0.4 * np.exp(-np.arange(len(part)) / 30).astype(np.float32)
        return audio


class Ear:
    """Hears how loud a take is at its very start, and reads that it should be quiet there."""

    fingerprint, unable_to_read = "c" * 64, ""

    def __init__(self) -> None:
        self.words: list[str] = []

    def read(self, text: str) -> torch.Tensor:
        self.words.append(text)
        return torch.tensor([0.5, -1.0])

    def embed(self, samples: np.ndarray, rate: int) -> torch.Tensor:
        return torch.tensor([1.0, float(np.abs(samples[:100]).max())])


def onsets(samples: np.ndarray) -> np.ndarray:
    loud = np.flatnonzero(np.abs(samples) > 0.5 * np.abs(samples).max())
    times: np.ndarray = loud[np.diff(loud, prepend=-RATE) > 0.1 * RATE] / RATE
    return times


def dance(confidence: float = 0.9) -> Rhythm:
    return Rhythm(np.ones(600, np.float32), 50.0, np.zeros(0), SECONDS, Tempo(120.0, 0.2, confidence), "stable")


def composed(options: GenerateOptions, rhythm: Rhythm | None = None, models: Models | None = None):
    models = models or Models(FakePoses(SECONDS), Drummer(), None)  # type: ignore[arg-type]
    return compose(rhythm or dance(), SECONDS, models, options, "aa", lambda *_: None)


def off(samples: np.ndarray) -> np.ndarray:
    distances: np.ndarray = np.abs(onsets(samples)[:, None] - np.arange(0.2, SECONDS, 0.5)[None]).min(axis=1)
    return distances


@pytest.mark.parametrize("seed", [0, 1])
def test_hits_land_where_the_dance_has_its_beats(seed: int) -> None:
    music, takes = composed(replace(OPTIONS, seed=seed, candidates=1))
    assert music.samples.shape == (1, round(SECONDS * RATE))
    assert len(onsets(music.samples[0])) >= 22
    assert off(music.samples[0]).max() < 0.03
    assert music.snap is not None
    assert music.snap.done == "bent"
    # A beat and 8 % more than the dance is made.
    assert takes[-1].window.end >= 12.0 + 0.96 + 0.5
    assert takes[0].scores == ()


def test_without_snapping_they_lie_anywhere() -> None:
    music, takes = composed(replace(OPTIONS, snap="off", candidates=1))
    assert music.snap is None
    assert off(music.samples[0]).max() > 0.15
    assert takes[-1].window.start < 12.0


def test_a_dance_without_a_steady_beat_is_snapped_only_if_asked() -> None:
    assert composed(replace(OPTIONS, candidates=1), dance(0.3))[0].snap is None
    music, _ = composed(replace(OPTIONS, candidates=1, snap="on"), dance(0.3))
    assert off(music.samples[0]).max() < 0.03


def test_every_take_is_scored_and_the_best_is_kept() -> None:
    _, takes = composed(replace(OPTIONS, candidates=3))
    for take in takes:
        assert len(take.scores) == 3
        assert [score.example for score in take.scores] == [None] * 3
        assert all(score.bend is not None for score in take.scores)
    # The first window has nothing to continue, the others continue it to the sample.
    assert [take.scores[0].seam for take in takes] == [None] + [0.0] * (len(takes) - 1)


def test_likeness_to_a_sound_example_is_scored_where_clap_is_at_hand() -> None:
    sound = SoundExample(torch.tensor([[0.5, 1.0]]), "c" * 64)
    models = Models(FakePoses(SECONDS), Drummer(), None, "", sound, Ear())  # type: ignore[arg-type]
    _, takes = composed(replace(OPTIONS, candidates=2), models=models)
    assert all(score.example is not None and score.example >= 0.5 for take in takes for score in take.scores)
    assert all(score.prompt is None for take in takes for score in take.scores)


def test_fit_to_the_words_is_scored_where_clap_can_read() -> None:
    ear = Ear()
    models = Models(FakePoses(SECONDS), Drummer(), None, "", None, ear)  # type: ignore[arg-type]
    asked = replace(OPTIONS, genre="LO", prompt="a @ solo, *, loud", candidates=2)
    _, takes = composed(asked, models=models)
    # Once for all takes, and without what CLAP knows nothing of.
    assert ear.words == ["funk, tight drums, slap bass, a solo, loud"]
    scores = [score for take in takes for score in take.scores]
    assert all(score.example is None and score.prompt is not None and score.prompt <= 0.5 for score in scores)
    assert models.used(None).clap_sha256 == "c" * 64
    ear.unable_to_read = "can't read"
    _, takes = composed(asked, models=models)
    assert all(score.prompt is None for take in takes for score in take.scores)


def test_behind_its_end_a_dance_goes_on_at_its_last_tempo() -> None:
    short = replace(dance(), peaks=np.array([0.2, 11.7]))
    longer = continued(short, 13.4)
    assert longer.duration == 13.4
    # Beats at 0.2 + k * 0.5 s; those at 12.2 and 12.7 and 13.2 s are new, and peaks too.
    assert longer.beats.beats[-4:] == pytest.approx([11.7, 12.2, 12.7, 13.2])
    assert longer.peaks == pytest.approx([0.2, 11.7, 12.2, 12.7, 13.2])
    assert continued(short, 12.0) is short
    # 24 steps a beat, peaks on them: the last four beats, 504 to 600, come again from 600 on.
    swings = np.zeros(600, np.float32)
    swings[::24] = 1.0
    swings[504:528] += 0.5 * np.linspace(0, 1, 24, dtype=np.float32)
    swinging = replace(short, envelope=swings / swings.max(), tempo=Tempo(125.0, 0.0, 0.9), mode="published")
    envelope = continued(swinging, 13.4).envelope
    assert len(envelope) == 671
    np.testing.assert_array_equal(envelope[600:], swinging.envelope[504:575])
    grid = RhythmGrid("published", 50.0, 256)
    # 8.92 s are step 446; in the window of a longer dance peaks go on to its end as they are before it.
    sequence = continued(swinging, 15.0).window(8.92, grid)
    assert np.flatnonzero(sequence[600 - 446 :]).tolist()[:4] == [0, 24, 48, 72]
    still = Rhythm(np.ones(600, np.float32), 50.0, np.zeros(0), SECONDS, None, "stable")
    assert continued(still, 13.4) is still


@pytest.mark.parametrize(
    ("done", "told", "expected"),
    [
        (None, False, 11.25),
        (Snap(why="the music keeps another tempo"), False, 11.25),
        (Snap(why="on the beat already"), False, 11.0),
        (Snap("bent"), False, 11.0),
        (None, True, 11.0),
    ],
)
def test_music_ends_on_beats_that_it_has(monkeypatch, done: Snap | None, told: bool, expected: float) -> None:
    import d2m_cli.generation.compose as module

    ends: list[float] = []

    def ending(samples, rate, beats, *rest, **named):
        ends.append(float(beats[np.abs(beats - 11.0).argmin()]))
        return finish(samples, rate, beats, *rest, **named)

    monkeypatch.setattr(module, "finish", ending)
    monkeypatch.setattr(module, "track_beats", lambda *_: np.arange(0.25, SECONDS, 1.0))
    rhythm = replace(dance(), tempo=Tempo(120.0, 0.0, 0.9))
    noise = np.random.default_rng(0).normal(0, 0.1, (1, round(SECONDS * RATE))).astype(np.float32)
    module.finished(noise, RATE, rhythm, SECONDS, replace(OPTIONS, ending="hit"), (), done, told)
    assert ends == [expected]


def fall(ended: np.ndarray, plain: np.ndarray) -> float:
    """When the last hit begins to ring out: where the one gets quieter beside the other, in seconds."""
    size = RATE // 200
    level = [np.sqrt((part[: len(part) // size * size].reshape(-1, size) ** 2).mean(1)) for part in (ended, plain)]
    ratio = level[0] / level[1]
    steady = np.median(ratio[20:-400])
    return float(np.flatnonzero(ratio[20:] < 0.95 * steady)[0] + 20) / 200


@pytest.mark.parametrize(
    ("snap", "period", "done", "shared"),
    [
        ("off", PERIOD, None, False),
        ("auto", 0.39, "nothing", False),
        ("auto", PERIOD, "bent", True),
    ],
)
def test_a_piece_ends_on_a_beat_that_is_heard(snap, period: float, done: str | None, shared: bool) -> None:
    options = replace(OPTIONS, snap=snap, candidates=1)
    drummer: Any = Drummer(period)
    plain, ended = (
        composed(replace(options, ending=ending), models=Models(FakePoses(SECONDS), drummer, None))[0]
        for ending in ("none", "hit")
    )
    assert (ended.snap.done if ended.snap is not None else None) == done
    last = fall(ended.samples[0], plain.samples[0])
    # It falls off on a beat of the music, heard in steps of 64 ms; on one of the dance's only where they are the same.
    assert np.abs(onsets(plain.samples[0]) - last).min() < (0.04 if shared else 0.1)
    off_dance = float(np.abs(np.arange(0.2, SECONDS, 0.5) - last).min())
    assert off_dance < 0.02 if shared else off_dance > 0.1


def test_a_moment_of_music_is_finished_without_a_word(recwarn) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, (1, 400)).astype(np.float32)
    still = Rhythm(np.ones(3, np.float32), 50.0, np.zeros(0), 0.05, None, "stable")
    music = finished(noise, RATE, still, 0.05, OPTIONS, (), None)
    assert music.samples.shape == (1, 400)
    assert [str(one.message) for one in recwarn] == []
