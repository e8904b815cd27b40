import numpy as np
import pytest
import torch
from augmentation_obvious import change_image
from torchvision.transforms import v2

from devices import on_gpu
from meisho.errors import ConfigError
from meisho.training.augmentation import (
    AUGMENTATIONS,
    Augmentation,
    change_batch,
    crop_box,
    crop_photo,
    draw_changes,
    seeded_generator,
)

NORMAL = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
ALL = Augmentation(colour=1, move=1, cutout=1, blur=1, hole_px=9)


def make_photo(height=60, width=80, seed=0):
    """A smooth picture: (H, W, 3) uint8."""
    noise = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.interpolate(noise, size=(height, width), mode="bicubic").clamp(0, 1)
    return (smooth[0] * 255).round().byte().permute(1, 2, 0).numpy()


def make_batch(augmentation, size=8, shape=(40, 56)):
    changes = draw_changes(augmentation, size, seeded_generator(1, 2))
    images = torch.stack([crop_photo(make_photo(seed=i), changes, i, shape) for i in range(size)])
    return images, changes


def change_one_by_one(images, changes, **normal):
    return torch.stack([change_image(image, changes, i, **normal) for i, image in enumerate(images)])


@pytest.mark.parametrize("augmentation", [*AUGMENTATIONS.values(), ALL], ids=[*AUGMENTATIONS, "all"])
@pytest.mark.parametrize("shape", [(48, 48), (40, 56)])
def test_batch_and_single_photos_are_changed_alike(augmentation, shape):
    images, changes = make_batch(augmentation, size=16, shape=shape)
    before = images.clone()
    normal = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.25, 0.3)}
    batch = change_batch(images, changes, **normal)
    assert batch.dtype == torch.float32 and batch.shape == (16, 3, *shape)
    torch.testing.assert_close(batch, change_one_by_one(images, changes, **normal), rtol=0, atol=5e-5)
    assert torch.equal(images, before)


@on_gpu
def test_a_gpu_changes_a_batch_as_the_cpu_does():
    images, changes = make_batch(AUGMENTATIONS["blur"], size=64)
    on_gpu = change_batch(images.cuda(), changes, **NORMAL)
    torch.testing.assert_close(on_gpu.cpu(), change_batch(images, changes, **NORMAL), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["none", "crop"])
def test_nothing_but_the_crop_is_changed_by_these_recipes(name):
    images, changes = make_batch(AUGMENTATIONS[name])
    normal = {"mean": (0.5, 0.4, 0.3), "std": (0.5, 0.25, 0.2)}
    expected = (images.float() / 255 - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)) / torch.tensor(
        [0.5, 0.25, 0.2]
    ).view(3, 1, 1)
    torch.testing.assert_close(change_batch(images, changes, **normal), expected)


def test_a_recipe_without_crop_shows_the_whole_photo():
    photo = make_photo()
    changes = draw_changes(AUGMENTATIONS["none"], 1, seeded_generator(0))
    assert torch.equal(crop_photo(photo, changes, 0, (60, 80)), torch.from_numpy(photo).permute(2, 0, 1))


def test_numbers_depend_on_the_generator_alone_and_can_be_cut_to_a_rank():
    images, changes = make_batch(ALL)
    torch.manual_seed(9)
    again_images, again = make_batch(ALL)
    assert torch.equal(images, again_images)
    whole = change_batch(images, changes, **NORMAL)
    assert torch.equal(whole, change_batch(images, again, **NORMAL))
    half = change_batch(images[4:], changes.take(slice(4, 8)), **NORMAL)
    torch.testing.assert_close(half, whole[4:], rtol=0, atol=1e-6)
    other = draw_changes(ALL, 8, seeded_generator(1, 3))
    assert not torch.equal(other.scales, changes.scales)
    assert len({seeded_generator(*key).initial_seed() for key in ((0, 1), (1, 0), (0, 0), (1, 1))}) == 4


def test_photos_of_a_batch_are_changed_each_in_its_own_way():
    changes = draw_changes(ALL, 200, seeded_generator(0))
    for values in (changes.angles_deg, changes.scales, changes.tone_factors, changes.holes[:, 0, 0]):
        assert len(values.unique()) > 190


def test_changes_happen_as_often_and_as_strongly_as_the_recipe_says():
    changes = draw_changes(AUGMENTATIONS["blur"], 20_000, seeded_generator(0))
    moved = changes.scales != 1
    for happened, probability in (
        (changes.tones > 0, 0.3),
        (moved, 0.3),
        (changes.has_holes, 0.5),
        (changes.blur_px > 1, 0.3),
    ):
        assert happened.float().mean().item() == pytest.approx(probability, abs=0.02)
    assert changes.tones.unique().tolist() == [0, 1, 2, 3]
    assert changes.blur_px.unique().tolist() == [1, 3, 5, 7]
    for values, low, high in (
        (changes.scales[moved], 0.5, 1.5),
        (changes.angles_deg[moved], -15, 15),
        (changes.shifts[moved], -0.1, 0.1),
        (changes.tone_factors[changes.tones == 1], 0.9, 1.1),
        (changes.tone_factors[changes.tones == 2], 0.9, 1.1),
        (changes.tone_factors[changes.tones == 3], 0.8, 1.2),
    ):
        span = high - low
        assert low <= values.min() < low + 0.01 * span
        assert high - 0.01 * span < values.max() <= high
        assert values.mean().item() == pytest.approx((low + high) / 2, abs=0.03 * span)
    assert (changes.shifts[~moved] == 0).all() and (changes.angles_deg[~moved] == 0).all()


def test_each_recipe_of_the_chapter_adds_one_change_to_the_one_before():
    chances = [
        [getattr(AUGMENTATIONS[name], change) > 0 for change in ("move", "colour", "cutout", "blur")]
        for name in ("crop", "scale_rotate", "colour", "cutout", "blur")
    ]
    assert chances == [[place < number for place in range(4)] for number in range(5)]


@pytest.mark.parametrize("size", [(80, 60), (300, 50), (64, 64)])
def test_crops_are_those_of_torchvision_in_distribution(size):
    width, height = size
    count = 1500
    changes = draw_changes(Augmentation(), count, seeded_generator(0))
    own = np.array([crop_box(size, changes, row, (32, 32)) for row in range(count)], float)
    image = torch.zeros(3, height, width)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        crop = v2.RandomResizedCrop(32, scale=(0.6, 1.0))
        drawn = [crop.make_params([image]) for _ in range(count)]
    theirs = np.array([[p["left"], p["top"], p["width"], p["height"]] for p in drawn], float)
    assert (own[:, 0] + own[:, 2] <= width).all() and (own[:, 1] + own[:, 3] <= height).all()
    assert (own[:, :2] >= 0).all()
    sides = np.array([width, height, width, height])
    for q in (0.1, 0.5, 0.9):
        difference = (np.quantile(own, q, axis=0) - np.quantile(theirs, q, axis=0)) / sides
        assert np.abs(difference).max() < 0.05


def test_crops_have_about_the_shape_that_they_are_resized_to():
    changes = draw_changes(Augmentation(crop_area=(0.2, 0.4)), 300, seeded_generator(0))
    boxes = np.array([crop_box((400, 300), changes, row, (20, 40)) for row in range(300)])
    ratios = boxes[:, 2] / boxes[:, 3]
    assert ratios.min() > 2 * 0.74 and ratios.max() < 2 * 1.35
    assert np.exp(np.log(ratios).mean()) == pytest.approx(2, rel=0.05)


def test_a_photo_longer_than_any_crop_gives_its_middle():
    changes = draw_changes(Augmentation(), 1, seeded_generator(0))
    assert crop_box((1000, 10), changes, 0, (32, 32)) == (493, 0, 13, 10)  # 4 : 3, as wide as crops may be
    assert crop_box((10, 1000), changes, 0, (32, 64)) == (0, 496, 10, 7)  # 2 x 3 : 4
    assert crop_photo(make_photo(1, 90), changes, 0, (32, 32)).shape == (3, 32, 32)


def test_the_crop_shows_what_lies_in_its_box():
    ramp = np.broadcast_to(np.arange(200, dtype=np.uint8)[None, :, None], (100, 200, 3))
    changes = draw_changes(Augmentation(), 20, seeded_generator(0))
    for row in range(20):
        x, _, width, _ = crop_box((200, 100), changes, row, (50, 50))
        crop = crop_photo(ramp, changes, row, (50, 50)).float()
        assert crop[0, 0, 0].item() == pytest.approx(x + width / 100, abs=3)
        assert crop[0, 0, -1].item() == pytest.approx(x + width - width / 100, abs=3)


def test_a_photo_moves_where_the_numbers_say():
    # one white pixel right of the middle; a quarter turn clockwise brings it below the middle
    image = torch.zeros(1, 3, 41, 41, dtype=torch.uint8)
    image[..., 20, 30] = 255
    changes = draw_changes(Augmentation(move=1, scale=0, shift=0, rotate_deg=0), 1, seeded_generator(0))
    changes.angles_deg.fill_(90)
    moved = change_batch(image, changes, **NORMAL)
    assert np.unravel_index(int(moved[0, 0].argmax()), (41, 41)) == (30, 20)
    changes.angles_deg.fill_(0)
    changes.scales.fill_(1.5)
    changes.shifts.copy_(torch.tensor([[-10 / 41, 5 / 41]]))
    moved = change_batch(image, changes, **NORMAL)
    assert np.unravel_index(int(moved[0, 0].argmax()), (41, 41)) == (25, 25)  # 20 + 1.5 * 10 - 10, 20 + 5


def test_holes_are_black_and_of_their_size_and_cut_at_the_border():
    images = torch.full((200, 3, 40, 50), 255, dtype=torch.uint8)
    changes = draw_changes(Augmentation(cutout=1, holes=1, hole_px=11), 200, seeded_generator(0))
    changed = change_batch(images, changes, **NORMAL)
    assert changed.unique().tolist() == [0, 1]
    areas = (changed[:, 0] == 0).sum(dim=(1, 2))
    assert areas.max() == 121 and 36 <= areas.min() < 121
    assert ((changed == 0).all(dim=1) == (changed == 0).any(dim=1)).all()


def test_the_blur_is_a_mean():
    images, changes = make_batch(Augmentation(blur=1), size=6)
    blurred = change_batch(images, changes, **NORMAL)
    for image, result, side in zip(images.numpy() / 255, blurred, changes.blur_px.tolist(), strict=True):
        reach = side // 2
        square = image[:, 20 - reach : 21 + reach, 30 - reach : 31 + reach]
        np.testing.assert_allclose(result[:, 20, 30], square.mean(axis=(1, 2)), rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"colour": 1.5}, "colour must be a probability"),
        ({"scale": 1.0}, "scale must be at least 0 and less than 1"),
        ({"crop_area": (0.9, 0.5)}, "crop_area must be two rising numbers"),
        ({"crop_ratio": (0.0, 1.0)}, "crop_ratio must be two rising numbers"),
        ({"holes": 0}, "holes and hole_px must be at least 1"),
        ({"blur_px": 4}, "blur_px must be odd"),
    ],
)
def test_values_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Augmentation(**options)
