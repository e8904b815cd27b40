"""Jobs: what takes long, begun, watched and cancelled."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import fields
from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from pydantic import Field, JsonValue

from meisho.service import jobs
from meisho.service.bodies import describe_json
from meisho.service.desk import Desk
from meisho.service.models import Model, Problem, Text
from meisho.service.routes.collections import CollectionName
from meisho.service.security import WRITE
from meisho.service.sent import describe_files
from meisho.service.shared import Service, ServiceHere

router = APIRouter(prefix="/v1", tags=["jobs"])

Kind = Literal["index", "groups", "local", "captures"]
_LOOK_SECONDS = 1.0
_EVENTS = describe_files("The job at each change", "text/event-stream")


class JobRequest(Model):
    """A job to begin."""

    kind: Kind
    options: dict[str, bool | int | float | str] = Field(default_factory=dict, max_length=16)
    collection: Text | None = None


class Job(Model):
    """A job, as it is now; `total` is 0 where that is not known."""

    id: str
    kind: str
    collection: str
    options: dict[str, JsonValue]
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    done: int
    total: int
    stage: str
    message: str
    problem: Problem | None
    result: dict[str, JsonValue] | None
    asked: str
    started: str | None
    ended: str | None


class JobList(Model):
    """The jobs that are remembered, the newest first."""

    jobs: list[Job]


@router.post("/jobs", status_code=202, dependencies=[WRITE], openapi_extra=describe_json(JobRequest))
async def begin_job(request: Request, service: ServiceHere) -> Job:
    """Begin a job beside answering; one that writes waits for others that do."""
    asked = JobRequest.model_validate(await service.reading.read_json(request))
    return await service.changing.run(_begin, service, asked)


@router.get("/jobs")
def list_jobs(service: ServiceHere, collection: CollectionName = None) -> JobList:
    """List the jobs of a collection."""
    desk = service.desks.of(service.collections.choose(collection))
    return JobList(jobs=[job_json(job) for job in desk.jobs.all()])


@router.get("/jobs/{id}")
def tell_job(id: str, service: ServiceHere) -> Job:
    """Say how far a job is."""
    return job_json(_desk_of(service, id).jobs.get(id))


@router.delete("/jobs/{id}", dependencies=[WRITE])
def cancel_job(id: str, service: ServiceHere) -> Job:
    """Cancel a job; what it has committed stays."""
    desk = _desk_of(service, id)
    return job_json(desk.jobs.cancel(id))


@router.get("/jobs/{id}/events", responses=_EVENTS, response_class=StreamingResponse)
async def watch_job(id: str, request: Request, service: ServiceHere) -> StreamingResponse:
    """Send the job at each change (Server-Sent Events) until it has ended."""
    desk = await asyncio.to_thread(_desk_of, service, id)
    return StreamingResponse(_events(desk, id, request, service), media_type="text/event-stream")


def job_json(job: jobs.Job) -> Job:
    """Return a job as API v1 has it."""
    return Job(**{field.name: getattr(job, field.name) for field in fields(job)})


async def _events(desk: Desk, job_id: str, request: Request, service: Service) -> AsyncIterator[str]:
    """Yield a job as it is, then at each change; of changes that nobody fetched the last alone."""
    loop, changed = asyncio.get_running_loop(), asyncio.Event()
    latest: list[jobs.Job] = []

    def take(job: jobs.Job) -> None:  # called by any thread
        latest[:] = [job]
        loop.call_soon_threadsafe(changed.set)

    end = await asyncio.to_thread(desk.jobs.watch, job_id, take)
    try:
        while not service.is_stopping and not await request.is_disconnected():
            try:
                await asyncio.wait_for(changed.wait(), _LOOK_SECONDS)
            except TimeoutError:
                continue
            changed.clear()
            job = latest[0]
            yield f"event: job\ndata: {json.dumps(job_json(job).model_dump(mode='json'))}\n\n"
            if job.has_ended:
                return
    finally:
        end()


def _begin(service: Service, asked: JobRequest) -> Job:
    desk = service.desks.of(service.collections.choose(asked.collection))
    return job_json(desk.jobs.start(asked.kind, asked.options))


def _desk_of(service: Service, job_id: str) -> Desk:
    return service.desks.of_job(job_id, service.collections.values())
