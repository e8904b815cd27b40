"""The pictures of the documents: in full colour, and the first one soon there."""

from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
PICTURES = sorted(path for path in (ROOT / "docs" / "images").iterdir() if path.suffix in (".png", ".jpg"))


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.name)
def test_a_picture_is_in_full_colour(picture):
    with Image.open(picture) as opened:
        assert opened.mode in ("RGB", "RGBA")


def test_the_first_picture_is_soon_there():
    assert (ROOT / "docs" / "images" / "page.jpg").stat().st_size < 200_000
