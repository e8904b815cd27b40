"""A plain city is drawn byte for byte as it always was, whatever else the city has learnt to draw."""

import hashlib

import cv2
import numpy as np
import pytest

from meisho.toycity import build_toycity
from meisho.toycity.kinds.building import landmark_site, street_site
from meisho.toycity.photo import take_photo
from meisho.toycity.site import VIEW, stream

RECORDS = "28bc36a46f02fda6"
PHOTOS = {
    (False, 0, 0): "21182b999faef438",  # sunny, crowded
    (False, 5, 1): "0e5d3d27cdbbecec",  # snow
    (False, 8, 2): "9a2c05e91a332708",  # sunny
    (False, 16, 3): "b6776324d1927b68",  # sunny, a detail
    (False, 23, 0): "e0a616760afdc7cc",  # snow, from an angle
    (False, 9, 4): "5defc813c38c78af",  # rain
    (True, 3, 1): "c1e200824b8db463",
}
"""(street, number, view) -> digest of the pixels."""
DRAWN_WITH = ("5", "2")
"""OpenCV and NumPy; other versions may smooth slightly differently."""


def sha256(data):
    return hashlib.sha256(data).hexdigest()[:16]


def test_the_records_of_a_plain_city_are_as_before(tmp_path):
    """Cameras, facades and labels depend on NumPy's streams alone."""
    build_toycity(tmp_path / "city", landmarks=3, views=3, distractors=2, num_workers=0)
    assert sha256((tmp_path / "city" / "toycity.json").read_bytes()) == RECORDS


@pytest.mark.parametrize(("street", "number", "view"), PHOTOS)
def test_a_plain_photo_is_as_before(street, number, view):
    versions = cv2.__version__.split(".")[0], np.__version__.split(".")[0]
    if versions != DRAWN_WITH:
        pytest.skip(f"the digests are of OpenCV and NumPy {DRAWN_WITH}, here are {versions}")
    site = (street_site if street else landmark_site)(0, number)
    shot = take_photo(stream(0, VIEW, 2 * number + street, view), site, fair=False)
    assert sha256(shot.pixels.tobytes()) == PHOTOS[street, number, view]
