import inspect
import io
import json
import math
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from meisho.datasets.base import load_dataset
from meisho.describing import Describer
from meisho.errors import DatasetError, InputError
from meisho.evaluate.chance import expected_trapezoid
from meisho.extractors.base import load_extractor
from meisho.run.evaluating import evaluate_dataset, evaluate_random
from meisho.toycity import (
    build,
    build_toycity,
    facade_homographies,
    labels,
    landmark_labels,
    load_toycity,
    photo,
    true_correspondences,
)
from meisho.toycity.kinds.building import landmark_site
from meisho.toycity.light import SKIES, Light
from meisho.toycity.raster import draw_surfaces
from meisho.toycity.records import read_records
from meisho.toycity.site import VIEW, stream
from meisho.toycity.views import MANNERS, place_camera
from processes import group, kill, started, wait_until

SMALL = {"landmarks": 3, "views": 5, "distractors": 4}


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    root = tmp_path_factory.mktemp("toycity") / "city"
    build_toycity(root, **SMALL, num_workers=0)
    return root


def files_of(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_same_parameters_give_the_same_bytes_whatever_the_number_of_workers(city, tmp_path):
    build_toycity(tmp_path / "again", **SMALL, num_workers=2)
    assert files_of(city) == files_of(tmp_path / "again")


def test_another_seed_is_another_city(city, tmp_path):
    build_toycity(tmp_path / "other", landmarks=1, views=2, distractors=1, seed=1, num_workers=0)
    assert not set(files_of(city).values()) & set(files_of(tmp_path / "other").values())
    names = {site.name for site in read_records(city).sites}
    assert not names & {site.name for site in read_records(tmp_path / "other").sites}


def test_loads_as_a_dataset_by_name(city):
    dataset = load_dataset("toycity", city)
    assert len(dataset.database) == 3 * 5 + 4
    assert len(dataset.queries) == 2 + 1 + 2
    assert dataset.protocol == "revisitop"
    assert len(dataset.ground_truth.sha256) == 64
    assert [p.box is not None for p in dataset.queries] == [p.id.endswith("q0") for p in dataset.queries]
    for item in (*dataset.database, *dataset.queries):
        with Image.open(item.path) as image:
            upright = ImageOps.exif_transpose(image)
        assert upright.mode == "RGB"
        if item.box is not None:
            assert 0 <= item.box.x0 < item.box.x1 <= upright.width
            assert 0 <= item.box.y0 < item.box.y1 <= upright.height


def test_every_photo_of_the_landmark_has_one_grade_and_no_other_photo_has_any(city):
    ground_truth = load_toycity(city).ground_truth
    shown, asked = landmark_labels(city, "database"), landmark_labels(city, "query")
    for query, landmark in enumerate(asked):
        graded = [getattr(ground_truth, kind)[query] for kind in ("easy", "hard", "junk")]
        np.testing.assert_array_equal(np.sort(np.concatenate(graded)), np.flatnonzero(shown == landmark))
    assert sorted(set(shown)) == [-1, 0, 1, 2]
    assert (shown == -1).sum() == 4


def test_labels_of_an_unknown_role_are_refused(city):
    with pytest.raises(InputError, match=r"gallery.*choose one of database, query"):
        landmark_labels(city, "gallery")


def test_no_database_photo_equals_a_query(city):
    dataset = load_toycity(city)
    database = {p.path.read_bytes() for p in dataset.database}
    assert len(database) == len(dataset.database)
    assert not database & {p.path.read_bytes() for p in dataset.queries}


def visible_map(root, photo_id):
    return cv2.imread(str(root / "visible" / f"{photo_id}.png"), cv2.IMREAD_GRAYSCALE)


def point_on_plane(camera, plane, x, y):
    """Where the ray through a pixel meets a plane: plain geometry, no homography."""
    cx, cy = camera.principal
    ray = camera.rotation.T @ np.array([(x - cx) / camera.focal_px, (y - cy) / camera.focal_px, 1.0])
    normal = np.cross(plane.u, plane.v)
    return camera.position + ray * ((np.array(plane.origin) - camera.position) @ normal / (ray @ normal))


def magnification(camera, plane, point):
    """Px per metre at a point of a plane: the root of the area of a small square."""
    step = 1e-4
    corners = np.array([point, point + step * np.array(plane.u), point + step * np.array(plane.v)])
    pixels = camera.project(corners)[:, :2]
    (a, b), (c, d) = pixels[1] - pixels[0], pixels[2] - pixels[0]
    return math.sqrt(abs(a * d - b * c)) / step


def slow_grade(root, site, query, item):
    query_camera, camera = query.camera.camera(), item.camera.camera()
    query_map, shown = visible_map(root, query.id), visible_map(root, item.id)
    planes = {plane.number: plane for plane in site.planes}
    x0, y0, x1, y1 = query.box or (0, 0, query_camera.width, query_camera.height)
    asked, ratios = 0, []
    for y in range(0, query_camera.height, labels.GRID_PX):
        for x in range(0, query_camera.width, labels.GRID_PX):
            if query_map[y, x] == 0 or not (x0 <= x < x1 and y0 <= y < y1):
                continue
            asked += 1
            plane = planes[query_map[y, x]]
            point = point_on_plane(query_camera, plane, x, y)
            a, b, depth = camera.project(point[None])[0]
            if depth <= 0 or not (0 <= a <= camera.width - 1 and 0 <= b <= camera.height - 1):
                continue
            if shown[round(b), round(a)] == plane.number:
                ratios.append(magnification(camera, plane, point) / magnification(query_camera, plane, point))
    common = len(ratios) / asked
    zoom = np.median(ratios) if ratios else 1.0
    rays = [c.position - np.array(site.center) for c in (query_camera, camera)]
    cosine = rays[0] @ rays[1] / np.linalg.norm(rays[0]) / np.linalg.norm(rays[1])
    return common, math.degrees(math.acos(cosine)), max(zoom, 1 / zoom)


def test_grades_agree_with_a_slow_recomputation_from_rays(city):
    records = read_records(city)
    photos = {p.id: p for p in records.photos}
    sites = {s.name: s for s in records.sites}
    rng = np.random.default_rng(0)
    for number in rng.choice(len(records.grades), 8, replace=False):
        grade = records.grades[number]
        query, item = photos[grade.query], photos[grade.photo]
        common, angle, zoom = slow_grade(city, sites[query.site], query, item)
        assert common == pytest.approx(grade.common, abs=0.004)
        assert angle == pytest.approx(grade.angle_deg, abs=0.01)
        assert zoom == pytest.approx(grade.zoom, rel=0.01)
        share = (visible_map(city, item.id) > 0).mean()
        junk = common < labels.JUNK_COMMON or share < labels.JUNK_SHARE
        alike = common >= labels.EASY_COMMON and angle <= labels.EASY_ANGLE_DEG and zoom <= labels.EASY_ZOOM
        assert grade.grade == ("junk" if junk else "easy" if alike and not item.dim else "hard")


def nearest_surface(surfaces, camera, x, y):
    """Which surface a ray through a pixel meets first: every polygon is asked, cut-outs too."""
    cx, cy = camera.principal
    ray = camera.rotation.T @ np.array([(x - cx) / camera.focal_px, (y - cy) / camera.focal_px, 1.0])
    best, best_depth = -1, math.inf
    for number, surface in enumerate(surfaces):
        facing = surface.normal @ (camera.position - surface.corners[0])
        slant = ray @ surface.normal
        if (facing <= 0 and not surface.two_sided) or abs(slant) < 1e-9:
            continue
        depth = -facing / slant
        if not 0.3 < depth < best_depth:
            continue
        point = camera.position + ray * depth
        edges = np.roll(surface.corners, -1, axis=0) - surface.corners
        sides = np.cross(edges, point - surface.corners) @ surface.normal
        if not ((sides >= 0).all() or (sides <= 0).all()):
            continue
        if surface.texture.cutout:
            offset = (point - surface.origin) * surface.texture.px_per_m
            rows, columns = surface.texture.image.shape[:2]
            column, row = int(offset @ surface.u), int(offset @ surface.v)
            if surface.texture.image[min(row, rows - 1), min(column, columns - 1), 3] == 0:
                continue
        best, best_depth = number, depth
    return best


@pytest.mark.parametrize("number", [3, 5, 8])
def test_each_pixel_shows_the_surface_that_its_ray_meets_first(number):
    site = landmark_site(0, number)
    rng = stream(0, VIEW, number, 99)
    camera = place_camera(rng, site, MANNERS[1])
    light = Light(SKIES[0], np.array([0.0, -1.0, 0.0]), (0.0, 1.0, 5.0))
    shown = draw_surfaces(site.surfaces, camera, light).shown
    # at the edges of surfaces and of leaves a pixel is partly one thing and partly another: either is right
    flat = (cv2.dilate(shown, np.ones((3, 3))) == shown) & (cv2.erode(shown, np.ones((3, 3))) == shown)
    ys, xs = np.nonzero(flat[1:-1, 1:-1])
    picked = rng.choice(len(ys), 150, replace=False)
    wrong = [
        (x, y)
        for y, x in zip(ys[picked] + 1, xs[picked] + 1, strict=True)
        if nearest_surface(site.surfaces, camera, x, y) != shown[y, x]
    ]
    assert len(wrong) <= 1, wrong
    assert len(set(shown[ys, xs])) > 10


def easy_pairs(root):
    return [(g.query, g.photo) for g in read_records(root).grades if g.grade == "easy"]


def test_correspondences_lie_on_both_photos_and_follow_the_homographies(city):
    for a, b in easy_pairs(city)[:6]:
        pairs = true_correspondences(city, a, b)
        assert pairs.dtype == np.float64
        assert len(pairs) > 100
        height, width = visible_map(city, b).shape
        assert (pairs[:, 2:] >= 0).all()
        assert (pairs[:, 2:] <= [width - 1, height - 1]).all()
        facades = visible_map(city, a)[pairs[:, 1].astype(int), pairs[:, 0].astype(int)]
        for facade in facade_homographies(city, a, b):
            mine = pairs[facades == facade.facade]
            there = np.column_stack([mine[:, :2], np.ones(len(mine))]) @ facade.H_a_to_b.T
            np.testing.assert_allclose(there[:, :2] / there[:, 2:], mine[:, 2:], atol=1e-6)


def test_correspondences_in_the_other_direction_come_back(city):
    a, b = easy_pairs(city)[0]
    back = {h.facade: h.H_a_to_b for h in facade_homographies(city, b, a)}
    for facade in facade_homographies(city, a, b):
        if facade.facade in back:
            product = back[facade.facade] @ facade.H_a_to_b
            np.testing.assert_allclose(product / product[2, 2], np.eye(3), atol=1e-6)


def correlation(first, second):
    return np.corrcoef(first.astype(float), second.astype(float))[0, 1]


def test_correspondences_look_alike_in_the_photos_and_moved_ones_do_not():
    site = landmark_site(0, 1)
    first, second = (photo.take_photo(stream(0, VIEW, 1, 200 + i), site, fair=True) for i in (0, 1))
    planes = [(i + 1, s) for i, s in enumerate(site.surfaces) if s.facade]
    number, surface = max(planes, key=lambda p: (first.shown == p[0]).sum())
    H = second.camera.plane_to_photo(surface) @ np.linalg.inv(first.camera.plane_to_photo(surface))
    blurred = [
        cv2.GaussianBlur(cv2.cvtColor(s.pixels, cv2.COLOR_RGB2GRAY), (0, 0), 1.5) for s in (first, second)
    ]
    size = first.camera.width, first.camera.height
    warped, shown = (
        cv2.warpPerspective(image, H, size, flags=flags | cv2.WARP_INVERSE_MAP)
        for image, flags in ((blurred[1], cv2.INTER_LINEAR), (second.shown, cv2.INTER_NEAREST))
    )
    both = (first.shown == number) & (shown == number)
    assert both.sum() > 2000
    true = correlation(blurred[0][both], warped[both])
    moved = correlation(blurred[0][both], np.roll(warped, 7, axis=1)[both])
    assert true > 0.75
    assert true > moved + 0.25


def test_photos_of_different_places_have_nothing_in_common(city):
    photos = read_records(city).photos
    by_landmark = {p.landmark: p.id for p in photos}
    assert true_correspondences(city, by_landmark[0], by_landmark[1]).shape == (0, 4)
    assert true_correspondences(city, by_landmark[-1], by_landmark[-1]).shape == (0, 4)
    assert facade_homographies(city, by_landmark[0], by_landmark[2]) == ()


def test_an_unknown_photo_is_named(city):
    with pytest.raises(DatasetError, match="no photo has the id 'nowhere'"):
        true_correspondences(city, "nowhere", "nowhere")


def test_a_photo_that_lies_on_its_side_is_upright_by_its_exif(monkeypatch):
    monkeypatch.setattr(photo, "SHARE_TURNED", 1.1)
    shot = photo.take_photo(stream(0, VIEW, 2, 0), landmark_site(0, 2), fair=False)
    image = Image.open(io.BytesIO(shot.jpeg))
    assert image.size == (shot.camera.height, shot.camera.width)
    upright = np.asarray(ImageOps.exif_transpose(image)).astype(int)
    assert np.abs(upright - shot.pixels).mean() < 12


def test_a_build_that_is_there_is_kept(city):
    before = {path: path.stat().st_mtime_ns for path in city.rglob("*")}
    build_toycity(city, **SMALL)
    assert before == {path: path.stat().st_mtime_ns for path in city.rglob("*")}


def test_a_build_with_other_parameters_is_refused_and_both_are_named(city):
    with pytest.raises(DatasetError, match=r"landmarks=3.*seed=0.*landmarks=3.*seed=7"):
        build_toycity(city, **SMALL, seed=7)


def test_a_folder_with_other_things_is_not_touched(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DatasetError, match="neither empty nor a toy city"):
        build_toycity(tmp_path, **SMALL)
    assert files_of(tmp_path) == {"mine.txt": b"keep"}


def test_without_a_city_the_message_says_what_to_run(tmp_path):
    with pytest.raises(DatasetError, match=r"'meisho demo'.*build_toycity"):
        load_toycity(tmp_path)


@pytest.mark.parametrize(
    "content", ["", "{}", '{"format": 2, "parameters": {}}', '{"format": 99}', "[1]", "[" * 200_000]
)
def test_damaged_records_are_named(tmp_path, content):
    (tmp_path / "toycity.json").write_text(content)
    with pytest.raises(DatasetError, match=rf"toycity\.json.*delete {tmp_path} and build"):
        load_toycity(tmp_path)


@pytest.mark.parametrize(
    ("part", "change", "reason"),
    [
        ("grades", {"photo": "nowhere"}, "names a photo that does not exist"),
        ("grades", {"query": "nowhere"}, "names a photo that does not exist"),
        ("grades", {"grade": "medium"}, "a grade is one of easy, hard, junk"),
        ("photos", {"box": [1]}, "y1"),
        ("photos", {"box": [5, 0, 1, 9]}, "needs finite"),
        ("photos", {"box": [0, 0, "a", 9]}, "unsupported operand"),
        ("photos", {"id": "../../etc/passwd"}, "not the name of a photo"),
        ("photos", {"role": "gallery"}, "not one of database, query"),
        ("photos", {"site": "nowhere"}, "does not exist"),
        ("sites", {"planes": [{"number": 1, "origin": [0, 0], "u": [1, 0, 0], "v": [0, 0, 1]}]}, "the shape"),
        ("sites", {"surprise": 1}, "surprise"),
    ],
)
def test_records_that_do_not_fit_together_are_named(city, tmp_path, part, change, reason):
    records = json.loads((city / "toycity.json").read_text())
    records[part][0] |= change
    (tmp_path / "toycity.json").write_text(json.dumps(records))
    with pytest.raises(DatasetError, match=rf"toycity\.json: not a toy city's records \(.*{reason}"):
        load_toycity(tmp_path)


def test_a_broken_camera_is_named(city, tmp_path):
    records = json.loads((city / "toycity.json").read_text())
    records["photos"][0]["camera"]["rotation"].pop()
    (tmp_path / "toycity.json").write_text(json.dumps(records))
    with pytest.raises(DatasetError, match=r"the camera's rotation needs the shape \(3, 3\)"):
        load_toycity(tmp_path)


def test_a_city_of_another_drawing_is_refused_and_its_folder_named(city, monkeypatch):
    monkeypatch.setattr(build, "DRAWING", 99)
    with pytest.raises(DatasetError, match=rf"drawing=1.*asked for .*drawing=99.*delete {city}"):
        build_toycity(city, **SMALL)
    assert len(load_toycity(city).database) == 3 * 5 + 4  # it can still be read


@pytest.mark.parametrize("numbers", [{"landmarks": 0}, {"views": 0}, {"distractors": -1}, {"seed": -1}])
def test_impossible_numbers_are_refused(tmp_path, numbers):
    with pytest.raises(DatasetError, match="needs landmarks and views"):
        build_toycity(tmp_path / "city", **numbers)
    assert not list(tmp_path.iterdir())


def test_progress_counts_every_photo_once(tmp_path):
    seen = []
    build_toycity(
        tmp_path / "city",
        landmarks=1,
        views=1,
        distractors=7,
        num_workers=0,
        progress=lambda *n: seen.append(n),
    )
    assert seen == [(3, 10), (9, 10), (10, 10)]


def test_a_killed_build_is_not_taken_for_a_city_and_the_next_one_cleans_up(tmp_path):
    root = tmp_path / "city"
    code = f"from meisho.toycity import build_toycity as b; b({str(root)!r}, num_workers=1)"
    with started([sys.executable, "-c", code]) as process:
        wait_until(lambda: list(tmp_path.glob(".city.partial-*/database/*.jpg")), process)
        kill(process)
        wait_until(lambda: not group(process.pid))  # its workers end too
    left = list(tmp_path.glob(".city.partial-*"))
    assert len(left) == 1
    assert not root.exists()
    with pytest.raises(DatasetError, match="no toy city here"):
        load_toycity(root)
    build_toycity(root, landmarks=1, views=1, distractors=0, num_workers=0)
    assert len(load_toycity(root).database) == 1
    assert not left[0].exists()


def test_landmarks_twelve_apart_are_siblings_and_others_are_not():
    sites = {number: landmark_site(3, number) for number in (2, 14, 8)}
    assert sites[2].family == sites[14].family != sites[8].family
    assert sites[2].name != sites[14].name


def test_surfaces_are_never_changed_by_drawing():
    site = landmark_site(0, 2)
    before = [s.texture.image.copy() for s in site.surfaces]
    photo.take_photo(stream(0, VIEW, 2, 1), site, fair=False)
    for surface, image in zip(site.surfaces, before, strict=True):
        np.testing.assert_array_equal(surface.texture.image, image)
    assert replace(site.surfaces[0], two_sided=True).normal @ [0, -1, 0] == 1


def test_the_default_city_is_as_large_as_promised():
    defaults = {name: p.default for name, p in inspect.signature(build_toycity).parameters.items()}
    assert defaults["landmarks"] >= 40
    assert defaults["views"] >= 12
    assert defaults["distractors"] >= 200


def expected_medium(dataset):
    """Medium mAP that a random ranking is expected to get."""
    truth, total = dataset.ground_truth.at("medium"), len(dataset.database)
    expected = [
        expected_trapezoid(len(positives), total - len(junk), depth=total)
        for positives, junk in zip(truth.positives, truth.junk, strict=True)
    ]
    return np.nanmean(expected)


@pytest.mark.slow
def test_imagenets_descriptor_finds_much_and_misses_much_and_a_random_ranking_finds_nothing(tmp_path):
    build_toycity(tmp_path / "city", landmarks=24, views=5, distractors=30)
    dataset = load_toycity(tmp_path / "city")
    describer = Describer(load_extractor("imagenet"))
    report = evaluate_dataset(dataset, describer, tmp_path / "collection").report
    assert 0.40 <= report.figure("revisitop_map", "medium").value <= 0.85
    chance = evaluate_random(dataset).report.figure("revisitop_map", "medium").value
    assert abs(chance - expected_medium(dataset)) < 0.02
    assert chance < 0.1
