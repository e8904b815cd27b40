"""Settings: what a service opens, where it listens, and every limit, with its default."""

from dataclasses import dataclass
from pathlib import Path

from meisho.errors import InputError

DEFAULT_PORT = 8765


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a service opens, where it listens, and its limits.

    Attributes:
        collections: Directories of collections; the first answers where none is named.
        host: Address that it listens at.
        port: Port; 0 takes one that is free.
        names: Further names by which it may be asked, such as that of a proxy before it.
        token_file: File of tokens, see `meisho.service.security`; None: who reaches it may do everything.
        photos_writable: Whether files in the photo folders may be written and deleted.
        query_urls: Whether query photos are fetched from addresses.
        url_networks: Networks that may be asked for them beside the public internet, such as "10.1.0.0/16".
        url_seconds: How long one may take to be fetched.
        device: Where networks compute: "auto", "cpu" or "cuda".
        num_threads: Questions that are answered at once; None: one more than there are cores.
        most_waiting: Questions that may wait for that; further ones are refused for a while.
        most_body_bytes: The largest request.
        most_reading_bytes: What requests that are being received may take, all together.
        head_seconds: How long the head of a request may take to arrive.
        body_seconds: How long the body of a request may take to arrive.
        send_seconds: An answer of which less than 64 KiB is taken in that time is given up.
        queries_bytes: Memory for the files of query photos.
        decoded_bytes: Memory for decoded query photos.
        drawn_bytes: Memory for pictures of photos.
        decoding_bytes: What photos may take while they are decoded; None: a quarter of the machine's memory.
        decoding_seconds: Processor time for decoding one photo.
        keep_bytes: Memory for what rerankers compute of each collection, see `Finder.open`.
        stop_seconds: How long answers under way may take when the service stops.

    Raises:
        InputError: No collection is given, or a limit is less than 1.
    """

    collections: tuple[Path, ...]
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    names: tuple[str, ...] = ()
    token_file: Path | None = None
    photos_writable: bool = False
    query_urls: bool = False
    url_networks: tuple[str, ...] = ()
    url_seconds: int = 15
    device: str = "auto"
    num_threads: int | None = None
    most_waiting: int = 64
    most_body_bytes: int = 64 * 2**20
    most_reading_bytes: int = 512 * 2**20
    head_seconds: int = 10
    body_seconds: int = 60
    send_seconds: int = 60
    queries_bytes: int = 256 * 2**20
    decoded_bytes: int = 64 * 2**20
    drawn_bytes: int = 64 * 2**20
    decoding_bytes: int | None = None
    decoding_seconds: int = 20
    keep_bytes: int = 2**30
    stop_seconds: int = 30

    def __post_init__(self) -> None:
        if not self.collections:
            raise InputError("no collection is given; name one that 'meisho index' made")
        if not 0 <= self.port <= 65_535:
            raise InputError(f"port is {self.port}; give 1 to 65535, or 0 for one that is free")
        for name in (
            *("most_waiting", "most_body_bytes", "most_reading_bytes"),
            *("head_seconds", "body_seconds", "send_seconds", "url_seconds"),
        ):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1")
