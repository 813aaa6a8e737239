"""What ten million videos of 15 s would take on many machines: a simulation from measured costs, not a measurement.

::

    python benchmarks/simulate_collection.py
    python benchmarks/simulate_collection.py --price h200=3.5 --price cpu16=0.8 --holders 8 64 --partition 100000

Each partition of the videos has a run of its own (a ledger, a process that gives out files), with so many holders of
networks that take the next video when they have time. Videos differ in what they cost, holders in their speed; some
holders are lost. Costs of a video, of a ledger's lines and of a listing are those that docs/scale.md gives, with their
commands; prices, speeds of holders and the rate of losses are assumptions, to be replaced by one's own.
"""

from __future__ import annotations

import argparse
import heapq
import math
from dataclasses import dataclass, replace

import numpy as np

SECONDS = 15.0
"""Of each video."""
WINDOW_SECONDS = 5.12
TAKES = 3


@dataclass(frozen=True)
class Machine:
    """What one holder has, and what a video of `SECONDS` costs it.

    Attributes
    ----------
    gpu_seconds, cpu_seconds
        Of one video, of the whole GPU and of one core.
    cores
        Of one holder.
    load_seconds
        Until it takes its first video.
    price
        Per hour; an assumption.
    """

    gpu_seconds: float
    cpu_seconds: float
    cores: int
    load_seconds: float
    price: float = 1.0

    @property
    def service(self) -> float:
        """Seconds between two videos of a holder that has several in hand: the scarcer of its two parts decides."""
        return max(self.gpu_seconds, self.cpu_seconds / self.cores)


ROWS = TAKES * math.ceil(SECONDS / WINDOW_SECONDS)
# CPU seconds per second of video: all of it, and the poses alone (docs/performance.md).
ALL_ON_CPU, POSES_ON_CPU = 306 / 97, 111 / 97
# Seconds of an H200 for a row of a batch of 8 (docs/gpu.md).
MUSICGEN_ROW, RIFFUSION_ROW = 0.734 / 8, 1.48 / 8

MACHINES = {
    "cpu16": Machine(0.0, ALL_ON_CPU * SECONDS, 16, 20.0),
    # Poses on the CPU cores beside the GPU: under CUDA they were not measured.
    "h200-musicgen": Machine(MUSICGEN_ROW * ROWS, POSES_ON_CPU * SECONDS, 16, 60.0),
    "h200-riffusion": Machine(RIFFUSION_ROW * ROWS, POSES_ON_CPU * SECONDS, 16, 60.0),
}


@dataclass(frozen=True)
class Collection:
    """What is done, and how.

    Attributes
    ----------
    videos, partition
        How many there are, and how many of them in one partition.
    holders
        Of one run.
    ledger_seconds
        For what the process that gives out files does for each one, one after the other.
    listing_seconds
        To find, name and look up one file at the beginning of a run.
    in_hand
        Videos that a lost holder had in hand.
    losses
        Holders lost per holder and hour.
    spread, slow
        Standard deviation of the logarithm of what videos cost, and of how fast holders are.
    """

    videos: int = 10_000_000
    partition: int = 100_000
    holders: int = 64
    ledger_seconds: float = 0.011
    listing_seconds: float = 0.00118
    in_hand: int = 8
    losses: float = 0.01
    spread: float = 0.3
    slow: float = 0.1


@dataclass(frozen=True)
class Told:
    """What came of it: of one partition, and of all.

    Attributes
    ----------
    hours
        From the start of one run to its end.
    machine_hours
        Of all holders for all videos.
    busy
        Part of that in which holders worked on videos that stayed done.
    loading, listing, waiting, again, tail
        Parts of that in which they loaded networks, waited for the listing, waited for the ledger, did again what was
        lost, and had nothing left to do.
    """

    hours: float
    machine_hours: float
    busy: float
    loading: float
    listing: float
    waiting: float
    again: float
    tail: float


def simulate(machine: Machine, collection: Collection, seed: int = 0) -> Told:
    """Go through one partition, video by video, and scale to all."""
    random = np.random.default_rng(seed)
    count, holders = collection.partition, collection.holders
    costs = machine.service * _around_one(random, collection.spread, count)
    speed = _around_one(random, collection.slow, holders)
    speed /= speed.mean()
    listed = collection.listing_seconds * count
    ready = listed + machine.load_seconds
    loss = random.exponential(3600 / collection.losses, holders) if collection.losses else np.full(holders, np.inf)
    lost_at = ready + loss
    free = [(ready, number) for number in range(holders)]
    heapq.heapify(free)
    ledger, waited, again, loading = 0.0, 0.0, 0.0, machine.load_seconds * holders
    busy = 0.0
    ends = np.full(holders, ready)
    for cost in costs:
        now, number = heapq.heappop(free)
        # The ledger takes one video after the other.
        ledger = max(ledger, now) + collection.ledger_seconds
        waited += ledger - now
        took = float(cost * speed[number])
        if ledger + took > lost_at[number]:
            # What it had in hand is lost; another takes its place, and does that first.
            again += took * collection.in_hand / 2
            loading += machine.load_seconds
            ledger_end = ledger + took * collection.in_hand / 2 + machine.load_seconds
            lost_at[number] = ledger_end + random.exponential(3600 / collection.losses)
        else:
            ledger_end = ledger
        busy += took
        ends[number] = ledger_end + took
        heapq.heappush(free, (ends[number], number))
    end = float(ends.max())
    whole = end * holders
    partitions = collection.videos / count
    return Told(
        hours=end / 3600,
        machine_hours=whole * partitions / 3600,
        busy=busy / whole,
        loading=loading / whole,
        listing=listed * holders / whole,
        waiting=waited / whole,
        again=again / whole,
        tail=float((end - ends).sum()) / whole,
    )


def _around_one(random: np.random.Generator, spread: float, count: int) -> np.ndarray:
    """Numbers whose logarithms are normal, with a mean of 1."""
    return np.exp(spread * random.standard_normal(count) - spread**2 / 2)


def main() -> None:
    """Print a line for each kind of machine and number of holders, and for sizes of partitions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--videos", type=int, default=Collection.videos)
    parser.add_argument("--partition", type=int, default=Collection.partition)
    parser.add_argument("--holders", type=int, nargs="*", default=[1, 8, 64, 256, 1024])
    parser.add_argument("--losses", type=float, default=Collection.losses, help="per holder and hour")
    parser.add_argument("--ledger-ms", type=float, default=1e3 * Collection.ledger_seconds, help="for each video")
    parser.add_argument("--price", action="append", default=[], metavar="NAME=X", help="of a holder per hour")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    machines = dict(MACHINES)
    for text in given.price:
        name, _, price = text.partition("=")
        matching = [one for one in machines if one.startswith(name)]
        if not matching:
            parser.error(f"--price {text}: there is no {name}; there are {', '.join(machines)}")
        machines.update({one: replace(machines[one], price=float(price)) for one in matching})
    common = Collection(
        given.videos, given.partition, ledger_seconds=given.ledger_ms / 1e3, losses=given.losses
    )
    print(f"{given.videos:,} videos of {SECONDS:.0f} s in partitions of {given.partition:,}, one run each")
    print("prices are what --price says, else 1 an hour: an assumption\n")
    print("| machine | holders | run, h | machine-hours | for 1,000 | busy | load | list | ledger | again | tail |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for name, machine in machines.items():
        for holders in given.holders:
            _line(name, machine, replace(common, holders=holders), given.seed)
    print("\npartitions of other sizes, 64 holders\n")
    for name, machine in machines.items():
        for size in (1_000, 10_000, 100_000):
            _line(f"{name}, {size:,}", machine, replace(common, partition=size, holders=64), given.seed)


def _line(name: str, machine: Machine, collection: Collection, seed: int) -> None:
    told = simulate(machine, collection, seed)
    price = told.machine_hours * machine.price / collection.videos * 1000
    parts = (told.busy, told.loading, told.listing, told.waiting, told.again, told.tail)
    shares = " | ".join(f"{100 * part:.1f} %" for part in parts)
    print(
        f"| {name} | {collection.holders} | {told.hours:.2f} | {told.machine_hours:,.0f} | {price:.3f} | {shares} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
