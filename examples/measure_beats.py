"""How well beats are found on real dances: songs, and genres, left out in turn.

``python -m examples.measure_beats FOLDER [--quick]`` trains the beat model anew without each song, and without each
genre, and looks for the beats of what was left out; ``--quick`` leaves out genres only and skips what is taken apart.
FOLDER is that of ``weights/recipes/train_beats.py``. Beside it stand version 0.1.0's reading (mode stable) and a
metronome at the tempo found, at random phases (chance). Songs weigh alike; intervals are by song. Takes about 15
minutes on one core.

F1 is mir_eval's, at 70 and 200 ms against the music's beats at +55 ms, fixed beforehand; beside it stand those at
offset 0, at the best single offset for all dances (one number fitted), and at one fitted on the other songs or genres.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import mir_eval
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "weights" / "recipes"))
import train_beats as recipe

from d2m_cli.ground.statistics import bootstrap
from d2m_cli.pose.track import Poses
from d2m_cli.rhythm.beat_map import BeatMap, map_beats
from d2m_cli.rhythm.beat_model import BeatModel
from d2m_cli.rhythm.evidence import CURVES, RATE, Evidence, beat_evidence
from d2m_cli.rhythm.extract import RhythmOptions, extract_rhythm

OFFSETS = np.arange(-0.10, 0.201, 0.01)
FIGURES = ("tempo", "octaves", "F1@70 +55", "F1@200", "phase ms", "chance", "F1@70 0", "F1@70 best", "F1@70 learned")


class Found:
    """Beats found in one dance, with its truth."""

    def __init__(self, dance: recipe.Example, beats: np.ndarray, bpm: float, confidence: float, seconds: float,
                 begin: float = 0.0) -> None:  # fmt: skip
        self.song, self.genre, self.confidence = dance.song, dance.genre, confidence
        period = 60.0 / dance.bpm
        real = np.arange(recipe.OFFSET, seconds, period)
        real = real[real >= begin]

        def score(offset: float, window: float = 0.07) -> float:
            truth = np.arange(offset % period, seconds, period)
            return float(mir_eval.beat.f_measure(truth[truth >= begin], beats, window)) if len(beats) else 0.0

        ratio = bpm / dance.bpm
        self.tempo = abs(ratio - 1.0) < 0.04
        self.octaves = any(abs(ratio / by - 1.0) < 0.04 for by in (0.5, 1.0, 2.0))
        self.f1, self.wide = score(recipe.OFFSET), score(recipe.OFFSET, 0.2)
        self.at = np.array([score(offset) for offset in OFFSETS])
        self.zero = score(0.0)
        self.phase = np.nan
        if self.tempo and len(beats):
            turn = np.exp(2j * np.pi * (beats - real[0]) / period).mean()
            self.phase = abs(float(np.angle(turn)) / (2 * np.pi) * period * 1000)
        rng = np.random.default_rng(0)
        spacing = 60.0 / bpm if bpm > 0 else np.inf
        self.chance = 0.0
        if np.isfinite(spacing):
            shifts = begin + rng.uniform(0, spacing, 40)
            self.chance = float(
                np.mean([mir_eval.beat.f_measure(real, np.arange(s, seconds, spacing), 0.07) for s in shifts])
            )


def of_map(dance: recipe.Example, beats: BeatMap) -> Found:
    return Found(dance, beats.beats, beats.bpm, beats.confidence, dance.seconds)


def of_version_010(dance: recipe.Example) -> Found:
    """Version 0.1.0's reading: mode stable, one grid."""
    assert dance.track is not None
    rhythm = extract_rhythm(Poses((dance.track,), None, dance.seconds), RhythmOptions("stable"))
    tempo = rhythm.tempo
    return Found(
        dance, rhythm.beats.beats, tempo.bpm if tempo else 0.0, tempo.confidence if tempo else 0.0, dance.seconds
    )


def by_song(found: Sequence[Found], value: Callable[[Found], float]) -> np.ndarray:
    """Mean of each song, in the order of names."""
    songs = sorted({f.song for f in found})
    return np.array([np.nanmean([value(f) for f in found if f.song == song] or [np.nan]) for song in songs])


def learned_offset(found: Sequence[Found], key: Callable[[Found], str]) -> list[float]:
    """F1 of each dance at the offset that is best for the others."""
    out = []
    for f in found:
        others = [o for o in found if key(o) != key(f)]
        songs = sorted({o.song for o in others})
        curves = np.mean([np.mean([o.at for o in others if o.song == song], axis=0) for song in songs], axis=0)
        out.append(float(f.at[int(curves.argmax())]))
    return out


def report(name: str, found: Sequence[Found], key: Callable[[Found], str], rows: bool = False) -> None:
    """Print one line of figures, with intervals by song."""
    songs = sorted({f.song for f in found})
    curves = np.mean([np.mean([f.at for f in found if f.song == song], axis=0) for song in songs], axis=0)
    best = int(curves.argmax())
    learned = learned_offset(found, key)
    table = np.array(
        [
            [f.tempo, f.octaves, f.f1, f.wide, f.phase, f.chance, f.zero, f.at[best], g]
            for f, g in zip(found, learned, strict=True)
        ],
        dtype=np.float64,
    )
    with np.errstate(invalid="ignore"):
        per_song = np.array([np.nanmean(table[[f.song == song for f in found]], axis=0) for song in songs])
    interval = bootstrap(per_song, songs, lambda means: means)
    means = np.nanmean(per_song, axis=0)
    cells = []
    for k, figure in enumerate(FIGURES):
        digits = 0 if figure == "phase ms" else 2
        cells.append(f"{figure} {means[k]:.{digits}f} [{interval.low[k]:.{digits}f}, {interval.high[k]:.{digits}f}]")
    print(f"{name}: " + "; ".join(cells) + f" (best offset {1000 * OFFSETS[best]:+.0f} ms)", flush=True)
    if rows:
        for song, values in zip(songs, per_song, strict=True):
            trust = np.mean([f.confidence for f in found if f.song == song])
            print(f"    {song}: tempo {values[0]:.2f}, F1@70 +55 {values[2]:.2f}, phase {values[4]:.0f} ms, "
                  f"confidence {trust:.2f}", flush=True)  # fmt: skip


def reliability(found: Sequence[Found], samples: Sequence[tuple[recipe.Doubt, float]]) -> None:
    """Print what a confidence of half and more was worth.

    Parameters
    ----------
    found
        Whole dances.
    samples
        Readings of dances and pieces, with a beat and without, and the confidence that other songs taught.
    """
    songs = sorted({f.song for f in found})
    above = [f for f in found if f.confidence >= 0.5]
    share = np.mean([np.mean([f.confidence >= 0.5 for f in found if f.song == song]) for song in songs])
    values = (lambda f: f.tempo, lambda f: f.wide, lambda f: f.f1 >= 0.6)
    right, wide, near = (np.mean(by_song(above, value)) for value in values)
    print(f"  whole dances with confidence >= 0.5: {share:.2f} of songs ({len(above)} of {len(found)} views); of those "
          f"tempo right {right:.2f}, F1@200 {wide:.2f}, F1@70 >= 0.6 in {near:.2f}")  # fmt: skip
    without_beat = [trust >= 0.5 for sample, trust in samples if not sample.steady]
    print(f"  the same dances and pieces of 5, 10, 20 s without a steady beat: {np.mean(without_beat):.2f} of "
          f"{len(without_beat)} at 0.5 or more")  # fmt: skip
    for low, high in ((0.0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.01)):
        some = [(sample, trust) for sample, trust in samples if low <= trust < high]
        if some:
            values = np.array([[float(sample.right)] for sample, _ in some])
            interval = bootstrap(values, [sample.song for sample, _ in some], lambda means: means)
            steady = [sample.right for sample, _ in some if sample.steady]
            print(f"    {low:.2f} to {high:.2f}: {len(some)} dances and pieces, right in {values.mean():.2f} "
                  f"[{interval.low[0]:.2f}, {interval.high[0]:.2f}]; of the {len(steady)} with a steady beat in "
                  f"{np.mean(steady) if steady else np.nan:.2f}")  # fmt: skip


def without(values: np.ndarray, word: str) -> np.ndarray:
    """Evidence with some curves set to 0."""
    return np.where([word in name for name in CURVES], 0.0, values)


def changed(dance: recipe.Example, how: str, rng: np.random.Generator) -> recipe.Example:
    """The dance thinned to about 15 frames a second, or with the errors of a pose network."""
    track = dance.track
    assert track is not None
    rate = 1.0 / float(np.median(np.diff(track.times)))
    if how == "noise":
        points = recipe.noisy(track.keypoints.astype(np.float64), rate, rng)
        track = replace(track, keypoints=points.astype(np.float32))
    else:
        step = round(rate / float(how))
        track = replace(track, keypoints=track.keypoints[::step].copy(), times=track.times[::step].copy())
    return replace(dance, track=track, evidence=beat_evidence(track))


def pieces(dance: recipe.Example, seconds: float) -> list[recipe.Example]:
    """The dance cut into clips."""
    out = []
    for start in np.arange(0.0, dance.seconds - seconds + 1e-9, seconds):
        low, high = round(start * RATE), round((start + seconds) * RATE) + 1
        e = dance.evidence
        piece = Evidence(e.values[low:high], e.known[low:high], e.moved)
        out.append(replace(dance, evidence=piece, first=dance.first - start, seconds=seconds))
    return out


def main() -> None:
    """Train, look, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    real = recipe.real_dances(options.folder)
    report("version 0.1.0", [of_version_010(dance) for dance in real], song_of, rows=True)
    rendered = recipe.rendered_dances(recipe.RENDERED, 0)
    trainer = recipe.Trainer(real, rendered, lambda text: print(text, file=sys.stderr, flush=True))
    kept_aside = [dance for dance in rendered if dance.genre == "validation"]
    plain = trainer.rendered_only(lambda dance: True)
    hits = [mir_eval.beat.f_measure(rendered_truth(d), map_beats([d.evidence], d.seconds, plain).beats, 0.07)
            for d in kept_aside]  # fmt: skip
    print(f"rendered dances of families not learned from: F1@70 {np.mean(hits):.3f} ({len(hits)} dances)")
    for kind, key in (("song", song_of), ("genre", genre_of)):
        if kind == "genre" or not options.quick:
            measure_without(trainer, real, kind, key, options.quick)


def song_of(dance: recipe.Example | Found) -> str:
    """What is left out together."""
    return dance.song


def genre_of(dance: recipe.Example | Found) -> str:
    """What is left out together."""
    return dance.genre


def measure_without(
    trainer: recipe.Trainer, real: Sequence[recipe.Example], kind: str, key: Callable[..., str], quick: bool
) -> None:
    """Train without each song or genre in turn, and print what is found in it."""
    groups = sorted({key(dance) for dance in real})
    models = {group: trainer.model(lambda dance, out=group: key(dance) != out) for group in groups}
    rng = np.random.default_rng(0)
    samples = {g: recipe.doubt_samples([d for d in real if key(d) == g], models[g], rng) for g in groups}
    trusted = []
    for group in groups:
        others = [sample for other in groups if other != group for sample in samples[other]]
        models[group] = replace(models[group], doubt=recipe.fit_doubt(others))
        trusted += [(sample, models[group].confidence(sample.features)) for sample in samples[group]]

    def look(dances: Sequence[recipe.Example], by: dict[str, BeatModel] = models) -> list[Found]:
        return [of_map(d, map_beats([d.evidence], d.seconds, by[key(d)])) for d in dances]

    found = look(real)
    report(f"leaving a {kind} out", found, key, rows=True)
    reliability(found, trusted)
    if quick:
        return
    rng = np.random.default_rng(1)
    for how, title in (("30", "at 30 fps"), ("15", "thinned to 15 fps"), ("noise", "with a pose network's errors")):
        report(f"  {title}", look([changed(dance, how, rng) for dance in real]), key)
    for seconds in (5.0, 10.0, 20.0):
        cut = [piece for dance in real for piece in pieces(dance, seconds)]
        shifted = [shifted_found(piece, models[key(piece)]) for piece in cut]
        report(f"  clips of {seconds:.0f} s ({len({p.song for p in cut})} songs)", shifted, key)
    for word in ("feet", "knees", "trunk", "hands", "head", "speed", "braking", "turning", "vertical"):
        dimmed = [replace(d, evidence=replace(d.evidence, values=without(d.evidence.values, word))) for d in real]
        report(f"  without {word}", look(dimmed), key)
    flat = {g: replace(m, prior=np.array([m.prior[0], 1e3])) for g, m in models.items()}
    report("  without the tempo prior", look(real, flat), key)
    single = {g: replace(m, members=m.members[:1]) for g, m in models.items()}
    report("  one network of three", look(real, single), key)
    bare = {g: replace(m, members=tuple({**t, "power": np.zeros(2)} for t in m.members)) for g, m in models.items()}
    report("  without half and double tempo", look(real, bare), key)
    unseen = {g: trainer.rendered_only(lambda d, out=g: key(d) != out) for g in groups}
    report("  without real dances", look(real, unseen), key)


def rendered_truth(dance: recipe.Example) -> np.ndarray:
    """Beats of a rendered dance's music."""
    return np.arange(dance.first % (60.0 / dance.bpm), dance.seconds, 60.0 / dance.bpm)


def shifted_found(piece: recipe.Example, model: BeatModel) -> Found:
    """Beats in a clip, put back to where the clip begins in its dance, so that they meet the dance's own truth."""
    found = map_beats([piece.evidence], piece.seconds, model)
    late = piece.first - recipe.OFFSET
    whole = replace(piece, first=recipe.OFFSET)
    period = 60.0 / piece.bpm
    # Moved by whole periods, the clip's music has its beats at the dance's own offset.
    start = (-late) % period
    return Found(whole, found.beats + start, found.bpm, found.confidence, piece.seconds + start, start)


if __name__ == "__main__":
    main()
