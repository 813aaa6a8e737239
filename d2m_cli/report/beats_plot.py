"""Beat correspondence drawn on a time axis, after Fig. 3 of the paper."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from d2m_cli.errors import AudioError
from d2m_cli.ground.compiled import librosa_with
from d2m_cli.ground.files import atomic_path
from d2m_cli.rhythm.sequence import Rhythm

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

TRACKED = "music beats (librosa beat_track)"
"""Name of the row of tracked beats, so that nobody takes them for annotations."""

_ROW_SECONDS = 12.0
_MOST_ROWS = 20
_WITHIN = 0.2
_INK, _MUTED, _LINE, _PAGE = "#1f2933", "#6b7785", "#d8dee5", "#ffffff"
_MOTION, _PEAK, _GRID = "#9bb8d3", "#1f5f99", "#2a9d74"
_MUSIC = ("#d1603d", "#8a4fa3", "#b8860b", "#3d7dca")


def tracked_beats(path: Path) -> Array | None:
    """Beats of a file's sound by librosa's tracker, (n,) seconds; None where it has no sound, or no beats."""
    librosa = librosa_with("beat")

    from d2m_cli.media.audio import load_audio

    try:
        samples, rate = load_audio(path, sample_rate=22050, mono=True)
    except AudioError:
        return None
    mono = np.ascontiguousarray(samples.mean(axis=0))
    if mono.size < rate or not np.any(np.abs(mono) > 1e-4):
        return None
    _, beats = librosa.beat.beat_track(y=mono, sr=rate, units="time")
    return np.asarray(beats, dtype=np.float64) if len(beats) else None


def plot_rhythm(rhythm: Rhythm, path: Path, *, title: str = "", music: Mapping[str, Array] | None = None) -> None:
    """Draw envelope, peaks, the beat grid and beats of music into a PNG.

    Parameters
    ----------
    rhythm
        What was read off the dance.
    path
        The picture to write.
    title
        What stands over it, for example the video's name.
    music
        Name of a row to beats in seconds: the video's own music, generated music.

    Raises
    ------
    OutputError
        The picture can't be written.
    """
    figure = rhythm_figure(rhythm, title=title, music=music)
    with atomic_path(path) as part:
        figure.savefig(part, format="png", facecolor=_PAGE)


def rhythm_figure(rhythm: Rhythm, *, title: str = "", music: Mapping[str, Array] | None = None) -> Figure:
    """The picture of `plot_rhythm`: time runs in lines of 12 s; a tick on the axis is 0.1 s, as in Fig. 3."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as NewFigure

    music = music or {}
    lines = int(np.clip(np.ceil(rhythm.duration / _ROW_SECONDS - 1e-6), 1, _MOST_ROWS))
    seconds = max(rhythm.duration / lines, 0.5) if lines in (1, _MOST_ROWS) else _ROW_SECONDS
    height = 1.75 + 0.26 * len(music)
    top, bottom = 0.8, 0.15
    figure = NewFigure(figsize=(13.0, top + bottom + lines * height), dpi=110)
    FigureCanvasAgg(figure)
    total = top + bottom + lines * height
    for line in range(lines):
        base = (bottom + (lines - 1 - line) * height + 0.42) / total
        length = min(seconds, max(rhythm.duration - line * seconds, 0.5))
        axes = figure.add_axes((0.045, base, 0.94 * length / seconds, (height - 0.5) / total))
        _draw_line(axes, rhythm, music, line * seconds, length)
    _head(figure, rhythm, title, music, total)
    note = "time in seconds" + ("; small ticks 0.1 s" if seconds <= 1.5 * _ROW_SECONDS else "")
    figure.text(0.985, 0.1 / total, note, ha="right", va="bottom", color=_MUTED, size=8.5)
    return figure


def _draw_line(axes: Axes, rhythm: Rhythm, music: Mapping[str, Array], start: float, seconds: float) -> None:
    from matplotlib.ticker import MultipleLocator

    stop = start + seconds
    clock = np.arange(len(rhythm.envelope)) / rhythm.rate
    part = (clock >= start - 0.1) & (clock <= stop + 0.1)
    axes.fill_between(clock[part], rhythm.envelope[part], color=_MOTION, alpha=0.55, linewidth=0, zorder=2)
    axes.plot(clock[part], rhythm.envelope[part], color=_PEAK, alpha=0.5, linewidth=0.8, zorder=3)
    peaks = _inside(rhythm.peaks, start, stop)
    height = np.interp(peaks, clock, rhythm.envelope) if len(clock) else np.zeros(len(peaks))
    axes.vlines(peaks, 0.0, height, color=_PEAK, linewidth=1.4, zorder=4)
    axes.plot(peaks, height, "o", color=_PEAK, markersize=4.5, zorder=5, clip_on=False)
    axes.vlines(
        _inside(rhythm.beats.beats, start, stop), 0.0, 1.12, color=_GRID, linewidth=1.0, linestyle=(0, (2, 2)), zorder=1
    )
    for row, (beats, colour) in enumerate(zip(music.values(), _colours(len(music)), strict=True)):
        y = -0.22 - 0.3 * row
        axes.axhline(y, color=_LINE, linewidth=1.0, zorder=1)
        inside = _inside(beats, start, stop)
        _tie(axes, inside, peaks, y, colour)
        axes.plot(inside, np.full(len(inside), y), "D", color=colour, markersize=5.0, zorder=5, clip_on=False)
    axes.set_xlim(start, stop)
    axes.set_ylim(-0.1 - 0.3 * len(music), 1.14)
    axes.xaxis.set_major_locator(MultipleLocator(_tick(_ROW_SECONDS if start else seconds)))
    axes.xaxis.set_minor_locator(
        MultipleLocator(0.1 if seconds <= 1.5 * _ROW_SECONDS else _tick(_ROW_SECONDS if start else seconds))
    )
    axes.tick_params(axis="x", which="both", colors=_MUTED, labelsize=8.5)
    axes.tick_params(axis="x", which="minor", length=2.0, color=_LINE)
    axes.set_yticks([])
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_LINE)


def _tie(axes: Axes, beats: Array, peaks: Array, y: float, colour: str) -> None:
    """Tie each beat to the nearest peak within 0.2 s, the paper's tolerance."""
    for beat in beats:
        if len(peaks) and abs(peaks[near := int(np.argmin(np.abs(peaks - beat)))] - beat) <= _WITHIN:
            axes.plot([beat, peaks[near]], [y, 0.0], color=colour, linewidth=0.8, alpha=0.6, zorder=2)


def _head(figure: Figure, rhythm: Rhythm, title: str, music: Mapping[str, Array], total: float) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    tempo = rhythm.tempo
    found = "no tempo" if tempo is None else f"{tempo.bpm:.1f} bpm (confidence {tempo.confidence:.2f})"
    facts = f"{rhythm.duration:.2f} s  ·  {len(rhythm.peaks)} peaks  ·  {found}  ·  mode {rhythm.mode}"
    figure.text(0.045, 1.0 - 0.2 / total, title or "Rhythm", ha="left", va="top", color=_INK, size=13, weight="bold")
    figure.text(0.045, 1.0 - 0.5 / total, facts, ha="left", va="top", color=_MUTED, size=9.5)
    marks: list[Any] = [
        Patch(facecolor=_MOTION, alpha=0.6, label="acceleration envelope"),
        Line2D([], [], color=_PEAK, marker="o", markersize=4.5, linewidth=1.4, label="peaks"),
    ]
    if tempo is not None:
        marks.append(Line2D([], [], color=_GRID, linestyle=(0, (2, 2)), linewidth=1.2, label="beats of the dance"))
    for name, colour in zip(music, _colours(len(music)), strict=True):
        marks.append(Line2D([], [], color=colour, marker="D", markersize=5.0, linewidth=0.8, label=name))
    figure.legend(
        handles=marks, loc="upper right", bbox_to_anchor=(0.99, 1.0 - 0.12 / total), ncols=len(marks), frameon=False,
        fontsize=9, labelcolor=_INK, handlelength=1.8, columnspacing=1.6,
    )  # fmt: skip


def _inside(times: Array, start: float, stop: float) -> Array:
    return times[(times >= start) & (times <= stop)]


def _colours(count: int) -> list[str]:
    return [_MUSIC[i % len(_MUSIC)] for i in range(count)]


def _tick(seconds: float) -> float:
    return next((step for step in (0.5, 1.0, 2.0, 5.0, 10.0, 30.0) if seconds / step <= 15.0), 60.0)
