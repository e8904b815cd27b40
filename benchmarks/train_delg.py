"""What training DELG's local head is worth: true pairs that its features verify, before and after.

    python benchmarks/train_delg.py --to /tmp/delg [--set schedule.epochs=4]

Trains `recipes/toycity_delg_local.toml` on a drawn city and looks at another one, whose landmarks it has
never seen: each query with the photos of its landmark that the ground truth calls easy or hard, and with
twice as many of other landmarks. A pair is verified when more of its matches agree on one affine map than
those of 99 % of the pairs of two landmarks.
"""

import argparse
from pathlib import Path

import numpy as np

from meisho.arrays import Int64Array
from meisho.datasets.base import Dataset
from meisho.extractors.local_base import LocalExtractor, load_local_extractor
from meisho.ground_truth import GradedGroundTruth
from meisho.local_describing import LocalDescriber
from meisho.rerank.geometric import verify_photos
from meisho.toycity import build_toycity, load_toycity
from meisho.training.recipe import load_recipe
from meisho.training.train import train

RECIPE = Path(__file__).parent.parent / "recipes" / "toycity_delg_local.toml"
SCALES = (0.5, 2**-0.5, 1.0, 2**0.5)
SIDE_PX = 384


def choose_pairs(dataset: Dataset) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return (query row, database row) of pairs of one landmark, and as many of two."""
    truth = dataset.ground_truth
    assert isinstance(truth, GradedGroundTruth)
    rng, same, other = np.random.default_rng(0), [], []
    for query in range(len(truth)):
        right = truth.at("medium").positives[query]
        known = np.concatenate([right, truth.junk[query]])
        wrong = np.setdiff1d(np.arange(len(dataset.database)), known)
        same += [(query, int(row)) for row in right]
        other += [
            (query, int(row)) for row in rng.choice(wrong, min(len(wrong), 2 * len(right)), replace=False)
        ]
    return same, other


def count_inliers(dataset: Dataset, pairs: list[tuple[int, int]], extractor: LocalExtractor) -> Int64Array:
    """Return the number of matches of each pair that agree on one affine map."""
    queries = {
        row: LocalDescriber(extractor).describe(dataset.queries[row]) for row, _ in dict.fromkeys(pairs)
    }
    rows = dict.fromkeys(row for _, row in pairs)
    database = {row: LocalDescriber(extractor).describe(dataset.database[row]) for row in rows}
    return np.array([verify_photos(queries[q], [database[d]])[0].num_inliers for q, d in pairs])


def describe(name: str, dataset: Dataset, extractor: LocalExtractor) -> str:
    """Return one row of the table."""
    same, other = choose_pairs(dataset)
    inliers = count_inliers(dataset, [*same, *other], extractor)
    right, wrong = inliers[: len(same)], inliers[len(same) :]
    bound = np.quantile(wrong, 0.99)
    area = np.mean(right[:, None] > wrong) + 0.5 * np.mean(right[:, None] == wrong)
    return f"| {name} | {len(same)} | {np.mean(right > bound):.1%} | {area:.3f} | {np.median(right):g} |"


def main() -> None:
    """Train, then verify with both heads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--to", type=Path, required=True, help="folder of cities, cache and run")
    parser.add_argument("--landmarks", type=int, default=12, help="of the city that is looked at")
    parser.add_argument("--set", action="append", default=[], dest="changes", metavar="KEY=VALUE")
    arguments = parser.parse_args()
    to = arguments.to
    places = [f"data.root={to / 'training_city'}", f"data.cache={to / 'cache'}"]
    recipe = load_recipe(RECIPE, [*places, *arguments.changes])
    result = train(recipe, to / "run", say=lambda line: print(line, flush=True))
    city = to / "other_city"
    build_toycity(city, landmarks=arguments.landmarks, views=6, distractors=0, seed=0)
    options = {
        "backbone": recipe.model.backbone,
        "weights": recipe.model.weights,
        "dim": recipe.local.dim,
        "max_side_px": SIDE_PX,
        "scales": SCALES,
        "min_score": 1e-6,  # the first features by attention count, whatever their scores
    }
    trained = str(result.best / "local_head.safetensors")
    print("| local head | true pairs | verified | area under ROC | median inliers |")
    print("|---|---:|---:|---:|---:|")
    for name, weights in (("random", None), ("trained", trained)):
        extractor = load_local_extractor("delg", local_weights=weights, **options)
        print(describe(name, load_toycity(city), extractor), flush=True)


if __name__ == "__main__":
    main()
