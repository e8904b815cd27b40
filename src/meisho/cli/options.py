"""Options that several commands share, each declared once, and what is made of them."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_type_hints

import typer

from meisho.buckets import as_place, is_in_bucket
from meisho.cli.app import note
from meisho.cli.checks import check_device, check_memory, parse_scales
from meisho.errors import InputError
from meisho.memory import parse_bytes

if TYPE_CHECKING:  # a command imports what it needs when it is called
    from meisho.describing import Describer
    from meisho.extractors.base import GlobalExtractor
    from meisho.local_describing import LocalDescriber
    from meisho.photos import Photo
    from meisho.rerank.chain import Chain

IndexKind = Literal["auto", "exact", "ivfpq", "hnsw"]
PoolingName = Literal["gem", "regional-gem", "scale-gem", "superglobal", "avg", "max", "cls"]
PrecisionName = Literal["float32", "bf16", "fp16"]
EnlargeName = Literal["never", "always"]
LOCAL_NAMES = "sift, xfeat, aliked, or a folder that training made, such as runs/NAME/best"
"""What --local takes."""
MANY = 1_000_000
"""More than that is asked for by mistake: photos, answers, dimensions."""


def _complete_device(incomplete: str) -> list[str]:
    return [name for name in ("auto", "cpu", "cuda") if name.startswith(incomplete)]


def as_collection(path: Path | None) -> Path | None:
    """Return the place of a collection, which may be s3://BUCKET/NAME."""
    if path is None or not is_in_bucket(path):
        return path
    from meisho.store.places import place_of  # which imports NumPy: see meisho.cores

    return place_of(path)


Collection = Annotated[
    Path,
    typer.Argument(metavar="COLLECTION", help="A collection made by 'meisho index'.", callback=as_collection),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Device = Annotated[
    str,
    typer.Option(
        metavar="DEVICE",
        help="Where networks compute: auto, cpu, cuda or cuda:1.",
        callback=check_device,
        autocompletion=_complete_device,
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="hub, a .safetensors or weights-only .pth file, or none:SEED."),
]
Size = Annotated[
    int | None,
    typer.Option(metavar="PX", min=32, max=4096, help="Longer side of the image that the model sees, px."),
]
Enlarge = Annotated[
    EnlargeName | None,
    typer.Option(help="Whether photos smaller than --size are enlarged to it.", show_choices=True),
]
Scales = Annotated[
    str | None,
    typer.Option(metavar="A,B,…", help="Image scales, such as 1,0.7071,0.5.", callback=parse_scales),
]
Whitening = Annotated[Path | None, typer.Option(metavar="FILE", help="A whitening made by 'meisho whiten'.")]
Precision = Annotated[
    PrecisionName | None, typer.Option(help="bf16: GPUs and new CPUs; fp16: GPUs.", show_choices=True)
]
BatchSize = Annotated[
    int,
    typer.Option(metavar="N", min=1, max=4096, help="Photos per batch on a GPU; a CPU takes two at once."),
]
Workers = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=0, max=256, help="Processes that decode photos. Default: chosen by the machine."
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Memory that photos may take while they are decoded, such as 2G. Default: a quarter of it.",
        callback=check_memory,
    ),
]
Rerank = Annotated[
    str | None,
    typer.Option(
        metavar="CHAIN",
        help="Rerankers in order, such as dba,alpha-qe:k=10:alpha=3,geometric:first=50.",
    ),
]
Box = Annotated[
    str | None,
    typer.Option(metavar="X0,Y0,X1,Y1", help="Part of the query to use, px of the upright photo."),
]
LARGEST_SEED = 2**32 - 1
Seed = Annotated[
    int, typer.Option(metavar="N", min=0, max=LARGEST_SEED, help="Seeds the bootstrap of the intervals.")
]


@dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """Which model describes photos, and how photos are fed to it.

    The attributes are the options of a command that has a parameter of this type, see `expand_options`.
    """

    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="default, imagenet, small, large, timm:NAME, onnx:FILE, a checkpoint's folder, a checkpoint "
            "as its authors published it, or several: ensemble:default*2+timm:NAME.",
        ),
    ] = None
    weights: Weights = None
    size: Size = None
    enlarge: Enlarge = None
    pooling: Annotated[PoolingName | None, typer.Option(help="How a feature map becomes a vector.")] = None
    scales: Scales = None
    precision: Precision = None
    device: Device = "auto"
    batch_size: BatchSize = 16
    workers: Workers = None
    memory: Memory = None

    @property
    def memory_bytes(self) -> int | None:
        """What photos may take while they are decoded; None for the default."""
        return None if self.memory is None else parse_bytes(self.memory)

    @property
    def options(self) -> dict[str, object]:
        """The options of the extractor that were given, and no others."""
        given: dict[str, object] = {
            "weights": _absolute(self.weights),
            "max_side_px": self.size,
            "enlarge": None if self.enlarge is None else self.enlarge == "always",
            "pooling": self.pooling,
            "scales": [float(part) for part in self.scales.split(",")] if self.scales else None,
            "precision": self.precision,
        }
        return {name: value for name, value in given.items() if value is not None}

    def load(self) -> "GlobalExtractor":
        """Load the model asked for, or the default."""
        from meisho.extractors.base import load_extractor
        from meisho.extractors.machine import why_slow_in_bf16

        if self.precision == "bf16" and (warning := why_slow_in_bf16(self.device)):
            note(warning)
        extractor = load_extractor(_absolute(self.model) or "default", device=self.device, **self.options)
        for remark in getattr(extractor, "remarks", ()):  # of a published checkpoint: what is not used of it
            note(remark)
        return extractor

    def load_for(self, collection: Path) -> "GlobalExtractor":
        """Load the model asked for; where none is, the one that the collection was made with."""
        from meisho.extractors.restoring import restore_extractor
        from meisho.store.metadata import is_collection, read_metadata

        if self.model == "random":
            raise InputError("--model random describes no photo; it is a baseline of 'meisho evaluate'")
        if self.model is None and not self.options and is_collection(collection):
            return restore_extractor(read_metadata(collection).provenance, device=self.device)
        return self.load()

    def describer(self, collection: Path | None = None) -> "Describer":
        """Return what describes photos: for a collection, with its model where none was asked for."""
        return self.describer_of(self.load_for(collection) if collection else self.load())

    def describer_of(self, extractor: "GlobalExtractor") -> "Describer":
        """Return what describes photos with this extractor."""
        from meisho.describing import Describer

        return Describer(extractor, self.batch_size, self.workers, self.memory_bytes)

    def local_describer(self, name: str | None) -> "LocalDescriber | None":
        """Return what finds local features; None for None."""
        from meisho.extractors.local_base import load_local_extractor
        from meisho.local_describing import LocalDescriber

        if name is None:
            return None
        return LocalDescriber(load_local_extractor(name, device=self.device), self.workers, self.memory_bytes)


@dataclass(frozen=True, kw_only=True)
class WhitenedModelChoice(ModelChoice):
    """A model whose descriptors may be whitened."""

    whitening: Whitening = None

    @property
    def options(self) -> dict[str, object]:
        """The options of the extractor that were given, and no others."""
        return super().options | place("whitening", self.whitening)


def expand_options(command: Callable[..., None]) -> Callable[..., None]:
    """Turn each parameter of a command that is a `ModelChoice` into one option per field.

    Typer reads options from a function's signature, so it is shown a signature with the fields in place of
    the parameter; what typer then passes is put together again. The command itself takes one value.
    """
    signature = inspect.signature(command, eval_str=True)
    groups: dict[str, type[ModelChoice]] = {
        name: parameter.annotation
        for name, parameter in signature.parameters.items()
        if isinstance(parameter.annotation, type) and issubclass(parameter.annotation, ModelChoice)
    }
    shown: list[inspect.Parameter] = []
    for name, parameter in signature.parameters.items():
        members = _parameters_of(groups[name]) if name in groups else [parameter]
        shown += [member.replace(kind=inspect.Parameter.KEYWORD_ONLY) for member in members]

    @functools.wraps(command)
    def call(**given: object) -> None:
        for name, group in groups.items():
            given[name] = _make(group, {field.name: given.pop(field.name) for field in fields(group)})
        command(**given)

    call.__signature__ = signature.replace(parameters=shown)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    return call


def _make(group: Callable[..., ModelChoice], given: dict[str, object]) -> ModelChoice:
    return group(**given)  # typer has checked the types


def _parameters_of(group: type[ModelChoice]) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
        for field in fields(group)
    ]


def place(name: str, file: Path | str | None) -> dict[str, str]:
    """Return where a file of a model is, as an option such that it is found from any folder; {} for None."""
    return {} if file is None else {name: str(Path(file).absolute())}


def load_chain(text: str | None, device: str) -> "Chain | None":
    """Build the rerankers of "dba:k=10,alpha-qe"; None for None."""
    if text is None:
        return None
    from meisho.rerank.chain import build_chain  # which a question without a chain does without

    return build_chain(text, source="--rerank", device=device)


def query_photo(path: Path, box: str | None) -> "Photo":
    """Return the photo to ask with, cropped to a box where one is given."""
    from meisho.photos import Box, Photo

    path = as_place(path)
    return Photo(str(path), path, None if box is None else Box.parse(box, source="--box"))


def _absolute(weights: str | None) -> str | None:
    """Return the path of a file such that it is found from any folder; a name stays as it is."""
    return str(Path(weights).absolute()) if weights and Path(weights).exists() else weights
