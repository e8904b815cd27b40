"""Files of arrays, npz and safetensors, that anybody may have written, read in one place.

What a header says is believed only as far as the file is long: nothing is reserved for what is not there.
"""

import io
import math
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from meisho.documents import one_line, read_limited
from meisho.errors import MeishoError

Arrays = dict[str, NDArray[np.generic]]

_MOST_BYTES = 1 << 34
_SMALL_BYTES = 1 << 26
_SPILL_BYTES = 1 << 30
_MOST_GROWTH = 100  # times the file: small numbers compress to a twentieth, a bomb to a thousandth
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


@dataclass(frozen=True)
class ArrayFile:
    """What a safetensors file holds.

    Attributes:
        arrays: Name -> array.
        metadata: Name -> text.
    """

    arrays: Arrays
    metadata: dict[str, str]


def collect_rows(blocks: Iterable[NDArray[np.float32]], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Put blocks of rows together to one matrix (N, D).

    From 1 GiB on it stands in a temporary file without a name, which is mapped into memory, read-only: what
    is not looked at takes none.
    """
    if 4 * math.prod(shape) < _SPILL_BYTES:
        rows, start = np.empty(shape, np.float32), 0
        for block in blocks:
            rows[start : start + len(block)] = block
            start += len(block)
        return rows
    with tempfile.TemporaryFile() as file:
        for block in blocks:
            file.write(np.ascontiguousarray(block).data)
        file.flush()
        return np.asarray(np.memmap(file, np.float32, mode="r", shape=shape))


def read_npz(path: Path, names: tuple[str, ...], *, error: type[MeishoError], advice: str) -> Arrays:
    """Read arrays of numbers from an .npz file.

    Args:
        path: The file.
        names: The arrays that it must hold; others are not looked at.
        error: Raised when it cannot be read, or holds something else.
        advice: What to do then, the end of the message.

    Raises:
        MeishoError: `error`, as said above.
    """
    raw = read_limited(path, error=error, advice=advice, most_bytes=_MOST_BYTES)
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            check_growth(archive, len(raw))
            return {name: _read_array(archive, name) for name in names}
    except Exception as fault:  # damaged archives end in BadZipFile, zlib.error, struct.error, EOFError, ...
        raise error(f"{path}: {_say(fault)}; {advice}") from fault


def read_safetensors(path: Path, *, error: type[MeishoError], advice: str) -> ArrayFile:
    """Read a safetensors file of numbers that NumPy has.

    Raises:
        MeishoError: `error`: it cannot be read, or holds something else.
    """
    from safetensors import safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: _finite(name, file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
            return ArrayFile(arrays, dict(file.metadata() or {}))
    except Exception as fault:  # it raises SafetensorError, and what NumPy says to a type or shape it has not
        raise error(f"{path}: {_say(fault)}; {advice}") from fault


def check_growth(archive: zipfile.ZipFile, num_bytes: int) -> None:
    """Refuse an archive whose members together are much larger than itself.

    Args:
        archive: It.
        num_bytes: Its own size.

    Raises:
        ValueError: They are.
    """
    total = sum(member.file_size for member in archive.infolist())
    if total > max(_SMALL_BYTES, _MOST_GROWTH * num_bytes):
        raise ValueError(f"its {num_bytes:,} bytes say that they hold {total:,}")


def _read_array(archive: zipfile.ZipFile, name: str) -> NDArray[np.generic]:
    file = io.BytesIO(archive.read(f"{name}.npy"))
    version = npy.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"{name} has a header of version {version}")
    shape, in_columns, dtype = _HEADERS[version](file)
    content = file.getbuffer()[file.tell() :]
    if dtype.hasobject or dtype.kind not in "biuf":
        raise ValueError(f"{name} holds {one_line(dtype, 80)}, not numbers")
    if any(side < 0 for side in shape) or math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError(f"{name} says that its shape is {shape!s:.80}, but has {len(content):,} bytes")
    array = np.frombuffer(content, dtype).reshape(shape, order="F" if in_columns else "C")
    return _finite(name, array)


def _finite(name: str, array: NDArray[np.generic]) -> NDArray[np.generic]:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name:.80} holds NaN or infinity")
    return array


def _say(fault: Exception) -> str:
    if isinstance(fault, KeyError):
        return f"holds no array of that name ({one_line(fault)})"
    return f"cannot be read ({one_line(fault) or type(fault).__name__})"
