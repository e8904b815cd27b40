"""Processes that a test starts, and waiting for what they do: for a condition, never for a time.

Nothing here gives up: what waits in vain is ended, and shown, by the limit of a test in pyproject.toml.
"""

import os
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

POLL_SECONDS = 0.005
_ENDS_WITH_US = ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()
"""Where the system can: what a test started ends too when the limit of a test ends this process."""


def wait_until(condition, process=None):
    """Wait until a condition holds; the process that is to bring it about may not end before."""
    while not condition():
        assert process is None or process.poll() is None, "the process ended before what was waited for"
        time.sleep(POLL_SECONDS)


@contextmanager
def started(command, **options):
    """A process in a group of its own, as a terminal starts it; the group ends with the test."""
    process = subprocess.Popen([*_ENDS_WITH_US, *map(str, command)], start_new_session=True, **options)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in filter(None, (process.stdin, process.stdout, process.stderr)):
            with suppress(BrokenPipeError):
                pipe.close()


def kill(process):
    """End a process as the system does it, and wait until it has ended."""
    process.send_signal(signal.SIGKILL)
    process.communicate()


def changes_below(folder, number):
    """A condition: the files below a folder were seen to change so many times since it was first asked."""
    seen = []

    def have_come():
        now = _files_below(folder)
        if not seen or seen[-1] != now:
            seen.append(now)
        return len(seen) > number

    return have_come


def _files_below(folder):
    files = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # it went meanwhile
                facts = Path(parent, name).stat()
                files[parent, name] = facts.st_ino, facts.st_size, facts.st_mtime_ns
    return files


def children():
    """Ids of this process's children that run."""
    return {pid for pid, (state, parent, _) in _processes() if parent == os.getpid() and state != "Z"}


def group(leader):
    """Ids of the processes of a group that run."""
    return {pid for pid, (state, _, group) in _processes() if group == leader and state != "Z"}


def runs(pid):
    """Whether a process runs: it is there, and not one that has ended and is still to be waited for."""
    return any(pid == other and state != "Z" for other, (state, _, _) in _processes())


def _processes():
    """Yield (id, (state, parent, group)) of every process, from /proc: Linux only."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent, group = status.read_text().rpartition(")")[2].split()[:3]
            yield int(status.parent.name), (state, int(parent), int(group))


def children_of(parent):
    """Yield (id, command line) of a process's children that run."""
    for pid, (state, other, _) in _processes():
        if other == parent and state != "Z":
            with suppress(OSError):
                yield pid, Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
