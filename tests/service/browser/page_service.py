"""The real service in a process of its own, on the toy city."""

import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from processes import started


@dataclass(frozen=True)
class City:
    """A collection and the photos that it was made of."""

    collection: Path
    photos: Path
    queries: Path

    def copy(self, root: Path) -> "City":
        """A copy that a test may change."""
        for path in (self.collection, self.photos):
            shutil.copytree(path, root / path.name)
        command = ("index", root / self.photos.name, "--to", root / self.collection.name, "--moved")
        run_meisho(*command)
        return City(root / self.collection.name, root / self.photos.name, self.queries)


@dataclass(frozen=True)
class Service:
    """A service that runs: where it answers, what it shows, and the queries to ask it with."""

    url: str
    collection: Path
    photos: Path
    queries: Path
    process: subprocess.Popen

    def query(self, name: str) -> Path:
        """The first query whose name begins so."""
        return sorted(self.queries.glob(f"{name}*"))[0]


def run_meisho(*arguments):
    subprocess.run(
        [sys.executable, "-m", "meisho.cli", *map(str, arguments)], check=True, capture_output=True
    )


@contextmanager
def serving(city: City, *options, port: int = 0, beside: tuple[Path, ...] = ()):
    """The service on a collection, and on others beside it, until the end of the block."""
    opened = (city.collection, *beside)
    command = [sys.executable, "-m", "meisho.cli", "serve", *opened, "--port", port, *options]
    with started(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        lines = []
        for line in process.stdout:
            lines.append(line)
            url = next((word for word in line.split() if word.startswith("http://")), None)
            if url:
                yield Service(url.rstrip("/.") + "/", city.collection, city.photos, city.queries, process)
                return
        raise AssertionError("the service did not start:\n" + "".join(lines))
