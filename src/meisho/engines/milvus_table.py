"""MilvusTable: vectors by key in one collection of Milvus; what goes wrong is said in our words, and retried.

Written against pymilvus 3.0 with Milvus Lite 3.2 and the Milvus server 2.3.
"""

import functools
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from meisho.arrays import Float32Array, Int64Array, UInt64Array, cut_rows
from meisho.engines.milvus_place import MilvusPlace
from meisho.errors import EngineError, MeishoError, OutOfStepError, UnreachableError, needs_extra
from meisho.stored_vectors import Vectors

MOST_ROWS = 16_384
"""Rows that Milvus returns for one query at the most."""

TOKEN_VARIABLE = "MILVUS_TOKEN"
_Client = Any  # what pymilvus has and gives is of types that mypy does not know

_PUT_BYTES = 16 * 2**20  # of vectors in one request; a server takes 64 MiB
_FOUND_AT_ONCE = 2**18  # rows that are asked for in one request
_CONNECTING_SECONDS = 5.0
_FILLING_TIMES = 12
"""What writes may take so many times the time-out of a question."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0
_NOT_FOUND = 100
_REFUSED = ("auth", "permission denied", "privilege")
_NOT_LOADED = ("loaded", "call load()")
"""What messages say of a collection that must be loaded; Milvus Lite loads none that it finds in its file."""

_NOT_YET = (
    *_NOT_LOADED,
    "not ready",
    "not available",
    "no available",
    "unavailable",
    "recovering",
    "not healthy",
    "unhealthy",
    "not match node",
    "retry timeout",
    "deadline",
    "fail connecting",
    "rate limit",
    "connection",
    "closed channel",
    "cancel",
)
"""What messages say that stand for: try again, it may be starting or recovering."""

T = TypeVar("T")


@dataclass(eq=False)
class _Link:
    """The connection of this process to one Milvus, for all tables and threads."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    client: _Client | None = None
    number: int = 0


@functools.cache
def _link(uri: str, database: str) -> _Link:
    """Return the connection to a Milvus; it is made when it is used."""
    return _Link()


class MilvusTable:
    """Vectors by key in a collection of Milvus; the connection is made when it is needed first.

    For any number of threads. Everything that reaches Milvus raises UnreachableError where it does not answer
    in time, with further attempts until then; OutOfStepError where the collection is not there; EngineError
    where it refuses.

    Args:
        place: Where Milvus is.
        name: The collection's name there.
    """

    def __init__(self, place: MilvusPlace, name: str) -> None:
        self.place, self.name = place, name
        self._link = _link(place.uri, place.database)

    @property
    def num_connections(self) -> int:
        """How often this process has connected to its Milvus."""
        return self._link.number

    def connect(self) -> None:
        """Make sure that Milvus answers."""
        self._call(lambda client, seconds: client.list_collections(timeout=seconds))

    def create(self, dim: int, num_rows: int) -> None:
        """Make the collection, for so many rows of `dim` dimensions."""
        with needs_extra("milvus", "the engine milvus"):
            from pymilvus import DataType, MilvusClient
        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("key", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
        index = MilvusClient.prepare_index_params()
        parameters = self.place.build_parameters(num_rows, dim)
        index.add_index("vector", index_type=self.place.index, metric_type="IP", params=parameters)

        def make(client: _Client, seconds: float) -> None:
            client.create_collection(
                self.name, schema=schema, index_params=index, consistency_level="Strong", timeout=seconds
            )

        self._call(make, times=_FILLING_TIMES)

    def count(self) -> int:
        """Return how many rows it holds; all that was written before is waited for."""

        def ask(client: _Client, seconds: float) -> int:
            found = client.query(
                self.name, output_fields=["count(*)"], consistency_level="Strong", timeout=seconds
            )
            return int(found[0]["count(*)"])

        return self._call(ask)

    def put(self, vectors: Vectors, keys: UInt64Array, rows: Int64Array) -> None:
        """Write those rows (R,) of (N, D) vectors under their keys (N,); what has such a key is replaced."""
        step = max(1, _PUT_BYTES // (4 * max(1, vectors.shape[1])))
        for block in cut_rows(len(rows), step):
            some = rows[block]
            names = as_signed(keys[some]).tolist()
            written = [
                {"key": name, "vector": vector} for name, vector in zip(names, vectors[some], strict=True)
            ]

            def write(client: _Client, seconds: float, rows: list[dict[str, object]] = written) -> None:
                client.upsert(self.name, rows, timeout=seconds)

            self._call(write, times=_FILLING_TIMES)

    def finish(self) -> None:
        """Let Milvus build its index over what was written, and wait until it is there."""
        self._call(lambda client, seconds: client.flush(self.name, timeout=seconds), times=_FILLING_TIMES)
        before, pause = -1, _FIRST_PAUSE_S
        while (pending := self._call(self._count_pending)) > 0:
            pause = _FIRST_PAUSE_S if pending != before else min(2 * pause, _LONGEST_PAUSE_S)
            before = pending
            time.sleep(pause)

    def search(self, queries: Float32Array, count: int) -> tuple[Int64Array, Float32Array]:
        """Find `count` rows for each of (Q, D) queries.

        Returns:
            Keys (Q, count) int64, best first, and their scores (Q, count) float32 as Milvus computes them: of
            its codes, where it has codes; -inf where it found fewer.
        """
        keys = np.zeros((len(queries), count), np.int64)
        scores = np.full((len(queries), count), -np.inf, np.float32)
        for block in cut_rows(len(queries), max(1, _FOUND_AT_ONCE // count)):
            for row, hits in enumerate(self._call(self._ask(queries[block], count)), block.start):
                number = len(hits.ids)
                keys[row, :number], scores[row, :number] = hits.ids, hits.distances
        return keys, scores

    def drop(self) -> None:
        """Remove the collection, if it is there."""
        self._call(lambda client, seconds: client.drop_collection(self.name, timeout=seconds))

    def _ask(self, queries: Float32Array, count: int) -> Callable[[_Client, float], _Client]:
        how = {"metric_type": "IP", "params": self.place.search_parameters(count)}

        def ask(client: _Client, seconds: float) -> _Client:
            return client.search(
                self.name,
                queries,
                limit=count,
                search_params=how,
                output_fields=["key"],
                consistency_level=self.place.consistency,
                timeout=seconds,
            )

        return ask

    def _count_pending(self, client: _Client, seconds: float) -> int:
        return int(client.describe_index(self.name, "vector", timeout=seconds).get("pending_index_rows", 0))

    def _call(self, do: Callable[[_Client, float], T], *, times: int = 1) -> T:
        """Return what Milvus answers, asked again until `times` the time-out where it may yet answer."""
        end, pause = time.monotonic() + times * self.place.timeout, _FIRST_PAUSE_S
        while True:
            left, client = end - time.monotonic(), None
            try:
                client = self._connected(min(left, _CONNECTING_SECONDS))
                return do(client, max(left, 0.1))
            except MeishoError:
                raise
            except Exception as error:  # pymilvus and gRPC have many types, and no common one
                if not _may_answer_yet(error) or time.monotonic() + pause > end:
                    raise self._explain(error) from error
                self._recover(client, error)
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _connected(self, seconds: float) -> _Client:
        link = self._link
        with link.lock:
            if link.client is None:
                if self.place.is_lite:
                    _check_lite(Path(self.place.uri))
                with needs_extra("milvus", "the engine milvus"), _silent_pymilvus():
                    from pymilvus import MilvusClient

                    link.client = MilvusClient(
                        self.place.uri,
                        token=os.environ.get(TOKEN_VARIABLE, ""),
                        db_name=self.place.database,
                        timeout=max(seconds, 0.1),
                        dedicated=not self.place.is_lite,
                    )
                link.number += 1
            return link.client

    def _recover(self, client: _Client, error: Exception) -> None:
        """Get ready for another attempt: load what is not loaded, else connect anew; `client` may be None."""
        if client is None:
            return
        if any(sign in str(error).lower() for sign in _NOT_LOADED):
            with suppress(Exception):
                client.load_collection(self.name, timeout=self.place.timeout)
            return
        with self._link.lock:
            is_ours = bool(self._link.client is client)  # else another thread has closed it
            if not is_ours or self.place.is_lite:
                return
            self._link.client = None
        with suppress(Exception):
            client.close()  # a channel that failed waits longer and longer until it tries again

    def _explain(self, error: Exception) -> EngineError:
        said, where = " ".join(str(error).split())[:500], f"milvus at {self.place.uri}"
        if getattr(error, "code", None) == _NOT_FOUND:
            return OutOfStepError(
                f"{where}: the collection {self.name} is not there; run 'meisho index' to fill it again"
            )
        if any(sign in said.lower() for sign in _REFUSED):
            return UnreachableError(
                f"{where}: refuses who asks; set the environment variable {TOKEN_VARIABLE}=USER:PASSWORD "
                f"({said})"
            )
        if "open local milvus failed" in said.lower():
            return UnreachableError(
                f"{where}: cannot be opened; a file of Milvus Lite serves one process at a time: end the "
                "other, or run a Milvus server"
            )
        if _may_answer_yet(error):
            return UnreachableError(
                f"{where}: does not answer within {self.place.timeout:g} s; start it, or go back to this "
                f"machine by 'meisho index … --engine local' ({said})"
            )
        return EngineError(f"{where}: refuses: {said}")


def _check_lite(path: Path) -> None:
    """Refuse a place that is no database of Milvus Lite and where none can be made.

    Milvus Lite keeps a folder of this name; it would write into any other, and says little of what fails.
    """
    said = ""
    if not path.parent.is_dir():
        said = f"there is no folder {path.parent}; make it, or name another"
    elif os.path.lexists(path) and not path.is_dir():
        said = "is no database of Milvus Lite, which is a folder; name another"
    elif not os.access(path if path.is_dir() else path.parent, os.R_OK | os.W_OK | os.X_OK):
        said = "may not be read and written; name another, or change its rights"
    elif path.is_dir() and not (path / "LOCK").exists() and any(path.iterdir()):
        said = "is a folder with other things in it and no database of Milvus Lite; name another"
    if said:
        raise UnreachableError(f"milvus at {path}: {said}")


def as_signed(keys: UInt64Array) -> Int64Array:
    """Return keys (N,) as Milvus has them, int64, by the same bits."""
    return np.ascontiguousarray(keys).view(np.int64)


def _may_answer_yet(error: Exception) -> bool:
    said = str(error).lower()
    if getattr(error, "code", None) == _NOT_FOUND or any(sign in said for sign in _REFUSED):
        return False
    return any(sign in said for sign in _NOT_YET) or type(error).__module__.startswith("grpc")


@contextmanager
def _silent_pymilvus() -> Iterator[None]:
    """Import and connect inside; what the packages would log besides stands in the errors that are raised."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its core writes to stderr itself
    loggers = [logging.getLogger(name) for name in ("pymilvus", "milvus_lite", "grpc._server")]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    yield
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)  # the import sets it itself
