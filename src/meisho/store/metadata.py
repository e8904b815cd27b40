"""collection.json: what a collection was made with. Written last, it makes a directory a collection."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from meisho import __version__
from meisho.descriptors import Provenance
from meisho.errors import CollectionError
from meisho.files import write_text

METADATA_FILE = "collection.json"
FORMAT_VERSION = 1
LOCAL_FORMAT_VERSION = 2
"""Of a collection with local features: a program that knows format 1 alone would lose track of them."""


@dataclass(frozen=True)
class Metadata:
    """What a collection was made with.

    Attributes:
        photo_root: The folder that the photos' ids are relative to.
        provenance: Where the descriptors come from.
        dim: D, their number of dimensions.
        format_version: Version of the layout on disk.
        created_by: Name and version of the program that made it.
        local_provenance: Where its local features come from; None where it holds none.
        local_dim: Number of dimensions of the descriptor of a local feature; None where it holds none.
    """

    photo_root: Path
    provenance: Provenance
    dim: int
    format_version: int = FORMAT_VERSION
    created_by: str = f"meisho {__version__}"
    local_provenance: Provenance | None = None
    local_dim: int | None = None

    def with_local_features(self, provenance: Provenance, dim: int) -> Self:
        """Return the same of a collection that holds local features too."""
        return replace(self, format_version=LOCAL_FORMAT_VERSION, local_provenance=provenance, local_dim=dim)


def write_metadata(directory: Path, metadata: Metadata) -> None:
    """Write collection.json: whole or not at all."""
    text = json.dumps({**asdict(metadata), "photo_root": str(metadata.photo_root)}, indent=2)
    write_text(directory / METADATA_FILE, text + "\n", sync=True)


def read_metadata(directory: Path) -> Metadata:
    """Read collection.json.

    Raises:
        CollectionError: It cannot be read, is damaged, or was written by a newer format.
    """
    file = directory / METADATA_FILE
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        version = int(values["format_version"])
        if version > LOCAL_FORMAT_VERSION:
            raise CollectionError(
                f"{file}: made by {values.get('created_by')} in format {version}, and this meisho "
                f"{__version__} reads up to {LOCAL_FORMAT_VERSION}; upgrade it: pip install --upgrade meisho"
            )
        local = values.get("local_provenance")  # format 1 says nothing of it
        return Metadata(
            photo_root=Path(values["photo_root"]),
            provenance=Provenance(**values["provenance"]),
            dim=int(values["dim"]),
            format_version=version,
            created_by=str(values["created_by"]),
            local_provenance=Provenance(**local) if local else None,
            local_dim=int(values["local_dim"]) if local else None,
        )
    except OSError as error:
        raise CollectionError(f"{file}: cannot be read: {error.strerror}; check its permissions") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CollectionError(
            f"{file}: damaged ({error!r}); restore it from a copy, or delete {directory} and index again"
        ) from error
