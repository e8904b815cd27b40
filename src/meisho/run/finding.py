"""Finder: a collection that answers, loaded once; without LanceDB unless it looks at local features."""

import hashlib
import threading
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from meisho.arrays import UInt64Array
from meisho.describing import Describer
from meisho.descriptors import Descriptors, Provenance
from meisho.errors import CollectionError, InputError
from meisho.extractors.base import GlobalExtractor
from meisho.extractors.restoring import restore_extractor, restore_local_extractor
from meisho.images import PhotoLike, as_photos
from meisho.index.base import Searcher
from meisho.index.live import LiveIndex
from meisho.local_describing import LocalDescriber
from meisho.local_features import LocalFeatures
from meisho.photo_pair import StoredPairs
from meisho.photos import Photo
from meisho.rerank.chain import Chain, build_chain
from meisho.rerank.costs import count_kept_bytes
from meisho.rerank.evidence import Evidence
from meisho.rerank.geometric import GeometricReranker
from meisho.rerank.verified import RememberedPairs, make_pair_memory
from meisho.run.folding import Contents
from meisho.run.found import Found, Paths
from meisho.run.question import Question
from meisho.run.turning import turn_photos
from meisho.store.metadata import INDEX_FOLDER, METADATA_FILE, Metadata, read_metadata
from meisho.store.snapshot import Snapshot, read_commit
from meisho.store.snapshot_files import load_snapshot
from meisho.stored_features import CollectionFeatures, StoredFeatures


class _Mark(NamedTuple):
    """What changes whenever something of a collection does; each part is cheap to read."""

    photos: str
    local_features: str
    metadata: int


_LOCAL_SIDE_PX = 1024
"""The largest working size of the extractors of local features, px."""


@dataclass(eq=False)
class _State:
    """A collection as it was at one commit, and what is kept of it.

    Attributes:
        mark: What tells this commit from others, see `_read_mark`.
        metadata: What the collection was made with.
        snapshot: Its descriptors.
        index: Finds rows of the snapshot.
        paths: (N,) files of the photos.
        contents: Which of them are copies of each other.
        kept: What rerankers have computed of the database alone.
        hashes: Perceptual hashes of photos, by row, that were compared so far; None where one cannot be read.
        local: Its local features, once they were asked for.
        lock: Held while a reranker computes something that is kept.
    """

    mark: _Mark
    metadata: Metadata
    snapshot: Snapshot
    index: Searcher
    paths: Sequence[Path]
    contents: Contents
    kept: dict[Hashable, object] = field(default_factory=dict)
    hashes: dict[int, int | None] = field(default_factory=dict)
    local: StoredFeatures | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)

    def hash_of(self, row: int) -> int | None:
        """Return the perceptual hash of the photo of a row; None where its file cannot be read."""
        from meisho.datasets.photo_facts import PhotoFacts, examine_photo  # for --near alone

        if row not in self.hashes:
            self.hashes[row] = examine_photo(PhotoFacts(self.paths[row], "")).perceptual_hash
        return self.hashes[row]


class Finder:
    """A collection that answers: its model, vectors and index are loaded once; made by `open`.

    Many threads may ask one finder at once, also while a process writes to the collection: every answer is
    that of one committed version. `follow` takes over what was written since.

    Attributes:
        path: The collection's directory, absolute.
        describer: Describes the queries.
    """

    def __init__(
        self, path: Path, describer: Describer, state: _State, *, device: str, keep_bytes: int
    ) -> None:
        self.path, self.describer = path, describer
        self._state, self._device, self._keep_bytes = state, device, keep_bytes
        self._following, self._loading = threading.Lock(), threading.Lock()
        self._pairs = make_pair_memory(keep_bytes // 8)
        self._local_describers: dict[Provenance | None, LocalDescriber] = {}
        self._chains: dict[str, Chain] = {}

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        extractor: GlobalExtractor | None = None,
        device: str = "auto",
        places: dict[str, str] | None = None,
        keep_bytes: int = 2**30,
    ) -> Self:
        """Open a collection to ask it.

        Args:
            path: The collection's directory.
            extractor: Describes the queries. None: loads the model that the collection was made with.
            device: Where networks compute: "auto", "cpu" or "cuda".
            places: Where the model's files, "weights" or "whitening", are now when they were moved.
            keep_bytes: Memory for what rerankers compute of the database once, such as augmented descriptors;
                more than that is computed anew for each call. An eighth of it keeps verified pairs.

        Raises:
            CollectionError: There is no collection, or it is damaged.
            MismatchError: The extractor is not the one that the collection was made with.
        """
        path = Path(path).absolute()
        state = _load_state(path)
        if extractor is None:
            extractor = restore_extractor(state.metadata.provenance, device=device, places=places)
        state.metadata.require_provenance(extractor.provenance, path)
        return cls(path, Describer(extractor), state, device=device, keep_bytes=keep_bytes)

    def __len__(self) -> int:
        return len(self.descriptors)

    def __repr__(self) -> str:
        return f"Finder({str(self.path)!r}, {len(self)} photos, version {self.version})"

    @property
    def version(self) -> int:
        """The version of the collection that answers now, see `Collection.version`."""
        return self._state.snapshot.version

    @property
    def photo_root(self) -> Path:
        """The folder that holds the photos."""
        return self._state.metadata.photo_root

    @property
    def descriptors(self) -> Descriptors:
        """The descriptors (N, D) of all photos, in database order, of the version that answers now."""
        return self._state.snapshot.descriptors

    def follow(self) -> bool:
        """Take over what was written to the collection since; returns whether that changed any photo.

        Costs the listing of one folder where nothing was written. Questions under way keep the version that
        they began with.

        Raises:
            CollectionError: The collection is gone or damaged; the finder stays at the version that it had.
        """
        with self._following:
            before = self._state
            if _read_mark(self.path) == before.mark:
                return False
            state = _load_state(self.path)
            state.metadata.require_provenance(self.describer.provenance, self.path)
            changed = not _is_same(state.snapshot, before.snapshot)
            if not changed:  # tidied, moved: what was computed of the photos still holds
                state.kept, state.lock = before.kept, before.lock
                state.local = before.local if state.mark[1:] == before.mark[1:] else None
                state.snapshot, state.index = before.snapshot, before.index
            self._state = state
            return changed

    def find(
        self,
        queries: PhotoLike | Iterable[PhotoLike],
        *,
        top: int = 10,
        chain: Chain | str | None = None,
        near: bool = False,
        turned: bool = False,
    ) -> Found:
        """Describe query photos and find the best database photos of each.

        Photos with the same content are one answer, and rerankers see them once: the others stand below it,
        see `Answer.copies`.

        Args:
            queries: Q photos: paths, bytes, PIL images, arrays (H, W, 3) uint8 RGB, or `Photo` values, which
                are cropped where they have a box.
            top: How many answers each gets, where there are as many contents.
            chain: Rerankers that put the answers into a better order, for example "dba,alpha-qe".
            near: Put near copies below the first of them too: the same photo at another size, quality or
                format. Files of answers that look alike are read.
            turned: Ask with each query in four positions, turned by 0, 90, 180 and 270 degrees; a database
                photo gets the best of its four scores. It costs four descriptions and four rerankings.

        Raises:
            ImageError: A query cannot be read.
            InputError: A query cannot be a photo, `top` is less than 1, or the chain needs local features and
                there are none.
            ConfigError: The chain names an unknown reranker or option.
        """
        photos = as_photos(queries)
        if top < 1:
            raise InputError(f"top is {top}; ask for at least 1 answer")
        chain = self._build_chain(chain)
        state = self._state
        asked = turn_photos(photos, self._turned_side_px()) if turned else photos
        described, database = self.describer.describe(asked), state.snapshot.descriptors
        evidence = self._evidence(state, asked, described, chain)
        question = Question(
            described, database, state.index, state.contents, evidence, state.lock, chain, turned
        )
        ranking, below, positions = question.answer(top, state.hash_of if near else None)
        if count_kept_bytes(evidence) > self._keep_bytes:
            with state.lock:
                state.kept.clear()
        pairs = None if chain is None else stored_pairs(asked, evidence, chain)
        return Found(photos, ranking, state.paths, state.snapshot.version, pairs, below, positions)

    def _turned_side_px(self) -> int:
        """Return how large a turned query is kept: twice the working size, so that little is lost."""
        return 2 * max(self.describer.extractor.image_options.max_side_px, _LOCAL_SIDE_PX)

    def _evidence(
        self, state: _State, asked: Sequence[Photo], described: Descriptors, chain: Chain | None
    ) -> Evidence:
        if chain is None:
            return Evidence()
        database = state.snapshot.descriptors
        evidence = Evidence(described.vectors, database.vectors, of_database=state.kept)
        if not chain.needs_local:
            return evidence
        local = self._local_evidence(state, asked)
        prints = [_fingerprint(features, state.metadata) for features in local.queries]
        pairs = RememberedPairs(self._pairs, prints, state.snapshot.keys)
        return replace(evidence, local=local, verified=pairs)

    def _local_evidence(self, state: _State, queries: Sequence[Photo]) -> CollectionFeatures:
        made_by = state.metadata.local_provenance
        with self._loading:
            if made_by not in self._local_describers:
                describer = local_describer(self.path, state.metadata, device=self._device)
                self._local_describers = {made_by: describer}
            describer = self._local_describers[made_by]
            if state.local is None:
                snapshot = state.snapshot
                state.local = stored_features(
                    self.path, state.metadata, snapshot.descriptors.ids, snapshot.keys
                )
            photos = state.local
        return CollectionFeatures(photos, [describer.describe(query) for query in queries])

    def _build_chain(self, chain: Chain | str | None) -> Chain | None:
        if chain is None or isinstance(chain, Chain):
            return chain
        if not isinstance(chain, str):
            raise InputError(
                f"chain is {chain!r:.80}; give a text such as 'dba,alpha-qe', or build_chain(...)"
            )
        if chain not in self._chains:
            self._chains[chain] = build_chain(chain, device=self._device)
        return self._chains[chain]


def local_evidence(
    path: Path, metadata: Metadata, database_ids: Sequence[str], queries: Sequence[Photo], *, device: str
) -> CollectionFeatures:
    """Find the local features of queries; those of the database are read when they are asked for.

    Args:
        path: The collection's directory.
        metadata: What it was made with.
        database_ids: (N,) ids of its photos, by row of the ranking.
        queries: Q photos.
        device: Where the features of the queries are found: "auto", "cpu" or "cuda".

    Raises:
        InputError: The collection holds no local features.
    """
    describer = local_describer(path, metadata, device=device)
    return CollectionFeatures(
        stored_features(path, metadata, database_ids), [describer.describe(query) for query in queries]
    )


def local_describer(path: Path, metadata: Metadata, *, device: str) -> LocalDescriber:
    """Return what finds the local features that a collection holds.

    Raises:
        InputError: It holds none.
    """
    if metadata.local_provenance is None:
        raise InputError(
            f"{path}: holds no local features to verify with; "
            "run 'meisho index' again with --local sift (or xfeat, aliked)"
        )
    return LocalDescriber(restore_local_extractor(metadata.local_provenance, device=device))


def stored_features(
    path: Path, metadata: Metadata, database_ids: Sequence[str], keys: UInt64Array | None = None
) -> StoredFeatures:
    """Return the local features of a collection, which are read when they are asked for.

    Raises:
        CollectionError: They were made anew by another extractor since `metadata` was read.
    """
    from meisho.store.collection import Collection  # it imports LanceDB, which other questions do without

    if read_metadata(path).local_provenance != metadata.local_provenance:
        raise CollectionError(f"{path}: its local features are of another extractor now; open it again")
    return StoredFeatures(Collection(path, metadata), database_ids, keys=keys)


def stored_pairs(queries: Sequence[Photo], evidence: Evidence, chain: Chain) -> StoredPairs | None:
    """Return what compares photos as the last step that verifies does; None where none does."""
    steps = [step.reranker for step in chain.steps if isinstance(step.reranker, GeometricReranker)]
    if evidence.local is None or not steps:
        return None
    return StoredPairs(queries, evidence.local, steps[-1].matcher, steps[-1].ransac, evidence.verified)


def _fingerprint(features: LocalFeatures, metadata: Metadata) -> str:
    """Tell the local features of a query, and those that a collection holds, from others."""
    digest = hashlib.sha256(repr(metadata.local_provenance).encode())
    digest.update(features.keypoints.tobytes())
    digest.update(features.descriptors.tobytes())
    return digest.hexdigest()


def _load_state(path: Path) -> _State:
    mark = _read_mark(path)
    metadata = read_metadata(path)
    snapshot = load_snapshot(path / INDEX_FOLDER, mark.photos, metadata.provenance, metadata.dim)
    if snapshot is None:
        from meisho.store.collection import Collection  # it imports LanceDB, which is not needed otherwise

        snapshot = Collection.open(path).snapshot()
    vectors, keys, version = snapshot.descriptors.vectors, snapshot.keys, snapshot.version
    live = LiveIndex.load(path / INDEX_FOLDER) or LiveIndex.build("exact", vectors, keys, version)
    paths = Paths(metadata.photo_root, snapshot.files)
    contents = Contents(snapshot.contents)
    return _State(mark, metadata, snapshot, live.follow(vectors, keys, version), paths, contents)


def _is_same(one: Snapshot, other: Snapshot) -> bool:
    return one.version == other.version and np.array_equal(one.keys, other.keys)


def _read_mark(path: Path) -> _Mark:
    try:
        changed = (path / METADATA_FILE).stat().st_mtime_ns
    except OSError:
        changed = 0
    return _Mark(read_commit(path), read_commit(path, "local_features"), changed)
