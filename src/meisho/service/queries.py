"""Queries: photos that were uploaded to be asked with; in memory only, and what was used longest ago goes.

They are decoded in processes that may die of it, and described there too where the model is light: threads
of one process would wait for each other. What was computed of a photo is remembered by its content.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from meisho.arrays import Float32Array
from meisho.decoding import GuardedDecoder
from meisho.describing import Describer, describe_photo
from meisho.descriptors import Descriptors, Provenance
from meisho.errors import ImageError
from meisho.extractors.restoring import is_light
from meisho.images import GuardedPhoto, Header, ImageOptions, LoadedImage, PhotoLike, as_photos
from meisho.memory import default_decoding_bytes
from meisho.photos import Box, Photo
from meisho.progress import Progress, silent
from meisho.recent import Recent
from meisho.service.metrics import count_within, timed
from meisho.service.problems import RefusedError
from meisho.service.settings import Settings
from meisho.service.turns import lent

NAME = "the photo"
"""What messages call a query photo: its own name may be anything."""

_VECTORS_BYTES = 32 * 2**20


@dataclass(frozen=True, eq=False)
class Upload:
    """The file of a query photo.

    Attributes:
        query: SHA-256 of its bytes, as 64 hexadecimal digits.
        content: Its bytes.
    """

    query: str
    content: bytes

    @property
    def photo(self) -> Photo:
        """The photo, for a process that decodes it."""
        return Photo(self.query, Path(NAME), content=self.content)


_DecodedKey = tuple[str, Box | None, ImageOptions]


class QueryPhotos:
    """The query photos that are in memory; any number of threads may ask.

    Args:
        settings: How much memory they may take.
        decoder: Decodes them.
    """

    def __init__(self, settings: Settings, decoder: GuardedDecoder) -> None:
        self._decoder = decoder
        self._uploads = Recent[str, Upload](settings.queries_bytes, lambda upload: len(upload.content))
        self._sizes = Recent[str, tuple[int, int]](2**20, lambda size: 0)
        self._headers = Recent[str, Header](2**20, lambda header: 0)
        self._decoded = Recent[_DecodedKey, LoadedImage](
            settings.decoded_bytes, lambda image: image.pixels.nbytes
        )

    @property
    def num_bytes(self) -> int:
        """What their files take."""
        return self._uploads.num_bytes

    def add(self, content: bytes) -> Upload:
        """Keep a photo in memory.

        Raises:
            RefusedError: It is empty, or larger than all of them may be.
        """
        if not content:
            raise RefusedError("image", f"{NAME}: the file is empty (0 bytes)", where="photo")
        upload = Upload(hashlib.sha256(content).hexdigest(), content)
        self._uploads.put(upload.query, upload)
        return upload

    def get(self, query: str) -> Upload:
        """Return a photo that is still in memory.

        Raises:
            RefusedError: It is not ("query-forgotten").
        """
        upload = self._uploads.get(query)
        if upload is None:
            raise RefusedError(
                "query-forgotten",
                f"the query photo {query[:12]}… is no longer in memory",
                remedy="upload it again",
                where="query",
            )
        return upload

    def photo(self, upload: Upload, box: Box | None = None) -> GuardedPhoto:
        """Return the photo to ask with."""
        return GuardedPhoto(
            upload.query, Path(NAME), box, upload.content, upload.query, partial(self._load, upload)
        )

    def stored_photo(self, photo: Photo, key: int, box: Box | None = None) -> GuardedPhoto:
        """Return a photo of a collection, or a part of it, that is decoded to be asked with."""
        name = f"{key:016x}"
        return GuardedPhoto(photo.id, photo.path, box, None, name, self._load_stored)

    def header(self, upload: Upload) -> Header:
        """Return what the photo's header says.

        Raises:
            ImageError: It is no photo.
        """
        header = self._headers.get(upload.query)
        if header is None:
            with timed("decode"), lent():
                header = self._decoder.read_header(upload.photo)
            self._headers.put(upload.query, header)
        return header

    def size_px(self, upload: Upload) -> tuple[int, int]:
        """Return width and height of the whole upright photo, px.

        Raises:
            ImageError: It is no photo.
        """
        return self._sizes.get(upload.query) or self.header(upload).size_px

    def describe(self, photo: GuardedPhoto, provenance: Provenance) -> Float32Array:
        """Describe a photo in the process that decodes it: (D,) float32.

        Raises:
            ImageError: It cannot be read.
        """
        sent = Photo(photo.id, photo.path, photo.box, photo.content)
        with timed("describe"):
            found = self._decoder.ask(describe_photo, sent, provenance)
            count_within("decode", found.decoding_seconds)
        self._sizes.put(photo.content_name, found.size_px)
        return found.vector

    def _load(self, upload: Upload, photo: Photo, options: ImageOptions) -> LoadedImage:
        return self._decode(upload.query, replace(upload.photo, box=photo.box), options)

    def _load_stored(self, photo: Photo, options: ImageOptions) -> LoadedImage:
        name = photo.content_name if isinstance(photo, GuardedPhoto) else photo.id
        return self._decode(name, Photo(photo.id, photo.path, photo.box), options)

    def _decode(self, name: str, photo: Photo, options: ImageOptions) -> LoadedImage:
        key = (name, photo.box, options)
        image = self._decoded.get(key)
        if image is None:
            with timed("decode"), lent():
                image = self._decoder.load(photo, options)
            self._decoded.put(key, image)
            self._sizes.put(name, image.size_px)
        return image


_VectorKey = tuple[str, Box | None]


@dataclass(frozen=True, eq=False)
class RememberingDescriber(Describer):
    """A describer that describes a query photo once, however often it is asked with.

    Attributes:
        describe_one: Describes a query photo elsewhere, see `QueryPhotos.describe`; None: here.
        known: Descriptors of query photos, by content and box.
    """

    describe_one: Callable[[GuardedPhoto, Provenance], Float32Array] | None = None
    known: Recent[_VectorKey, Float32Array] = field(
        default_factory=lambda: Recent[_VectorKey, Float32Array](_VECTORS_BYTES, lambda vector: vector.nbytes)
    )

    @classmethod
    def of(cls, describer: Describer, queries: QueryPhotos) -> "RememberingDescriber":
        """Return one that describes as another does, and looks once how much memory there is."""
        memory_bytes = describer.memory_bytes or default_decoding_bytes()
        describe_one = queries.describe if is_light(describer.extractor) else None
        return cls(
            describer.extractor, describer.batch_size, describer.num_workers, memory_bytes, describe_one
        )

    def describe(
        self,
        photos: PhotoLike | Iterable[PhotoLike],
        *,
        progress: Progress = silent,
        stage: str = "describe",
        on_error: Callable[[ImageError], None] | None = None,
    ) -> Descriptors:
        """Describe photos, but for those that were described before; see `Describer.describe`."""
        photos = as_photos(photos)
        queries = [photo for photo in photos if isinstance(photo, GuardedPhoto)]
        is_mixed = len(queries) < len(photos)  # with turned ones, that are described together here
        found = [] if is_mixed else [each for query in queries if (each := self._find(query)) is not None]
        if photos and len(found) == len(photos):
            return Descriptors(tuple(photo.id for photo in photos), np.stack(found), self.provenance)
        with timed("describe"):
            described = super().describe(photos, progress=progress, stage=stage, on_error=on_error)
        if len(queries) == len(described):
            for query, vector in zip(queries, described.vectors, strict=True):
                self.known.put((query.content_name, query.box), vector)
        return described

    def _find(self, query: GuardedPhoto) -> Float32Array | None:
        """Return the descriptor of a query photo where it is known, or described elsewhere."""
        name = query.content_name, query.box
        vector = self.known.get(name)
        if vector is None and self.describe_one is not None:
            vector = self.describe_one(query, self.provenance)
            self.known.put(name, vector)
        return vector
