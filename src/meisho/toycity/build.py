"""Drawing a whole city to files."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue

from filelock import FileLock

from meisho.cores import count_cores
from meisho.errors import DatasetError
from meisho.toycity.records import (
    DRAWING,
    RECORDS_NAME,
    Parameters,
    Records,
    read_records,
    write_records,
)
from meisho.toycity.variety import PLAIN, Variety
from meisho.toycity.worker import Drawn, Job, draw_site, worker_process

PHOTOS_PER_STREET = 6


def build_toycity(
    root: Path,
    *,
    landmarks: int = 48,
    views: int = 12,
    distractors: int = 240,
    seed: int = 0,
    variety: Variety = PLAIN,
    num_workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Draw a city of photos to the folder `root`.

    Writes `database/*.jpg`, `queries/*.jpg`, `visible/*.png` (the number of the facade that each pixel of a
    landmark's photo shows, 0 for none) and `toycity.json`. Everything is drawn to a temporary folder next to
    `root`, which is renamed at the end: the remains of a killed build are never mistaken for a city, and the
    next build removes them. An existing city with the same parameters and drawing version is kept.

    The same parameters give the same photos for any number of workers: byte for byte with the same versions
    of NumPy, OpenCV and Pillow (verified with their AVX2 and AVX-512 code switched off, too). Other versions
    may compress or smooth slightly differently. Cameras and labels depend on NumPy's random streams.

    Args:
        root: The folder; must be missing or empty, or hold this same city.
        landmarks: Number of landmarks; buildings whose numbers differ by 12 are siblings of one style.
        views: Database photos of each landmark. Each landmark also has one query, and every second one two.
        distractors: Database photos of streets without a landmark.
        seed: Each seed gives an entirely different city: train on one, measure on another.
        variety: What is drawn beyond buildings in plain photos; nothing by default.
        num_workers: Number of drawing processes; None: one per processor; 0: draw in this process.
        progress: Called with the number of finished photos and the total.

    Raises:
        DatasetError: `root` holds something else, or a city with other parameters or of another drawing
            version; or a number is too small.
    """
    root = Path(root)
    parameters = Parameters(landmarks, views, distractors, seed, DRAWING, variety)
    _check(parameters)
    if _is_built(root, parameters):
        return
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
                f"{root}: holds a toy city with {found}, but you asked for {parameters}; "
                f"delete {root} or choose another folder"
            )
        return True
    if os.path.lexists(root) and (not root.is_dir() or any(root.iterdir())):
        raise DatasetError(f"{root}: is neither empty nor a toy city; choose another folder")
    return False


def _jobs(root: Path, parameters: Parameters) -> list[Job]:
    p = parameters
    places = [Job(str(root), p.seed, False, i, p.views, 2 - i % 2, p.variety) for i in range(p.landmarks)]
    starts = range(0, p.distractors, PHOTOS_PER_STREET)
    sizes = [min(PHOTOS_PER_STREET, p.distractors - start) for start in starts]
    return places + [Job(str(root), p.seed, True, i, size, 0, p.variety) for i, size in enumerate(sizes)]


def _draw_city(
    root: Path, parameters: Parameters, num_workers: int | None, progress: Callable[[int, int], None] | None
) -> None:
    for folder in ("database", "queries", "visible"):
        (root / folder).mkdir()
    jobs = _jobs(root, parameters)
    total, done = sum(job.photos + job.queries for job in jobs), 0
    results: dict[Job, Drawn] = {}
    with _drawing(jobs, num_workers) as finished:
        for job, drawn in finished:
            results[job] = drawn
            done += len(drawn.photos)
            if progress is not None:
                progress(done, total)
    ordered = [results[job] for job in jobs]
    photos = sorted((p for d in ordered for p in d.photos), key=lambda photo: photo.id)
    grades = tuple(g for d in ordered for g in d.grades)
    write_records(
        Records(parameters, tuple(site for d in ordered for site in d.sites), tuple(photos), grades), root
    )


@contextmanager
def _drawing(jobs: list[Job], num_workers: int | None) -> Iterator[Iterator[tuple[Job, Drawn]]]:
    """Run the jobs; yield an iterator over each job and its result, in the order they finish."""
    workers = min(count_cores() if num_workers is None else num_workers, len(jobs))
    if workers == 0:
        yield ((job, draw_site(job)) for job in jobs)
        return
    idle: SimpleQueue[Callable[[Job], Drawn]] = SimpleQueue()

    def draw_in_worker(job: Job) -> Drawn:
        worker = idle.get()
        try:
            return worker(job)
        finally:
            idle.put(worker)

    with ExitStack() as stack:
        for _ in range(workers):
            idle.put(stack.enter_context(worker_process()))
        pool = stack.enter_context(ThreadPoolExecutor(workers))
        futures = {pool.submit(draw_in_worker, job): job for job in jobs}
        try:
            yield ((futures[future], future.result()) for future in as_completed(futures))
        finally:
            pool.shutdown(cancel_futures=True)
