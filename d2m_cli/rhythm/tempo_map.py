"""Drift and changes of tempo: the best path of grids through overlapping windows (Viterbi's dynamic programming).

A window's state is a tempo and a phase, as in the bar-pointer model of Whiteley, Cemgil and Godsill (2006); from one
window to the next the phase must go on as the tempo says. An even grid is the rule, and its path costs nothing; a
change of tempo costs as many nats as `STEP` or `JUMP` say, so that it is followed only where the evidence pays for it.
All constants here were fixed before anything was measured.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from d2m_cli.rhythm.beat_model import PHASES, BeatModel, Lattice
from d2m_cli.rhythm.evidence import RATE

Array = NDArray[np.float64]

WINDOW, HOP = 8.0, 4.0
"""Seconds."""
STEP, JUMP = 1.0, 8.0
"""Cost of a tempo one step of the lattice (about 0.7 bpm) away, and of any other tempo at any phase."""
LEEWAY = 0.06
"""Standard deviation, in beats, of the phase about what the tempo says."""
MARGIN = 6.0
"""By how many nats a path must beat the even grid."""


def windows(model: BeatModel, activation: Array) -> list[Lattice]:
    """Lattices of overlapping windows; none where the video is shorter than two of them."""
    width, hop = round(WINDOW * RATE), round(HOP * RATE)
    starts = range(0, activation.shape[2] - width + 1, hop)
    if activation.shape[2] < 2 * width:
        return []
    return [model.lattice(activation[:, :, s : s + width], s / RATE) for s in starts]


def moves(frequencies: Array, change: int) -> Array:
    """Log probability (f, from, to) of phases one hop on, where the tempo goes ``change`` steps up."""
    target = np.clip(np.arange(len(frequencies)) + change, 0, len(frequencies) - 1)
    beats = HOP * 0.5 * (frequencies + frequencies[target])
    phase = np.arange(PHASES) / PHASES
    # Beats lie at centre + phase * period; a hop later the pattern has moved back by the beats that passed.
    late = phase[None, None, :] - phase[None, :, None] + beats[:, None, None]
    late = (late + 0.5) % 1.0 - 0.5
    return np.asarray(-0.5 * (late / LEEWAY) ** 2, dtype=np.float64)


def best_path(lattices: list[Lattice], prior: Array) -> tuple[float, Array, NDArray[np.intp]]:
    """Score of the best path, its beats a second (w,) and its phases (w,)."""
    frequencies = lattices[0].frequencies
    f = len(frequencies)
    best = lattices[0].scores + prior[:, None]
    back: list[NDArray[np.intp]] = []
    steps = {change: moves(frequencies, change) - STEP * abs(change) for change in (-2, -1, 0, 1, 2)}
    rows = np.arange(f)
    for lattice in lattices[1:]:
        top = int(best.argmax())
        reached = np.full((f, PHASES), best.flat[top] - JUMP)
        source = np.full((f, PHASES), top, dtype=np.intp)
        for change, cost in steps.items():
            target = rows + change
            inside = (target >= 0) & (target < f)
            total = best[:, :, None] + cost
            arg = total.argmax(axis=1)
            value = np.take_along_axis(total, arg[:, None], axis=1)[:, 0]
            origin = rows[:, None] * PHASES + arg
            better = value[inside] > reached[target[inside]]
            reached[target[inside]] = np.where(better, value[inside], reached[target[inside]])
            source[target[inside]] = np.where(better, origin[inside], source[target[inside]])
        back.append(source.ravel())
        best = reached + lattice.scores
    state = int(best.argmax())
    score, path = float(best.flat[state]), [state]
    for source in reversed(back):
        path.append(int(source[path[-1]]))
    states = np.array(path[::-1])
    return score, frequencies[states // PHASES], states % PHASES


def even_score(lattices: list[Lattice], prior: Array, frequency: float, first: float) -> float:
    """What an even grid gets from the same windows."""
    total = 0.0
    for number, lattice in enumerate(lattices):
        row = int(np.abs(lattice.frequencies - frequency).argmin())
        phase = ((first - lattice.centre) * frequency) % 1.0
        column = round(phase * PHASES) % PHASES
        near = lattice.scores[max(row - 1, 0) : row + 2, column]
        total += float(near.max()) + (float(prior[row]) if number == 0 else 0.0)
    return total


def beats_along(lattices: list[Lattice], frequencies: Array, phases: NDArray[np.intp], duration: float) -> Array:
    """Beats of a path, (n,) seconds: phase goes on evenly between the middles of neighbouring windows."""
    centres = np.array([lattice.centre for lattice in lattices])
    position = [-phases[0] / PHASES]
    for k in range(1, len(centres)):
        told = HOP * 0.5 * (frequencies[k - 1] + frequencies[k])
        wanted = -phases[k] / PHASES
        position.append(wanted + round(position[-1] + told - wanted))
    at = np.array(position)
    before = at[0] - centres[0] * frequencies[0]
    after = at[-1] + (duration - centres[-1]) * frequencies[-1]
    knots = np.concatenate([[0.0], centres, [max(duration, centres[-1] + 1e-6)]])
    values = np.concatenate([[before], at, [after]])
    numbers = np.arange(np.ceil(before), np.floor(after) + 1)
    beats = np.interp(numbers, values, knots)
    inside: Array = beats[(beats >= 0.0) & (beats < duration)]
    return inside
