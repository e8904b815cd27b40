"""The loop: a recipe and a folder -> trained weights; the same for every task, on one device or several."""

import math
import shlex
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn

from meisho.arrays import Float32Array, Int64Array
from meisho.errors import ConfigError, DivergedError, ImageError, InterruptedRunError
from meisho.progress import Progress, silent
from meisho.training.augmentation import change_batch
from meisho.training.data import TrainingData
from meisho.training.distribution import gradient_norm, is_any_process
from meisho.training.divergence import Fault, explain_gradients, explain_losses, first_fault, save_batch
from meisho.training.ema import MovingAverage
from meisho.training.history import BoardWriter, EpochRecord, plot_history, write_history
from meisho.training.interruption import Interruption, noted_signals
from meisho.training.loading import BatchLoader, LoadedPart
from meisho.training.mining import count_tuples, mine_tuples
from meisho.training.network import Losses, TrainingNetwork
from meisho.training.optimiser import make_optimiser, parameter_groups, set_rates
from meisho.training.recipe import Recipe
from meisho.training.schedule import (
    freeze_parameters,
    frozen_names,
    nearest_name,
    rate_factor,
    size_at,
    unknown_names,
)
from meisho.training.skipped import SkippedPhotos
from meisho.training.state import STATE_FOLDER, Position, RunState, load_state, save_state, save_tensors
from meisho.training.task import Scores, Task
from meisho.training.teacher import Teacher, follow_average, load_teacher
from meisho.training.validation import describe_rows

Say = Callable[[str], None]

_LOWEST_SCALE = 1e-4  # of fp16's loss: gradients that overflow in spite of it are beyond 1e8


@dataclass(frozen=True, eq=False)
class Batch:
    """A part of a batch on the device."""

    images: Tensor
    labels: Tensor
    rows: Tensor


class Loop:
    """Trains one network to the end of its recipe.

    Args:
        recipe: What to do.
        folder: Where the run is kept.
        data: Photos.
        task: What is trained.
        accelerator: Accelerate's: devices, precision, processes.
        say: Called with one line for people after each epoch.
        tick: Called with a stage, how much of it is done, and how much there is.

    Attributes:
        progress: Where it stands.
        skipped: Photos that cannot be read.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        data: TrainingData,
        task: Task,
        accelerator: Any,
        *,
        say: Say = lambda line: None,
        tick: Progress = silent,
    ) -> None:
        self._recipe, self._folder, self._data, self._task = recipe, folder, data, task
        self._accelerator, self._say, self._tick = accelerator, say, tick
        if accelerator.num_processes > 1 and recipe.hardware.sync_batch_norm:
            _synchronise_batch_norms(task, accelerator.device)
        self._network = _on_device(task.network, recipe, accelerator)
        decay = recipe.schedule.ema_decay
        self._average = None if decay is None else MovingAverage(self._network, decay)
        self._teacher = self._make_teacher()
        optimiser = make_optimiser(
            parameter_groups(task.backbone, task.rest, recipe.optimiser), recipe.optimiser
        )
        self._loader = BatchLoader(
            data.train,
            recipe,
            task.traits,
            rank=accelerator.process_index,
            num_ranks=accelerator.num_processes,
            pin_memory=accelerator.device.type == "cuda",
        )
        self._spread = _spread_parameters(self._network)
        freeze_parameters(self._network, task.frozen)  # processes need not exchange what never trains
        self._model, self._optimiser = accelerator.prepare(_wrapped(self._network, recipe), optimiser)
        self._board = BoardWriter(folder / "board") if accelerator.is_main_process else None
        self.progress = Position()
        self.skipped = SkippedPhotos(folder, data.num_photos, find_all=_command_to_find_all(recipe), say=say)
        self._unreadable: list[ImageError] = []  # since the last were noted
        self._interruption = Interruption()
        self._steps_per_epoch = [self._loader.count_batches(e) for e in range(recipe.schedule.epochs)]
        self._check_freezes()

    @property
    def network(self) -> nn.Module:
        """What is validated and saved: the moving average where there is one."""
        return self._network if self._average is None else self._average.network

    @property
    def num_steps(self) -> int:
        """Optimiser steps of the whole training."""
        return sum(self._steps_per_epoch)

    def resume(self) -> None:
        """Go on from the state in the folder.

        Raises:
            InputError: There is none, or it does not fit.
        """
        self.progress, updates = load_state(self._folder / STATE_FOLDER, self._state())
        if self._average is not None:
            self._average.num_updates = updates
        self.skipped.resume()
        self._say(self._describe_start())

    def _describe_start(self) -> str:
        progress = self.progress
        steps = f"step {progress.step} of {self.num_steps}"
        if progress.epoch == self._recipe.schedule.epochs or self._is_stale():
            return f"this run has ended already, after epoch {progress.epoch} ({steps})"
        if progress.step_in_epoch:
            return f"resumed within epoch {progress.epoch + 1}, after {steps}"
        return f"resumed after epoch {progress.epoch} ({steps})"

    def run(self) -> None:
        """Train until the last epoch, or until validation has not improved for long enough.

        Raises:
            DivergedError: A loss or gradient is not a number; the batch is saved.
            InterruptedRunError: SIGINT or SIGTERM came; the state after the last step is saved.
            KeyboardInterrupt: Another came; the state is that of the last save.
        """
        with noted_signals(self._say) as self._interruption:
            try:
                self._train()
            finally:
                self._loader.close()
                if self._board is not None:
                    self._board.close()

    def _train(self) -> None:
        self._loader.look_up()
        can_measure = self._data.validation is not None or len(self._data.accuracy) > 0
        is_new = self.progress.step == 0 and not self.progress.history
        if is_new and can_measure and self._recipe.validation.at_start:
            self._loader.start()
            self._finish_epoch(_untrained_record(self._first_size()), is_start=True)
        while self.progress.epoch < self._recipe.schedule.epochs and not self._is_stale():
            self._stop_if_asked()
            record = self._train_epoch()
            self.progress = self.progress.next_epoch()
            self._finish_epoch(record)
        if self._is_stale() and self.progress.epoch < self._recipe.schedule.epochs:
            self._say(
                f"stopped early: {self.progress.validations_since_best} validations without a better mAP"
            )

    # --- one epoch

    def _train_epoch(self) -> EpochRecord:
        epoch, schedule = self.progress.epoch, self._recipe.schedule
        self._task.start_epoch(self._network)
        freeze_parameters(self._network, self._frozen(epoch))
        size_px = size_at(epoch, schedule.sizes)
        counted = time.perf_counter()
        self._mine()
        progress = self.progress
        batches = self._loader.load(epoch, size_px, first=progress.step_in_epoch, mined=progress.mined)
        while True:
            asked = time.perf_counter()
            parts = next(batches, None)
            if parts is None:
                break
            progress.waited += time.perf_counter() - asked
            self._unreadable += [error for part in parts for error in part.unreadable]
            self._note_norm(self._step(parts))
            progress.num_photos += sum(len(part.rows) for part in parts) * self._accelerator.num_processes
            now = time.perf_counter()
            progress.seconds, counted = progress.seconds + now - counted, now
            self._tick("train", self.progress.step, self.num_steps)
            self._save_now_and_then()
            self._stop_if_asked()
        steps = max(self._steps_per_epoch[epoch], 1)
        seconds = max(progress.seconds, 1e-9)  # of an epoch without a step
        total, head, pairs, other = (value / steps for value in progress.loss_sums)
        return EpochRecord(
            epoch=epoch + 1,
            step=self.progress.step,
            size_px=size_px,
            rate=self._optimiser.param_groups[-1]["lr"],
            loss=total,
            head_loss=head,
            pair_loss=pairs,
            other_loss=other,
            accuracy=math.nan,
            validation_map=math.nan,
            gradient_norm=progress.norm_sum / progress.num_norms if progress.num_norms else math.nan,
            images_per_second=progress.num_photos / seconds,
            waiting=progress.waited / seconds,
            seconds=progress.seconds,
            validation_seconds=0.0,
        )

    def _note_norm(self, norm: float) -> None:
        if math.isfinite(norm):
            self.progress.norm_sum += norm
            self.progress.num_norms += 1

    def _mine(self) -> None:
        """Mine the tuples of this epoch where the recipe says so, unless a resumed run has them."""
        mining, progress, train = self._recipe.mining, self.progress, self._data.train
        if mining.num_negatives == 0 or progress.mined:
            return
        mined = torch.empty(count_tuples(train.classes, mining), mining.num_negatives + 2, dtype=torch.int64)
        if self._accelerator.is_main_process:
            extractor = self._task.extractor(self._network, self._extraction_device)

            def describe(rows: Int64Array) -> Float32Array:
                workers, note = self._recipe.hardware.workers, self._unreadable.append
                described, places = describe_rows(train, rows, extractor, num_workers=workers, on_error=note)
                vectors = np.zeros((len(rows), extractor.dim), np.float32)  # near to nothing
                vectors[places] = described.vectors
                return vectors

            self._tick("mine", 0, 1)
            rng = np.random.default_rng([self._recipe.seed, 2, progress.epoch])
            mined = torch.from_numpy(mine_tuples(train.classes, describe, mining, rng))
            self._tick("mine", 1, 1)
        progress.mined = self._tell(mined).flatten().tolist()

    def _step(self, parts: tuple[LoadedPart, ...]) -> float:
        """Do one optimiser step; returns the gradient's norm, not finite where fp16 left the step out."""
        set_rates(self._optimiser, self._rate_factor())
        self._seed_step()
        sums = torch.zeros(4, device=self._accelerator.device)
        for number, part in enumerate(parts, start=1):
            batch = self._to_device(part)
            is_last = number == len(parts)
            with nullcontext() if is_last else self._accelerator.no_sync(self._model):
                with self._accelerator.autocast():
                    losses = self._model(batch.images, batch.labels, self._teach(batch.images))
                self._check_losses(losses, batch)
                self._accelerator.backward(losses.total / len(parts))
            sums += losses.values() / len(parts)
        norm = self._clip_gradients(batch, float(sums[0]))
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        if self._average is not None and math.isfinite(norm):
            self._average.update(self._network)
        progress = self.progress
        progress.loss_sums = [a + b for a, b in zip(progress.loss_sums, sums.tolist(), strict=True)]
        progress.step += 1
        progress.step_in_epoch += 1
        return norm

    def _seed_step(self) -> None:
        """Seed what networks draw, such as dropout: otherwise in each process, the same after `resume`."""
        numbers = [self._recipe.seed, 3, self._accelerator.process_index, self.progress.step]
        torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))

    def _rate_factor(self) -> float:
        schedule = self._recipe.schedule
        warmup = round(schedule.warmup_epochs * self._steps_per_epoch[0])
        return rate_factor(self.progress.step, self.num_steps, warmup_steps=warmup, end=schedule.end)

    def _to_device(self, part: LoadedPart) -> Batch:
        device = self._accelerator.device
        images = part.images.to(device, non_blocking=True)
        if part.changes is not None:
            traits = self._task.traits
            images = change_batch(images, part.changes, mean=traits.mean, std=traits.std)
        if self._recipe.hardware.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        return Batch(images, part.labels.to(device, non_blocking=True), part.rows)

    def _teach(self, images: Tensor) -> Tensor | None:
        return None if self._teacher is None else self._teacher(images)

    def _clip_gradients(self, batch: Batch, loss: float) -> float:
        optimiser = self._recipe.optimiser
        self._accelerator.unscale_gradients(self._optimiser)
        spread = {id(p) for p in self._spread}
        everywhere = [p for p in self._network.parameters() if id(p) not in spread]
        norm = float(gradient_norm(everywhere, self._spread))
        if not math.isfinite(norm):
            scale = None if self._accelerator.scaler is None else float(self._accelerator.scaler.get_scale())
            if scale is None or scale < _LOWEST_SCALE:
                self._stop_diverged(explain_gradients(self._network, loss, scale=scale), batch)
            return norm  # fp16: the scaler leaves this step out and lowers its factor
        if optimiser.clip_norm is not None and norm > optimiser.clip_norm:
            for parameter in self._network.parameters():
                if parameter.grad is not None:
                    parameter.grad.mul_(optimiser.clip_norm / norm)
        return norm

    # --- what may go wrong

    def _check_losses(self, losses: Losses, batch: Batch) -> None:
        if is_any_process(~torch.isfinite(losses.total.detach())):
            ids = self._ids(batch)
            self._stop_diverged(explain_losses(self._network, batch.images, batch.labels, ids, losses), batch)

    def _ids(self, batch: Batch) -> list[str]:
        return [self._data.train.photo(row).id for row in batch.rows.tolist()]

    def _stop_diverged(self, fault: Fault, batch: Batch) -> None:
        """Save the batch and raise; all processes come here, in the same step."""
        progress, fault, rank = self.progress, first_fault(fault), self._accelerator.process_index
        facts = {
            "cause": fault.cause,
            "loss": str(fault.loss),
            "epoch": progress.epoch,
            "step": progress.step,
            "rates": {g["name"]: g["lr"] for g in self._optimiser.param_groups},
        }
        place = save_batch(self._folder, batch.images, batch.labels, self._ids(batch), facts, rank=rank)
        self._accelerator.wait_for_everyone()  # a launcher ends the others when the first one has
        weights = "no weights were saved before"
        if progress.history:
            weights = f"the weights of the epoch before are in {self._folder / 'last'}"
        raise DivergedError(
            f"training stopped at step {progress.step} of epoch {progress.epoch + 1}: loss {fault.loss}; "
            f"{fault.cause}. The batch is in {place}; {weights}"
        )

    def _check_freezes(self) -> None:
        full = self._task.parameter_name
        for name in [name for freeze in self._recipe.schedule.freezes for name in freeze.names]:
            if unknown_names(self._network, [full(name)]):
                names = [n for n, _ in self._network.named_parameters()]
                short = [n.partition(".")[2] for n in names]  # as recipes have it, where that is the same
                said = [s if full(s) == n else n for s, n in zip(short, names, strict=True)]
                raise ConfigError(
                    f"schedule.freezes: no parameter's name begins with {name!r}; {nearest_name(name, said)}"
                )

    # --- after an epoch

    def _finish_epoch(self, record: EpochRecord, *, is_start: bool = False) -> None:
        done = self.progress.epoch
        started = time.perf_counter()
        if is_start or self._is_validated(done):
            scores = self._validate()
            record = replace(
                record,
                validation_map=scores.retrieval,
                accuracy=scores.accuracy,
                validation_seconds=time.perf_counter() - started,
            )
            self._note_scores(scores)
        self.progress.history.append(record)
        if self._accelerator.is_main_process:
            self._task.save(self.network, self._folder / "last")
            if self.progress.best_epoch == done:
                self._task.save(self.network, self._folder / "best")
            write_history(self.progress.history, self._folder / "history.csv")
            plot_history(self.progress.history, self._folder / "curves.png")
            if self._board is not None:
                self._board.write(record)
        self.save()
        is_best = self.progress.best_epoch == done
        left = self._seconds_left(record)
        self._say(describe_record(record, is_best=is_best, seconds_left=left, num_skipped=len(self.skipped)))

    def _seconds_left(self, record: EpochRecord) -> float:
        """Estimate by the epoch that has ended how long the others will take; NaN before the first."""
        epochs, every = self._recipe.schedule.epochs, self._recipe.validation.every_epochs
        pixels = [
            size_at(e, self._recipe.schedule.sizes) ** 2 * n for e, n in enumerate(self._steps_per_epoch)
        ]
        if record.epoch == 0 or record.epoch == epochs:
            return math.nan
        validations = math.ceil((epochs - record.epoch) / every)
        training = record.seconds * sum(pixels[record.epoch :]) / max(pixels[record.epoch - 1], 1)
        return training + validations * record.validation_seconds

    def _validate(self) -> Scores:
        network, accelerator = self.network, self._accelerator
        head = getattr(network, "head", None)
        weight = head.full_weight() if head is not None and head.shard is not None else None
        scores = [math.nan, math.nan]
        if accelerator.is_main_process:
            found = self._task.validate(
                network,
                self._extraction_device,
                weight=weight,
                progress=lambda done, total: self._tick("validate", done, total),
            )
            scores = [found.retrieval, found.accuracy]
            self._unreadable += found.unreadable
        return Scores(*self._tell(torch.tensor(scores, dtype=torch.float64)).tolist())

    @property
    def _extraction_device(self) -> torch.device:
        device: torch.device = self._accelerator.device
        return device if device.type == "cuda" else torch.device("cpu")

    def _tell(self, values: Tensor) -> Tensor:
        """Return the first process's values in every process."""
        from accelerate.utils import broadcast

        told: Tensor = broadcast(values.to(self._accelerator.device))
        return told.cpu()

    def _note_scores(self, scores: Scores) -> None:
        """Keep the best; where nothing is held out, the last is the best."""
        progress = self.progress
        is_best = math.isnan(scores.retrieval) or progress.best is None or scores.retrieval > progress.best
        progress.validations_since_best = 0 if is_best else progress.validations_since_best + 1
        if is_best:
            progress.best_epoch = progress.epoch
            progress.best = None if math.isnan(scores.retrieval) else scores.retrieval

    def _is_stale(self) -> bool:
        patience = self._recipe.validation.patience
        return patience is not None and self.progress.validations_since_best >= patience

    def save(self) -> None:
        """Save the state for `resume`; a kill leaves the one before, of the same step in all processes."""
        folder, state = self._folder / STATE_FOLDER, self._state()
        if self._accelerator.is_main_process or self._spread:
            save_tensors(folder, state, self.progress)
        self._accelerator.wait_for_everyone()
        if self._accelerator.is_main_process:
            updates = 0 if self._average is None else self._average.num_updates
            save_state(folder, state, self.progress, num_updates=updates)
        self._accelerator.wait_for_everyone()
        self.skipped.note(self._unreadable)
        self._unreadable = []

    def _save_now_and_then(self) -> None:
        """Save after so many steps, and before a validation, which may be long."""
        progress, every = self.progress, self._recipe.hardware.save_every_steps
        is_due = every is not None and progress.step % every == 0
        is_last = progress.step_in_epoch == self._steps_per_epoch[progress.epoch]
        if is_due or (is_last and self._is_validated(progress.epoch + 1)):
            self.save()

    def _is_validated(self, epochs: int) -> bool:
        """Return whether there is a validation after so many epochs."""
        return epochs % self._recipe.validation.every_epochs == 0 or epochs == self._recipe.schedule.epochs

    def _stop_if_asked(self) -> None:
        """Save and raise where a signal came to any process; all of them come here, after the same step."""
        if is_any_process(torch.tensor(self._interruption.is_asked, device=self._accelerator.device)):
            self.save()
            raise InterruptedRunError(
                f"training was stopped after step {self.progress.step} of {self.num_steps}; the run is kept "
                f"up to there in {self._folder}"
            )

    # --- parts

    def _state(self) -> RunState:
        networks = {"network": self._network}
        if self._average is not None:
            networks["average"] = self._average.network
        optimiser = getattr(self._optimiser, "optimizer", self._optimiser)
        accelerator = self._accelerator
        rank, num_ranks = (accelerator.process_index, accelerator.num_processes) if self._spread else (0, 1)
        return RunState(networks, optimiser, accelerator.scaler, rank, num_ranks)

    def _make_teacher(self) -> Teacher | None:
        teacher = self._recipe.distillation.teacher
        if teacher == "none":
            return None
        if teacher == "self":
            assert self._average is not None  # the recipe was checked
            return follow_average(self._average.network)
        return load_teacher(teacher, self._task.traits, self._accelerator.device)

    def _frozen(self, epoch: int) -> tuple[str, ...]:
        names = frozen_names(epoch, self._recipe.schedule.freezes)
        return (*self._task.frozen, *(self._task.parameter_name(name) for name in names))

    def _first_size(self) -> int:
        return size_at(0, self._recipe.schedule.sizes)


def _on_device(network: nn.Module, recipe: Recipe, accelerator: Any) -> nn.Module:
    if recipe.hardware.channels_last:
        network = network.to(memory_format=torch.channels_last)
    moved: nn.Module = network.to(accelerator.device)
    return moved


def _synchronise_batch_norms(task: Task, device: torch.device) -> None:
    """Let batch norms see the whole batch; torch can do so on GPUs only.

    Not torch's conversion: it drops the activation that timm keeps inside of batch norms.
    """
    if device.type == "cuda":
        for part in (task.backbone, *task.rest.children()):
            convert_sync_batchnorm(part)  # in place, but for the neck, which sees the whole batch by itself


def _wrapped(network: nn.Module, recipe: Recipe) -> nn.Module:
    """Prepare for DistributedDataParallel and torch.compile, in place."""
    spread = _spread_parameters(network)
    if spread:
        ids = {id(p) for p in spread}
        names = [name for name, p in network.named_parameters() if id(p) in ids]
        ignore: Any = nn.parallel.DistributedDataParallel._set_params_and_buffers_to_ignore_for_model
        ignore(network, names)
    if recipe.hardware.compile and isinstance(network, TrainingNetwork):
        network.descriptor.compile()
    return network


def _spread_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of which each process holds another part."""
    head = getattr(network, "head", None)
    return [head.weight] if head is not None and head.shard is not None else []


def _duration(seconds: float) -> str:
    hours, minutes = seconds / 3600, seconds / 60
    return f"{hours:.1f} h" if hours >= 2 else f"{minutes:.0f} min" if minutes >= 2 else f"{seconds:.0f} s"


def _untrained_record(size_px: int) -> EpochRecord:
    values = dict.fromkeys(EpochRecord.__dataclass_fields__, math.nan)
    return EpochRecord(**{**values, "epoch": 0, "step": 0, "size_px": size_px})  # type: ignore[arg-type]


def _command_to_find_all(recipe: Recipe) -> str:
    data = recipe.data
    return f"meisho datasets stats {data.dataset} --root {shlex.quote(str(data.root))} --photos"


def describe_record(
    record: EpochRecord, *, is_best: bool = False, seconds_left: float = math.nan, num_skipped: int = 0
) -> str:
    """Say one epoch in one line, and how long it is until the end where that is known."""
    parts = [f"epoch {record.epoch:3d}"]
    if not math.isnan(record.loss):
        parts.append(f"{record.size_px} px  loss {record.loss:.4f}")
    if not math.isnan(record.validation_map):
        parts.append(f"mAP {100 * record.validation_map:.2f}{' *' if is_best else '  '}")
    if not math.isnan(record.accuracy):
        parts.append(f"closed-set accuracy {100 * record.accuracy:.1f} %")
    if not math.isnan(record.images_per_second):
        parts.append(
            f"{record.images_per_second:.1f} images/s  {100 * record.waiting:.0f} % waiting for data"
        )
    if num_skipped:
        parts.append(f"photos skipped: {num_skipped}")
    if not math.isnan(seconds_left):
        parts.append(f"{_duration(seconds_left)} to go")
    return "  ".join(parts)
