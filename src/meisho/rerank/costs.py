"""Costs: what a chain takes, of time for each query, and of time and memory once for the database."""

import mmap
import time
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meisho.ground_truth import Rows
from meisho.ranking import Ranking
from meisho.rerank.base import Refiner
from meisho.rerank.chain import Chain, Step
from meisho.rerank.evidence import Evidence
from meisho.rerank.neighbors import rank_by_vectors


@dataclass(frozen=True)
class Cost:
    """What a chain took.

    Attributes:
        once_seconds: Wall time of what depends on the database alone and can be kept for every later query:
            augmented descriptors, neighbour lists.
        query_seconds: Wall time of the rest, all queries together.
        kept_bytes: Memory of what can be kept, beside the descriptors themselves. Of lists that are found
            when they are first asked for, their place counts whole.
    """

    once_seconds: float = 0.0
    query_seconds: float = 0.0
    kept_bytes: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        """Add up the costs of two steps."""
        return Cost(
            self.once_seconds + other.once_seconds,
            self.query_seconds + other.query_seconds,
            self.kept_bytes + other.kept_bytes,
        )


def rerank_and_time(
    chain: Chain, ranking: Ranking, evidence: Evidence, *, skip: Rows | None = None
) -> tuple[Ranking, Cost]:
    """Rerank as `Chain.rerank` does, and say what it took.

    A step that keeps something of the database is run twice: what the second time saves is counted as taken
    once.
    """
    cost = Cost()
    for step in chain.steps:
        if isinstance(step.reranker, Refiner):
            ranking, evidence, more = _refine(step.reranker, ranking, evidence)
        else:
            ranking, more = _rerank(step, ranking, evidence, skip)
        cost += more
    return ranking, cost


def _refine(reranker: Refiner, ranking: Ranking, evidence: Evidence) -> tuple[Ranking, Evidence, Cost]:
    start = time.perf_counter()
    refined = reranker.refine(ranking, evidence)
    refine_seconds = time.perf_counter() - start
    ranking = rank_by_vectors(ranking, refined)
    search_seconds = time.perf_counter() - start - refine_seconds
    assert refined.database is not None and evidence.database is not None  # or it had refused
    if refined.database is evidence.database:
        return ranking, refined, Cost(query_seconds=refine_seconds + search_seconds)
    return ranking, refined, Cost(refine_seconds, search_seconds, refined.database.nbytes)


def _rerank(step: Step, ranking: Ranking, evidence: Evidence, skip: Rows | None) -> tuple[Ranking, Cost]:
    before = count_kept_bytes(evidence)
    start = time.perf_counter()
    reranked = step.reranker.rerank(ranking, evidence, skip=skip)
    seconds = time.perf_counter() - start
    kept = count_kept_bytes(evidence) - before
    if kept <= 0:
        return reranked, Cost(query_seconds=seconds)
    start = time.perf_counter()
    step.reranker.rerank(ranking, evidence, skip=skip)
    again = min(time.perf_counter() - start, seconds)
    return reranked, Cost(seconds - again, again, kept)


def count_kept_bytes(evidence: Evidence) -> int:
    """Count the bytes of the arrays in `Evidence.of_database` that are not the descriptors themselves."""
    arrays: dict[int, int] = {}
    database = evidence.database
    known = set() if database is None else {id(database), id(_find_owner(database))}
    _collect_arrays([*evidence.of_database.values()], arrays, known)
    return sum(arrays.values())


def _collect_arrays(value: Any, arrays: dict[int, int], seen: set[int]) -> None:
    """Find every array below a value: id of the memory's owner -> bytes."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, np.ndarray):
        owner = _find_owner(value)
        mapped = isinstance(owner.base, mmap.mmap)  # the system takes its memory when it needs it
        if (id(owner) not in seen or owner is value) and not mapped:
            arrays[id(owner)] = owner.nbytes
    elif isinstance(value, dict):
        _collect_arrays([*value.values()], arrays, seen)
    elif isinstance(value, list | tuple | set):
        for part in value:
            _collect_arrays(part, arrays, seen)
    elif is_dataclass(value):
        for field in fields(value):
            _collect_arrays(getattr(value, field.name), arrays, seen)
    elif hasattr(value, "__dict__"):
        _collect_arrays(vars(value), arrays, seen)


def _find_owner(array: NDArray[Any]) -> NDArray[Any]:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array
