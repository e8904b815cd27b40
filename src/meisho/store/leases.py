"""Leases: the lock of a collection in a bucket, an object that its writer renews.

No system frees a lock there when its owner is killed. So the owner writes its name into `writer.json`, on
condition that nobody else did, and anew every `RENEW_SECONDS`; at the end it writes that it is free. Another
takes it over, on condition that it is unchanged, when it is free, when its owner was a process of this
machine that is gone, or when it was not renewed for `STALE_SECONDS` by the store's own clock.

An owner that was taken for dead may live, and a commit of it may be on its way. So whoever takes over a lock
that is not free first gives every table a commit with which any that was begun before it is incompatible
(`fence`): what the owner before had not committed by then is refused by LanceDB, whenever it arrives.
"""

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from meisho.buckets import BucketPath
from meisho.config import build
from meisho.documents import parse_json
from meisho.endpoints import endpoint
from meisho.errors import CollectionError, DamagedError, LockedError, StoreError
from meisho.store import tables
from meisho.store.places import OWNER_FILE
from meisho.store.snapshot import newest_manifest
from meisho.texts import count, printable

RENEW_SECONDS = 10.0
STALE_SECONDS = 60.0
PROBE = ".meisho-probe"

_KEEP: set[tuple[str, str]] = set()
"""Endpoints and buckets that were seen to keep conditions."""


@dataclass(frozen=True)
class Owner:
    """Who holds a lease.

    Attributes:
        pid: The process; 0 where it is free.
        host: Its machine.
        machine: What tells where that id is of the same process: the machine since it was started.
        token: Tells one holding from another.
        renewed: How often it was renewed.
        began: When its process began, see `_began`; another may have got its id since.
    """

    pid: int
    host: str
    machine: str
    token: str
    renewed: int = 0
    began: int = 0

    @property
    def is_gone(self) -> bool:
        """Whether it was a process of this machine that does not run any more; False where nobody knows."""
        if not self.machine or self.machine != _machine():
            return False
        return _began(self.pid) != self.began

    def encode(self) -> bytes:
        """Return it as the content of its object."""
        return json.dumps(asdict(self)).encode()


class Lease:
    """A lease that this process holds, from `hold_lease`."""

    def __init__(self, directory: Path, owner: Owner, etag: str) -> None:
        self._directory, self._owner, self._etag = directory, owner, etag
        self._lock, self._ended, self._lost = threading.Lock(), threading.Event(), False
        self._at = _now()
        self._thread = threading.Thread(target=self._renew_until_ended, daemon=True, name="meisho lease")
        self._thread.start()

    def check(self) -> None:
        """Make sure that it is still held; whoever writes calls it before each commit.

        Raises:
            LockedError: Another process has taken it over.
            StoreError: The store does not say.
        """
        with self._lock:
            if not self._lost and _now() - self._at > 2 * RENEW_SECONDS:  # it was stopped meanwhile
                self._renew()
            if self._lost:
                raise LockedError(
                    f"{self._directory}: another process has taken over writing, as this one gave no sign "
                    f"of life for {STALE_SECONDS:.0f} s; what was committed before is safe: run it again"
                )

    def release(self) -> None:
        """Let others have it; where the store does not answer, they wait until it is stale."""
        self._ended.set()
        self._thread.join()
        free = Owner(0, self._owner.host, "", self._owner.token, self._owner.renewed + 1)
        with suppress(StoreError):
            if not self._lost:
                _put(self._directory, free, self._etag)

    def _renew(self) -> None:
        renewed = Owner(**{**asdict(self._owner), "renewed": self._owner.renewed + 1})
        at, etag = _now(), _put(self._directory, renewed, self._etag)
        self._lost = etag is None
        if etag is not None:
            self._owner, self._etag, self._at = renewed, etag, at

    def _renew_until_ended(self) -> None:
        while not self._ended.wait(RENEW_SECONDS):
            with self._lock, suppress(StoreError):  # tried again next time; `check` says it where it matters
                if self._lost:
                    return
                self._renew()


@contextmanager
def hold_lease(directory: Path) -> Iterator[Lease]:
    """Hold the lease of a collection in a bucket.

    Raises:
        LockedError: Another process holds it; the message names it.
        StoreError: The store does not answer, or ignores conditions, without which nothing is written.
    """
    require_conditions(directory)
    lease, taken_over = _acquire(directory)
    try:
        if taken_over:
            for name in (tables.PHOTOS, tables.DESCRIPTORS, tables.LOCAL_FEATURES):
                with suppress(DamagedError):  # one that cannot be opened is made anew by who repairs it
                    if newest_manifest(directory, name):
                        tables.fence(directory, name)
        yield lease
    finally:
        lease.release()


def wait_until_free(directory: Path, look_seconds: float) -> None:
    """Wait until nobody holds the lease of a collection in a bucket."""
    while (found := _read(directory)) is not None and _why_held(directory, *found):
        time.sleep(look_seconds)


def require_conditions(directory: Path) -> None:
    """Refuse a store that ignores the conditions of a PUT; asked once for each bucket and process.

    Raises:
        StoreError: It ignores them, or does not answer.
    """
    asked = endpoint(), _object(directory).bucket
    if asked not in _KEEP and _keeps_conditions(directory):
        _KEEP.add(asked)
    if asked not in _KEEP:
        raise StoreError(
            f"{directory}: the object store at {endpoint()} ignores conditions (If-None-Match, If-Match), so "
            "that two writers would write over each other's commits without a word; nothing was written. Use "
            "a store that keeps them (Amazon S3, MinIO, SeaweedFS, Ceph, R2), or a collection on a disk"
        )


def _keeps_conditions(directory: Path) -> bool:
    probe = _new_object(directory)
    try:  # a first answer that is lost on the way says nothing: the request is made again, and is refused
        probe.put_new(b"first")
        etag = probe.look().etag
        if probe.put_new(b"second") is not None:
            return False
        probe.put_over(b"third", etag)
        return probe.read_bytes() == b"third" and probe.put_over(b"fourth", etag) is None
    finally:
        with suppress(StoreError):
            probe.unlink()


def _acquire(directory: Path) -> tuple[Lease, bool]:
    """Return the lease, and whether it was taken from an owner that had not given it back."""
    pid = os.getpid()
    owner = Owner(pid, socket.gethostname(), _machine(), secrets.token_hex(8), began=_began(pid))
    found = _read(directory)
    if found is not None and (why := _why_held(directory, *found)):
        raise LockedError(why)
    etag = _put(directory, owner, None if found is None else found[1])
    if etag is None:
        raise LockedError(
            f"{directory}: another process has begun to write to it at this moment; wait for it to end"
        )
    return Lease(directory, owner, etag), found is not None and found[0].pid != 0


def _why_held(directory: Path, owner: Owner, etag: str) -> str:
    """Say who holds a lease; "" where it can be had."""
    if owner.pid == 0 or owner.is_gone:
        return ""
    if (age := _age_seconds(directory, etag)) >= STALE_SECONDS:
        return ""
    return (
        f"{directory}: process {owner.pid} on {printable(owner.host)[:80]} is writing to it; wait for it to "
        f"end, or stop it (its last sign of life came {count(round(age), 'second')} ago; without one for "
        f"{STALE_SECONDS:.0f} s, another may write)"
    )


def _age_seconds(directory: Path, etag: str) -> float:
    """Return how long ago the lease was renewed, by the clock of the store; 0 where it was just now."""
    clock = _new_object(directory)
    clock.write_bytes(b"")
    try:
        now, held = clock.look().modified, _object(directory).look()
        return (now - held.modified).total_seconds() if held.etag == etag else 0.0
    except FileNotFoundError:
        return 0.0
    finally:
        clock.unlink()


def _put(directory: Path, owner: Owner, over: str | None) -> str | None:
    """Write who holds the lease in place of what has this etag, or of nothing; None where another was there.

    A request whose answer was lost on the way is made again, and meets what it has written itself.
    """
    place = _object(directory)
    etag = place.put_new(owner.encode()) if over is None else place.put_over(owner.encode(), over)
    if etag is None and (found := _read(directory)) is not None and found[0] == owner:
        return found[1]
    return etag


def _read(directory: Path) -> tuple[Owner, str] | None:
    """Read who holds the lease, and its etag; None where nobody ever did. What is no owner is a free one."""
    try:
        content, listed = _object(directory).read_as_it_was()
    except FileNotFoundError:
        return None
    try:
        return build(parse_json(content, source=OWNER_FILE, error=CollectionError), Owner), listed.etag
    except CollectionError:
        return Owner(0, "", "", ""), listed.etag


def _new_object(directory: Path) -> BucketPath:
    assert isinstance(directory, BucketPath)
    return directory.below(f"{PROBE}-{secrets.token_hex(8)}")


def _object(directory: Path) -> BucketPath:
    assert isinstance(directory, BucketPath)
    return directory.below(OWNER_FILE)


def _began(pid: int) -> int:
    """Return when a process of this machine began, in ticks since that started; 0 for one that has ended."""
    try:
        facts = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    state, *others = facts.rpartition(")")[2].split()
    return 0 if state in "ZX" else int(others[18])


@lru_cache(maxsize=1)
def _machine() -> str:
    """Name this machine since it was started, as far as ids of processes are the same; "" where unknown."""
    try:
        started = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{socket.gethostname()} {started} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _now() -> float:
    """Seconds, on a clock that goes on while the machine sleeps."""
    return time.time()
