"""Do the graph of neighbours and the shortlist of dba change the figures? On an evaluated data set.

    meisho evaluate csv --root /tmp/sets/eval.csv --to /tmp/run
    python benchmarks/evaluate_graph.py csv /tmp/sets/eval.csv /tmp/run/collection

Each chain is scored three times: as without a graph, with one by exact search, and with graph and index, for
which dba augments and ranks only the first of a plain search (`--first`). The index is exact here, so that
what differs is the shortlist alone. Figures are the headline of the data set's protocol in per cent, and
processor milliseconds per query; every query is asked alone, as `Finder` asks, and what depends on the
database is there before, but for the neighbours where there is no graph.

Ends with 1 where the graph alone changes a figure.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from meisho.datasets.base import Dataset, load_dataset
from meisho.describing import Describer
from meisho.evaluate.protocols import evaluate_ranking
from meisho.index.exact import ExactIndex
from meisho.index.graph import NeighborGraph
from meisho.ranking import NO_ROW, Ranking
from meisho.rerank import augmentation
from meisho.rerank.chain import build_chain
from meisho.rerank.evidence import Evidence
from meisho.run.finding import Finder
from meisho.run.kept_queries import describe_queries

CHAINS = ("dba", "dba,alpha-qe", "k-reciprocal", "dba,k-reciprocal", "diffusion", "offline-diffusion")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind")
    parser.add_argument("root", type=Path)
    parser.add_argument("collection", type=Path)
    parser.add_argument("--first", type=int, action="append", help="rows of the plain search; default 400")
    options = parser.parse_args()
    dataset = load_dataset(options.kind, options.root)
    finder = Finder.open(options.collection)
    database = finder.descriptors.select([photo.id for photo in dataset.database]).vectors
    queries = describe_queries(
        dataset.queries, Describer(finder.describer.extractor), options.collection, progress=lambda *_: None
    )
    ids = tuple(photo.id for photo in dataset.queries), tuple(photo.id for photo in dataset.database)
    index = ExactIndex.build(database)
    graph = NeighborGraph.build(index, database, np.arange(len(database), dtype=np.uint64))
    plain = Ranking(*ids, *index.search(queries, len(database)))
    print(f"{dataset.name}: {len(queries)} queries, {len(database)} photos")
    print("| chain | as before | with the graph | with graph and index |\n|---|---|---|---|")
    changed = []
    for chain in CHAINS:
        scored = [score(dataset, chain, plain, Evidence(queries, database))]
        scored.append(score(dataset, chain, plain, Evidence(queries, database, graph=graph)))
        for first in options.first or [400]:
            augmentation.LEAST_CANDIDATES, augmentation.CANDIDATES_PER_ANSWER = first, 0
            scored.append(
                score(
                    dataset, chain, plain, Evidence(queries, database, graph=graph, index=index), depth=first
                )
            )
        print(
            f"| {chain} | " + " | ".join(f"{map_:.2f}, {ms:.1f} ms" for map_, ms in scored) + " |", flush=True
        )
        changed += [chain] * (scored[0][0] != scored[1][0])
    if changed:
        raise SystemExit(f"the graph changes the figures of {', '.join(changed)}")


def score(
    dataset: Dataset, chain: str, plain: Ranking, evidence: Evidence, *, depth: int | None = None
) -> tuple[float, float]:
    """Return the headline figure in per cent and processor milliseconds per query."""
    ranks, seconds = [], []
    assert evidence.queries is not None
    for row, query in enumerate(evidence.queries[:, None]):
        ranking = Ranking(plain.query_ids[row : row + 1], plain.database_ids, *one(plain, row)).top(
            depth or plain.depth
        )
        alone = replace(evidence, queries=query)
        start = time.process_time()
        found = build_chain(chain).rerank(ranking, alone)
        seconds.append(time.process_time() - start)
        ranks.append(found.ranks[0])
    whole = Ranking(plain.query_ids, plain.database_ids, *complete(plain, np.array(ranks)))
    report = evaluate_ranking(
        whole, dataset.ground_truth, protocol=dataset.protocol, rng=np.random.default_rng(0)
    )
    return 100 * report.headline.value, 1000 * float(np.median(seconds))


def one(plain: Ranking, row: int) -> tuple[np.ndarray, np.ndarray]:
    return plain.ranks[row : row + 1], plain.scores[row : row + 1]


def complete(plain: Ranking, ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Put what a shortlist leaves out behind it, in the order of the plain search; scores are places."""
    filled = [
        np.concatenate([row[row != NO_ROW], before[~np.isin(before, row)]])
        for row, before in zip(ranks, plain.ranks, strict=True)
    ]
    return np.array(filled), np.tile(-np.arange(plain.depth, dtype=np.float32), (len(ranks), 1))


if __name__ == "__main__":
    main()
