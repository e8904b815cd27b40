"""Stand-ins for what published checkpoints hold besides tensors, so that reading them runs none of its code.

torch's weights-only reader refuses NumPy's arrays and objects of a class, but whitenings are published so.
Here each name that they are pickled under stands for a small type of our own that checks what it is given.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

_PLAIN_KINDS = "biuf"
_MOST_DIMENSIONS = 8
_lock = threading.Lock()  # torch keeps one table for all threads


class StoredType:
    """Stands for `numpy.dtype`: the name of a plain type of numbers.

    Raises:
        ValueError: It is no such type.
    """

    def __init__(self, name: object, *_flags: object) -> None:
        if not isinstance(name, str) or len(name) > 3:
            raise ValueError("an array of it is not of numbers")
        self.dtype = np.dtype(name)
        if self.dtype.kind not in _PLAIN_KINDS:
            raise ValueError("an array of it is not of numbers")

    def __setstate__(self, state: object) -> None:
        """Take NumPy's (version, byte order, ...); the rest is empty for plain numbers."""
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", "|", "=", ">"):
            raise ValueError("the type of an array is wrongly described")
        self.dtype = self.dtype.newbyteorder(state[1] if state[1] != "|" else "=")


class StoredArray:
    """Stands for `numpy.ndarray`.

    Attributes:
        array: The numbers, in the machine's byte order.
    """

    array: NDArray[np.generic]

    def __setstate__(self, state: object) -> None:
        """Take NumPy's (version, shape, type, whether columns come first, bytes).

        Raises:
            ValueError: They do not go together.
        """
        if not isinstance(state, tuple) or len(state) != 5:
            raise ValueError("an array is wrongly described")
        _, shape, stored, by_columns, content = state
        sides = isinstance(shape, tuple) and all(type(side) is int and side >= 0 for side in shape)
        if not sides or len(shape) > _MOST_DIMENSIONS or not isinstance(stored, StoredType):
            raise ValueError("an array is wrongly described")
        values = _numbers(content, stored)
        self.array = values.reshape(shape, order="F" if by_columns else "C")


class StoredFacts:
    """Stands for an object of a class: keeps its attributes in `__dict__`, and can do nothing."""

    def __setstate__(self, state: object) -> None:
        """Take the attributes.

        Raises:
            ValueError: They have no names.
        """
        if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
            raise ValueError("an object is wrongly described")
        self.__dict__.update(state)


def _numbers(content: object, stored: StoredType) -> NDArray[np.generic]:
    if not isinstance(content, bytes):
        raise ValueError("an array holds something else than numbers")
    return np.frombuffer(content, stored.dtype).astype(stored.dtype.newbyteorder("="))


def _reconstruct(*_template: object) -> StoredArray:
    return StoredArray()


def _scalar(stored: object, content: object) -> float | int | bool:
    if not isinstance(stored, StoredType):
        raise ValueError("a number is wrongly described")
    value: float | int | bool = _numbers(content, stored)[0].item()
    return value


STAND_INS: Mapping[str, Callable[..., object]] = {
    "numpy.dtype": StoredType,
    "numpy.ndarray": StoredArray,
    **{f"numpy.{core}.multiarray._reconstruct": _reconstruct for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
    **{f"sklearn.decomposition.{module}.PCA": StoredFacts for module in ("pca", "_pca")},
    "argparse.Namespace": StoredFacts,
    **{f"utils.watcher.{name}": StoredFacts for name in ("AverageMeter", "Watch")},
}
"""Name in a pickle -> what stands for it; `utils.watcher` is dirtorch's."""


@contextmanager
def standing_in() -> Iterator[None]:
    """Make torch's weights-only reader take the stand-ins, within the block."""
    with _lock, torch.serialization.safe_globals([(made, name) for name, made in STAND_INS.items()]):
        yield


def plain_array(value: object) -> NDArray[np.float64] | None:
    """Return a stored array or a tensor of real numbers as float64, or None for anything else."""
    if isinstance(value, torch.Tensor):
        if value.layout != torch.strided or value.device.type != "cpu" or value.is_complex():
            return None
        return np.asarray(value.detach().double().numpy())
    array = getattr(value, "array", None) if isinstance(value, StoredArray) else None
    return None if array is None else np.asarray(array, np.float64)
