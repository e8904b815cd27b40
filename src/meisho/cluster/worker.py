"""Worker: what an actor of Ray runs. It gets photos as bytes, and gives what was made of them."""

from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace

from meisho.arrays import UInt8Array
from meisho.decoding import GuardedDecoder
from meisho.describing import DescribedBatch, describe_loaded
from meisho.descriptors import Provenance
from meisho.errors import ImageError
from meisho.extractors.restoring import restore_extractor, restore_local_extractor
from meisho.images import ImageOptions, LoadedImage
from meisho.local_describing import extract_loaded
from meisho.local_features import LocalFeatures
from meisho.photos import Photo
from meisho.progress import Stages


@dataclass(frozen=True)
class Order:
    """What a worker shall do, and with how much of its machine.

    Attributes:
        provenance: What makes the extractor. A worker whose weights are others refuses to work.
        device: Where it computes: "auto", "cpu" or "cuda".
        batch_size: Images given to the extractor at once, at most.
        num_threads: Photos decoded at once, each in a process that may die by a bad one.
        memory_bytes: What photos may take while they are decoded; None: a quarter of the machine's memory.
    """

    provenance: Provenance
    device: str
    batch_size: int
    num_threads: int
    memory_bytes: int | None


class GlobalWorker:
    """Describes photos."""

    def __init__(self, order: Order) -> None:
        self._order = order

    def load(self) -> None:
        """Load the model; apart from the constructor, whose errors Ray only tells as text."""
        self._extractor = restore_extractor(self._order.provenance, device=self._order.device)
        self._decoder = _Decoder(self._order, self._extractor.image_options)

    def describe(
        self, photos: Sequence[Photo], contents: Sequence[bytes | UInt8Array]
    ) -> list[DescribedBatch]:
        """Describe photos from their bytes."""
        loaded = self._decoder.load(photos, contents)
        with closing(describe_loaded(loaded, self._extractor, self._order.batch_size, Stages())) as batches:
            return list(batches)


class LocalWorker:
    """Finds local features."""

    def __init__(self, order: Order) -> None:
        self._order = order

    def load(self) -> None:
        """Load the extractor."""
        self._extractor = restore_local_extractor(self._order.provenance, device=self._order.device)
        self._decoder = _Decoder(self._order, self._extractor.image_options)

    def describe(
        self, photos: Sequence[Photo], contents: Sequence[bytes | UInt8Array]
    ) -> list[tuple[Photo, LocalFeatures | ImageError]]:
        """Find the local features of photos from their bytes."""
        loaded = self._decoder.load(photos, contents)
        with closing(extract_loaded(loaded, self._extractor, Stages())) as found:
            return list(found)


class _Decoder:
    """Decoding processes that stay from job to job."""

    def __init__(self, order: Order, options: ImageOptions) -> None:
        self._processes = GuardedDecoder(order.num_threads, memory_bytes=order.memory_bytes)
        self._threads = ThreadPoolExecutor(order.num_threads)
        self._options = options

    def load(
        self, photos: Sequence[Photo], contents: Sequence[bytes | UInt8Array]
    ) -> Generator[tuple[Photo, LoadedImage | ImageError]]:
        sent = (replace(photo, content=content) for photo, content in zip(photos, contents, strict=True))
        yield from zip(photos, self._threads.map(self._load, sent), strict=True)  # a job is decoded ahead

    def _load(self, photo: Photo) -> LoadedImage | ImageError:
        try:
            return self._processes.load(photo, self._options)
        except ImageError as error:
            return error
