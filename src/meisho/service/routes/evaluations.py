"""Evaluations: labelled sets scored in the service, looked at by query, and compared."""

from typing import Annotated, TypedDict

from fastapi import APIRouter, Query, Request
from pydantic import Field

from meisho.evaluate.report import Report, printed_factor
from meisho.evaluate.report_table import full_name, short_name
from meisho.service.bodies import describe_json
from meisho.service.cursors import LONGEST
from meisho.service.evaluations import MOST_BYTES, About
from meisho.service.models import Model, Text
from meisho.service.routes.collections import CollectionName
from meisho.service.routes.jobs import Job, job_json
from meisho.service.security import WRITE
from meisho.service.shared import Service, ServiceHere

router = APIRouter(prefix="/v1", tags=["evaluations"])

Id = Annotated[str, Query(pattern="^[0-9a-f]{16}$")]
Limit = Annotated[int, Query(ge=1, le=500)]


class EvaluationRequest(Model):
    """A labelled set to score."""

    dataset: str = Field(
        max_length=MOST_BYTES,
        description="The text of a table `file,label[,role]`, paths below the photo folder; or the path of a "
        "CSV file or of a folder of labelled folders below it.",
    )
    name: Text = ""
    rerank: Text = ""
    collection: Text | None = None


class Figure(Model):
    """One number, with its 95 % interval over queries; shares are from 0 to 1."""

    name: str
    short: str
    about: str
    factor: int
    setup: str
    protocol: str
    value: float | None
    low: float | None
    high: float | None
    text: str
    num_queries: int


class EvaluationFacts(Model):
    """An evaluation; without a figure it is not done."""

    id: str
    name: str
    rerank: str
    begun: str
    figure: Figure | None


class EvaluationList(Model):
    """The evaluations of a collection, the newest first."""

    evaluations: list[EvaluationFacts]


class JudgedAnswer(Model):
    """An answer, and whether it is right."""

    id: str
    right: bool


class QueryResult(Model):
    """What one query found among its first answers, and what it missed."""

    query: str
    label: str
    box: str | None
    ap: float | None
    num_positives: int
    answers: list[JudgedAnswer]
    missed: list[str]
    missed_ranks: list[int]


class Evaluation(EvaluationFacts):
    """An evaluation with all its figures, and its queries, the worst first."""

    conditions: str
    methods: list[str]
    warnings: list[str]
    figures: list[Figure]
    queries: list[QueryResult]
    next: str | None


class ComparedFigure(Model):
    """One setup of two evaluations: the difference, its 95 % interval, and the p value of a paired test."""

    name: str
    short: str
    about: str
    factor: int
    setup: str
    a: float
    b: float
    difference: float
    low: float
    high: float
    p_value: float
    num_queries: int
    sentence: str


class ComparedQuery(Model):
    """The scores of one query in two evaluations."""

    query: str
    label: str
    a: float
    b: float


class ComparedEvaluations(Model):
    """Two evaluations side by side; the queries that differ most come first."""

    a: EvaluationFacts
    b: EvaluationFacts
    differences: list[str]
    figures: list[ComparedFigure]
    queries: list[ComparedQuery]


@router.post(
    "/evaluations", status_code=202, dependencies=[WRITE], openapi_extra=describe_json(EvaluationRequest)
)
async def begin_evaluation(request: Request, service: ServiceHere) -> Job:
    """Check a labelled set and begin to score it; `options.evaluation` of the job is its id."""
    asked = EvaluationRequest.model_validate(await service.reading.read_json(request))
    return await service.changing.run(_begin, service, asked)


def _begin(service: Service, asked: EvaluationRequest) -> Job:
    desk = service.desks.of(service.collections.choose(asked.collection))
    about = desk.evaluations.prepare(asked.dataset, name=asked.name, rerank=asked.rerank)
    return job_json(desk.jobs.start("evaluation", {"evaluation": about.id}))


@router.get("/evaluations")
def list_evaluations(service: ServiceHere, collection: CollectionName = None) -> EvaluationList:
    """List the evaluations of a collection."""
    desk = service.desks.of(service.collections.choose(collection))
    return EvaluationList(evaluations=[_facts(about, report) for about, report in desk.evaluations.all()])


@router.get("/evaluations/compare")
def compare_evaluations(
    service: ServiceHere, a: Id, b: Id, limit: Limit = 100, collection: CollectionName = None
) -> ComparedEvaluations:
    """Compare two evaluations of one labelled set, query by query."""
    evaluations = service.desks.of(service.collections.choose(collection)).evaluations
    comparison, queries = evaluations.compare(a, b), evaluations.compare_queries(a, b)
    figures = [
        ComparedFigure(
            **_words(setup.metric),
            setup=setup.setup,
            a=setup.first,
            b=setup.second,
            difference=setup.difference,
            low=setup.low,
            high=setup.high,
            p_value=setup.p_value,
            num_queries=setup.num_queries,
            sentence=setup.sentence,
        )
        for setup in comparison
    ]
    return ComparedEvaluations(
        a=_facts(evaluations.about(a), evaluations.report(a)),
        b=_facts(evaluations.about(b), evaluations.report(b)),
        differences=list(comparison.differences),
        figures=figures,
        queries=[
            ComparedQuery(query=query, label=label, a=first, b=second)
            for query, label, first, second in queries[:limit]
        ],
    )


@router.get("/evaluations/{id}")
def show_evaluation(
    id: str,
    service: ServiceHere,
    limit: Limit = 100,
    cursor: Annotated[str | None, Query(max_length=LONGEST)] = None,
    collection: CollectionName = None,
) -> Evaluation:
    """Return the figures of an evaluation and its queries, the worst first."""
    evaluations = service.desks.of(service.collections.choose(collection)).evaluations
    about, report, queries = evaluations.about(id), evaluations.report(id), evaluations.queries(id)
    first = 0 if cursor is None else int(str(service.cursors.read(cursor).get("first", 0)))
    has_more = first + limit < len(queries)
    return Evaluation(
        **_facts(about, report).model_dump(),
        conditions=report.conditions,
        methods=list(report.methods),
        warnings=list(report.warnings),
        figures=_figures(report),
        queries=[QueryResult.model_validate(query) for query in queries[first : first + limit]],
        next=service.cursors.make(first=first + limit) if has_more else None,
    )


def _facts(about: About, report: Report | None) -> EvaluationFacts:
    figure = None
    if report is not None:
        headline = report.headline
        figure = next(f for f in _figures(report) if (f.name, f.setup) == (headline.metric, headline.setup))
    return EvaluationFacts(
        id=about.id, name=about.name, rerank=about.rerank, begun=about.begun, figure=figure
    )


def _figures(report: Report) -> list[Figure]:
    return [
        Figure(
            **_words(figure.metric),
            setup=figure.setup,
            protocol=report.protocol,
            value=_number(figure.value),
            low=_number(figure.low),
            high=_number(figure.high),
            text=figure.text,
            num_queries=figure.num_queries,
        )
        for figure in report.figures
    ]


class _Words(TypedDict):
    """What a metric is called, and how people read it."""

    name: str
    short: str
    about: str
    factor: int


def _words(metric: str) -> _Words:
    """Return a metric's name, its short one, the whole one in words, and what values are multiplied by."""
    return _Words(
        name=metric, short=short_name(metric), about=full_name(metric), factor=printed_factor(metric)
    )


def _number(value: float) -> float | None:
    """Return a number as JSON has it: null where it is none."""
    return value if value == value else None
