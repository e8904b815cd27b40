"""Search: queries against the database through an index, answered as a Ranking."""

from meisho.descriptors import Descriptors
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
        A ranking (Q, K), K = min(top, N), with float32 scores.

    Raises:
        MismatchError: The two were made by different extractors, options or weights.
        InputError: The dimensions differ, a descriptor holds NaN or infinity, or `top` is negative.
    """
    refuse_mismatch(queries, database)
    if index is None:
        index = ExactIndex.build(database.vectors)
    ranks, scores = index.search(queries.vectors, len(database) if top is None else top)
    return Ranking(queries.ids, database.ids, ranks, scores)


def refuse_mismatch(queries: Descriptors, database: Descriptors) -> None:
    """Raise where descriptors cannot be compared; see `search`."""
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
