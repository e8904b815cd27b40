"""Summary: what one indexing run did, in numbers and in words."""

from collections.abc import Sequence
from dataclasses import dataclass

from meisho.errors import ImageError
from meisho.photos import LeftOut, PhotoFolder

SHOWN = 6
"""Reasons that `count_left_out` names."""


@dataclass(frozen=True)
class SkippedPhoto:
    """A photo that cannot be read, and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class IndexSummary:
    """What one indexing run did.

    Attributes:
        num_photos: Photos that can be found now.
        described: Photos whose descriptor was computed.
        duplicates: New paths whose content was there already; they share its descriptor.
        unchanged: Photos that were there and have not changed, broken ones included.
        removed: Photos that are gone, and were removed.
        skipped: Photos that cannot be read, found by this run or an earlier one.
        index: Kind of the search structure.
        seconds: Wall time.
        local_described: Contents whose local features were found.
        local_skipped: Photos that stay without local features, because they cannot be read any more.
        repaired: What was damaged on the disk and is made anew, a sentence each.
        kept: Photos that are gone but were not removed, since they are more than `LARGE_SHARE` of all.
        left_out: Files and folders that were not taken for photos, by reason.
    """

    num_photos: int
    described: int
    duplicates: int
    unchanged: int
    removed: int
    skipped: tuple[SkippedPhoto, ...]
    index: str
    seconds: float
    local_described: int = 0
    local_skipped: tuple[SkippedPhoto, ...] = ()
    repaired: tuple[str, ...] = ()
    kept: int = 0
    left_out: tuple[LeftOut, ...] = ()


def count_left_out(left_out: Sequence[LeftOut]) -> str:
    """Say in one line what was left out, the most first."""
    by_count = sorted(left_out, key=lambda each: -each.count)
    shown = "; ".join(f"{each.count:,} {each.reason}" for each in by_count[:SHOWN])
    return f"{shown}; and others" if len(by_count) > SHOWN else shown


def skipped_place(problem: ImageError, folder: PhotoFolder) -> SkippedPhoto:
    """Return a place that could not be looked into as a skipped photo."""
    return SkippedPhoto(folder.name_below(problem.path), problem.reason)
