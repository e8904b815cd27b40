"""Finder: a collection that answers, loaded once; without LanceDB unless it looks at local features."""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from meisho.arrays import AnyArray, Int64Array
from meisho.describing import Describer
from meisho.descriptors import Descriptors, normalize_rows
from meisho.errors import InputError
from meisho.extractors.base import GlobalExtractor
from meisho.extractors.restoring import restore_extractor
from meisho.images import PhotoLike, as_photos
from meisho.index.among import AmongIndex, check_among
from meisho.index.base import Searcher
from meisho.index.following import FollowingIndex
from meisho.photos import Photo
from meisho.run.found import Found
from meisho.run.judging import Judging, find_calibration
from meisho.run.question import Question
from meisho.run.state import State, is_same, load_state, read_mark
from meisho.run.turning import turn_photos
from meisho.store.metadata import Metadata
from meisho.store.places import place_of
from meisho.store.snapshot import Snapshot

if TYPE_CHECKING:
    from meisho.photo_pair import PhotoPair
    from meisho.rerank.chain import Chain
    from meisho.run.reranking import Begin, Rerank, Reranking

Among = Callable[[Snapshot], AnyArray] | AnyArray
"""Rows of the database (R,), or a mask (N,) bool; or what chooses them of the version that answers."""

_LOCAL_SIDE_PX = 1024
"""The largest working size of the extractors of local features, px."""


class Finder:
    """A collection that answers: its model, vectors and index are loaded once; made by `open`.

    Many threads may ask one finder at once, also while a process writes to the collection: every answer is
    that of one committed version. `follow` takes over what was written since.

    Attributes:
        path: The collection's directory, absolute.
        describer: Describes the queries.
        searcher_of: Gives what questions search through; the index itself where nobody sets it.
    """

    def __init__(
        self, path: Path, describer: Describer, state: State, *, device: str, keep_bytes: int
    ) -> None:
        self.path, self.describer = path, describer
        self.searcher_of: Callable[[FollowingIndex], Searcher] = _itself
        self._state, self._device, self._keep_bytes = state, device, keep_bytes
        self._following, self._loading = threading.Lock(), threading.Lock()
        self._reranking: Reranking | None = None

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
        path = place_of(path)
        state = load_state(path)
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
    def state(self) -> State:
        """The collection as it answers now."""
        return self._state

    @property
    def metadata(self) -> Metadata:
        """What the collection was made with."""
        return self._state.metadata

    @property
    def photo_root(self) -> Path:
        """The folder that holds the photos."""
        return self._state.metadata.photo_root

    @property
    def descriptors(self) -> Descriptors:
        """The descriptors (N, D) of all photos, in database order, of the version that answers now."""
        return self._state.snapshot.descriptors

    @property
    def snapshot(self) -> Snapshot:
        """All photos of the version that answers now."""
        return self._state.snapshot

    @property
    def row_of(self) -> Mapping[str, int]:
        """The row of each photo of that version, by its id."""
        return self._state.row_of

    @property
    def is_calibrated(self) -> bool:
        """Whether verified answers come with a probability: the models of the collection were calibrated."""
        if self.metadata.local_provenance is None:
            return False
        from meisho.rerank.geometric import GeometricReranker  # it imports OpenCV

        how = GeometricReranker()
        return find_calibration(self.metadata, how.matcher, how.ransac) is not None

    def warm_up(self) -> None:
        """Load now what the first verified question would load.

        Raises:
            CollectionError: The collection is damaged.
        """
        if self.metadata.local_provenance is not None and len(self):
            self.compare(self.descriptors.ids[0], self.descriptors.ids[0])

    def follow(self) -> bool:
        """Take over what was written to the collection since; returns whether that changed any photo.

        Costs the listing of one folder where nothing was written. Questions under way keep the version that
        they began with.

        Raises:
            CollectionError: The collection is gone or damaged; the finder stays at the version that it had.
        """
        with self._following:
            before = self._state
            if read_mark(self.path) == before.mark:
                return False
            state = load_state(self.path)
            state.metadata.require_provenance(self.describer.provenance, self.path)
            changed = not is_same(state.snapshot, before.snapshot)
            if not changed:  # tidied, moved: what was computed of the photos still holds
                state.kept, state.lock = before.kept, before.lock
                state.local = before.local if state.mark[1:] == before.mark[1:] else None
                state.snapshot = before.snapshot
                if state.mark.engine == before.mark.engine:
                    state.index = before.index
            state.take_over(before)
            self._state = state
            return changed

    def find(
        self,
        queries: PhotoLike | Iterable[PhotoLike],
        *,
        top: int = 10,
        chain: "Chain | str | None" = None,
        near: bool = False,
        turned: bool = False,
        among: Among | None = None,
        same: Iterable[str] = (),
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
            among: Which photos may be answers; None: all. Rerankers still look for neighbours among all.
            same: Ids of photos of the collection that show what the queries show, as somebody said: the mean
                of their descriptors and the query's is asked with. Ids that are not there are passed over.

        Raises:
            ImageError: A query cannot be read.
            InputError: A query cannot be a photo, `top` is less than 1, the chain needs local features and
                there are none, or `among` names rows that are not there.
            ConfigError: The chain names an unknown reranker or option.
        """
        photos, state = as_photos(queries), self._state
        asked = turn_photos(photos, self._turned_side_px()) if turned else photos
        described = _add_known(self.describer.describe(asked), state, same)
        begin = None if chain is None else self._load_reranking().with_chain(chain)
        asking = _Asking(state, self.searcher_of(state.index), begin, top, near, turned, among)
        return asking.answer(photos, asked, described)

    def find_like(
        self,
        photo_id: str,
        *,
        top: int = 10,
        chain: "Chain | str | None" = None,
        near: bool = False,
        among: Among | None = None,
        same: Iterable[str] = (),
    ) -> Found:
        """Find the best photos for a photo of the collection by what is stored of it; its file is not read.

        It is the first of its own answers. The options are those of `find`.

        Raises:
            InputError: No photo has that id, `top` is less than 1, the chain needs local features and there
                are none, or `among` names rows that are not there.
            ConfigError: The chain names an unknown reranker or option.
        """
        state = self._state
        photo = state.stored_photo(photo_id)
        database = state.snapshot.descriptors
        described = Descriptors((photo_id,), database.vectors[[photo.row]], database.provenance)
        begin = None if chain is None else self._load_reranking().with_chain(chain)
        asking = _Asking(state, self.searcher_of(state.index), begin, top, near, False, among)
        return asking.answer((photo,), (photo,), _add_known(described, state, same))

    def compare(self, query: Photo | str, photo_id: str) -> "PhotoPair":
        """Compare a photo with one of the collection by local features, as a chain that verifies does.

        What was found or verified of them before, by `find` too, is not computed again.

        Args:
            query: A photo, or the id of one of the collection.
            photo_id: A photo of the collection.

        Raises:
            ImageError: The query cannot be read.
            InputError: No photo has that id, or the collection holds no local features.
        """
        state, database = self._state, self._state.snapshot.descriptors
        photo = state.stored_photo(photo_id)
        if isinstance(query, str):
            asked: Photo = state.stored_photo(query)
            vectors = database.vectors[[state.row_of[query]]]
        else:
            asked, vectors = query, self.describer.describe(query).vectors
        pairs, row = self._load_reranking().pairs(state, asked), np.array([photo.row], np.int64)
        pair = pairs.compare(0, row, [photo])[0]
        judging = Judging(vectors, state, pairs)
        (judgement,) = judging.judge(judging.gather(np.zeros(1, np.int64), row, [pair]))
        return replace(pair, judgement=judgement)

    def _load_reranking(self) -> "Reranking":
        from meisho.run.reranking import Reranking  # which other questions do without

        with self._loading:
            if self._reranking is None:
                self._reranking = Reranking(self.path, self._device, self._keep_bytes)
            return self._reranking

    def _turned_side_px(self) -> int:
        """Return how large a turned query is kept: twice the working size, so that little is lost."""
        return 2 * max(self.describer.extractor.image_options.max_side_px, _LOCAL_SIDE_PX)


@dataclass(frozen=True, eq=False)
class _Asking:
    """How described photos are asked of a collection as it is at one moment."""

    state: State
    index: Searcher
    begin: "Begin | None"
    top: int
    near: bool
    turned: bool
    among: Among | None

    def __post_init__(self) -> None:
        if self.top < 1:
            raise InputError(f"top is {self.top}; ask for at least 1 answer")

    def answer(self, photos: tuple[Photo, ...], asked: tuple[Photo, ...], described: Descriptors) -> Found:
        """Answer photos that are described as they were asked, four times where they were turned."""
        state = self.state
        rows = _choose_rows(self.among, state.snapshot)
        rerank = None if self.begin is None else self.begin(state, asked, described, rows)
        question = _question(described, state, self.index, rerank, rows, turned=self.turned)
        ranking, below, positions = question.answer(self.top, state.hash_of if self.near else None)
        pairs = None if rerank is None else rerank.end()
        judging = Judging(described.vectors, state, pairs)
        return Found(photos, ranking, state.paths, state.snapshot.version, pairs, below, positions, judging)


def _choose_rows(among: Among | None, snapshot: Snapshot) -> Int64Array | None:
    if among is None:
        return None
    return check_among(among(snapshot) if callable(among) else among, len(snapshot.keys))


def _itself(index: FollowingIndex) -> Searcher:
    return index


def _question(
    described: Descriptors,
    state: State,
    index: Searcher,
    rerank: "Rerank | None",
    rows: Int64Array | None,
    *,
    turned: bool,
) -> Question:
    """Return what is asked of the given rows of a collection, or of all."""
    database, contents = state.snapshot.descriptors, state.contents
    if rows is None:
        return Question(described, database, index, contents, rerank, turned)
    restricted = AmongIndex(index, database.vectors.__getitem__, rows, len(database))
    return Question(described, database, restricted, contents.among(rows), rerank, turned)


def _add_known(described: Descriptors, state: State, same: Iterable[str]) -> Descriptors:
    """Return queries as the mean of themselves and of photos of the collection that show the same."""
    wanted = {*same}
    rows = sorted(state.row_of[photo_id] for photo_id in wanted if photo_id in state.row_of)
    if not rows:
        return described
    vectors = state.snapshot.descriptors.vectors[np.array(rows)]
    mean = (described.vectors + vectors.sum(axis=0)) / (1 + len(rows))
    return replace(described, vectors=normalize_rows(mean))
