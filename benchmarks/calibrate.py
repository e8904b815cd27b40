"""How sure an answer is: fits P(same place | evidence) on `fit`, checks it on `eval`, and draws the curve.

    python benchmarks/calibrate.py ../shared/data /tmp/places --local xfeat [--svg docs/images/sure_xfeat.svg]

The collections are those of `real_places.py`. Every query of one is asked twice: as it is, and with its whole
place taken out of the database. A pair is a query and one of its 12 nearest photos, verified as
`meisho search --verify` does; each query counts the same. `fit` asks with 5 photos of each landmark (one
mislabelled photo is left out, see `WRONG`), `eval` with its 63 queries.

Printed: the coefficients, which are kept in `meisho.certainty`; for both collections the Brier score, the
expected calibration error (10 bins of equal width) and the curve; precision and recall of the word "same" and
of "probably not here".

The base rate is that of these lists: about a third of the pairs show the same place.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from meisho.arrays import BoolArray, Float64Array, Int64Array
from meisho.certainty import MAYBE, SAME, Calibration, PairEvidence, read_signs
from meisho.geometry.matching import MutualMatcher
from meisho.rerank.geometric import RETRIEVAL_RANSAC, verify_photos
from meisho.run.judging import fingerprint, measure_gaps, name_verification
from meisho.run.pair_file import PAIR
from meisho.run.pairing import make_record, to_evidence
from meisho.run.reranking import stored_features
from real_places import RealPlaces, open_places

WRONG = ("iron_pillar__img117",)
"""Photos of `fit` under the wrong landmark: this one shows the minaret behind the pillar."""

K, QUERIES_OF_A_LANDMARK, BINS = 12, 5, 10
SIGNS = {"verified": ("similarity", "gap", "beyond", "plausible"), "described": ("similarity", "gap")}
RIDGE = 1.0


@dataclass(frozen=True, eq=False)
class Asked:
    """A query and its nearest photos.

    Attributes:
        evidence: What is known of each, the nearest first.
        same: Whether each shows the query's place.
        is_here: Whether the query's place was in the database.
    """

    evidence: tuple[PairEvidence, ...]
    same: BoolArray
    is_here: bool


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shared", type=Path, help="folder of the shared data")
    parser.add_argument("work", type=Path, help="where collections are made")
    parser.add_argument("--local", default="xfeat")
    parser.add_argument("--model", default="default")
    parser.add_argument("--svg", type=Path, help="where the curves are drawn")
    options = parser.parse_args()
    models = options.local, options.model
    sets = {name: open_places(options.shared, options.work, name, *models) for name in ("fit", "eval")}
    asked = {
        name: list(ask(places, options.work / f"{name}-{'-'.join(models)}.npz"))
        for name, places in sets.items()
    }
    metadata = sets["fit"].state.metadata
    assert metadata.local_provenance is not None
    how = name_verification(metadata.local_provenance, MutualMatcher(), RETRIEVAL_RANSAC)
    curves = {}
    for kind, names in SIGNS.items():
        model = fit(asked["fit"], names)
        weights = {name: round(weight, 3) for name, weight in model.weights.items()}
        model = Calibration(weights, round(model.bias, 3))
        print(f"\n{kind}: {(fingerprint(metadata.provenance), how if kind == 'verified' else '')}: {model}")
        for name in asked:
            curves[kind, name] = report(name, asked[name], model)
    if options.svg:
        draw(curves, options.svg)


def ask(places: RealPlaces, kept: Path) -> Iterator[Asked]:
    """Ask with the queries of a collection, their place there and not; keep in a file what was verified."""
    lists = list(list_answers(places))
    rows = np.concatenate([np.column_stack([np.full(len(each), query), each]) for query, each, _ in lists])
    found = verify(places, lists, kept) if not kept.exists() else np.load(kept)["found"]
    assert len(found) == len(rows), f"{kept} is of other queries; remove it"
    vectors = places.state.snapshot.descriptors.vectors
    start = 0
    for query, others, is_here in lists:
        similarities = vectors[others] @ vectors[query]
        background = sample_background(places, query, is_here=is_here)
        gaps = measure_gaps(similarities, (background @ vectors[query])[None], np.zeros(len(others), int))
        evidence = tuple(
            replace(to_evidence(record, "affine"), similarity=float(similarity), gap=float(gap))
            for record, similarity, gap in zip(
                found[start : start + len(others)], similarities, gaps, strict=True
            )
        )
        start += len(others)
        counted = places.counted(np.column_stack([np.full(len(others), query), others]))
        same = places.places[others] == places.places[query]
        yield Asked(tuple(e for e, c in zip(evidence, counted, strict=True) if c), same[counted], is_here)


def list_answers(places: RealPlaces) -> Iterator[tuple[int, Int64Array, bool]]:
    """Yield queries, their nearest others, and whether their place was left in."""
    vectors, ids = (
        np.asarray(places.state.snapshot.descriptors.vectors),
        places.state.snapshot.descriptors.ids,
    )
    wrong = np.array([any(name in photo_id for name in WRONG) for photo_id in ids])
    for query in choose_queries(places):
        if wrong[query]:
            continue
        own = places.places == places.places[query]
        for is_here, left_out in ((True, places.is_junk & own), (False, own)):
            scores = np.where(left_out | wrong, -np.inf, vectors @ vectors[query])
            scores[query] = -np.inf
            yield query, np.argsort(-scores, kind="stable")[:K], is_here


def choose_queries(places: RealPlaces) -> list[int]:
    """Return the rows of the queries; of `fit`, the first of each landmark."""
    rows = np.flatnonzero(places.is_query)
    if len(rows) < 100:
        return rows.tolist()
    return [
        row
        for place in np.unique(places.places[rows])
        for row in rows[places.places[rows] == place].tolist()[:QUERIES_OF_A_LANDMARK]
    ]


def sample_background(places: RealPlaces, query: int, *, is_here: bool) -> Float64Array:
    """Return descriptors of photos of no account, as `State.background` has them."""
    left = np.arange(len(places.places)) if is_here else np.flatnonzero(places.places != places.places[query])
    chosen = left[np.unique(np.linspace(0, len(left) - 1, min(len(left), 512)).astype(int))]
    return places.state.snapshot.descriptors.vectors[chosen]


def verify(places: RealPlaces, lists: Sequence[tuple[int, Int64Array, bool]], kept: Path) -> np.ndarray:
    """Verify each query with its answers, and keep what was found."""
    state = places.state
    features = stored_features(state.path, state.metadata, state.snapshot.descriptors.ids)
    records = []
    for query, others, _ in lists:
        (ours,), theirs = features.read(np.array([query])), features.read(others)
        pairs = verify_photos(ours, theirs)
        records += [make_record((0, 0), ours, their, pair) for their, pair in zip(theirs, pairs, strict=True)]
    found = np.array(records, PAIR)
    np.savez(kept, found=found)
    return found


def fit(asked: Sequence[Asked], names: Sequence[str]) -> Calibration:
    """Fit a logistic model by Newton's method; each query has the same weight.

    A sign that would count against a pair is left out: more evidence never makes an answer less sure.
    """
    signs = np.array(
        [[read_signs(each)[name] for name in names] for query in asked for each in query.evidence]
    )
    same = np.concatenate([query.same for query in asked])
    weights = np.concatenate([np.full(len(q.same), K / max(len(q.same), 1)) for q in asked])
    middle, spread = signs.mean(axis=0), signs.std(axis=0)
    design = np.column_stack([(signs - middle) / spread, np.ones(len(signs))])
    ridge = np.diag([RIDGE] * len(names) + [0.0])
    b = np.zeros(len(names) + 1)
    for _ in range(50):
        p = 1 / (1 + np.exp(-design @ b))
        gradient = design.T @ (weights * (p - same)) + ridge @ b
        hessian = (design * (weights * p * (1 - p))[:, None]).T @ design + ridge
        b -= np.linalg.solve(hessian, gradient)
    slopes = b[:-1] / spread
    if (slopes < 0).any():
        return fit(asked, [name for name, slope in zip(names, slopes, strict=True) if slope >= 0])
    return Calibration(dict(zip(names, slopes.tolist(), strict=True)), float(b[-1] - slopes @ middle))


def best_of(query: Asked, model: Calibration) -> float:
    """Return the probability of the best answer."""
    return max((model.probability(each) or 0.0 for each in query.evidence), default=0.0)


def report(name: str, asked: Sequence[Asked], model: Calibration) -> list[tuple[float, float, int]]:
    """Print how well probabilities hold; return the curve: mean probability, share that are, and number."""
    p = np.array([model.probability(each) for query in asked for each in query.evidence], np.float64)
    same = np.concatenate([query.same for query in asked])
    bins = np.minimum((p * BINS).astype(int), BINS - 1)
    curve = [
        (float(p[bins == b].mean()), float(same[bins == b].mean()), int(np.sum(bins == b)))
        for b in np.unique(bins)
    ]
    error = sum(number * abs(mean - share) for mean, share, number in curve) / len(p)
    base = same.mean()
    print(
        f"{name}: {len(p)} pairs of {len(asked)} questions, {base:.3f} the same; "
        f"Brier {np.mean((p - same) ** 2):.4f} "
        f"(base rate alone {base * (1 - base):.4f}), calibration error {error:.4f}"
    )
    print("  curve " + ", ".join(f"{mean:.2f}:{share:.2f} ({number})" for mean, share, number in curve))
    for word, least in (("same", SAME), ("same or maybe", MAYBE)):
        said = p >= least
        print(f"  {word}: precision {same[said].mean():.4f}, recall {said[same].mean():.4f}")
    gone = np.array([not q.is_here for q in asked])
    for threshold in (0.3, MAYBE, SAME):
        said = np.array([best_of(q, model) < threshold for q in asked])
        precision = gone[said].mean() if said.any() else np.nan
        print(f"  not here below {threshold}: precision {precision:.3f}, recall {said[gone].mean():.3f}")
    return curve


def draw(curves: dict[tuple[str, str], list[tuple[float, float, int]]], path: Path) -> None:
    """Draw the curves as a small SVG."""
    side, edge = 300, 44
    colours = {"fit": "#9aa5b1", "eval": "#1f6f8b"}
    titles = {"verified": "verified by local features", "described": "by descriptors alone"}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * (side + edge) + 20} {side + 70}" '
        'font-family="system-ui, sans-serif" font-size="12" fill="#444">',
        '<rect width="100%" height="100%" fill="#fff"/>',
    ]
    for panel, kind in enumerate(SIGNS):
        x0, y0 = edge + panel * (side + edge), 30 + side
        parts.append(f'<text x="{x0}" y="20">{titles[kind]}</text>')
        parts.append(f'<path d="M{x0} {y0}V30M{x0} {y0}H{x0 + side}" stroke="#444" fill="none"/>')
        parts.append(f'<path d="M{x0} {y0}L{x0 + side} 30" stroke="#ccc" stroke-dasharray="4"/>')
        parts.append(f'<text x="{x0 + 90}" y="{y0 + 32}">probability that was said</text>')
        for tick in (0, 0.5, 1):
            parts.append(f'<text x="{x0 + tick * side - 6:.0f}" y="{y0 + 16}">{tick:g}</text>')
            parts.append(f'<text x="{x0 - 24}" y="{y0 - tick * side + 4:.0f}">{tick:g}</text>')
        for place, (name, colour) in enumerate(colours.items()):
            points = [(x0 + p * side, y0 - s * side, n) for p, s, n in curves[kind, name]]
            line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points)
            parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
            parts += [
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{2 + n**0.5 / 8:.1f}" fill="{colour}"/>'
                for x, y, n in points
            ]
            parts.append(f'<text x="{x0 + 16}" y="{50 + 18 * place}" fill="{colour}">{name}</text>')
    path.write_text("\n".join([*parts, "</svg>\n"]))


if __name__ == "__main__":
    main()
