"""Every number of a recipe has a range, and what lies outside is refused with its key and the range."""

import dataclasses
import inspect
import typing

import pytest

from meisho.errors import ConfigError
from meisho.layers.margin_heads import HEADS, MarginHead
from meisho.layers.pair_losses import PAIR_LOSSES, PairLoss
from meisho.training.augmentation import Augmentation
from meisho.training.ranges import OPTION_RANGES, RANGES
from meisho.training.recipe import Recipe, load_recipe
from meisho.training.sampling import SAMPLERS

BASE = '[data]\ndataset = "folder"\nroot = "photos"\n'


def holds_numbers(hint):
    parts = typing.get_args(hint)
    return hint in (int, float) or (bool not in (hint, *parts) and any(map(holds_numbers, parts)))


def tables_below(cls, key=""):
    """Yield (key, class) of a recipe and of every table below it."""
    yield key, cls
    for name, hint in typing.get_type_hints(cls).items():
        inner = [part for part in (hint, *typing.get_args(hint)) if dataclasses.is_dataclass(part)]
        for part in inner:
            yield from tables_below(part, f"{key}{name}.")


def numbers_of(cls):
    return {name for name, hint in typing.get_type_hints(cls).items() if holds_numbers(hint)}


def options_of(*takers):
    """Yield the options of functions and classes that hold numbers."""
    for taker in takers:
        for each in inspect.signature(taker, eval_str=True).parameters.values():
            if each.default is not each.empty and holds_numbers(each.annotation):
                yield each.name


def test_every_number_has_a_range():
    classes = {cls.__name__: cls for _, cls in [*tables_below(Recipe), ("", Augmentation)]}
    numbers = {name: numbers_of(cls) for name, cls in classes.items()}
    assert {name: {*ranges} for name, ranges in RANGES.items()} == {n: v for n, v in numbers.items() if v}
    takers = (MarginHead, PairLoss, *HEADS.values(), *PAIR_LOSSES.values(), *SAMPLERS.values())
    assert {*OPTION_RANGES} == {*options_of(*takers)} - {"class_sizes"}


def keys():
    for key, cls in tables_below(Recipe):
        for name in RANGES.get(cls.__name__, {}):
            yield f"{key}{name}"
    for kinds, table in ((HEADS, "head"), (PAIR_LOSSES, "pairs"), (SAMPLERS, "sampling")):
        of_all = {"head": [MarginHead], "pairs": [PairLoss]}.get(table, [])
        for kind, taker in kinds.items():
            for name in {*options_of(taker, *of_all)} - {"class_sizes"}:
                yield f"{table}.name={kind} {table}.options.{name}"
    for name in numbers_of(Augmentation):
        yield f"augmentation.options.{name}"


@pytest.mark.parametrize("key", sorted(keys()))
@pytest.mark.parametrize("value", ["nan", "-1e300", "1e300", "-1", "9223372036854775807", "-inf", "inf"])
def test_a_number_outside_is_refused_with_its_key(tmp_path, key, value):
    path = tmp_path / "r.toml"
    path.write_text(BASE)
    *others, key = key.split()
    if key.startswith("schedule.sizes."):
        parts = {"px": "64", "from_epoch": "0"} | {key.rpartition(".")[2]: value}
        setting = f"schedule.sizes=[{{px={parts['px']}, from_epoch={parts['from_epoch']}}}]"
    elif key.startswith("schedule.freezes."):
        setting = f"schedule.freezes=[{{names=['head'], {key.rpartition('.')[2]}={value}}}]"
    elif key.rpartition(".")[2] in ("crop_area", "crop_ratio"):
        setting = f"{key}=[0.5, {value}]"
    else:
        setting = f"{key}={value}"
    if value == "9223372036854775807" and key.endswith(("seed", "_rate")):  # inside, and read
        load_recipe(path, [*others, setting])
        return
    with pytest.raises(ConfigError) as refused:
        load_recipe(path, [*others, setting])
    message = str(refused.value)
    assert "r.toml" in message and key.rpartition(".")[2] in message and message.isprintable()
    assert "must" in message or "expected" in message
