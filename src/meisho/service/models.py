"""Models: what API v1 takes and gives, as JSON."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

MOST_ANSWERS = 500
MOST_VERIFIED = 200
MOST_BATCH = 32
MOST_LISTED = 200

Verdict = Literal["same", "maybe", "unknown"]
PhotoId = Annotated[str, Field(min_length=1, max_length=4096, description="Id of a photo of the collection.")]
QueryName = Annotated[
    str, Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the file of a query photo.")
]
BoxText = Annotated[
    str, Field(max_length=200, description='"x0,y0,x1,y1", px of the upright photo, as --box of the CLI.')
]
Text = Annotated[str, Field(max_length=500)]


class Model(BaseModel):
    """What every model has in common: nothing that is not known is taken."""

    model_config = ConfigDict(extra="forbid")


class Problem(Model):
    """What went wrong (RFC 9457), in the words of the command line."""

    type: str
    title: str
    status: int
    detail: str
    where: str | None = None
    remedy: str | None = None


class CollectionFacts(Model):
    """One collection that is open."""

    name: str
    num_photos: int
    version: int
    model: str
    local: str | None
    photo_root_present: bool
    writable: bool = Field(description="Whether who asks may change it.")
    has_places: bool
    certainty: bool
    folders: list[str]
    skipped: int | None = Field(
        description="Photos that could not be described, see `/v1/skipped`; null where that cannot be read."
    )


class CollectionList(Model):
    """The collections that are open; the first answers where none is named."""

    collections: list[CollectionFacts]
    query_urls: bool = Field(description="Whether query photos are fetched from addresses.")


class QueryPhoto(Model):
    """A photo that was uploaded to be asked with; it stays in memory only."""

    query: str
    width_px: int
    height_px: int
    bytes: int
    format: str


class Asked(Model):
    """A photo to ask with: of the collection, or one that was uploaded."""

    photo: PhotoId | None = None
    query: QueryName | None = None
    box: BoxText | None = None
    collection: Text | None = None

    @model_validator(mode="after")
    def _has_one_photo(self) -> "Asked":
        if (self.photo is None) == (self.query is None):
            raise ValueError("give one photo to ask with: photo (an id, or a file) or query")
        return self


class SearchRequest(Asked):
    """A question, as `meisho search` takes it."""

    top: int = Field(20, ge=1, le=MOST_ANSWERS, description="How many answers.")
    verify: int = Field(
        0,
        ge=0,
        le=MOST_VERIFIED,
        description="Compare the first of them by local features, and put in order.",
    )
    rerank: Text | None = Field(None, description='Rerankers, such as "dba,alpha-qe".')
    near: bool = Field(True, description="Let near copies stand below the first.")
    turned: bool = Field(False, description="Ask in four positions.")
    min_probability: float | None = Field(None, ge=0, le=1, description="Leave out what is less sure.")
    folder: Text | None = Field(None, description="Only photos below this folder.")
    after: Text | None = Field(None, description="Only photos taken on this day or later, YYYY-MM-DD.")
    before: Text | None = Field(None, description="Only photos taken on this day or earlier, YYYY-MM-DD.")
    gps: Text | None = Field(None, description='Only photos taken there: "latitude,longitude,km".')
    marked: bool = Field(False, description="Ask with what was marked as the same, too.")
    include_self: bool = Field(False, description="Let a photo of the collection be its own answer.")


class BatchRequest(Model):
    """Several questions at once."""

    queries: list[SearchRequest] = Field(min_length=1, max_length=MOST_BATCH)


class PhotoName(Model):
    """A photo by its id, and the last part of that."""

    id: str
    name: str


class Answer(PhotoName):
    """One photo that was found."""

    rank: int
    folder: str
    score: float
    probability: float | None
    verdict: Verdict | None
    inliers: int | None
    overlap_query: float | None
    overlap_photo: float | None
    turned: int
    copies: list[PhotoName]
    width_px: int | None
    height_px: int | None
    missing: bool


class AskedFacts(Model):
    """What was asked with."""

    query: str | None
    photo: str | None
    width_px: int | None
    height_px: int | None
    box: str | None


class Search(Model):
    """The answers to a question, best first, of one version of the collection."""

    collection: str
    version: int
    query: AskedFacts
    verified: bool
    certain: bool
    not_here: bool | None
    answers: list[Answer]
    next: str | None
    timings_ms: dict[str, float]


class Batch(Model):
    """The answers to several questions, in their order."""

    results: list[Search | Problem]


class MatchRequest(Asked):
    """Two photos to be compared."""

    answer: PhotoId
    other_box: BoxText | None = None


class Match(Model):
    """Why two photos are said to show the same, or not."""

    version: int
    inliers: int
    matches: int
    verdict: Verdict
    probability: float | None
    model: str
    H_query_to_photo: list[list[float]] | None
    overlap_query: float | None
    overlap_photo: float | None
    query_size_px: tuple[int, int]
    photo_size_px: tuple[int, int]
    lines: list[tuple[float, float, float, float]]
    outliers: list[tuple[float, float, float, float]]
    timings_ms: dict[str, float]


class PhotoFacts(PhotoName):
    """A photo of the collection."""

    folder: str
    width_px: int | None
    height_px: int | None
    missing: bool


class PhotoList(Model):
    """Photos of a collection, by id."""

    version: int
    photos: list[PhotoFacts]
    next: str | None


class StageTimes(Model):
    """Where the time goes in one stage, ms; quantiles are those of the latest requests."""

    count: int
    mean_ms: float
    p50_ms: float
    p99_ms: float


class Timings(Model):
    """Where the time goes, by stage."""

    stages: dict[str, StageTimes]


class Health(Model):
    """Whether the service runs, or is ready."""

    status: str
