"""The loop: a recipe and a folder -> trained weights; the same for every task, on one device or several."""

import math
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor

from meisho.arrays import Float32Array, Int64Array
from meisho.describing import Describer
from meisho.errors import DivergedError, ImageError, InterruptedRunError
from meisho.extractors.machine import has_package
from meisho.progress import Progress, silent
from meisho.training.accelerator import Accelerator
from meisho.training.data import TrainingData
from meisho.training.distribution import is_any_process
from meisho.training.divergence import NotFiniteError, first_fault, save_batch
from meisho.training.history import BoardWriter, EpochRecord, describe_record, plot_history, write_history
from meisho.training.interruption import Interruption, noted_signals
from meisho.training.learner import Learner, StepResult
from meisho.training.loading import BatchLoader, LoadedPart
from meisho.training.meter import Stopwatch
from meisho.training.mining import count_tuples, mine_tuples
from meisho.training.recipe import Recipe
from meisho.training.schedule import check_freezes, frozen_names, rate_factor, size_at
from meisho.training.skipped import SkippedPhotos
from meisho.training.state import STATE_FOLDER, Position, load_state, save_state, save_tensors
from meisho.training.task import Scores, Task
from meisho.training.validation import describe_rows

Say = Callable[[str], None]
Show = Callable[[Sequence[EpochRecord]], None]


def show_nothing(records: Sequence[EpochRecord]) -> None:
    """Draw no curve."""


class Loop:
    """Trains one network to the end of its recipe.

    Args:
        recipe: What to do.
        folder: Where the run is kept.
        data: Photos.
        task: What is trained.
        accelerator: Devices, precision, processes.
        say: Called with one line for people after each epoch.
        tick: Called with a stage, how much of it is done, and how much there is.
        show: Called with the records of all epochs after each.

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
        accelerator: Accelerator,
        *,
        say: Say = lambda line: None,
        tick: Progress = silent,
        show: Show = show_nothing,
    ) -> None:
        self._recipe, self._folder, self._data, self._task = recipe, folder, data, task
        self._accelerator, self._say, self._tick, self._show = accelerator, say, tick, show
        self._learner = Learner(recipe, task, accelerator, data.train)
        self._loader = BatchLoader(
            data.train,
            recipe,
            task.traits,
            rank=accelerator.process_index,
            num_ranks=accelerator.num_processes,
            pin_memory=accelerator.device.type == "cuda",
        )
        self._board = BoardWriter(folder / "board") if accelerator.is_main_process else None
        self.progress = Position()
        self.skipped = SkippedPhotos(folder, data.num_photos, find_all=_command_to_find_all(recipe), say=say)
        self._unreadable: list[ImageError] = []  # since the last were noted
        self._interruption = Interruption()
        self._steps_per_epoch = [self._loader.count_batches(e) for e in range(recipe.schedule.epochs)]
        check_freezes(self._learner.network, recipe.schedule.freezes, task.parameter_name)

    @property
    def num_steps(self) -> int:
        """Optimiser steps of the whole training."""
        return sum(self._steps_per_epoch)

    def resume(self) -> None:
        """Go on from the state in the folder.

        Raises:
            InputError: There is none, or it does not fit.
        """
        self.progress, updates = load_state(self._folder / STATE_FOLDER, self._learner.state())
        if self._learner.average is not None:
            self._learner.average.num_updates = updates
        self.skipped.resume()
        self._show(tuple(self.progress.history))
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
            untrained = EpochRecord(epoch=0, step=0, size_px=size_at(0, self._recipe.schedule.sizes))
            self._finish_epoch(untrained, is_start=True)
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
        progress, schedule, watch = self.progress, self._recipe.schedule, Stopwatch()
        epoch, meter, size_px = progress.epoch, progress.meter, size_at(progress.epoch, schedule.sizes)
        names = map(self._task.parameter_name, frozen_names(epoch, schedule.freezes))
        self._learner.start_epoch((*self._task.frozen, *names))
        self._mine()
        batches = self._loader.load(epoch, size_px, first=progress.step_in_epoch, mined=progress.mined)
        for parts in meter.wait_for(batches):
            self._unreadable += [error for part in parts for error in part.unreadable]
            done = self._step(parts)
            num_photos = sum(len(part.rows) for part in parts) * self._accelerator.num_processes
            meter.count(done.losses, done.norm, num_photos=num_photos, seconds=watch.lap())
            self._tick("train", progress.step, self.num_steps)
            self._save_now_and_then()
            self._stop_if_asked()
        return meter.record(
            epoch=epoch + 1,
            step=progress.step,
            num_steps=self._steps_per_epoch[epoch],
            size_px=size_px,
            rate=self._learner.rate,
        )

    def _step(self, parts: tuple[LoadedPart, ...]) -> StepResult:
        """Do one optimiser step."""
        progress, schedule = self.progress, self._recipe.schedule
        warmup = round(schedule.warmup_epochs * self._steps_per_epoch[0])
        factor = rate_factor(progress.step, self.num_steps, warmup_steps=warmup, end=schedule.end)
        try:
            done = self._learner.step(parts, progress.step, rate_factor=factor)
        except NotFiniteError as error:
            self._stop_diverged(error)
        progress.step += 1
        progress.step_in_epoch += 1
        return done

    def _mine(self) -> None:
        """Mine the tuples of this epoch where the recipe says so, unless a resumed run has them."""
        mining, progress, train = self._recipe.mining, self.progress, self._data.train
        if mining.num_negatives == 0 or progress.mined:
            return
        mined = torch.empty(count_tuples(train.classes, mining), mining.num_negatives + 2, dtype=torch.int64)
        if self._accelerator.is_main_process:
            extractor = self._task.extractor(self._learner.network, self._extraction_device)

            def describe(rows: Int64Array) -> Float32Array:
                workers, note = self._recipe.hardware.workers, self._unreadable.append
                described, places = describe_rows(
                    train, rows, Describer(extractor, num_workers=workers), on_error=note
                )
                vectors = np.zeros((len(rows), extractor.dim), np.float32)  # near to nothing
                vectors[places] = described.vectors
                return vectors

            self._tick("mine", 0, 1)
            rng = np.random.default_rng([self._recipe.seed, 2, progress.epoch])
            mined = torch.from_numpy(mine_tuples(train.classes, describe, mining, rng))
            self._tick("mine", 1, 1)
        progress.mined = self._tell(mined).flatten().tolist()

    def _stop_diverged(self, broken: NotFiniteError) -> NoReturn:
        """Save the batch and raise; all processes come here, in the same step."""
        progress, fault = self.progress, first_fault(broken.fault)
        facts = {
            "cause": fault.cause,
            "loss": str(fault.loss),
            "epoch": progress.epoch,
            "step": progress.step,
            "rates": self._learner.rates,
        }
        place = save_batch(self._folder, broken, facts, rank=self._accelerator.process_index)
        self._accelerator.wait_for_everyone()  # a launcher ends the others when the first one has
        weights = "no weights were saved before"
        if progress.history:
            weights = f"the weights of the epoch before are in {self._folder / 'last'}"
        raise DivergedError(
            f"training stopped at step {progress.step} of epoch {progress.epoch + 1}: loss {fault.loss}; "
            f"{fault.cause}. The batch is in {place}; {weights}"
        ) from None

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
        is_best = self.progress.best_epoch == done
        if self._accelerator.is_main_process:
            self._write_epoch(record, is_best=is_best)
        self.save()
        left = self._seconds_left(record)
        self._say(describe_record(record, is_best=is_best, seconds_left=left, num_skipped=len(self.skipped)))
        self._show(tuple(self.progress.history))

    def _write_epoch(self, record: EpochRecord, *, is_best: bool) -> None:
        """Write the checkpoints and the history."""
        for name in ("last", "best") if is_best else ("last",):
            self._task.save(self._learner.kept_network, self._folder / name)
        write_history(self.progress.history, self._folder / "history.csv")
        if has_package("matplotlib"):  # as with TensorBoard: training does without
            plot_history(self.progress.history, self._folder / "curves.png")
        if self._board is not None:
            self._board.write(record)

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
        network = self._learner.kept_network
        head = getattr(network, "head", None)
        weight = head.full_weight() if head is not None and head.shard is not None else None
        scores = [math.nan, math.nan]
        if self._accelerator.is_main_process:
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
        device = self._accelerator.device
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

    # --- what is kept

    def save(self) -> None:
        """Save the state for `resume`; a kill leaves the one before, of the same step in all processes."""
        folder, state, average = self._folder / STATE_FOLDER, self._learner.state(), self._learner.average
        if self._accelerator.is_main_process or self._learner.spread:
            save_tensors(folder, state, self.progress)
        self._accelerator.wait_for_everyone()
        if self._accelerator.is_main_process:
            save_state(
                folder, state, self.progress, num_updates=0 if average is None else average.num_updates
            )
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


def _command_to_find_all(recipe: Recipe) -> str:
    data = recipe.data
    return f"meisho datasets stats {data.dataset} --root {shlex.quote(str(data.root))} --photos"
