"""Recipes: everything that decides a training run, as it stands in a TOML file (see `recipes/`).

The classes are the only defaults; those of the tables are in `recipe_tables`. `load_recipe` reads a file; the
resolved recipe is written beside the run.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from meisho.config import check_options, load_config
from meisho.layers.margin_heads import HEADS, MarginHead
from meisho.layers.pair_losses import PAIR_LOSSES, PairLoss
from meisho.tables import say_nearest
from meisho.training.augmentation import augmentation_of
from meisho.training.ranges import check_ranges
from meisho.training.recipe_tables import (
    AugmentationRecipe,
    AverageRecipe,
    DataRecipe,
    DistillationRecipe,
    HardwareRecipe,
    HeadRecipe,
    LocalRecipe,
    MiningRecipe,
    ModelRecipe,
    OptimiserRecipe,
    PairRecipe,
    SamplingRecipe,
    ScheduleRecipe,
    ValidationRecipe,
    WhiteningRecipe,
    check,
)
from meisho.training.sampling import SAMPLERS


@dataclass(frozen=True)
class Recipe:
    """A training run.

    Attributes:
        kind: "descriptors" trains a global extractor, "delg-local" DELG's local head.
        seed: Seed of everything random.
        data: Labelled photos.
        model: The network.
        head: Its margin head.
        pairs: A loss on pairs.
        distillation: A teacher.
        local: What is special to "delg-local".
        augmentation: How photos are changed.
        sampling: Which photos make a batch.
        mining: Which photos make a batch, if they are to be hard to tell apart.
        optimiser: The optimiser.
        schedule: How long, and what changes meanwhile.
        validation: What chooses the best checkpoint.
        average: The mean with the weights before training, made at the end.
        whitening: A whitening fitted after that.
        hardware: How it is computed.
    """

    data: DataRecipe
    kind: Literal["descriptors", "delg-local"] = "descriptors"
    seed: int = 0
    model: ModelRecipe = field(default_factory=ModelRecipe)
    head: HeadRecipe = field(default_factory=HeadRecipe)
    pairs: PairRecipe = field(default_factory=PairRecipe)
    distillation: DistillationRecipe = field(default_factory=DistillationRecipe)
    local: LocalRecipe = field(default_factory=LocalRecipe)
    augmentation: AugmentationRecipe = field(default_factory=AugmentationRecipe)
    sampling: SamplingRecipe = field(default_factory=SamplingRecipe)
    mining: MiningRecipe = field(default_factory=MiningRecipe)
    optimiser: OptimiserRecipe = field(default_factory=OptimiserRecipe)
    schedule: ScheduleRecipe = field(default_factory=ScheduleRecipe)
    validation: ValidationRecipe = field(default_factory=ValidationRecipe)
    average: AverageRecipe = field(default_factory=AverageRecipe)
    whitening: WhiteningRecipe = field(default_factory=WhiteningRecipe)
    hardware: HardwareRecipe = field(default_factory=HardwareRecipe)

    def __post_init__(self) -> None:
        check_ranges(self)
        self._check_tables()
        if self.kind == "delg-local":
            self._check_local()
        losses = (self.head.name, self.pairs.name, self.distillation.teacher)
        check(any(name != "none" for name in losses), "head, pairs, distillation: one must not be 'none'")
        needs_average = self.distillation.teacher == "self" and self.schedule.ema_decay is None
        check(not needs_average, "distillation.teacher='self' needs schedule.ema_decay")
        parts = self.hardware.accumulate
        size = self.sampling.batch_size
        check(size % parts == 0, f"sampling.batch_size={size} is no multiple of hardware.accumulate={parts}")
        if self.mining.num_negatives:
            of_tuple = self.mining.num_negatives + 2
            check(
                not self.sampling.by_aspect, "mining makes its own batches; sampling.by_aspect must be false"
            )
            check(
                size // parts % of_tuple == 0,
                f"batch_size={size} in {parts} parts holds no whole tuples of {of_tuple} photos "
                "(mining.num_negatives + 2)",
            )
        check(
            not (self.head.shard and self.hardware.precision == "fp16"), "head.shard: choose bf16, not fp16"
        )

    def _check_local(self) -> None:
        """Refuse what the local head of DELG would ignore."""
        given = {
            "whitening.kind": self.whitening.kind,
            "pairs.name": self.pairs.name,
            "distillation.teacher": self.distillation.teacher,
            "average.shares": self.average.shares or "none",
        }
        for key, value in given.items():
            check(value == "none", f"{key}={value!r}: kind 'delg-local' has none; leave it out")

    def _check_tables(self) -> None:
        """Check what is known by a name, and its options."""
        head, pairs, sampling = self.head, self.pairs, self.sampling
        augmentation_of(self.augmentation)
        _check_name("head.name", head.name, ["none", *HEADS])
        _check_name("pairs.name", pairs.name, ["none", *PAIR_LOSSES])
        _check_name("sampling.name", sampling.name, SAMPLERS)
        if head.name != "none":
            not_asked = ("class_sizes", "shard")  # they come from the photos and the processes
            check_options(
                head.options, MarginHead, HEADS[head.name], key="head.options", no_options=not_asked
            )
        if pairs.name != "none":
            check_options(pairs.options, PairLoss, PAIR_LOSSES[pairs.name], key="pairs.options")
        check_options(sampling.options, SAMPLERS[sampling.name], key="sampling.options")


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe; `overrides` are "key=value".

    Args:
        path: A file, or the name of one that comes with meisho: "own_folder", "recipes/own_folder.toml".
        overrides: "key=value" in place of what it says.

    Raises:
        ConfigError: As for `load_config`.
    """
    bundled = {name: recipe for recipe in list_recipes() for name in (recipe.stem, f"recipes/{recipe.name}")}
    place = path if path.is_file() else bundled.get(path.as_posix(), path)
    return load_config(place, Recipe, overrides=overrides)


def list_recipes() -> tuple[Path, ...]:
    """Return the recipes that come with meisho: beside its modules, or at the root of its repository."""
    package = Path(__file__).parents[1]
    folders = (package / "recipes", package.parents[1] / "recipes")
    return tuple(sorted(next((f for f in folders if f.is_dir()), package).glob("*.toml")))


def _check_name(key: str, name: str, known: Collection[str]) -> None:
    check(name in known, f"{key} is {name!r}; {say_nearest(name, known)}")
