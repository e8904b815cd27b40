"""Interruption: a signal to stop is noted, so that training ends after a whole step and is saved there."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)

_SAME_SECONDS = 1.0  # a launcher passes on to its processes what the terminal has sent them already
_GRACE_SECONDS = 10


class Interruption:
    """Whether a signal has asked to stop.

    Attributes:
        is_asked: Whether one has.
    """

    def __init__(self) -> None:
        self.is_asked = False
        self._came_at = 0.0
        self._news: SimpleQueue[str] = SimpleQueue()  # a handler may not print: it may stand within a print

    def note(self, number: int, frame: FrameType | None) -> None:
        """Note the first signal; stop at once, by KeyboardInterrupt, at the next that is not the same one."""
        if not self.is_asked:
            self.is_asked, self._came_at = True, time.monotonic()
            self._news.put(
                f"{signal.Signals(number).name}: stopping after this step or validation, and saving the run; "
                "once more stops at once"
            )
        elif time.monotonic() - self._came_at > _SAME_SECONDS:
            for each in SIGNALS:
                signal.signal(each, signal.SIG_DFL)  # a third ends even what a second cannot
            raise KeyboardInterrupt

    def tell(self, say: Callable[[str], None]) -> None:
        """Say what is to be said until `end`; in a thread of its own."""
        for line in iter(self._news.get, ""):
            say(line)

    def end(self) -> None:
        """End `tell`."""
        self._news.put("")


@contextmanager
def noted_signals(say: Callable[[str], None]) -> Iterator[Interruption]:
    """Note SIGINT and SIGTERM rather than be ended by them; only the main thread can, elsewhere none come.

    Args:
        say: Called with a line for people when the first one comes.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    speaker = threading.Thread(target=interruption.tell, args=(say,), daemon=True)
    speaker.start()
    before = {each: signal.getsignal(each) for each in SIGNALS}
    caught = [each for each in SIGNALS if before[each] != signal.SIG_IGN]  # a shell's background has them so
    try:
        for each in caught:
            signal.signal(each, interruption.note)
        yield interruption
    finally:
        for each in caught:
            signal.signal(each, before[each] or signal.SIG_DFL)
        interruption.end()
        speaker.join()


def start_worker_server(preload: Sequence[str]) -> None:
    """Start the process that loading workers are forked from; signals, which reach all, do not end it.

    Args:
        preload: Modules that workers share.
    """
    from multiprocessing import forkserver, resource_tracker  # Windows has neither

    forkserver.set_forkserver_preload(list(preload))
    resource_tracker.ensure_running()  # it unblocks signals when it starts, so it starts before
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # child processes have the same mask
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def outlive_signals() -> None:
    """Let a worker ignore SIGINT, and end some seconds after SIGTERM: a step may still need its photos."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "alarm"):
        signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(_GRACE_SECONDS))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
