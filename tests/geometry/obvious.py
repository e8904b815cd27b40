"""Slow, obvious matching: what the fast code must agree with."""

import numpy as np


def match_slowly(query, database, *, ratio=None, min_similarity=None):
    """One pair of features at a time; returns [(query row, database row)]."""
    query, database = ([row / max(np.linalg.norm(row), 1e-30) for row in rows] for rows in (query, database))
    cosines = [[float(np.dot(q, d)) for d in database] for q in query]
    matches = []
    for i, row in enumerate(cosines):
        if not row:
            continue
        j = max(range(len(row)), key=lambda j: (row[j], -j))
        back = max(range(len(query)), key=lambda i: (cosines[i][j], -i))
        if back != i or (min_similarity is not None and row[j] < min_similarity):
            continue
        others = [c for k, c in enumerate(row) if k != j]
        if (
            ratio is not None
            and others
            and not np.sqrt(2 - 2 * row[j]) < ratio * np.sqrt(2 - 2 * max(others))
        ):
            continue
        matches.append((i, j))
    return matches
