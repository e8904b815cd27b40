"""Drawing one site to files, in this process or another.

A worker process reads jobs as JSON lines from its standard input and replies to each with one line. It ends
when its input closes, so no worker outlives a killed parent for long. `multiprocessing` would run the
caller's script again in each process, which fails for scripts without a main guard or from standard input.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2

from meisho.documents import parse_json
from meisho.errors import DatasetError
from meisho.toycity.camera import Camera
from meisho.toycity.kinds import draw_place
from meisho.toycity.labels import grade_photo
from meisho.toycity.photo import Shot, take_photo
from meisho.toycity.plots import Plot
from meisho.toycity.records import (
    CameraRecord,
    FacadePlane,
    GradeRecord,
    PhotoRecord,
    SiteRecord,
    parse_parts,
)
from meisho.toycity.site import QUERY, VIEW, Site, stream
from meisho.toycity.variety import PLAIN, Variety

MIN_QUERY_SHARE = 0.1
"""A query shows its landmark on at least this part of the photo; worse ones are taken again."""
_MOST_ATTEMPTS = 50


@dataclass(frozen=True)
class Job:
    """One site to draw.

    Attributes:
        root: Folder to write to.
        seed: Seed of the city.
        street: Whether it is a street without a landmark.
        number: Number of the landmark or street.
        photos: Number of database photos to take.
        queries: Number of queries to take.
        variety: What is drawn beyond buildings in plain photos.
    """

    root: str
    seed: int
    street: bool
    number: int
    photos: int
    queries: int
    variety: Variety = PLAIN


@dataclass(frozen=True)
class Drawn:
    """The result of a job."""

    sites: tuple[SiteRecord, ...]
    photos: tuple[PhotoRecord, ...]
    grades: tuple[GradeRecord, ...]


def serve() -> None:
    """Draw the jobs from standard input until it closes."""
    cv2.setNumThreads(1)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(asdict(draw_site(_parse_job(line)))) + "\n")
        sys.stdout.flush()


@contextmanager
def worker_process() -> Iterator[Callable[[Job], Drawn]]:
    """Start a drawing process; yield the function that sends it a job."""
    code = "from meisho.toycity.worker import serve; serve()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=pipe, stdout=pipe, env=environment, encoding="utf-8"
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        requests, answers = process.stdin, process.stdout

        def draw(job: Job) -> Drawn:
            with suppress(BrokenPipeError):  # it has ended: there is no answer
                requests.write(json.dumps(asdict(job)) + "\n")
                requests.flush()
            answer = answers.readline()
            if not answer:
                raise DatasetError(
                    f"{job.root}: a drawing process exited with code {process.wait()}; see above"
                )
            return Drawn(*parse_parts(_parse(answer)))

        try:
            yield draw
        finally:
            process.kill()
            with suppress(BrokenPipeError):  # what it did not read
                requests.close()


def draw_site(job: Job) -> Drawn:
    """Take and write all photos of one site."""
    site = draw_place(_plot(job))
    name = f"{site.name}_{'street' if job.street else 'place'}_{job.number:03d}"
    record = SiteRecord(
        name, site.family, -1 if job.street else job.number, tuple(site.center.tolist()), _planes(site)
    )
    kind = 2 * job.number + job.street
    queries = [
        _write(job, record, f"q{i}", _take_query(job, site, i), i % 2 == 0) for i in range(job.queries)
    ]
    shots = [
        take_photo(stream(job.seed, VIEW, kind, i), site, fair=False, variety=job.variety)
        for i in range(job.photos)
    ]
    photos = [_write(job, record, f"{i:02d}", shot, False) for i, shot in enumerate(shots)]
    grades = [
        grade_photo(record, query, query_shot.shown, photo, shot.shown)
        for query, query_shot in queries
        for photo, shot in photos
    ]
    return Drawn((record,), tuple(photo for photo, _ in queries + photos), tuple(grades))


def _plot(job: Job) -> Plot:
    """Return the plot of a job: the kinds take turns, and number their places one by one."""
    number, turn = divmod(job.number, len(job.variety.kinds))
    return Plot(job.seed, job.variety.kinds[turn], number, job.street)


def _take_query(job: Job, site: Site, number: int) -> Shot:
    """Take query `number` of a landmark: the first in fair conditions, the second in any but darkness.

    It is the first that shows enough of the landmark; where none does, the one that shows most.
    """
    best, most = None, (False, -1.0)
    for attempt in range(_MOST_ATTEMPTS):
        rng = stream(job.seed, QUERY, job.number, number, attempt)
        shot = take_photo(rng, site, fair=number == 0, variety=job.variety)
        share = float((shot.shown > 0).mean())
        if not shot.dim and share >= MIN_QUERY_SHARE:
            return shot
        if best is None or (not shot.dim, share) > most:
            best, most = shot, (not shot.dim, share)
    assert best is not None
    return best


def _planes(site: Site) -> tuple[FacadePlane, ...]:
    facades = [(i + 1, s) for i, s in enumerate(site.surfaces[:254]) if s.facade]
    return tuple(
        FacadePlane(i, tuple(s.origin.tolist()), tuple(s.u.tolist()), tuple(s.v.tolist())) for i, s in facades
    )


def _camera_record(camera: Camera) -> CameraRecord:
    rotation = tuple(tuple(row) for row in camera.rotation.tolist())
    position = tuple(camera.position.tolist())
    return CameraRecord(camera.width, camera.height, camera.focal_px, camera.principal, rotation, position)


def _write(job: Job, site: SiteRecord, name: str, shot: Shot, boxed: bool) -> tuple[PhotoRecord, Shot]:
    role, photo_id = ("query", "queries") if name[0] == "q" else ("database", "database")
    folder, photo_id = photo_id, f"{site.name}_{name}"
    (Path(job.root) / folder / f"{photo_id}.jpg").write_bytes(shot.jpeg)
    if site.landmark >= 0:
        cv2.imwrite(str(Path(job.root) / "visible" / f"{photo_id}.png"), shot.shown)
    share = round(float((shot.shown > 0).mean()), 5)
    box = shot.box if boxed else None
    camera = _camera_record(shot.camera)
    record = PhotoRecord(
        photo_id, role, site.name, site.landmark, camera, shot.sky, shot.manner, shot.dim, share, box
    )
    return record, shot


def _parse_job(line: str) -> Job:
    values = _parse(line)
    return Job(**{**values, "variety": Variety(**values["variety"])})


def _parse(line: str) -> dict[str, Any]:
    return dict(parse_json(line, source="a drawing process", error=DatasetError).values)
