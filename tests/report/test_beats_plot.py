"""The picture of beat correspondence: what stands on it, not how it looks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from d2m_cli.report.beats_plot import TRACKED, plot_rhythm, rhythm_figure, tracked_beats
from d2m_cli.rhythm.sequence import Rhythm, Tempo


def metronome(seconds: float, bpm: float = 120.0) -> Rhythm:
    peaks = np.arange(0.25, seconds, 60.0 / bpm)
    clock = np.arange(round(seconds * 50) + 1) / 50
    envelope = np.exp(-0.5 * ((clock[:, None] - peaks) / 0.03) ** 2).sum(axis=1).astype(np.float32)
    return Rhythm(envelope, 50.0, peaks, seconds, Tempo(bpm, 0.25, 0.9), "stable")


def test_legend_names_every_row() -> None:
    figure = rhythm_figure(metronome(5.12), title="clip.mp4", music={TRACKED: np.array([0.3, 0.8])})
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["acceleration envelope", "peaks", "beats of the dance", TRACKED]
    assert "librosa" in TRACKED


def test_long_videos_run_over_several_lines_with_one_scale() -> None:
    figure = rhythm_figure(metronome(30.0))
    assert len(figure.axes) == 3
    spans = [axes.get_xlim() for axes in figure.axes]
    assert spans == [(0.0, 12.0), (12.0, 24.0), (24.0, 30.0)]
    scales = [axes.get_position().width / (high - low) for axes, (low, high) in zip(figure.axes, spans, strict=True)]
    np.testing.assert_allclose(scales, scales[0])


@pytest.mark.parametrize("seconds", [0.02, 0.7, 5.12, 12.0, 400.0])
def test_any_length(tmp_path: Path, seconds: float) -> None:
    nothing = Rhythm(np.zeros(round(seconds * 50) + 1, np.float32), 50.0, np.zeros(0), seconds, None, "paper")
    plot_rhythm(nothing, tmp_path / "a.png", music={"music": np.zeros(0)})
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(tmp_path.iterdir())) == 1


def test_tracked_beats_of_clicks_and_of_silence(tmp_path: Path) -> None:
    rate, seconds = 22050, 10
    clicks = np.zeros(rate * seconds, np.float32)
    truth = np.arange(0.5, seconds - 0.1, 0.5)
    rng = np.random.default_rng(0)
    for time in truth:
        start = round(time * rate)
        clicks[start : start + 400] = rng.standard_normal(400) * np.exp(-np.arange(400) / 80)
    soundfile.write(tmp_path / "clicks.wav", 0.3 * clicks, rate)
    soundfile.write(tmp_path / "silence.wav", np.zeros(rate, np.float32), rate)
    beats = tracked_beats(tmp_path / "clicks.wav")
    assert beats is not None
    assert np.abs(beats[:, None] - truth[None]).min(axis=1).max() < 0.07
    assert tracked_beats(tmp_path / "silence.wav") is None
    (tmp_path / "text.wav").write_text("no sound")
    assert tracked_beats(tmp_path / "text.wav") is None
