"""Kinds of places: each one in the table is asked the same."""

import numpy as np
import pytest

from meisho.describing import Describer
from meisho.errors import ConfigError, DatasetError
from meisho.extractors.base import load_extractor
from meisho.photo_folder import find_photos
from meisho.toycity import Variety, build_toycity, landmark_labels, load_toycity
from meisho.toycity.kinds import KINDS, draw_place
from meisho.toycity.photo import take_photo
from meisho.toycity.plots import SIBLINGS, Plot
from meisho.toycity.records import read_records
from meisho.toycity.site import VIEW, stream

MOST_LABELLED = 254
"""Surfaces that a map of what is visible has numbers for."""
NUMBERS = (0, 4, 11)
"""Landmarks that are looked at; siblings share what they look like, these do not."""


def shots(kind, number, count, *, fair=True):
    site = draw_place(Plot(0, kind, number, False))
    return [take_photo(stream(0, VIEW, number, i), site, fair=fair) for i in range(count)]


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def sites(kind):
    return [draw_place(Plot(0, kind, number, False)) for number in NUMBERS]


def test_a_place_is_sound(sites):
    for site in sites:
        assert 0 < site.num_building <= len(site.surfaces)
        assert any(s.facade for s in site.surfaces[:MOST_LABELLED])
        assert not any(s.facade for s in site.surfaces[site.num_building :])
        corners = np.concatenate([s.corners for s in site.surfaces])
        assert np.isfinite(corners).all()
        own = np.concatenate([s.corners for s in site.surfaces[: site.num_building]])
        width, depth, height = site.extent
        assert np.ptp(own[:, 0]) == pytest.approx(width, abs=0.01)
        assert own[:, 1].max() <= max(depth, 0.1) + 0.01
        assert own[:, 2].max() == pytest.approx(height, abs=0.01)
        assert own[:, 2].min() > -3


def test_surfaces_are_planes_with_their_texture_square_on_them(sites):
    for site in sites:
        for surface in site.surfaces:
            assert np.linalg.norm(surface.u) == pytest.approx(1, abs=1e-6)
            assert np.linalg.norm(surface.v) == pytest.approx(1, abs=1e-6)
            assert surface.u @ surface.v == pytest.approx(0, abs=1e-6)


def test_a_fair_photo_shows_the_landmark_in_its_box(kind):
    for number in NUMBERS:
        for shot in shots(kind, number, 2):
            assert shot.pixels.shape == (shot.camera.height, shot.camera.width, 3)
            assert shot.shown.shape == shot.pixels.shape[:2]
            assert (shot.shown > 0).mean() > 0.04
            assert shot.pixels.std() > 15
            x0, y0, x1, y1 = shot.box
            assert 0 <= x0 < x1 <= shot.camera.width
            assert 0 <= y0 < y1 <= shot.camera.height


def test_the_same_numbers_draw_the_same_photo_and_others_another(kind):
    first, again, other = (
        take_photo(stream(0, VIEW, 1), draw_place(Plot(seed, kind, 1, False)), fair=False).pixels
        for seed in (3, 3, 4)
    )
    assert first.tobytes() == again.tobytes()
    assert first.shape != other.shape or (first != other).mean() > 0.3


def test_places_have_names_of_their_own(kind):
    plots = [Plot(0, kind, number, street) for number in range(6) for street in (False, True)]
    assert len({draw_place(plot).name for plot in plots}) == len(plots)


def test_a_place_that_distracts_is_no_landmark(kind):
    landmark, street = (draw_place(Plot(0, kind, 1, street)) for street in (False, True))
    assert [s.corners.tolist() for s in landmark.surfaces] != [s.corners.tolist() for s in street.surfaces]


@pytest.fixture(scope="module")
def describer():
    return Describer(load_extractor("default"))


def test_photos_of_a_landmark_are_more_alike_than_those_of_its_siblings(kind, describer, tmp_path):
    """By the default descriptor, in fair weather: siblings look alike, but not as much as one place."""
    first = SIBLINGS if kind != "building" else 0
    step = 1 if kind != "building" else 12
    for sibling in range(3):
        for i, shot in enumerate(shots(kind, first + step * sibling, 4)):
            (tmp_path / f"{sibling}_{i}.jpg").write_bytes(shot.jpeg)
    descriptors = describer.describe(find_photos(tmp_path).photos)
    alike = descriptors.vectors @ descriptors.vectors.T
    place = np.repeat(np.arange(3), 4)
    same = (place[:, None] == place) & ~np.eye(12, dtype=bool)
    assert alike[same].mean() > alike[place[:, None] != place].mean() + 0.02


def test_a_city_of_several_kinds_takes_them_in_turn(tmp_path):
    kinds = ("statue", "building", "bridge")
    root = tmp_path / "city"
    build_toycity(root, landmarks=4, views=2, distractors=7, seed=5, variety=Variety(kinds), num_workers=0)
    records = read_records(root)
    assert records.parameters.variety.kinds == kinds
    families = {site.landmark: site.family for site in records.sites}
    assert [families[i] for i in (0, 2, 3)] == ["statue", "bridge", "statue"]
    dataset = load_toycity(root)
    assert len(dataset.database) == 4 * 2 + 7
    assert sorted(set(landmark_labels(root, "database"))) == [-1, 0, 1, 2, 3]
    for query in range(len(dataset.queries)):
        graded = [getattr(dataset.ground_truth, grade)[query] for grade in ("easy", "hard", "junk")]
        assert sum(map(len, graded)) == 2
    with pytest.raises(DatasetError, match="but you asked for"):
        build_toycity(root, landmarks=4, views=2, distractors=7, seed=5, num_workers=0)


def test_workers_draw_kinds_as_this_process_does(tmp_path):
    small = {"landmarks": 2, "views": 1, "distractors": 1, "variety": Variety(("tower", "statue"))}
    build_toycity(tmp_path / "one", **small, num_workers=0)
    build_toycity(tmp_path / "two", **small, num_workers=2)
    one, two = (
        {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()}
        for root in (tmp_path / "one", tmp_path / "two")
    )
    assert one == two


@pytest.mark.parametrize(
    ("kinds", "message"), [(("statu",), "'statu'; the nearest is 'statue'"), ((), "names no kind")]
)
def test_kinds_that_are_not_known_are_refused(kinds, message):
    with pytest.raises(ConfigError, match=message):
        Variety(kinds)
