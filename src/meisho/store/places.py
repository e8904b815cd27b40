"""Places of collections: a directory, or a prefix in a bucket with a directory on this machine beside it.

In a bucket lies the truth: tables, metadata, uploaded photos, and who is writing. What is derived from it
(snapshot, index, graph) and what this machine alone remembers lie in a directory of its cache, from where it
can be mapped.
"""

import hashlib
import os
from pathlib import Path

from meisho.buckets import BucketPath, is_in_bucket
from meisho.endpoints import endpoint
from meisho.errors import InputError
from meisho.schemes import refuse_other_schemes
from meisho.store.commits import COMMITS_FILE
from meisho.store.damage import DAMAGE_FILE
from meisho.store.metadata import COPY_FILE, METADATA_FILE, UPLOADS_FOLDER

OWNER_FILE = "writer.json"
"""Who writes to a collection."""

CACHE_VARIABLE = "MEISHO_CACHE"
_TRUTH = frozenset({METADATA_FILE, COPY_FILE, COMMITS_FILE, DAMAGE_FILE, OWNER_FILE, UPLOADS_FOLDER})


class BucketCollection(BucketPath):
    """The place of a collection in a bucket: `/` leads to the bucket for the truth, and else to the cache."""

    __slots__ = ()

    def __truediv__(self, name: str | os.PathLike[str]) -> Path:  # type: ignore[override]
        first = str(name).partition("/")[0]
        return self.below(str(name)) if first in _TRUTH or first.endswith(".lance") else self.cache / name

    @property
    def cache(self) -> Path:
        """The directory on this machine for what is derived from the collection."""
        named = f"{endpoint()}\n{self.bucket}\n{self.key}"
        digest = hashlib.sha256(named.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        return cache_folder() / "buckets" / f"{self.bucket[:60]}-{self.name[:60]}-{digest}"


def place_of(path: str | Path) -> Path:
    """Return where a collection is: an absolute path, or a `BucketCollection` for "s3://BUCKET/NAME".

    Raises:
        InputError: It begins as a place in a bucket does, and is none, or as one of another kind of store.
    """
    if isinstance(path, BucketCollection):
        return path
    if not is_in_bucket(path):
        refuse_other_schemes(path)
        return Path(path).absolute()
    place = BucketCollection.parse(path)
    if odd := sorted({*"%?#"} & {*place.key}):
        raise InputError(f"{place}: the name of a collection in a bucket must not hold {' '.join(odd)}")
    return place


def cache_folder() -> Path:
    """Return the directory for what can be made again: MEISHO_CACHE, else that of the user."""
    if own := os.environ.get(CACHE_VARIABLE):
        return Path(own).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "meisho"
