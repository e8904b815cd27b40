"""Learner: the network that learns, with its optimiser, moving average and teacher; one step at a time."""

import math
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn

from meisho.training.accelerator import Accelerator
from meisho.training.augmentation import change_batch
from meisho.training.data import TrainingSet
from meisho.training.distribution import gradient_norm, is_any_process
from meisho.training.divergence import Fault, NotFiniteError, explain_gradients, explain_losses
from meisho.training.ema import MovingAverage
from meisho.training.loading import LoadedPart
from meisho.training.network import Losses, TrainingNetwork
from meisho.training.optimiser import make_optimiser, parameter_groups, set_rates
from meisho.training.recipe import Recipe
from meisho.training.schedule import freeze_parameters
from meisho.training.state import RunState
from meisho.training.task import Task
from meisho.training.teacher import Teacher, follow_average, load_teacher

_Ignore = Callable[[nn.Module, list[str]], None]

_LOWEST_SCALE = 1e-4  # of fp16's loss: gradients that overflow in spite of it are beyond 1e8


@dataclass(frozen=True, eq=False)
class Batch:
    """A part of a batch on the device.

    Attributes:
        images: (b, 3, h, w) float32, normalised.
        labels: (b,) int64 landmarks.
        rows: (b,) int64 rows of the training set.
    """

    images: Tensor
    labels: Tensor
    rows: Tensor


@dataclass(frozen=True)
class StepResult:
    """What one optimiser step gave.

    Attributes:
        losses: Total, head, pairs, other.
        norm: The gradient's norm before clipping; not finite where fp16 left the step out.
    """

    losses: tuple[float, ...]
    norm: float


class Learner:
    """A task's network on its device, and everything that changes it.

    Args:
        recipe: What to do.
        task: What is trained.
        accelerator: Devices, precision, processes.
        photos: The photos trained on; a broken batch is told by their names.

    Attributes:
        network: What learns.
        average: Its moving average, or None.
        spread: Parameters of which each process holds another part.
    """

    def __init__(self, recipe: Recipe, task: Task, accelerator: Accelerator, photos: TrainingSet) -> None:
        self._recipe, self._task, self._accelerator = recipe, task, accelerator
        self._photos = photos
        if accelerator.num_processes > 1 and recipe.hardware.sync_batch_norm:
            synchronise_batch_norms(task, accelerator.device)
        self.network = _on_device(task.network, recipe, accelerator.device)
        decay = recipe.schedule.ema_decay
        self.average = None if decay is None else MovingAverage(self.network, decay)
        self._teacher = self._make_teacher()
        optimiser = make_optimiser(
            parameter_groups(task.backbone, task.rest, recipe.optimiser), recipe.optimiser
        )
        self.spread = _spread_parameters(self.network)
        freeze_parameters(self.network, task.frozen)  # processes need not exchange what never trains
        self._model, self._optimiser = accelerator.prepare(_wrapped(self.network, recipe), optimiser)

    @property
    def kept_network(self) -> nn.Module:
        """What is validated and saved: the moving average where there is one."""
        return self.network if self.average is None else self.average.network

    @property
    def rate(self) -> float:
        """Learning rate of the head, or of the only group, at the last step."""
        return float(self._optimiser.param_groups[-1]["lr"])

    @property
    def rates(self) -> dict[str, float]:
        """Learning rate of each group at the last step."""
        return {group["name"]: group["lr"] for group in self._optimiser.param_groups}

    def state(self) -> RunState:
        """Return what is saved, and restored in place."""
        networks = {"network": self.network}
        if self.average is not None:
            networks["average"] = self.average.network
        optimiser = getattr(self._optimiser, "optimizer", self._optimiser)
        accelerator = self._accelerator
        rank, num_ranks = (accelerator.process_index, accelerator.num_processes) if self.spread else (0, 1)
        return RunState(networks, optimiser, accelerator.scaler, rank, num_ranks)

    def start_epoch(self, frozen: Iterable[str]) -> None:
        """Prepare for training, with the parameters frozen whose names begin so."""
        self._task.start_epoch(self.network)
        freeze_parameters(self.network, frozen)

    def step(self, parts: tuple[LoadedPart, ...], number: int, *, rate_factor: float) -> StepResult:
        """Do one optimiser step.

        Args:
            parts: The parts of the batch; gradients add up over them.
            number: Steps done before, on which depends what the network draws.
            rate_factor: What the peak rates are multiplied by.

        Raises:
            NotFiniteError: A loss or a gradient is not a number; all processes raise it in the same step.
        """
        set_rates(self._optimiser, rate_factor)
        self._seed(number)
        sums = torch.zeros(4, device=self._accelerator.device)
        for count, part in enumerate(parts, start=1):
            batch = self._to_device(part)
            is_last = count == len(parts)
            with nullcontext() if is_last else self._accelerator.no_sync(self._model):
                with self._accelerator.autocast():
                    losses: Losses = self._model(batch.images, batch.labels, self._teach(batch.images))
                self._check_losses(losses, batch)
                self._accelerator.backward(losses.total / len(parts))
            sums += losses.values() / len(parts)
        norm = self._clip_gradients(batch, float(sums[0]))
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        if self.average is not None and math.isfinite(norm):
            self.average.update(self.network)
        return StepResult(tuple(sums.tolist()), norm)

    def _seed(self, step: int) -> None:
        """Seed what networks draw, such as dropout: otherwise in each process, the same after `resume`."""
        numbers = [self._recipe.seed, 3, self._accelerator.process_index, step]
        torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))

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

    def _check_losses(self, losses: Losses, batch: Batch) -> None:
        if is_any_process(~torch.isfinite(losses.total.detach())):
            fault = explain_losses(self.network, batch.images, batch.labels, self._ids(batch), losses)
            raise self._not_finite(fault, batch)

    def _not_finite(self, fault: Fault, batch: Batch) -> NotFiniteError:
        return NotFiniteError(fault, batch.images, batch.labels, self._ids(batch))

    def _ids(self, batch: Batch) -> list[str]:
        return [self._photos.photo(row).id for row in batch.rows.tolist()]

    def _clip_gradients(self, batch: Batch, loss: float) -> float:
        """Scale the gradient down where the recipe says so; returns its norm before."""
        clip_norm, scaler = self._recipe.optimiser.clip_norm, self._accelerator.scaler
        self._accelerator.unscale_gradients(self._optimiser)
        spread = {id(p) for p in self.spread}
        everywhere = [p for p in self.network.parameters() if id(p) not in spread]
        norm = float(gradient_norm(everywhere, self.spread))
        if not math.isfinite(norm):
            scale = None if scaler is None else float(scaler.get_scale())
            if scale is None or scale < _LOWEST_SCALE:
                raise self._not_finite(explain_gradients(self.network, loss, scale=scale), batch)
            return norm  # fp16: the scaler leaves this step out and lowers its factor
        if clip_norm is not None and norm > clip_norm:
            for parameter in self.network.parameters():
                if parameter.grad is not None:
                    parameter.grad.mul_(clip_norm / norm)
        return norm

    def _make_teacher(self) -> Teacher | None:
        teacher = self._recipe.distillation.teacher
        if teacher == "none":
            return None
        if teacher == "self":
            assert self.average is not None  # the recipe was checked
            return follow_average(self.average.network)
        return load_teacher(teacher, self._task.traits, self._accelerator.device)


def synchronise_batch_norms(task: Task, device: torch.device) -> None:
    """Let batch norms see the whole batch; torch can do so on GPUs only.

    Not torch's conversion: it drops the activation that timm keeps inside of batch norms.
    """
    if device.type == "cuda":
        for part in (task.backbone, *task.rest.children()):
            convert_sync_batchnorm(part)  # in place, but for the neck, which sees the whole batch by itself


def _on_device(network: nn.Module, recipe: Recipe, device: torch.device) -> nn.Module:
    if recipe.hardware.channels_last:
        network = network.to(memory_format=torch.channels_last)
    return network.to(device)


def _wrapped(network: nn.Module, recipe: Recipe) -> nn.Module:
    """Prepare for DistributedDataParallel and torch.compile, in place."""
    if spread := {id(p) for p in _spread_parameters(network)}:
        names = [name for name, p in network.named_parameters() if id(p) in spread]
        ignore: _Ignore = nn.parallel.DistributedDataParallel._set_params_and_buffers_to_ignore_for_model
        ignore(network, names)
    if recipe.hardware.compile and isinstance(network, TrainingNetwork):
        network.descriptor.compile()
    return network


def _spread_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of which each process holds another part."""
    head = getattr(network, "head", None)
    return [head.weight] if head is not None and head.shard is not None else []
