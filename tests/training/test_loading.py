import pickle
import shutil
import sys
from dataclasses import replace
from subprocess import PIPE

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data._utils.pin_memory import pin_memory

from meisho.config import config_toml
from meisho.errors import ConfigError, DatasetError
from meisho.extractors.backbone import create_backbone, read_traits
from meisho.training import loading
from meisho.training.augmentation import change_batch
from meisho.training.data import load_training_data
from meisho.training.loading import BatchLoader, cache_options
from meisho.training.photo_cache import fill_cache
from processes import started

TRAITS = read_traits(create_backbone("test_resnet"))


def make_loader(recipe, **options):
    loader = BatchLoader(load_training_data(recipe).train, recipe, TRAITS, **options)
    loader.look_up()
    return loader


def all_parts(loader, epoch=1, size_px=32, first=0):
    return [parts for parts in loader.load(epoch, size_px, first=first)]


@pytest.fixture
def blurred(make_recipe):
    return make_recipe(augmentation={"name": "blur"})


def test_images_come_changed_normalised_and_with_their_landmarks(blurred):
    loader = make_loader(blurred)
    batches = all_parts(loader)
    assert len(batches) == loader.count_batches(1) == 3
    classes = load_training_data(blurred).train.classes
    for (part,) in batches:
        assert part.images.shape == (8, 3, 32, 32) and part.images.dtype == torch.float32
        assert np.array_equal(part.labels.numpy(), classes[part.rows.numpy()])
    assert len(set(torch.cat([part.rows for (part,) in batches]).tolist())) == 24


def test_a_batch_does_not_depend_on_where_the_epoch_was_entered(blurred):
    whole, rest = all_parts(make_loader(blurred)), all_parts(make_loader(blurred), first=2)
    assert len(rest) == 1
    assert torch.equal(rest[0][0].images, whole[2][0].images)


def test_epochs_differ(blurred):
    loader = make_loader(blurred)
    (first,), (second,) = all_parts(loader, epoch=0)[0], all_parts(loader, epoch=1)[0]
    assert not torch.equal(first.images, second.images)


def test_processes_and_parts_cut_up_the_same_batch(make_recipe, blurred):
    whole = all_parts(make_loader(blurred))
    cut = make_recipe(augmentation={"name": "blur"}, hardware={"accumulate": 2})
    ranks = [all_parts(make_loader(cut, rank=rank, num_ranks=2)) for rank in range(2)]
    for number, (batch,) in enumerate(whole):
        pieces = [ranks[rank][number][part] for part in range(2) for rank in range(2)]
        assert all(len(piece.rows) == 2 for piece in pieces)
        assert torch.equal(torch.cat([p.rows for p in pieces]), batch.rows)
        torch.testing.assert_close(torch.cat([p.images for p in pieces]), batch.images, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("size", "accumulate", "num_ranks"), [(7, 1, 2), (4, 1, 8), (12, 2, 4)])
def test_a_batch_that_processes_and_parts_cannot_share_evenly_is_refused(
    make_recipe, size, accumulate, num_ranks
):
    recipe = make_recipe(sampling={"batch_size": size}, hardware={"accumulate": accumulate})
    with pytest.raises(ConfigError, match=rf"batch_size={size}: .* multiple of {accumulate * num_ranks}$"):
        make_loader(recipe, num_ranks=num_ranks)


def test_worker_processes_load_the_same(make_recipe, blurred, tmp_path):
    tables = {"augmentation": {"name": "blur"}, "data": {"cache": str(tmp_path / "cache")}}
    loader = make_loader(make_recipe(**tables, hardware={"workers": 1}))
    loader.start()
    for epoch in range(2):
        here = all_parts(make_loader(make_recipe(**tables)), epoch=epoch)
        for (one,), (other,) in zip(here, all_parts(loader, epoch=epoch), strict=True):
            assert torch.equal(one.rows, other.rows)
            torch.testing.assert_close(one.images, other.images, atol=1e-6, rtol=0)


def test_workers_are_sent_nothing_that_grows_with_the_data_set(make_recipe, tmp_path):
    for data in ({}, {"cache": str(tmp_path / "cache")}):
        sent = pickle.dumps(make_loader(make_recipe(data=data))._loader.dataset)
        assert b"place_" not in sent and len(sent) < 5000


def test_the_processes_of_a_machine_share_its_cores(monkeypatch):
    monkeypatch.setattr(loading, "count_cores", lambda: 96)
    for processes, workers in ((None, 16), (2, 16), (8, 12), (64, 1), (100, 1)):
        if processes is not None:
            monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
        assert loading.default_workers() == workers


def test_what_is_left_to_the_device_gives_the_same_images(make_recipe, blurred):
    left = make_recipe(augmentation={"name": "blur", "on_device": True})
    for (one,), (other,) in zip(all_parts(make_loader(blurred)), all_parts(make_loader(left)), strict=True):
        assert other.images.dtype == torch.uint8
        changed = change_batch(other.images, other.changes, mean=TRAITS.mean, std=TRAITS.std)
        torch.testing.assert_close(changed, one.images, atol=1e-6, rtol=0)


def test_pinning_reaches_the_tensors_that_go_to_a_device(make_recipe):
    class Tensor(torch.Tensor):
        def pin_memory(self):  # the real one needs a device
            return torch.zeros(3)

    ((part,), *_) = all_parts(make_loader(make_recipe()))
    part = replace(part, images=part.images.as_subclass(Tensor), labels=part.labels.as_subclass(Tensor))
    pinned = pin_memory(part)
    assert torch.equal(pinned.images, torch.zeros(3)) and torch.equal(pinned.labels, torch.zeros(3))
    assert torch.equal(pinned.rows, part.rows)


def test_batches_of_one_aspect_ratio_have_its_shape(make_recipe):
    recipe = make_recipe(sampling={"by_aspect": True})  # all photos here are square
    assert {tuple(part.images.shape[2:]) for (part,) in all_parts(make_loader(recipe), size_px=64)} == {
        (64, 64)
    }


def test_aspect_ratios_are_the_caches_where_it_has_them(make_recipe, tmp_path, monkeypatch):
    for number, size in enumerate([(90, 60), (60, 90), (90, 90), (90, 87), (300, 212), (300, 211)] * 4):
        path = tmp_path / "photos" / str(number % 3) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size).save(path)
    tables = {"sampling": {"by_aspect": True, "batch_size": 4}, "validation": {"share": 0.0}}
    root = {"root": str(tmp_path / "photos")}
    recipe = make_recipe(**tables, data={**root, "cache": str(tmp_path / "cache")})
    list(fill_cache(recipe.data.cache, load_training_data(recipe).train.photos(), cache_options(recipe.data)))
    plain = make_loader(make_recipe(**tables, data=root)).sampler.batches(0)
    monkeypatch.setattr(loading, "read_size", None)
    cached = make_loader(recipe).sampler.batches(0)
    assert [(b.group, b.rows.tolist()) for b in cached] == [(b.group, b.rows.tolist()) for b in plain]
    assert len({batch.group for batch in cached}) > 1


@pytest.fixture
def broken_places(places, tmp_path):
    """The places, in which three photos cannot be read."""
    root = shutil.copytree(places, tmp_path / "photos")
    for name in ("place_0/1.png", "place_2/3.png", "place_3/0.png"):
        (root / name).write_bytes((root / name).read_bytes()[:500])
    return root


def unreadable(parts):
    return sorted("/".join(e.path.parts[-2:]) for part in parts for e in part.unreadable)


@pytest.mark.parametrize("workers", [0, 1])
def test_another_photo_takes_the_place_of_one_that_cannot_be_read(
    make_recipe, broken_places, places, workers
):
    sampling = {"name": "per_class", "options": {"photos_per_class": 4}}
    tables = {"validation": {"share": 0.0}, "sampling": sampling}
    whole, broken = (
        make_recipe(data={"root": str(root)}, hardware={"workers": workers}, **tables)
        for root in (places, broken_places)
    )
    train = load_training_data(broken).train
    replaced = 0
    for (before,), (after,) in zip(
        all_parts(make_loader(whole)), all_parts(make_loader(broken)), strict=True
    ):
        moved = before.rows != after.rows
        replaced += int(moved.sum())
        assert moved.any() == bool(after.unreadable)
        assert torch.equal(before.images[~moved], after.images[~moved])
        assert torch.equal(before.labels, after.labels)  # of the same landmark, of which there are four
        assert np.array_equal(train.classes[after.rows.numpy()], after.labels.numpy())
        assert {train.photo(row).path for row in after.rows.tolist()}.isdisjoint(
            error.path for error in after.unreadable
        )
    assert replaced > 0


def test_a_part_of_one_photo_takes_another_of_the_batch(make_recipe, broken_places):
    recipe = make_recipe(
        data={"root": str(broken_places)}, hardware={"accumulate": 8}, validation={"share": 0.0}
    )
    loader = make_loader(recipe)
    batches = all_parts(loader)
    assert all(len(part.rows) == 1 for parts in batches for part in parts)
    assert any(unreadable(parts) for parts in batches)
    whole = make_loader(make_recipe(data={"root": str(broken_places)}, validation={"share": 0.0}))
    for parts, (batch,) in zip(batches, all_parts(whole), strict=True):  # the same, however it is cut up
        assert torch.equal(torch.cat([part.rows for part in parts]), batch.rows)
        assert set(unreadable(parts)) == set(unreadable([batch]))


@pytest.mark.parametrize("workers", [0, 1])
def test_photos_none_of_which_can_be_read_are_an_error(make_recipe, broken_places, workers):
    recipe = make_recipe(data={"root": str(broken_places)}, hardware={"workers": workers})
    loader = make_loader(recipe)
    for path in broken_places.rglob("*.png"):
        path.unlink()
    with pytest.raises(
        DatasetError, match=r"^none of 8 photos in a row can be read, such as .*no such file; is"
    ):
        all_parts(loader)


def test_photos_that_cannot_be_read_have_an_aspect_ratio_too(make_recipe, broken_places):
    (broken_places / "place_1" / "1.png").write_bytes(b"no photo")
    recipe = make_recipe(
        data={"root": str(broken_places)}, sampling={"by_aspect": True}, validation={"share": 0.0}
    )
    assert len(all_parts(make_loader(recipe))) == 4


TRAINER = """
import sys
from pathlib import Path
from meisho.training.data import load_training_data
from meisho.training.loading import BatchLoader
from meisho.training.recipe import load_recipe
from meisho.extractors.backbone import create_backbone, read_traits
if __name__ == "__main__":
    recipe = load_recipe(Path(sys.argv[1]))
    traits = read_traits(create_backbone("test_resnet"))
    loader = BatchLoader(load_training_data(recipe).train, recipe, traits)
    batches = loader.load(0, 32)
    next(batches)
    print("loaded", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.slow
def test_workers_end_with_a_trainer_that_is_killed(make_recipe, tmp_path):
    (tmp_path / "recipe.toml").write_text(config_toml(make_recipe(hardware={"workers": 2})))
    (tmp_path / "trainer.py").write_text(TRAINER)
    command = [sys.executable, tmp_path / "trainer.py", tmp_path / "recipe.toml"]
    with started(command, stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
        assert process.stdout.readline() == b"loaded\n"
        process.kill()
        process.communicate()  # as long as one of them lives, it holds the pipes
