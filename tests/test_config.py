import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meisho.config import check_options, config_toml, config_values, load_config, parse_config
from meisho.errors import ConfigError


@dataclass(frozen=True)
class Stage:
    name: str
    depth: int = 10


@dataclass(frozen=True)
class Schedule:
    epochs: int = 10
    rate: float = 0.1
    warm: bool = False

    def __post_init__(self):
        if self.epochs < 1:
            raise ConfigError(f"epochs={self.epochs}: must be at least 1")


@dataclass(frozen=True)
class Recipe:
    title: str
    root: Path | None = None
    kind: Literal["a", "b"] = "a"
    scales: tuple[float, ...] = (1.0,)
    schedule: Schedule = Schedule()
    stages: tuple[Stage, ...] = ()
    options: dict[str, object] = field(default_factory=dict)
    length: int | str | None = None


def write(folder, text):
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


FULL = """
title = "a \\"title\\""
root = "photos/日本"
kind = "b"
scales = [1, 0.5]
length = "long"
[schedule]
epochs = 3
warm = true
[options]
pooling = "max"
inner = { "a key" = [1, 2] }
[[stages]]
name = "expansion"
[[stages]]
name = "diffusion"
depth = 3
"""


def test_a_file_becomes_the_dataclass(tmp_path):
    recipe = load_config(write(tmp_path, FULL), Recipe)
    assert recipe == Recipe(
        title='a "title"',
        root=Path("photos/日本"),
        kind="b",
        scales=(1.0, 0.5),
        schedule=Schedule(3, 0.1, True),
        stages=(Stage("expansion"), Stage("diffusion", 3)),
        options={"pooling": "max", "inner": {"a key": [1, 2]}},
        length="long",
    )
    assert isinstance(recipe.scales[0], float)


def test_what_is_left_out_has_the_defaults_of_the_class(tmp_path):
    assert load_config(write(tmp_path, "title = 'x'"), Recipe) == Recipe("x")


def test_the_resolved_configuration_is_read_back_equal(tmp_path):
    for recipe in (Recipe("x"), load_config(write(tmp_path, FULL), Recipe)):
        text = config_toml(recipe)
        assert "epochs = " in text and "rate = 0.1" in text
        assert load_config(write(tmp_path, text), Recipe) == recipe
        assert parse_config(config_values(recipe), Recipe, source="x") == recipe


@given(st.text(), st.floats(allow_nan=False), st.lists(st.text(max_size=5), max_size=3))
def test_any_text_and_number_survives_being_written(text, number, names):
    import tomllib

    recipe = Recipe(text, scales=(number,), stages=tuple(Stage(n) for n in names), options={text: number})
    values = tomllib.loads(config_toml(recipe))
    assert parse_config(values, Recipe, source="x") == recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("titel = 'x'", "the key 'titel' is not known; the nearest is 'title'"),
        (
            "title = 'x'\n[schedule]\nepoch = 1",
            "'schedule.epoch' is not known; the nearest is 'schedule.epochs'",
        ),
        ("kind = 'a'", "'title' is missing"),
        ("title = 3", "title is 3, expected text"),
        ("title = 'x'\nkind = 'c'", "kind is 'c', expected one of a, b"),
        ("title = 'x'\nkind = []", "expected one of a, b"),
        ("title = 'x'\nscales = 1", "scales is 1, expected an array, each a number"),
        ("title = 'x'\nscales = [1, 'y']", r"scales\[1\] is 'y', expected a number"),
        ("title = 'x'\nschedule = 3", "schedule is 3, expected a table"),
        ("title = 'x'\nlength = 1.5", "length is 1.5, expected a whole number or text"),
        ("title = 'x'\n[schedule]\nepochs = 1.5", "schedule.epochs is 1.5, expected a whole number"),
        ("title = 'x'\n[schedule]\nepochs = true", "schedule.epochs is True, expected a whole number"),
        ("title = 'x'\n[schedule]\nrate = true", "schedule.rate is True, expected a number"),
        ("title = 'x'\n[schedule]\nwarm = 1", "schedule.warm is 1, expected true or false"),
        ("title = 'x'\n[schedule]\nepochs = 0", r"\[schedule\] epochs=0: must be at least 1"),
        ("title = 'x'\n[[stages]]\ndepth = 1", r"'stages\[0\].name' is missing"),
        ("title = 'x'\noptions = 3", "options is 3, expected a table"),
        ("title = ", "is no TOML"),
    ],
)
def test_an_error_says_file_key_and_what_was_expected(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message) as error:
        load_config(write(tmp_path, text), Recipe)
    assert str(error.value).startswith(str(tmp_path / "recipe.toml"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none.toml: cannot be read \(No such file"):
        load_config(tmp_path / "none.toml", Recipe)


def test_overrides_replace_what_the_file_says(tmp_path):
    path = write(tmp_path, FULL)
    changes = ["schedule.epochs=7", "title=plain words", "scales=[2]", "options.pooling = 'avg'", "root=/a/b"]
    recipe = load_config(path, Recipe, overrides=changes)
    assert recipe.schedule == Schedule(7, 0.1, True)
    assert (recipe.title, recipe.scales, recipe.options["pooling"]) == ("plain words", (2.0,), "avg")
    assert recipe.root == Path("/a/b")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("epochs", "expected KEY=VALUE"),
        ("=3", "expected KEY=VALUE"),
        ("title.x=3", "title is no table"),
        ("schedule.epoch=3", "the nearest is 'schedule.epochs'"),
        ("schedule.epochs=many", "schedule.epochs is 'many', expected a whole number"),
    ],
)
def test_a_wrong_override_is_told(tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        load_config(write(tmp_path, "title = 'x'"), Recipe, overrides=[change])


def test_a_key_that_stands_in_a_table_is_found_there():
    with pytest.raises(
        ConfigError, match=r"'epochs' is not known; the nearest is 'schedule\.epochs' \(all: "
    ):
        parse_config({"title": "a", "epochs": 3}, Recipe, source="f")
    with pytest.raises(ConfigError, match=r"the nearest is 'title' \(all: title, root"):
        parse_config({"titel": "a"}, Recipe, source="f")


# --- options of a function


def spin(top, turns: int = 1, speed: float | Sequence[float] = 1.0, side: Literal["left", "right"] = "left"):
    """Take something to spin, and options."""


class Spinner:
    """Takes options by its constructor."""

    def __init__(self, *, is_fast: bool = False, top: str | None = None) -> None:
        self.is_fast = is_fast


@pytest.mark.parametrize(
    "options", [{}, {"turns": 2, "speed": 3}, {"speed": [1, 2.5]}, {"side": "right", "is_fast": True}]
)
def test_options_of_the_right_types_are_taken(options):
    check_options(options, spin, Spinner, key="a.options")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"turns": "abc"}, "a.options.turns is 'abc', expected a whole number"),
        ({"turns": 2.5}, "a.options.turns is 2.5, expected a whole number"),
        ({"speed": "fast"}, "a.options.speed is 'fast', expected a number or an array, each a number"),
        ({"side": "up"}, "a.options.side is 'up', expected one of left, right"),
        ({"is_fast": 1}, "a.options.is_fast is 1, expected true or false"),
        ({"turn": 2}, "the key 'a.options.turn' is not known; the nearest is 'a.options.turns'"),
        ({"top": "x"}, "the key 'a.options.top' is not known"),
    ],
)
def test_options_of_wrong_names_or_types_are_told_with_their_key(options, message):
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}"):
        check_options(options, spin, Spinner, key="a.options", no_options=["top"])
