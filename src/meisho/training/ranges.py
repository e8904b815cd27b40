"""Ranges of every number of a recipe, in one table: what lies outside is refused with key and range."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass

from meisho.errors import ConfigError


@dataclass(frozen=True)
class Range:
    """From `low` to `high`; `above` and `below` leave the end itself out."""

    low: float
    high: float
    above: bool = False
    below: bool = False

    def holds(self, value: float) -> bool:
        """Say whether a number lies inside; NaN lies nowhere."""
        over = value > self.low if self.above else value >= self.low
        return over and (value < self.high if self.below else value <= self.high)

    def __str__(self) -> str:
        low, high = (f"{end:,}" if isinstance(end, int) else f"{end:g}" for end in (self.low, self.high))
        return f"{'above' if self.above else 'from'} {low} to {'below ' if self.below else ''}{high}"


_SEED = Range(0, 2**63 - 1)
_SHARE = Range(0, 1, below=True)
_RATE = Range(0, 1e30)  # what float32 holds: how far a rate diverges is found by training
_WEIGHT = Range(0, 1_000_000)
_DIM = Range(1, 65_536)
_COUNT = Range(1, 10**9)
_EPOCHS = Range(1, 100_000)
_EPOCH = Range(0, 100_000)
_SIDE_PX = Range(1, 10_000)
_ANGLE_RAD = Range(0, math.pi)

RANGES: Mapping[str, Mapping[str, Range]] = {
    "Recipe": {"seed": _SEED},
    "CityRecipe": {
        "landmarks": Range(1, 100_000),
        "views": Range(1, 100_000),
        "distractors": Range(0, 1_000_000),
        "faults": Range(0, 1),
        "renderings": Range(0, 1),
        "seed": _SEED,
    },
    "DataRecipe": {
        "min_photos": Range(1, 1_000_000),
        "cache_side_px": _SIDE_PX,
        "cache_gigabytes": Range(0, 1_000_000),
    },
    "ModelRecipe": {"p": Range(0, 1000, above=True), "projection_dim": _DIM, "max_side_px": _SIDE_PX},
    "HeadRecipe": {"weight": _WEIGHT},
    "PairRecipe": {"weight": _WEIGHT},
    "DistillationRecipe": {"weight": _WEIGHT},
    "LocalRecipe": {"dim": _DIM, "attention_weight": _WEIGHT, "reconstruction_weight": _WEIGHT},
    "SamplingRecipe": {"batch_size": Range(1, 1_000_000)},
    "MiningRecipe": {
        "num_negatives": Range(0, 10_000),
        "max_tuples": _COUNT,
        "max_pool": Range(2, 10**9),
    },
    "OptimiserRecipe": {
        "backbone_rate": _RATE,
        "head_rate": _RATE,
        "weight_decay": Range(0, 1000),
        "momentum": _SHARE,
        "second_momentum": _SHARE,
        "clip_norm": Range(0, 10**9, above=True),
    },
    "SizeRecipe": {"px": Range(32, 10_000), "from_epoch": _EPOCH},
    "FreezeRecipe": {"from_epoch": _EPOCH, "until_epoch": _EPOCH},
    "ScheduleRecipe": {
        "epochs": _EPOCHS,
        "warmup_epochs": _EPOCH,
        "end": Range(0, 1),
        "ema_decay": _SHARE,
    },
    "ValidationRecipe": {
        "share": _SHARE,
        "accuracy_photos": Range(0, 1_000_000),
        "max_queries": _COUNT,
        "every_epochs": _EPOCHS,
        "patience": _EPOCHS,
    },
    "AverageRecipe": {"shares": Range(0, 1, above=True, below=True)},
    "WhiteningRecipe": {"dim": _DIM, "shrinkage": Range(0, 10**9), "max_photos": Range(2, 10**9)},
    "HardwareRecipe": {
        "accumulate": Range(1, 100_000),
        "workers": Range(0, 1000),
        "save_every_steps": _COUNT,
    },
    "Augmentation": {
        **dict.fromkeys(("colour", "move", "cutout", "blur"), Range(0, 1)),
        **dict.fromkeys(("brightness", "contrast", "gamma", "scale", "shift"), _SHARE),
        "crop_area": Range(0, 1, above=True),
        "crop_ratio": Range(0.01, 100),
        "rotate_deg": Range(0, 180),
        "holes": Range(1, 1000),
        "hole_px": _SIDE_PX,
        "blur_px": Range(3, 1001),
    },
}
"""Table of a recipe -> its keys that are numbers -> what they may be."""

OPTION_RANGES: Mapping[str, Range] = {
    "scale": Range(0, 10_000, above=True),
    "sub_centres": Range(1, 1000),
    "label_smoothing": _SHARE,
    "seed": _SEED,
    "margin": Range(0, 2),
    "margin_rad": _ANGLE_RAD,
    "factor": Range(0, 10),
    "power": Range(0, 10),
    "least_rad": _ANGLE_RAD,
    "momentum": Range(0, 1),
    "num_negatives": Range(1, 10_000),
    "photos_per_epoch": Range(1, 10**12),
    "photos_per_class": Range(1, 1_000_000),
    "max_per_class": _COUNT,
}
"""Option of a head, a pair loss or a sampler -> what it may be; an augmentation is checked as a table."""

_OPTIONS_OF = ("HeadRecipe", "PairRecipe", "SamplingRecipe")


def check_ranges(config: object) -> None:
    """Refuse a recipe, or a table of one, in which a number lies outside its range.

    Raises:
        ConfigError: Naming the key and the range.
    """
    for key, value, allowed in _numbers(config, ""):
        if not allowed.holds(value):
            raise ConfigError(f"{key}={value}: must be {allowed}")


def _numbers(config: object, key: str) -> Iterator[tuple[str, float, Range]]:
    """Yield the keys, values and ranges of all numbers in a dataclass and those below it."""
    assert is_dataclass(config)
    ranges = RANGES.get(type(config).__name__, {})
    for name in (field.name for field in fields(config)):
        value = getattr(config, name)
        for part in value if isinstance(value, tuple) else (value,):
            if is_dataclass(part):
                yield from _numbers(part, f"{key}{name}.")
            elif name in ranges and part is not None:
                yield f"{key}{name}", part, ranges[name]
        if name == "options" and type(config).__name__ in _OPTIONS_OF:
            yield from _option_numbers(value, f"{key}options.")


def _option_numbers(options: Mapping[str, object], key: str) -> Iterator[tuple[str, float, Range]]:
    for name, value in options.items():
        for part in value if isinstance(value, list | tuple) else (value,):
            if name in OPTION_RANGES and isinstance(part, int | float):
                yield f"{key}{name}", part, OPTION_RANGES[name]
