"""Kaggle: a data set's archive through Kaggle's own client, with the user's own credentials."""

import contextlib
import io
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from meisho.errors import MissingDependencyError
from meisho.fetching.source import SourceFault
from meisho.progress import Progress, silent

_WATCH_SECONDS = 0.5


class _Client(Protocol):
    def authenticate(self) -> None: ...

    def dataset_download_files(self, dataset: str, *, path: str, quiet: bool, unzip: bool) -> None: ...


def download_from_kaggle(
    handle: str, to: Path, *, progress: Progress = silent, about_bytes: int | None = None
) -> Path:
    """Download a data set as one archive.

    The client resumes what it had begun, when it can tell that Kaggle's file is still the same.

    Args:
        handle: "owner/name".
        to: An existing folder; the client puts `name.zip` there.
        progress: Told, as "download", how many bytes are there.
        about_bytes: About how many there will be.

    Returns:
        The archive.

    Raises:
        MissingDependencyError: The package `kaggle` is not installed.
        SourceFault: There are no credentials, or Kaggle refuses.
    """
    client = _client(handle)
    archive = to / f"{handle.partition('/')[2]}.zip"
    with _watch(archive, progress, about_bytes), contextlib.redirect_stdout(sys.stderr):
        try:
            client.dataset_download_files(handle, path=str(to), quiet=True, unzip=False)
        except (Exception, SystemExit) as error:  # it has no error class of its own, and may exit
            raise SourceFault(f"Kaggle refuses {handle}: {_say(error)}") from error
    if not archive.is_file():
        raise SourceFault(f"Kaggle's client gave no {archive.name}")
    return archive


def _client(handle: str) -> _Client:
    """Make the client; what it says of its own login, twice, is left out where our error says it."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            from kaggle.api.kaggle_api_extended import KaggleApi

            client: _Client = KaggleApi()
            client.authenticate()
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"{handle} is on Kaggle: run pip install 'meisho[kaggle]' ({error})"
        ) from error
    except (Exception, SystemExit) as error:  # older clients look for credentials on import, and exit
        raise _no_credentials(handle, error) from error
    sys.stderr.write(said.getvalue())  # a warning, say
    return client


def _no_credentials(handle: str, error: BaseException) -> SourceFault:
    return SourceFault(
        f"Kaggle's client finds no credentials for {handle} ({_say(error)}). Make a token on your "
        "account page at kaggle.com (Settings, API) and put it where the client looks: "
        "~/.kaggle/kaggle.json, or the variables KAGGLE_USERNAME and KAGGLE_KEY, or KAGGLE_API_TOKEN; or log "
        "in with 'kaggle auth login'"
    )


@contextlib.contextmanager
def _watch(file: Path, progress: Progress, about_bytes: int | None) -> Iterator[None]:
    """Tell the size of a growing file; the client itself tells nobody."""
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(_WATCH_SECONDS):
            with contextlib.suppress(OSError):
                progress("download", file.stat().st_size, about_bytes or 0)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _say(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return "it gave up"
    return (str(error) or type(error).__name__).splitlines()[0][:300]
