"""One reader of torch's older weights files, without torch: it runs nothing that a file says.

The format (torch/serialization.py, `_legacy_save`) is five pickles in a row: a magic number, a version, facts
of the machine that wrote it, the state dict, and the keys of its storages. Then comes each storage: the
number of its elements as int64, and the elements. The state dict names its storages by their keys.
"""

import io
import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from meisho.documents import one_line
from meisho.errors import WeightsError

StateArrays = dict[str, NDArray[np.generic]]

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
_DTYPES = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
}
_OPCODES = (
    *("PROTO", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1"),
    *("BINUNICODE", "EMPTY_DICT", "SETITEM", "SETITEMS", "EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_TUPLE"),
    *("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"),
    *("GLOBAL", "REDUCE", "BINPERSID"),
)
"""All that a state dict is made of, but for `BUILD`, which gives it attributes that nobody reads."""


@dataclass(frozen=True)
class _Storage:
    """Elements in the file: their key, type and number."""

    key: str
    dtype: np.dtype[np.generic]
    length: int


@dataclass(frozen=True)
class _Tensor:
    """A view of a storage; lengths and steps in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Names(dict[str, object]):
    """Takes only text as keys: other keys can be made so that their hash takes forever."""

    def __setitem__(self, key: str, value: object) -> None:
        if not isinstance(key, str):
            raise pickle.UnpicklingError("a key of a dict is no text")
        super().__setitem__(key, value)


def _new_names() -> _Names:
    return _Names()


def _push_dict(unpickler: pickle.Unpickler) -> None:
    unpickler.append(_new_names())  # type: ignore[attr-defined]  # its stack is not in the stubs


def _drop_attributes(unpickler: pickle.Unpickler) -> None:
    unpickler.stack.pop()  # type: ignore[attr-defined]


class _StateUnpickler(pickle._Unpickler):
    # The unpickler in Python, not the one in C: it can be held to few opcodes, and it reserves no memory for
    # what a broken file promises.
    dispatch: ClassVar = {
        **{
            code: pickle._Unpickler.dispatch[code] for code in (getattr(pickle, name)[0] for name in _OPCODES)
        },
        pickle.EMPTY_DICT[0]: _push_dict,
        pickle.BUILD[0]: _drop_attributes,
    }

    def find_class(self, module: str, name: str) -> object:
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]  # is not called: the file only names it
        allowed: dict[tuple[str, str], Callable[..., object]] = {
            ("collections", "OrderedDict"): _new_names,
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"it asks for {one_line(f'{module}.{name}', 80)}")
        return allowed[module, name]

    def persistent_load(self, pid: object) -> _Storage:
        if not isinstance(pid, tuple) or len(pid) != 6 or pid[0] != "storage" or pid[5] is not None:
            raise pickle.UnpicklingError("it refers to something else than a storage")
        _, dtype, key, _, length, _ = pid
        if not isinstance(dtype, np.dtype) or not isinstance(key, str) or not _are_lengths((length,)):
            raise pickle.UnpicklingError("a storage is wrongly described")
        return _Storage(key, dtype, length)


def _rebuild_tensor(
    storage: object, offset: object, shape: object, strides: object, _requires_grad: object, _hooks: object
) -> _Tensor:
    if not isinstance(storage, _Storage) or not _are_lengths((offset,)):
        raise pickle.UnpicklingError("a tensor is wrongly described")
    if not (_are_lengths(shape) and _are_lengths(strides)):
        raise pickle.UnpicklingError("a tensor has an impossible shape")
    return _Tensor(storage, offset, shape, strides)  # type: ignore[arg-type]  # checked above


_MOST_DIMENSIONS = 64  # NumPy's own limit


def _are_lengths(values: object) -> bool:
    if not isinstance(values, tuple) or len(values) > _MOST_DIMENSIONS:
        return False
    return all(type(value) is int and 0 <= value < 2**63 for value in values)


def read_state_file(path: Path) -> StateArrays:
    """Read a state dict that torch has written in its older format.

    Args:
        path: The file.

    Returns:
        Name -> array, C-contiguous, in the file's order.

    Raises:
        WeightsError: The file cannot be read, is of another format, holds something else than a state dict,
            or its tensors reach beyond it.
    """
    try:
        file = io.BytesIO(path.read_bytes())
        _check_header(file)
        state, keys = _StateUnpickler(file).load(), _StateUnpickler(file).load()
        return _fill(state, _read_storages(file, state, keys))
    except Exception as error:  # broken bytes end in IndexError, KeyError, TypeError, struct.error, ...
        reason = str(error) if isinstance(error, pickle.UnpicklingError) else type(error).__name__
        raise WeightsError(
            f"{path}: refused, this is no whole state dict in torch's older format ({reason:.200}); "
            "install its package again"
        ) from error


def _check_header(file: io.BytesIO) -> None:
    magic, version, machine = (_StateUnpickler(file).load() for _ in range(3))
    if magic != _MAGIC or version != _VERSION:
        raise pickle.UnpicklingError("it begins otherwise")
    if not isinstance(machine, _Names) or machine.get("little_endian") is not True:
        raise pickle.UnpicklingError("its numbers are not little-endian")


def _read_storages(file: io.BytesIO, state: object, keys: object) -> dict[_Storage, NDArray[np.generic]]:
    if not isinstance(state, _Names) or not all(isinstance(v, _Tensor) for v in state.values()):
        raise pickle.UnpicklingError("it holds something else than names and tensors")
    named = {tensor.storage.key: tensor.storage for tensor in state.values() if isinstance(tensor, _Tensor)}
    if (
        not isinstance(keys, list)
        or not all(isinstance(k, str) for k in keys)
        or sorted(keys) != sorted(named)
    ):
        raise pickle.UnpicklingError("the list of its storages is not that of its tensors")
    content, place = file.getbuffer(), file.tell()
    storages = {}
    for storage in map(named.__getitem__, keys):
        start, end = place + 8, place + 8 + storage.length * storage.dtype.itemsize
        if end > len(content) or int.from_bytes(content[place:start], "little") != storage.length:
            raise pickle.UnpicklingError(f"storage {storage.key} does not have the length that it claims")
        storages[storage] = np.frombuffer(content[start:end], storage.dtype)
        place = end
    if place != len(content):
        raise pickle.UnpicklingError(f"{len(content) - place} bytes are left over")
    return storages


def _fill(state: _Names, storages: dict[_Storage, NDArray[np.generic]]) -> StateArrays:
    arrays = {}
    room = sum(map(len, storages.values()))
    for name, tensor in state.items():
        assert isinstance(tensor, _Tensor)  # `_read_storages` has looked
        room -= math.prod(tensor.shape)
        if room < 0:
            raise pickle.UnpicklingError("its tensors hold more than the file")
        arrays[name] = _view(name, tensor, storages)
    return arrays


def _view(name: str, tensor: _Tensor, storages: dict[_Storage, NDArray[np.generic]]) -> NDArray[np.generic]:
    storage = storages.get(tensor.storage)
    steps = [(n - 1) * step for n, step in zip(tensor.shape, tensor.strides, strict=True)]
    size = math.prod(tensor.shape)
    if storage is None or size == 0 or size > len(storage) or tensor.offset + sum(steps) >= len(storage):
        raise pickle.UnpicklingError(f"{name:.50} reaches beyond its storage")
    strides = [step * storage.itemsize for step in tensor.strides]
    return np.array(as_strided(storage[tensor.offset :], tensor.shape, strides), order="C")
