"""Remote: a query photo that is fetched from an address."""

from fastapi import APIRouter, Request
from pydantic import Field

from meisho.service.bodies import describe_json
from meisho.service.models import Model, QueryPhoto
from meisho.service.remote import LONGEST
from meisho.service.routes.search import keep_query
from meisho.service.shared import ServiceHere

router = APIRouter(prefix="/v1", tags=["search"])


class FetchRequest(Model):
    """Where a photo is."""

    url: str = Field(max_length=LONGEST, description="Begins with http:// or https://.")


@router.post("/queries/url", openapi_extra=describe_json(FetchRequest))
async def fetch_query(request: Request, service: ServiceHere) -> QueryPhoto:
    """Fetch a photo to ask with, as if it was uploaded; only where that is switched on (`--query-urls`)."""
    asked = FetchRequest.model_validate(await service.reading.read_json(request))
    content = await service.remote.fetch(asked.url)
    return await service.work.run(keep_query, service, content)
