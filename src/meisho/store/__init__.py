"""The collection on disk: photo records and descriptors, the truth from which every index is derived."""

from meisho.errors import MissingDependencyError

try:
    from meisho.store.collection import Collection, Snapshot
    from meisho.store.records import PhotoRecord
    from meisho.store.writer import CollectionWriter
except ImportError as error:
    raise MissingDependencyError(
        f"a collection on disk needs LanceDB, which cannot be imported ({error}); "
        "run: pip install lancedb pyarrow filelock (extraction and training work without it)"
    ) from error

__all__ = ["Collection", "CollectionWriter", "PhotoRecord", "Snapshot"]
