"""The collection on disk: photo records, descriptors and local features; indexes are derived from it."""

from meisho.errors import MissingDependencyError

try:
    from meisho.store.collection import Collection, Snapshot
    from meisho.store.local_reader import LocalFeatureReader
    from meisho.store.records import PhotoRecord
    from meisho.store.writer import CollectionWriter
except ImportError as error:
    raise MissingDependencyError(
        f"a collection on disk needs LanceDB, which could not be imported ({error}); "
        "run: pip install lancedb pyarrow filelock (extraction and training work without it)"
    ) from error

__all__ = ["Collection", "CollectionWriter", "LocalFeatureReader", "PhotoRecord", "Snapshot"]
