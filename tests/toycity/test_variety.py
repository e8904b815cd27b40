"""Faults of cameras, renderings and seasons: what a city draws beyond plain photos."""

import numpy as np
import pytest

from meisho.errors import ConfigError
from meisho.toycity import Variety, build_toycity
from meisho.toycity.faults import FAULTS, spoil
from meisho.toycity.kinds import draw_place
from meisho.toycity.light import SEASONS, SKIES, Light
from meisho.toycity.photo import take_photo
from meisho.toycity.plots import Plot
from meisho.toycity.raster import draw_surfaces
from meisho.toycity.records import read_records
from meisho.toycity.renderings import RENDERINGS
from meisho.toycity.site import VIEW, stream
from meisho.toycity.variety import PLAIN
from meisho.toycity.views import MANNERS, place_camera

CHANGES = {**FAULTS, **RENDERINGS, "spoil": spoil}


@pytest.fixture(scope="module")
def site():
    return draw_place(Plot(0, "statue", 0, False))


@pytest.fixture(scope="module")
def plain(site):
    return take_photo(stream(0, VIEW, 0), site, fair=True).pixels


def coarse(pixels):
    """What is seen from afar: the mean grey of blocks of 8 x 8 pixels."""
    grey = pixels.astype(float).mean(axis=2)
    height, width = (side // 8 * 8 for side in grey.shape)
    return grey[:height, :width].reshape(height // 8, 8, width // 8, 8).mean(axis=(1, 3)).ravel()


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_photo_still_shows_the_place_and_is_the_same_each_time(plain, name):
    before = plain.copy()
    one, two = (CHANGES[name](np.random.default_rng(3), plain) for _ in range(2))
    assert one.dtype == np.uint8 and one.shape == plain.shape
    assert one.tobytes() == two.tobytes()
    assert (one != before).mean() > 0.05
    assert plain.tobytes() == before.tobytes()
    assert abs(np.corrcoef(coarse(before), coarse(one))[0, 1]) > 0.5


@pytest.mark.parametrize("name", CHANGES)
def test_no_photo_is_too_small_or_too_dark_to_be_changed(name):
    for shape in ((40, 61, 3), (9, 8, 3)):
        for value in (0, 255):
            changed = CHANGES[name](np.random.default_rng(0), np.full(shape, value, dtype=np.uint8))
            assert changed.shape == shape


def test_a_variety_changes_the_picture_and_nothing_else(site):
    plain, same, spoilt, painted = (
        take_photo(stream(0, VIEW, 5), site, fair=False, variety=variety)
        for variety in (PLAIN, Variety(("statue",)), Variety(faults=1.0), Variety(renderings=1.0))
    )
    assert plain.jpeg == same.jpeg
    for shot in (spoilt, painted):
        assert (shot.pixels != plain.pixels).mean() > 0.05
        assert (shot.shown == plain.shown).all()
        assert shot.sky == plain.sky
        assert shot.camera.position.tolist() == plain.camera.position.tolist()
    assert painted.manner in RENDERINGS
    assert spoilt.manner == plain.manner


def test_a_fair_photo_is_plain(site):
    shots = [
        take_photo(stream(0, VIEW, 6), site, fair=True, variety=variety)
        for variety in (PLAIN, Variety(faults=1.0, renderings=1.0))
    ]
    assert shots[0].jpeg == shots[1].jpeg


def test_seasons_change_what_grows_and_nothing_else():
    site = draw_place(Plot(0, "tree", 0, False))
    camera = place_camera(stream(0, VIEW, 0), site, MANNERS[0])
    sun = np.array([0.0, -1.0, 0.0])
    drawings = [
        draw_surfaces(site.surfaces, camera, Light(SKIES[2], sun, (0.0, 1.0, 1e6), season))
        for season in SEASONS
    ]
    grows = np.array([s.grows for s in site.surfaces] + [False])[drawings[0].shown]
    assert grows.any() and not grows.all()
    for drawing in drawings[1:]:
        changed = (drawing.color != drawings[0].color).any(axis=2)
        assert changed[grows].mean() > 0.5
        assert not changed[~grows].any()


def test_a_city_says_which_photos_are_renderings(tmp_path):
    build_toycity(
        tmp_path / "city", landmarks=1, views=4, distractors=0, variety=Variety(renderings=1.0), num_workers=0
    )
    records = read_records(tmp_path / "city")
    assert records.parameters.variety == Variety(renderings=1.0)
    manners = {photo.id[-2:]: photo.manner for photo in records.photos}
    assert manners.pop("q0") == "postcard"
    assert set(manners.values()) <= set(RENDERINGS)


@pytest.mark.parametrize(("name", "value"), [("faults", -0.1), ("faults", 1.5), ("renderings", 2.0)])
def test_shares_beyond_their_range_are_refused(name, value):
    with pytest.raises(ConfigError, match=f"{name}={value} is no share from 0 to 1"):
        Variety(**{name: value})
