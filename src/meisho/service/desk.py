"""Desk: what changes a collection or remembers something of it, made when it is first asked for."""

import threading
from collections.abc import Iterable
from pathlib import Path

from meisho.decoding import GuardedDecoder
from meisho.photos import Photo
from meisho.service.evaluations import Evaluations
from meisho.service.gate import Gate
from meisho.service.jobs import Job, Jobs
from meisho.service.opened import OpenedCollection
from meisho.service.problems import RefusedError
from meisho.service.settings import Settings
from meisho.service.uploads import Uploads
from meisho.texts import count

READ_WHILE_ASKED = 256
"""Photos whose dates and places are read while a question waits; more are read by a job."""

_RETRY_SECONDS = 2


class Desk:
    """What changes one collection or remembers something of it.

    Args:
        opened: The collection.
        settings: How the service was started.
        decoder: Decodes uploads in processes that may die.

    Attributes:
        opened: The collection.
        uploads: Puts photos into it, and takes them out.
        jobs: What takes long.
        evaluations: Labelled sets that were scored.
    """

    def __init__(self, opened: OpenedCollection, settings: Settings, decoder: GuardedDecoder) -> None:
        self.opened, self._decoder = opened, decoder
        gate = Gate(opened.path)
        self.uploads = Uploads(
            opened.finder,
            gate,
            writable=settings.photos_writable,
            device=settings.device,
            decode=self._decode,
        )
        self.jobs = Jobs(
            opened.name, opened.path, opened.notebook, gate, device=settings.device, ended=self._take_over
        )
        self.evaluations = Evaluations(opened.path)

    def read_captures(self) -> None:
        """Read when and where few photos were taken; leave many to a job.

        Raises:
            RefusedError: A job reads them now ("not-read-yet").
        """
        snapshot, captures = self.opened.finder.snapshot, self.opened.captures
        missing = captures.count_missing(snapshot)
        if missing > READ_WHILE_ASKED:
            job = self._reading_job()
            raise RefusedError(
                "not-read-yet",
                f"the dates and places of {count(missing, 'photo')} are being read (job {job.id})",
                remedy="ask again in a while",
                headers={"Retry-After": str(_RETRY_SECONDS)},
            )
        if missing:
            captures.read_missing(snapshot)

    def marked(self, kind: str, asked: str) -> list[str]:
        """Return the ids of photos that were marked as showing what a query shows."""
        return [mark.answer for mark in self.opened.notebook.marks(kind, asked) if mark.same]

    def file_of(self, photo_id: str) -> Path | None:
        """Return the file of a photo; None where the collection does not hold it."""
        photo = self.opened.finder.state.find_photo(photo_id)
        return None if photo is None else photo.path

    def close(self) -> None:
        """End jobs."""
        self.jobs.close()

    def _reading_job(self) -> Job:
        running = [job for job in self.jobs.all() if job.kind == "captures" and not job.has_ended]
        return running[0] if running else self.jobs.start("captures")

    def _decode(self, photo: Photo) -> str:
        self._decoder.load(photo, self.opened.finder.describer.extractor.image_options)
        return self._decoder.read_header(photo).format

    def _take_over(self, _: Job) -> None:
        self.opened.finder.follow()


class Desks:
    """The desks of the collections of a service; each is made when it is first asked for.

    Args:
        settings: How the service was started.
        decoder: Decodes uploads.
    """

    def __init__(self, settings: Settings, decoder: GuardedDecoder) -> None:
        self._settings, self._decoder = settings, decoder
        self._lock = threading.Lock()
        self._desks: dict[str, Desk] = {}

    def of(self, opened: OpenedCollection) -> Desk:
        """Return the desk of a collection.

        Raises:
            CollectionError: Its notebook cannot be used.
        """
        with self._lock:
            if opened.name not in self._desks:
                self._desks[opened.name] = Desk(opened, self._settings, self._decoder)
            return self._desks[opened.name]

    def of_job(self, job_id: str, collections: Iterable[OpenedCollection]) -> Desk:
        """Return the desk that has a job.

        Raises:
            RefusedError: There is no such job.
        """
        for desk in map(self.of, collections):
            if desk.jobs.has(job_id):
                return desk
        raise RefusedError("not-found", f"there is no job {job_id:.80}")

    def close(self) -> None:
        """End the jobs of all collections."""
        for desk in self._desks.values():
            desk.close()
