"""One desk for many: the same bytes in whatever company, smaller batches where memory runs out."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from d2m_cli.backbones.base import Condition, Draw, FullSampling, Identity
from d2m_cli.backbones.musicgen import MusicgenBackbone
from d2m_cli.backbones.riffusion import RiffusionBackbone
from d2m_cli.batch.crew import side_by_side
from d2m_cli.generation import desk as desk_module
from d2m_cli.generation.compose import compose
from d2m_cli.generation.desk import TOGETHER, Desk, Drawn
from d2m_cli.generation.models import Models
from d2m_cli.generation.options import GenerateOptions
from d2m_cli.ground.one_core import torch_threads
from d2m_cli.rhythm.sequence import BeatMap, Rhythm
from tests.fakes import FakeBackbone, FakeEncoders, FakePoses
from tests.tiny_models import save_tiny_musicgen, save_tiny_riffusion
from tests.waiting import wait_until

SAMPLING = FullSampling(steps=2, guidance=3.0)
IDENTITY = Identity("tiny", "CC0")
PROMPTS = ("a drum", "a music with a funky guitar", "guitar", "a funky music", "drum, drum, drum", "the rhythm")


class Brief(MusicgenBackbone):
    """With windows of 0.64 s, which are quick to draw."""

    window_seconds = 0.64


class Sums:
    """Draws (1, 4) of sound a row: its seed, and the sums of condition, negative and context."""

    device = "cpu"

    def __init__(self, most: int = 99, broken: int = -1) -> None:
        self.most, self.broken = most, broken
        self.batches: list[tuple[int, ...]] = []
        self.threads: set[str] = set()

    def generate(
        self, condition: Condition, negative: Condition, seeds: Sequence[int], context: Draw | None, sampling: Any
    ) -> Draw:
        self.batches.append(tuple(seeds))
        self.threads.add(threading.current_thread().name)
        if len(seeds) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        if self.broken in seeds:
            raise ZeroDivisionError
        time.sleep(0.01)
        rows = len(seeds)
        before = torch.zeros(rows) if context is None else context.audio.sum((1, 2)).expand(rows)
        sums = [one.states.sum((1, 2)).expand(rows) for one in (condition, negative)]
        return Draw(torch.stack([torch.tensor(seeds, dtype=torch.float32), *sums, before], 1)[:, None], 8000)


def condition(value: float) -> Condition:
    return Condition(torch.full((1, 2, 3), value))


def sounds(drawn: Sequence[Drawn]) -> list[list[float]]:
    return [one.music.audio.flatten().tolist() for one in drawn]


def at_once(call: Callable[[int], Any], count: int) -> list[Any]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(call, range(count), timeout=60))


def test_on_a_cpu_a_batch_holds_the_takes_of_one_window() -> None:
    backbone: Any = Sums()
    alone = Desk(backbone)
    drawn = alone.draw(condition(1.0), condition(0.5), [3, 4, 5, 6, 7], None, SAMPLING)
    assert sounds(drawn) == [[float(seed), 6.0, 3.0, 0.0] for seed in (3, 4, 5, 6, 7)]
    assert backbone.batches == [(3, 4, 5, 6), (7,)]
    assert [one.rows for one in drawn] == [TOGETHER] * 4 + [1]
    # Each draws for itself, one after the other.
    with alone.shared(print):
        at_once(lambda n: alone.draw(condition(1.0), condition(0.5), [n], None, SAMPLING), 3)
    assert sorted(backbone.batches[2:]) == [(0,), (1,), (2,)]


def test_a_small_backbone_makes_batches_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    both = threading.Barrier(2)

    class Small(Sums):
        one_core = True

        def generate(
            self, condition: Condition, negative: Condition, seeds: Sequence[int], context: Draw | None, sampling: Any
        ) -> Draw:
            both.wait(30)
            assert torch.get_num_threads() == 1
            return super().generate(condition, negative, seeds, context, sampling)

    backbone: Any = Small()
    desk = Desk.of(backbone)
    with desk.shared(print):
        # The last batch would wait for ever for one beside it.
        drawn = desk.draw(condition(1.0), condition(0.5), [3, 4, 5, 6, 7, 8, 9], None, SAMPLING)
        assert desk.alone(torch.get_num_threads) == 1
    assert sounds(drawn) == [[float(seed), 6.0, 3.0, 0.0] for seed in range(3, 10)]
    assert sorted(backbone.batches) == [(3, 4), (5, 6), (7, 8), (9,)]
    assert [one.rows for one in drawn] == [2] * 6 + [1]
    broken = Desk(Sums(broken=4), small=True)  # type: ignore[arg-type]
    with pytest.raises(ZeroDivisionError):
        broken.draw(condition(1.0), condition(0.5), [3, 4, 5], None, SAMPLING)
    told: list[str] = []

    class Short(Sums):
        def generate(self, condition: Condition, negative: Condition, seeds: Sequence[int], *rest: Any) -> Draw:
            if len(seeds) > 1:
                both.wait(30)  # memory runs out for both
            return super().generate(condition, negative, seeds, *rest)

    short = Desk(Short(most=1), tell=told.append, small=True)  # type: ignore[arg-type]
    assert [one.rows for one in short.draw(condition(1.0), condition(0.5), [3, 4, 5, 6], None, SAMPLING)] == [1] * 4
    assert told == ["memory ran out while music was drawn: it is drawn 1 take on each core at a time from now on"]


def test_what_a_small_backbone_makes_hangs_neither_on_cores_nor_on_company(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = riffusion(tmp_path)
    assert backbone.one_core
    before = torch.get_num_threads()

    def takes(number: int) -> bytes:
        negative, wanted = (desk.alone(partial(backbone.embed, [one], {})) for one in ("", PROMPTS[number]))
        drawn = desk.draw(wanted, negative, [10 * number + n for n in range(3)], None, SAMPLING)
        return b"".join(one.music.audio.numpy().tobytes() for one in drawn)

    found = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
            desk = Desk.of(backbone)
            found += [[takes(number) for number in range(4)], at_once(takes, 4)]
            assert torch_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert found == [found[0]] * 4


def test_what_many_ask_for_shares_batches_of_one_shape_and_one_thread() -> None:
    backbone: Any = Sums()
    shared = Desk(backbone, 8)
    context = Draw(torch.ones(1, 1, 5), 8000)

    def ask(number: int) -> list[list[float]]:
        first = shared.draw(condition(number), condition(0.5), [number, number + 100], None, SAMPLING)
        then = shared.draw(condition(number), condition(0.5), [number + 200] * 3, context, SAMPLING)
        assert {one.rows for one in (*first, *then)} == {8}
        return sounds([*first, *then])

    with shared.shared(print):
        found = at_once(ask, 6)
    for number, rows in enumerate(found):
        here = [6.0 * number, 3.0]
        assert rows == [
            [number, *here, 0.0],
            [number + 100, *here, 0.0],
            *[[number + 200, *here, 5.0]] * 3,
        ]
    assert {len(batch) for batch in backbone.batches} == {8}
    # 30 rows of two kinds: one by one they would be 12 batches.
    assert len(backbone.batches) < 12
    assert backbone.threads == {"d2m-drawing"}
    assert not [thread for thread in threading.enumerate() if thread.name == "d2m-drawing"]


def test_where_memory_runs_out_batches_are_halved_and_that_is_said() -> None:
    told: list[str] = []
    backbone: Any = Sums(most=3)
    shared = Desk(backbone, 8)
    with shared.shared(told.append):
        drawn = shared.draw(condition(1.0), condition(0.0), [1, 2, 3], None, SAMPLING)
        again = shared.draw(condition(1.0), condition(0.0), [4], None, SAMPLING)
    assert [row[0] for row in sounds([*drawn, *again])] == [1.0, 2.0, 3.0, 4.0]
    assert [one.rows for one in (*drawn, *again)] == [2] * 4
    assert [len(batch) for batch in backbone.batches] == [8, 4, 2, 2, 2]
    assert told == [
        f"memory ran out while music was drawn: it is drawn {n} takes at a time from now on" for n in (4, 2)
    ]
    # Also where batches have no shape of their own; and one row is as few as it gets.
    single: Any = Sums(most=1)
    heard: list[str] = []
    plain = Desk.of(single, heard.append)
    assert [one.rows for one in plain.draw(condition(1.0), condition(0.0), [1, 2, 3], None, SAMPLING)] == [1, 1, 1]
    assert [line.rpartition("drawn ")[2].partition(" at")[0] for line in heard] == ["2 takes", "1 take"]
    none: Any = Sums(most=0)
    with pytest.raises(torch.OutOfMemoryError):
        Desk(none, 4).draw(condition(1.0), condition(0.0), [1], None, SAMPLING)


class Cramped(Sums):
    """A small backbone with room for so many rows in all calls that go on at once, each of which takes a while."""

    one_core = True

    def __init__(self, room: int, together: int = 1) -> None:
        super().__init__()
        self.room, self.together = room, together
        self.counting = threading.Lock()
        self.running: dict[int, int] = {}
        self.most_running: list[int] = []
        self.failed = 0

    def fill(self, rows: int) -> None:
        here = threading.get_ident()
        with self.counting:
            self.running[here] = rows
            held = sum(self.running.values())
        try:
            if not self.failed:  # before memory runs out for the first time so many are under way
                wait_until(lambda: len(self.running) >= self.together or self.failed)
                held = sum(self.running.values())
            if held > self.room:
                self.failed += 1
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
            self.most_running.append(held)
            time.sleep(0.02)
        finally:
            with self.counting:
                del self.running[here]

    def generate(self, condition: Condition, negative: Condition, seeds: Sequence[int], *rest: Any) -> Draw:
        self.fill(len(seeds))
        return super().generate(condition, negative, seeds, *rest)


def test_where_single_rows_do_not_fit_side_by_side_they_are_drawn_one_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    told: list[str] = []
    backbone: Any = Cramped(room=1, together=3)
    desk = Desk.of(backbone, told.append)

    def ask(number: int) -> list[list[float]]:
        seeds = [10 * number + n for n in range(3)]
        drawn = desk.draw(condition(number), condition(0.5), seeds, None, SAMPLING)
        assert {one.rows for one in drawn} <= {1, 2}
        return sounds(drawn)

    # Three videos at once, and three more.
    for _ in range(2):
        assert at_once(ask, 3) == [[[10.0 * n + take, 6.0 * n, 3.0, 0.0] for take in range(3)] for n in range(3)]
    says = "memory ran out while music was drawn: it is drawn "
    assert told == [f"{says}1 take on each core at a time from now on", f"{says}1 take at a time from now on"]
    assert set(backbone.most_running) == {1}
    assert len(backbone.most_running) == 18
    # No more attempts failed than were under way before that was known: of two rows, and then of one.
    assert backbone.failed <= 12
    before = backbone.failed
    assert [one.rows for one in desk.draw(condition(1.0), condition(0.5), [1, 2, 3], None, SAMPLING)] == [1, 1, 1]
    assert backbone.failed == before
    # What does not fit by itself, in a batch of up to two and then of one, is given up.
    full: Any = Cramped(room=0)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        Desk.of(full).draw(condition(1.0), condition(0.5), [1], None, SAMPLING)
    assert full.failed == 2


def test_a_row_that_did_not_fit_beside_a_larger_batch_waits_for_its_end_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two batches of two rows, of which one fits: once halved, there is room for both."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    told: list[str] = []
    begun, ends = threading.Event(), threading.Event()

    class Uneven(Cramped):
        def generate(self, condition: Condition, negative: Condition, seeds: Sequence[int], *rest: Any) -> Draw:
            if seeds[0] == 1:
                with self.counting:
                    self.running[threading.get_ident()] = 2
                begun.set()
                assert ends.wait(60)  # it began first, and goes on until the other one waits for it
                with self.counting:
                    del self.running[threading.get_ident()]
                return Sums.generate(self, condition, negative, seeds, *rest)
            assert begun.wait(60)
            return super().generate(condition, negative, seeds, *rest)

    backbone: Any = Uneven(room=2)
    desk = Desk.of(backbone, told.append)

    def watch() -> None:
        wait_until(lambda: backbone.failed == 2 and desk._lanes._waiting)
        ends.set()

    watching = threading.Thread(target=watch)
    watching.start()
    drawn = desk.draw(condition(1.0), condition(0.5), [1, 2, 3, 4], None, SAMPLING)
    watching.join()
    assert [one.rows for one in drawn] == [2, 2, 1, 1]
    assert not desk._lanes.one_at_a_time
    assert told == ["memory ran out while music was drawn: it is drawn 1 take on each core at a time from now on"]


@pytest.mark.parametrize(("rows", "small"), [(None, False), (2, False), (None, True)])
def test_what_else_computes_with_the_backbone_is_tried_again_alone(rows: int | None, small: bool) -> None:
    forgotten: list[int] = []

    class Recording(Sums):
        def forget_recordings(self) -> None:
            forgotten.append(1)

    desk = Desk(Recording(), rows, small=small)  # type: ignore[arg-type]
    calls: list[int] = []

    def read() -> str:
        calls.append(1)
        if len(calls) < 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return "read"

    def never() -> None:
        calls.append(1)
        raise torch.OutOfMemoryError("CUDA out of memory")

    with desk.shared(print):
        assert desk.alone(read) == "read"
        assert (len(calls), len(forgotten)) == (2, 1)
        with pytest.raises(torch.OutOfMemoryError):
            desk.alone(never)
        assert len(calls) == 4


def test_a_text_that_did_not_fit_beside_music_is_read_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    begun, tried = threading.Event(), threading.Event()
    beside: list[int] = []

    class Long(Sums):
        one_core = True

        def generate(self, *given: Any) -> Draw:
            begun.set()
            assert tried.wait(60)
            return super().generate(*given)

    backbone: Any = Long()
    desk = Desk.of(backbone)

    def music() -> Drawn:
        return desk.draw(condition(1.0), condition(0.5), [5], None, SAMPLING)[0]

    def read() -> str:
        beside.append(sum(not stay.alone for stay in desk._lanes._inside.values()))
        if len(beside) == 1:
            tried.set()
            raise MemoryError
        return "read"

    with ThreadPoolExecutor(1) as pool:
        drawn = pool.submit(music)
        assert begun.wait(60)
        assert desk.alone(read) == "read"
        assert sounds([drawn.result(60)]) == [[5.0, 6.0, 3.0, 0.0]]
    # Both were in at first; then the text alone, and music goes on side by side later.
    assert beside == [2, 0]
    assert not desk._lanes.one_at_a_time


def test_one_that_can_not_be_drawn_costs_none_of_the_others() -> None:
    backbone: Any = Sums(broken=3)
    shared = Desk(backbone, 8)

    def ask(number: int) -> bool:
        try:
            (drawn,) = shared.draw(condition(1.0), condition(0.0), [number], None, SAMPLING)
        except ZeroDivisionError:
            return False
        return sounds([drawn])[0][0] == number

    with shared.shared(print):
        assert at_once(ask, 6) == [True, True, True, False, True, True]


def riffusion(folder: Path) -> Any:
    return RiffusionBackbone(save_tiny_riffusion(folder), IDENTITY)


def musicgen(folder: Path) -> Any:
    return Brief(save_tiny_musicgen(folder), IDENTITY)


@pytest.mark.slow
@pytest.mark.parametrize("make", [riffusion, musicgen])
def test_a_video_alone_and_among_five_others_gives_the_same_bytes(
    make: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = make(tmp_path)
    batches: list[set[int]] = []
    generate = backbone.generate

    def noted(condition: Condition, negative: Condition, seeds: Sequence[int], *rest: Any) -> Draw:
        assert len(seeds) == 4
        batches.append({seed // 1000 for seed in seeds})
        drawn: Draw = generate(condition, negative, seeds, *rest)
        return drawn

    monkeypatch.setattr(backbone, "generate", noted)
    shared = Desk(backbone, 4)

    def windows(number: int) -> bytes:
        """Two windows of three takes, the second from where the first stops."""
        negative, wanted = (backbone.embed([prompt], {}) for prompt in ("", PROMPTS[number]))
        first = shared.draw(wanted, negative, [1000 * number + n for n in range(3)], None, SAMPLING)
        context = first[1].music.end(backbone.window_seconds - 8 * backbone.quantum_seconds)
        then = shared.draw(wanted, negative, [1000 * number + n for n in range(3, 6)], context, SAMPLING)
        return b"".join(one.music.audio.numpy().tobytes() for one in (*first, *then))

    alone = [windows(number) for number in range(6)]
    assert all(len(videos) == 1 for videos in batches)
    batches.clear()
    with shared.shared(print):
        together = at_once(windows, 6)
    assert any(len(videos) > 1 for videos in batches)
    assert together == alone
    assert len(set(alone)) == 6


@pytest.mark.parametrize("rows", [None, 2])
def test_one_thread_at_a_time_computes_with_the_backbone(rows: int | None) -> None:
    """The text encoder too: networks may be offloaded, and PyTorch has one set of settings for all threads."""
    busy, clashes = threading.Lock(), []

    class Guarded(FakeBackbone):
        def embed(self, prompts, pseudo_words):
            if not busy.acquire(blocking=False):
                clashes.append("embed")
                return super().embed(prompts, pseudo_words)
            time.sleep(0.01)
            busy.release()
            return super().embed(prompts, pseudo_words)

        def generate(self, *given, **named):
            if not busy.acquire(blocking=False):
                clashes.append("generate")
                return super().generate(*given, **named)
            time.sleep(0.01)
            busy.release()
            return super().generate(*given, **named)

    backbone: Any = Guarded()
    encoders: Any = FakeEncoders()
    desk = Desk(backbone, rows)
    models = Models(FakePoses(11.0), backbone, encoders, "e", None, None, desk)
    beats = np.arange(0.3, 11.0, 0.5)
    mapped = BeatMap(beats, 120.0, 0.9, np.full(len(beats), 120.0))
    rhythm = Rhythm(np.zeros(11 * 50 + 1, np.float32), 50.0, beats, 11.0, None, "beats", mapped)
    options = GenerateOptions(prompt="a drum", candidates=2, snap="off")
    with desk.shared(print):
        at_once(lambda n: compose(rhythm, 11.0, models, options, str(n), lambda *_: None), 3)
    assert not clashes


class Slow(Sums):
    """Draws for so many seconds, in steps, and tells when it begins."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.begun = threading.Event()
        self.finished: list[tuple[int, ...]] = []

    def generate(
        self, condition: Condition, negative: Condition, seeds: Sequence[int], context: Draw | None, sampling: Any
    ) -> Draw:
        self.begun.set()
        for _ in range(round(100 * self.seconds)):
            time.sleep(0.01)
        self.finished.append(tuple(seeds))
        return super().generate(condition, negative, seeds, context, sampling)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(("rows", "small"), [(None, False), (2, False), (None, True)])
def test_an_interrupt_ends_those_who_draw_wait_and_read_and_nothing_more_is_drawn(
    rows: int | None, small: bool
) -> None:
    backbone: Any = Slow(60.0)
    desk = Desk(backbone, rows, small=small)
    before = set(threading.enumerate())
    read: list[int] = []

    def do(number: int) -> None:
        if number < 6:
            desk.draw(condition(number), condition(0.0), [number, number], None, SAMPLING)
        else:
            assert backbone.begun.wait(10.0)
            desk.alone(lambda: read.append(number))

    def interrupted() -> None:
        assert backbone.begun.wait(10.0)
        time.sleep(0.3)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    asker = threading.Thread(target=interrupted)
    asker.start()
    began = 0.0
    with desk.shared(print):
        with pytest.raises(KeyboardInterrupt):
            side_by_side(range(8), do, 8)
        began = time.monotonic()
    asker.join()
    assert time.monotonic() - began < 30.0
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("d2m-")]
    assert not backbone.finished
    assert small or not read
    # Nobody holds the desk.
    backbone.seconds = 0.0
    with desk.shared(print):
        assert desk.alone(lambda: 7) == 7
        assert len(desk.draw(condition(1.0), condition(0.0), [1], None, SAMPLING)) == 1


def test_who_reads_a_text_comes_before_the_next_batch_and_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Waiting(Slow):
        """Draws its first batch until both others have asked."""

        def generate(self, *given: Any) -> Draw:
            self.begun.set()
            if not self.finished:
                wait_until(lambda: desk._asked.qsize() == 2)
            return super().generate(*given)

    def a_moment(seconds: float) -> None:
        assert 0.0 < seconds < 1.0
        wait_until(lambda: desk._asked.qsize() == 1)

    backbone: Any = Waiting(0.0)
    desk = Desk(backbone, 4)
    monkeypatch.setattr(desk_module, "time", SimpleNamespace(sleep=a_moment))

    def ask(number: int) -> None:
        assert number == 0 or backbone.begun.wait(10.0)
        if number == 2:
            assert desk.alone(lambda: threading.current_thread().name) == "d2m-drawing"
        desk.draw(condition(1.0), condition(0.0), [10 * number, 10 * number + 1], None, SAMPLING)

    with desk.shared(print):
        at_once(ask, 3)
    assert backbone.finished == [(0, 1, 1, 1), (10, 11, 20, 21)]


def test_what_a_call_raises_comes_to_who_made_it() -> None:
    for rows in (None, 2):
        desk = Desk(Sums(), rows)  # type: ignore[arg-type]
        with desk.shared(print):
            with pytest.raises(ZeroDivisionError):
                desk.alone(lambda: 1 // 0)
            assert desk.alone(lambda: torch.is_inference_mode_enabled())
