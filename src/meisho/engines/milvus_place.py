"""MilvusPlace: where a Milvus is and how it shall search, as one text says it."""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from meisho.errors import ConfigError
from meisho.tables import require_name

_KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "FLAT": ((), ()),
    "IVF_FLAT": (("nlist",), ("nprobe",)),
    "IVF_SQ8": (("nlist",), ("nprobe",)),
    "IVF_PQ": (("nlist", "m", "nbits"), ("nprobe",)),
    "HNSW": (("M", "efConstruction"), ("ef",)),
}
"""Kind of index -> its parameters when it is built, and when it is searched, by the names that Milvus has."""

_LEVELS = ("Strong", "Bounded", "Session", "Eventually")
_DEFAULTS = {"nprobe": 32, "nbits": 8, "M": 32, "efConstruction": 200, "ef": 128}
_EXAMPLE = "milvus:http://127.0.0.1:19530?index=HNSW&M=32, or milvus:photos.db, a file of Milvus Lite"
_MOST_SECONDS = 3600


@dataclass(frozen=True)
class MilvusPlace:
    """A Milvus, and the kind of index that it shall have.

    Attributes:
        uri: "http://host:19530", "https://…", or the absolute path of a file of Milvus Lite.
        index: FLAT, IVF_FLAT, IVF_SQ8, IVF_PQ or HNSW.
        database: The name of a database of Milvus; "" for its default one.
        consistency: What a search waits for: "Strong", for all that was written before it; "Bounded",
            "Session" or "Eventually", for less.
        timeout: Seconds that a request may take, with all further attempts.
        parameters: Those of the index that were given, by their names in Milvus.
    """

    uri: str
    index: str = "HNSW"
    database: str = ""
    consistency: str = "Strong"
    timeout: float = 10.0
    parameters: dict[str, int] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> "MilvusPlace":
        """Read "URI?index=HNSW&M=32&ef=128&consistency=Strong&timeout=10&db=NAME".

        Raises:
            ConfigError: It cannot be a Milvus; a password in it is refused, as it would be written down.
        """
        uri, _, query = text.partition("?")
        pairs = parse_qsl(query, keep_blank_values=True)
        options = dict(pairs)
        if len(options) != len(pairs) or (query and not pairs):
            raise ConfigError(f"milvus: {query!r:.80} sets an option twice, or none; for example {_EXAMPLE}")
        index, consistency = (
            options.pop("index", cls.index).upper(),
            options.pop("consistency", cls.consistency),
        )
        require_name(index, _KINDS, what="index of Milvus")
        require_name(consistency, _LEVELS, what="consistency of Milvus")
        seconds, database = options.pop("timeout", f"{cls.timeout:g}"), options.pop("db", cls.database)
        known = [*_KINDS[index][0], *_KINDS[index][1]]
        for name, value in options.items():
            require_name(name, known, what=f"option of milvus with {index}")
            _require(re.fullmatch(r"[1-9]\d{0,5}", value), f"{name} is {value!r:.40}; give a whole number")
        _require(re.fullmatch(r"\w*", database), f"db is {database!r:.40}; give the name of a database")
        _require(re.fullmatch(r"\d+(\.\d+)?", seconds), f"timeout is {seconds!r:.40}; give seconds")
        _require(0 < float(seconds) <= _MOST_SECONDS, f"timeout is {seconds} s; give 1 to {_MOST_SECONDS}")
        parameters = {name: int(value) for name, value in options.items()}
        return cls(_read_uri(uri), index, database, consistency, float(seconds), parameters)

    @property
    def text(self) -> str:
        """The text that `parse` reads."""
        default = MilvusPlace(self.uri)._options()
        given = {name: value for name, value in self._options().items() if value != default.get(name)}
        return self.uri + (
            "?" + "&".join(f"{name}={value}" for name, value in given.items()) if given else ""
        )

    def _options(self) -> dict[str, object]:
        return {
            "index": self.index,
            "db": self.database,
            "consistency": self.consistency,
            "timeout": f"{self.timeout:g}",
            **self.parameters,
        }

    @property
    def is_lite(self) -> bool:
        """Whether it is a file of Milvus Lite."""
        return "://" not in self.uri

    def is_built_like(self, other: "MilvusPlace") -> bool:
        """Whether what was built for the other serves here: they differ in how they search at the most."""
        built = _KINDS[self.index][0]
        mine, others = ({name: p.parameters.get(name) for name in built} for p in (self, other))
        return (self.uri, self.database, self.index, mine) == (other.uri, other.database, other.index, others)

    def build_parameters(self, num_rows: int, dim: int) -> dict[str, int]:
        """Return how an index over so many vectors of `dim` dimensions is built."""
        codes = max(m for m in range(1, max(1, dim // 4) + 1) if dim % m == 0)
        lists = 2 ** max(4, math.floor(math.log2(math.sqrt(max(num_rows, 1)))))
        defaults = {**_DEFAULTS, "m": codes, "nlist": lists}
        return {name: self.parameters.get(name, defaults[name]) for name in _KINDS[self.index][0]}

    def search_parameters(self, count: int) -> dict[str, int]:
        """Return how it is searched for `count` rows: HNSW wants to look at as many at least."""
        found = {name: self.parameters.get(name, _DEFAULTS[name]) for name in _KINDS[self.index][1]}
        return {name: max(value, count) if name == "ef" else value for name, value in found.items()}


def _read_uri(uri: str) -> str:
    if "://" not in uri:
        if not uri.endswith(".db"):
            raise ConfigError(
                f"milvus: {uri!r:.200} is neither a URI nor a file NAME.db; for example {_EXAMPLE}"
            )
        return str(Path(uri).absolute())
    try:
        parts = urlsplit(uri)
        usable = parts.scheme in ("http", "https", "tcp") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(f"milvus: {uri!r:.200} is no URI of a server; for example {_EXAMPLE}")
    if parts.username or parts.password:
        raise ConfigError(
            "milvus: the URI holds a password, which would be written into the collection; set the "
            "environment variable MILVUS_TOKEN=USER:PASSWORD instead"
        )
    return uri.rstrip("/")


def _require(holds: object, message: str) -> None:
    if not holds:
        raise ConfigError(f"milvus: {message}")
