"""Every error that meisho raises on purpose. A message says what, where and what to do.

MeishoError                   exit code 1
├── InputError                2   a file, folder or option given by the user cannot be used
│   ├── ImageError            2   a photo cannot be read; the run goes on without it
│   ├── DatasetError          2   a data set's files, rows or ground truth are invalid
│   └── ConfigError           2   an unknown key, or a wrong type or value
├── SkippedPhotosError        3   photos were skipped in a strict run
├── GoneError                 7   most photos of a collection are gone; they were kept
├── CollectionError           4   a collection cannot be opened or used
│   ├── DamagedError          8   what is read from it is not what was written
│   ├── MismatchError         4   it was made with another model or other options
│   ├── LockedError           4   another process is writing to it
│   ├── EngineError           4   the engine that searches it refuses
│   │   ├── UnreachableError  4   it cannot be reached, or does not answer in time
│   │   └── OutOfStepError    4   it does not hold what it should
│   └── StoreError            4   the object store that it lies in does not answer, or refuses
├── WeightsError              5   a model's weights cannot be had, read or do not fit
│   └── MissingFileError      2   the user gave a file of weights or of a whitening that is not there
├── FetchError                5   a data set's files cannot be downloaded, or are not what was expected
├── MissingDependencyError    5   a required optional package is not installed
├── ClusterError              5   a cluster cannot be joined, or its workers cannot work
├── RottenPhotosError         9   files of photos changed although nobody wrote to them
├── DivergedError             6   training met a loss or gradient that is not a number
└── InterruptedRunError     130   training was asked to stop, and has saved its state
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from meisho.texts import printable

_NO_MEMORY = ("failed to map segment", "cannot allocate memory", "can't allocate memory", "out of memory")
"""What the loader of libraries, and libraries themselves, say where memory is short."""


class MeishoError(Exception):
    """Base of all errors raised on purpose."""

    exit_code = 1


class InputError(MeishoError):
    """A file, folder or option given by the user cannot be used."""

    exit_code = 2


class ImageError(InputError):
    """One photo cannot be read.

    Args:
        path: The photo's file.
        reason: Why it cannot be read, in one line without the path.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{printable(path)}: {reason}")
        self.path = path
        self.reason = reason

    def __reduce__(self) -> tuple[type["ImageError"], tuple[Path, str]]:
        return ImageError, (self.path, self.reason)  # so that it can be pickled between processes


class DatasetError(InputError):
    """A data set's files, rows or ground truth are invalid."""


class ConfigError(InputError):
    """An unknown key, a wrong type or a wrong value in a configuration."""


class SkippedPhotosError(MeishoError):
    """Photos were skipped in a strict run."""

    exit_code = 3


class GoneError(MeishoError):
    """Most photos of a collection are gone; they were kept."""

    exit_code = 7


class RottenPhotosError(MeishoError):
    """Files of photos changed on the disk although nobody wrote to them."""

    exit_code = 9


class CollectionError(MeishoError):
    """A collection cannot be opened or used."""

    exit_code = 4


class DamagedError(CollectionError):
    """What is read from a collection is not what was written."""

    exit_code = 8


class MismatchError(CollectionError):
    """Something saved was made with another model or other options than those asked for."""


class LockedError(CollectionError):
    """Another process is writing to the collection."""


class EngineError(CollectionError):
    """The engine that searches a collection refuses what it is asked."""


class UnreachableError(EngineError):
    """The engine cannot be reached, or does not answer in time."""


class OutOfStepError(EngineError):
    """The engine does not hold what it should; the next `meisho index` brings it in step."""


class StoreError(CollectionError):
    """An object store does not answer, or refuses: nothing is said of what lies in it."""


class WeightsError(MeishoError):
    """A model's weights are missing, or do not fit the model."""

    exit_code = 5


class MissingFileError(WeightsError):
    """A file of weights or of a whitening that the user gave is not there: a wrong path, like any other."""

    exit_code = 2


class FetchError(MeishoError):
    """A data set's files cannot be downloaded, or are not what was expected."""

    exit_code = 5


class MissingDependencyError(MeishoError):
    """A required optional package is not installed."""

    exit_code = 5


class ClusterError(MeishoError):
    """A cluster cannot be joined, or its workers cannot work."""

    exit_code = 5


class DivergedError(MeishoError):
    """Training met a loss or gradient that is not a number, and stopped."""

    exit_code = 6


class InterruptedRunError(MeishoError):
    """Training was stopped by a signal, and has saved its state."""

    exit_code = 130


def explain_os_error(error: OSError | ValueError) -> str:
    """Say in one line why a file or folder could not be read."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return " ".join(str(error).split())[:200] or type(error).__name__


def is_panic(error: BaseException) -> bool:
    """Say whether LanceDB panicked: what it raises then is no Exception, and its class cannot be imported."""
    return type(error).__name__ in ("PanicException", "RustPanic")


def lacks_memory(error: BaseException | None) -> bool:
    """Say whether an error comes of too little memory, whatever its type: libraries take some too."""
    if error is None:
        return False
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    loading = isinstance(error, ImportError | OSError | RuntimeError)
    said = str(error).lower()
    if loading and any(sign in said for sign in _NO_MEMORY):
        return True
    return error.__cause__ is not error and lacks_memory(error.__cause__)  # gRPC clients raise e from e


@contextmanager
def needs_extra(extra: str, what: str) -> Iterator[None]:
    """Import optional packages inside; what is missing or broken is named with its pip command.

    Args:
        extra: The optional dependencies of meisho that bring them.
        what: What needs them, for the message.

    Raises:
        MissingDependencyError: A package is not installed, or cannot be loaded.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"{what} needs {error.name}; run pip install 'meisho[{extra}]'"
        ) from error
    except ImportError as error:  # such as a library of the system that it needs and that is not there
        if lacks_memory(error):
            raise
        raise MissingDependencyError(
            f"{what} needs a package that cannot be loaded ({error}); run pip install --force-reinstall "
            f"'meisho[{extra}]'"
        ) from error
