"""Copies among photos: the same file twice, or the same photo saved again; and where they do harm.

A copy in two parts of a data set makes a score too high, a copy under two labels makes one of them wrong.
"""

import csv
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meisho.arrays import Int64Array
from meisho.datasets.photo_facts import HASH_BITS, PhotoFacts
from meisho.errors import InputError
from meisho.files import replacing
from meisho.outputs import COPIES, check_output

NEAR_BITS = 6
"""Perceptual hashes that differ in at most so many of their 64 bits count as copies.

Measured on 2,602 photos of landmarks and objects: of 200 saved anew at quality 30, at half size, or at a
third of it at quality 50, 99 % differ in at most 4 bits and all in at most 8; of 3.4 million pairs of
different photos, of one landmark or not, none differs in fewer than 10. A cut of 3 % at two sides is often
beyond it (median 6, most 16). Over millions of photos chance pairs begin to come in: look before you delete.
"""

_BANDS = 4
_BAND_BITS = HASH_BITS // _BANDS
_PAIRS_AT_ONCE = 2_000_000
HashArray = NDArray[np.uint64]


@dataclass(frozen=True)
class Copies:
    """Photos that are copies of each other.

    Attributes:
        rows: Rows of the photos, ascending, two or more.
        exact: The files are the same, byte for byte.
        crosses_parts: They are in more than one part.
        crosses_labels: They have more than one label; photos without one do not count.
    """

    rows: tuple[int, ...]
    exact: bool
    crosses_parts: bool
    crosses_labels: bool


@dataclass(frozen=True)
class PhotoStatistics:
    """What was found in the photos themselves.

    Attributes:
        num_photos: Photos that were looked at.
        num_bytes: Size of their files.
        broken: Those that cannot be read.
        width_px: (least, median, greatest) of those that can.
        height_px: As above.
        copies: Groups of copies, the exact ones first.
    """

    num_photos: int
    num_bytes: int
    broken: tuple[PhotoFacts, ...]
    width_px: tuple[int, int, int]
    height_px: tuple[int, int, int]
    copies: tuple[Copies, ...]

    def count(self, *, exact: bool, crossing: str = "") -> int:
        """Count groups of copies: all, or those that cross "parts" or "labels"."""
        return sum(
            c.exact is exact and (not crossing or getattr(c, f"crosses_{crossing}")) for c in self.copies
        )


def describe_photos(facts: Sequence[PhotoFacts], *, near_bits: int = NEAR_BITS) -> PhotoStatistics:
    """Say what was found in examined photos.

    Args:
        facts: What is known of each photo.
        near_bits: See `find_near_copies`.
    """
    sound = np.array([f.size_px for f in facts if not f.error], np.int64).reshape(-1, 2)
    return PhotoStatistics(
        num_photos=len(facts),
        num_bytes=sum(f.size_bytes for f in facts),
        broken=tuple(f for f in facts if f.error),
        width_px=_spread(sound[:, 0]),
        height_px=_spread(sound[:, 1]),
        copies=(*find_exact_copies(facts), *find_near_copies(facts, near_bits=near_bits)),
    )


def find_exact_copies(facts: Sequence[PhotoFacts]) -> tuple[Copies, ...]:
    """Group the photos whose files are the same, byte for byte."""
    rows_of: defaultdict[str, list[int]] = defaultdict(list)
    for row, photo in enumerate(facts):
        if photo.sha256:
            rows_of[photo.sha256].append(row)
    return tuple(_copies(facts, rows, exact=True) for rows in rows_of.values() if len(rows) > 1)


def find_near_copies(facts: Sequence[PhotoFacts], *, near_bits: int = NEAR_BITS) -> tuple[Copies, ...]:
    """Group the photos that look the same though their files differ.

    Photos are of one group when a chain of photos leads from one to the other, each step of at most
    `near_bits` different bits. Groups of files that are all the same are left out.

    Raises:
        InputError: `near_bits` is not 0 to 7.
    """
    rows_of: defaultdict[int, list[int]] = defaultdict(list)
    for row, photo in enumerate(facts):
        if photo.perceptual_hash is not None:
            rows_of[photo.perceptual_hash].append(row)
    hashes = np.array(list(rows_of), np.uint64)
    rows = list(rows_of.values())
    joined = _join(len(hashes), find_near_pairs(hashes, near_bits=near_bits))
    groups = [sorted(row for number in group for row in rows[number]) for group in joined]
    return tuple(
        _copies(facts, group, exact=False)
        for group in groups
        if len({facts[row].sha256 for row in group}) > 1
    )


def find_near_pairs(hashes: HashArray, *, near_bits: int = NEAR_BITS) -> Int64Array:
    """Find all pairs of (U,) different hashes that differ in at most `near_bits` of 64 bits.

    Of four bands of 16 bits at least one differs in a quarter of `near_bits` or less, that is, in no bit or
    in one: only pairs for which that holds are compared.

    Returns:
        (P, 2) int64 rows, the first less than the second, each pair once.

    Raises:
        InputError: `near_bits` is not 0 to 7.
    """
    if not 0 <= near_bits < 2 * _BANDS:
        raise InputError(f"near copies differ in 0 to {2 * _BANDS - 1} bits, not in {near_bits}")
    masks = [0, *(1 << bit for bit in range(_BAND_BITS))] if near_bits >= _BANDS else [0]
    found = [np.empty((0, 2), np.int64)]
    for band in range(_BANDS):
        values = ((hashes >> np.uint64(band * _BAND_BITS)) & np.uint64((1 << _BAND_BITS) - 1)).astype(
            np.int64
        )
        for mask in masks:
            for first, second in _equal_pairs(values, values ^ mask):
                near = _count_bits(hashes[first] ^ hashes[second]) <= near_bits
                found.append(np.stack([first[near], second[near]], axis=1))
    return np.unique(np.concatenate(found), axis=0)


def _count_bits(values: HashArray) -> HashArray:
    """Return how many bits of each value are set (numpy has this from version 2.0 on)."""
    ones, twos, fours = (np.uint64(n) for n in (0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F))
    values = values - ((values >> np.uint64(1)) & ones)
    values = (values & twos) + ((values >> np.uint64(2)) & twos)
    values = (values + (values >> np.uint64(4))) & fours
    counted: HashArray = (values * np.uint64(0x0101010101010101)) >> np.uint64(56)
    return counted


def _equal_pairs(values: Int64Array, others: Int64Array) -> Iterator[tuple[Int64Array, Int64Array]]:
    """Yield rows (i, j), i < j, for which values[i] == others[j], a bounded number at a time."""
    order = np.argsort(values, kind="stable")
    starts = np.searchsorted(values[order], others, side="left")
    sizes = np.searchsorted(values[order], others, side="right") - starts
    ends = np.cumsum(sizes)
    low = 0
    while low < len(others):
        done = ends[low - 1] if low else 0
        high = max(low + 1, int(np.searchsorted(ends, done + _PAIRS_AT_ONCE, side="right")))
        size = sizes[low:high]
        second = np.repeat(np.arange(low, high), size)
        offsets = np.arange(len(second)) - np.repeat(np.cumsum(size) - size, size)
        first = order[np.repeat(starts[low:high], size) + offsets]
        yield first[first < second], second[first < second]
        low = high


def _join(size: int, pairs: Int64Array) -> Iterable[list[int]]:
    """Group the numbers below `size` that pairs (P, 2) join, directly or by others."""
    above = list(range(size))

    def root(number: int) -> int:
        while above[number] != number:
            above[number] = above[above[number]]
            number = above[number]
        return number

    for first, second in pairs.tolist():
        above[root(second)] = root(first)
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for number in range(size):
        groups[root(number)].append(number)
    return groups.values()


def _copies(facts: Sequence[PhotoFacts], rows: Sequence[int], *, exact: bool) -> Copies:
    parts, labels = {facts[row].part for row in rows}, {facts[row].label for row in rows} - {""}
    return Copies(tuple(rows), exact, len(parts) > 1, len(labels) > 1)


def _spread(sides: Int64Array) -> tuple[int, int, int]:
    return (int(sides.min()), int(np.median(sides)), int(sides.max())) if len(sides) else (0, 0, 0)


def write_copies(copies: Sequence[Copies], facts: Sequence[PhotoFacts], path: Path) -> None:
    """Write one row per photo that has a copy: `group,kind,part,label,file`; whole or not at all.

    Raises:
        InputError: The file is there, and is no table of copies.
    """
    check_output(path, COPIES)
    with (
        replacing(path) as part,
        part.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["group", "kind", "part", "label", "file"])
        for number, group in enumerate(copies, start=1):
            kind = "exact" if group.exact else "near"
            for row in group.rows:
                writer.writerow([number, kind, facts[row].part, facts[row].label, facts[row].path])
