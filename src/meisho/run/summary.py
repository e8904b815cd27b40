"""Summary: what one indexing run did, in numbers and in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from meisho.cores import count_cores
from meisho.decoding import MAX_WORKERS
from meisho.describing import Describer
from meisho.errors import ImageError
from meisho.extractors.machine import how_to_describe_faster
from meisho.photo_folder import LeftOut, PhotoFolder
from meisho.progress import DECODING, DESCRIBING, READING, SAVING, find_bottleneck
from meisho.texts import count

SHOWN = 6
"""Reasons that `count_left_out` names."""

LONG_SECONDS = 10.0
"""What takes less is over before anybody asks why."""
SMALLEST_SHARE = 0.02
"""Of the time, that `say_where_time_went` names."""

_DRIVES = {
    READING: "the photos lie on a slow drive or network",
    SAVING: "the collection lies on a slow drive or network",
}


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
        stages: Seconds that the run spent on each stage or waited for it, see `meisho.progress.Stages`.
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
    stages: Mapping[str, float] = field(default_factory=dict)


def count_left_out(left_out: Sequence[LeftOut]) -> str:
    """Say in one line what was left out, the most first."""
    by_count = sorted(left_out, key=lambda each: -each.count)
    shown = "; ".join(map(_say_left_out, by_count[:SHOWN]))
    return f"{shown}; and others" if len(by_count) > SHOWN else shown


def _say_left_out(each: LeftOut) -> str:
    folders = f" ({count(each.num_folders, 'whole folder')})" if each.num_folders else ""
    return f"{each.count:,} {each.reason}{folders}"


def say_where_time_went(stages: Mapping[str, float], describer: Describer) -> str | None:
    """Say in one line what a run spent its time on, the most first, and what to do about it.

    Returns:
        None where it took a few seconds.
    """
    total = sum(stages.values())
    if total < LONG_SECONDS:
        return None
    shares = sorted(((seconds / total, stage) for stage, seconds in stages.items()), reverse=True)
    spent = ", ".join(f"{stage} {share:.0%}" for share, stage in shares if share >= SMALLEST_SHARE)
    advice = advise(find_bottleneck(stages), describer, num_cores=count_cores())
    return f"{spent}; {advice}" if advice else spent


def advise(stage: str | None, describer: Describer, *, num_cores: int) -> str:
    """Say what would make a stage take less time; nothing where no stage takes most of it."""
    if stage == DESCRIBING:
        return how_to_describe_faster(describer.extractor)
    if stage == DECODING:
        num_workers = MAX_WORKERS if describer.num_workers is None else describer.num_workers
        return (
            f"--workers {num_cores} would help"
            if num_workers < num_cores
            else "more processor cores would help"
        )
    return _DRIVES.get(stage or "", "")


def skipped_place(problem: ImageError, folder: PhotoFolder) -> SkippedPhoto:
    """Return a place that could not be looked into as a skipped photo."""
    return SkippedPhoto(folder.name_below(problem.path), problem.reason)
