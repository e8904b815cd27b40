"""Drawing a whole city to files."""

import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import cv2
from filelock import FileLock

from meisho.datasets.toycity.camera import Camera
from meisho.datasets.toycity.labels import facade_box, grade_photo
from meisho.datasets.toycity.photo import Shot, take_photo
from meisho.datasets.toycity.records import (
    RECORDS_NAME,
    CameraRecord,
    FacadePlane,
    GradeRecord,
    Parameters,
    PhotoRecord,
    Records,
    SiteRecord,
    read_records,
    write_records,
)
from meisho.datasets.toycity.site import QUERY, VIEW, Site, landmark_site, stream, street_site
from meisho.errors import DatasetError

PHOTOS_PER_STREET = 6
MIN_QUERY_SHARE = 0.08
"""A query shows its landmark on at least this part of the photo; worse ones are taken again."""


@dataclass(frozen=True)
class _Job:
    """One site to draw: `number` of its kind and how many photos of it."""

    root: Path
    seed: int
    street: bool
    number: int
    photos: int
    queries: int


@dataclass(frozen=True)
class _Drawn:
    site: SiteRecord
    photos: tuple[PhotoRecord, ...]
    grades: tuple[GradeRecord, ...]


def build_toycity(
    root: Path,
    *,
    landmarks: int = 48,
    views: int = 12,
    distractors: int = 240,
    seed: int = 0,
    num_workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Draw a city of photos to the folder `root`.

    Writes `database/*.jpg`, `queries/*.jpg`, `visible/*.png` (which facade each pixel of a landmark's photo
    shows, 0 for none) and `toycity.json`. All is drawn beside `root` under another name and renamed at the
    end: what a killed build leaves is never taken for a city, and the next build removes it. A city that is
    there with the same parameters is kept as it is.

    The same parameters give the same photos, whatever the number of workers: byte for byte with the same
    versions of NumPy, OpenCV and Pillow; geometry and labels depend on NumPy's random streams alone.

    Args:
        root: The folder; must be missing or empty, or hold such a city.
        landmarks: Number of landmarks; those 12 apart are siblings of one style.
        views: Database photos of each landmark. Each also has a query, and every second one a second query.
        distractors: Database photos of streets without a landmark.
        seed: Another seed is an entirely different city: train on one, measure on the other.
        num_workers: Processes that draw; None is one for each processor, 0 draws in this process. Other than
            0 needs the usual `if __name__ == "__main__":` in a script.
        progress: Called with the number of photos done and their total.

    Raises:
        DatasetError: `root` holds something else, or a city with other parameters; or a number is too small.
    """
    root = Path(root)
    parameters = Parameters(landmarks, views, distractors, seed)
    _check(parameters)
    root.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(root.parent / f".{root.name}.lock"):
        if _is_built(root, parameters):
            return
        for left in root.parent.glob(f".{root.name}.partial-*"):
            shutil.rmtree(left, ignore_errors=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{root.name}.partial-", dir=root.parent))
        try:
            _draw_city(partial, parameters, num_workers, progress)
            partial.chmod(0o755)
            partial.replace(root)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _check(parameters: Parameters) -> None:
    if parameters.landmarks < 1 or parameters.views < 1 or parameters.distractors < 0 or parameters.seed < 0:
        raise DatasetError(
            f"toy city: needs landmarks and views >= 1, distractors and seed >= 0, got {parameters}"
        )


def _is_built(root: Path, parameters: Parameters) -> bool:
    if (root / RECORDS_NAME).exists():
        found = read_records(root).parameters
        if found != parameters:
            raise DatasetError(
                f"{root}: holds a toy city with {found}, asked for {parameters}; "
                "choose another folder or delete it"
            )
        return True
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise DatasetError(f"{root}: neither empty nor a toy city; choose another folder")
    return False


def _jobs(root: Path, parameters: Parameters) -> list[_Job]:
    p = parameters
    places = [_Job(root, p.seed, False, i, p.views, 2 - i % 2) for i in range(p.landmarks)]
    starts = range(0, p.distractors, PHOTOS_PER_STREET)
    sizes = [min(PHOTOS_PER_STREET, p.distractors - start) for start in starts]
    return places + [_Job(root, p.seed, True, i, size, 0) for i, size in enumerate(sizes)]


def _draw_city(
    root: Path, parameters: Parameters, num_workers: int | None, progress: Callable[[int, int], None] | None
) -> None:
    for folder in ("database", "queries", "visible"):
        (root / folder).mkdir()
    jobs = _jobs(root, parameters)
    total, done = sum(job.photos + job.queries for job in jobs), 0
    results: dict[_Job, _Drawn] = {}
    with _drawing(jobs, num_workers) as finished:
        for job, drawn in finished:
            results[job] = drawn
            done += len(drawn.photos)
            if progress is not None:
                progress(done, total)
    ordered = [results[job] for job in jobs]
    photos = sorted((p for d in ordered for p in d.photos), key=lambda photo: photo.id)
    grades = tuple(g for d in ordered for g in d.grades)
    write_records(Records(parameters, tuple(d.site for d in ordered), tuple(photos), grades), root)


@contextmanager
def _drawing(jobs: list[_Job], num_workers: int | None) -> Iterator[Iterator[tuple[_Job, _Drawn]]]:
    """Give the jobs and what they drew, in the order in which they finish."""
    workers = min(_processors() if num_workers is None else num_workers, len(jobs))
    if workers == 0:
        yield ((job, _draw_site(job)) for job in jobs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker) as pool:
        futures = {pool.submit(_draw_site, job): job for job in jobs}
        try:
            yield ((futures[future], future.result()) for future in as_completed(futures))
        finally:
            pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    cv2.setNumThreads(1)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent is gone: the pool itself would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _draw_site(job: _Job) -> _Drawn:
    """Take and write all photos of one site."""
    site = (street_site if job.street else landmark_site)(job.seed, job.number)
    name = f"{site.name}_{'street' if job.street else 'place'}_{job.number:03d}"
    record = SiteRecord(
        name, site.family, -1 if job.street else job.number, tuple(site.center.tolist()), _planes(site)
    )
    kind = 2 * job.number + job.street
    queries = [
        _write(job, record, f"q{i}", _take_query(job, site, i), i % 2 == 0) for i in range(job.queries)
    ]
    shots = [take_photo(stream(job.seed, VIEW, kind, i), site, fair=False) for i in range(job.photos)]
    photos = [_write(job, record, f"{i:02d}", shot, False) for i, shot in enumerate(shots)]
    grades = [
        grade_photo(record, query, query_shot.shown, photo, shot.shown)
        for query, query_shot in queries
        for photo, shot in photos
    ]
    return _Drawn(record, tuple(photo for photo, _ in queries + photos), tuple(grades))


def _take_query(job: _Job, site: Site, number: int) -> Shot:
    """Take the query `number` of a landmark: the first in fair conditions, the second in any but darkness."""
    for attempt in range(50):
        rng = stream(job.seed, QUERY, job.number, number, attempt)
        shot = take_photo(rng, site, fair=number == 0)
        if not shot.dim and (shot.shown > 0).mean() >= MIN_QUERY_SHARE:
            return shot
    raise DatasetError(f"toy city: no view of landmark {job.number} is fit for a query; choose another seed")


def _planes(site: Site) -> tuple[FacadePlane, ...]:
    facades = [(i + 1, s) for i, s in enumerate(site.surfaces[:254]) if s.facade]
    return tuple(
        FacadePlane(i, tuple(s.origin.tolist()), tuple(s.u.tolist()), tuple(s.v.tolist())) for i, s in facades
    )


def _camera_record(camera: Camera) -> CameraRecord:
    rotation = tuple(tuple(row) for row in camera.rotation.tolist())
    position = tuple(camera.position.tolist())
    return CameraRecord(camera.width, camera.height, camera.focal_px, camera.principal, rotation, position)


def _write(job: _Job, site: SiteRecord, name: str, shot: Shot, boxed: bool) -> tuple[PhotoRecord, Shot]:
    role, photo_id = ("query", "queries") if name[0] == "q" else ("database", "database")
    folder, photo_id = photo_id, f"{site.name}_{name}"
    (job.root / folder / f"{photo_id}.jpg").write_bytes(shot.jpeg)
    if site.landmark >= 0:
        cv2.imwrite(str(job.root / "visible" / f"{photo_id}.png"), shot.shown)
    share = round(float((shot.shown > 0).mean()), 5)
    box = facade_box(shot.shown) if boxed else None
    camera = _camera_record(shot.camera)
    record = PhotoRecord(
        photo_id, role, site.name, site.landmark, camera, shot.sky, shot.manner, shot.dim, share, box
    )
    return record, shot
