import fractions

import pytest

from meisho.errors import ConfigError
from meisho.tables import find_nearest, load_named, require_name, require_options, say_nearest

TABLE = {"fraction": "fractions:Fraction", "decimal": "decimal:Decimal"}


def test_a_name_is_imported_on_use():
    assert load_named("fraction", TABLE, what="number") is fractions.Fraction


@pytest.mark.parametrize("name", ["fractoin", "", "decimals"])
def test_an_unknown_name_is_refused_with_the_nearest_and_all(name):
    near = "decimal" if name == "decimals" else "fraction"
    message = rf"no number is called '{name}'; the nearest is '{near}' \(all: fraction, decimal\)"
    with pytest.raises(ConfigError, match=message if name else "no number is called ''; the nearest is"):
        load_named(name, TABLE, what="number")
    with pytest.raises(ConfigError):
        require_name(name, TABLE, what="number")


def test_an_unknown_option_is_refused_with_the_nearest_and_all():
    require_options({"k": 3}, ["k", "alpha"], of="alpha-qe")
    with pytest.raises(
        ConfigError, match=r"alpha-qe has no option 'aplha'; the nearest is 'alpha' \(all: k, alpha\)"
    ):
        require_options({"k": 3, "aplha": 2}, ["k", "alpha"], of="alpha-qe")
    with pytest.raises(ConfigError, match="it has no option 'k'; there are none"):
        require_options(["k"], [], of="it")


def test_a_word_of_the_command_line_finds_its_option():
    assert find_nearest("size", ["scales", "max_side_px"]) == ["max_side_px"]
    assert find_nearest("size", ["scales", "sizes"]) == ["sizes"]


def test_what_is_not_alike_is_not_near_above_a_cutoff():
    assert find_nearest("abc", ["xyz"], cutoff=0.6) == []
    assert find_nearest("abd", ["abc", "abe", "xyz"], most=2, cutoff=0.6) == ["abe", "abc"]
    assert say_nearest("abc", ["xyz"]) == "the nearest is 'xyz' (all: xyz)"
