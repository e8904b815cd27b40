"""Layouts of published checkpoints: what one gives, and the table of those that are known.

A new layout is one file in this folder and one line in `LAYOUTS`, such as
`"trunk": "meisho.extractors.published.trunk:convert"`::

    def convert(file: PublishedFile) -> Published | None:
        '''Take {"trunk": ..., "power": ...}; anything else is another layout.'''
        if "power" not in file.content or "trunk.conv1.weight" not in file.state:
            return None
        trunk = under("trunk.", file.state)
        return Published(name_resnet(trunk, file.path), trunk, options={"p": float(file.content["power"])})
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from meisho.documents import one_line
from meisho.errors import WeightsError
from meisho.extractors.stand_ins import plain_array
from meisho.extractors.weights import StateDict
from meisho.tables import load_named

LAYOUTS: dict[str, str] = {
    "cirtorch": "meisho.extractors.published.cirtorch:convert",
    "cosplace": "meisho.extractors.published.cosplace:convert",
    "dirtorch": "meisho.extractors.published.dirtorch:convert",
    "sscd": "meisho.extractors.published.sscd:convert",
    "dolg": "meisho.extractors.published.dolg:convert",
    "delg-pytorch": "meisho.extractors.published.pycls:convert_delg",
    "cvnet": "meisho.extractors.published.pycls:convert_cvnet",
    "superglobal": "meisho.extractors.published.pycls:convert_superglobal",
    "salad": "meisho.extractors.published.dino:convert_salad",
    "megaloc": "meisho.extractors.published.dino:convert_megaloc",
    "dinov2": "meisho.extractors.published.dino:convert",
    "parts": "meisho.extractors.published.parts_file:convert",
    "timm-folder": "meisho.extractors.published.timm_folder:convert",
}
"""Name of a layout -> its converter; they are asked in this order."""

BY_NAME_ONLY = {"superglobal"}
"""Layouts that use a file of another one in their own way: taken where "published:NAME" asks for them."""

AS_THEY_ARE = {"max_side_px": 1024, "multiple_px": 1, "enlarge": False}
"""How photos of the revisited benchmarks, which have 1024 px on the longer side, are left as they are."""

NOT_WHOLE = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What torch, NumPy and Python raise where shapes and types are not those of a layout."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, eq=False)
class PublishedFile:
    """A checkpoint that was read.

    Attributes:
        path: Where.
        content: All that it holds, by name: of a dict its entries, of a folder also "config".
        state: Its weights: name -> tensor.
        left_out: Names of tensors that are not among them.
    """

    path: Path
    content: Mapping[str, object]
    state: StateDict
    left_out: tuple[str, ...] = ()

    def refuse(self, reason: str) -> WeightsError:
        """Return the error that says why this file, of a known layout, cannot be used."""
        return WeightsError(f"{self.path}: {reason}")


@dataclass(frozen=True, eq=False)
class FinalWhitening:
    """x -> projection (x - mean), at the end of all.

    Attributes:
        mean: (D,) float64.
        projection: (D', D) float64.
    """

    mean: NDArray[np.float64]
    projection: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Published:
    """A model as a converter gives it.

    Attributes:
        backbone: timm's name.
        weights: Its weights under timm's names.
        options: Those of `PublishedOptions` that are the authors': pooling, p, max_side_px, scales.
        mean: Per channel, of pixel values scaled to [0, 1].
        std: Per channel, likewise.
        trim: Cuts the backbone down to what the authors use of it, before the weights are loaded; or None.
        local: What comes between backbone and pooling, with its weights; or None.
        pooling: A pooling of its own, fed with the backbone's features as they are; None takes `options`'.
        head: What comes after the pooling, with its weights; or None.
        scale_power: Power of the mean over scales.
        resizes_by_factor: Whether pixels are taken at multiples of 1 / scale, also where the resized side is
            not a whole number; else the whole image is stretched over the whole pixels.
        rescale: Brings grey levels to another scale as the authors' code does, one of `rescaling.py`, where
            `PublishedOptions.rescaling` asks for it; None where bilinear is what they do, or is near.
        whitenings: Name -> what comes at the end for one scale, and for several; the first is the default.
        left_out: Names of tensors of the file that are not used.
    """

    backbone: str
    weights: StateDict
    options: Mapping[str, object] = field(default_factory=dict)
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    trim: Callable[[nn.Module], None] | None = None
    local: nn.Module | None = None
    pooling: nn.Module | None = None
    head: nn.Module | None = None
    scale_power: float = 1.0
    resizes_by_factor: bool = False
    rescale: Callable[[Tensor, float], Tensor] | None = None
    whitenings: Mapping[str, tuple[FinalWhitening, FinalWhitening]] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


def recognise(files: Iterable[PublishedFile], layout: str = "") -> tuple[str, PublishedFile, Published]:
    """Find the layout of a file and convert it.

    Args:
        files: The file, with each of the sets of weights that it may stand for; the first that fits is taken.
        layout: One of `LAYOUTS`; "" asks all.

    Returns:
        Layout, the file as it was taken, and the model.

    Raises:
        ConfigError: There is no such layout.
        WeightsError: The file is of no known layout, or cannot be used; the message says why.
    """
    views = [*files]
    for file in views:
        for name in [layout] if layout else [name for name in LAYOUTS if name not in BY_NAME_ONLY]:
            published = _convert(file, name)
            if published is not None:
                return name, file, published
    raise views[0].refuse(_explain(views[0], layout))


def _convert(file: PublishedFile, layout: str) -> Published | None:
    converter = load_named(layout, LAYOUTS, what="layout of a checkpoint")
    try:
        published: Published | None = converter(file)
    except NOT_WHOLE as error:
        raise file.refuse(f"is no whole checkpoint of {layout} ({one_line(error, 200)})") from error
    return published


def _explain(file: PublishedFile, layout: str) -> str:
    known = ", ".join(LAYOUTS)
    asked = f"is no checkpoint for {layout}" if layout else f"is of no layout that meisho knows ({known})"
    keys = ", ".join(f"{key:.60}" for key in [*file.state][:3]) or "nothing"
    return (
        f"{asked}; its weights begin with {keys}. For weights of a timm backbone say "
        "--model timm:NAME --weights FILE; for a network of your own use meisho.wrap_module"
    )


def triple(held: object, default: tuple[float, ...]) -> tuple[float, ...]:
    """Return three numbers of a file, a mean or deviation per channel; anything else gives the default."""
    array = plain_array(held)
    values = array.reshape(-1).tolist() if array is not None else held
    if not isinstance(values, list | tuple) or not all(isinstance(value, int | float) for value in values):
        return default
    return tuple(map(float, values)) if len(values) == 3 else default


def under(prefix: str, state: StateDict) -> StateDict:
    """Return what stands under a prefix, without it."""
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
