"""Answering: a question of API v1 -> the finder of a collection -> its answers as JSON."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from meisho.certainty import is_not_here
from meisho.errors import InputError
from meisho.images import GuardedPhoto
from meisho.photos import Box, Photo
from meisho.run.filters import Filter
from meisho.run.finding import Among
from meisho.run.found import Answer as FoundAnswer
from meisho.run.found import Found
from meisho.run.state import State, StoredPhoto
from meisho.service.cursors import expired
from meisho.service.metrics import timed, times_so_far
from meisho.service.models import MOST_ANSWERS, Answer, Asked, AskedFacts, PhotoName, Search, SearchRequest
from meisho.service.opened import OpenedCollection, is_missing
from meisho.service.queries import Upload
from meisho.service.shared import Service


@dataclass(frozen=True, eq=False)
class Resolved:
    """What is asked with.

    Attributes:
        opened: The collection that is asked.
        photo: The photo of it, or the uploaded one; a part of it where a box is given.
        upload: The uploaded file; None for a photo of the collection.
        stored: The photo of the collection; None for an uploaded one.
    """

    opened: OpenedCollection
    photo: GuardedPhoto | StoredPhoto
    upload: Upload | None = None
    stored: StoredPhoto | None = None


def resolve(service: Service, asked: Asked) -> Resolved:
    """Find the photo that is asked with, and the collection.

    Raises:
        RefusedError: There is no such collection or photo, or it is no longer in memory.
        ConfigError: The box is none.
    """
    opened = service.collections.choose(asked.collection)
    box = None if asked.box is None else Box.parse(asked.box)
    if asked.query is not None:
        upload = service.queries.get(asked.query)
        return Resolved(opened, service.queries.photo(upload, box), upload)
    assert asked.photo is not None  # the model has checked that one of both is given
    stored = opened.photo(asked.photo)
    photo = stored if box is None else service.queries.stored_photo(stored, stored.key, box)
    return Resolved(opened, photo, None, stored)


def answer_search(service: Service, request: SearchRequest, *, skip: int = 0) -> Search:
    """Answer a question.

    Args:
        service: What is asked.
        request: The question.
        skip: How many answers came before, on other pages.

    Raises:
        MeishoError: It cannot be answered.
    """
    asked = resolve(service, request)
    top = skip + request.top
    hides_self = asked.stored is not None and not request.include_self
    found = find_answers(service, asked, request, top + hides_self + 1)
    answers = list(found[0])
    if hides_self and asked.stored is not None:
        answers = list(without_photo(answers, asked.stored.id))
    has_more = len(answers) > top and skip < MOST_ANSWERS * 10
    page = [
        (rank, answer)
        for rank, answer in enumerate(answers[:top], start=1)
        if rank > skip and _is_sure(answer, request.min_probability)
    ]
    shown = [_answer(asked.opened, answer, rank) for rank, answer in page]
    cursor = None
    if has_more:
        cursor = service.cursors.make(
            request=request.model_dump(exclude_defaults=True), skip=top, version=found.version
        )
    return Search(
        collection=asked.opened.name,
        version=found.version,
        query=_facts(service, asked, request),
        verified=found.pairs is not None,
        certain=any(answer.probability is not None for answer in answers),
        not_here=is_not_here([answer.probability for answer in answers]),
        answers=shown,
        next=cursor,
        timings_ms=times_so_far(),
    )


def answer_page(service: Service, cursor: str) -> Search:
    """Answer with the next page of a question.

    Raises:
        RefusedError: The cursor has expired, as the collection has changed since.
    """
    values = service.cursors.read(cursor)
    if "request" not in values:
        raise expired("the cursor is of another list")
    request = SearchRequest.model_validate(values["request"])
    opened = service.collections.choose(request.collection)
    if opened.finder.version != values["version"]:
        raise expired(f"{opened.name} has changed since")
    found = answer_search(service, request, skip=int(str(values["skip"])))
    if found.version != values["version"]:
        raise expired(f"{opened.name} has changed since")
    return found


def write_answer_page(service: Service, request: SearchRequest) -> bytes:
    """Answer a question with a page that stands alone, as `meisho search --html` writes it.

    Raises:
        MeishoError: It cannot be answered.
    """
    from meisho.web.pages import write_search_page  # which other answers do without

    asked = resolve(service, request)
    hides_self = asked.stored is not None and not request.include_self
    found = find_answers(service, asked, request, request.top + hides_self)
    answers = list(found[0])
    if hides_self and asked.stored is not None:
        answers = list(without_photo(answers, asked.stored.id))
    with tempfile.TemporaryDirectory(prefix="meisho-") as folder, timed("draw"):
        page = Path(folder) / "answers.html"
        write_search_page(
            page,
            asked.photo,
            answers[: request.top],
            collection=asked.opened.name,
            num_database=len(asked.opened.finder),
            model=asked.opened.finder.metadata.provenance.extractor,
            reranking=_chain(request) or "",
        )
        return page.read_bytes()


def without_photo(answers: Sequence[FoundAnswer], photo_id: str) -> Iterator[FoundAnswer]:
    """Leave out a photo: where it has copies below it, the first of them stands in its place."""
    for answer in answers:
        copies = tuple(copy for copy in answer.copies if copy.id != photo_id)
        if answer.id != photo_id:
            yield answer if len(copies) == len(answer.copies) else replace(answer, copies=copies)
        elif copies:
            first, *others = copies
            yield replace(answer, id=first.id, path=first.path, copies=tuple(others))


def find_answers(service: Service, asked: Resolved, request: SearchRequest, top: int) -> Found:
    """Ask a collection as a request says, whatever it says of `top`.

    Raises:
        MeishoError: It cannot be answered.
    """
    chain = _chain(request)
    selected = Filter.parse(request.folder, request.after, request.before, request.gps)
    finder = asked.opened.finder
    among = _choose_among(service, asked.opened, selected)
    same = _marked(service, asked) if request.marked else []
    with timed("search" if chain is None else "verify"):
        if isinstance(asked.photo, StoredPhoto) and not request.turned:
            return finder.find_like(
                asked.photo.id, top=top, chain=chain, near=request.near, among=among, same=same
            )
        return finder.find(
            asked.photo,
            top=top,
            chain=chain,
            near=request.near,
            turned=request.turned,
            among=among,
            same=same,
        )


def _choose_among(service: Service, opened: OpenedCollection, selected: Filter) -> Among | None:
    """Return what chooses the photos that may answer; None for all.

    Raises:
        RefusedError: It asks when or where photos were taken, and that is being read ("not-read-yet").
    """
    if not selected:
        return None
    if selected.needs_captures:
        service.desks.of(opened).read_captures()
    return lambda snapshot: selected.choose(snapshot, lambda photos: opened.captures.load(photos))


def _marked(service: Service, asked: Resolved) -> list[str]:
    """Return the photos that were marked as showing what is asked with."""
    desk = service.desks.of(asked.opened)
    if asked.upload is not None:
        return desk.marked("query", asked.upload.query)
    return desk.marked("photo", asked.photo.id)


def _chain(request: SearchRequest) -> str | None:
    if request.verify and request.rerank:
        raise InputError("verify N is rerank geometric:first=N; give one of the two")
    return f"geometric:first={request.verify}" if request.verify else request.rerank or None


def _is_sure(answer: FoundAnswer, least: float | None) -> bool:
    """Whether an answer is as probable as was asked for; where nothing says how probable, it is not."""
    return least is None or (answer.probability is not None and answer.probability >= least)


def rounded(share: float | None) -> float | None:
    """Return a share or probability with as many digits as mean something."""
    return None if share is None else round(share, 4)


def _answer(opened: OpenedCollection, answer: FoundAnswer, rank: int) -> Answer:
    state, missing = opened.finder.state, not answer.path.is_file()
    row = state.row_of.get(answer.id)  # None where the photo has gone since
    key = None if row is None else int(state.snapshot.keys[row])
    size = None if key is None else opened.size_of(Photo(answer.id, answer.path), key, missing=missing)
    folder, _, name = answer.id.rpartition("/")
    return Answer(
        rank=rank,
        id=answer.id,
        name=name,
        folder=folder,
        score=round(answer.score, 6),
        probability=rounded(answer.probability),
        verdict=answer.verdict,
        inliers=answer.num_inliers,
        overlap_query=rounded(answer.overlap_query),
        overlap_photo=rounded(answer.overlap_photo),
        turned=answer.turned,
        copies=[PhotoName(id=copy.id, name=name_of(copy.id)) for copy in answer.copies],
        width_px=size and size[0],
        height_px=size and size[1],
        missing=missing,
    )


def size_of(opened: OpenedCollection, state: State, photo_id: str) -> tuple[int, int] | None:
    """Return width and height of a photo of a collection, px; None where that is not known."""
    photo = state.find_photo(photo_id)
    return None if photo is None else opened.size_of(photo, photo.key)


def name_of(photo_id: str) -> str:
    """Return the last part of an id."""
    return photo_id.rpartition("/")[2]


def _facts(service: Service, asked: Resolved, request: Asked) -> AskedFacts:
    if asked.upload is not None:
        size: tuple[int, int] | None = service.queries.size_px(asked.upload)
    else:
        assert asked.stored is not None
        missing = is_missing(asked.stored)
        size = None if missing else asked.opened.size_of(asked.stored, asked.stored.key)
    return AskedFacts(
        query=None if asked.upload is None else asked.upload.query,
        photo=None if asked.stored is None else asked.stored.id,
        width_px=size and size[0],
        height_px=size and size[1],
        box=request.box,
    )
