"""Shared: what all routes of a service stand on, made once."""

from dataclasses import dataclass, field
from functools import partial
from typing import Annotated

from fastapi import Depends, Request

from meisho.cores import count_cores
from meisho.decoding import GuardedDecoder
from meisho.describing import warm_up
from meisho.extractors.restoring import is_light
from meisho.service.bodies import Reading
from meisho.service.cursors import Cursors
from meisho.service.desk import Desks
from meisho.service.metrics import Metrics
from meisho.service.opened import OpenedCollections
from meisho.service.pictures import Pictures
from meisho.service.queries import QueryPhotos, RememberingDescriber
from meisho.service.remote import Remote
from meisho.service.security import Gatekeeper
from meisho.service.settings import Settings
from meisho.service.turns import TogetherIndex
from meisho.service.work import Work

_MOST_PICTURES_WAITING = 1_000
"""A page asks for as many thumbnails as it shows; each takes a few ms."""

_NUM_CHANGING = 8
"""Changes that come at once and are committed together."""


@dataclass(eq=False)
class Service:
    """What all routes of a service stand on; made by `open`.

    Attributes:
        settings: What it was started with.
        gatekeeper: Who may ask.
        collections: The collections that are open, by name.
        decoder: Decodes photos in processes that may die.
        queries: Query photos in memory.
        pictures: Pictures of photos.
        metrics: Where the time goes.
        work: Threads that answer.
        drawing: Threads that draw pictures, so that these do not wait for answers.
        changing: Threads that change collections.
        desks: What changes collections or remembers something of them.
        reading: Memory for requests that are being received.
        remote: Fetches query photos from addresses, where that is switched on.
        cursors: Names of further pages.
        is_stopping: Whether it was asked to stop; who sends without end ends then.
    """

    settings: Settings
    gatekeeper: Gatekeeper
    collections: OpenedCollections
    decoder: GuardedDecoder
    queries: QueryPhotos
    pictures: Pictures
    metrics: Metrics
    work: Work
    drawing: Work
    changing: Work
    desks: Desks
    reading: Reading
    remote: Remote
    cursors: Cursors = field(default_factory=Cursors)
    is_stopping: bool = False

    @classmethod
    def open(cls, settings: Settings) -> "Service":
        """Open the collections and start what answers of them.

        Raises:
            MeishoError: A collection cannot be opened, or the settings are not safe.
        """
        gatekeeper, remote, metrics = Gatekeeper(settings), Remote(settings), Metrics()
        num_threads = settings.num_threads or count_cores()
        at_once = settings.num_threads or num_threads + 2  # some wait for a decoder, or for Python's lock
        collections = OpenedCollections.open(settings)
        finders = [opened.finder for opened in collections.values()]
        light = {each.describer.provenance for each in finders if is_light(each.describer.extractor)}
        decoder = GuardedDecoder(
            num_threads + 1,
            memory_bytes=settings.decoding_bytes,
            most_seconds=settings.decoding_seconds,
            prepare=partial(warm_up, tuple(light)),
        )
        decoder.start()
        queries = QueryPhotos(settings, decoder)
        for finder in finders:
            finder.describer = RememberingDescriber.of(finder.describer, queries)
            finder.searcher_of = TogetherIndex
        return cls(
            settings,
            gatekeeper,
            collections,
            decoder,
            queries,
            Pictures(settings.drawn_bytes, decoder),
            metrics,
            Work(at_once, settings.most_waiting, metrics, name="answering", takes_turns=True),
            Work(num_threads, _MOST_PICTURES_WAITING, metrics, name="drawing"),
            Work(_NUM_CHANGING, settings.most_waiting, metrics, name="changing"),
            Desks(settings, decoder),
            Reading(settings),
            remote,
        )

    def warm_up(self) -> None:
        """Load in the background what the first verified question of each collection would load."""
        for opened in self.collections.values():
            self.drawing.submit(opened.warm_up)

    def close(self) -> None:
        """Let what is under way end, then end threads and processes."""
        self.work.close()
        self.drawing.close()
        self.changing.close()
        self.desks.close()
        self.decoder.close()


async def service_of(request: Request) -> Service:
    """Return the service that a request is asked of; a dependency of routes, in no thread of its own."""
    service: Service = request.app.state.service
    return service


ServiceHere = Annotated[Service, Depends(service_of)]
"""A parameter of a route: the service."""
