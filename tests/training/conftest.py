import pytest
import torch
from places import recipe_values, write_places

from meisho.config import parse_config
from meisho.training.recipe import Recipe


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Networks this small take longer on several threads, above all where other work is going on."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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
