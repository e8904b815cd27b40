"""`meisho train`."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meisho.cli.app import app, own_command, print_json, say, shell_line, strong, tell
from meisho.cli.bars import progress_bars
from meisho.cli.options import Json
from meisho.errors import ConfigError, InterruptedRunError
from meisho.texts import count

if TYPE_CHECKING:  # it takes long to import
    from meisho.training.recipe import Recipe
    from meisho.training.train import TrainingResult

_EASY = 0.97  # validation's mAP before training, above which it tells little


@app.command()
def train(
    recipe: Annotated[
        Path | None,
        typer.Argument(metavar="RECIPE", help="A TOML file, or the name of a recipe that --list shows."),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder of the run. Default: runs/NAME; for a run's own recipe.toml, its folder.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue where the run stopped.")] = False,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change one value of the recipe, such as schedule.epochs=3; repeat for more. "
            "The recipe.toml of any run lists every key.",
        ),
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="List the recipes that come with meisho.")] = False,
    as_json: Json = False,
) -> None:
    """Train a better model on labelled photos.

    Landmarks that are held out choose the best checkpoint; every command takes it as its --model.

    On several GPUs: accelerate launch --multi_gpu -m meisho.cli train RECIPE.toml

    Example: meisho train toycity_quick --to runs/city
    """
    from meisho.extractors.machine import require_torch

    require_torch("training", extra="train")
    from meisho.training.distribution import is_first_process
    from meisho.training.recipe import list_recipes, load_recipe

    if show:
        _print_recipes(list_recipes())
        return
    if recipe is None:
        raise ConfigError("give a recipe: a TOML file, or a name that 'meisho train --list' shows")
    is_of_run = (recipe.parent / "run.json").is_file()
    folder = to or (recipe.parent if is_of_run else Path("runs") / recipe.stem)
    resolved = load_recipe(recipe, changes or ())
    result = _train(resolved, folder, recipe, changes or (), resume=resume)
    if not is_first_process():
        return
    if as_json:
        print_json(result)
        return
    say(*_describe_result(result))
    option = "--local" if resolved.kind == "delg-local" else "--model"
    say("Use it: ", shell_line(own_command(), "index", "PHOTOS", "--to", "my.meisho", option, result.best))


def _train(
    resolved: "Recipe", folder: Path, recipe: Path, changes: Sequence[str], *, resume: bool
) -> "TrainingResult":
    """Train, with bars and curves; where it is interrupted, say by which command it goes on."""
    from meisho.cli.curves import TrainingCurves
    from meisho.training.train import train as run_training

    curves = TrainingCurves()
    try:
        with progress_bars(above=curves) as tick:
            return run_training(resolved, folder, resume=resume, say=tell, tick=tick, show=curves.update)
    except (InterruptedRunError, KeyboardInterrupt):
        sets = [word for change in changes for word in ("--set", change)]
        command = shell_line(own_command(), "train", recipe, "--to", folder, *sets)
        raise InterruptedRunError(_explain_interruption(folder, command)) from None


def _describe_result(result: "TrainingResult") -> tuple[str | tuple[str, str], ...]:
    """Say which checkpoint is best, what validation gave before training and gives now, and what to try."""
    start = next((r.validation_map for r in result.history if r.epoch == 0), math.nan)
    is_start = result.best_epoch == 0 and result.average is None
    before = "" if math.isnan(start) or is_start else f"{100 * start:.2f} → "
    found = "" if math.isnan(result.best_map) else f", mAP {before}{100 * result.best_map:.2f} on validation"
    if not math.isnan(result.whitened_map):
        found += f", {100 * result.whitened_map:.2f} with its whitening"
    if result.average is not None:
        share = f"{result.average.share:g} of the trained weights, the rest as before training"
        return ("Best with ", strong(share), f"{found}: ", strong(result.best))
    if result.best_epoch > 0:
        epochs = count(result.best_epoch, "epoch")
        return ("Best after ", strong(epochs), f"{found}: ", strong(result.best))
    advice = "try lower rates, or more photos"
    if result.best_map > _EASY:
        advice = "what is held out is too easy to tell; hold out more landmarks (validation.share)"
    return (f"Best before training{found}: no epoch improved on it; {advice}",)


def _explain_interruption(folder: Path, command: str) -> str:
    """Say what is kept of a run, and the command that goes on with it."""
    from meisho.training.state import saved_step

    step = saved_step(folder)
    launched = " by the same launcher" if int(os.environ.get("WORLD_SIZE", "1")) > 1 else ""
    if step is None:
        return f"nothing of the run was kept yet; start it again{launched}: {command}"
    return f"the run is kept up to step {step}; go on{launched}: {command} --resume"


def _print_recipes(recipes: Sequence[Path]) -> None:
    """Print the name of each recipe and what its first line says that it is for."""
    for path in recipes:
        purpose = path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        say(strong(path.stem), f": {purpose}")
    if recipes:
        say("\nThey are in ", strong(recipes[0].parent), "; change one by --set, or copy it")
