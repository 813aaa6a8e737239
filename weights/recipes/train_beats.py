"""Train the beat model: rendered dances first, then real ones among them.

    python weights/recipes/train_beats.py DANCES [--out weights/rhythm/beats.safetensors]

DANCES is a folder of ``.npz`` with ``keypoints`` (cameras, T, 17, 3), ``times`` and ``bpm``, named as in AIST++. Takes
about 5 minutes on one core. All follows from the seeds.

The loss is the probability that a softmax over all even grids (60 to 165 bpm, 32 phases) gives to grids that are right.
Rendered dances teach tempo and phase. Real dancers are early or late by up to 0.2 s, each in a way of their own, and a
few of them would teach nothing but that: so, as in hard expectation maximisation, a real dance is first moved by how
late the network finds it to be, and then teaches its tempo and the shape of its beats.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))
from dance import pairs
from dance.observer import draw_observer, observe

from d2m_cli.pose.track import CameraMotion, PoseTrack
from d2m_cli.rhythm.beat_map import best_grid, confidence_features
from d2m_cli.rhythm.beat_model import FASTEST, HARMONICS, PHASES, SLOWEST, BeatModel
from d2m_cli.rhythm.evidence import CURVES, RATE, Evidence, beat_evidence

OFFSET = 0.055
"""Seconds after which AIST's music has its first beat, on the clock of its keypoints; from the sound of five clips."""
MEMBERS, CHANNELS, DILATIONS = 3, 16, (1, 2, 4, 8, 16)
RENDERED, FIRST_STEPS, FURTHER_STEPS, BATCH, REAL_SHARE = 560, 400, 60, 32, 0.4
LOST = ([15, 16], [13, 14, 15, 16], [9, 10], [0, 1, 2, 3, 4], [7, 9], [15], [16])
"""Joints that are out of the picture together."""


@dataclass(frozen=True)
class Example:
    """One dance with its beats at ``first + k * 60 / bpm``."""

    song: str
    genre: str
    name: str
    track: PoseTrack | None
    evidence: Evidence
    bpm: float
    first: float
    seconds: float
    slower: float = 1.0


def real_dances(folder: Path) -> list[Example]:
    """All dances of a folder, seen by each camera."""
    found = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as stored:
            keypoints, times, bpm = stored["keypoints"], stored["times"].astype(np.float64), float(stored["bpm"])
        for points in keypoints:
            track = track_of(points, times)
            parts = path.stem.split("_")
            found.append(
                Example(parts[4], parts[0], path.stem, track, beat_evidence(track), bpm, OFFSET, float(times[-1]))
            )
    if not found:
        raise SystemExit(f"no .npz files in {folder}")
    return found


def track_of(points: np.ndarray, times: np.ndarray) -> PoseTrack:
    """A track in which joints that are not numbers were not seen."""
    good = np.isfinite(points).all(axis=-1, keepdims=True)
    points = np.where(good, points, 0.0).astype(np.float32)
    points[..., 2] = np.clip(points[..., 2], 0.0, 1.0)
    return PoseTrack(points, times, (1920, 1080), 0, "AIST++")


def varied(dance: Example, rng: np.random.Generator) -> Example:
    """The dance quicker or slower, from another side, at another frame rate, as a pose network might report it."""
    assert dance.track is not None
    faster = float(np.clip(np.exp(rng.uniform(-0.28, 0.28)), 62.0 / dance.bpm, 165.0 / dance.bpm))
    points, times = dance.track.keypoints.astype(np.float64), dance.track.times
    rate = 1.0 / float(np.median(np.diff(times)))
    step = int(rng.choice([1, 2, 3])) if rate > 50.0 else 1 + int(rng.random() < 0.15)
    points, times, rate = points[::step].copy(), times[::step], rate / step
    points[..., 0] *= rng.uniform(0.55, 1.15)
    angle = rng.normal(0.0, 0.06)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    points[..., :2] = points[..., :2] @ turn
    if rng.random() < 0.6:
        points = noisy(points, rate, rng)
    if rng.random() < 0.15:
        points[:, LOST[int(rng.integers(len(LOST)))], 2] = 0.0
    track = PoseTrack(points.astype(np.float32), times / faster, (1920, 1080), 0, "AIST++, varied")
    return replace(
        dance,
        track=None,
        evidence=beat_evidence(track),
        bpm=dance.bpm * faster,
        first=dance.first / faster,
        seconds=dance.seconds / faster,
        slower=1.0 / faster,
    )


def noisy(points: np.ndarray, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Keypoints (T, 17, 3) with the errors of a pose network; what was not seen stays unseen."""
    seen = observe(points[..., :2], rate, (100_000, 100_000), draw_observer(rng), rng)
    seen[..., 2] = np.where(points[..., 2] > 0.0, seen[..., 2], 0.0)
    return np.asarray(seen)


def rendered_dances(count: int, seed: int) -> list[Example]:
    """Composed dances seen by cameras, none of which is drawn; every eighth is of families kept for validation."""
    rng, found = np.random.default_rng(seed), []
    for number in range(count):
        bpm = float(np.exp(rng.uniform(np.log(64.0), np.log(160.0))))
        seconds, start = float(rng.uniform(14.0, 20.0)), float(rng.uniform(0.0, 240.0 / bpm))
        split = "validation" if number % 8 == 7 else "train"
        dance = pairs.paired_dance(f"{split}_{number}", split, number, 0, "break", bpm, start, seconds)
        seen = pairs.observe_dance(dance)
        camera = None if seen.camera is None else CameraMotion(seen.camera, seen.times)
        track = PoseTrack(seen.keypoints.astype(np.float32), seen.times, seen.size, 0, "choreography")
        first = (-start) % (60.0 / bpm)
        found.append(
            Example(dance.name, split, dance.name, track, beat_evidence(track, camera), bpm, first, seen.times[-1])
        )
    return found


def network():
    """The torch twin of `BeatModel`'s members."""
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inp = nn.Conv1d(len(CURVES), CHANNELS, 1)
            self.conv = nn.ModuleList(nn.Conv1d(CHANNELS, CHANNELS, 5, dilation=d, padding=2 * d) for d in DILATIONS)
            self.out = nn.Conv1d(CHANNELS, 3, 1)
            self.harm = nn.Parameter(torch.tensor([1.0, 0.6, 0.3, 0.1]))
            self.power = nn.Parameter(torch.tensor([0.3, 0.3]))
            self.scale = nn.Parameter(torch.tensor(1.0))

        def forward(self, x):
            x = self.inp(nn.functional.dropout1d(x, 0.1, self.training))
            for layer in self.conv:
                x = x + torch.relu(layer(x))
            return self.out(torch.relu(x))

    return Net()


def grid_loss(net, x, frequency, late, seconds: float):
    """Minus the log probability of grids within 0.3 beats over the clip and 50 ms of the truth.

    ``late`` is the time of the beat nearest to the middle of the clip, counted from there.
    """
    import torch

    size = 4096
    a = net(x)
    spectrum = torch.fft.rfft(a - a.mean(-1, keepdim=True), size) / RATE
    spectrum = spectrum * torch.exp(1j * torch.pi * torch.arange(spectrum.shape[-1]) * (x.shape[-1] - 1) / size)
    low, high = (bpm / 60.0 / RATE * size for bpm in (SLOWEST, FASTEST))
    index = torch.arange(int(np.ceil(low)), int(np.ceil(high)) + 1)
    angles, f = torch.arange(PHASES) * 2 * torch.pi / PHASES, index * RATE / size
    total = sum(
        net.harm[h - 1] * (spectrum[:, 0][:, index * h][..., None] * torch.exp(1j * h * angles)).real
        for h in range(1, HARMONICS + 1)
    )
    half, double = spectrum[:, 1][:, (index / 2).round().long()].abs(), spectrum[:, 2][:, index * 2].abs()
    total = total + (net.power[0] * half + net.power[1] * double)[..., None]
    likely = torch.log_softmax((total * net.scale * 2.0 / seconds**0.5).flatten(1), 1)
    tempo = (f[None] - frequency[:, None]).abs() * seconds < 0.3
    off = angles / (2 * torch.pi) - late[:, None] * frequency[:, None]
    off = ((off + 0.5) % 1.0 - 0.5).abs() / frequency[:, None]
    phase = (off < 0.05) | (off <= off.min(1, keepdim=True).values + 1e-6)
    right = (tempo[:, :, None] & phase[:, None, :]).flatten(1)
    return -torch.logsumexp(likely.masked_fill(~right, -30.0), 1).mean()


def draw(pool: Sequence[Example], count: int, length: int, rng: np.random.Generator):
    """Pieces of dances, songs weighing alike: evidence, beats a second, and where the beat is."""
    songs = Counter(dance.song for dance in pool)
    weight = np.array([1.0 / songs[dance.song] for dance in pool])
    values, frequency, late = [], [], []
    for number in rng.choice(len(pool), count, p=weight / weight.sum()):
        dance = pool[number]
        spare = len(dance.evidence.values) - length
        if spare < 0:
            continue
        start, period = int(rng.integers(spare + 1)), 60.0 / dance.bpm
        values.append(dance.evidence.values[start : start + length].T)
        middle = (start + (length - 1) / 2) / RATE
        late.append((dance.first - middle + period / 2) % period - period / 2)
        frequency.append(1.0 / period)
    return values, frequency, late


def train(net, pools: Sequence[tuple[Sequence[Example], int]], steps: int, rate: float, rng) -> None:
    """Train in place on so many pieces of each pool a step."""
    import torch

    optimiser = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.2)
    net.train()
    for _ in range(steps):
        seconds = float(rng.choice([6.0, 10.0, 14.0]))
        drawn = [draw(pool, count, round(seconds * RATE), rng) for pool, count in pools]
        x, frequency, late = (
            torch.tensor(np.array([v for part in drawn for v in part[k]]), dtype=torch.float32) for k in range(3)
        )
        loss = grid_loss(net, x, frequency, late, seconds)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()


def members_of(nets: Sequence) -> tuple[dict[str, np.ndarray], ...]:
    """Numbers of networks as `BeatModel` takes them, rounded to half precision."""
    return tuple(
        {name: value.detach().numpy().astype(np.float16).astype(np.float64) for name, value in net.state_dict().items()}
        for net in nets
    )


def tempo_prior(dances: Sequence[Example]) -> np.ndarray:
    """Mean and standard deviation of log2 bpm over songs; the latter a quarter of an octave at least."""
    octaves = np.array(list({dance.song: np.log2(dance.bpm) for dance in dances}.values()))
    return np.array([octaves.mean(), max(1.2 * octaves.std(), 0.25)])


def lateness(dances: Sequence[Example], model: BeatModel) -> dict[str, float]:
    """By how much each dance is found after its music, seconds; 0 where its tempo is not found or half a beat may be."""
    found: dict[str, list[complex]] = {}
    period = {dance.name: 60.0 / dance.bpm for dance in dances}
    for dance in dances:
        grid = best_grid(model.lattice(model.activation(dance.evidence.values)), model)
        turns = found.setdefault(dance.name, [])
        if abs(grid.frequency * period[dance.name] - 1.0) < 0.04:
            # The beat nearest to the middle: elsewhere a small error of the tempo adds up.
            nearest = grid.first + round((0.5 * dance.seconds - grid.first) * grid.frequency) / grid.frequency
            turns.append(np.exp(2j * np.pi * (nearest - dance.first) / period[dance.name]))
    late = {
        name: float(np.angle(np.mean(turns)) / (2 * np.pi) * period[name]) if turns else 0.0
        for name, turns in found.items()
    }
    return {name: value if abs(value) < 0.2 else 0.0 for name, value in late.items()}


class Trainer:
    """Networks that learned from rendered dances, ready to go on with some of the real ones."""

    def __init__(self, real: Sequence[Example], rendered: Sequence[Example], say: Callable[[str], None]) -> None:
        import torch

        rng = np.random.default_rng(0)
        self.real, self.say = real, say
        self.rendered = [dance for dance in rendered if dance.genre == "train"]
        # Break has thirty views of twelve seconds, so that fewer variants of each do.
        self.varied = [varied(dance, rng) for dance in real for _ in range(4 if dance.genre == "gBR" else 20)]
        self.states = []
        for seed in range(MEMBERS):
            torch.manual_seed(seed)
            net = network()
            train(net, [(self.rendered, BATCH)], FIRST_STEPS, 2e-3, np.random.default_rng(seed))
            self.states.append(net.state_dict())
            say(f"network {seed} has learned from {len(self.rendered)} rendered dances")

    def _restored(self, seed: int):
        net = network()
        net.load_state_dict({name: value.clone() for name, value in self.states[seed].items()})
        return net

    def rendered_only(self, keep: Callable[[Example], bool]) -> BeatModel:
        """What rendered dances alone taught, with the tempo prior of the real dances that are kept."""
        kept = [dance for dance in self.real if keep(dance)]
        return BeatModel(
            members_of([self._restored(k) for k in range(MEMBERS)]), tempo_prior(kept), np.array([0.0, 1.0, 0.0])
        )

    def model(self, keep: Callable[[Example], bool]) -> BeatModel:
        """The model that has seen those real dances for which ``keep`` is true; its confidence is not calibrated."""
        start = self.rendered_only(keep)
        late = lateness([dance for dance in self.real if keep(dance)], start)
        moved = [
            replace(dance, first=dance.first + late[dance.name] * dance.slower)
            for dance in self.varied + list(self.real)
            if keep(dance)
        ]
        count = round(REAL_SHARE * BATCH)
        nets = []
        for seed in range(MEMBERS):
            net = self._restored(seed)
            pools = [(moved, count), (self.rendered, BATCH - count)]
            train(net, pools, FURTHER_STEPS, 6e-4, np.random.default_rng(100 + seed))
            nets.append(net)
        return replace(start, members=members_of(nets))


def unsteady(dance: Example, rng: np.random.Generator) -> Example:
    """The same movements on a clock that runs faster and slower by a third, over about two seconds: without a beat."""
    from scipy.ndimage import gaussian_filter1d

    assert dance.track is not None
    times = dance.track.times
    count, margin = int(times[-1] * RATE) + 2, 4 * round(RATE)
    swing = gaussian_filter1d(rng.normal(size=count + 2 * margin), RATE)[margin:-margin]
    pace = np.exp(0.3 * swing / swing.std())
    clock = np.concatenate([[0.0], np.cumsum(pace)[:-1]])
    moved = np.interp(times, np.arange(count) / RATE, clock * times[-1] / clock[-1])
    track = replace(dance.track, times=moved)
    return replace(dance, track=track, evidence=beat_evidence(track), bpm=0.0)


@dataclass(frozen=True)
class Doubt:
    """One reading, for the confidence: what it goes by, and whether a steady beat was there and its tempo found."""

    song: str
    steady: bool
    features: np.ndarray
    right: bool


def doubt_samples(dances: Sequence[Example], model: BeatModel, rng: np.random.Generator) -> list[Doubt]:
    """Readings of whole dances and of pieces of 5, 10 and 20 s, each as it is and without a steady beat."""
    found = []
    for dance in dances:
        for seen in (dance, unsteady(dance, rng)):
            for seconds in (seen.seconds, 20.0, 10.0, 5.0):
                for start in np.arange(0.0, seen.seconds - seconds + 1e-9, seconds):
                    low, high = round(start * RATE), round((start + seconds) * RATE) + 1
                    values, known = seen.evidence.values[low:high], seen.evidence.known[low:high]
                    grid = best_grid(model.lattice(model.activation(values)), model)
                    right = seen.bpm > 0.0 and abs(60.0 * grid.frequency / seen.bpm - 1.0) < 0.04
                    features = confidence_features(grid, float((known > 0).sum()) / RATE)
                    found.append(Doubt(dance.song, seen.bpm > 0.0, features, right))
    return found


def fit_doubt(samples: Sequence[Doubt]) -> np.ndarray:
    """Logistic regression of being right, songs weighing alike with a beat and without; a weak ridge."""
    from scipy.optimize import minimize

    counts = Counter((sample.song, sample.steady) for sample in samples)
    weight = np.array([1.0 / counts[sample.song, sample.steady] for sample in samples])
    x = np.column_stack([np.ones(len(samples)), [sample.features for sample in samples]])
    y = np.array([1.0 if sample.right else -1.0 for sample in samples])

    def loss(w: np.ndarray) -> float:
        return float(weight @ np.logaddexp(0.0, -y * (x @ w)) + 0.05 * (w[1:] @ w[1:]))

    return np.asarray(minimize(loss, np.zeros(x.shape[1])).x)


def save(model: BeatModel, path: Path) -> None:
    """Write a model in half precision."""
    from safetensors.numpy import save_file

    tensors = {f"{k}.{name}": value for k, member in enumerate(model.members) for name, value in member.items()}
    tensors |= {"prior": model.prior, "doubt": model.doubt}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.astype(np.float16, order="C") for name, value in tensors.items()}, path)


def main() -> None:
    """Train on everything; calibrate the confidence on songs left out in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dances", type=Path)
    default = Path(__file__).resolve().parents[1] / "rhythm" / "beats.safetensors"
    parser.add_argument("--out", type=Path, default=default)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    say = lambda text: print(text, file=sys.stderr, flush=True)  # noqa: E731
    real = real_dances(options.dances)
    trainer = Trainer(real, rendered_dances(RENDERED, 0), say)
    samples: list[Doubt] = []
    for song in sorted({dance.song for dance in real}):
        model = trainer.model(lambda dance, song=song: dance.song != song)
        samples += doubt_samples([dance for dance in real if dance.song == song], model, np.random.default_rng(0))
        say(f"{song} left out")
    model = replace(trainer.model(lambda dance: True), doubt=fit_doubt(samples))
    save(model, options.out)
    say(f"{options.out}: {options.out.stat().st_size} bytes, doubt {model.doubt.round(3)}")


if __name__ == "__main__":
    main()
