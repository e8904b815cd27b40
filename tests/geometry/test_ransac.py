import sys

import numpy as np
import pytest

from meisho.errors import InputError, MissingDependencyError
from meisho.geometry.ransac import (
    MIN_MATCHES,
    RansacOptions,
    is_plausible_homography,
    matching_errors_px,
    verify,
    verify_many,
)
from meisho.toycity import facade_homographies, true_correspondences

H_TRUE = np.array([[1.1, 0.1, 20], [-0.05, 0.95, 10], [1e-4, 5e-5, 1]])
PAIRS = [
    ("homography", "magsac"),
    ("homography", "poselib"),
    ("homography", "degensac"),
    ("affine", "magsac"),
    ("affine", "torch"),
    ("fundamental", "magsac"),
    ("fundamental", "poselib"),
    ("fundamental", "degensac"),
]
every_way = pytest.mark.parametrize(("model", "method"), PAIRS)


@pytest.fixture(autouse=True)
def skip_what_is_not_installed(request):
    method = request.node.callspec.params.get("method") if hasattr(request.node, "callspec") else None
    if method in ("poselib", "degensac"):
        pytest.importorskip({"poselib": "poselib", "degensac": "pydegensac"}[method])


def project(H, points):
    mapped = np.column_stack([points, np.ones(len(points))]) @ H.T
    return mapped[:, :2] / mapped[:, 2:]


def make_matches(*, num_true=60, num_random=40, seed=0, H=H_TRUE, noise_px=0.5):
    """The sanity case of the golden values: the first `num_true` of the matches are right."""
    generator = np.random.default_rng(seed)
    query = generator.uniform(0, 640, (num_true + num_random, 2))
    database = project(H, query)
    database[:num_true] += generator.normal(0, noise_px, (num_true, 2))
    database[num_true:] = generator.uniform(0, 640, (num_random, 2))
    return query, database


def corner_errors_px(H, truth=H_TRUE):
    corners = np.array([[0, 0], [640, 0], [0, 640], [640, 640.0]])
    return np.linalg.norm(project(H, corners) - project(truth, corners), axis=1)


@pytest.mark.parametrize("method", ["magsac", "poselib", "degensac"])
def test_the_golden_case_has_60_inliers_of_60(method):
    query, database = make_matches()
    found = verify(query, database, RansacOptions(method=method, reproj_threshold_px=4))
    assert found.num_inliers == 60
    assert found.inliers[:60].all()
    assert corner_errors_px(found.query_to_database).max() < 2
    assert found.query_to_database[2, 2] == 1


@pytest.mark.parametrize("method", ["magsac", "poselib", "degensac"])
def test_the_golden_case_has_some_more_under_a_fundamental_matrix(method):
    query, database = make_matches()
    options = RansacOptions("fundamental", method, reproj_threshold_px=4, max_iterations=2000)
    found = verify(query, database, options)
    assert found.inliers[:60].sum() >= 58
    assert 60 <= found.num_inliers <= 75  # 64 in the golden values: a random match may lie near its line


def test_an_affine_map_is_found():
    A = np.array([[0.8, 0.3, 15], [-0.2, 1.1, 40], [0, 0, 1]])
    found = verify(*make_matches(H=A), RansacOptions("affine", reproj_threshold_px=3))
    assert found.inliers[:60].all() and found.num_inliers <= 62
    np.testing.assert_array_equal(found.query_to_database[2], [0, 0, 1])
    assert corner_errors_px(found.query_to_database, A).max() < 1


@every_way
def test_the_matrix_leads_from_the_query_to_the_database_photo(model, method):
    H = np.array([[0.5, 0, 200], [0, 0.5, 100], [0, 0, 1]])
    query, database = make_matches(H=H, num_random=0)
    found = verify(query, database, RansacOptions(model, method))
    if model == "fundamental":
        residuals = np.einsum(
            "mi,ij,mj->m",
            np.column_stack([database, np.ones(60)]),
            found.query_to_database,
            np.column_stack([query, np.ones(60)]),
        )
        lines = np.column_stack([query, np.ones(60)]) @ found.query_to_database.T
        assert np.median(np.abs(residuals) / np.linalg.norm(lines[:, :2], axis=1)) < 1
        assert np.linalg.norm(found.query_to_database) == pytest.approx(1)
    else:
        assert corner_errors_px(found.query_to_database, H).max() < 2


@every_way
def test_many_pairs_are_verified_as_if_each_were_alone(model, method):
    pairs = [make_matches(num_true=count, seed=count) for count in (60, 0, 30)] + [(np.empty((0, 2)),) * 2]
    options = RansacOptions(model=model, method=method, threshold_share=0.01)
    sizes = [(640, 480), (100, 640), (1280, 5), (8, 8)]
    together = verify_many(pairs, options, database_sizes_px=sizes)
    for pair, size, found in zip(pairs, sizes, together, strict=True):
        alone = verify(*pair, options, database_size_px=size)
        np.testing.assert_array_equal(found.inliers, alone.inliers)
        assert (found.query_to_database is None) == (alone.query_to_database is None)
    assert together[0].num_inliers > 30 > together[1].num_inliers


@every_way
def test_equal_seeds_give_equal_answers(model, method):
    query, database = make_matches(num_true=20, num_random=60)
    options = RansacOptions(model, method, max_iterations=50, seed=3)
    first, again = (verify(query, database, options) for _ in range(2))
    np.testing.assert_array_equal(first.inliers, again.inliers)
    if first.query_to_database is not None:
        np.testing.assert_array_equal(first.query_to_database, again.query_to_database)


@pytest.mark.parametrize("method", ["magsac", "poselib", "degensac"])
def test_other_seeds_draw_other_samples(method):
    query, database = make_matches(num_true=12, num_random=60)
    options = [RansacOptions("fundamental", method, max_iterations=30, seed=seed) for seed in range(8)]
    assert len({verify(query, database, o).inliers.tobytes() for o in options}) > 1


@every_way
@pytest.mark.parametrize("count", range(8))
def test_too_few_matches_are_answered_by_no_inliers(model, method, count):
    query, database = make_matches(num_true=count, num_random=0)
    found = verify(query, database, RansacOptions(model, method))
    assert found.inliers.shape == (count,)
    if count < MIN_MATCHES[model]:
        assert found.num_inliers == 0 and found.query_to_database is None


def on_a_line(generator):
    t = generator.uniform(0, 600, 30)
    return np.column_stack([t, 0.5 * t + 20]), np.column_stack([0.9 * t + 5, 300 - 0.4 * t])


def on_a_line_in_one_photo(generator):
    return generator.uniform(0, 640, (30, 2)), on_a_line(generator)[1]


def all_at_one_point(generator):
    return np.full((30, 2), 100.0), np.full((30, 2), 50.0)


def at_one_point_in_one_photo(generator):
    return generator.uniform(0, 640, (30, 2)), np.full((30, 2), 50.0)


def one_match_thirty_times(generator):
    query, database = make_matches(num_true=1, num_random=0)
    return np.repeat(query, 30, axis=0), np.repeat(database, 30, axis=0)


def two_matches_many_times(generator):
    query, database = make_matches(num_true=2, num_random=0)
    return np.tile(query, (15, 1)), np.tile(database, (15, 1))


DEGENERATE = [
    on_a_line,
    on_a_line_in_one_photo,
    all_at_one_point,
    at_one_point_in_one_photo,
    one_match_thirty_times,
    two_matches_many_times,
]


@every_way
@pytest.mark.parametrize("make", DEGENERATE, ids=lambda make: make.__name__)
def test_degenerate_matches_are_answered_by_no_inliers(model, method, make):
    found = verify(*make(np.random.default_rng(0)), RansacOptions(model, method))
    assert found.num_inliers == 0 and found.query_to_database is None
    assert found.inliers.shape == (30,)


@pytest.mark.parametrize("seed", [206, 1244, 3741])
def test_points_on_a_small_grid_may_determine_no_fundamental_matrix(seed):
    generator = np.random.default_rng(seed)  # seeds at which OpenCV itself fails
    count, side = int(generator.integers(7, 12)), int(generator.integers(2, 5))
    query, database = (generator.integers(0, side, (count, 2)) * 100.0 for _ in range(2))
    assert verify(query, database, RansacOptions("fundamental")).num_inliers == 0


@every_way
def test_random_matches_never_crash_and_rarely_agree(model, method):
    generator = np.random.default_rng(7)
    for count in (4, 7, 8, 9, 30, 200):
        for _ in range(3):
            query, database = generator.uniform(0, 640, (2, count, 2))
            query, database = (np.round(p / 64) * 64 for p in (query, database))  # many of them twice
            options = RansacOptions(model, method, reproj_threshold_px=3, max_iterations=200)
            found = verify(query, database, options)
            assert found.num_inliers <= max(MIN_MATCHES[model] + 4, 0.25 * count)


@every_way
def test_inliers_are_what_the_matrix_says(model, method):
    query, database = make_matches()
    options = RansacOptions(model, method, reproj_threshold_px=4)
    found = verify(query, database, options)
    errors = matching_errors_px(query, database, found.query_to_database, model)
    np.testing.assert_array_equal(found.inliers, errors <= 4)


def test_a_share_of_the_photo_s_larger_side_is_a_threshold():
    query, database = make_matches()
    by_share = RansacOptions(threshold_share=0.005)
    found = verify(query, database, by_share, database_size_px=(600, 800))
    same = verify(query, database, RansacOptions(reproj_threshold_px=4))
    np.testing.assert_array_equal(found.inliers, same.inliers)
    with pytest.raises(InputError, match="size in pixels"):
        verify(query, database, by_share)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(bad):
    query, database = make_matches()
    database[5, 1] = bad
    with pytest.raises(InputError, match="NaN or infinite"):
        verify(query, database)
    with pytest.raises(InputError, match="NaN or infinite"):
        verify(database, query)


@pytest.mark.parametrize("shape", [(99, 2), (100, 3), (200,)])
def test_points_that_do_not_fit_are_refused(shape):
    with pytest.raises(InputError, match=r"\(M, 2\)"):
        verify(make_matches()[0], np.zeros(shape))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "similarity"}, "no model of RANSAC is called"),
        ({"method": "ransac"}, "choose one of magsac, poselib, degensac"),
        ({"model": "affine", "method": "poselib"}, "choose one of magsac, torch$"),
        ({"reproj_threshold_px": 0}, "reproj_threshold_px"),
        ({"reproj_threshold_px": np.nan}, "reproj_threshold_px"),
        ({"threshold_share": 2}, "threshold_share"),
        ({"confidence": 1}, "confidence"),
        ({"max_iterations": 0}, "max_iterations"),
        ({"seed": -1}, "seed"),
    ],
)
def test_options_outside_their_range_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        RansacOptions(**options)


@pytest.mark.parametrize(("method", "package"), [("poselib", "poselib"), ("degensac", "pydegensac")])
def test_a_missing_package_is_named_with_the_command(monkeypatch, method, package):
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    with pytest.raises(MissingDependencyError, match=rf"needs {package}; run pip install 'meisho\[ransac\]'"):
        verify(*make_matches(), RansacOptions(method=method))


def test_an_error_inside_a_package_is_not_taken_for_no_inliers(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("broken build")

    monkeypatch.setattr("cv2.findHomography", fail)
    with pytest.raises(RuntimeError, match="broken build"):
        verify(*make_matches())


def test_arguments_are_never_written_into():
    query, database = make_matches()
    before = query.copy(), database.copy()
    for points in (query, database):
        points.setflags(write=False)
    verify(query, database)
    np.testing.assert_array_equal(query, before[0])
    np.testing.assert_array_equal(database, before[1])


# ---- plausibility

POINTS = np.array([[0, 0], [640, 0], [0, 480], [640, 480], [320, 240.0]])
MIRROR = np.array([[-1, 0, 640], [0, 1, 0], [0, 0, 1.0]])


@pytest.mark.parametrize(
    ("H", "plausible"),
    [
        (np.eye(3), True),
        (H_TRUE, True),
        (-H_TRUE, True),
        (np.diag([9.0, 9, 1]), True),
        (np.diag([11.0, 11, 1]), False),
        (np.diag([0.09, 0.09, 1]), False),
        (np.diag([1, 0.05, 1]), False),
        (MIRROR, False),
        (np.diag([-1.0, -1, 1]), True),  # upside down
        (np.array([[1, 0, 0], [0, 1, 0], [-1 / 320, 0, 1.0]]), False),  # the horizon runs through the points
    ],
)
def test_only_what_two_photos_can_have_is_plausible(H, plausible):
    assert is_plausible_homography(H, POINTS) is plausible


def test_jacobians_of_plausibility_are_those_of_the_map():
    # a map whose zoom at one corner passes 10 by perspective alone: numeric derivative as reference
    H = np.array([[1, 0, 0], [0, 1, 0], [-1 / 900, 0, 1.0]])
    for x in np.linspace(0, 800, 41):
        point = np.array([[x, 100.0]])
        steps = [(project(H, point + d) - project(H, point - d))[0] / 2e-4 for d in 1e-4 * np.eye(2)]
        zooms = np.linalg.svd(np.array(steps).T, compute_uv=False)
        assert is_plausible_homography(H, point) == (zooms.max() <= 10)


def test_an_implausible_map_is_answered_by_no_inliers_unless_asked_for():
    query, database = make_matches(H=np.diag([0.05, 0.05, 1]), noise_px=0.1)
    options = {"reproj_threshold_px": 1}
    assert verify(query, database, RansacOptions(**options)).num_inliers == 0
    assert verify(query, database, RansacOptions(**options, plausible_only=False)).num_inliers == 60


def moved(shift, factor=1.0):
    return lambda points: factor * points + np.array(shift)


EXACT = {  # what takes a point of the query to that of the database
    "a copy": moved((0, 0)),
    "a shift to the side": moved((40, 0)),
    "a shift down": moved((0, -120)),
    "a slanting shift": moved((40, 25)),
    "twice as large": moved((0, 0), 2.0),
    "half a turn": lambda points: 500 - points,
    "a quarter turn": lambda points: np.column_stack([500 - points[:, 1], points[:, 0]]),
    "a copy in whole pixels": np.floor,
    "a slanting plane": lambda points: project(H_TRUE, points),
}


@every_way
@pytest.mark.parametrize("count", [7, 8, 10, 60, 300])
@pytest.mark.parametrize("name", EXACT)
def test_exact_matches_agree_at_any_number(model, method, name, count):
    points = np.random.default_rng(count).uniform(0, 500, (count, 2))
    found = verify(points, EXACT[name](points), RansacOptions(model=model, method=method))
    if model == "affine" and name == "a slanting plane":
        assert found.num_inliers >= 0.2 * count
    else:
        assert found.num_inliers == count


@every_way
def test_few_matches_at_random_prove_little(model, method):
    rng = np.random.default_rng(5)
    found = [
        verify(
            *rng.uniform(0, 500, (2, 9, 2)), RansacOptions(model, method, reproj_threshold_px=2)
        ).num_inliers
        for _ in range(20)
    ]
    assert np.mean(found) < 8


@pytest.mark.parametrize("method", ["magsac", "poselib", "degensac"])
def test_a_mirrored_photo_is_not_verified(method):
    assert verify(*make_matches(H=MIRROR), RansacOptions(method=method)).num_inliers < 8


# ---- the drawn city, whose geometry is known


def test_the_true_homography_of_a_facade_is_found(matching_city):
    root, pairs = matching_city
    assert len(pairs) >= 3
    for a, b in pairs:
        facade = facade_homographies(root, a, b)[0]
        points = true_correspondences(root, a, b, step_px=8)
        noise = np.random.default_rng(0).normal(0, 0.3, points.shape)
        generator = np.random.default_rng(1)
        outliers = generator.uniform(0, 480, (len(points) // 2, 4))
        matches = np.concatenate([points + noise, outliers])
        found = verify(matches[:, :2], matches[:, 2:], RansacOptions(reproj_threshold_px=2))
        there = project(facade.H_a_to_b, points[:, :2])
        on_it = np.linalg.norm(there - points[:, 2:], axis=1) < 1e-6
        errors = np.linalg.norm(project(found.query_to_database, points[on_it, :2]) - there[on_it], axis=1)
        assert np.median(errors) < 1
