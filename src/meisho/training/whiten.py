"""Whitening after training: fitted on the photos trained on, and put into the checkpoint."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from meisho.arrays import Int64Array
from meisho.config import config_values
from meisho.describing import Describer
from meisho.descriptors import Descriptors
from meisho.documents import read_json
from meisho.errors import InputError
from meisho.extractors.base import load_extractor
from meisho.extractors.checkpoint import add_whitening, remove_whitening
from meisho.files import write_text
from meisho.training.averaging import Average
from meisho.training.data import TrainingData
from meisho.training.loop import Say
from meisho.training.recipe import Recipe
from meisho.training.recipe_tables import WhiteningRecipe
from meisho.training.validation import describe_rows, evaluate_descriptors
from meisho.whitening import Whitening, fit_learned_whitening, fit_pca_whitening

NOTE_NAME = "whitening.json"
"""In a run's folder: what came of its whitening."""


def whiten_best(
    recipe: Recipe,
    data: TrainingData,
    folder: Path,
    *,
    best_epoch: int,
    best_map: float,
    average: Average | None = None,
    say: Say,
) -> float:
    """Fit the recipe's whitening, and keep it in the best checkpoint if validation does not fall with it.

    What came of it is noted in the run's folder: a run that is resumed when it has ended does nothing more.

    Args:
        recipe: Which whitening; "none" takes out one that the checkpoint has.
        data: Fitted on its training photos, measured on its validation.
        folder: Folder of the run.
        best_epoch: When its best checkpoint was saved, in epochs done.
        best_map: mAP of its validation without whitening, or NaN.
        average: What of it is not as it was trained.
        say: Called with a line for people.

    Returns:
        The validation's mAP with the whitening that the checkpoint has; NaN where it has none, or no photos
        are held out.

    Raises:
        InputError: There are too few photos or pairs; see `meisho.whitening`.
    """
    asked = {"best_epoch": best_epoch, **config_values(recipe.whitening)}
    if average is not None:
        asked["average"] = asdict(average)
    note = folder / NOTE_NAME
    done = _read_note(note) if note.is_file() else None
    if done is None and recipe.whitening.kind == "none":
        return math.nan
    if done is None or done["asked"] != asked:
        remove_whitening(folder / "best")
        found = math.nan
        if recipe.whitening.kind != "none":
            found = _whiten(recipe, data, folder / "best", best_map, say)
        done = {"asked": asked, "map": None if math.isnan(found) else found}
        write_text(note, json.dumps(done, indent=2))
    return math.nan if done["map"] is None else float(done["map"])


def _read_note(note: Path) -> dict[str, Any]:
    fields = read_json(note, error=InputError, advice="delete it, and the whitening is fitted again")
    return {
        "asked": dict(fields.table("asked").values),
        "map": fields.number("map") if fields.has("map") else None,
    }


def _whiten(recipe: Recipe, data: TrainingData, checkpoint: Path, best_map: float, say: Say) -> float:
    """Add a whitening unless validation falls with it; returns its mAP, or NaN."""
    workers, rng = recipe.hardware.workers, np.random.default_rng([recipe.seed, 2])
    rows = np.sort(rng.permutation(len(data.train))[: recipe.whitening.max_photos])
    bare = load_extractor(str(checkpoint))
    described, places = describe_rows(data.train, rows, Describer(bare, num_workers=workers))
    rows = rows[places]
    try:
        whitening = fit_whitening(described, data.train.classes[rows], recipe.whitening, rng)
    except InputError as error:
        raise InputError(
            f"{error}. Training itself has ended and is kept; go on by --resume with another [whitening], "
            "such as --set whitening.kind=none"
        ) from error
    found = math.nan
    if data.validation is not None:
        trial = checkpoint / "trial.safetensors"  # a kill must not leave it in use
        whitening.save(trial)
        extractor = load_extractor(str(checkpoint), whitening=str(trial))
        found = evaluate_descriptors(
            data.validation, Describer(extractor, num_workers=workers)
        ).headline.value
        trial.unlink()
    told = f"whitening ({whitening.kind}) fitted on {len(rows)} photos: {_describe_dim(whitening, recipe)}"
    if found < best_map:
        say(f"{told}; left out: validation mAP falls from {100 * best_map:.2f} to {100 * found:.2f} with it")
        return math.nan
    add_whitening(whitening, checkpoint)
    if not math.isnan(found):
        told += f"; validation mAP {100 * best_map:.2f} without it, {100 * found:.2f} with it"
    say(told)
    return found


def _describe_dim(whitening: Whitening, recipe: Recipe) -> str:
    asked = recipe.whitening.dim
    fewer = f" of the {asked} asked for: so few photos give no more" if whitening.dim < (asked or 0) else ""
    return f"{whitening.dim} dimensions{fewer}"


def fit_whitening(
    descriptors: Descriptors, classes: Int64Array, recipe: WhiteningRecipe, rng: np.random.Generator
) -> Whitening:
    """Fit a whitening on N descriptors; for a learned one each is paired with another of its landmark.

    Args:
        descriptors: N of them.
        classes: (N,) landmarks.
        recipe: Which whitening.
        rng: Chooses the pairs.

    Raises:
        InputError: There are too few descriptors or pairs.
    """
    if recipe.kind == "pca":
        dim = recipe.dim and min(recipe.dim, max(1, len(descriptors) - 1))  # so few photos give no more
        return fit_pca_whitening(descriptors, dim=dim, shrinkage=recipe.shrinkage)
    queries, positives = pair_rows(classes, rng)
    return fit_learned_whitening(descriptors, queries, positives, dim=recipe.dim, shrinkage=recipe.shrinkage)


def pair_rows(classes: Int64Array, rng: np.random.Generator) -> tuple[Int64Array, Int64Array]:
    """Pair each of N rows whose landmark has more with one other row of it: two (P,) int64."""
    shuffled = rng.permutation(len(classes))
    order = shuffled[np.argsort(classes[shuffled], kind="stable")]
    following = np.roll(order, -1)
    is_last = classes[following] != classes[order]
    starts = np.flatnonzero(np.r_[True, classes[order][1:] != classes[order][:-1]])
    following[is_last] = order[starts[: np.count_nonzero(is_last)]] if len(starts) > 1 else order[0]
    distinct = following != order
    return order[distinct], following[distinct]
