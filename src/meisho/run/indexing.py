"""Indexing: a collection brought in step with a folder, or changed photo by photo."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from meisho.buckets import BucketPath, as_place
from meisho.describing import Describer
from meisho.engines.base import Engine, open_engine
from meisho.errors import ConfigError, DamagedError, InputError, MismatchError
from meisho.extractors.restoring import restore_extractor, restore_local_extractor
from meisho.images import PhotoLike, as_photos
from meisho.index.base import INDEXES
from meisho.local_describing import LocalDescriber
from meisho.photo_folder import DEFAULT_EXCLUDES, LeftOut, PhotoFolder, find_photos
from meisho.photos import Photo, place_at, place_below, printable_id, why_not_a_file
from meisho.planning import Plan, find_added, plan_additions, plan_local_update, plan_update, with_uploads
from meisho.progress import BUILDING, Progress, Stages, silent
from meisho.run.refreshing import BUILD_INDEX, refresh_index
from meisho.run.summary import IndexSummary, SkippedPhoto, count_left_out, skipped_place
from meisho.store.collection import Collection
from meisho.store.metadata import is_collection, keep_engine, keep_excludes, read_metadata
from meisho.store.places import place_of
from meisho.store.writer import CollectionWriter
from meisho.tables import find_nearest, require_name
from meisho.texts import printable
from meisho.update import LocalUpdate, Update

_BACKSLASH = "\\x5C"  # as ids have it, see `printable_id`; what is printed has the letter itself
LARGE_SHARE = 0.5
"""A sync that would remove more than this share of the photos asks first."""


@dataclass(frozen=True)
class IndexOptions:
    """How a collection is indexed beside its descriptors.

    Attributes:
        index: "auto", "exact", "ivfpq" or "hnsw". None keeps the kind that the collection has; "auto" for a
            new one.
        moved: The photo folder was moved since the collection was made.
        local: Finds local features, which are kept beside the descriptors. None: whatever found those that
            the collection holds; where it holds none, none are looked for.
        device: Where the collection's own extractor of local features computes: "auto", "cpu" or "cuda".
        excludes: Patterns of what `find_photos` leaves out; the collection keeps them. None: those that it
            has, `DEFAULT_EXCLUDES` for a new one. Photos that they leave out are removed.
        prune: Remove photos that are gone even where they are more than `LARGE_SHARE` of all, or were added
            from a folder that is not there either.
        rehash: Read every file, whatever its size and times say.
        only: The collection shall hold the photos given and no others, whatever became of their files.
        graph: Keep the nearest neighbours of every photo, see `NeighborGraph`. None: as the collection does;
            a new one does not.
        engine: Who searches the collection from now on, see `meisho.engines`: "local", or
            "milvus:http://127.0.0.1:19530". None: as before; a new one is searched here.

    Raises:
        ConfigError: No index or engine has that name, or another engine than "local" is given with an index.
    """

    index: str | None = None
    moved: bool = False
    local: LocalDescriber | None = None
    device: str = "auto"
    excludes: tuple[str, ...] | None = None
    prune: bool = False
    rehash: bool = False
    only: bool = False
    graph: bool | None = None
    engine: str | None = None

    def __post_init__(self) -> None:
        if self.index is not None:
            require_name(self.index, ("auto", *INDEXES), what="index")
        if self.engine is not None:
            _refuse_index(self.index, open_engine(self.engine))


def _refuse_index(index: str | None, engine: Engine) -> None:
    """Refuse an index where another engine than "local" searches, which has its own."""
    if index is not None and engine.text != "local":
        raise ConfigError(
            f"the engine {engine.text!r:.80} has indexes of its own; name one behind it, such as "
            f"--engine milvus:URI?index=HNSW, instead of the index {index!r}"
        )


def index_folder(
    folder: str | Path,
    collection_path: str | Path,
    describer: Describer,
    options: IndexOptions | None = None,
    *,
    progress: Progress = silent,
    stages: Stages | None = None,
) -> IndexSummary:
    """Index every photo below a folder, see `find_photos` for which those are; see `index_photos`.

    Raises:
        InputError: The folder is not there, or holds no photo.
    """
    options = options or IndexOptions()
    found = find_photos(folder, excludes=_choose_excludes(place_of(collection_path), options))
    if not found.photos:
        left_out = f"; left out: {count_left_out(found.left_out)}" if found.left_out else ""
        advice = ""
        if options.prune and is_collection(place_of(collection_path)):
            advice = "; if its photos are gone for good, delete that folder, which holds no photos"
        raise InputError(
            f"{folder}: no photo found below it; nothing was changed in {collection_path}{advice}{left_out}"
        )
    return index_photos(found, collection_path, describer, options, progress=progress, stages=stages)


def index_photos(
    folder: PhotoFolder,
    collection_path: str | Path,
    describer: Describer,
    options: IndexOptions | None = None,
    *,
    progress: Progress = silent,
    stages: Stages | None = None,
) -> IndexSummary:
    """Bring a collection in step with the photos of a folder: add new and changed ones, remove what is gone.

    Photos that were added by `add_photos` from elsewhere stay as long as their files are there. What of the
    collection is damaged on the disk is dropped and described anew.

    Gone is what was looked for and is not there, not what could not be looked at. Where more than
    `LARGE_SHARE` of the photos are gone, and are not there under other names, a drive may be off: they are
    kept, and `IndexSummary.kept` says so, unless `IndexOptions.prune` is set.

    Args:
        folder: The photos that the collection shall hold. Problems in it join the skipped photos.
        collection_path: The collection's directory; made when it is not there.
        describer: Describes the photos; its extractor must be the one that the collection was made with.
        options: How to index beside that.
        progress: Called as photos are done.
        stages: Told what the time is spent on, for whoever wants to show it meanwhile.

    Raises:
        MismatchError: The collection was made with another model, option, photo folder or extractor of local
            features.
        LockedError: Another process is writing to it.
    """
    options = options or IndexOptions()
    path = place_of(collection_path)
    try:
        if is_collection(path):
            Collection(path, read_metadata(path)).refuse_unseen_damage()
        return _sync(folder, path, describer, options, progress, stages)
    except DamagedError:
        repaired = Collection.repair(path)
        return replace(_sync(folder, path, describer, options, progress, stages), repaired=repaired)


def _sync(
    folder: PhotoFolder,
    path: Path,
    describer: Describer,
    options: IndexOptions,
    progress: Progress,
    stages: Stages | None,
) -> IndexSummary:
    kept = read_metadata(path).engine if is_collection(path) else None
    engine = open_engine(options.engine or kept)
    _refuse_index(options.index, engine)
    engine.check()
    collection = _open_or_create(path, folder.root, describer, moved=options.moved)
    if options.local is not None:
        local = options.local.extractor
        collection = collection.enable_local(local.provenance, local.dim)
    with collection.writer() as writer:
        if options.excludes is not None:
            keep_excludes(path, options.excludes)
        keep_engine(path, engine.text)
        records = writer.records()
        folder = folder if options.only else with_uploads(folder, records, path)
        plan = plan_update(
            records,
            folder,
            known_contents=writer.known_contents(),
            rehash=options.rehash,
            only=options.only,
            prune=options.prune,
        )
        change = _Change(collection, writer, plan, options, progress, stages)
        added: tuple[Photo, ...] = ()
        if collection.local_provenance and not options.only:
            found = {photo.id for photo in folder.photos}
            added = find_added([record for record in records if record.id not in found])
        del records  # of a million photos, half a GB
        change.run(describer, (*folder.photos, *added))
    return change.summarise(folder)


def add_photos(
    collection_path: str | Path,
    photos: PhotoLike | Iterable[PhotoLike],
    describer: Describer | None = None,
    *,
    local: LocalDescriber | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> IndexSummary:
    """Add photos to a collection, or describe them anew where their files have changed; nothing is removed.

    A photo below the photo folder is what the next `index_folder` would have found. One from elsewhere gets
    its whole path as id, and stays in the collection as long as its file is there.

    Args:
        collection_path: The collection's directory.
        photos: Files: paths or `Photo` values, whose ids are not used. Photos in memory have no file to come
            back to, and are refused.
        describer: Describes them. None: the model of the collection.
        local: Finds their local features, where the collection holds some. None: what found those.
        device: Where its networks compute where they are loaded here: "auto", "cpu" or "cuda".
        progress: Called as photos are done.

    Raises:
        InputError: There are no photos, or one is in memory.
        CollectionError: There is no collection.
        MismatchError: The describer's model is not the collection's.
        LockedError: Another process is writing to it.
    """
    collection = Collection.open(place_of(collection_path))
    describer = describer or Describer(restore_extractor(collection.provenance, device=device))
    collection.require_provenance(describer.provenance)
    new = _name_photos(as_photos(photos), collection)
    with collection.writer() as writer:
        plan = plan_additions(
            writer.records(),
            new,
            photo_root=collection.photo_root,
            known_contents=writer.known_contents(),
        )
        change = _Change(collection, writer, plan, IndexOptions(local=local, device=device), progress)
        change.run(describer, new)
    return change.summarise(PhotoFolder(collection.photo_root, new))


def remove_photos(collection_path: str | Path, ids: str | Path | Iterable[str | Path]) -> IndexSummary:
    """Remove photos from a collection by their ids or files; no file is touched.

    A photo whose file still lies below the photo folder comes back with the next `index_folder`.

    Raises:
        InputError: An id is not in the collection; the nearest is named, and nothing is removed.
        CollectionError: There is no collection.
        LockedError: Another process is writing to it.
    """
    collection = Collection.open(place_of(collection_path))
    words = [ids] if isinstance(ids, str | Path | BucketPath) else ids
    with collection.writer() as writer:
        records = writer.records()
        present = {record.id for record in records}
        wanted = tuple(dict.fromkeys(_id_of(word, present, collection.photo_root) for word in words))
        if missing := [photo_id for photo_id in wanted if photo_id not in present]:
            near = find_nearest(missing[0], present)
            hint = f"; the nearest is {near[0]!r}" if near else ""
            raise InputError(
                f"{collection.path}: {len(missing)} of {len(wanted)} ids are not in it, "
                f"the first is {missing[0]!r}{hint}"
            )
        unchanged = sum(not record.error and record.id not in wanted for record in records)
        plan = Plan(pending=(), gone=wanted, unchanged=unchanged, sizes_px={})
        change = _Change(collection, writer, plan, IndexOptions(prune=True), silent)
        change.run(None, ())
    return change.summarise(PhotoFolder(collection.photo_root, ()))


class _Change:
    """One change of a collection under way: described, committed, tidied, and its index refreshed."""

    def __init__(
        self,
        collection: Collection,
        writer: CollectionWriter,
        plan: Plan,
        options: IndexOptions,
        progress: Progress,
        stages: Stages | None = None,
    ) -> None:
        self._start = time.perf_counter()
        self._collection, self._writer, self._plan = collection, writer, plan
        self._options, self._progress = options, progress
        self._stages = stages or Stages()
        self._update = Update(plan, writer, progress, self._stages)
        self._local: LocalUpdate | None = None
        self._num_removed = self._num_photos = 0
        self._broken: tuple[tuple[str, str], ...] = ()
        self._kind = ""

    def run(self, describer: Describer | None, photos: Sequence[Photo]) -> None:
        """Do it; a plan without new photos needs no describer."""
        if describer is not None:
            self._update.run(describer)
        if self._plan.gone:
            self._remove_gone()
        self._num_photos, self._broken = self._writer.count_photos()
        self._writer.tidy()
        self._progress(BUILD_INDEX, 0, 1)
        with self._stages.at(BUILDING):
            self._kind = refresh_index(
                self._collection, self._options.index, graph=self._options.graph, progress=self._progress
            )
        self._progress(BUILD_INDEX, 1, 1)
        self._describe_local(photos)

    def summarise(self, folder: PhotoFolder) -> IndexSummary:
        """Say what was done."""
        local = self._local
        return IndexSummary(
            num_photos=self._num_photos,
            described=self._update.num_described,
            duplicates=self._update.num_duplicates,
            unchanged=self._plan.unchanged + self._update.num_reread,
            removed=self._num_removed,
            skipped=(
                *(SkippedPhoto(*broken) for broken in self._broken),
                *(skipped_place(problem, folder) for problem in folder.problems),
                *(SkippedPhoto(photo_id, reason) for photo_id, reason in self._plan.unseen),
                *(SkippedPhoto(photo.id, reason) for photo, reason in self._update.unread),
            ),
            index=self._kind,
            seconds=time.perf_counter() - self._start,
            local_described=local.num_described if local else 0,
            local_skipped=tuple(SkippedPhoto(p.id, reason) for p, reason in local.failed) if local else (),
            kept=len(self._plan.gone) - self._num_removed,
            left_out=(*folder.left_out, *self._drawn()),
            stages={stage: round(seconds, 3) for stage, seconds in self._stages.seconds().items()},
        )

    def _drawn(self) -> Iterator[LeftOut]:
        if drawn := self._plan.drawn:
            yield LeftOut("drawn by meisho", len(drawn), drawn[0])

    def _remove_gone(self) -> None:
        """Remove what is gone; where that is a large share and nobody asked for it, only what is not lost.

        A photo that was moved is there under its new name by now, so its content is never without a record.
        """
        gone = {*self._plan.gone}
        records = [record for record in self._writer.records() if not record.error]
        if not (self._options.prune or self._options.only):
            left = {record.content_sha256 for record in records if record.id not in gone}
            lost = [r for r in records if r.id in gone and r.content_sha256 not in left]
            lost = [r for r in lost if why_not_a_file(place_at(self._collection.photo_root, r.file))]
            if len(lost) > max(1, LARGE_SHARE * len(records)):
                gone -= {record.id for record in lost}
        self._writer.remove([photo_id for photo_id in self._plan.gone if photo_id in gone])
        self._num_removed = len(gone)

    def _describe_local(self, photos: Sequence[Photo]) -> None:
        """Find the local features that are missing, where the collection holds some.

        The index is there by then: whoever searches meanwhile need not wait for local features.
        """
        if self._collection.local_provenance is None or not photos:
            return
        pending = plan_local_update(self._writer.records(), photos, has_local=self._writer.has_local_features)
        if not pending:
            return
        provenance, device = self._collection.local_provenance, self._options.device
        describer = self._options.local or LocalDescriber(restore_local_extractor(provenance, device=device))
        self._local = LocalUpdate(pending, self._writer, self._progress, self._stages)
        self._local.run(describer)
        self._writer.tidy()


def _choose_excludes(path: Path, options: IndexOptions) -> tuple[str, ...]:
    if options.excludes is not None:
        return options.excludes
    kept = read_metadata(path).excludes if is_collection(path) else None
    return DEFAULT_EXCLUDES if kept is None else kept


def _id_of(word: str | Path, present: set[str], photo_root: Path) -> str:
    """Return the id that a word stands for: itself, or that of the file it names, as it is or printed."""
    below = place_below(as_place(word), photo_root)
    whole = place_at(photo_root, str(below))
    named = (str(word), printable_id(below), printable_id(whole))
    if (found := next((photo_id for photo_id in named if photo_id in present), None)) is not None:
        return found
    shown = {printable(str(word)), printable(below.as_posix()), printable(whole.as_posix())}
    as_shown = [photo_id for photo_id in present if printable(photo_id.replace(_BACKSLASH, "\\")) in shown]
    return as_shown[0] if len(as_shown) == 1 else str(word)


def _name_photos(photos: Sequence[Photo], collection: Collection) -> tuple[Photo, ...]:
    """Give photos the ids that they have in a collection."""
    if not photos:
        raise InputError(f"{collection.path}: no photo was given to add; name at least one file")
    named = {}
    for photo in photos:
        if photo.content is not None:
            raise InputError(
                f"{photo.id}: a photo in memory cannot be added, for a collection keeps no photos; "
                "save it to a file and add that"
            )
        below = place_below(photo.path, collection.photo_root)
        photo_id = printable_id(below)
        named[photo_id] = Photo(photo_id, place_at(collection.photo_root, str(below)), photo.box)
    return tuple(named.values())


def _open_or_create(path: Path, photo_root: Path, describer: Describer, *, moved: bool) -> Collection:
    if not is_collection(path):
        return Collection.create(
            path, photo_root=photo_root, provenance=describer.provenance, dim=describer.dim
        )
    collection = Collection.open(path)
    collection.require_provenance(describer.provenance)
    if collection.photo_root == photo_root:
        return collection
    if moved:
        return collection.move_photo_root(photo_root)
    raise MismatchError(
        f"{path}: holds the photos of {collection.photo_root}, not of {photo_root}; "
        "choose another place with --to, or, if that folder was moved, run 'meisho index --moved'"
    )
