"""Jobs: what takes long, done in a process of its own beside answering; watched, cancelled, remembered."""

import json
import logging
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Literal, cast

from meisho.config import build
from meisho.documents import parse_json
from meisho.errors import InputError, MeishoError
from meisho.service.gate import Gate
from meisho.service.notebook import Notebook, now
from meisho.service.problems import RefusedError, problem_of
from meisho.service.worker import RUNS
from meisho.tables import require_name

State = Literal["waiting", "running", "done", "failed", "cancelled"]

WRITING = ("index", "local")
"""Kinds that write to the collection: one of them at a time."""

IN_TURN = ("groups", "evaluation")
"""Kinds that write elsewhere, each with what is its own: one of each at a time."""

MOST_WAITING = 16
MOST_KEPT = 200
_STOP_SECONDS = 10
_SHOWN_BYTES = 2_000

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One job, as it is at a moment.

    Attributes:
        id: Its name, different from all others.
        kind: One of `meisho.service.worker.RUNS`.
        collection: The name of the collection.
        options: How it is done.
        state: "waiting", "running", "done", "failed" or "cancelled".
        done: How much of the stage is done.
        total: How much there is; 0: not known.
        stage: What it does now.
        message: What came of it, or what it waits for, in words.
        problem: Why it failed.
        result: What came of it.
        asked: When it was asked for, UTC.
        started: When it began, UTC.
        ended: When it ended, UTC.
    """

    id: str
    kind: str
    collection: str
    options: dict[str, object] = field(default_factory=dict)
    state: State = "waiting"
    done: int = 0
    total: int = 0
    stage: str = ""
    message: str = ""
    problem: dict[str, object] | None = None
    result: dict[str, object] | None = None
    asked: str = ""
    started: str | None = None
    ended: str | None = None

    @property
    def has_ended(self) -> bool:
        """Whether nothing more comes."""
        return self.state not in ("waiting", "running")


Watcher = Callable[[Job], None]


@dataclass(eq=False)
class _Running:
    """What is known of a job beside what it tells."""

    thread: threading.Thread | None = None
    process: "subprocess.Popen[bytes] | None" = None
    is_cancelled: bool = False
    ends_with_server: bool = False
    watchers: list[Watcher] = field(default_factory=list)


class Jobs:
    """The jobs of one collection, for any number of threads.

    Jobs that ran when the service ended, however it did, are remembered as such.

    Args:
        name: The collection's name in the service.
        path: Its directory.
        notebook: Remembers them.
        gate: Lets one writer at a time through.
        device: Where networks compute.
        ended: Called with each job that has ended.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        notebook: Notebook,
        gate: Gate,
        *,
        device: str = "auto",
        ended: Watcher = lambda job: None,
    ) -> None:
        self._name, self._path, self._notebook = name, path, notebook
        self._device, self._ended = device, ended
        self._gates = dict.fromkeys(WRITING, gate) | {kind: Gate(path) for kind in IN_TURN}
        self._lock = threading.RLock()
        self._jobs = {job.id: job for job in map(_read_job, notebook.jobs())}
        self._running: dict[str, _Running] = {}
        for job in [job for job in self._jobs.values() if not job.has_ended]:
            self._change(job.id, _ended_with_server())

    def start(self, kind: str, options: Mapping[str, object] | None = None) -> Job:
        """Begin a job, or let it wait for the one that writes to the collection.

        Raises:
            ConfigError: There is no such kind.
            RefusedError: Too many wait already.
        """
        require_name(kind, RUNS, what="job")
        with self._lock:
            if len(self._running) >= MOST_WAITING:
                raise RefusedError(
                    "busy",
                    f"{len(self._running)} jobs wait or run already",
                    remedy="let some end, or cancel them",
                )
            job = Job(secrets.token_hex(8), kind, self._name, dict(options or {}), asked=now())
            self._jobs[job.id] = job
            running = self._running[job.id] = _Running()
            self._keep(job)
            self._notebook.forget_jobs(MOST_KEPT)
            running.thread = threading.Thread(target=self._run, args=(job, running), daemon=True)
            running.thread.start()
            return job

    def all(self) -> list[Job]:
        """Return all jobs that are remembered, the newest first."""
        with self._lock:
            return [*self._jobs.values()][::-1]

    def has(self, job_id: str) -> bool:
        """Whether a job is remembered."""
        with self._lock:
            return job_id in self._jobs

    def get(self, job_id: str) -> Job:
        """Return a job.

        Raises:
            RefusedError: There is none of that id.
        """
        with self._lock:
            if job_id not in self._jobs:
                raise RefusedError("not-found", f"there is no job {job_id:.80}")
            return self._jobs[job_id]

    def cancel(self, job_id: str) -> Job:
        """Cancel a job; one that has ended stays as it is. What it has committed stays.

        Raises:
            RefusedError: There is none of that id.
        """
        with self._lock:
            job, running = self.get(job_id), self._running.get(job_id)
            if running is not None:
                running.is_cancelled = True
                _stop(running.process)
        self._wake()
        return job

    def watch(self, job_id: str, watcher: Watcher) -> Callable[[], None]:
        """Call `watcher` with the job as it is now and, by any thread, at each change; returns what ends it.

        Raises:
            RefusedError: There is none of that id.
        """
        with self._lock:
            job, running = self.get(job_id), self._running.get(job_id)
            if running is not None:
                running.watchers.append(watcher)
            watcher(job)

        def end() -> None:
            with self._lock:
                if running is not None and watcher in running.watchers:
                    running.watchers.remove(watcher)

        return end

    def close(self) -> None:
        """End every job with the service, and wait until they have ended."""
        with self._lock:
            under_way = [*self._running.values()]
            for running in under_way:
                running.is_cancelled = running.ends_with_server = True
                _stop(running.process)
        self._wake()
        for running in under_way:
            if running.thread is not None:
                running.thread.join()

    def _wake(self) -> None:
        for gate in {*self._gates.values()}:
            gate.wake()

    def _run(self, job: Job, running: _Running) -> None:
        try:
            ending = self._wait_and_work(job, running)
        except Exception as error:  # the thread's end would leave the job running for ever
            _logger.exception("job %s failed", job.id)
            ending = _failed(problem_of("fault", f"this is a fault of meisho ({type(error).__name__})"))
        if running.ends_with_server and ending["state"] == "cancelled":
            ending = _ended_with_server()
        with suppress(MeishoError):  # a follower that fails does not undo the job
            self._ended(self._jobs[job.id])
        with self._lock:
            self._change(job.id, ending)
            del self._running[job.id]

    def _wait_and_work(self, job: Job, running: _Running) -> dict[str, object]:
        name = f"job {job.id} ({job.kind})"
        if job.kind not in self._gates:
            return self._work(job, running)
        with self._gates[job.kind].job(name, lambda: running.is_cancelled) as let_in:
            return self._work(job, running) if let_in else {"state": "cancelled"}

    def _work(self, job: Job, running: _Running) -> dict[str, object]:
        order = {
            "kind": job.kind,
            "collection": str(self._path),
            "options": job.options,
            "device": self._device,
        }
        with tempfile.TemporaryFile() as errors:
            with self._lock:
                if running.is_cancelled:
                    return {"state": "cancelled"}
                running.process = process = _begin(errors)
                self._change(job.id, {"state": "running", "started": now()})
            with suppress(BrokenPipeError):
                _write_line(process, order)
            said = self._listen(job.id, process)
            code = process.wait()
            _end_group(process.pid)
            if process.stdin is not None:
                process.stdin.close()
            return _ending(said, code, errors, is_cancelled=running.is_cancelled)

    def _listen(self, job_id: str, process: "subprocess.Popen[bytes]") -> dict[str, object]:
        """Take in what a process says; returns what it said at last."""
        said: dict[str, object] = {}
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                told = parse_json(line, source="a job", error=InputError).values
                if "progress" in told:
                    stage, done, total = cast("tuple[str, int, int]", told["progress"])
                    now = {"state": "running", "message": "", "stage": stage, "done": done, "total": total}
                elif "waits" in told:
                    now = {"state": "waiting", "message": f"it waits: {told['waits']}"}
                else:
                    said = dict(told)
                    continue
                with self._lock:
                    self._change(job_id, now, keep=False)
        return said

    def _change(self, job_id: str, changes: dict[str, object], *, keep: bool = True) -> None:
        if changes.get("state") in ("done", "failed", "cancelled"):
            changes = changes | {"ended": now()}
        job = self._jobs[job_id] = replace(self._jobs[job_id], **changes)  # type: ignore[arg-type]
        if keep:
            self._keep(job)
        running = self._running.get(job_id)
        for watcher in [*running.watchers] if running else ():
            watcher(job)

    def _keep(self, job: Job) -> None:
        self._notebook.keep_job(job.id, job.asked, json.dumps(asdict(job)))


def _read_job(text: str) -> Job:
    return build(parse_json(text, source="service.sqlite: a job", error=InputError), Job)


def _ended_with_server() -> dict[str, object]:
    detail = "it ended with the service, before it was done"
    remedy = "begin it again: what was committed stays, and it goes on from there"
    return _failed(problem_of("stopping", detail, remedy=remedy))


def _failed(problem: dict[str, object]) -> dict[str, object]:
    return {"state": "failed", "problem": problem, "message": str(problem["detail"])}


def _begin(errors: IO[bytes]) -> "subprocess.Popen[bytes]":
    """Start a process in a group of its own, which a signal from the terminal does not reach."""
    return subprocess.Popen(
        [sys.executable, "-m", "meisho.service.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        start_new_session=True,
    )


def _write_line(process: "subprocess.Popen[bytes]", order: Mapping[str, object]) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(order).encode() + b"\n")
    process.stdin.flush()


def _stop(process: "subprocess.Popen[bytes] | None") -> None:
    """Ask a process to end; where it does not, end it."""
    if process is None or process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)
    late = threading.Timer(_STOP_SECONDS, _end_group, (process.pid,))
    late.daemon = True
    late.start()


def _end_group(leader: int) -> None:
    """End what is left of the processes that one has started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _ending(
    said: Mapping[str, object], code: int, errors: IO[bytes], *, is_cancelled: bool
) -> dict[str, object]:
    """Return how a job has ended, by what it said and the exit code of its process."""
    result, error = said.get("result"), said.get("error")
    if isinstance(result, dict):
        return {"state": "done", "result": result, "message": str(result.get("message", ""))}
    if is_cancelled:
        return {"state": "cancelled"}
    if isinstance(error, dict):
        return _failed(error)
    errors.seek(max(0, errors.seek(0, os.SEEK_END) - _SHOWN_BYTES))
    _logger.error("a job ended with %s: %s", code, errors.read().decode("utf-8", "replace"))
    if code < 0:
        ended = f"its process was ended by signal {-code}; memory may have been short"
    else:
        ended = "this is a fault of meisho; its log says more"
    return _failed(problem_of("fault", ended))
