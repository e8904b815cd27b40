"""Linking: pairs that probably show one place -> groups, which one wrong pair does not bridge."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from meisho.arrays import BoolArray, Float64Array, Int64Array

Edge = tuple[int, int, float]
"""Two photos, and the probability that both show one place."""


@dataclass(frozen=True)
class LinkOptions:
    """Which pairs join groups.

    Attributes:
        alone: Probability from which one pair is enough for a photo that is in no group yet.
        together: Probability from which a pair counts where others support it.
        support: Pairs that it takes between two groups at the least, each of them between photos of its own:
            one photo that looks like many does not join what it looks like.
        share: What these must be of the photos of the smaller group besides, as wrong pairs become more with
            the photos that are compared.
    """

    alone: float = 0.9
    together: float = 0.8
    support: int = 2
    share: float = 0.3


def link(num_photos: int, pairs: Int64Array, probabilities: Float64Array, options: LinkOptions) -> Int64Array:
    """Join photos into groups: by the most probable pairs first, and again as groups grow.

    Pairs come first whose photos both pair with a third: a wrong pair, however probable, rarely does.

    Args:
        num_photos: N.
        pairs: (P, 2) rows of photos.
        probabilities: (P,) that both show one place.
        options: Which pairs join.

    Returns:
        (N,) int64; the group of each photo, named by its lowest row. A photo alone is a group.
    """
    counted = np.flatnonzero(probabilities >= min(options.together, options.alone))
    pairs, probabilities = pairs[counted], probabilities[counted]
    order = np.lexsort((pairs[:, 1], pairs[:, 0], -probabilities, ~_find_triangles(pairs)))
    edges = [(*pairs[place].tolist(), float(probabilities[place])) for place in order.tolist()]
    groups = _Groups(num_photos, edges)
    while groups.join(edges, options):
        edges = [edge for edge in edges if groups.lie_between(edge)]
    return groups.names()


class _Groups:
    """Groups of N photos, and the pairs that lie between any two of them."""

    def __init__(self, num_photos: int, edges: Sequence[Edge]) -> None:
        self._of = list(range(num_photos))
        self._photos = {row: [row] for row in range(num_photos)}
        self._between: dict[int, dict[int, list[Edge]]] = {row: {} for row in range(num_photos)}
        for edge in edges:
            for here, there in (edge[:2], edge[1::-1]):
                self._between[here].setdefault(there, []).append(edge)

    def names(self) -> Int64Array:
        """Return the group of each photo, named by its lowest row."""
        lowest = {group: min(rows) for group, rows in self._photos.items()}
        return np.array([lowest[group] for group in self._of], np.int64)

    def lie_between(self, edge: Edge) -> bool:
        """Say whether a pair is of two groups."""
        return self._of[edge[0]] != self._of[edge[1]]

    def join(self, edges: Sequence[Edge], options: LinkOptions) -> bool:
        """Join the groups that pairs support, the first first; say whether there were any."""
        joined = False
        for edge in edges:
            one, other = self._of[edge[0]], self._of[edge[1]]
            if one != other and self._is_enough(one, other, options):
                self._merge(*sorted((one, other), key=lambda group: (len(self._photos[group]), -group)))
                joined = True
        return joined

    def _is_enough(self, one: int, other: int, options: LinkOptions) -> bool:
        edges = self._between[one][other]
        sizes = len(self._photos[one]), len(self._photos[other])
        if min(sizes) == 1 and edges[0][2] >= options.alone:
            return True
        counted = [edge for edge in edges if edge[2] >= options.together]
        if min(sizes) == 1:
            return len(counted) >= max(options.support, 2)
        needed = min(max(options.support, math.ceil(options.share * min(sizes))), *sizes)
        return _count_apart(counted) >= needed

    def _merge(self, gone: int, stays: int) -> None:
        for row in self._photos[gone]:
            self._of[row] = stays
        self._photos[stays] += self._photos.pop(gone)
        for there, edges in self._between.pop(gone).items():
            del self._between[there][gone]
            if there != stays:
                merged = sorted([*self._between[stays].get(there, []), *edges], key=lambda edge: -edge[2])
                self._between[stays][there] = self._between[there][stays] = merged


def _find_triangles(pairs: Int64Array) -> BoolArray:
    """Return which of (P, 2) pairs have a third photo that both photos are in a pair with."""
    others: defaultdict[int, set[int]] = defaultdict(set)
    for one, other in pairs.tolist():
        others[one].add(other)
        others[other].add(one)
    return np.array([not others[one].isdisjoint(others[other]) for one, other in pairs.tolist()], np.bool_)


def _count_apart(edges: Sequence[Edge]) -> int:
    """Return how many pairs have no photo in common, the first first."""
    taken: set[int] = set()
    number = 0
    for one, other, _ in edges:
        if one not in taken and other not in taken:
            taken |= {one, other}
            number += 1
    return number
