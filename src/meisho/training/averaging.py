"""Averaging: the mean of the weights before training and after it, if validation gains by it.

A network that learns from few or drawn photos drifts from what it knew; half-way back it often finds more
than at either end (WiSE-FT, Wortsman et al. 2022, arXiv:2109.01903).
"""

import json
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from meisho.describing import Describer
from meisho.documents import Fields, read_json
from meisho.errors import InputError
from meisho.extractors.base import load_extractor
from meisho.extractors.checkpoint import average_checkpoints
from meisho.files import replacing, write_text
from meisho.training.data import TrainingData
from meisho.training.loop import Say
from meisho.training.recipe import Recipe
from meisho.training.validation import evaluate_descriptors

NOTE_NAME = "average.json"
"""In a run's folder: what came of its averaging."""
TRAINED = "trained"
"""In a run's folder: its best checkpoint as trained, where `best` may be an average."""


@dataclass(frozen=True)
class Average:
    """What the best checkpoint of a run is.

    Attributes:
        share: Share of the trained weights; the rest is the start's.
        trained: Which of the run's checkpoints they are: "trained", the best one, or "last".
        map: mAP on validation, 0 to 1; None where nothing is held out.
    """

    share: float
    trained: str
    map: float | None


def check_average(recipe: Recipe, data: TrainingData) -> None:
    """Refuse, before any work, what could not be chosen at the end.

    Raises:
        InputError: Several shares, and nothing held out to choose among them.
    """
    if len(recipe.average.shares) > 1 and data.validation is None:
        raise InputError(
            "average.shares: several can be told apart by landmarks held out alone; give one, or hold some "
            "out (validation.share)"
        )


@dataclass(frozen=True, eq=False)
class Trained:
    """A run whose last epoch is over.

    Attributes:
        recipe: Names the shares that are tried; none takes an average back.
        data: Measured on its validation; without one, the only share is taken.
        folder: Folder of the run.
        save_start: Writes the network before training as a checkpoint.
        epochs: After which the best and the last checkpoint were saved.
        best_map: mAP of the best on validation, or NaN.
    """

    recipe: Recipe
    data: TrainingData
    folder: Path
    save_start: Callable[[Path], None]
    epochs: tuple[int, int]
    best_map: float


def average_best(run: Trained, say: Say) -> Average | None:
    """Make the best checkpoint of a run the mean of its start and what was trained, where that is better.

    Tried are the best trained checkpoint and the last one, each at every share; the best trained one alone
    stays where none is better. What came of it is noted in the run's folder: a run that is resumed when it
    has ended does nothing more, unless other shares are asked for.

    Args:
        run: What was trained.
        say: Called with a line for people.

    Returns:
        What the best checkpoint is now; None: as it was trained.
    """
    note, shares = run.folder / NOTE_NAME, run.recipe.average.shares
    asked = {"epochs": list(run.epochs), "shares": list(shares)}
    done = _read_note(note) if note.exists() else None
    if done is None and not shares:
        return None
    if done is not None and done.flag("whole") and dict(done.table("asked").values) == asked:
        return _found(done)
    if done is None or _best_epoch(done) != run.epochs[0]:
        _put(run.folder / "best", run.folder / TRAINED)
    _write_note(note, asked, None, whole=False)  # from here on `best` may be an average
    found = _average(run, say) if shares else None
    if found is None:
        _put(run.folder / TRAINED, run.folder / "best")
    _write_note(note, asked, found, whole=True)
    return found


def _average(run: Trained, say: Say) -> Average | None:
    """Try each average, and put the best one into `best`; None where the trained weights alone are better."""
    start, trial = run.folder / "start", run.folder / "trial"
    run.save_start(start)
    best, tried = None if math.isnan(run.best_map) else Average(1.0, TRAINED, run.best_map), []
    for trained in _sources(*run.epochs):
        for share in run.recipe.average.shares:
            average_checkpoints([start, run.folder / trained], [1 - share, share], trial)
            each = Average(share, trained, _measure(trial, run.recipe, run.data))
            tried.append(each)
            if best is None or best.map is None or (each.map is not None and each.map > best.map):
                best = each
    shutil.rmtree(trial)
    if best is not None and best.share < 1:
        kept = [start, run.folder / best.trained]
        average_checkpoints(kept, [1 - best.share, best.share], run.folder / "best")
    shutil.rmtree(start)
    say(_describe(tried, best, run.best_map))
    return best if best is not None and best.share < 1 else None


def _sources(best_epoch: int, last_epoch: int) -> Iterator[str]:
    """Yield the checkpoints that differ from the start and from each other."""
    if best_epoch > 0:
        yield TRAINED
    if last_epoch != best_epoch:
        yield "last"


def _measure(checkpoint: Path, recipe: Recipe, data: TrainingData) -> float | None:
    """Return its mAP on validation; None where nothing is held out."""
    if data.validation is None:
        return None
    describer = Describer(load_extractor(str(checkpoint)), num_workers=recipe.hardware.workers)
    return evaluate_descriptors(data.validation, describer).headline.value


def _describe(tried: list[Average], best: Average | None, best_map: float) -> str:
    if best is None or best.map is None:
        return f"averaged with the start: {tried[0].share:g} of the trained weights; nothing is held out"
    each = ", ".join(f"{100 * (a.map or 0):.2f} with {a.share:g} of the {a.trained}" for a in tried)
    kept = f"{best.share:g} is kept" if best.share < 1 else "left out"
    return f"averaged with the start: validation mAP {100 * best_map:.2f} without, {each}; {kept}"


def _put(source: Path, to: Path) -> None:
    to.mkdir(exist_ok=True)
    for name in ("model.safetensors", "model.json"):
        with replacing(to / name) as part:
            shutil.copyfile(source / name, part)


def _write_note(note: Path, asked: dict[str, object], found: Average | None, *, whole: bool) -> None:
    content = {"asked": asked, "whole": whole, "found": None if found is None else asdict(found)}
    write_text(note, json.dumps(content, indent=2))


def _read_note(note: Path) -> Fields:
    return read_json(note, error=InputError, advice="delete it and the folder `trained`, and train again")


def _best_epoch(done: Fields) -> int | None:
    epochs = done.table("asked").values.get("epochs")
    return epochs[0] if isinstance(epochs, list) and epochs and isinstance(epochs[0], int) else None


def _found(done: Fields) -> Average | None:
    if not done.has("found"):
        return None
    found = done.table("found")
    return Average(
        found.number("share", low=0, high=1),
        found.text("trained"),
        found.number("map", low=0, high=1) if found.has("map") else None,
    )
