"""collection.json: how a collection was made. It is written last, and makes a directory a collection."""

import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from meisho import __version__
from meisho.buckets import as_place
from meisho.descriptors import Provenance
from meisho.documents import Fields, one_line
from meisho.errors import CollectionError, DamagedError, MismatchError, StoreError
from meisho.sealed import read_sealed, write_sealed

METADATA_FILE = "collection.json"
INDEX_FOLDER = "index"
"""Folder inside a collection for everything derived from it."""

UPLOADS_FOLDER = "uploads"
"""Folder inside a collection for photos that were sent to a service."""

COPY_FILE = "collection-copy.json"
"""The same once more: without it, one damaged byte would make a whole collection useless."""

_MOST_DIM = 65_536

FORMAT_VERSION = 3
"""Rows have digests from here on; 1 had no local features, 2 had some."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Metadata:
    """How a collection was made.

    Attributes:
        photo_root: The folder that the photos' ids are relative to.
        provenance: Model and options that made the descriptors.
        dim: D, their number of dimensions.
        format_version: Version of the layout on disk.
        created_by: Name and version of the program that made it.
        local_provenance: Extractor and options that made the local features; None if there are none.
        local_dim: Dimensions of a local feature's descriptor; None if there are none.
        excludes: Patterns of what is left out of the photo folder; None for the default ones.
        engine: Who searches it, see `meisho.engines`; None for this machine itself.
    """

    photo_root: Path
    provenance: Provenance
    dim: int
    format_version: int = FORMAT_VERSION
    created_by: str = f"meisho {__version__}"
    local_provenance: Provenance | None = None
    local_dim: int | None = None
    excludes: tuple[str, ...] | None = None
    engine: str | None = None

    def with_local_features(self, provenance: Provenance, dim: int) -> Self:
        """Return this metadata for a collection that also holds local features."""
        return replace(self, local_provenance=provenance, local_dim=dim)

    def require_provenance(self, provenance: Provenance, path: Path) -> None:
        """Check that descriptors of this provenance belong in the collection at `path`.

        Raises:
            MismatchError: They do not; the message names every differing option with both values.
        """
        if differences := self.provenance.differences(provenance):
            raise MismatchError(
                f"{path}: was made with another model or other options than you asked for "
                f"(collection / asked for): {'; '.join(differences)}. "
                "Use the collection's model and options, or make another collection"
            )


def write_metadata(directory: Path, metadata: Metadata) -> None:
    """Write collection.json and its copy, each whole or not at all."""
    values = {**asdict(metadata), "photo_root": str(metadata.photo_root)}
    for name in (COPY_FILE, METADATA_FILE):  # the second makes a directory a collection
        write_sealed(directory / name, values, sync=True)


def keep_excludes(directory: Path, excludes: tuple[str, ...]) -> None:
    """Record the patterns of what is left out of the photo folder; only the writer may call this.

    Raises:
        CollectionError: It cannot be written.
    """
    metadata = read_metadata(directory)
    _keep(directory, metadata, replace(metadata, excludes=excludes), "what is left out")


def keep_engine(directory: Path, engine: str) -> None:
    """Record who searches a collection from now on; only the writer may call this.

    Raises:
        CollectionError: It cannot be written.
    """
    metadata = read_metadata(directory)
    kept = replace(metadata, engine=None if engine == "local" else engine)
    _keep(directory, metadata, kept, "its engine")


def _keep(directory: Path, before: Metadata, metadata: Metadata, what: str) -> None:
    if metadata == before:
        return
    try:
        write_metadata(directory, metadata)
    except OSError as error:
        raise CollectionError(f"{directory}: cannot record {what}: {error.strerror}") from error


def is_collection(directory: Path) -> bool:
    """Return whether `directory` holds a finished collection; it may still be damaged."""
    return (directory / METADATA_FILE).is_file() or (directory / COPY_FILE).is_file()


def read_metadata(directory: Path) -> Metadata:
    """Read collection.json.

    Raises:
        CollectionError: There is no collection, or it has a newer format.
        DamagedError: The file and its copy are damaged.
    """
    _check_is_collection(directory)
    try:
        return _read_file(directory / METADATA_FILE)
    except DamagedError as error:
        try:
            metadata = _read_file(directory / COPY_FILE)
        except StoreError:
            raise
        except CollectionError:
            raise error from None
        _logger.warning("%s is read instead", directory / COPY_FILE)
        return metadata


def find_damaged_metadata(directory: Path) -> tuple[str, ...]:
    """Say which of collection.json and its copy is damaged, of a collection of the present format."""
    names = (METADATA_FILE, COPY_FILE)
    return tuple(f"{name} is damaged" for name in names if not _is_sound(directory / name))


def _is_sound(file: Path) -> bool:
    try:
        _read_file(file)
    except StoreError:
        raise
    except CollectionError:
        return False
    return True


def _read_file(file: Path) -> Metadata:
    advice = f"restore it from a backup, or delete {file.parent} and index again"
    try:
        fields = Fields(read_sealed(file), f"{file}: damaged", DamagedError, advice)
    except FileNotFoundError as error:
        raise DamagedError(f"{file}: is gone; {advice}") from error
    except OSError as error:
        raise CollectionError(f"{file}: cannot be read: {error.strerror}; check its permissions") from error
    except ValueError as error:
        raise DamagedError(f"{file}: damaged ({error}); {advice}") from error
    version, has_local = fields.integer("format_version"), fields.has("local_provenance")  # absent in 1
    if version > FORMAT_VERSION:
        raise CollectionError(
            f"{file}: made by {one_line(fields.values.get('created_by'), 80)} in format {version}, but this "
            f"meisho {__version__} reads up to {FORMAT_VERSION}; upgrade it: pip install --upgrade meisho"
        )
    return Metadata(
        photo_root=as_place(fields.text("photo_root")),
        provenance=Provenance.read(fields.table("provenance")),
        dim=fields.integer("dim", low=1, high=_MOST_DIM),
        format_version=version,
        created_by=fields.text("created_by"),
        local_provenance=Provenance.read(fields.table("local_provenance")) if has_local else None,
        local_dim=fields.integer("local_dim", low=1, high=_MOST_DIM) if has_local else None,
        excludes=_read_excludes(fields),
        engine=fields.text("engine") if fields.has("engine") else None,
    )


def _read_excludes(fields: Fields) -> tuple[str, ...] | None:
    return tuple(fields.texts("excludes")) if fields.has("excludes") else None


def _check_is_collection(path: Path) -> None:
    if is_collection(path):
        return
    if not path.exists():
        raise CollectionError(f"{path}: no collection here; make one with 'meisho index PHOTOS --to {path}'")
    if not path.is_dir():
        raise CollectionError(f"{path}: is a file, but a collection is a directory; check the path")
    if any(path.glob("*.lance")) or (path / "writer.lock").exists():
        raise CollectionError(
            f"{path}: {METADATA_FILE} is missing; creating the collection was probably interrupted; "
            f"run 'meisho index PHOTOS --to {path}' again"
        )
    raise CollectionError(f"{path}: is not a collection (no {METADATA_FILE} in it); check the path")
