"""Download one file from the first source that gives it: on from where an earlier try ended, and verified."""

import errno
import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from meisho.fetching.partial import Digests, Origin, PartialFile
from meisho.fetching.source import AlteredFault, PassingFault, Reply, SourceFault, open_source
from meisho.progress import Progress, silent

_PROGRESS_BYTES = 1 << 16
_UNREACHABLE_COSTS = 3
_MOST_RESTARTS = 2
_MOST_BYTES = 8 << 30
"""The most that is taken of a file whose size nobody has said."""
_SPARE_BYTES = 32 << 20
"""What a download leaves free on the disk."""
_ROOM_EVERY_BYTES = 16 << 20


class StoppedError(Exception):
    """The user stopped the run; never leaves `meisho.fetching`."""


@dataclass(frozen=True)
class Patience:
    """How long a source is waited for.

    Attributes:
        tries: Tries in a row that bring nothing before a source is given up; a host that cannot be reached
            at all uses them up three times as fast.
        first_wait_seconds: Pause after the first of them; each next one is twice as long.
        longest_wait_seconds: Longest pause, unless the source itself asks for more.
        stall_seconds: How long less than a trickle may come before a connection is given up.
    """

    tries: int = 8
    first_wait_seconds: float = 1.0
    longest_wait_seconds: float = 60.0
    stall_seconds: float = 30.0

    def pause(self, failures: int) -> float:
        """Return the pause in seconds after so many failures in a row."""
        return float(min(self.longest_wait_seconds, self.first_wait_seconds * 2 ** max(0, failures - 1)))


@dataclass(frozen=True)
class Expected:
    """What a file must be; None for what is not known.

    Attributes:
        size_bytes: Its size.
        sha256: Its SHA-256 in hex digits.
        md5: Its MD5 in hex digits.
        said_by: Who says so, for messages.
        most_bytes: The most that it may have where its size is not known.
    """

    size_bytes: int | None = None
    sha256: str | None = None
    md5: str | None = None
    said_by: str = "the manifest"
    most_bytes: int = _MOST_BYTES

    @property
    def limit_bytes(self) -> int:
        """The most bytes that are taken from a source."""
        return self.most_bytes if self.size_bytes is None else self.size_bytes

    @property
    def has_checksum(self) -> bool:
        """Whether a digest is known: then any bytes can be told from the right ones."""
        return bool(self.sha256 or self.md5)

    def difference(self, came: Digests) -> str:
        """Say how a file differs from what is expected; "" when it does not."""
        for name in ("size_bytes", "sha256", "md5"):
            wanted, got = getattr(self, name), getattr(came, name)
            if wanted is not None and wanted != got:
                words = "size" if name == "size_bytes" else name
                return f"expected {words} {wanted} ({self.said_by}), got {got}"
        return ""


def download(
    place: Path,
    sources: Sequence[str],
    expected: Expected,
    *,
    patience: Patience = Patience(),
    progress: Progress = silent,
    stop: threading.Event | None = None,
) -> tuple[Digests, str]:
    """Bring a file to its place; what came of it earlier is not fetched again.

    Args:
        place: Where the whole, verified file will lie; until then there is only `PLACE.part`.
        sources: Addresses or paths, best first.
        expected: What it must be.
        patience: How long to wait for a source.
        progress: Told, as "download", how many bytes have come.
        stop: Set to make the download end early, with what has come kept.

    Returns:
        Its size and digests, and the source that gave it.

    Raises:
        SourceFault: No source gives the file; the message has one line per source.
        StoppedError: `stop` was set.
        OSError: It cannot be written.
    """
    stop = stop or threading.Event()
    faults = []
    with PartialFile(place, md5=bool(expected.md5)) as part:
        for source in sources:
            attempt = _Attempt(part, source, expected, patience, progress, stop)
            try:
                digests = attempt.run()
            except SourceFault as fault:
                faults.append(f"{source}: {fault}")
            else:
                part.finish()
                return digests, source
        if part.offset == 0:
            part.discard()
    raise SourceFault("\n  ".join(faults))


@dataclass
class _Attempt:
    """One source, with as many requests as it takes."""

    part: PartialFile
    source: str
    expected: Expected
    patience: Patience
    progress: Progress
    stop: threading.Event
    failures: int = 0
    spent: int = 0
    restarts: int = 0
    may_be_cut: bool = False
    is_done: bool = False

    def run(self) -> Digests:
        try:
            return self._run()
        finally:
            self._keep_what_can_go_on()

    def _run(self) -> Digests:
        self._keep_what_can_go_on()
        is_stitched = self.part.offset > 0  # from more than one answer: the file may have changed between
        while True:
            before = self.part.offset
            try:
                if not self._is_whole():
                    self._receive()
                return self._verified()
            except AlteredFault:
                self.part.restart()
                self.restarts += 1
                if not is_stitched or self.restarts > _MOST_RESTARTS:
                    raise
                is_stitched = False
            except PassingFault as fault:
                self._keep_what_can_go_on()
                self._wait(fault, gained=self.part.offset - before)
                is_stitched = self.part.offset > 0

    def _keep_what_can_go_on(self) -> None:
        """Throw away bytes that no later answer can be joined to: nothing would tell a mixture."""
        if self.part.offset and not (self.is_done or self._can_go_on()):
            self.part.restart()

    def _can_go_on(self) -> bool:
        """Whether the bytes that are there may be the first ones of this source's file."""
        origin = self.part.origin
        if origin is None or self.part.offset > self.expected.limit_bytes:
            return False
        return self.expected.has_checksum or (origin.source == self.source and origin.validator is not None)

    def _is_whole(self) -> bool:
        if self.expected.has_checksum:
            return not self.expected.difference(self.part.digests)
        origin = self.part.origin
        size = self.expected.size_bytes or (origin.total_bytes if origin else None)
        return bool(self.part.offset) and size == self.part.offset

    def _receive(self) -> None:
        origin = self.part.origin
        is_same = origin is not None and origin.source == self.source
        with open_source(
            self.source,
            offset=self.part.offset,
            validator=origin.validator if origin and is_same else None,
            stall_seconds=self.patience.stall_seconds,
        ) as reply:
            self._check_size(reply)
            if reply.offset != self.part.offset:  # it ignores ranges, or its file changed: all of it comes
                self.part.restart()
            elif reply.offset:
                self._check_joint(reply)
            self.part.remember(Origin(self.source, reply.validator, reply.total_bytes))
            self.may_be_cut = not reply.ends_itself
            self._take(reply)
        if reply.total_bytes is not None and self.part.offset < reply.total_bytes:
            raise PassingFault(
                f"the connection ended after {self.part.offset:,} of {reply.total_bytes:,} bytes"
            )

    def _check_size(self, reply: Reply) -> None:
        wanted = self.expected.size_bytes
        if wanted is None and not self.expected.has_checksum and not reply.ends_itself:
            raise SourceFault("it does not say how long the file is, and no checksum is known")
        if wanted is not None and reply.total_bytes not in (None, wanted):
            raise AlteredFault(
                f"expected size {wanted} ({self.expected.said_by}), it offers {reply.total_bytes} bytes"
            )

        limit = self.expected.limit_bytes
        if reply.total_bytes is not None and reply.total_bytes > limit:
            raise SourceFault(
                f"it offers {reply.total_bytes:,} bytes, more than the {limit:,} that are taken"
            )
        self._check_room(max(0, (reply.total_bytes or 0) - self.part.offset - _SPARE_BYTES))

    def _check_joint(self, reply: Reply) -> None:
        """Refuse an answer that goes on from what is there, unless it is of the same version."""
        origin = self.part.origin
        if self.expected.has_checksum or origin is None:
            return
        if reply.validator is None or reply.validator != origin.validator:
            raise AlteredFault("it does not say that its file is still the one that the first bytes are from")
        if None not in (totals := {reply.total_bytes, origin.total_bytes}) and len(totals) > 1:
            raise AlteredFault(f"its file had {origin.total_bytes:,} bytes and now has {reply.total_bytes:,}")

    def _check_room(self, coming: int) -> None:
        """Leave some of the disk free, whatever a source sends.

        Raises:
            OSError: There is no room for `coming` bytes.
        """
        folder = self.part.place.parent
        free = shutil.disk_usage(folder).free
        if free < coming + _SPARE_BYTES:
            reason = f"{self.source} sends more than the {free:,} bytes that are free; make room on the disk"
            raise OSError(errno.ENOSPC, reason, str(folder))

    def _take(self, reply: Reply) -> None:
        total = (reply.total_bytes if reply.total_bytes is not None else self.expected.size_bytes) or 0
        limit = self.expected.limit_bytes
        reported = checked = self.part.offset
        self.progress("download", reported, total)
        for chunk in reply.chunks():
            if self.stop.is_set():
                raise StoppedError
            if self.part.offset + len(chunk) > limit:
                raise AlteredFault(f"expected {self._at_most}{limit:,} bytes, more came")
            self.part.append(chunk)
            if self.part.offset - checked >= _ROOM_EVERY_BYTES:
                checked = self.part.offset
                self._check_room(0)
            if self.part.offset - reported >= _PROGRESS_BYTES:
                reported = self.part.offset
                self.progress("download", reported, total)
        self.progress("download", self.part.offset, total)

    @property
    def _at_most(self) -> str:
        return "at most " if self.expected.size_bytes is None else ""

    def _verified(self) -> Digests:
        digests = self.part.digests
        difference = self.expected.difference(digests)
        if difference and self.may_be_cut:
            raise PassingFault(f"its answer ended after {digests.size_bytes:,} bytes: {difference}")
        if difference:
            raise AlteredFault(difference)
        self.is_done = True
        return digests

    def _wait(self, fault: PassingFault, *, gained: int) -> None:
        if gained >= _PROGRESS_BYTES:
            self.failures = 0
            self.spent = 0
        self.failures += 1
        self.spent += _UNREACHABLE_COSTS if fault.is_unreachable else 1
        if self.spent >= self.patience.tries:
            raise SourceFault(f"{fault}; given up after {self.failures} tries in a row") from fault
        pause = self.patience.pause(self.failures)
        if fault.wait_seconds is not None:
            pause = max(pause, fault.wait_seconds)
        if self.stop.wait(pause):
            raise StoppedError
