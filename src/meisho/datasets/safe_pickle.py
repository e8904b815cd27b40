"""The one reader of published pickles: plain values only, nothing in the file is ever called.

The ground truths of some benchmarks are published as pickles, a format that can run any code when it is
loaded. This reader refuses every global name and every opcode that calls or reserves; what is left can build
plain values (lists, dicts, tuples, sets, strings, bytes, numbers) from the bytes that are there, and no more.
"""

import io
import pickle
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from meisho.documents import one_line, read_limited
from meisho.errors import DatasetError

_MOST_BYTES = 8 << 20  # the ground truths of ROxford and RParis have half a megabyte
_REFUSED = (
    *("REDUCE", "BUILD", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID"),
    *("BYTEARRAY8", "NEXT_BUFFER", "READONLY_BUFFER"),
)
_NAMES = {getattr(pickle, name)[0]: name for name in _REFUSED}


class _PlainDict(dict[object, object]):
    """Takes only plain keys: tuples in tuples can be made so that their hash takes forever."""

    def __setitem__(self, key: object, value: object) -> None:
        super().__setitem__(_plain_key(key), value)


def _plain_key(key: object) -> object:
    if not isinstance(key, str | bytes | int | float | None):
        raise pickle.UnpicklingError(f"a {type(key).__name__} is a key of a dict or a member of a set")
    return key


class _PlainUnpickler(pickle._Unpickler):
    # The unpickler in Python, not the one in C: that one reserves as much memory as a broken file asks for.
    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it asks for {one_line(f'{module}.{name}', 100)}")

    def _refuse(self) -> NoReturn:
        raise pickle.UnpicklingError("it wants something to be called or reserved")

    def _push_dict(self) -> None:
        self.append(_PlainDict())  # type: ignore[attr-defined]  # its stack is not in the stubs

    def _push_filled_dict(self) -> None:
        items, made = self.pop_mark(), _PlainDict()  # type: ignore[attr-defined]
        for key, value in zip(items[::2], items[1::2], strict=True):
            made[key] = value
        self.append(made)  # type: ignore[attr-defined]

    def _push_frozenset(self) -> None:
        self.append(frozenset(map(_plain_key, self.pop_mark())))  # type: ignore[attr-defined]

    def _add_items(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined]
        found = self.stack[-1]  # type: ignore[attr-defined]
        if not isinstance(found, set):
            raise pickle.UnpicklingError("it adds members to something else than a set")
        found.update(map(_plain_key, items))

    dispatch: ClassVar[dict[int, Any]] = {
        **pickle._Unpickler.dispatch,
        **dict.fromkeys(_NAMES, _refuse),
        pickle.EMPTY_DICT[0]: _push_dict,
        pickle.DICT[0]: _push_filled_dict,
        pickle.FROZENSET[0]: _push_frozenset,
        pickle.ADDITEMS[0]: _add_items,
    }


def load_plain_pickle(path: Path) -> tuple[object, bytes]:
    """Read a pickle of lists, dicts, tuples, strings and numbers.

    Args:
        path: The file.

    Returns:
        The value, and the bytes of the file for a digest.

    Raises:
        DatasetError: The file cannot be read, is no whole pickle, or asks for a class or function, which the
            message names.
    """
    raw = read_limited(path, error=DatasetError, advice="check the path", most_bytes=_MOST_BYTES)
    try:
        return _PlainUnpickler(io.BytesIO(raw)).load(), raw
    except pickle.UnpicklingError as error:
        raise DatasetError(
            f"{path}: refused, {one_line(error)}; only plain lists, dicts, strings and numbers are read from "
            "a pickle, take the file from its publisher"
        ) from error
    except Exception as error:  # broken bytes end in IndexError, KeyError, TypeError, struct.error, ...
        raise DatasetError(
            f"{path}: is not a whole pickle ({type(error).__name__}: {one_line(error, 200)}); "
            "take it again from its publisher"
        ) from error
