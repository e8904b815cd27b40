"""Accelerator: the devices, precision and processes of a run, by the package Accelerate."""

import os
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from meisho.errors import InputError, MissingDependencyError
from meisho.extractors.devices import check_precision
from meisho.training.recipe_tables import HardwareRecipe

_LONGEST_WAIT = timedelta(days=1)  # for a process that fills the cache with 1.6 million photos


class Accelerator(Protocol):
    """What training uses of Accelerate's class of this name, which has no types.

    Attributes:
        device: Where this process computes.
        num_processes: Processes that train together.
        process_index: Which of them this is.
        is_main_process: Whether it is the one that speaks and writes.
        is_local_main_process: Whether it is the first one on its machine.
        scaler: The scaler of fp16's loss; None in other precisions.
    """

    device: torch.device
    num_processes: int
    process_index: int
    is_main_process: bool
    is_local_main_process: bool
    scaler: torch.amp.GradScaler | None

    def prepare(self, network: nn.Module, optimiser: Optimizer, /) -> tuple[nn.Module, Optimizer]:
        """Wrap both for these devices and processes."""

    def autocast(self) -> AbstractContextManager[None]:
        """Compute in the run's precision."""

    def no_sync(self, network: nn.Module, /) -> AbstractContextManager[None]:
        """Do not exchange gradients yet."""

    def backward(self, loss: Tensor, /) -> None:
        """Compute gradients."""

    def unscale_gradients(self, optimiser: Optimizer, /) -> None:
        """Divide fp16's gradients by the scaler's factor."""

    def wait_for_everyone(self) -> None:
        """Wait until all processes have come here."""


def make_accelerator(hardware: HardwareRecipe) -> Accelerator:
    """Make the accelerator that a recipe asks for.

    Raises:
        ConfigError: The device does not have the precision.
        InputError: Several processes were started that do not know of each other.
        MissingDependencyError: Accelerate is not installed.
    """
    try:
        import accelerate
        from accelerate.state import AcceleratorState
        from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs
        from accelerate.utils import is_torch_xla_available as has_xla
    except ImportError as error:
        raise MissingDependencyError("training needs accelerate; run pip install 'meisho[train]'") from error
    AcceleratorState._reset_state()  # of a run before, in this process
    kind = _device_kind(hardware, has_xla=has_xla())
    check_precision(hardware.precision, torch.device(kind))
    precision = {"float32": "no"}.get(hardware.precision, hardware.precision)
    # always: besides frozen parameters some of timm's are unused, such as norms behind the map that is pooled
    distributed = DistributedDataParallelKwargs(find_unused_parameters=True)
    waiting = InitProcessGroupKwargs(timeout=_LONGEST_WAIT)
    accelerator: Accelerator = accelerate.Accelerator(
        mixed_precision=precision, cpu=kind == "cpu", kwargs_handlers=[distributed, waiting]
    )
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started > 1 and accelerator.num_processes == 1:  # they would all write to one folder
        raise InputError(
            f"WORLD_SIZE={started}, but this process is alone, as each of them would be; start them by "
            f"torchrun --nproc_per_node {started} -m meisho.cli train ..., or unset WORLD_SIZE"
        )
    return accelerator


def _device_kind(hardware: HardwareRecipe, *, has_xla: bool) -> str:
    """Choose "cuda", "xla" or "cpu". Accelerate would prefer Apple's GPUs, which have no float64."""
    if hardware.device == "cpu":
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    return "xla" if has_xla else "cpu"
