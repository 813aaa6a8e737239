"""A batch on a Ray cluster: this process gives out the files and notes what becomes of them, others do the work.

Ray starts the processes where there is room for them, carries files' results back, and tells when a process or its node
is gone. The ledger stays with this process, so that it is the checkpoint: killed and started again, it goes on from it.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from typing import Any

from d2m_cli import __version__
from d2m_cli.batch.engines.ray_holder import Failure, Holder, Made, Plan, digests
from d2m_cli.batch.outcome import BatchSummary, DeathsError, ItemResult, Job, Making, Work
from d2m_cli.batch.report_drawing import keep_drawing
from d2m_cli.batch.stages import DEATHS
from d2m_cli.batch.voice import say
from d2m_cli.errors import MissingExtraError, UsageError
from d2m_cli.ground.cores import cores
from d2m_cli.ground.devices import names_gpu
from d2m_cli.ground.options import flags_are_told, option
from d2m_cli.ground.progress import StageReport
from d2m_cli.ground.surroundings import thread_variables

POLL_SECONDS = 0.1
"""Between two looks for a process that has time."""
STEP_SECONDS = 1.0
"""Between two questions where the work on a file is."""
TOLD = 1000
"""So many lines are known as told."""
STILLBORN = 5
"""So many processes in a row may end before they can take a file."""


def on_ray(
    making: Making,
    run: Callable[[Work, int], BatchSummary],
    address: str | None,
    *,
    workers: int,
    on_gpu: bool,
    settings: Mapping[str, Any],
    settings_there: Callable[[], Mapping[str, Any]],
) -> BatchSummary:
    """`d2m_cli.batch.engines.engine.on_engine` on a Ray cluster, which is connected to and left again."""
    ray, ours = _connected(address)
    try:
        room = _room(ray, on_gpu)
        plan = Plan(making, digests(settings), settings_there, __version__, os.getcwd(), flags_are_told())
        say(f"d2m: Ray: {room}, {workers} files at once in each")
        pool = Pool(ray, plan, room, workers)
        try:
            return run(pool.work, room.holders * workers)
        finally:
            pool.close()
    finally:
        if ours:
            ray.shutdown()


def device_on_ray(device: str, address: str | None) -> str:
    """What a device's name means on a Ray cluster; see `d2m_cli.batch.engines.engine.device_there`."""
    if names_gpu(device) and ":" in device:
        raise UsageError(
            f"{option('device', device)}: Ray deals out the GPUs of its nodes; use {option('device', 'cuda')}"
        )
    if device != "auto":
        return device
    ray, _ = _connected(address)
    return "cuda" if ray.cluster_resources().get("GPU", 0) >= 1 else "cpu"


@dataclass(frozen=True)
class Room:
    """What a cluster has room for.

    Attributes
    ----------
    holders
        Processes that hold networks: one for each GPU, or for so many cores.
    nodes
        On how many nodes.
    cores
        Threads that each may compute with.
    gpus
        GPUs of each.
    """

    holders: int
    nodes: int
    cores: int
    gpus: int

    def __str__(self) -> str:
        what = "a GPU" if self.gpus else f"{self.cores} {'core' if self.cores == 1 else 'cores'}"
        return f"{self.holders} {'process' if self.holders == 1 else 'processes'} with {what} on {self.nodes} " + (
            "node" if self.nodes == 1 else "nodes"
        )


def _room(ray: Any, on_gpu: bool) -> Room:
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if on_gpu:
        with_gpu = [(int(node.get("GPU", 0)), int(node.get("CPU", 0))) for node in nodes if node.get("GPU", 0) >= 1]
        if not with_gpu:
            raise UsageError(f"no node of the Ray cluster has a GPU: use {option('device', 'cpu')} or auto")
        share = max(1, min(own // gpus for gpus, own in with_gpu))
        return Room(sum(gpus for gpus, _ in with_gpu), len(with_gpu), share, 1)
    own_cores = [int(node.get("CPU", 0)) for node in nodes]
    # As many threads as on this machine, since the last bits of what is computed hang on their number.
    share = min(cores(), max(own_cores, default=0))
    if share == 0:
        raise UsageError("no node of the Ray cluster has a core to offer: see 'ray status'")
    holders = [own // share for own in own_cores if own >= share]
    return Room(sum(holders), len(holders), share, 0)


@dataclass(eq=False)
class _Held:
    """A process on some node; `place` is its node's name once it can take files."""

    actor: Any
    opening: Any
    place: str = ""
    in_hand: int = 0
    reserved: bool = False


class Pool:
    """The processes that do the work; each takes so many files at once, and one that is gone is replaced.

    What a process had in hand when it ended is worked on anew, each file by a process that has nothing else in hand:
    then it shows which of them it was. A file over which `DEATHS` of those end fails.

    Parameters
    ----------
    ray
        The module, connected.
    plan
        For each process.
    room
        How many there are to be, and what each takes.
    at_once
        So many files each has in hand at most.
    """

    def __init__(self, ray: Any, plan: Plan, room: Room, at_once: int) -> None:
        self._ray = ray
        self._plan = ray.put(plan)
        self._room = room
        self._at_once = at_once
        self._numbers = count()
        # One that knows who holds it: an interrupt may come when it is taken and before that is noted here.
        self._guard = threading.RLock()
        self._holders: list[_Held] = []
        self._stillborn = 0
        self._told: frozenset[str] = frozenset()
        self._new = ray.remote(
            num_cpus=room.cores,
            num_gpus=room.gpus,
            max_concurrency=at_once,
            max_pending_calls=2 * at_once + 2,
            concurrency_groups={"telling": 1},
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy="SPREAD",
            runtime_env={"env_vars": {"OMP_NUM_THREADS": str(room.cores), **thread_variables()}},
        )(Holder)

    def work(self, job: Job, report: StageReport) -> ItemResult:
        """Have one file worked on, and write its results where the job wants them."""
        alone, deaths = False, 0
        while True:
            report.wait("waiting for a process" + (" of its own" if alone else ""))
            with self._held(alone) as held:
                report.wait(f"on {held.place}")
                try:
                    answer = self._ask(held, job, report)
                except self._ray.exceptions.RayTaskError:
                    raise
                except self._ray.exceptions.RayError as error:
                    self._replace(held)
                    reason = (str(error).splitlines() or [type(error).__name__])[0]
                    deaths += alone
                    if deaths == DEATHS:
                        raise DeathsError(
                            f"{job.path}: {deaths} processes in a row ended that worked on this file alone (the last "
                            f"on {held.place}: {reason}); the same command tries it again"
                        ) from error
                    say(f"d2m: {job.path}: the process on {held.place} is gone ({reason}); it is worked on anew")
                    alone = True
                    continue
            if isinstance(answer, Made):
                for suffix, content in answer.files.items():
                    job.artefacts[suffix].write_bytes(content)
                if job.drawing is not None and answer.drawing is not None:
                    why = keep_drawing(job.drawing, answer.drawing)
                    if why is not None:
                        say(f"d2m: {job.stem}: not drawn for the page: {why}")
                return answer.result
            missed = isinstance(answer.error, FileNotFoundError) and answer.error.filename == str(job.path)
            if missed and job.path.exists():
                raise UsageError(
                    f"{job.path} is not seen on the node {held.place}: name inputs in a folder that all nodes share, "
                    "by their whole path"
                )
            raise answer.error

    def close(self) -> None:
        """End all processes."""
        for held in self._holders:
            self._kill(held)

    def _ask(self, held: _Held, job: Job, report: StageReport) -> Made | Failure:
        number = next(self._numbers)
        making = held.actor.make.remote(number, job)
        while not self._ready(making, STEP_SECONDS):
            asked = held.actor.steps.options(concurrency_group="telling").remote(number)
            if self._ready(asked, STEP_SECONDS):
                steps, said = self._ray.get(asked)
                self._tell(said)
                for method, values in steps:
                    getattr(report, method)(*values)
        answer: Made | Failure = self._ray.get(making)
        self._tell(answer.said)
        return answer

    def _tell(self, said: Iterable[str]) -> None:
        """Pass on what a process had to say, unless another has said the same."""
        for line in said:
            if line not in self._told:
                self._told = frozenset({*self._told, line} if len(self._told) < TOLD else {line})
                say(line)

    def _ready(self, ref: Any, seconds: float) -> bool:
        return bool(self._ray.wait([ref], timeout=seconds)[0])

    @contextmanager
    def _held(self, alone: bool) -> Iterator[_Held]:
        """A process that has time for one file more; with `alone`, for this one only."""
        held: _Held | None = None
        taken = self._at_once if alone else 1
        try:
            while True:
                with self._guarded():
                    self._look()
                    if held is None or held not in self._holders:
                        held = self._chosen(alone)
                    if held is not None and held.in_hand + taken <= self._at_once:
                        held.in_hand += taken
                        break
                threading.Event().wait(POLL_SECONDS)
            try:
                yield held
            finally:
                held.in_hand -= taken
        finally:
            if held is not None and alone:
                held.reserved = False

    def _chosen(self, alone: bool) -> _Held | None:
        """The process that has least in hand; it is given nothing more where it is to be `alone`."""
        open_ones = [held for held in self._holders if held.place and not held.reserved]
        chosen = min(open_ones, key=lambda held: held.in_hand, default=None)
        if chosen is not None and alone:
            chosen.reserved = True
        elif chosen is not None and chosen.in_hand == self._at_once:
            return None
        return chosen

    def _look(self) -> None:
        """Start processes that are missing, and see which can take files by now."""
        while len(self._holders) < self._room.holders:
            actor = self._new.remote()
            self._holders.append(_Held(actor, actor.open.remote(self._plan)))
        for held in [one for one in self._holders if not one.place]:
            if not self._ready(held.opening, 0):
                continue
            try:
                answer = self._ray.get(held.opening)
            except self._ray.exceptions.RayError as error:
                self._replace(held)
                self._stillborn += 1
                if self._stillborn == STILLBORN:
                    raise UsageError(f"no process can be started on the Ray cluster: {error}") from error
                continue
            if isinstance(answer, Failure):
                raise answer.error
            held.place, self._stillborn = answer, 0

    def _replace(self, held: _Held) -> None:
        with self._guarded():
            if held in self._holders:
                self._holders.remove(held)
                self._kill(held)

    def _kill(self, held: _Held) -> None:
        with suppress(self._ray.exceptions.RayError):  # it is gone already
            self._ray.kill(held.actor)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            # In short waits, between which an interrupt is heard.
            while not self._guard.acquire(timeout=POLL_SECONDS):
                pass
            yield
        finally:
            with suppress(RuntimeError):  # it was not taken
                self._guard.release()


def _connected(address: str | None) -> tuple[Any, bool]:
    """Ray, connected to a cluster, and whether it was connected here."""
    # Ray would tell its makers of each cluster.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError(f"{option('engine', 'ray')}: Ray is not installed; pip install 'd2m[ray]'") from error
    if ray.is_initialized():
        return ray, False
    address = address or os.environ.get("RAY_ADDRESS")
    how = {"address": address} if address else {"address": "local", "include_dashboard": False}
    # Ray ends the process at a signal; here it is for the batch to end in order.
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(**how, logging_level=logging.WARNING, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        where = f"at {address}" if address else "of this machine"
        raise UsageError(f"no Ray cluster can be reached {where}: {error}") from error
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)
    # It tells of processes that ended on stdout, where results belong, and has no option for that.
    ray._private.worker._worker_logs_enabled = False
    return ray, True
