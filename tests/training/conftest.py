import pytest
from places import recipe_values, write_places

from meisho.config import parse_config
from meisho.training.recipe import Recipe


@pytest.fixture(scope="session")
def places(tmp_path_factory):
    """A folder of 6 landmarks with 6 photos each."""
    return write_places(tmp_path_factory.mktemp("places") / "photos")


@pytest.fixture
def make_recipe(places):
    """Make a small recipe; tables given replace keys of the small one."""

    def make(**tables):
        return parse_config(recipe_values(places, **tables), Recipe, source="test")

    return make
