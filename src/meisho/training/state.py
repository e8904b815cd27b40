"""The state of a run between two steps: all that is needed to go on to the same numbers. No pickle.

`state-EPOCH-STEP-RANK.safetensors` holds tensors, `state.json` the rest and the names of those files: one, or
one of each process where each holds a part. The JSON is replaced last and in one step, when all tensors are
there, and what it named before is removed after that: a kill leaves the old state or the new one, whole.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from meisho.config import build
from meisho.documents import Fields, one_line, shorten
from meisho.errors import ConfigError, InputError, explain_os_error
from meisho.files import replacing
from meisho.sealed import read_sealed, write_sealed
from meisho.training.history import EpochRecord
from meisho.training.meter import Meter

STATE_FOLDER = "state"
"""In a run's folder."""

STATE_NAME = "state.json"
_ADVICE = "this is not the state of this run; was a file removed?"
FORMAT = 3


@dataclass
class Position:
    """Where a run stands.

    Attributes:
        step: Optimiser steps done.
        epoch: The epoch that is going on.
        step_in_epoch: Steps of it that are done: the sampler's position.
        best: The best validation's mAP so far, or None.
        best_epoch: When it was, in epochs done.
        validations_since_best: How many did not reach it.
        meter: What this epoch's steps gave and took.
        mined: Rows of this epoch's photos, tuple after tuple, where they are mined.
        history: What was recorded after each epoch.
    """

    step: int = 0
    epoch: int = 0
    step_in_epoch: int = 0
    best: float | None = None
    best_epoch: int = 0
    validations_since_best: int = 0
    meter: Meter = field(default_factory=Meter)
    mined: list[int] = field(default_factory=list)
    history: list[EpochRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        counts = (self.step, self.epoch, self.step_in_epoch, self.best_epoch, self.validations_since_best)
        if min(*counts, *self.mined) < 0:
            raise ConfigError("a number of steps, epochs or rows is negative")

    def next_epoch(self) -> "Position":
        """Return where the run stands when this epoch is done."""
        return Position(
            step=self.step,
            epoch=self.epoch + 1,
            best=self.best,
            best_epoch=self.best_epoch,
            validations_since_best=self.validations_since_best,
            history=self.history,
        )


@dataclass(frozen=True, eq=False)
class RunState:
    """What is saved and restored in place.

    Attributes:
        networks: Name -> network: what is trained, and its moving average.
        optimiser: A torch optimiser.
        scaler: The scaler of fp16's loss, or None.
        rank: Which of the processes that hold a part each this one is.
        num_ranks: Their number; 1 where every process holds the same, and the first one saves it.
    """

    networks: Mapping[str, nn.Module]
    optimiser: Optimizer
    scaler: torch.amp.GradScaler | None = None
    rank: int = 0
    num_ranks: int = 1


def save_tensors(folder: Path, state: RunState, progress: Position) -> None:
    """Write the tensors of a state beside those of the state before, which stays the one to resume from.

    Args:
        folder: Made if missing.
        state: What to save; each rank calls this with its own.
        progress: Where the run stands.
    """
    tensors = {
        f"{name}.{key}": value for name, n in state.networks.items() for key, value in n.state_dict().items()
    }
    tensors |= _optimiser_tensors(state.optimiser)
    with replacing(folder / _file_name(progress, state.rank)) as part:
        save_file({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, part)


def save_state(folder: Path, state: RunState, progress: Position, *, num_updates: int = 0) -> None:
    """Make the saved tensors the state to resume from, and remove the one before.

    Args:
        folder: Where all ranks have written their tensors: one process calls this after that.
        state: What was saved.
        progress: Where the run stands.
        num_updates: Updates of the moving average.
    """
    names = [_file_name(progress, rank) for rank in range(state.num_ranks)]
    content = {
        "format": FORMAT,
        "tensors": names,
        "groups": state.optimiser.state_dict()["param_groups"],
        "num_updates": num_updates,
        "scaler": state.scaler.state_dict() if state.scaler is not None else None,
        "progress": asdict(progress),
    }
    write_sealed(folder / STATE_NAME, content)
    for old in folder.glob("state-*.safetensors"):
        if _FILE_NAME.fullmatch(old.name) and old.name not in names:
            old.unlink(missing_ok=True)


def load_state(folder: Path, state: RunState) -> tuple[Position, int]:
    """Put a saved state into networks and optimiser.

    Returns:
        Where the run stands, and the number of updates of the moving average.

    Raises:
        InputError: There is no state, or it is not of this run's networks or number of ranks.
    """
    path = folder / STATE_NAME
    try:
        fields = _read_fields(path)
        content: dict[str, Any] = dict(fields.values)
        _check_ranks(path, content["format"], len(content["tensors"]), state)
        name = content["tensors"][state.rank]
        if not _FILE_NAME.fullmatch(name):
            raise ValueError(f"{shorten(name)} is no file of a state")
        _restore(state, folder / name, content["groups"])
        if state.scaler is not None and content["scaler"]:
            state.scaler.load_state_dict(content["scaler"])
        return build(fields.table("progress"), Position), fields.integer("num_updates")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise InputError(
            f"{path}: is not the state of this run ({one_line(error)}); was the recipe changed, "
            "or a file removed?"
        ) from error


def _restore(state: RunState, path: Path, groups: list[dict[str, object]]) -> None:
    """Put the tensors of a file into networks and optimiser."""
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise InputError(f"{path}: is damaged ({one_line(error)}); start the run anew") from error
    try:
        for name, network in state.networks.items():
            network.load_state_dict(_below(tensors, f"{name}."))
        _restore_optimiser(state.optimiser, tensors, groups)
    except (ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise InputError(
            f"{path.parent / STATE_NAME} with {path.name}: do not fit the networks of this run "
            f"({one_line(error)}); was the recipe changed?"
        ) from error


def saved_step(folder: Path) -> int | None:
    """Return how many steps the state in a run's folder has behind it; None: there is no state."""
    path = folder / STATE_FOLDER / STATE_NAME
    if not path.is_file():
        return None
    return _read_fields(path).table("progress").integer("step")


def _read_fields(path: Path) -> Fields:
    try:
        return Fields(read_sealed(path, nan=True), str(path), InputError, _ADVICE)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({explain_os_error(error)}); {_ADVICE}") from error


_FILE_NAME = re.compile(r"state-\d+-\d+-\d+\.safetensors")


def _file_name(progress: Position, rank: int) -> str:
    return f"state-{progress.epoch:04d}-{progress.step:08d}-{rank}.safetensors"


def _check_ranks(path: Path, version: int, needed: int, state: RunState) -> None:
    """Check that a state is of this version, and of as many processes as there are."""
    if version != FORMAT:
        raise InputError(f"{path}: was written by another version of meisho; resume with that one")
    if needed != state.num_ranks:
        raise InputError(
            f"{path}: head.shard has spread its classes over {needed} processes, and there are "
            f"{state.num_ranks}; resume with {needed} (accelerate launch --num_processes {needed})"
        )


def _optimiser_tensors(optimiser: Optimizer) -> dict[str, Tensor]:
    return {
        f"optimiser.{number}.{key}": torch.as_tensor(value)
        for number, values in optimiser.state_dict()["state"].items()
        for key, value in values.items()
        if value is not None
    }


def _restore_optimiser(
    optimiser: Optimizer, tensors: Mapping[str, Tensor], groups: list[dict[str, object]]
) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in _below(tensors, "optimiser.").items():
        number, _, key = name.partition(".")
        state.setdefault(int(number), {})[key] = value
    optimiser.load_state_dict({"state": state, "param_groups": groups})


def _below(tensors: Mapping[str, Tensor], beginning: str) -> dict[str, Tensor]:
    return {k.removeprefix(beginning): v for k, v in tensors.items() if k.startswith(beginning)}
