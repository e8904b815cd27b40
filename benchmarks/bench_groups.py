"""Places: how well `meisho groups` joins photos, chosen on `fit`, reported on `eval` among the distractors.

    python benchmarks/bench_groups.py ../shared/data /tmp/places --local xfeat [--choose]

The collections are those of `real_places.py`. Pairwise precision: of all pairs of photos that stand in one
place, the share that shows one place; recall: of all pairs that show one place, the share that stands in one.
Copies count once. Pairs of which nobody knows whether they show one place do not count.

`--choose` prints on `fit` what `least_inliers` and `LinkOptions` cost; the strictest that cost next to no
recall are kept, as wrong pairs between large places are too few in `fit` to be seen in its precision.
Then both collections are grouped as `meisho groups` does, with the curve over the probability that joins, and
a second run tells what is asked again: nothing.
"""

import argparse
import itertools
import time
from pathlib import Path

import numpy as np

from meisho.arrays import Float64Array, Int64Array
from meisho.run.grouping import GroupOptions, Places, find_groups, make_places, rate_pairs
from meisho.run.linking import LinkOptions
from meisho.run.pairing import PairOptions, Pairs, verify_pairs
from real_places import RealPlaces, open_places

ALONE, TOGETHER, SUPPORT = (0.9, 0.95, 0.98), (0.5, 0.8, 0.9, 0.95), (1, 2, 3)
LEAST, SHARES = (0, 8, 10, 12, 15), (0.0, 0.1, 0.2, 0.3, 0.5)
LEAST_PRECISION, LEAST_RECALL = 0.98, 0.6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shared", type=Path, help="folder of the shared data")
    parser.add_argument("work", type=Path, help="where collections are made")
    parser.add_argument("--local", default="xfeat")
    parser.add_argument("--choose", action="store_true", help="print the grid on fit")
    options = parser.parse_args()
    sets = {name: open_places(options.shared, options.work, name, options.local) for name in ("fit", "eval")}
    chosen = GroupOptions().links
    for name, places in sets.items():
        start = time.perf_counter()
        pairs = verify_pairs(places.state, PairOptions())
        seconds = time.perf_counter() - start
        print(f"\n{name}: {len(places.places)} photos, {len(pairs.rows)} pairs, {seconds:.1f} s")
        probabilities, _ = rate_pairs(places.state, pairs, GroupOptions())
        if options.choose and name == "fit":
            choose(places, pairs)
        print("curve over `together` and `alone`, the rest as kept:")
        for least in (0.5, 0.8, 0.9, 0.95, 0.98, 0.99):
            show(places, pairs, probabilities, LinkOptions(max(least, chosen.alone), least, chosen.support))
        print("over `least_inliers`, the rest as kept; 0: descriptors alone may join:")
        for least in (0, 8, 12, 15, 20):
            rated, _ = rate_pairs(places.state, pairs, GroupOptions(least_inliers=least))
            print(f" least {least}:", end="")
            show(places, pairs, rated, chosen)
        print("one pair joins any two groups (support 1):")
        show(places, pairs, probabilities, LinkOptions(chosen.together, chosen.together, 1, 0.0))
        print("as kept:")
        precision, recall = show(places, pairs, probabilities, chosen)
        start = time.perf_counter()
        found = find_groups(places.state.path)
        print(f"again: {time.perf_counter() - start:.1f} s; {len(found.places)} places, biggest first:")
        tell(places, found)
    if precision < LEAST_PRECISION or recall < LEAST_RECALL:
        raise SystemExit(1)


def choose(places: RealPlaces, pairs: Pairs) -> None:
    """Print a grid of options."""
    for least, share in itertools.product(LEAST, SHARES):
        rated, _ = rate_pairs(places.state, pairs, GroupOptions(least_inliers=least))
        print(f" least {least}:", end="")
        show(places, pairs, rated, LinkOptions(share=share))
    rated, _ = rate_pairs(places.state, pairs, GroupOptions())
    for alone, together, support in itertools.product(ALONE, TOGETHER, SUPPORT):
        show(places, pairs, rated, LinkOptions(alone, together, support))


def show(
    places: RealPlaces, pairs: Pairs, probabilities: Float64Array, options: LinkOptions
) -> tuple[float, float]:
    """Print and return precision and recall of pairs."""
    found = make_places(places.state, pairs, probabilities, options, calibrated=True)
    precision, recall = score(places, found)
    print(
        f"  alone {options.alone}, together {options.together}, support {options.support}, "
        f"share {options.share}: precision {precision:.4f}, recall {recall:.4f}, {len(found.places)} places"
    )
    return precision, recall


def score(places: RealPlaces, found: Places) -> tuple[float, float]:
    """Return precision and recall of pairs of photos that are no copies."""
    rows = {photo_id: row for row, photo_id in enumerate(places.state.snapshot.descriptors.ids)}
    copies = {rows[photo_id] for group in found.duplicates for photo_id in group.photos[1:]}
    groups = np.full(len(places.places), -1)
    for number, place in enumerate(found.places):
        groups[[rows[photo_id] for photo_id in place.photos]] = number
    heads = np.array([row for row in range(len(groups)) if row not in copies])
    pairs = all_pairs(heads)
    pairs = pairs[places.counted(pairs)]
    same = places.same(pairs)
    together = (groups[pairs[:, 0]] == groups[pairs[:, 1]]) & (groups[pairs[:, 0]] >= 0)
    return float(same[together].mean()), float(together[same].mean())


def all_pairs(rows: Int64Array) -> Int64Array:
    """Return all pairs of (R,) rows: (R (R - 1) / 2, 2)."""
    one, other = np.triu_indices(len(rows), 1)
    return np.column_stack([rows[one], rows[other]])


def tell(places: RealPlaces, found: Places) -> None:
    """Print what the biggest places hold."""
    rows = {photo_id: row for row, photo_id in enumerate(places.state.snapshot.descriptors.ids)}
    for place in found.places[:12]:
        numbers = places.places[[rows[photo_id] for photo_id in place.photos]]
        kinds, counts = np.unique(numbers, return_counts=True)
        first = [
            places.state.snapshot.descriptors.ids[np.flatnonzero(places.places == kind)[0]] for kind in kinds
        ]
        held = (f"{count} like {Path(name).name[:40]}" for name, count in zip(first, counts, strict=True))
        print(f"  {place.size}: {', '.join(held)}")


if __name__ == "__main__":
    main()
