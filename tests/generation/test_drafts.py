"""Takes that are sounded roughly first: the choice is made among drafts, and what is kept is sounded in full."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import d2m_cli as d2m
from d2m_cli.backbones.base import Condition, Draw, FullSampling
from d2m_cli.generation import compose
from d2m_cli.generation.desk import Desk
from d2m_cli.generation.generated import Generated
from d2m_cli.generation.models import Models
from d2m_cli.generation.options import GenerateOptions
from d2m_cli.generation.pipeline import generate_music
from d2m_cli.ground.digests import content_digest
from tests.fakes import FakeBackbone, FakeEncoders, FakePoses

VIDEOS = Path(__file__).parents[2] / "examples" / "videos"
SECONDS = 6.0
QUIETER = 0.5


class Plain(FakeBackbone):
    """Each take is noise of its seed, whose loudness comes and goes in a time of its own."""

    def generate(self, condition, negative, seeds, context=None, sampling=None):
        drawn = super().generate(condition, negative, seeds, None, sampling)
        clock = torch.arange(drawn.audio.shape[-1]) / drawn.sample_rate
        speeds = torch.tensor([1.0 + seed % 7 for seed in seeds])[:, None, None]
        return Draw(20.0 * drawn.audio * torch.sin(2 * torch.pi * speeds * clock) ** 8, drawn.sample_rate)


class Drafting(Plain):
    """The same, but for drafts, which are half as loud."""

    drafts = True

    def __init__(self) -> None:
        super().__init__()
        self.drawn: list[tuple[list[int], bool]] = []
        self.done: list[int] = []

    def generate(self, condition, negative, seeds, context=None, sampling=None, draft=False):
        self.drawn.append((list(seeds), draft))
        if context is not None:
            # What goes on goes on from full sound.
            assert context.audio.abs().max() > QUIETER
        made = super().generate(condition, negative, seeds, context, sampling)
        return Draw(QUIETER * made.audio, made.sample_rate) if draft else made

    def in_full(self, draw: Draw, seeds: Sequence[int]) -> Draw:
        self.done += seeds
        return Draw(draw.audio / QUIETER, draw.sample_rate)


@pytest.fixture
def made(make_video, tmp_path: Path) -> Any:
    """A function that makes the music of one video with a backbone."""
    video = make_video(tmp_path / "dance.mp4", seconds=SECONDS)

    def make(backbone: FakeBackbone, **options: Any) -> Generated:
        asked = GenerateOptions(snap="off", ending="none", **options)
        models = Models(FakePoses(SECONDS), backbone, FakeEncoders(), "e" * 64)  # type: ignore[arg-type]
        return generate_music(video, content_digest(video), models, asked, lambda *_: None)

    return make


def test_of_each_window_one_take_is_sounded_in_full(made) -> None:
    backbone = Drafting()
    music = made(backbone, candidates=3)
    assert [(len(seeds), draft) for seeds, draft in backbone.drawn] == [(3, True)] * len(music.takes)
    assert backbone.done == [take.seed for take in music.takes]
    # Nothing that is heard is a draft.
    plain = made(Plain(), candidates=3)
    assert [take.kept for take in music.takes] == [take.kept for take in plain.takes]
    np.testing.assert_array_equal(music.music.samples, plain.music.samples)


def test_takes_that_are_kept_are_sounded_in_full_too_and_none_is_chosen_otherwise(made) -> None:
    backbone = Drafting()
    kept = made(backbone, candidates=3, keep_candidates=True)
    assert backbone.done == [seed for seeds, _ in backbone.drawn for seed in seeds]
    assert [take.kept for take in kept.takes] == [take.kept for take in made(Drafting(), candidates=3).takes]
    plain = made(Plain(), candidates=3, keep_candidates=True)
    for one, other in zip(kept.music.candidates, plain.music.candidates, strict=True):
        np.testing.assert_array_equal(one.samples, other.samples)


def test_where_there_is_nothing_to_choose_no_draft_is_made(made) -> None:
    backbone = Drafting()
    made(backbone, candidates=1)
    assert not backbone.done
    assert not any(draft for _, draft in backbone.drawn)


def test_drafts_and_others_share_no_batch() -> None:
    backbone: Any = Drafting()
    one = Condition(torch.zeros(1, 1, 256))
    shared = Desk(backbone, 8)
    given = one, one, [1], None, FullSampling(steps=1, guidance=1.0)
    full, draft = shared.draw(*given), shared.draw(*given, draft=True)
    assert [(len(seeds), asked) for seeds, asked in backbone.drawn] == [(8, False), (8, True)]
    torch.testing.assert_close(QUIETER * full[0].music.audio, draft[0].music.audio)
    (done,) = shared.in_full(draft, [1], [0])
    assert torch.equal(done.music.audio, full[0].music.audio)
    assert done.rows == 8


@pytest.mark.slow
def test_drafts_choose_as_full_sound_does(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    full: list[Draw] = []
    totals: list[list[list[float]]] = []
    draw, scored = Desk.draw, compose.scored

    def drawing(desk: Desk, condition: Condition, negative: Condition, seeds: Sequence[int], *rest: Any) -> Any:
        drawn = draw(desk, condition, negative, seeds, *rest)
        full[:] = [one.music for one in desk.in_full(drawn, seeds, range(len(drawn)))]
        return drawn

    def scoring(made: Sequence[Draw], *rest: Any) -> Any:
        both = [scored(takes, *rest) for takes in (made, full)]
        totals.append([[score.total for score in scores] for scores in both])
        return both[0]

    monkeypatch.setattr(Desk, "draw", drawing)
    monkeypatch.setattr(compose, "scored", scoring)
    generator = d2m.Generator("embedded", device="cpu")
    for name in ("house_120_60fps", "lock_112", "waack_124_pan"):
        d2m.generate(VIDEOS / f"{name}.mp4", genre=name.partition("_")[0], prompt="funky guitar", generator=generator)
    drafts, whole = np.array(totals).swapaxes(0, 1)
    chosen = drafts.argmax(1)
    lost = whole.max(1) - whole[np.arange(len(whole)), chosen]
    by_chance = whole.max(1) - whole.mean(1)
    with capsys.disabled():
        print(f"\n{len(whole)} windows, {np.sum(chosen == whole.argmax(1))} chosen alike; score lost ", end="")
        print(f"{lost.mean():.4f}, by a choice at random {by_chance.mean():.4f}")
    assert lost.mean() < 0.1 * by_chance.mean()
