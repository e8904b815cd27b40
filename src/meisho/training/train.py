"""Training from a recipe: the front door. A run's folder says all that is needed to repeat it.

runs/NAME/recipe.toml    the recipe, every default said
          run.json       digest of the data; versions, device, hardware of each start
          history.csv    one row per epoch; curves.png shows it
          board/         for TensorBoard
          best/  last/   checkpoints: `meisho index --model runs/NAME/best`
          trained/       the best checkpoint as trained, where `best` may be averaged with the start
          average.json   what came of that
          whitening.json what came of the whitening, where one is asked for
          state/         for `--resume`
          skipped.csv    photos that cannot be read, if there are any
          diverged/      the batch on which a loss became NaN, if one did
"""

import json
import math
import multiprocessing
import os
import platform
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from meisho.config import config_toml, config_values
from meisho.documents import Fields, read_json, shorten
from meisho.errors import DivergedError, ImageError, InputError, InterruptedRunError, MismatchError
from meisho.files import remove_leftovers, write_text
from meisho.outputs import FIGURE, RUN, SKIPPED, check_outputs
from meisho.progress import Progress, silent
from meisho.texts import count
from meisho.training.accelerator import Accelerator, make_accelerator
from meisho.training.averaging import Average, Trained, average_best, check_average
from meisho.training.data import TrainingData, digest_dataset, load_training_data
from meisho.training.distribution import is_first_process, leave_together
from meisho.training.history import EpochRecord
from meisho.training.loading import cache_options
from meisho.training.local_task import LocalTask
from meisho.training.loop import Loop, Say, Show, show_nothing
from meisho.training.photo_cache import fill_cache
from meisho.training.recipe import Recipe, load_recipe
from meisho.training.state import saved_step
from meisho.training.task import DescriptorTask, Task
from meisho.training.whiten import whiten_best

PACKAGES = ("meisho", "torch", "torchvision", "timm", "accelerate", "numpy", "pillow", "safetensors")


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended.

    Attributes:
        folder: Folder of the run.
        best: Folder of the best checkpoint.
        best_epoch: Epochs after which it was saved; 0 is the network before training.
        best_map: mAP of its validation without a whitening; NaN where nothing was held out.
        average: What it is where it is no longer as it was trained.
        whitened_map: The same with the whitening in the checkpoint; NaN where it has none.
        history: One record per epoch.
    """

    folder: Path
    best: Path
    best_epoch: int
    best_map: float
    whitened_map: float
    history: tuple[EpochRecord, ...]
    average: Average | None = None


def train(
    recipe: Recipe,
    folder: Path,
    *,
    resume: bool = False,
    say: Say = lambda line: None,
    tick: Progress = silent,
    show: Show = show_nothing,
) -> TrainingResult:
    """Train what a recipe says, and keep the run in a folder.

    Started by `accelerate launch`, each process calls it; the first one writes.

    Args:
        recipe: What to do.
        folder: Made if missing; must hold no run unless `resume` is set. What was stopped before it saved a
            state is no run yet.
        resume: Go on from the folder's saved state.
        say: Called with lines for people.
        tick: Called with a stage, how much of it is done, and how much there is.
        show: Called with the records of all epochs after each, to be drawn.

    Raises:
        InputError: The folder holds a run already, or none to resume; or a worker calls it while it starts.
        MismatchError: The run to resume has another recipe or other data.
        DatasetError: The data are not as they must be.
        DivergedError: A loss or gradient is not a number.
        InterruptedRunError: SIGINT or SIGTERM came while it trained; the state after the last step is saved.
        MissingDependencyError: Accelerate is not installed.
    """
    _check_main()
    _check_folder(folder, resume=resume)
    accelerator = make_accelerator(recipe.hardware)
    if not accelerator.is_main_process:
        say, tick, show = _say_nothing, silent, show_nothing
    data = load_training_data(recipe, progress=lambda done, total: tick("draw a city", done, total))
    check_average(recipe, data)
    facts = describe_run(recipe, data)
    if resume:
        _check_same(folder, recipe, facts)
        if accelerator.is_main_process:
            remove_leftovers(folder)
    accelerator.wait_for_everyone()
    say(_describe_data(data, recipe.data.min_photos))
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed + accelerator.process_index)
        loop = Loop(recipe, folder, data, make_task(recipe, data), accelerator, say=say, tick=tick, show=show)
        broken = _fill_cache(recipe, data, accelerator, tick)  # takes hours: after all that may be refused
        if resume:
            loop.resume()
        loop.skipped.note(broken)
        if accelerator.is_main_process:
            start = describe_start(recipe, accelerator, loop.progress.step)
            _write_facts(folder, recipe, facts, start, resume=resume)
        _run_to_the_end(loop)
        result = _describe_end(loop, folder)
        if accelerator.is_main_process and recipe.kind == "descriptors":
            result = _finish(recipe, data, result, say)
    leave_together()
    return result


def _describe_end(loop: Loop, folder: Path) -> TrainingResult:
    progress = loop.progress
    best_map = math.nan if progress.best is None else progress.best
    return TrainingResult(
        folder, folder / "best", progress.best_epoch, best_map, math.nan, tuple(progress.history)
    )


def _finish(recipe: Recipe, data: TrainingData, result: TrainingResult, say: Say) -> TrainingResult:
    """Average the best checkpoint with the start, then whiten it, where the recipe says so."""

    def save_start(place: Path) -> None:
        torch.manual_seed(recipe.seed)  # as when training began
        task = make_task(recipe, data)
        task.save(task.network, place)

    epochs = result.best_epoch, result.history[-1].epoch
    run = Trained(recipe, data, result.folder, save_start, epochs, result.best_map)
    average = average_best(run, say)
    if average is not None:
        result = replace(result, average=average, best_map=math.nan if average.map is None else average.map)
    whitened = whiten_best(
        recipe,
        data,
        result.folder,
        best_epoch=result.best_epoch,
        best_map=result.best_map,
        average=average,
        say=say,
    )
    return replace(result, whitened_map=whitened)


def _run_to_the_end(loop: Loop) -> None:
    try:
        loop.run()
    except (InterruptedRunError, DivergedError):  # which all processes raise after the same step
        leave_together()
        raise


def make_task(recipe: Recipe, data: TrainingData) -> Task:
    """Build what a recipe trains."""
    if recipe.kind == "delg-local":
        return LocalTask(recipe, data.train, data.validation)
    return DescriptorTask(recipe, data.train, data.accuracy, data.validation)


def describe_run(recipe: Recipe, data: TrainingData) -> dict[str, object]:
    """Return what is the same whenever the run is started, as JSON values."""
    validation = data.validation
    return {
        "seed": recipe.seed,
        "data": {
            "sha256": data.train.digest(),
            "photos": len(data.train),
            "landmarks": len(data.train.landmarks),
            "accuracy_photos": len(data.accuracy),
            "validation_sha256": "" if validation is None else digest_dataset(validation),
            "validation_photos": 0 if validation is None else len(validation.database),
        },
    }


def describe_start(recipe: Recipe, accelerator: Accelerator, step: int) -> dict[str, object]:
    """Return with what the run goes on from a step, as JSON values: the next start may have other things."""
    device = accelerator.device
    return {
        "step": step,
        "versions": {name: _version(name) for name in PACKAGES} | {"python": platform.python_version()},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processes": accelerator.num_processes,
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
        "hardware": config_values(recipe.hardware),
    }


def _write_facts(
    folder: Path, recipe: Recipe, facts: dict[str, object], start: dict[str, object], *, resume: bool
) -> None:
    """Write the recipe and `run.json`; of a run that goes on, add this start to those that it had."""
    starts = []
    if resume:
        found = _read_facts(folder).values.get("starts")
        starts = [*found] if isinstance(found, list) else []
    content = facts | {"starts": [*starts, start]}  # before the recipe: it tells a run from a folder with one
    write_text(folder / "run.json", json.dumps(content, indent=2, ensure_ascii=False))
    write_text(folder / "recipe.toml", config_toml(recipe))


def _read_facts(folder: Path) -> Fields:
    return read_json(folder / "run.json", error=InputError, advice="is this the folder of a run?", nan=True)


def _check_main() -> None:
    """Stop where a loading worker, which imports the script that started it, would train once more."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise InputError(
            "training starts processes that import your script: put its last lines under "
            '`if __name__ == "__main__":`, or set hardware.workers=0'
        )


def _check_folder(folder: Path, *, resume: bool) -> None:
    """Refuse what would write over a run, or go on with none; it is one once it has saved a state."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; give the folder of a run with --to")
    if not resume and not is_first_process():
        return
    if saved_step(folder) is not None:
        if not resume:
            raise InputError(
                f"{folder}: holds a run already; go on with it by --resume, or choose another place with --to"
            )
    elif _has_two_records(folder / "history.csv"):
        raise InputError(
            f"{folder}: holds a run whose state was removed, it cannot go on; choose another place with --to"
        )
    elif resume:
        raise InputError(f"{folder}: holds no saved state to resume; start it without --resume")
    else:
        _check_vacant(folder)


def _check_vacant(folder: Path) -> None:
    """Refuse a folder whose files a new run would replace, unless an earlier start of a run left them."""
    check_outputs(folder, {"run.json": RUN, "skipped.csv": SKIPPED, "curves.png": FIGURE})
    if (folder / "run.json").exists():
        return
    for name in (
        "recipe.toml",
        "history.csv",
        "average.json",
        "whitening.json",
        "best",
        "trained",
        "last",
        "state",
        "diverged",
    ):
        if os.path.lexists(folder / name):
            raise InputError(
                f"{folder / name}: is there already and is of no run; choose another place with --to"
            )


def _has_two_records(history: Path) -> bool:
    """Return whether a state was saved once: a kill may come between the first record and the first state."""
    return history.is_file() and history.read_bytes().count(b"\n") > 2


def _check_same(folder: Path, recipe: Recipe, facts: dict[str, object]) -> None:
    """Refuse a recipe that would have given other numbers, or other data."""
    saved, given = (_flat(config_values(r)) for r in (load_recipe(folder / "recipe.toml"), recipe))
    differing = [
        f"{key}: {saved.get(key, 'none')} -> {given.get(key, 'none')}"
        for key in dict.fromkeys([*saved, *given])
        if saved.get(key) != given.get(key) and not _may_change(key, saved, given)
    ]
    if differing:
        way = ""
        if saved["schedule.epochs"] != given["schedule.epochs"]:
            weights = folder / "last" / "model.safetensors"
            way = (
                ". Rates follow a curve over all epochs: to train on for more, start another run with "
                f"--set model.weights={weights}"
            )
        raise MismatchError(
            f"{folder}: the run was started with another recipe, then -> now: {'; '.join(differing)}; "
            f"resume with its own, {folder / 'recipe.toml'}, or start another run{way}"
        )
    then = _read_facts(folder).values
    if then.get("data") != facts["data"]:
        raise MismatchError(
            f"{folder}: the photos are not those that the run was started with "
            f"({shorten(then.get('data'))} / {facts['data']}); start another run"
        )


def _may_change(key: str, saved: dict[str, object], given: dict[str, object]) -> bool:
    """Return whether a key changes nothing of what is learned; their digest tells photos apart."""
    if key == "data.cache":  # JPEG changes pixels, be they kept or not
        return given["data.cache_encoding"] == "raw" or (key in saved and key in given)
    return key.startswith(("hardware.", "average.", "whitening.")) or key in (
        "data.root",
        "data.cache_gigabytes",
        "validation.root",
        "validation.patience",
    )


def _flat(values: dict[str, object], beginning: str = "") -> dict[str, object]:
    """Return nested values by their keys as `--set` has them."""
    flat: dict[str, object] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{beginning}{name}.") if isinstance(value, dict) else {beginning + name: value}
    return flat


def _fill_cache(
    recipe: Recipe, data: TrainingData, accelerator: Accelerator, tick: Progress
) -> tuple[ImageError, ...]:
    """Fill the photo cache where there is one; one process of each machine does, the others wait.

    Returns:
        Why photos could not be read.
    """
    errors: list[ImageError] = []
    if accelerator.is_local_main_process and recipe.data.cache is not None:
        photos = data.train.photos()
        filling = fill_cache(
            recipe.data.cache, photos, cache_options(recipe.data), num_workers=recipe.hardware.workers
        )
        for done, error in enumerate(filling, start=1):
            errors += [error] if error is not None else []
            tick("cache photos", done, len(photos))
    accelerator.wait_for_everyone()
    return tuple(errors)


def _describe_data(data: TrainingData, min_photos: int) -> str:
    parts = [f"{len(data.train)} photos of {len(data.train.landmarks)} landmarks"]
    if len(data.accuracy):
        parts.append(f"{len(data.accuracy)} others of them for the closed-set accuracy")
    held_out = "no landmarks held out"
    if data.validation is not None:
        held_out = (
            f"validation: {len(data.validation.queries)} queries in {len(data.validation.database)} photos "
            f"({data.validation.name})"
        )
    parts.append(held_out)
    if len(data.too_few):
        names = data.too_few.landmarks
        some = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        parts.append(
            f"left out: {count(len(names), 'landmark')} ({count(len(data.too_few), 'photo')}) with fewer "
            f"than data.min_photos={min_photos}: {some}"
        )
    return "; ".join(parts)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _say_nothing(line: str) -> None:
    pass
