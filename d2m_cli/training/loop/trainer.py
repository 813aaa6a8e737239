"""The training of both encoders through the frozen backbone (Sec. 3.1): Eq. 2 for diffusion, Eq. 3 for codebooks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from d2m_cli.backbones.base import parameters_digest
from d2m_cli.errors import TrainingError, UsageError
from d2m_cli.ground.options import option
from d2m_cli.ground.progress import Progress
from d2m_cli.inversion.checkpoint import Encoders
from d2m_cli.inversion.prompt import training_prompt
from d2m_cli.training.loop.logs import EPOCHS, UPDATES, Events, State, Table
from d2m_cli.training.loop.processes import asked_to_stop, shared
from d2m_cli.training.loop.schedule import Chance, learning_rate, perturbed, updates_per_epoch, windows_of
from d2m_cli.training.loop.task import Course, Task
from d2m_cli.training.loop.validation import window_losses
from d2m_cli.training.loop.warm_start import warm_start
from d2m_cli.training.result_folder import ENCODERS_NAME, EPOCHS_NAME, STATE_NAME, UPDATES_NAME

if TYPE_CHECKING:
    from accelerate import Accelerator


def train(
    task: Task,
    out: Path,
    accelerator: Accelerator,
    progress: Progress,
    *,
    checkpoint_seconds: float = 300.0,
    after_epoch: Callable[[int, Encoders], None] | None = None,
) -> Course:
    """Train encoders, or go on where an interrupted training of the same settings stopped.

    Parameters
    ----------
    task
        What is trained on what.
    out
        Folder of the state, the logs and `encoders.safetensors`.
    accelerator
        From `make_accelerator`.
    progress
        Told how it goes.
    checkpoint_seconds
        How long a state is at most behind when the process is killed; it is also written after each epoch.
    after_epoch
        Called in the main process with the number of the epoch, from 1, and the encoders as they are.

    Raises
    ------
    TrainingError
        The loss is not a number any more, or the backbone changed.
    UsageError
        `out` holds a training with other settings.
    OutputError
        Something can't be written.
    KeyboardInterrupt
        Interrupted or told to end; the state is written before.
    """
    run = _Run(task, out, accelerator, progress, checkpoint_seconds, after_epoch)
    if not run.state.finished:
        run.go()
    return run.close()


class _Words(nn.Module):
    """The encoders as one network with one forward pass, which is what data parallel training wraps."""

    def __init__(self, encoders: Encoders) -> None:
        super().__init__()
        self.encoders = encoders

    def forward(self, sequences: Tensor, genres: Sequence[str] | Tensor | None) -> dict[str, Tensor]:
        return self.encoders.pseudo_words(sequences, genres)


class _Run:
    """One process's part of a training."""

    def __init__(
        self,
        task: Task,
        out: Path,
        accelerator: Accelerator,
        progress: Progress,
        checkpoint_seconds: float,
        after_epoch: Callable[[int, Encoders], None] | None,
    ) -> None:
        self.task, self.options, self.out = task, task.options, out
        self.accelerator, self.progress = accelerator, progress
        self.checkpoint_seconds, self.after_epoch = checkpoint_seconds, after_epoch
        self.each = updates_per_epoch(len(task.training), self.options, accelerator.num_processes)
        self.updates = self.each * self.options.epochs
        self.state = self._find_state()
        self.began = time.monotonic() - self.state.seconds
        torch.manual_seed(self.options.seed)
        encoders = Encoders(task.config)
        if task.start is not None:
            encoders.load_state_dict(task.start.state_dict())
        if self.state.networks is not None:
            encoders.load_state_dict(self.state.networks)
        # Random weights are drawn on the CPU, the same everywhere; first vectors are learned where the rest is.
        encoders.to(accelerator.device).requires_grad_(True).train()
        if self.state.networks is None and self.options.warm_updates > 0 and task.start is None:
            rhythm, genre = warm_start(encoders, task.backbone, task.training, self.options, progress)
            progress.say(f"first vectors from words: '*' explains {rhythm:.0%} of them, '@' {genre:.0%}")
        optimizer: Any = torch.optim.AdamW(
            encoders.parameters(),
            lr=self.options.learning_rate,
            betas=(self.options.beta1, self.options.beta2),
            weight_decay=self.options.weight_decay,
        )
        self.model, self.optimizer = accelerator.prepare(_Words(encoders), optimizer)
        if self.state.optimizer is not None:
            self.optimizer.load_state_dict(self.state.optimizer)
        if self.state.scaler is not None and accelerator.scaler is not None:
            accelerator.scaler.load_state_dict(self.state.scaler)
        self.encoders = encoders
        self.average = _average(self.encoders, self.options.ema)
        if self.average is not None and self.state.average is not None:
            self.average.load_state_dict(self.state.average)
        task.backbone.ready_for_training(self.options.precision)
        # Of this process: on another device a training goes on with weights held in another precision. That the files
        # are the same as before is told by the fingerprint in the configuration.
        self.state.frozen = parameters_digest(task.backbone.modules())

    def _find_state(self) -> State:
        digest = self.task.digest(self.accelerator.num_processes)
        path = self.out / STATE_NAME
        if not path.is_file():
            return State(digest)
        state = State.load(path)
        if state.settings != digest:
            raise UsageError(
                f"{self.out} holds a training with other settings or other data: choose another folder with "
                f"{option('out')}, or start again there with {option('overwrite', True)}"
            )
        return state

    @property
    def measured(self) -> Encoders:
        """The encoders that are validated and saved."""
        return self.encoders if self.average is None else self.average.module

    @property
    def main(self) -> bool:
        return bool(self.accelerator.is_main_process)

    # The course.

    def open_logs(self) -> None:
        """Logs as they were at the state that this goes on from."""
        update = self.state.update
        self.table = Table(self.out / UPDATES_NAME, UPDATES, update)
        self.epochs = Table(self.out / EPOCHS_NAME, EPOCHS, update // self.each if update else -1)
        self.events = Events(self.out / "tensorboard", update)

    def go(self) -> None:
        """All updates that are left."""
        state = self.state
        if self.main:
            self.open_logs()
            if state.update == 0:
                self._measure(0)
        if state.update == 0:
            # From here on the first vectors are safe, and encoders.safetensors never stands without a state.
            self._save()
        saved = time.monotonic()
        try:
            with asked_to_stop() as asked, self.progress.stage("training", self.updates, state.update) as advance:
                while not state.finished:
                    loss = self._update()
                    advance(1, f"epoch {(state.update - 1) // self.each + 1} of {self.options.epochs}, loss {loss:.4f}")
                    if state.update % self.each == 0:
                        self._end_of_epoch()
                        saved = time.monotonic()
                    elif time.monotonic() - saved > self.checkpoint_seconds or asked():
                        self._save()
                        saved = time.monotonic()
                    if asked():
                        raise KeyboardInterrupt
        finally:
            if self.main:
                self.events.close()

    def _update(self) -> float:
        """One update of the weights; its loss, the mean over all windows of this process."""
        state, options = self.state, self.options
        begun = time.perf_counter()
        rank = self.accelerator.process_index
        chosen = windows_of(state.update, len(self.task.training), options, self.accelerator.num_processes)[rank]
        rate = learning_rate(state.update, self.updates, options)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        total = 0.0
        for part, index in enumerate(chosen):
            last = part == len(chosen) - 1
            with nullcontext() if last else self.accelerator.no_sync(self.model):
                loss = self._loss(index, Chance(options.seed, state.update, part, rank)) / len(chosen)
                self.accelerator.backward(loss)
            total += float(loss.item())
        if not math.isfinite(total):
            raise self._ran_away(f"the loss of update {state.update + 1} is {total}")
        limit = options.clip or math.inf
        norm = float(self.accelerator.clip_grad_norm_(self.model.parameters(), limit))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update_parameters(self.encoders)
        state.update += 1
        state.epoch_loss += total
        if self.main:
            epoch = (state.update - 1) // self.each + 1
            seconds = time.perf_counter() - begun
            row = (state.update, epoch, rate, total, norm, round(seconds, 4))
            self.table.add(dict(zip(UPDATES, row, strict=True)))
            self.events.add(state.update, {"loss": total, "gradient_norm": norm, "learning_rate": rate})
        return total

    def _ran_away(self, what: str) -> TrainingError:
        best = self.state.best is not None
        reached = f" What was reached before is in {self.out / ENCODERS_NAME}." if best else ""
        return TrainingError(
            f"{what}: start again ({option('overwrite', True)}) with a lower {option('learning_rate')}, with "
            f"{option('clip', 1)}, or with {option('precision', 'fp32')}.{reached}"
        )

    def _loss(self, index: NDArray[np.int64], chance: Chance) -> Tensor:
        options, config, backbone = self.options, self.task.config, self.task.backbone
        sequences, genres, targets = self.task.training.batch(index, self.accelerator.device)
        sequences = perturbed(sequences, chance, options.drop_peaks, options.jitter, config.grid.rate)
        sequences = sequences.to(self.accelerator.device)
        without = chance.numpy.random(len(index)) < options.genre_dropout
        prompts = [training_prompt(genre=not bare and genres is not None) for bare in without]
        with self.accelerator.autocast():
            words = self.model(sequences, genres)
            losses = backbone.loss(targets, backbone.embed(prompts, words), chance.noise, options.focus)
        loss = losses.mean()
        if self.accelerator.num_processes > 1:
            # Processes wait for each other's gradients of all parameters, also of "@" where no prompt has one.
            loss = loss + 0.0 * torch.stack([vectors.sum() for vectors in words.values()]).sum()
        return loss

    def _end_of_epoch(self) -> None:
        state = self.state
        epoch = state.update // self.each
        stop = state.update >= self.updates
        if self.main:
            loss = self._measure(epoch)
            patience = self.options.patience
            stop = stop or (patience > 0 and loss is not None and epoch - state.best_epoch >= patience)
            if self.after_epoch is not None:
                self.after_epoch(epoch, self.measured)
                self.measured.train()
        state.finished, state.epoch_loss = shared(stop, self.accelerator), 0.0
        self._save()

    def _measure(self, epoch: int) -> float | None:
        """Validate, keep the encoders if they are the best so far, and write the epoch down."""
        state, validation = self.state, self.task.validation
        loss = None
        if validation is not None:
            draws, precision = self.options.validation_draws, self.options.precision
            losses = window_losses(self.measured, self.task.backbone, validation, draws, precision=precision)
            loss = float(losses.mean())
            if not math.isfinite(loss):
                raise self._ran_away(f"the validation loss after update {state.update} is {loss}")
            self.events.add(state.update, {"validation_loss": loss})
        better = loss is None or loss < state.best_loss
        if better and epoch > 0:
            state.best_loss, state.best_epoch = loss if loss is not None else math.inf, epoch
            state.best = _copy(self.measured.state_dict())
            self.measured.save(self.out / ENCODERS_NAME)
        if epoch > 0 or loss is not None:
            training = state.epoch_loss / self.each if epoch else math.nan
            seconds = round(time.monotonic() - self.began, 1)
            row = (epoch, state.update, training, math.nan if loss is None else loss, state.best_epoch, seconds)
            self.epochs.add(dict(zip(EPOCHS, row, strict=True)))
            told = "" if loss is None else f", validation loss {loss:.4f}"
            head = f"epoch {epoch} of {self.options.epochs}: loss {training:.4f}" if epoch else "before training"
            self.progress.say(f"{head}{told}{' (best so far)' if better and epoch and loss is not None else ''}")
        return loss

    def _save(self) -> None:
        state = self.state
        state.seconds = time.monotonic() - self.began
        if self.main:
            state.networks = _copy(self.encoders.state_dict())
            state.optimizer = self.optimizer.state_dict()
            state.average = _copy(self.average.state_dict()) if self.average is not None else None
            state.scaler = self.accelerator.scaler.state_dict() if self.accelerator.scaler is not None else None
            state.save(self.out / STATE_NAME)

    def close(self) -> Course:
        """Check that the backbone is as it was, and hand over the best encoders."""
        state = self.state
        if parameters_digest(self.task.backbone.modules()) != state.frozen:
            raise TrainingError("the backbone's weights changed during training: a bug of d2m; please report it")
        best = shared(state.best, self.accelerator)
        if best is not None:
            self.encoders.load_state_dict(best)
        self.encoders.eval().requires_grad_(False)
        epochs = math.ceil(state.update / self.each)
        return Course(
            self.encoders, state.update, epochs, state.best_epoch, epochs < self.options.epochs, state.frozen,
            state.seconds,
        )  # fmt: skip


def _average(encoders: Encoders, decay: float) -> Any:
    if decay == 0.0:
        return None
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    mean: Any = get_ema_multi_avg_fn
    return AveragedModel(encoders, multi_avg_fn=mean(decay))


def _copy(tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.detach().cpu().clone() for name, value in tensors.items()}
