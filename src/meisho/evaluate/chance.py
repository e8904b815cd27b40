"""Chance: the score that a random ranking is expected to get, exactly, without drawing one.

In a random order of M photos with n positives a place holds a positive with probability n / M, and the r
places before it then hold r q positives on average, q = (n - 1) / (M - 1). The precision at that place is
therefore (1 + r q) / (r + 1) on average, and summing this over the places gives the expected average
precision; with the harmonic number H_K = 1 + 1/2 + ... + 1/K,

    sum over r < K of (1 + r q) / (r + 1)  =  H_K + q (K - H_K).
"""

import numpy as np

_SMALL = 1_000


def expected_trapezoid(num_positives: int, num_candidates: int, *, depth: int) -> float:
    """Expected trapezoid average precision of a random ranking; NaN without positives.

    Args:
        num_positives: n.
        num_candidates: M, database photos less the query's junk.
        depth: K, length of the ranked list; later places are not seen.
    """
    if num_positives == 0:
        return float("nan")
    places = min(depth, num_candidates)
    if places == 0:
        return 0.0
    share = _share_before(num_positives, num_candidates)
    after = _sum_of_precisions(share, places)
    before = 1 + (places - 1) * share  # precision just before a hit: 1 at the first place, else r q / r = q
    return (before + after) / (2 * num_candidates)


def expected_rectangular(num_positives: int, num_candidates: int, *, cut: int) -> float:
    """Expected rectangular average precision of a random ranking in the first `cut`; NaN if no positives."""
    if num_positives == 0:
        return float("nan")
    places = min(cut, num_candidates)
    hit = num_positives / num_candidates
    share = _share_before(num_positives, num_candidates)
    return hit * _sum_of_precisions(share, places) / min(num_positives, cut)


def _share_before(num_positives: int, num_candidates: int) -> float:
    return (num_positives - 1) / (num_candidates - 1) if num_candidates > 1 else 0.0


def _sum_of_precisions(share: float, places: int) -> float:
    harmonic = harmonic_number(places)
    return harmonic + share * (places - harmonic)


def harmonic_number(count: int) -> float:
    """Return 1 + 1/2 + ... + 1/count, to 1e-13; in constant time and memory for a large count."""
    if count < _SMALL:
        return float(np.sum(1.0 / np.arange(1, count + 1)))
    # Euler and Maclaurin; the next term, 1 / (120 count⁴), is below 1e-14 here
    return float(np.log(count) + np.euler_gamma + 1 / (2 * count) - 1 / (12 * count**2))
