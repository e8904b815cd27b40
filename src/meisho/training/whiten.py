"""Whitening after training: fitted on the photos trained on, and put into the checkpoint."""

from pathlib import Path

import numpy as np

from meisho.arrays import Int64Array
from meisho.descriptors import Descriptors
from meisho.extraction import describe_photos
from meisho.extractors.base import load_extractor
from meisho.extractors.checkpoint import add_whitening
from meisho.images import Photo
from meisho.training.data import TrainingData
from meisho.training.loop import Say
from meisho.training.recipe import Recipe, WhiteningRecipe
from meisho.training.validation import evaluate_descriptors, ignore_error
from meisho.whitening import Whitening, fit_learned_whitening, fit_pca_whitening


def whiten_checkpoint(recipe: Recipe, data: TrainingData, folder: Path, *, say: Say) -> None:
    """Fit the recipe's whitening, add it to a checkpoint, and say what validation makes of it.

    Args:
        recipe: Which whitening; with kind "none" nothing is done.
        data: Fitted on its training photos, measured on its validation.
        folder: Of the checkpoint.
        say: Called with a line for people.

    Raises:
        InputError: There are too few photos or pairs; see `meisho.whitening`.
    """
    if recipe.whitening.kind == "none":
        return
    workers, rng = recipe.hardware.workers, np.random.default_rng([recipe.seed, 2])
    rows = np.sort(rng.permutation(len(data.train))[: recipe.whitening.max_photos])
    bare = load_extractor(str(folder), whitening=None)  # a resumed run may find one in the checkpoint
    numbered = [Photo(str(row), data.train.photo(row).path) for row in rows.tolist()]
    described = describe_photos(numbered, bare, num_workers=workers, on_error=ignore_error)
    rows = np.array([int(number) for number in described.ids])
    whitening = fit_whitening(described, data.train.classes[rows], recipe.whitening, rng)
    add_whitening(whitening, folder)
    told = ""
    if data.validation is not None:
        report = evaluate_descriptors(data.validation, load_extractor(str(folder)), num_workers=workers)
        told = f"; validation mAP with it {100 * report.headline.value:.2f}"
    say(f"whitening ({whitening.kind}) fitted on {len(rows)} photos: {whitening.dim} dimensions{told}")


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
        return fit_pca_whitening(descriptors, dim=recipe.dim, shrinkage=recipe.shrinkage)
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
