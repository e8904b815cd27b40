"""Merging: which fragments of a table to write anew together, in steps of bounded size.

Each commit makes a fragment, and each commit writes the list of all fragments. So small ones are merged as in
a log-structured merge tree (O'Neil et al. 1996): eight of about the same number of rows become one. A row is
then written once for each factor of eight, until its fragment is large and stays.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

from meisho.store.manifests import Fragment

STEP_BYTES = 16 * 1024**2
"""One step rewrites no more than this; fragments of half of it are large."""
FAN_OUT = 8
"""So many fragments of about the same number of rows are merged; a power of two."""
MOST_FRAGMENTS = 64
"""Of one step: the condition that names its rows must stay short."""

Step = tuple[tuple[int, int], ...]
"""Rows to be written anew together: half-open ranges of row ids."""


def choose_step(fragments: Sequence[Fragment]) -> Step:
    """Return what to merge before more rows are added; () for nothing."""
    levels = defaultdict(list)
    for fragment in fragments:
        if _is_small(fragment):
            levels[_level(fragment)].append(fragment)
    full = max((level for level, members in levels.items() if len(members) >= FAN_OUT), default=-1)
    group = next(_groups([f for level, members in levels.items() if level <= full for f in members]), [])
    return _ranges(group) if len(group) > 1 else ()


def plan_steps(fragments: Sequence[Fragment]) -> list[Step]:
    """Return the steps that leave a table tidy: what is small is merged, and worn fragments are written anew.

    What they write may be merged once more, so ask again after them, until there are none.
    """
    worn = [f for f in fragments if _is_worn(f)]
    steps = [((first, end),) for f in worn if f.size_bytes > STEP_BYTES for first, end in _pieces(f)]
    rest = [f for f in fragments if _is_small(f) or (_is_worn(f) and f.size_bytes <= STEP_BYTES)]
    groups = [group for group in _groups(rest) if len(group) > 1 or _is_worn(group[0])]
    return steps + [_ranges(group) for group in groups]


def _is_small(fragment: Fragment) -> bool:
    return 0 < fragment.size_bytes <= STEP_BYTES and _live_bytes(fragment) < STEP_BYTES / 2


def _is_worn(fragment: Fragment) -> bool:
    """Whether more than a quarter of the rows are deleted."""
    return 4 * fragment.num_deleted > fragment.num_rows


def _live_bytes(fragment: Fragment) -> float:
    return fragment.size_bytes * fragment.num_live / max(1, fragment.num_rows)


def _level(fragment: Fragment) -> int:
    """Return how often `FAN_OUT` divides the number of rows, rounded down."""
    return (max(1, fragment.num_live).bit_length() - 1) // (FAN_OUT.bit_length() - 1)


def _groups(fragments: Sequence[Fragment]) -> Iterator[list[Fragment]]:
    """Yield groups of at most `STEP_BYTES`, the smallest fragments first."""
    group: list[Fragment] = []
    size_bytes = 0.0
    for fragment in sorted(fragments, key=_live_bytes):
        if group and (size_bytes + _live_bytes(fragment) > STEP_BYTES or len(group) == MOST_FRAGMENTS):
            yield group
            group, size_bytes = [], 0.0
        group.append(fragment)
        size_bytes += _live_bytes(fragment)
    if group:
        yield group


def _ranges(group: Sequence[Fragment]) -> Step:
    return tuple(sorted((f.number << 32, (f.number << 32) + f.num_rows) for f in group))


def _pieces(fragment: Fragment) -> Iterator[tuple[int, int]]:
    """Cut a fragment, larger than a step, into ranges of row ids of a step each."""
    rows = max(1, fragment.num_rows * STEP_BYTES // fragment.size_bytes)
    start = fragment.number << 32
    edges = [start + offset for offset in (*range(0, fragment.num_rows, rows), fragment.num_rows)]
    return pairwise(edges)
