"""Does music land on the beat once it is snapped? Each system with and without, against the true beats.

``python examples/measure_snap.py OUT [--seeds 3] [--held 24] [--takes]`` makes music for the example dances, for
dances of move families that no encoder learned from (keypoints; nothing is drawn), and, where $D2M_SHARED_DATA is set,
for the true beats of real dances. Systems: the embedded model told the true tempo and no first beat (``words``), the
embedded model with its encoders (``star``), and a stand-in for a foreign model that plays clicks and chords near the
tempo it reads, at a random phase (``clicks``). ``--takes`` adds three takes a window, which takes three times as long.

Beats are judged by the tracker of ``d2m eval`` and by onsets with LORIS's settings, neither of which snaps or chooses,
at 70 ms. Intervals and paired differences are by song. Music is kept in OUT/raw, so a second call only snaps again;
OUT/plain and OUT/snapped hold what ``d2m eval`` can compare.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import librosa
import mir_eval
import numpy as np
import torch
from make_systems import clicks

from d2m_cli import Generator
from d2m_cli.backbones.base import Condition, Draw, Sampling
from d2m_cli.evaluation.rhythm.beat_tracker import pulse_beats
from d2m_cli.evaluation.rhythm.onsets import LORIS, onset_strength, pick_onsets, to_mono
from d2m_cli.evaluation.sound.frechet import median_distance, squared_discrepancy
from d2m_cli.evaluation.sound.listener import Listener
from d2m_cli.generation.alignment import Bounds, halved
from d2m_cli.generation.compose import compose, continued
from d2m_cli.generation.models import Models
from d2m_cli.generation.options import GenerateOptions
from d2m_cli.generation.snap import Snap, land, slack
from d2m_cli.generation.windows import plan_windows
from d2m_cli.ground.genres import genre_code
from d2m_cli.ground.statistics import bootstrap, paired_bootstrap
from d2m_cli.media.audio import load_audio, save_wav
from d2m_cli.pose.io import load_poses, save_poses
from d2m_cli.pose.track import CameraMotion, Poses, PoseTrack
from d2m_cli.rhythm.extract import RhythmOptions, extract_rhythm
from d2m_cli.rhythm.sequence import BeatMap, Rhythm

ROOT = Path(__file__).resolve().parents[1]
WINDOW = 0.07
REAL_OFFSET = 0.055
REAL_SECONDS = 15.36
SYSTEMS = ("words", "star", "clicks")


@dataclass(frozen=True)
class Dance:
    """A dance with its true beats.

    Attributes
    ----------
    name, song, genre
        What it is called, the song that it goes to, and two letters.
    rhythm
        As read off it, for the words and for snapping.
    for_star
        The same in the mode that the encoders read.
    seconds, bpm, beats
        Its length, and the truth.
    music
        The true music, or None.
    """

    name: str
    song: str
    genre: str
    rhythm: Rhythm
    for_star: Rhythm
    seconds: float
    bpm: float
    beats: np.ndarray
    music: Path | None = None


class Clicks:
    """A foreign model: a click on each beat and a chord on each fourth, within 4 % of the tempo in the prompt."""

    name, licence, description, fingerprint = "clicks", "none", "clicks", "0" * 64
    sample_rate, window_seconds, quantum_seconds, text_width = 24000, 5.12, 0.08, 1
    condition_layers, heeds, speaks_tempo = 1, (), False

    def embed(self, prompts: Sequence[str], words: Mapping[str, torch.Tensor]) -> Condition:
        found = [re.search(r"([\d.]+) bpm", prompt, re.IGNORECASE) for prompt in prompts]
        return Condition(torch.tensor([float(match[1]) if match else 120.0 for match in found])[:, None, None])

    def generate(
        self,
        condition: Condition,
        negative: Condition,
        seeds: Sequence[int],
        context: Draw | None = None,
        sampling: Sampling | None = None,
    ) -> Draw:
        rows = [self._row(float(condition.states[0, 0, 0]), seed, context) for seed in seeds]
        return Draw(torch.from_numpy(np.stack(rows)), self.sample_rate)

    def _row(self, bpm: float, seed: int, context: Draw | None) -> np.ndarray:
        rng = np.random.default_rng(seed)
        rate = self.sample_rate
        period = 60.0 / bpm / (1.0 + rng.uniform(-0.04, 0.04))
        audio = rng.normal(0, 1e-3, round(self.window_seconds * rate))
        first = rng.uniform(0, period)
        if context is not None:
            known = context.audio[0, 0].numpy()
            audio[: len(known)] = known
            loud = np.flatnonzero(np.abs(known) > 0.3)
            hits = loud[np.diff(loud, prepend=-rate) > 0.1 * rate] / rate
            first = hits[-1] + period if len(hits) else len(known) / rate
        clock = np.arange(round(0.5 * rate)) / rate
        click = 0.5 * np.cos(2 * np.pi * 900 * clock) * np.exp(-clock / 0.02)
        chord = sum(0.06 * np.sin(2 * np.pi * f * clock) * np.exp(-clock / 0.3) for f in (220.0, 277.2, 329.6))
        for number, beat in enumerate(np.arange(first, self.window_seconds, period)):
            at = round(beat * rate)
            sound = click + chord if number % 4 == 0 else click
            audio[at : at + len(sound)] += sound[: len(audio) - at]
        return audio.astype(np.float32)[None]


def examples(models: Models, kept: Path) -> Iterator[Dance]:
    """The example dances, seen by the pose network."""
    for path in sorted((ROOT / "examples" / "videos").glob("*.truth.json")):
        truth = json.loads(path.read_text())
        if truth["beats"]:
            name = path.name.removesuffix(".truth.json")
            file = kept / f"{name}.pose.npz"
            if not file.is_file():
                kept.mkdir(parents=True, exist_ok=True)
                save_poses(file, models.poses.estimate(path.with_name(f"{name}.mp4")))
            poses = load_poses(file)
            beats = np.array(truth["beats"])
            music = ROOT / "examples" / "music" / f"{name}.ogg"
            yield _dance(name, name, genre_code(truth["genre"]), poses, truth["bpm"], beats, models, music)


def held_out(models: Models, count: int) -> Iterator[Dance]:
    """Dances of the test split: their move families, bodies and cameras are in no other."""
    sys.path[:0] = [str(ROOT / "weights" / "recipes"), str(ROOT / "examples")]
    import make_pairs
    from dance import pairs

    for index in range(count):
        song = make_pairs.song_of("test", index)
        clip = make_pairs.clips_of(song, song.piece(), 1)[0]
        seen = pairs.observe_dance(clip.dance)
        track = PoseTrack(seen.keypoints.astype(np.float32), seen.times, seen.size, 0, "choreography")
        camera = None if seen.camera is None else CameraMotion(seen.camera, seen.times)
        poses = Poses((track,), camera, clip.dance.seconds)
        beats = np.array(clip.dance.beats())
        yield _dance(clip.dance.name, song.name, clip.genre, poses, clip.dance.bpm, beats, models)


def real(models: Models) -> Iterator[Dance]:
    """The true beats of real dances, one dance a song: whether music made for the beat lands on it."""
    folder = os.environ.get("D2M_SHARED_DATA")
    done = set()
    for path in sorted((Path(folder) / "dance").glob("*.npz")) if folder else []:
        genre, song = path.stem[1:3], path.stem.split("_")[4]
        if song in done:
            continue
        done.add(song)
        with np.load(path) as file:
            bpm, times = float(file["bpm"]), file["times"]
            track = PoseTrack(file["keypoints"][0], times, (1920, 1080), 0, "AIST++")
        seconds = min(float(times[-1]), REAL_SECONDS)
        beats = np.arange(REAL_OFFSET, seconds, 60.0 / bpm)
        dance = _dance(path.stem, song, genre_code(genre), Poses((track,), None, float(times[-1])), bpm, beats, models)
        given = BeatMap.of(beats, 1.0)
        yield replace(
            dance,
            seconds=seconds,
            rhythm=replace(dance.rhythm, mapped=given),
            for_star=replace(dance.for_star, mapped=given),
        )


def _dance(
    name: str,
    song: str,
    genre: str,
    poses: Poses,
    bpm: float,
    beats: np.ndarray,
    models: Models,
    music: Path | None = None,
) -> Dance:
    rhythm = extract_rhythm(poses, RhythmOptions(mode="beats"))
    mode = models.encoders.grid.mode if models.encoders is not None else "beats"
    for_star = replace(extract_rhythm(poses, RhythmOptions(mode=mode)), mapped=rhythm.beats)
    inside = beats[(beats >= 0.0) & (beats < poses.duration)]
    return Dance(name, song, genre, rhythm, for_star, poses.duration, bpm, inside, music)


def scores(samples: np.ndarray, rate: int, beats: np.ndarray) -> tuple[float, float]:
    """F1 at 70 ms of tracked beats and of onsets."""
    strength = onset_strength(to_mono(samples, rate))
    found = (pulse_beats(strength), pick_onsets(strength, LORIS))
    seconds = samples.shape[1] / rate
    return tuple(mir_eval.beat.f_measure(beats, t[(t >= 0) & (t < seconds)], WINDOW) for t in found)  # type: ignore[return-value]


def chance(dance: Dance) -> tuple[float, float]:
    """Mean F1 of 200 metronomes at the true tempo and random phases."""
    rng, period = np.random.default_rng(1), 60.0 / dance.bpm
    ticks = [np.arange(rng.random() * period, dance.seconds, period) for _ in range(200)]
    mean = float(np.mean([mir_eval.beat.f_measure(dance.beats, tick, WINDOW) for tick in ticks]))
    return mean, mean


def make(dance: Dance, system: str, models: Models, seed: int, candidates: int, snap: str, kept: Path) -> np.ndarray:
    """(channels, n) music of one system; with snap "slack" as it comes, with the slack that snapping needs."""
    path = kept / f"{system}-{dance.name}-{seed}-{candidates}-{snap}.npy"
    if path.is_file():
        return np.load(path)
    networks = models if system == "star" else Models(models.poses, models.backbone, None)
    prompt = f"a @ music with {dance.bpm:.0f} bpm as the rhythm" if system == "words" else None
    by = "words" if system == "clicks" else "encoder"
    if system == "clicks":
        networks = Models(models.poses, Clicks(), None)  # type: ignore[arg-type]
    rhythm = dance.for_star if system == "star" else dance.rhythm
    options = GenerateOptions(
        dance.genre, prompt, rhythm=by, seed=seed, candidates=candidates, ending="none",
        snap="off" if snap == "slack" else snap,
    )  # type: ignore[arg-type]  # fmt: skip
    seconds = dance.seconds + (slack(dance.rhythm.beats, dance.seconds) if snap == "slack" else 0.0)
    music, _ = compose(rhythm, seconds, networks, options, dance.name, lambda *_: None)
    kept.mkdir(parents=True, exist_ok=True)
    np.save(path, music.samples)
    return music.samples


def line(name: str, values: np.ndarray, songs: Sequence[str]) -> None:
    """Print both F1 with intervals by song."""
    interval = bootstrap(values, songs, lambda means: means)
    means = np.mean([values[[s == song for s in songs]].mean(0) for song in dict.fromkeys(songs)], axis=0)
    cells = [f"{m:.3f} [{lo:.3f}, {hi:.3f}]" for m, lo, hi in zip(means, interval.low, interval.high, strict=True)]
    print(f"  {name:34} beats {cells[0]}  onsets {cells[1]}", flush=True)


def difference(name: str, first: np.ndarray, second: np.ndarray, songs: Sequence[str]) -> None:
    """Print how much the first gains over the second on the same pieces."""
    found = paired_bootstrap(first, second, songs, lambda means: means)
    low, high = found.interval.low, found.interval.high
    cells = [f"{d:+.3f} [{a:+.3f}, {b:+.3f}]" for d, a, b in zip(found.difference, low, high, strict=True)]
    print(f"  {name:34} beats {cells[0]}  onsets {cells[1]}", flush=True)


def strengths(samples: np.ndarray, rate: int) -> tuple[float, float]:
    """Mean onset strength, and that of the strongest tenth of frames."""
    values = librosa.onset.onset_strength(y=samples.mean(0), sr=rate, hop_length=rate // 100)
    return float(values.mean()), float(np.sort(values)[-len(values) // 10 :].mean())


ABLATIONS: dict[str, Bounds] = {
    "as shipped": Bounds(),
    "bend up to 2 %": Bounds(bend=0.02),
    "bend up to 4 %": Bounds(bend=0.04),
    "bend up to 16 %": Bounds(bend=0.16),
    "attacks stretched too": Bounds(spare_attacks=False),
    "also what nobody would notice": Bounds(notice=0.0),
    "also unsteady dances": Bounds(steady_only=False),
}


def of_set(
    title: str, dances: Sequence[Dance], systems: Sequence[str], seeds: Sequence[int], models: Models, out: Path
) -> None:
    """One take a window, with and without snapping, and what each bound does."""
    songs = [dance.song for dance in dances for _ in seeds]
    print(f"{title}: {len(dances)} dances, {len(set(songs))} songs, {len(seeds)} seeds, one take a window", flush=True)
    line("metronome, random phase", np.array([chance(d) for d in dances for _ in seeds]), songs)
    if all(dance.music is not None for dance in dances):
        true = [scores(*load_audio(d.music, mono=True), d.beats) for d in dances if d.music is not None]
        line("true music", np.array(true), [d.song for d in dances])
    for system in systems:
        rate = 24000
        rows: dict[str, list[tuple[float, float]]] = {"without": []}
        kinds: list[str] = []
        ratios: list[tuple[float, float]] = []
        landed: list[float] = []
        elsewhere: list[float] = []
        spent: list[float] = []
        for dance in dances:
            for seed in seeds:
                raw = make(dance, system, models, seed, 1, "slack", out / "raw")
                plain = raw[:, : round(dance.seconds * rate)]
                rows["without"].append(scores(plain, rate, dance.beats))
                for name, bounds in (ABLATIONS if system == "words" else {"as shipped": Bounds()}).items():
                    before = time.process_time()
                    bent, done = land(raw, rate, dance.rhythm.beats, dance.seconds, bounds)
                    if bounds == Bounds():
                        spent.append((time.process_time() - before) * 10.0 / dance.seconds)
                        kinds.append(f"{done.done} {done.why}".strip())
                        near, away = near_seams(bent, rate, dance, done)
                        landed += near
                        elsewhere += away
                        save_wav(out / "plain" / system / f"{dance.name}-{seed}.wav", plain, rate)
                        save_wav(out / "snapped" / system / f"{dance.name}-{seed}.wav", bent, rate)
                    if done.done == "bent" and bounds == Bounds():
                        now, was = strengths(bent, rate), strengths(plain, rate)
                        ratios.append((now[0] / was[0], now[1] / was[1]))
                    rows.setdefault(name, []).append(scores(bent, rate, dance.beats))
        for name, found in rows.items():
            line(f"{system}, {name}", np.array(found), songs)
        difference(f"{system}, gain", np.array(rows["as shipped"]), np.array(rows["without"]), songs)
        print(f"  {system}: " + ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds))))
        if ratios:
            mean, strong = np.mean(ratios, axis=0)
            print(f"  {system}: onset strength of bent pieces {mean:.3f} of before, of the strongest {strong:.3f}")
        if landed:
            share, other = (float(np.mean(np.array(part) <= 0.04)) for part in (landed, elsewhere))
            print(f"  {system}: beats within 40 ms of the map: around seams {share:.1%} of {len(landed)}, "
                  f"elsewhere {other:.1%} of {len(elsewhere)}")  # fmt: skip
        print(f"  {system}: {np.median(spent):.2f} s of one core for 10 s", flush=True)


def near_seams(samples: np.ndarray, rate: int, dance: Dance, done: Snap) -> tuple[list[float], list[float]]:
    """Distance in seconds of tracked beats from the dance's beats, or moments half-way: around seams, and elsewhere."""
    if done.done == "nothing":
        return [], []
    found = pulse_beats(onset_strength(to_mono(samples, rate)))
    both = halved(dance.rhythm.beats.beats)
    made = dance.seconds + slack(dance.rhythm.beats, dance.seconds)
    asked = continued(dance.rhythm, made).beats
    overlap = GenerateOptions().overlap_seconds
    windows = plan_windows(made, overlap_seconds=overlap, beats=asked.beats if asked.steady else None)
    near = np.zeros(len(found), dtype=bool)
    for one, following in pairwise(windows):
        # The joint lies somewhere where both are heard.
        near |= np.abs(found - (0.5 * (following.start + one.end) - done.offset)) < 0.75
    off = np.abs(found[:, None] - both[None]).min(axis=1)
    return off[near].tolist(), off[~near].tolist()


def sound(dances: Sequence[Dance], system: str, seeds: Sequence[int], out: Path) -> None:
    """KAD to the true music with and without snapping, and of a metronome; the interval leaves songs out in turn."""
    listener = Listener.load()
    rng = np.random.default_rng(2)

    def frames(paths: Sequence[Path]) -> list[np.ndarray]:
        return [np.concatenate([listener.embed(*load_audio(path, mono=True)) for path in paths])]

    table: dict[str, list[np.ndarray]] = {"true": [], "plain": [], "snapped": [], "metronome": []}
    for dance in dances:
        table["true"] += frames([dance.music] if dance.music is not None else [])
        for kind in ("plain", "snapped"):
            table[kind] += frames([out / kind / system / f"{dance.name}-{seed}.wav" for seed in seeds])
        ticks = [clicks(dance.bpm, float(rng.random()), dance.seconds)[0] for _ in seeds]
        table["metronome"].append(np.concatenate([listener.embed(tick, 24000) for tick in ticks]))

    def distances(left_out: int | None) -> dict[str, float]:
        kept = {k: np.concatenate([f for i, f in enumerate(v) if i != left_out]) for k, v in table.items()}
        true = kept.pop("true").astype(np.float64)
        width = median_distance(true)
        return {k: 100 * squared_discrepancy(true, f.astype(np.float64), width) for k, f in kept.items()}

    whole = distances(None)
    parts = [distances(number) for number in range(len(dances))]
    gain = np.array([part["snapped"] - part["plain"] for part in parts])
    n = len(gain)
    error = float(np.sqrt((n - 1) / n * np.square(gain - gain.mean()).sum()))
    change = whole["snapped"] - whole["plain"]
    print(f"  {system}: KAD " + ", ".join(f"{kind} {value:.1f}" for kind, value in whole.items()))
    low, high = change - 1.96 * error, change + 1.96 * error
    print(f"  {system}: KAD, snapped less plain {change:+.2f} [{low:+.2f}, {high:+.2f}]")


def takes(dances: Sequence[Dance], systems: Sequence[str], seeds: Sequence[int], models: Models, out: Path) -> None:
    """Three takes a window, each system as the command makes it with snap off and auto."""
    print(f"examples: three takes a window, {len(seeds)} seeds", flush=True)
    songs = [dance.song for dance in dances for _ in seeds]
    for system in systems:
        found = {
            snap: np.array(
                [
                    scores(make(dance, system, models, seed, 3, snap, out / "raw"), 24000, dance.beats)
                    for dance in dances
                    for seed in seeds
                ]
            )
            for snap in ("off", "auto")
        }
        line(f"{system}, without", found["off"], songs)
        line(f"{system}, snapped", found["auto"], songs)
        difference(f"{system}, gain", found["auto"], found["off"], songs)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--held", type=int, default=24)
    parser.add_argument("--only", choices=("examples", "held", "real", "takes"), action="append")
    parser.add_argument("--takes", action="store_true")
    parser.add_argument("--system", choices=SYSTEMS, action="append", help="this one alone; may be given again")
    arguments = parser.parse_args()
    models = Generator("embedded").models(GenerateOptions())
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    systems = arguments.system or SYSTEMS
    wanted = arguments.only or ["examples", "held", "real"] + ["takes"] * arguments.takes
    sets: dict[str, Callable[[], list[Dance]]] = {
        "examples": lambda: list(examples(models, arguments.out / "poses")),
        "held": lambda: list(held_out(models, arguments.held)),
        "real": lambda: list(real(models)),
    }
    for name in wanted:
        if name == "takes":
            takes(sets["examples"](), systems, seeds[:1], models, arguments.out / "examples")
            continue
        dances = sets[name]()
        if dances:
            some = seeds if name == "examples" else seeds[:1]
            # A real dance's "*" would be of its own beats, not of those given.
            chosen = [s for s in systems if name != "real" or s != "star"]
            of_set(name, dances, chosen, some, models, arguments.out / name)
            if name == "examples" and "words" in chosen:
                sound(dances, "words", some, arguments.out / name)


if __name__ == "__main__":
    main()
