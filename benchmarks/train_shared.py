"""Fine-tune the default model on the split `train` of ../shared/data, and measure it on `eval`.

    python benchmarks/train_shared.py ../shared/data --to /tmp/shared_training

Every fourth landmark of `train` is held out: its photos ask among themselves and the distractors, and choose
the epoch. What is left of `train`, with `train_loose`, is trained on. `eval` is described twice at the
default extraction, off the shelf and by the best checkpoint, and compared query by query.

`--set KEY=VALUE` changes the recipe; `--only train` stops before `eval` is looked at: so settings are chosen.
`--everything` trains on the landmarks held out too, to the end of the recipe: for settings chosen before.
"""

import argparse
from pathlib import Path

import numpy as np

from meisho.datasets.csv_table import load_csv_table
from meisho.describing import Describer
from meisho.evaluate.comparison import compare_reports
from meisho.evaluate.report import Report
from meisho.extractors.base import load_extractor
from meisho.run.evaluating import evaluate_dataset
from meisho.training.recipe import load_recipe
from meisho.training.train import train
from shared_sets import write_eval_csv, write_training_csvs, write_whole_training_csv

RECIPE = Path(__file__).parent.parent / "recipes" / "shared_train.toml"


def evaluate(model: str, table: Path, collection: Path) -> Report:
    """Score a model on a table of photos."""
    return evaluate_dataset(load_csv_table(table), Describer(load_extractor(model)), collection).report


def main() -> None:
    """Train, measure, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("shared", type=Path, help="the folder with photos.csv")
    parser.add_argument("--to", type=Path, required=True, help="folder of sets, cache, run and collections")
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--run", default="run", help="name of the run below --to")
    parser.add_argument("--set", action="append", default=[], dest="changes", metavar="KEY=VALUE")
    parser.add_argument("--everything", action="store_true", help="hold no landmark out")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--only", choices=("train",))
    arguments = parser.parse_args()
    to = arguments.to
    if arguments.everything:
        training = write_whole_training_csv(arguments.shared, to / "everything.csv")
        places = [f"data.root={training}", "validation.dataset=none", "validation.share=0"]
    else:
        training, validation = write_training_csvs(arguments.shared, to)
        places = [f"data.root={training}", f"validation.root={validation}"]
    places.append(f"data.cache={to / 'cache'}")
    recipe = load_recipe(arguments.recipe, [*places, *arguments.changes])
    run = to / arguments.run
    result = train(recipe, run, resume=arguments.resume, say=lambda line: print(line, flush=True))
    if not arguments.everything:
        print(f"best after {result.best_epoch} epochs: {100 * result.best_map:.2f}", flush=True)
    if arguments.only == "train":
        return
    table = write_eval_csv(arguments.shared, to / "eval.csv")
    before = evaluate("default", table, to / "eval_default")
    after = evaluate(str(result.best), table, run / "eval")
    for comparison in compare_reports(before, after, np.random.default_rng(0)):
        print(comparison.sentence)


if __name__ == "__main__":
    main()
