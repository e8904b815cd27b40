"""Grouping: the photos of a collection by the places that they show, and what is there more than once."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
from filelock import FileLock, Timeout

from meisho.arrays import Float64Array, Int64Array
from meisho.certainty import LEAST_INLIERS, PairEvidence
from meisho.config import build
from meisho.documents import Fields
from meisho.errors import CollectionError, InputError, LockedError
from meisho.progress import Progress, silent
from meisho.run.judging import find_calibration
from meisho.run.linking import LinkOptions, link
from meisho.run.pairing import PairOptions, Pairs, verify_pairs
from meisho.run.state import State, load_state
from meisho.sealed import read_sealed, write_sealed
from meisho.store.metadata import read_metadata
from meisho.store.places import place_of

PLACES_FILE = Path("groups") / "places.json"
"""Where a collection keeps its places."""

LOCK_FILE = Path("groups") / "groups.lock"
"""Held while they are being found."""

DuplicateKind = Literal["same", "near"]


@dataclass(frozen=True)
class Place:
    """Photos that show one place.

    Attributes:
        id: Names the place for as long as the photo that was indexed first of it is there.
        cover: The photo that the most others confirm.
        photos: Two ids or more, the cover first, then by how much the others confirm them; of copies and near
            copies only the first.
        copies: Ids of the copies and near copies of these.
    """

    id: str
    cover: str
    photos: tuple[str, ...]
    copies: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Number of different photos."""
        return len(self.photos)


@dataclass(frozen=True)
class Duplicates:
    """Files that hold one photo.

    Attributes:
        id: Names the group, as that of a place does.
        kind: "same": all have the same content; "near": some have another size, quality or format.
        photos: Two ids or more, in the order in which they were indexed.
    """

    id: str
    kind: DuplicateKind
    photos: tuple[str, ...]


@dataclass(frozen=True)
class Places:
    """What the photos of a collection show.

    Attributes:
        made_at: When this was found, UTC, as "2026-11-28T14:00:00+00:00".
        version: Version of the collection that it was found in.
        calibrated: Whether probabilities joined them; if not, numbers of inliers did.
        places: The places, those with the most photos first.
        duplicates: What is there more than once, likewise.
        format: Version of the file.
    """

    made_at: str
    version: int
    calibrated: bool
    places: tuple[Place, ...]
    duplicates: tuple[Duplicates, ...]
    format: int = 1


@dataclass(frozen=True)
class GroupOptions:
    """How photos are grouped.

    Attributes:
        pairs: Which pairs are verified, and how.
        least_inliers: Matches that must agree before a pair counts at all: descriptors alone join nothing.
        links: Which pairs join.

    Chosen by `benchmarks/bench_groups.py`: the strictest that cost no recall where they were chosen.
    """

    pairs: PairOptions = field(default_factory=PairOptions)
    least_inliers: int = 10
    links: LinkOptions = field(default_factory=LinkOptions)


def find_groups(
    collection_path: str | Path, options: GroupOptions | None = None, *, progress: Progress = silent
) -> Places:
    """Find the places that a collection shows more than once, and keep them in its folder.

    Only photos that are new since the last time are compared with their neighbours. What was interrupted goes
    on where it was.

    Args:
        collection_path: The collection's directory.
        options: How photos are grouped.
        progress: Called as photos are compared.

    Raises:
        CollectionError: There is no collection, it holds no local features, or is damaged.
        LockedError: Its places are being found already.
    """
    path, options = place_of(collection_path), options or GroupOptions()
    read_metadata(path)
    with _hold_lock(path):
        state = load_state(path)
        pairs = verify_pairs(state, options.pairs, progress=progress)
        probabilities, calibrated = rate_pairs(state, pairs, options)
        places = make_places(state, pairs, probabilities, options.links, calibrated=calibrated)
        write_sealed(path / PLACES_FILE, asdict(places))
    return places


@contextmanager
def _hold_lock(path: Path) -> Iterator[None]:
    """Find the places of a collection alone: two would write over each other's pairs."""
    (path / LOCK_FILE).parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path / LOCK_FILE, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise LockedError(
            f"{path}: another process finds its places now; wait for it to end, or stop it, then ask again"
        ) from error
    try:
        yield
    finally:
        lock.release()


def rate_pairs(state: State, pairs: Pairs, options: GroupOptions) -> tuple[Float64Array, bool]:
    """Return the probability (P,) of each pair, or what stands for it, and whether it was calibrated."""
    calibration = find_calibration(state.metadata, options.pairs.matcher, options.pairs.ransac)
    known = [None if calibration is None else calibration.probability(each) for each in pairs.evidence]
    rated = [_strength(e) if p is None else p for e, p in zip(pairs.evidence, known, strict=True)]
    enough = [(e.num_inliers or 0) >= options.least_inliers for e in pairs.evidence]
    return np.where(enough, np.array(rated, np.float64), 0.0), calibration is not None


def load_groups(collection_path: str | Path) -> Places | None:
    """Return what `find_groups` kept; None where it was never asked.

    Raises:
        CollectionError: There is no collection, or its places cannot be read.
    """
    path = place_of(collection_path)
    read_metadata(path)
    return read_places(path / PLACES_FILE) if (path / PLACES_FILE).exists() else None


def make_places(
    state: State, pairs: Pairs, probabilities: Float64Array, options: LinkOptions, *, calibrated: bool
) -> Places:
    """Join the photos of a collection by verified pairs, whose probabilities are (P,)."""
    firsts = state.contents.firsts
    near = pairs.rows[pairs.near]
    heads = firsts[link(len(firsts), near, np.ones(len(near)), LinkOptions(support=1))[firsts]]
    rows = np.sort(heads[pairs.rows], axis=1)
    apart = rows[:, 0] != rows[:, 1]
    rows, strengths = _keep_best(rows[apart], probabilities[apart])
    groups = link(len(firsts), rows, strengths, options)
    confirmed = _sum_within(groups, rows, strengths)
    return Places(
        datetime.now(UTC).isoformat(timespec="seconds"),
        state.snapshot.version,
        calibrated,
        tuple(_make_places(state, groups, heads, confirmed)),
        tuple(_make_duplicates(state, heads)),
    )


def _make_places(
    state: State, groups: Int64Array, heads: Int64Array, confirmed: Float64Array
) -> Iterator[Place]:
    ids = state.snapshot.descriptors.ids
    copies: defaultdict[int, list[str]] = defaultdict(list)
    for row in np.flatnonzero(heads != np.arange(len(heads))).tolist():
        copies[int(groups[heads[row]])].append(ids[row])
    only_heads = np.where(heads == np.arange(len(heads)), groups, -1)
    for group, rows in _biggest_first(only_heads):
        best = sorted(rows, key=lambda row: (-confirmed[row], row))
        photos = tuple(ids[row] for row in best)
        yield Place(_name(state, group), photos[0], photos, tuple(copies[group]))


def _make_duplicates(state: State, heads: Int64Array) -> Iterator[Duplicates]:
    ids, firsts = state.snapshot.descriptors.ids, state.contents.firsts
    for head, rows in _biggest_first(heads):
        kind: DuplicateKind = "same" if len({*firsts[rows].tolist()}) == 1 else "near"
        yield Duplicates(_name(state, head), kind, tuple(ids[row] for row in rows))


def _biggest_first(groups: Int64Array) -> list[tuple[int, list[int]]]:
    """Return groups (N,) of two rows or more with their rows ascending, the biggest first; -1 is none."""
    sizes = Counter(groups[groups >= 0].tolist())
    members: defaultdict[int, list[int]] = defaultdict(list)
    for row, group in enumerate(groups.tolist()):
        if sizes[group] > 1:
            members[group].append(row)
    return sorted(members.items(), key=lambda each: (-len(each[1]), each[0]))


def _keep_best(rows: Int64Array, probabilities: Float64Array) -> tuple[Int64Array, Float64Array]:
    """Leave of several pairs of the same two photos the most probable."""
    best: dict[tuple[int, int], float] = {}
    for (one, other), probability in zip(rows.tolist(), probabilities.tolist(), strict=True):
        best[one, other] = max(probability, best.get((one, other), 0.0))
    return np.array([*best], np.int64).reshape(-1, 2), np.array([*best.values()], np.float64)


def _sum_within(groups: Int64Array, rows: Int64Array, probabilities: Float64Array) -> Float64Array:
    """Return for each photo (N,) the sum of the probabilities of its pairs within its group."""
    sums = np.zeros(len(groups))
    within = groups[rows[:, 0]] == groups[rows[:, 1]]
    for side in (0, 1):
        np.add.at(sums, rows[within, side], probabilities[within])
    return sums


def _strength(evidence: PairEvidence) -> float:
    """Return what stands for a probability where none is known: 0.8 at `LEAST_INLIERS`, and 0.9 at twice."""
    least = LEAST_INLIERS[evidence.model or "affine"]
    return 1 - 0.2 * least / max(evidence.num_inliers or 0, least / 5)


def _name(state: State, row: int) -> str:
    return f"{int(state.snapshot.keys[row]):016x}"


def read_places(path: Path) -> Places:
    """Read a file of places.

    Raises:
        CollectionError: It cannot be read.
    """
    try:
        places = build(Fields(read_sealed(path), path.name, InputError), Places)
    except (OSError, InputError, ValueError) as error:
        raise CollectionError(f"{path}: cannot be read ({error}); run 'meisho groups' again") from error
    if places.format != 1:
        raise CollectionError(f"{path}: places by another version; run 'meisho groups' again")
    return places
