"""Search: queries against the database through an index, answered as a Ranking."""

from meisho.descriptors import Descriptors, describe_faults
from meisho.errors import InputError, MismatchError
from meisho.index.base import Searcher
from meisho.index.exact import ExactIndex
from meisho.ranking import Ranking


def search(
    queries: Descriptors, database: Descriptors, *, index: Searcher | None = None, top: int | None = None
) -> Ranking:
    """Rank the database for each query by dot product, best first; ties go to the lower database row.

    Args:
        queries: Q descriptors (Q, D).
        database: N descriptors (N, D), made the same way.
        index: A structure bound to `database.vectors`; exact search when none is given.
        top: How many to return for each query; all N when none is given.

    Returns:
        A ranking (Q, K), K = min(top, N), with float32 scores. Its `warnings` say what is wrong with the
        descriptors, those of the database where no index is given: who built one has seen them.

    Raises:
        MismatchError: The two were made by different extractors, options or weights.
        InputError: An argument is not descriptors, the dimensions differ, a descriptor holds NaN or infinity,
            or `top` is negative.
    """
    refuse_mismatch(queries, database)
    searcher = ExactIndex.build(database.vectors) if index is None else index
    ranks, scores = searcher.search(queries.vectors, len(database) if top is None else top)
    faults = describe_faults(database) if index is None else []
    warnings = (*faults, *(f"queries: {fault}" for fault in describe_faults(queries)))
    return Ranking(tuple(queries.ids), database.ids, ranks, scores, warnings)


def refuse_mismatch(queries: Descriptors, database: Descriptors) -> None:
    """Raise where descriptors cannot be compared; see `search`."""
    _require_descriptors(queries, "queries")
    _require_descriptors(database, "database")
    differences = queries.provenance.differences(database.provenance)
    if differences:
        raise MismatchError(
            "search: queries and database were described differently (query / database): "
            + "; ".join(differences)
            + "; extract one of them again with the other's options"
        )
    if len(queries) and len(database) and queries.dim != database.dim:
        raise InputError(
            f"search: queries have {queries.dim} dimensions and the database {database.dim}; "
            "extract one of them again"
        )


def _require_descriptors(value: object, what: str) -> None:
    """Refuse what is often given in the place of descriptors, and say what to do with it."""
    if isinstance(value, Descriptors):
        return
    kind = type(value).__name__
    hints = {
        "Collection": "ask a collection on disk by meisho.Finder.open(path).find(photos), or give "
        "collection.snapshot().descriptors",
        "Snapshot": "give snapshot.descriptors",
        "ndarray": "give meisho.Descriptors(ids, vectors, meisho.Provenance('my model'))",
    }
    otherwise = "photos are described by meisho.describe_photos"
    raise InputError(f"search: {what} is of the type {kind}, not Descriptors; {hints.get(kind, otherwise)}")
