"""Reranking: the chains that a finder was asked with, and the local features that they look at.

Apart from `meisho.run.finding`, so that a question without a chain imports none of it.
"""

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from meisho.arrays import Int64Array, UInt64Array
from meisho.descriptors import Descriptors, Provenance
from meisho.errors import CollectionError, InputError
from meisho.extractors.restoring import restore_local_extractor
from meisho.images import GuardedPhoto
from meisho.local_describing import LocalDescriber
from meisho.local_features import LocalFeatures
from meisho.photo_pair import StoredPairs
from meisho.photos import Box, Photo
from meisho.ranking import Ranking
from meisho.recent import Recent
from meisho.rerank.chain import Chain, build_chain
from meisho.rerank.costs import count_kept_bytes
from meisho.rerank.evidence import Evidence
from meisho.rerank.geometric import GeometricReranker
from meisho.rerank.verified import RememberedPairs, make_pair_memory
from meisho.run.state import State, StoredPhoto
from meisho.store.metadata import Metadata, read_metadata
from meisho.stored_features import CollectionFeatures, StoredFeatures

_MOST_CHAINS = 64_000
"""Bytes for chains that were asked by their texts, 1,000 each."""


class Reranking:
    """What a finder keeps to rerank, for any number of threads.

    Args:
        path: The collection's directory.
        device: Where networks compute: "auto", "cpu" or "cuda".
        keep_bytes: Memory for what is computed of the database once; an eighth of it keeps verified pairs,
            and half of that the local features of queries.
    """

    def __init__(self, path: Path, device: str, keep_bytes: int) -> None:
        self._path, self._device, self._keep_bytes = path, device, keep_bytes
        self._loading = threading.Lock()
        self._pairs = make_pair_memory(keep_bytes // 8)
        self._local_describers: dict[Provenance | None, LocalDescriber] = {}
        self._chains = Recent[str, Chain](_MOST_CHAINS, lambda chain: 0)
        self._queries = Recent[tuple[Provenance, str, Box | None], LocalFeatures](
            keep_bytes // 16, lambda features: features.num_bytes
        )

    def with_chain(self, chain: Chain | str) -> "Begin":
        """Return what gets ready to rerank by a chain; one that is a text is built once.

        What is returned takes the state of the collection, the queries, their descriptors, and the rows that
        may be answers. It raises InputError where the chain needs local features and there are none.

        Raises:
            InputError: The chain is no text.
            ConfigError: It names an unknown reranker or option.
        """
        if isinstance(chain, Chain):
            return partial(self._begin, chain)
        if not isinstance(chain, str):
            raise InputError(
                f"chain is {chain!r:.80}; give a text such as 'dba,alpha-qe', or build_chain(...)"
            )
        built = self._chains.get(chain)
        if built is None:
            built = build_chain(chain, device=self._device)
            self._chains.put(chain, built)
        return partial(self._begin, built)

    def pairs(self, state: State, query: Photo) -> StoredPairs:
        """Return what compares a photo with those of the collection as `GeometricReranker` does."""
        how = GeometricReranker()
        local = self._local_evidence(state, [query])
        return StoredPairs([query], local, how.matcher, how.ransac, self._remembered(state, local))

    def _begin(
        self,
        chain: Chain,
        state: State,
        asked: Sequence[Photo],
        described: Descriptors,
        among: Int64Array | None,
    ) -> "Rerank":
        database = state.snapshot.descriptors
        with state.lock:
            graph = state.graph
        evidence = Evidence(
            described.vectors,
            database.vectors,
            of_database=state.kept,
            index=None if state.index.is_exact else state.index,
            graph=graph,
            among=among,
        )
        if chain.needs_local:
            local = self._local_evidence(state, asked)
            evidence = replace(evidence, local=local, verified=self._remembered(state, local))
        return Rerank(state, asked, chain, evidence, self._keep_bytes)

    def _local_evidence(self, state: State, queries: Sequence[Photo]) -> CollectionFeatures:
        made_by = state.metadata.local_provenance
        with self._loading:
            if made_by not in self._local_describers:
                describer = local_describer(self._path, state.metadata, device=self._device)
                self._local_describers = {made_by: describer}
            describer = self._local_describers[made_by]
            if state.local is None:
                snapshot = state.snapshot
                state.local = stored_features(
                    self._path, state.metadata, snapshot.descriptors.ids, snapshot.keys
                )
            photos = state.local
        return CollectionFeatures(photos, [self._describe(query, describer, photos) for query in queries])

    def _describe(self, query: Photo, describer: LocalDescriber, stored: StoredFeatures) -> LocalFeatures:
        """Return the local features of a query: stored ones, those found of it last, or new ones."""
        if isinstance(query, StoredPhoto) and query.box is None:
            return stored.read(np.array([query.row], np.int64))[0]
        if not isinstance(query, GuardedPhoto):
            return describer.describe(query)
        name = (describer.extractor.provenance, query.content_name, query.box)
        found = self._queries.get(name)
        if found is None:
            found = describer.describe(query)
            self._queries.put(name, found)
        return found

    def _remembered(self, state: State, local: CollectionFeatures) -> RememberedPairs:
        prints = [_fingerprint(features, state.metadata) for features in local.queries]
        return RememberedPairs(self._pairs, prints, state.snapshot.keys)


@dataclass(frozen=True, eq=False)
class Rerank:
    """A chain, and what it may look at for some queries.

    Attributes:
        state: The collection that is asked.
        asked: The queries.
        chain: The rerankers.
        evidence: What is known of the queries and the database.
        keep_bytes: Memory for what is computed of the database once.
    """

    state: State
    asked: Sequence[Photo]
    chain: Chain
    evidence: Evidence
    keep_bytes: int

    @property
    def depth(self) -> int:
        """How many answers of the search it looks at."""
        return self.chain.depth

    def __call__(self, ranking: Ranking) -> Ranking:
        """Put a ranking into a better order."""
        with self.state.lock:
            return self.chain.rerank(ranking, self.evidence)

    def end(self) -> StoredPairs | None:
        """Return what compares queries and answers, see `stored_pairs`; forget what is too much."""
        if count_kept_bytes(self.evidence) > self.keep_bytes:
            with self.state.lock:
                self.state.kept.clear()
        return stored_pairs(self.asked, self.evidence, self.chain)


Begin = Callable[[State, Sequence[Photo], Descriptors, Int64Array | None], Rerank]
"""What gets ready to rerank, see `Reranking.with_chain`."""


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
