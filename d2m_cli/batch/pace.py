"""How fast a batch goes, stage by stage, and how long the rest of it takes.

Wall time is shared out equally among the files that are worked on at that time, so that what all of them get adds up to
the time that passes, however many are in hand. What a stage got, over the seconds of video that went through it, is its
rate; the rates times the seconds of video that are left are the time left. Loading counts as one more that is worked
on, whose share belongs to no stage; a file that waits for its turn gets nothing. A file whose poses are kept goes
through that stage at no cost, and lowers its rate by that. What the very first file does up to its first report of a
stage is left out: libraries are loaded and compiled on the way.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

KEEP = 0.95
"""What the past is worth each time a file ends: rates are those of the last twenty files or so."""

OWN = 0.3
"""The own rate of a file in hand counts as much as that of all once so much of it went through a stage."""

ENOUGH = 0.1
"""So much of one file must have gone through a stage before its rate is known."""


@dataclass(frozen=True)
class Ended:
    """A stage that a file went through.

    Attributes
    ----------
    stage
        Its name.
    seconds
        How long it took; loading and waiting for others left out.
    """

    stage: str
    seconds: float


@dataclass
class _InHand:
    """A file that is worked on.

    Attributes
    ----------
    got
        Seconds of wall time that each stage got.
    size
        Seconds of video, once they are known.
    stage
        Number of its stage.
    fraction, step
        How much of that stage is done, and how much of it was done between the last two reports.
    told
        What the stage had got by the last report.
    seconds
        That passed in this stage.
    works
        Whether it is worked on, and does not wait.
    free
        Whether it may turn out to be done already.
    left_out
        How much of each stage is left out of what is measured.
    """

    got: list[float]
    left_out: list[float]
    free: bool
    size: float | None = None
    stage: int = 0
    fraction: float = 0.0
    step: float = 1.0
    told: float = 0.0
    seconds: float = 0.0
    works: bool = True


class Pace:
    """The files of a batch on their way through their stages; any thread may call.

    Parameters
    ----------
    total
        How many files there are.
    stages
        Their stages, in order. The last of several is a short one: until a file went through it, it counts as none.
    expected_done
        Numbers of the files that are likely to be done already, and so to cost nothing.
    now
        A clock, in seconds.

    Attributes
    ----------
    through
        Stage to how many files went through it.
    """

    def __init__(
        self,
        total: int,
        stages: Sequence[str],
        expected_done: Collection[int] = (),
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.through = dict.fromkeys(stages, 0)
        self._stages = tuple(stages)
        self._free = set(expected_done)
        self._waiting = total - len(self._free)
        self._begun: set[int] = set()
        self._in_hand: dict[int, _InHand] = {}
        self._loading = 0
        # Of files that have ended, for each stage: wall time, seconds of video that cost it, and that went through it.
        self._got = [0.0] * len(self._stages)
        self._cost = [0.0] * len(self._stages)
        self._went = [0.0] * len(self._stages)
        self._lengths: list[float] = [0.0, 0.0]  # sum and number of those that are known
        # Of each stage: whether it was ever seen to go on; its rate with all that was loaded for the first file, where
        # nothing better is known; how much of it was done between the last two reports of any file.
        self._warm = [False] * len(self._stages)
        self._rough: list[float | None] = [None] * len(self._stages)
        self._steps = [1.0] * len(self._stages)
        self._now, self._last = now, now()
        self._guard = threading.RLock()

    def start(self, number: int) -> None:
        """A file is taken in hand; it is in the first stage."""
        with self._guard:
            self._settle()
            free = number in self._free
            self._free.discard(number)
            if not free and number not in self._begun:
                self._waiting -= 1
            self._begun.add(number)
            self._in_hand[number] = _InHand(
                [0.0] * len(self._stages), [0.0] * len(self._stages), free, step=self._steps[0]
            )

    def length(self, number: int, seconds: float) -> None:
        """A file has so many seconds of video."""
        with self._guard:
            item = self._in_hand[number]
            if item.size is None and seconds > 0:
                item.size = seconds
                self._lengths[0] += seconds
                self._lengths[1] += 1

    def wait(self, number: int) -> None:
        """A file waits for others, or for what is being loaded, until it comes to a stage or reports again."""
        with self._guard:
            self._settle()
            self._in_hand[number].works = False

    def stage(self, number: int, name: str) -> tuple[Ended, ...]:
        """A file has come to a stage; the one that it was in is returned."""
        with self._guard:
            self._settle()
            item = self._in_hand[number]
            item.works, item.free = True, False
            new = self._stages.index(name)
            if new == item.stage:
                return ()
            ended = self._through(item, new)
            item.stage, item.fraction, item.step, item.told, item.seconds = new, 0.0, self._steps[new], 0.0, 0.0
            return ended

    def at(self, number: int, fraction: float) -> None:
        """So much of the stage that a file is in is done, 0 to 1."""
        with self._guard:
            self._settle()
            item = self._in_hand[number]
            item.works = True
            fraction = min(fraction, 1.0)
            if fraction > item.fraction:
                item.free = False
                stage = item.stage
                self._steps[stage] = item.step = fraction - item.fraction
                item.fraction = fraction
                if not self._warm[stage] and fraction < 1.0:
                    item.left_out[stage], item.got[stage] = fraction, 0.0
                    self._warm[stage] = True
                item.told = item.got[stage]

    def loading(self, begins: bool) -> None:
        """Loading of something begins or ends, beside whatever else is done."""
        with self._guard:
            self._settle()
            self._loading += 1 if begins else -1

    def finish(self, number: int, *, done: bool, tried: bool = True) -> tuple[Ended, ...]:
        """A file has come to its end; the stage that it was in is returned where it is done.

        Parameters
        ----------
        number
            Which.
        done
            Whether it went through all stages.
        tried
            Whether it was worked on: it was not where it was done already, or another run has it in hand.
        """
        with self._guard:
            self._settle()
            item = self._in_hand.pop(number)
            ended = self._through(item, len(self._stages)) if done else ()
            if not tried and item.free:
                return ended
            if item.size is None and not done and not self._lengths[1] and not any(self._went):
                return ended  # in which unit it would count is not known yet
            size = self._size(item)
            gone = [self._gone(item, stage, size) if tried else 0.0 for stage in range(len(self._stages))]
            for stage in range(len(self._stages)):
                self._got[stage] = KEEP * self._got[stage] + item.got[stage] * tried
                counted = size * (1.0 - item.left_out[stage])
                self._cost[stage] = KEEP * self._cost[stage] + counted
                self._went[stage] = KEEP * self._went[stage] + (counted if done else gone[stage])
            return ended

    def left(self) -> float | None:
        """Seconds until all files are done; None as long as there is nothing to tell them from."""
        with self._guard:
            self._settle()
            rates = self._rates()
            if rates is None:
                return None
            ahead = sum(rates) * self._mean * self._waiting
            return ahead + sum(self._rest(item, rates) for item in self._in_hand.values() if not item.free)

    def share(self) -> float:
        """How much of the files in hand is done, in files."""
        with self._guard:
            rates = self._rates() or [1.0] * len(self._stages)
            whole = sum(rates) or 1.0
            return sum(
                (sum(rates[: item.stage]) + rates[item.stage] * item.fraction) / whole
                for item in self._in_hand.values()
            )

    @property
    def _mean(self) -> float:
        total, number = self._lengths
        return total / number if number else 1.0

    def _size(self, item: _InHand) -> float:
        return item.size if item.size is not None else self._mean

    def _settle(self) -> None:
        """Share out the time since this was last done."""
        now = self._now()
        passed, self._last = now - self._last, now
        working = [item for item in self._in_hand.values() if item.works]
        share = passed / max(1, len(working) + self._loading)
        for item in working:
            item.got[item.stage] += share
            item.seconds += passed

    def _through(self, item: _InHand, new: int) -> tuple[Ended, ...]:
        names, stage = self._stages[item.stage : new], item.stage
        if names and not self._warm[stage] and item.got[stage] > 0:
            self._rough[stage] = item.got[stage] / self._size(item)
            item.left_out[stage], item.got[stage] = 1.0, 0.0
            self._warm[stage] = True
        for name in names:
            self.through[name] += 1
        return tuple(Ended(name, item.seconds if name is names[0] else 0.0) for name in names)

    def _gone(self, item: _InHand, stage: int, size: float) -> float:
        """Seconds of video of a file in hand that went through a stage."""
        behind = 1.0 if item.stage > stage else item.fraction if item.stage == stage else 0.0
        return size * max(0.0, behind - item.left_out[stage])

    def _rates(self) -> list[float] | None:
        """Wall time that each stage gets for a second of video; None where that is not known of all."""
        got, cost, went = list(self._got), list(self._cost), list(self._went)
        for item in self._in_hand.values():
            size = self._size(item)
            for stage in range(item.stage + 1):
                gone = self._gone(item, stage, size)
                # What the next report will tell of has taken time already.
                got[stage] += (item.told if stage == item.stage else item.got[stage]) if gone else 0.0
                cost[stage] += gone
                went[stage] += gone
        rates = []
        for stage in range(len(self._stages)):
            rough = self._rough[stage]
            if went[stage] >= ENOUGH * self._mean:
                rates.append(got[stage] / cost[stage])
            elif rough is not None:
                rates.append(rough)
            elif stage == len(self._stages) - 1 > 0:
                rates.append(0.0)
            else:
                return None
        return rates

    def _rest(self, item: _InHand, rates: Sequence[float]) -> float:
        """Wall time that a file in hand will still get."""
        size, stage = self._size(item), item.stage
        # A heavier or lighter one than others is so to its end.
        counted = max(0.0, item.fraction - item.left_out[stage])
        rate = (item.told + OWN * size * rates[stage]) / (size * (counted + OWN))
        # Where a step takes longer than it should, so will those after it.
        rate = max(rate, item.got[stage] / (size * (counted + item.step)))
        whole = rate * size
        since = (item.got[stage] - item.told) / whole if whole > 0 else 0.0
        behind = min(item.fraction + min(since, item.step), 1.0)
        return whole * (1.0 - behind) + size * sum(rates[stage + 1 :])
