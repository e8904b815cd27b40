"""Worker: one job in a process of its own, `python -m meisho.service.worker`, which reads what to do.

It writes a line of JSON for each thing that it has to say: {"progress": [stage, done, total]} as it goes,
{"waits": "for whom"} while another process writes, at the end {"result": {...}} or {"error": {...}}. Where
its input ends, the service has ended, and so does it.
"""

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING

from meisho.describing import Describer
from meisho.documents import parse_json
from meisho.errors import GoneError, InputError, LockedError, MeishoError
from meisho.extractors.local_base import load_local_extractor
from meisho.extractors.restoring import restore_extractor
from meisho.local_describing import LocalDescriber
from meisho.progress import Progress
from meisho.run.state import load_state
from meisho.run.summary import IndexSummary
from meisho.service.captures import CaptureReader
from meisho.service.notebook import Notebook
from meisho.store.metadata import read_metadata
from meisho.store.places import place_of
from meisho.tables import load_named
from meisho.texts import count

if TYPE_CHECKING:  # it imports LanceDB, which the table of kinds does without
    from meisho.run.indexing import IndexOptions

Result = dict[str, object]
Run = Callable[[Path, Mapping[str, object], str, Progress], Result]
"""Does a job: (collection, options, device, progress) -> what came of it, with "message" in words."""

RUNS = {
    "index": "meisho.service.worker:run_index",
    "local": "meisho.service.worker:run_local",
    "groups": "meisho.service.worker:run_groups",
    "captures": "meisho.service.worker:run_captures",
    "evaluation": "meisho.service.evaluations:run_evaluation",
}
"""Kinds of jobs -> "module:function", imported on use."""

_MOST_SKIPPED = 100
_TELL_SECONDS = 0.1
_WAIT_SECONDS = 1
_NICE = 5


def run_index(collection: Path, options: Mapping[str, object], device: str, progress: Progress) -> Result:
    """Bring a collection in step with its photo folder; options: prune, rehash."""
    from meisho.run.indexing import IndexOptions

    chosen = IndexOptions(device=device, prune=_flag(options, "prune"), rehash=_flag(options, "rehash"))
    return _index(collection, chosen, device, progress)


def run_local(collection: Path, options: Mapping[str, object], device: str, progress: Progress) -> Result:
    """Find the local features of all photos of a collection; options: name, "sift" or "xfeat"."""
    from meisho.run.indexing import IndexOptions

    name = options.get("name", "sift")
    if not isinstance(name, str):
        raise InputError(f"options.name is {name!r:.80}; give sift or xfeat")
    local = LocalDescriber(load_local_extractor(name, device=device))
    return _index(collection, IndexOptions(local=local, device=device), device, progress)


def _index(collection: Path, options: "IndexOptions", device: str, progress: Progress) -> Result:
    from meisho.run.indexing import index_folder

    metadata = read_metadata(collection)
    describer = Describer(restore_extractor(metadata.provenance, device=device))
    summary = index_folder(metadata.photo_root, collection, describer, options, progress=progress)
    if summary.kept:
        raise GoneError(
            f"{count(summary.kept, 'photo')} of {summary.num_photos:,} are no longer below "
            f"{metadata.photo_root}; they are kept, as a drive may be off; if they are gone for good, "
            "index again with the option prune"
        )
    return _say(summary)


def _say(summary: IndexSummary) -> Result:
    parts = {
        "described": summary.described,
        "duplicates": summary.duplicates,
        "unchanged": summary.unchanged,
        "removed": summary.removed,
        "skipped": len(summary.skipped),
        "with local features": summary.local_described,
    }
    done = ", ".join(f"{number:,} {what}" for what, number in parts.items() if number)
    return {
        "message": f"{count(summary.num_photos, 'photo')} ({done or 'nothing to do'})",
        "num_photos": summary.num_photos,
        "skipped": [asdict(photo) for photo in summary.skipped[:_MOST_SKIPPED]],
    }


def run_groups(collection: Path, options: Mapping[str, object], device: str, progress: Progress) -> Result:
    """Find the places that a collection shows more than once; no options."""
    from meisho.run.grouping import find_groups  # which other jobs do without

    if options:
        raise InputError(f"options are {dict(options)!r:.80}; groups takes none")
    places = find_groups(collection, progress=progress)
    duplicates = count(len(places.duplicates), "group")
    return {"message": f"{count(len(places.places), 'place')}, {duplicates} of copies"}


def run_captures(collection: Path, options: Mapping[str, object], device: str, progress: Progress) -> Result:
    """Read when and where photos were taken."""
    state, notebook = load_state(collection), Notebook.open(collection)
    reader = CaptureReader(notebook, state.metadata.photo_root)
    reader.read_missing(state.snapshot, progress=progress)
    notebook.forget_captures(state.snapshot.keys)
    captures = reader.load(state.snapshot)
    located = int((captures.latitude == captures.latitude).sum())
    dated = int((captures.taken == captures.taken).sum())
    number = count(len(state.snapshot.keys), "photo")
    return {"message": f"{dated:,} of {number} know when they were taken, {located:,} where"}


def _flag(options: Mapping[str, object], name: str) -> bool:
    value = options.get(name, False)
    if not isinstance(value, bool):
        raise InputError(f"options.{name} is {value!r:.80}; give true or false")
    return value


class _Telling:
    """Progress as lines of JSON, some times a second."""

    def __init__(self, out: IO[str]) -> None:
        self._out, self._last = out, (0.0, "")

    def __call__(self, stage: str, done: int, total: int) -> None:
        now, (then, before) = time.monotonic(), self._last
        if stage != before or done == total or now - then >= _TELL_SECONDS:
            self._last = now, stage
            self.say("progress", [stage, done, total])

    def say(self, what: str, value: object) -> None:
        self._out.write(json.dumps({what: value}) + "\n")
        self._out.flush()


def _do_in_turn(do: Callable[[], Result], collection: Path, telling: _Telling) -> Result:
    """Do a job; while another process writes to the collection, say so and wait for its end."""
    while True:
        try:
            return do()
        except LockedError as error:
            telling.say("waits", str(error))
        from meisho.store.locks import wait_for_writer  # it imports LanceDB

        time.sleep(_WAIT_SECONDS)  # what is locked may be another thing
        wait_for_writer(collection)


def _end_with_the_service() -> None:
    """Stop this process when its input ends: whoever started it was killed."""

    def wait() -> None:
        while sys.stdin.buffer.read(1):
            pass
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    """Do the job that the first line of the input names."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had it ignored
    telling = _Telling(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)  # what libraries print is not for the service
    job = parse_json(sys.stdin.buffer.readline(), source="a job", error=InputError)
    _end_with_the_service()
    with contextlib.suppress(OSError, AttributeError):
        os.nice(_NICE)  # answering goes first
    try:
        run: Run = load_named(job.text("kind"), RUNS, what="job")
        collection, options = place_of(job.text("collection")), job.table("options").values
        device = job.text("device")
        telling.say(
            "result", _do_in_turn(lambda: run(collection, options, device, telling), collection, telling)
        )
    except KeyboardInterrupt:
        sys.exit(130)
    except MeishoError as error:
        from meisho.service.problems import problem

        telling.say("error", problem(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
