"""A Ray cluster of real processes, for tests: nodes with one processor each, on this machine."""

import os
import re
import sys
from contextlib import contextmanager
from pathlib import Path

from processes import children_of, started, wait_until

SOURCES = Path(__file__).parent.parent / "src"


def environment(**more):
    """What Ray's processes and ours see: a token, so that nobody else joins, and no other Ray; "" unsets."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    own = {"RAY_AUTH_TOKEN": "9d0b3a52c1f44e7c8a6f", "RAY_AUTH_MODE": "token"}
    own |= {"RAY_worker_niceness": "0"}  # 15 unless said: on a busy machine they would hardly be run
    path = os.pathsep.join(filter(None, (str(SOURCES), kept.get("PYTHONPATH"))))
    return {name: value for name, value in (kept | own | {"PYTHONPATH": path} | more).items() if value}


@contextmanager
def node(folder, *words, **more):
    """Start a node; yields its process and what it said."""
    said = folder / f"{len([*folder.iterdir()])}.log"
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1"]
    options = ["--object-store-memory=100000000", "--disable-usage-stats", *words]
    with (
        said.open("w") as file,
        started([*command, *options], env=environment(**more), stdout=file, stderr=file) as process,
    ):
        wait_until(lambda: "Ray runtime started" in said.read_text(), process)
        yield process, said.read_text()


class Nodes:
    """A head, and other nodes beside it that may be killed."""

    def __init__(self, folder, stack):
        self._folder, self._stack = folder, stack
        head = ["--head", "--port=0", "--include-dashboard=false", f"--temp-dir={folder / 'ray'}"]
        process, said = stack.enter_context(node(folder, *head))
        self.raylets = [raylet_of(process)]
        self.address = re.search(r"--address='([^']+)'", said)[1]

    def add(self, *words, **more):
        """Start another node; returns its raylet's process id."""
        process, _ = self._stack.enter_context(
            node(self._folder, f"--address={self.address}", *words, **more)
        )
        self.raylets.append(raylet_of(process))
        return self.raylets[-1]

    def workers(self, raylet):
        """Process ids of meisho's workers on a node; their names say what they do, or end where they rest."""
        return [pid for pid, command in children_of(raylet) if command.startswith("ray::GlobalWorker")]


def raylet_of(process):
    return next(pid for pid, command in children_of(process.pid) if "/raylet/raylet" in command)
