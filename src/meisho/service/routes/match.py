"""Match: why an answer is said to show the same place, or not."""

from fastapi import APIRouter, Request

from meisho.service.bodies import describe_json
from meisho.service.matching import answer_match
from meisho.service.models import Match, MatchRequest
from meisho.service.shared import ServiceHere

router = APIRouter(prefix="/v1", tags=["search"])


@router.post("/match", openapi_extra=describe_json(MatchRequest))
async def match(request: Request, service: ServiceHere) -> Match:
    """Compare a query photo with a photo of the collection by local features."""
    asked = MatchRequest.model_validate(await service.reading.read_json(request))
    return await service.work.run(answer_match, service, asked)
