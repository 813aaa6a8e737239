"""The course of a training: what it learns, what it leaves alone, and how it goes on after it was cut off."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from d2m_cli.backbones.base import Condition, Draw, FullSampling
from d2m_cli.errors import OutputError, TrainingError, UsageError
from d2m_cli.ground.progress import Progress
from d2m_cli.inversion.checkpoint import EncoderConfig, Encoders
from d2m_cli.training.loop.logs import State, read_table
from d2m_cli.training.loop.processes import apart_from_others, make_accelerator, on_device
from d2m_cli.training.loop.task import Task
from d2m_cli.training.loop.trainer import train
from d2m_cli.training.loop.validation import other_songs, window_losses
from d2m_cli.training.options import TrainOptions
from d2m_cli.training.record import assess
from d2m_cli.training.result_folder import ENCODERS_NAME, STATE_NAME
from d2m_cli.training.samples import sampler
from tests.training.small import GRID, WIDTH, SmallBackbone, windows
from tests.waiting import wait_until

OPTIONS = TrainOptions(epochs=4, batch_size=8, learning_rate=3e-3, beta2=0.98, clip=1.0, genre_dropout=0.25, samples=0)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The same number of threads in all processes: sums in another order differ in the last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def config(**changes: Any) -> EncoderConfig:
    base = EncoderConfig("small", "5" * 64, WIDTH, GRID, hidden=64)
    return replace(base, **changes)


def task(options: TrainOptions = OPTIONS, **changes: Any) -> Any:
    return Task(SmallBackbone(), config(**changes), windows(96, 1), windows(36, 2), options)


def go(one: Task, out: Path, **options: Any):
    return train(one, out, make_accelerator(one.options, "cpu"), Progress(quiet=True), **options)


def curve(out: Path) -> list[tuple[str, ...]]:
    return [(row["update"], row["epoch"], row["loss"], row["gradient_norm"]) for row in read_table(out / "updates.csv")]


@pytest.mark.slow
def test_encoders_learn_and_constant_vectors_can_not(tmp_path: Path) -> None:
    options = replace(OPTIONS, epochs=12, batch_size=16)
    validation, much = windows(36, 2), windows(600, 1)
    course = go(replace(task(options), training=much), tmp_path / "mlp")
    own = window_losses(course.encoders, SmallBackbone(), validation, 4)
    other = window_losses(course.encoders, SmallBackbone(), validation, 4, other_songs(validation))
    fixed_task = replace(task(options, projector="constant", genre="constant"), training=much)
    constant = go(fixed_task, tmp_path / "constant")
    fixed = window_losses(constant.encoders, SmallBackbone(), validation, 4)
    # No constant does better than the spread of the targets around their mean, plus the variance of the noise.
    floor = float(validation.targets.float().var(0, unbiased=False).mean()) + 0.01
    assert fixed.mean() >= 0.9 * floor
    assert own.mean() < 0.6 * fixed.mean()
    assert other.mean() > own.mean() + 0.1


def test_backbone_is_left_as_it_was_and_prompts_are_the_papers(tmp_path: Path) -> None:
    one = task()
    before = one.backbone.network.weight.clone()
    course = go(one, tmp_path)
    assert torch.equal(one.backbone.network.weight, before)
    assert course.frozen == State.load(tmp_path / STATE_NAME).frozen
    with_genre, without = "a @ music with * as the rhythm", "a music with * as the rhythm"
    assert set(one.backbone.prompts) == {with_genre, without}
    trained = one.backbone.prompts
    assert 0.1 < trained.count(without) / len(trained) < 0.3


def test_a_changed_backbone_is_noticed(tmp_path: Path) -> None:
    one = task()

    def spoil(epoch: int, encoders: Encoders) -> None:
        one.backbone.network.weight[0, 0] += 1e-3

    with pytest.raises(TrainingError, match="weights changed"):
        go(one, tmp_path, after_epoch=spoil)


def test_same_seed_same_course_and_another_seed_another(tmp_path: Path) -> None:
    go(task(), tmp_path / "a")
    go(task(), tmp_path / "b")
    go(task(replace(OPTIONS, seed=1)), tmp_path / "c")
    assert curve(tmp_path / "a") == curve(tmp_path / "b") != curve(tmp_path / "c")
    assert len(curve(tmp_path / "a")) == 4 * 12


@pytest.mark.parametrize("cut", [1, 17, 24, 30])
def test_goes_on_after_a_cut_to_the_same_curve(tmp_path: Path, cut: int, monkeypatch: pytest.MonkeyPatch) -> None:
    options = replace(OPTIONS, ema=0.9, schedule="cosine", warmup=5, drop_peaks=0.1, jitter=0.02)
    whole, broken = task(options), task(options)
    go(whole, tmp_path / "whole")
    embed, calls = SmallBackbone.embed, [0]

    def fail(self, prompts, words):
        calls[0] += 1
        if calls[0] == cut + 6:  # five of them are the validation before training
            raise MemoryError
        return embed(self, prompts, words)

    monkeypatch.setattr(SmallBackbone, "embed", fail)
    with pytest.raises(MemoryError):
        go(broken, tmp_path / "broken", checkpoint_seconds=0.0)
    monkeypatch.undo()
    course = go(task(options), tmp_path / "broken", checkpoint_seconds=0.0)
    assert curve(tmp_path / "broken") == curve(tmp_path / "whole")
    for name in ("epoch", "validation_loss", "training_loss"):
        columns = [[row[name] for row in read_table(tmp_path / part / "epochs.csv")] for part in ("broken", "whole")]
        assert columns[0] == columns[1]
    one, two = (Encoders.load(tmp_path / part / ENCODERS_NAME).state_dict() for part in ("broken", "whole"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert course.updates == 48


@pytest.mark.slow
def test_killed_outright_it_goes_on_to_the_same_curve(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        import torch
        from tests.training import small
        from tests.training.loop import test_trainer
        torch.set_num_threads(1)
        embed = small.SmallBackbone.embed
        def halting(self, prompts, words):
            table = Path(sys.argv[1]) / "updates.csv"
            if table.is_file() and len(test_trainer.read_table(table)) >= 20:
                time.sleep(60)
            return embed(self, prompts, words)
        small.SmallBackbone.embed = halting
        test_trainer.go(test_trainer.task(), Path(sys.argv[1]), checkpoint_seconds=0.0)
        """
    )
    out = tmp_path / "killed"
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": "."}
    process = subprocess.Popen([sys.executable, "-c", script, str(out)], cwd=root, env=environment)
    table = out / "updates.csv"
    wait_until(lambda: process.poll() is not None or (table.is_file() and len(read_table(table)) >= 20))
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    go(task(), out)
    go(task(), tmp_path / "whole")
    assert curve(out) == curve(tmp_path / "whole")


def test_an_interrupt_lets_the_update_end_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embed, calls = SmallBackbone.embed, [0]

    def interrupted(self, prompts, words):
        calls[0] += 1
        if calls[0] == 20:
            os.kill(os.getpid(), signal.SIGTERM)
        return embed(self, prompts, words)

    monkeypatch.setattr(SmallBackbone, "embed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        go(task(), tmp_path / "a")
    done = State.load(tmp_path / "a" / STATE_NAME).update
    assert done == len(curve(tmp_path / "a")) > 0
    monkeypatch.undo()
    go(task(), tmp_path / "a")
    go(task(), tmp_path / "b")
    assert curve(tmp_path / "a") == curve(tmp_path / "b")


def test_accumulated_parts_are_one_larger_batch(tmp_path: Path) -> None:
    # With all data in one update, order does not matter; noise does, so it is taken away.
    def silent(self, targets, condition, generator=None, focus=0.0):
        return (self.network(condition.states[:, 0].float()) - targets).square().mean(1)

    results = []
    for batch, accumulate in ((96, 1), (24, 4)):
        options = replace(OPTIONS, epochs=2, batch_size=batch, accumulate=accumulate, genre_dropout=0.0, clip=0.0)
        one = task(options)
        one.backbone.loss = silent.__get__(one.backbone)
        out = tmp_path / str(batch)
        go(one, out)
        results.append([float(row["loss"]) for row in read_table(out / "updates.csv")])
    assert results[0] == pytest.approx(results[1], rel=1e-5)
    assert len(results[0]) == 2


def test_moving_average_is_what_is_kept(tmp_path: Path) -> None:
    torch.manual_seed(0)
    seen: list[torch.Tensor] = []
    options = replace(OPTIONS, epochs=1, ema=0.5, batch_size=32, genre_dropout=0.0)
    one = task(options)
    step = torch.optim.AdamW.step

    def record(self, *args, **kwargs):
        out = step(self, *args, **kwargs)
        seen.append(self.param_groups[0]["params"][1].detach().clone())
        return out

    torch.optim.AdamW.step = record
    try:
        course = go(one, tmp_path)
    finally:
        torch.optim.AdamW.step = step
    # Three updates; the first sets the average, each later one halves the way to the new weights.
    expected = 0.5 * (0.5 * seen[0] + 0.5 * seen[1]) + 0.5 * seen[2]
    names = [name for name, _ in course.encoders.named_parameters()]
    assert torch.allclose(dict(course.encoders.named_parameters())[names[1]], expected, atol=1e-6)


def test_stops_when_validation_no_longer_gets_better(tmp_path: Path) -> None:
    options = replace(OPTIONS, epochs=60, patience=2, learning_rate=0.05, genre_dropout=0.0)
    course = go(task(options), tmp_path)
    rows = read_table(tmp_path / "epochs.csv")
    losses = [float(row["validation_loss"]) for row in rows[1:]]
    assert course.stopped_early
    assert course.epochs == course.best_epoch + 2 == len(losses) < 60
    assert int(np.argmin(losses)) + 1 == course.best_epoch
    kept = window_losses(Encoders.load(tmp_path / ENCODERS_NAME), SmallBackbone(), windows(36, 2), 4)
    assert kept.mean() == pytest.approx(min(losses), rel=5e-3)  # the file is in half precision


def test_without_validation_the_last_encoders_are_kept(tmp_path: Path) -> None:
    one = replace(task(), validation=None)
    course = go(one, tmp_path)
    last = State.load(tmp_path / STATE_NAME).networks
    assert course.best_epoch == 4
    assert last is not None
    assert all(torch.equal(last[name], value) for name, value in course.encoders.state_dict().items())


def test_a_loss_that_is_no_number_ends_it_with_advice(tmp_path: Path) -> None:
    one = task()
    one.backbone.spoil_after = 12 + 12 + 12 + 8  # a validation takes 3 batches x 4 draws, an epoch 12 updates
    with pytest.raises(TrainingError, match=r"loss of update 21 is nan.*learning_rate"):
        go(one, tmp_path)
    assert len(curve(tmp_path)) == 20


def test_weights_that_are_no_numbers_are_never_the_result(tmp_path: Path) -> None:
    one = task(replace(OPTIONS, epochs=1, batch_size=96, learning_rate=1e30, clip=0.0))
    with pytest.raises(TrainingError, match=r"validation loss after update 1 is (nan|inf).*learning_rate"):
        go(one, tmp_path)
    assert not (tmp_path / ENCODERS_NAME).exists()


def test_first_vectors_outlast_a_cut_before_the_first_checkpoint(tmp_path: Path) -> None:
    def cut(epoch: int, encoders: Encoders) -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        go(task(), tmp_path / "cut", after_epoch=cut)
    # The encoders of epoch 1 are there, and a state to go on from beside them.
    assert (tmp_path / "cut" / ENCODERS_NAME).is_file()
    assert State.load(tmp_path / "cut" / STATE_NAME).networks is not None
    go(task(), tmp_path / "cut")
    go(task(), tmp_path / "whole")
    assert curve(tmp_path / "cut") == curve(tmp_path / "whole")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_told_when_the_state_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, _data: object) -> int:
        with open("/dev/full", "wb", buffering=0) as file:
            return file.write(b"x")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="disk is full"):
        State("settings").save(tmp_path / STATE_NAME)
    assert not list(tmp_path.iterdir())


def test_another_training_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    go(task(replace(OPTIONS, epochs=1)), tmp_path)
    with pytest.raises(UsageError, match="other settings or other data"):
        go(task(replace(OPTIONS, epochs=1, seed=3)), tmp_path)
    (tmp_path / STATE_NAME).write_bytes(b"nonsense")
    with pytest.raises(UsageError, match="overwrite=True"):
        go(task(replace(OPTIONS, epochs=1)), tmp_path)


def test_finished_training_is_not_done_again(tmp_path: Path) -> None:
    first = go(task(), tmp_path)
    before = (tmp_path / "updates.csv").stat().st_mtime_ns
    again = go(task(), tmp_path)
    assert (tmp_path / "updates.csv").read_text()
    assert (tmp_path / "updates.csv").stat().st_mtime_ns == before
    assert again.updates == first.updates
    for name, value in first.encoders.state_dict().items():
        assert torch.equal(value, again.encoders.state_dict()[name])


def test_fp16_without_cuda_is_refused() -> None:
    with pytest.raises(UsageError, match="precision='fp16' needs a CUDA device"):
        make_accelerator(replace(OPTIONS, precision="fp16"), "cpu")


class Noting(SmallBackbone):
    """Notes in what each loss is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.autocasts: list[tuple[bool, torch.dtype | None]] = []

    def loss(self, targets, condition, generator=None, focus=0.0):
        on = torch.is_autocast_enabled("cpu")
        # Validation keeps no gradients.
        self.autocasts.append((torch.is_grad_enabled(), torch.get_autocast_dtype("cpu") if on else None))
        return super().loss(targets, condition, generator, focus)


@pytest.mark.parametrize(("precision", "kind"), [("bf16", torch.bfloat16), ("fp32", None)])
def test_validation_computes_in_what_training_does(
    tmp_path: Path, precision: Literal["bf16", "fp32"], kind: torch.dtype | None
) -> None:
    one = replace(task(replace(OPTIONS, precision=precision, epochs=1)), backbone=Noting())
    course = go(one, tmp_path)
    assert set(one.backbone.autocasts) == {(True, kind), (False, kind)}
    # The record's figures are measured like those of the epochs.
    found = assess(one, course)
    assert found is not None
    assert found.loss == pytest.approx(float(read_table(tmp_path / "epochs.csv")[-1]["validation_loss"]), rel=1e-6)
    assert set(one.backbone.autocasts) == {(True, kind), (False, kind)}


def test_samples_leave_nothing_open_of_how_they_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, told = task(), []

    def generate(condition, negative, seeds, context=None, sampling=None):
        told.append(sampling)
        return Draw(torch.zeros(1, 1, 100), 8000)

    monkeypatch.setattr(one.backbone, "generate", generate)
    monkeypatch.setattr(one.backbone, "embed", lambda *_: Condition(torch.zeros(1, 1, 1)))
    sampler(one.backbone, one.validation, 2, tmp_path)(3, Encoders(one.config))
    assert told == [FullSampling(), FullSampling()]
    assert len(list((tmp_path / "samples" / "epoch-003").glob("*.wav"))) == 2


def test_a_notebooks_own_accelerator_is_left_as_it_was(tmp_path: Path) -> None:
    with apart_from_others():  # what the tests before left is no notebook's
        own = Accelerator(cpu=True, mixed_precision="no", gradient_accumulation_steps=4)
        model, optimizer = own.prepare(torch.nn.Linear(2, 1), torch.optim.SGD([torch.zeros(1, requires_grad=True)]))
        with apart_from_others():
            go(task(replace(OPTIONS, precision="bf16", epochs=1)), tmp_path)
        assert (own.mixed_precision, own.device.type, own.num_processes) == ("no", "cpu", 1)
        assert own.gradient_accumulation_steps == 4
        with own.accumulate(model), own.autocast():
            assert not torch.is_autocast_enabled("cpu")
            assert not own.sync_gradients
            own.backward(model(torch.ones(1, 2)).sum())
            optimizer.step()
        # A second one of the notebook's is of the same kind, and no other.
        assert Accelerator(mixed_precision="no", gradient_accumulation_steps=4).device.type == "cpu"
        with pytest.raises(ValueError, match="already been initialized"):
            Accelerator(mixed_precision="bf16")


def test_a_notebook_without_an_accelerator_may_choose_its_own(tmp_path: Path) -> None:
    with apart_from_others():
        with apart_from_others():
            go(task(replace(OPTIONS, precision="bf16", epochs=1)), tmp_path)
        assert Accelerator(cpu=True, mixed_precision="no").mixed_precision == "no"


def test_a_devices_number_is_meant_while_it_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[str] = []

    def choose(device: str) -> nullcontext[None]:
        chosen.append(device)
        return nullcontext()

    monkeypatch.setattr(torch.cuda, "device", choose)
    for device in ("cpu", "cuda", "cuda:1"):
        with on_device(device):
            pass
    assert chosen == ["cuda:1"]


def test_bf16_learns_too(tmp_path: Path) -> None:
    course = go(task(replace(OPTIONS, precision="bf16", epochs=10)), tmp_path)
    rows = read_table(tmp_path / "epochs.csv")
    assert float(rows[-1]["validation_loss"]) < 0.8 * float(rows[0]["validation_loss"])
    assert next(course.encoders.parameters()).dtype == torch.float32


def test_tensorboard_holds_the_curve(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    go(task(), tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    written = [(event.step, event.value) for event in events.Scalars("loss")]
    rows = read_table(tmp_path / "updates.csv")
    assert [step for step, _ in written] == [int(row["update"]) for row in rows]
    assert [value for _, value in written] == pytest.approx([float(row["loss"]) for row in rows], rel=1e-6)


@pytest.mark.slow
def test_two_processes_train_one_set_of_encoders(tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(
        textwrap.dedent(
            f"""
            from dataclasses import replace
            from pathlib import Path
            from d2m_cli.training.loop.processes import make_accelerator
            from d2m_cli.training.loop.trainer import train
            from d2m_cli.ground.progress import Progress
            from tests.training.loop.test_trainer import OPTIONS, task
            options = replace(OPTIONS, batch_size=1, genre_dropout=0.5)
            one = task(options)
            accelerator = make_accelerator(options, "cpu")
            course = train(one, Path({str(tmp_path / "out")!r}), accelerator, Progress(quiet=True))
            total = sum(float(value.double().sum()) for value in course.encoders.parameters())
            told = f"{{accelerator.num_processes}} {{total!r}} {{course.updates}}"
            Path({str(tmp_path)!r}, f"rank{{accelerator.process_index}}").write_text(told)
            """
        )
    )
    root = Path(__file__).parents[3]
    # What `accelerate launch` starts for several GPUs; it has no such mode for the CPU without MPI.
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    environment = {**os.environ, "PYTHONPATH": "."}
    with subprocess.Popen(command, cwd=root, env=environment, stderr=subprocess.PIPE, text=True) as launcher:
        try:
            _, errors = launcher.communicate(timeout=120)
        finally:
            launcher.terminate()  # It ends its workers, which a kill would leave behind.
    assert launcher.returncode == 0, errors[-2000:]
    told = [(tmp_path / f"rank{rank}").read_text().split() for rank in range(2)]
    assert told[0] == told[1]
    # 96 windows, one a process and two processes: 48 updates an epoch; often no prompt of a process has an "@".
    assert (told[0][0], told[0][2]) == ("2", "192")
    assert len(curve(tmp_path / "out")) == 192
