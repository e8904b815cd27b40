"""Describers whose photos are described on a cluster.

The bytes of each photo are read here and sent: any machine that Ray reaches can work, with no disk in common
and no right to the photos; what is described is what this machine sees. What comes back is written here, as
an update of one machine does it, so a run that was ended goes on with what is missing.
"""

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from meisho.arrays import UInt8Array
from meisho.cluster.pool import Job, Pool, Room
from meisho.cluster.worker import GlobalWorker, LocalWorker, Order
from meisho.describing import DescribedBatch, Describer
from meisho.errors import ClusterError, ConfigError, ImageError, explain_os_error
from meisho.local_describing import LocalDescriber
from meisho.local_features import LocalFeatures
from meisho.photos import Photo, open_photo_file
from meisho.progress import READING, Stages

JOB_PHOTOS = 16
"""Photos of a job at most, and on a GPU as many as four batches: what a death costs."""

JOB_BYTES = 2**25
"""A job takes no further photo once it holds so much."""


@dataclass(frozen=True, eq=False)
class ClusterDescriber(Describer):
    """Describes photos on the cluster that this process has joined, see `Cluster.joined`.

    Attributes:
        device: Where the workers compute: "cpu", "cuda", or "auto": on GPUs where the cluster has some.

    `num_workers` is the number of workers here; None: one per GPU or processor of the cluster, and one
    processor is left to others.
    """

    device: str = "auto"

    def stream(self, photos: Iterable[Photo], stages: Stages | None = None) -> Generator[DescribedBatch]:
        """Describe photos; see `Describer.stream`."""
        stages = stages or Stages()
        room = partial(_find_room, self.num_workers, self.device)
        at_first = room()
        order = _order(self, self.device, at_first, self.batch_size)
        sending = _Sending(photos, _job_photos(at_first, self.batch_size), stages)
        none = np.zeros((0, self.dim), np.float32), np.zeros((0, 2), np.int64)
        with closing(Pool(GlobalWorker, (order,), room).run(iter(sending), stages)) as made:
            for each in made:
                yield each if isinstance(each, DescribedBatch) else DescribedBatch((), *none, (each,))
        if sending.errors:
            yield DescribedBatch((), *none, tuple(sending.errors))


@dataclass(frozen=True, eq=False)
class ClusterLocalDescriber(LocalDescriber):
    """Finds local features on the cluster that this process has joined; attributes as `ClusterDescriber`."""

    device: str = "auto"

    def stream(
        self, photos: Iterable[Photo], stages: Stages | None = None
    ) -> Generator[tuple[Photo, LocalFeatures | ImageError]]:
        """Find the local features of photos, in any order."""
        stages = stages or Stages()
        room = partial(_find_room, self.num_workers, self.device)
        at_first = room()
        order = _order(self, self.device, at_first, 1)
        sending = _Sending(photos, _job_photos(at_first, 1), stages)
        with closing(Pool(LocalWorker, (order,), room).run(iter(sending), stages)) as made:
            yield from made
        yield from sending.errors


def on_cluster(
    describer: Describer, local: LocalDescriber | None, *, device: str
) -> tuple[ClusterDescriber, ClusterLocalDescriber | None]:
    """Return describers that do on a cluster what these do here, with what computes there on `device`."""
    shared = describer.num_workers, describer.memory_bytes
    return (
        ClusterDescriber(describer.extractor, describer.batch_size, *shared, device),
        None if local is None else ClusterLocalDescriber(local.extractor, *shared, device),
    )


def _order(describer: Describer | LocalDescriber, device: str, room: Room, batch_size: int) -> Order:
    if room.num_gpus == 0:
        device, batch_size = "cpu", room.num_cpus  # a processor describes one image at a time
    return Order(describer.extractor.provenance, device, batch_size, room.num_cpus, describer.memory_bytes)


def _job_photos(room: Room, batch_size: int) -> int:
    return max(JOB_PHOTOS, 4 * batch_size if room.num_gpus else 0)


def _find_room(num_workers: int | None, device: str) -> Room:
    """Return how many workers the cluster has room for now, and what each takes.

    Raises:
        ConfigError: No worker is allowed.
        ClusterError: GPUs are asked for, and there are none.
    """
    import ray

    if num_workers == 0:
        raise ConfigError("--workers 0: a cluster needs at least one worker")
    there = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    with_gpus = [each for each in there if each.get("GPU", 0) >= 1]
    if device.startswith("cuda") and not with_gpus:
        raise ClusterError(f"--device {device}: no node of the cluster has a GPU; choose auto or cpu")
    if with_gpus and device != "cpu":
        num_gpus = sum(int(each["GPU"]) for each in with_gpus)
        share = min(int(each.get("CPU", 0) // each["GPU"]) for each in with_gpus)
        return Room(num_workers or num_gpus, max(1, share), 1)
    num_cpus = int(sum(each.get("CPU", 0) for each in there))
    return Room(num_workers or max(1, num_cpus - 1))


class _Sending:
    """Photos on their way: read here, and put where Ray's workers get them.

    Attributes:
        errors: Photos that could not be read.
    """

    def __init__(self, photos: Iterable[Photo], job_photos: int, stages: Stages) -> None:
        self._photos, self._job_photos, self._stages = photos, job_photos, stages
        self.errors: list[tuple[Photo, ImageError]] = []

    def __iter__(self) -> Iterator[Job]:
        job: list[tuple[Photo, bytes | UInt8Array]] = []
        num_bytes = 0
        for photo in self._photos:
            with self._stages.at(READING):
                content = photo.content if photo.content is not None else self._read(photo)
            if content is None:
                continue
            job.append((photo, content))
            num_bytes += len(content)
            if len(job) == self._job_photos or num_bytes >= JOB_BYTES:
                yield self._put(job)
                job, num_bytes = [], 0
        if job:
            yield self._put(job)

    def _read(self, photo: Photo) -> bytes | None:
        try:
            with open_photo_file(photo.path) as file:
                return file.read()
        except ImageError as error:
            self.errors.append((photo, error))
        except OSError as error:
            self.errors.append((photo, ImageError(photo.path, explain_os_error(error))))
        return None

    def _put(self, job: list[tuple[Photo, bytes | UInt8Array]]) -> Job:
        import ray

        with self._stages.at("sending"):
            contents = ray.put([content for _, content in job])
        return Job([replace(photo, content=None) for photo, _ in job], contents)
