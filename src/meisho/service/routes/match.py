"""Match: why an answer is said to show the same place, or not."""

from fastapi import APIRouter

from meisho.service.matching import answer_match
from meisho.service.models import Match, MatchRequest
from meisho.service.shared import ServiceHere

router = APIRouter(prefix="/v1", tags=["search"])


@router.post("/match")
async def match(asked: MatchRequest, service: ServiceHere) -> Match:
    """Compare a query photo with a photo of the collection by local features."""
    return await service.work.run(answer_match, service, asked)
