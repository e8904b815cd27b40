"""Jobs: real processes beside answering; one writer at a time, cancelled by a signal, kept over a restart."""

import json
import queue
import signal
import subprocess
import sys

import pytest

from meisho.describing import Describer
from meisho.errors import ConfigError, LockedError
from meisho.extractors.base import load_extractor
from meisho.run.finding import Finder
from meisho.run.indexing import index_folder
from meisho.service import jobs as jobs_module
from meisho.service.gate import Gate
from meisho.service.jobs import Jobs
from meisho.service.notebook import Notebook
from meisho.service.problems import RefusedError
from meisho.store.collection import Collection
from processes import group, kill, runs, started, wait_until
from service.conftest import paint
from service.servers import copy_place


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A collection of six photos, by the real model at a small size: a process restores it by its name."""
    root = tmp_path_factory.mktemp("jobs")
    for seed in range(6):
        paint(root / "photos" / f"{seed}.jpg", seed, taken="2024:05:01 12:00:00", place=(35, 135))
    extractor = load_extractor("default", max_side_px=64)
    index_folder(root / "photos", root / "c", Describer(extractor, num_workers=0))
    return root


@pytest.fixture
def place(original, tmp_path):
    """A copy of it; the photo folder moves along."""
    return copy_place(original, tmp_path / "copy", collection="c")


@pytest.fixture
def gate(place):
    return Gate(place / "c")


@pytest.fixture
def jobs(place, gate):
    made = Jobs("c", place / "c", Notebook.open(place / "c"), gate)
    yield made
    made.close()


def changes(jobs, job):
    """Yield the job at each change until it has ended."""
    said = queue.Queue()
    end = jobs.watch(job.id, said.put)
    while True:
        yield (now := said.get())
        if now.has_ended:
            end()
            return


def ended(jobs, job):
    return [*changes(jobs, job)][-1]


def test_indexing_adds_what_is_new_and_tells_how_far_it_is(jobs, place):
    paint(place / "photos" / "new" / "7.jpg", 7)
    (place / "photos" / "broken.jpg").write_bytes(b"no photo")
    seen = [*changes(jobs, jobs.start("index"))]
    done = seen[-1]
    assert done.state == "done" and done.message == "7 photos (1 described, 6 unchanged, 1 skipped)", (
        done.problem
    )
    assert [photo["id"] for photo in done.result["skipped"]] == ["broken.jpg"]
    assert {"describe", "build index"} <= {job.stage for job in seen}
    assert done.asked <= done.started <= done.ended
    assert len(Finder.open(place / "c")) == 7


def test_local_features_and_captures_are_found_by_jobs(jobs, place):
    assert ended(jobs, jobs.start("local", {"name": "sift"})).state == "done"
    assert Collection.open(place / "c").local_provenance.extractor == "sift"
    done = ended(jobs, jobs.start("captures"))
    assert done.message == "6 of 6 photos know when they were taken, 6 where"
    assert Notebook.open(place / "c").count_captures() == 6


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("local", {"name": "xfeet"}, "no local feature extractor is called 'xfeet'"),
        ("local", {"name": 3}, "options.name is 3; give sift or xfeat"),
        ("index", {"prune": "yes"}, "options.prune is 'yes'; give true or false"),
    ],
)
def test_a_job_that_cannot_be_done_says_why_in_words(jobs, kind, options, words):
    failed = ended(jobs, jobs.start(kind, options))
    assert failed.state == "failed" and words in failed.problem["detail"] and failed.problem["status"] == 400


def test_photos_that_are_gone_are_kept_and_that_is_said(jobs, place):
    for number in range(5):
        (place / "photos" / f"{number}.jpg").unlink()
    failed = ended(jobs, jobs.start("index"))
    assert failed.state == "failed" and "they are kept, as a drive may be off" in failed.problem["detail"]
    assert ended(jobs, jobs.start("index", {"prune": True})).message == "1 photo (1 unchanged, 5 removed)"


def test_an_unknown_kind_and_an_unknown_job_are_refused(jobs):
    with pytest.raises(ConfigError, match="no job is called 'indx'"):
        jobs.start("indx")
    for act in (jobs.get, jobs.cancel):
        with pytest.raises(RefusedError, match="there is no job nothing"):
            act("nothing")


def test_one_writer_at_a_time_and_the_next_waits(jobs, place, gate):
    with gate.writing():
        first, second = jobs.start("index"), jobs.start("index")
        assert [jobs.get(job.id).state for job in (first, second)] == ["waiting", "waiting"]
        cancelled = jobs.start("index")
        jobs.cancel(cancelled.id)
        assert ended(jobs, cancelled).state == "cancelled"
        assert ended(jobs, jobs.start("captures")).state == "done"  # it does not write to the collection
    assert [ended(jobs, job).state for job in (first, second)] == ["done", "done"]
    one, other = sorted((jobs.get(first.id), jobs.get(second.id)), key=lambda job: job.started)
    assert one.ended >= one.started and other.started >= one.started


def waits(jobs, job):
    """Wait until a job says that it waits for another process; returns what it says."""
    return next(now.message for now in changes(jobs, job) if now.state == "waiting" and now.message)


def test_a_job_waits_for_another_writer_and_says_so(jobs, place):
    paint(place / "photos" / "7.jpg", 7)
    with Collection.open(place / "c").writer():
        job, cancelled = jobs.start("index"), jobs.start("index")
        assert "is writing to it; wait for it to end" in waits(jobs, job)
        jobs.cancel(cancelled.id)
        assert ended(jobs, cancelled).state == "cancelled"
    done = ended(jobs, job)
    assert (done.state, done.message) == ("done", "7 photos (1 described, 6 unchanged)")


def test_a_job_that_waits_for_another_writer_can_be_cancelled(jobs, place):
    with Collection.open(place / "c").writer():
        job = jobs.start("local")
        waits(jobs, job)
        process = jobs._running[job.id].process
        jobs.cancel(job.id)
        assert ended(jobs, job).state == "cancelled" and process.poll() is not None


def running(jobs, kind="index"):
    """A job that runs now, and the process that does it."""
    job = jobs.start(kind)
    for now in changes(jobs, job):
        if now.state == "running":
            break
    return job, jobs._running[job.id].process


def test_a_running_job_is_cancelled_by_a_signal_and_its_processes_end(jobs, place, gate):
    for seed in range(100, 220):
        paint(place / "photos" / f"{seed}.jpg", seed)
    job, process = running(jobs)
    with pytest.raises(LockedError, match=f"job {job.id}"), gate.writing():
        pass
    jobs.cancel(job.id)
    assert ended(jobs, job).state == "cancelled"
    assert process.poll() is not None and not group(process.pid)
    with gate.writing():
        assert len(Finder.open(place / "c")) >= 6
    jobs.cancel(job.id)  # once more changes nothing
    assert jobs.get(job.id).state == "cancelled"


def test_a_job_whose_process_is_killed_fails(jobs):
    job, process = running(jobs)
    process.send_signal(signal.SIGKILL)
    failed = ended(jobs, job)
    assert failed.state in ("failed", "done")
    if failed.state == "failed":
        assert "ended by signal 9" in failed.problem["detail"]


def test_jobs_are_remembered_and_those_that_ran_ended_with_the_server(place, gate):
    notebook = Notebook.open(place / "c")
    first = Jobs("c", place / "c", notebook, gate)
    done = ended(first, first.start("captures"))
    with gate.writing():
        waiting = first.start("index")
        first.close()
    again = Jobs("c", place / "c", Notebook.open(place / "c"), gate)
    assert again.get(done.id) == done
    lost = again.get(waiting.id)
    assert lost.state == "failed" and "it ended with the service" in lost.problem["detail"]
    assert [job.id for job in again.all()] == [waiting.id, done.id]


SERVER = """
import sys, threading
from pathlib import Path
from meisho.service.gate import Gate
from meisho.service.jobs import Jobs
from meisho.service.notebook import Notebook
path = Path(sys.argv[1])
jobs = Jobs("c", path, Notebook.open(path), Gate(path))
def tell(job):
    if job.state == "running" and job.id in jobs._running:
        print(job.id, jobs._running[job.id].process.pid, flush=True)
jobs.watch(jobs.start("index").id, tell)
threading.Event().wait()
"""


def test_a_killed_server_takes_its_jobs_along_and_says_so_when_it_is_back(place):
    for seed in range(100, 180):
        paint(place / "photos" / f"{seed}.jpg", seed)
    with started([sys.executable, "-c", SERVER, place / "c"], stdout=subprocess.PIPE, text=True) as server:
        job_id, worker = server.stdout.readline().split()
        kill(server)
    wait_until(lambda: not runs(int(worker)))
    notebook = Notebook.open(place / "c")
    jobs = Jobs("c", place / "c", notebook, Gate(place / "c"))
    assert jobs.get(job_id).state == "failed" and json.loads(notebook.jobs()[0])["state"] == "failed"
    assert ended(jobs, jobs.start("index")).state == "done"
    assert len(Finder.open(place / "c")) == 86
    jobs.close()


def test_too_many_are_refused(jobs, gate, monkeypatch):
    monkeypatch.setattr(jobs_module, "MOST_WAITING", 2)
    with gate.writing():
        one, _ = jobs.start("index"), jobs.start("index")
        with pytest.raises(RefusedError, match="2 jobs wait or run already"):
            jobs.start("index")
        for job in jobs.all():
            jobs.cancel(job.id)
        assert ended(jobs, one).state == "cancelled"
