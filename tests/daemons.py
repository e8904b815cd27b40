"""Servers of other projects that tests start on loopback, wait for, and stop by their process id."""

import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path

from processes import started, wait_until


def free_ports(number):
    """Ports that nobody listened on a moment ago, all different."""
    held = [socket.socket() for _ in range(number)]
    for each in held:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


@contextmanager
def server(command, log, *, is_ready):
    """A server of another project; it runs until the block ends, and is ended with all that it started.

    Args:
        command: The words that start it.
        log: File for what it prints, shown where it ends before it is ready.
        is_ready: Says whether it can be asked.
    """
    with Path(log).open("wb") as file, started(command, stdout=file, stderr=subprocess.STDOUT) as process:
        try:
            wait_until(is_ready, process)
        except AssertionError as error:
            raise AssertionError(f"{command[0]} ended:\n{Path(log).read_text()[-3000:]}") from error
        yield process
