import numpy as np
import pytest

from meisho.errors import ConfigError
from meisho.training.sampling import (
    ASPECT_RATIOS,
    SAMPLERS,
    count_earlier,
    group_by_aspect,
    make_sampler,
    shape_of_group,
)

COUNTS = (1, 2, 5, 30, 62)
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(5), COUNTS))
OPTIONS = {"per_class": {"photos_per_class": 2}, "bounded": {"max_per_class": 6}}


def make(name, batch_size=8, **options):
    return make_sampler(name, LABELS, batch_size=batch_size, **{**OPTIONS.get(name, {}), **options})


def rows_of(batches):
    return np.concatenate([batch.rows for batch in batches])


@pytest.mark.parametrize("name", SAMPLERS)
def test_an_epoch_depends_on_seed_and_number_alone(name):
    sampler = make(name, seed=3)
    third = rows_of(sampler.batches(3))
    sampler.batches(0)
    np.random.default_rng().random()
    assert np.array_equal(rows_of(sampler.batches(3)), third)
    assert np.array_equal(rows_of(make(name, seed=3).batches(3)), third)
    assert not np.array_equal(rows_of(sampler.batches(4)), third)
    assert not np.array_equal(rows_of(make(name, seed=4).batches(3)), third)


@pytest.mark.parametrize("name", SAMPLERS)
def test_batches_are_full(name):
    for batch in make(name).batches(0):
        assert len(batch.rows) == 8 and batch.group is None
        with pytest.raises(ValueError, match="read-only"):
            batch.rows[0] = 1


def test_uniform_draws_every_photo_once_and_leaves_out_less_than_a_batch():
    rows = rows_of(make("uniform").batches(0))
    assert len(rows) == len(set(rows)) == 96  # of 100
    left_out = set(range(100)) - set(rows)
    assert left_out != set(range(100)) - set(rows_of(make("uniform").batches(1)))


def test_balanced_draws_every_class_as_often_and_every_photo_before_any_again():
    rows = rows_of(make("balanced", batch_size=1).batches(0))
    assert np.bincount(LABELS[rows]).tolist() == [20] * 5  # 100 draws of 5 classes
    for label, count in enumerate(COUNTS):
        of_class = rows[LABELS[rows] == label]
        assert len(set(of_class[:count])) == min(count, 20)
        assert set(np.bincount(of_class, minlength=100)[label == LABELS]) <= {20 // count, -(-20 // count)}
    assert len(make("balanced", photos_per_epoch=40).batches(0)) == 5


def test_per_class_makes_batches_of_m_photos_of_different_classes():
    sampler = make("per_class")
    batches = sampler.batches(0)
    assert len(batches) == 12
    for batch in batches:
        labels = LABELS[batch.rows].reshape(4, 2)
        assert (labels[:, 0] == labels[:, 1]).all()
        assert len(set(labels[:, 0])) == 4
        for label, pair in zip(labels[:, 0], batch.rows.reshape(4, 2), strict=True):
            assert label == 0 or pair[0] != pair[1]  # class 0 has one photo
    seen = np.concatenate([rows_of(sampler.batches(epoch)) for epoch in range(10)])
    counts = np.bincount(LABELS[seen], minlength=5)
    assert counts.min() > 0.8 * counts.max()
    assert len(set(seen)) > 95


def test_bounded_takes_at_most_some_photos_of_a_class_and_others_next_time():
    sampler = make("bounded", batch_size=1)
    rows = rows_of(sampler.batches(0))
    assert len(rows) == len(set(rows))
    assert np.bincount(LABELS[rows]).tolist() == [1, 2, 5, 6, 6]
    seen = np.concatenate([rows_of(sampler.batches(epoch)) for epoch in range(60)])
    assert len(set(seen)) > 95


def test_batches_by_aspect_ratio_hold_neighbours_and_every_full_batch_of_the_draw():
    generator = np.random.default_rng(1)
    groups = generator.choice(7, 1003, p=[0.01, 0.02, 0.3, 0.05, 0.5, 0.1, 0.02])
    sampler = make_sampler("uniform", np.zeros(1003, np.int64), batch_size=16, groups=groups)
    batches = sampler.batches(0)
    rows = rows_of(batches)
    assert len(batches) == 62 and len(rows) == len(set(rows)) == 992
    kinds = [len(set(groups[batch.rows])) for batch in batches]
    assert sum(kind == 1 for kind in kinds) >= 62 - 7
    for batch in batches:
        own = groups[batch.rows]
        assert (own == batch.group).sum() == np.bincount(own).max()
    assert [batch.group for batch in batches] != sorted(batch.group for batch in batches)
    seen = {row for epoch in range(8) for row in rows_of(sampler.batches(epoch))}
    assert len(seen) == 1003  # rare shapes are not left out for good
    assert np.array_equal(rows_of(sampler.batches(0)), rows)


def test_photos_belong_to_the_nearest_aspect_ratio():
    sizes = np.array([[100, 100], [640, 480], [480, 640], [3000, 1000], [100, 300], [1500, 1000], [105, 100]])
    groups = group_by_aspect(sizes)
    assert [ASPECT_RATIOS[group] for group in groups] == [1, 4 / 3, 3 / 4, 2, 1 / 2, 3 / 2, 1]


def test_shapes_have_about_the_area_of_the_square():
    assert shape_of_group(None, 250) == (250, 250)
    for side in (128, 224, 384):
        for group, ratio in enumerate(ASPECT_RATIOS):
            height, width = shape_of_group(group, side)
            assert height % 32 == width % 32 == 0
            assert width / height == pytest.approx(ratio, rel=0.26)
            assert height * width == pytest.approx(side**2, rel=0.3)
    assert shape_of_group(3, 224) == (224, 224)
    assert shape_of_group(6, 100, multiple_px=1) == (71, 141)  # 100 / √2 and 100 √2


def test_earlier_equal_values_are_counted():
    values = np.random.default_rng(0).integers(0, 9, 200)
    assert count_earlier(values).tolist() == [int((values[:i] == v).sum()) for i, v in enumerate(values)]


def test_options_that_do_not_fit_are_refused_at_once():
    with pytest.raises(ConfigError, match="no sampler is called 'random'; the nearest is"):
        make("random")
    with pytest.raises(ConfigError, match="'bounded' has no option 'limit'; the nearest is 'max_per_class'"):
        make("bounded", limit=3)
    with pytest.raises(ConfigError, match="an epoch has 20 photos, less than one batch of 64"):
        make("bounded", batch_size=64)
    with pytest.raises(ConfigError, match="batch_size=8 must be a multiple of photos_per_class=3"):
        make("per_class", photos_per_class=3)
    with pytest.raises(ConfigError, match="needs 8 classes; there are 5"):
        make("per_class", photos_per_class=1)
    with pytest.raises(ConfigError, match="cannot be grouped"):
        make("per_class", groups=np.zeros(100, np.int64))
    with pytest.raises(ConfigError, match="max_per_class=0: must be at least 1"):
        make("bounded", max_per_class=0)
    with pytest.raises(ConfigError, match="photos_per_epoch=0: must be at least 1"):
        make("balanced", photos_per_epoch=0)
