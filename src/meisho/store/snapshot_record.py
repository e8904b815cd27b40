"""SnapshotRecord: what is written of a saved snapshot, and which its files are."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from meisho.config import build
from meisho.documents import Fields
from meisho.errors import InputError
from meisho.sealed import is_digest, read_sealed, write_sealed

RECORD_FILE = "snapshot.json"
KINDS = ("rows", "names", "vectors", "order")
"""The files beside it, see `meisho.store.snapshot_files`."""

_FORMAT = 3


@dataclass(frozen=True)
class SnapshotRecord:
    """The contents of snapshot.json.

    Attributes:
        commit: Result of `read_commit` when the snapshot was taken.
        version: `Collection.version` at that moment.
        build: What is in the names of the files.
        dim: D.
        dtype: "float32" or "float16".
        num_rows: R.
        rows_digest: XXH3 (128 bits) of the rows.
        names_digest: The same of the names.
        order: Digest of the order, which is in the name of its file; "" where there is none.
        format: Format version of these files.
    """

    commit: str
    version: int
    build: str
    dim: int
    dtype: str
    num_rows: int
    rows_digest: str
    names_digest: str
    order: str
    format: int = _FORMAT

    def path(self, folder: Path, kind: str) -> Path:
        """Return one of its files."""
        return folder / f"{kind}-{self.order if kind == 'order' else self.build}.bin"

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Read the record of a folder; None for one of another format.

        Raises:
            OSError: There is none, or it cannot be read.
            ValueError, InputError: It is not what was written.
        """
        values = read_sealed(folder / RECORD_FILE)
        if values.get("format") != _FORMAT:
            return None
        record = build(Fields(values, RECORD_FILE, InputError), cls)
        if record.dtype not in ("float32", "float16") or record.num_rows < 0 or record.dim < 1:
            raise ValueError(f"{record.num_rows} rows of {record.dim} × {record.dtype:.80}")
        names = is_digest(record.build, digits=16), record.order == "" or is_digest(record.order, digits=32)
        if not all(names):
            raise ValueError("a file is named otherwise than those of a snapshot are")
        return record

    def write(self, folder: Path) -> None:
        """Write it into a folder, in place of the one before."""
        write_sealed(folder / RECORD_FILE, asdict(self))
