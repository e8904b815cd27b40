"""The one reader of published pickles: plain values only, nothing in the file is ever called.

The ground truths of some benchmarks are published as pickles, a format that can run any code when it is
loaded. This reader refuses every global name; without one, a pickle can build plain values (lists, dicts,
tuples, sets, strings, bytes, numbers) and nothing else.
"""

import io
import pickle
from pathlib import Path
from typing import NoReturn

from meisho.datasets.table import read_bytes
from meisho.errors import DatasetError


class _PlainUnpickler(pickle._Unpickler):
    # The unpickler in Python, not the one in C: that one reserves as much memory as a broken file asks for.
    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


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
    raw = read_bytes(path)
    try:
        return _PlainUnpickler(io.BytesIO(raw)).load(), raw
    except pickle.UnpicklingError as error:
        raise DatasetError(
            f"{path}: refused, {error}; only plain lists, dicts, strings and numbers are read from a pickle, "
            "take the file from its publisher"
        ) from error
    except Exception as error:  # broken bytes end in IndexError, KeyError, TypeError, struct.error, ...
        raise DatasetError(
            f"{path}: is not a whole pickle ({type(error).__name__}: {error!s:.200}); "
            "take it again from its publisher"
        ) from error
