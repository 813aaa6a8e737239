"""The music and the paired set that ship with the examples."""

from __future__ import annotations

import json
from pathlib import Path

import mir_eval
import numpy as np
import pytest

from d2m_cli.evaluation.rhythm.detections import Detections
from d2m_cli.media.audio import load_audio
from d2m_cli.rhythm.io import load_rhythm
from d2m_cli.training.data.dataset import read_dances

EXAMPLES = Path(__file__).parents[2] / "examples"
MUSIC = sorted((EXAMPLES / "music").glob("*.ogg"))


@pytest.mark.parametrize("path", MUSIC, ids=lambda path: path.stem)
def test_the_dances_music_has_the_dances_beats(path: Path) -> None:
    truth = json.loads((EXAMPLES / "videos" / f"{path.stem}.truth.json").read_text())
    samples, rate = load_audio(path)
    assert samples.shape[1] / rate == pytest.approx(truth["frames"] / truth["fps"], abs=0.01)
    heard = Detections.from_audio(samples, rate)
    assert mir_eval.beat.f_measure(np.array(truth["beats"]), heard.beats, 0.07) > 0.9
    assert heard.bpm == pytest.approx(truth["bpm"], rel=0.02)


def test_every_dance_with_beats_has_music() -> None:
    truths = [json.loads(path.read_text()) for path in (EXAMPLES / "videos").glob("*.truth.json")]
    assert len(MUSIC) == sum(bool(truth["beats"]) for truth in truths) == 7


def test_the_paired_set_reads_as_its_readme_says() -> None:
    dances = read_dances(EXAMPLES / "paired" / "manifest.csv")
    assert not dances.skipped
    assert [len(dances.of(split)) for split in ("train", "validation", "test")] == [44, 12, 0]
    assert len({clip.song for clip in dances.clips}) == 56
    assert len({clip.genre for clip in dances.of("train")}) == 10
    assert len(dances.segments("train", 5.12, 1.28)) == 88
    for clip in dances.clips:
        rhythm = load_rhythm(clip.dance)
        assert rhythm.duration == pytest.approx(6.6)
        assert len(rhythm.peaks) >= 3
