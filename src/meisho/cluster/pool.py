"""Pool: workers on a cluster, each with a few jobs; a job whose worker died is given to another.

Ray starts the actors, carries what they get and give, and tells who died. It could start an actor anew by
itself, but where its node is gone for good that one waits for ever, and its jobs with it, while others have
nothing to do. So an actor that died is replaced by a new one, and only an actor that runs gets jobs. One that
runs is enough; others join when there is room for them.
"""

import re
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import ray
from ray.exceptions import ObjectLostError, RayActorError, RayTaskError

from meisho.arrays import UInt8Array
from meisho.errors import ClusterError, ImageError, MeishoError
from meisho.photos import Photo
from meisho.progress import Stages

WAITING = "waiting for the workers"
"""The stage in which this process has nothing to do."""

AHEAD = 2
"""Jobs of a worker: one that it works on, one that waits there."""

MOST_DEATHS = 3
"""As many workers may end while they have a job, or one after another while they load."""

START_SECONDS = 300.0
"""Some worker must have started by then: a cluster may bring up a machine first."""

_LOOK_SECONDS = 5.0  # between looks at how large the cluster is

Made = TypeVar("Made", covariant=True)


class Worker(Protocol[Made]):
    """What an actor runs; made with the arguments of `Pool`."""

    def load(self) -> None:
        """Get ready."""

    def describe(self, photos: Sequence[Photo], contents: Sequence[bytes | UInt8Array]) -> Sequence[Made]:
        """Do one job."""
        ...


@dataclass(frozen=True)
class Room:
    """How many workers a cluster has room for, and what each takes of it.

    Attributes:
        num_workers: How many.
        num_cpus: Processors of each.
        num_gpus: GPUs of each.
    """

    num_workers: int
    num_cpus: int = 1
    num_gpus: int = 0


@dataclass(eq=False)
class Job:
    """Photos that go to one worker together.

    Attributes:
        photos: Which.
        contents: Their bytes, as Ray's store holds them until the job is done.
        num_deaths: Workers that ended meanwhile.
    """

    photos: Sequence[Photo]
    contents: ray.ObjectRef
    num_deaths: int = 0


@dataclass(eq=False)
class _Actor:
    handle: ray.actor.ActorHandle
    num_jobs: int = 0


@dataclass(eq=False)
class Pool(Generic[Made]):
    """Workers on the cluster that this process has joined.

    Args:
        worker: The class that an actor runs.
        arguments: What it is made with.
        room: Asked now and then for how many there is room.
        start_seconds: How long to wait for the first.
    """

    worker: Callable[..., Worker[Made]]
    arguments: tuple[object, ...]
    room: Callable[[], Room]
    start_seconds: float = START_SECONDS
    _starting: dict[ray.ObjectRef, _Actor] = field(default_factory=dict)
    _running: list[_Actor] = field(default_factory=list)
    _busy: dict[ray.ObjectRef, tuple[_Actor, Job]] = field(default_factory=dict)
    _again: deque[Job] = field(default_factory=deque)
    _deaths_at_start: int = 0

    def run(self, jobs: Iterator[Job], stages: Stages) -> Generator[Made | tuple[Photo, ImageError]]:
        """Do jobs; yield what the workers make of them, in any order, and photos that ended several workers.

        Args:
            jobs: Drawn as workers get free.
            stages: Told when nothing is to be done here.

        Raises:
            ClusterError: No worker starts, or one cannot load the model.
            MeishoError: What a worker raised.
        """
        self._again.extend([] if (first := next(jobs, None)) is None else [first])
        waiting_since = time.monotonic()
        try:
            while self._again or self._busy:
                self._start_missing()
                self._hand_out(jobs)
                with stages.at(WAITING):
                    done, _ = ray.wait([*self._busy, *self._starting], timeout=_LOOK_SECONDS)
                for ref in done:
                    if ref in self._starting:
                        self._welcome(ref)
                    else:
                        yield from self._receive(ref)
                if self._running:
                    waiting_since = time.monotonic()
                elif time.monotonic() - waiting_since > self.start_seconds:
                    raise ClusterError(_why_none_starts(self.start_seconds, self.room()))
        finally:
            for actor in (*self._running, *self._starting.values()):
                ray.kill(actor.handle)

    def _start_missing(self) -> None:
        room = self.room()
        remote = ray.remote(num_cpus=room.num_cpus, num_gpus=room.num_gpus, max_restarts=0)(self.worker)
        for _ in range(room.num_workers - len(self._running) - len(self._starting)):
            handle = remote.remote(*self.arguments)
            self._starting[handle.load.remote()] = _Actor(handle)

    def _hand_out(self, jobs: Iterator[Job]) -> None:
        """Give each worker what it can take, the one with the fewest jobs first."""
        for num_jobs in range(AHEAD):
            for actor in [each for each in self._running if each.num_jobs == num_jobs]:
                job = self._again.popleft() if self._again else next(jobs, None)
                if job is None:
                    return
                ref = actor.handle.describe.remote(list(job.photos), job.contents)
                self._busy[ref] = actor, job
                actor.num_jobs += 1

    def _welcome(self, ref: ray.ObjectRef) -> None:
        """Take a worker that has loaded, or find out why it has not."""
        actor = self._starting.pop(ref)
        try:
            ray.get(ref)
        except RayTaskError as error:
            raise ClusterError(f"the worker at {error.ip} cannot start: {_cause(error)}") from error
        except RayActorError as error:
            self._deaths_at_start += 1
            if "failed to import" in str(error) or self._deaths_at_start >= MOST_DEATHS * self._size():
                raise ClusterError(_why_it_ended(error)) from error
            return
        self._deaths_at_start = 0
        self._running.append(actor)

    def _size(self) -> int:
        return len(self._running) + len(self._starting) + 1

    def _receive(self, ref: ray.ObjectRef) -> Generator[Made | tuple[Photo, ImageError]]:
        """Take what a worker has made; where it died, its jobs go to others."""
        if ref not in self._busy:
            return  # taken when another job of its worker was
        actor, _ = self._busy[ref]
        if (made := self._take(ref)) is None:
            yield from self._bury(actor)
            return
        del self._busy[ref]
        actor.num_jobs -= 1
        yield from made

    def _bury(self, actor: _Actor) -> Generator[Made | tuple[Photo, ImageError]]:
        """Take what a dead worker has made; it died of the first job after that, as it takes them in turn."""
        self._running.remove(actor)
        ray.kill(actor.handle)  # where only its node could not be reached
        died_of_it = True
        for ref in [ref for ref, (other, _) in self._busy.items() if other is actor]:
            _, job = self._busy.pop(ref)
            if (made := self._take(ref)) is not None:
                yield from made
                continue
            job.num_deaths += died_of_it
            died_of_it = False
            yield from self._try_again(job)

    def _try_again(self, job: Job) -> Generator[tuple[Photo, ImageError]]:
        """Give a job to another worker; where several died of it, photo by photo, to see which it was."""
        if job.num_deaths < MOST_DEATHS:
            self._again.append(job)
        elif len(job.photos) > 1:
            contents = ray.get(job.contents)
            self._again.extend(
                Job([photo], ray.put([content])) for photo, content in zip(job.photos, contents, strict=True)
            )
        else:
            (photo,) = job.photos
            yield photo, ImageError(photo.path, f"describing it ended {MOST_DEATHS} workers of the cluster")

    def _take(self, ref: ray.ObjectRef) -> Sequence[Made] | None:
        """Return what a worker has made of a job; None where it died before, or the node that kept it.

        Raises:
            MeishoError: What the worker raised.
        """
        try:
            made: Sequence[Made] = ray.get(ref)
            return made
        except (RayActorError, ObjectLostError):
            return None
        except RayTaskError as error:
            if isinstance(cause := _cause(error), MeishoError):
                raise cause from error
            raise


def _cause(error: RayTaskError) -> BaseException:
    cause: BaseException = error.cause
    return cause


def _why_it_ended(error: RayActorError) -> str:
    said = str(error)
    node = re.search(r"\bip=([^\s,)]+)", said)
    if re.search(r"No module named '?meisho|import of meisho", said):
        where = f"the node at {node[1]}" if node else "a node of the cluster"
        return f"{where} has no meisho, or an older one: install the same version on every node"
    return f"the workers end before they have started; Ray says: {' '.join(said.split())[-400:]}"


def _why_none_starts(seconds: float, room: Room) -> str:
    free, there = ray.available_resources(), ray.cluster_resources()
    kind = "GPU" if room.num_gpus else "CPU"
    return (
        f"no worker has started for {seconds:g} s: of the cluster's {there.get(kind, 0):g} {kind}s "
        f"{free.get(kind, 0):g} are free, and a worker takes {room.num_gpus or room.num_cpus}; "
        "add a node, or end what holds them"
    )
