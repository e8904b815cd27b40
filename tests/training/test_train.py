import csv
import json
import math
import multiprocessing
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from places import recipe_values
from safetensors.torch import load_file

from meisho.config import config_toml, parse_config
from meisho.errors import ConfigError, DatasetError, DivergedError, InputError, MismatchError
from meisho.extractors.base import load_extractor
from meisho.training.accelerator import make_accelerator
from meisho.training.data import load_training_data
from meisho.training.history import EpochRecord, describe_record
from meisho.training.learner import Learner
from meisho.training.loop import Loop
from meisho.training.recipe import Recipe, load_recipe
from meisho.training.train import make_task, train


class Stopped(Exception):
    """As if the process had been killed."""


def stop_at(step):
    def tick(stage, done, total):
        if stage == "train" and done == step:
            raise Stopped

    return tick


def saved_state(folder):
    (name,) = json.loads((folder / "state" / "state.json").read_text())["tensors"]
    assert [p.name for p in (folder / "state").glob("*.safetensors*")] == [name]
    return load_file(folder / "state" / name)


@pytest.fixture(scope="module")
def whole_run(places, tmp_path_factory):
    """A run to its end, with everything that has a state: average, teacher, freezing, two sizes."""
    values = recipe_values(places, **EVERYTHING)
    recipe = parse_config(values, Recipe, source="test")
    folder = tmp_path_factory.mktemp("runs") / "whole"
    lines = []
    return train(recipe, folder, say=lines.append), recipe, lines


EVERYTHING = {
    "schedule": {
        "epochs": 3,
        "sizes": [{"px": 32}, {"px": 48, "from_epoch": 2}],
        "ema_decay": 0.9,
        "warmup_epochs": 0.5,
        "freezes": [{"names": ["backbone"], "until_epoch": 1}],
    },
    "model": {"learn_p": True},
    "distillation": {"teacher": "self", "weight": 0.1},
    "pairs": {"name": "contrastive", "weight": 0.1},
    "augmentation": {"name": "blur"},
    "validation": {"accuracy_photos": 1, "at_start": True},
    "optimiser": {"clip_norm": 1.0},
}


def test_the_training_loss_falls(make_recipe, tmp_path):
    recipe = make_recipe(schedule={"epochs": 5}, head={"options": {"scale": 10.0, "margin_rad": 0.1}})
    losses = [record.loss for record in train(recipe, tmp_path / "run").history]
    assert len(losses) == 5 and losses[-1] < 0.8 * losses[0]


def test_a_run_says_all_that_is_needed_to_repeat_it(whole_run, tmp_path):
    result, recipe, lines = whole_run
    assert load_recipe(result.folder / "recipe.toml") == recipe
    facts = json.loads((result.folder / "run.json").read_text())
    assert facts["seed"] == 0 and len(facts["data"]["sha256"]) == 64 and facts["data"]["photos"] == 20
    (start,) = facts["starts"]
    assert start["versions"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert start["device"] == "cpu" and start["step"] == 0 and start["hardware"]["workers"] == 0
    with (result.folder / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3"]
    assert rows[0]["loss"] == "" and float(rows[3]["loss"]) > 0 and rows[3]["size_px"] == "48"
    assert (result.folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list((result.folder / "board").glob("events*"))
    counts = "20 photos of 4 landmarks; 4 others of them for the closed-set accuracy; validation: 12 queries"
    assert len(lines) == 5 and lines[0].startswith(counts) and "% waiting for data" in lines[-1]
    assert lines[2].endswith(" to go") and not lines[-1].endswith(" to go")

    again = train(load_recipe(result.folder / "recipe.toml"), tmp_path / "again")
    first, second = saved_state(result.folder), saved_state(again.folder)
    assert all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize("step", [3, 4])
def test_a_run_that_was_stopped_goes_on_to_the_same_numbers(whole_run, tmp_path, step):
    result, recipe, _ = whole_run
    values = config_toml(recipe).replace("[hardware]", "[hardware]\nsave_every_steps = 1")
    (tmp_path / "recipe.toml").write_text(values)
    recipe = load_recipe(tmp_path / "recipe.toml")
    with pytest.raises(Stopped):
        train(recipe, tmp_path / "run", tick=stop_at(step + 1))  # the state after step + 1 was not saved
    for left in ("state/.state-0001-00000009-0.1.part.safetensors", "best/.model.1.part.safetensors"):
        (tmp_path / "run" / left).write_bytes(b"half")  # as a kill leaves it
    torch.manual_seed(123)  # resuming must not depend on what was drawn before
    lines = []
    resumed = train(recipe, tmp_path / "run", resume=True, say=lines.append)
    places = {3: "resumed within epoch 2, after step 3 of 6", 4: "resumed after epoch 2 (step 4 of 6)"}
    assert lines[1] == places[step]
    first, second = saved_state(result.folder), saved_state(resumed.folder)
    assert first.keys() == second.keys()
    assert [name for name, value in first.items() if not torch.equal(value, second[name])] == []
    for name in ("loss", "gradient_norm", "rate", "step"):
        assert [getattr(r, name) for r in resumed.history[1:]] == [
            getattr(r, name) for r in result.history[1:]
        ]
    rates = [record.images_per_second * record.seconds for record in resumed.history[1:]]
    assert rates == pytest.approx([16] * 3)  # the whole epoch's photos
    assert resumed.best_map == result.best_map
    assert list((tmp_path / "run").rglob(".*")) == []


@pytest.mark.parametrize(("seconds", "told"), [(95.0, "95 s"), (600.0, "10 min"), (9000.0, "2.5 h")])
def test_the_time_to_go_is_told(seconds, told):
    record = EpochRecord(0, 0, 32)
    assert describe_record(record, seconds_left=seconds).endswith(f"  {told} to go")
    assert describe_record(record) == "epoch   0"


def test_the_time_to_go_counts_pixels_steps_and_validations(make_recipe, tmp_path):
    sizes = [{"px": 32}, {"px": 64, "from_epoch": 2}]
    recipe = make_recipe(schedule={"epochs": 4, "sizes": sizes}, validation={"every_epochs": 2})
    accelerator, data = make_accelerator(recipe.hardware), load_training_data(recipe)
    loop = Loop(recipe, tmp_path, data, make_task(recipe, data), accelerator)
    record = replace(EpochRecord(0, 0, 32), epoch=1, seconds=10.0, validation_seconds=1.0)
    assert loop._seconds_left(record) == 10 * (1 + 4 + 4) + 2
    assert math.isnan(loop._seconds_left(replace(record, epoch=4)))


def test_validation_says_how_many_photos_are_described(make_recipe, tmp_path):
    told = []
    recipe = make_recipe(schedule={"epochs": 1})
    train(recipe, tmp_path / "run", tick=lambda *values: told.append(values))
    assert ("validate", 12, 12) in told


@pytest.mark.slow
def test_a_run_that_mines_goes_on_with_the_tuples_that_it_had(make_recipe, tmp_path):
    recipe = make_recipe(
        head={"name": "none"},
        pairs={"name": "contrastive", "options": {"num_negatives": 2}},
        mining={"num_negatives": 2},
        hardware={"save_every_steps": 1},
    )
    whole = train(recipe, tmp_path / "whole")
    assert whole.history[-1].step == 2 * 12  # 24 tuples of 4 photos in batches of 8
    for step in (4, 14):
        with pytest.raises(Stopped):
            train(recipe, tmp_path / f"run{step}", tick=stop_at(step + 1))
        resumed = train(recipe, tmp_path / f"run{step}", resume=True)
        first, second = saved_state(whole.folder), saved_state(resumed.folder)
        assert [name for name, value in first.items() if not torch.equal(value, second[name])] == []


def test_what_a_network_draws_is_the_same_after_resuming(make_recipe, tmp_path, monkeypatch):
    original = Learner._to_device

    def noisy(self, part):  # as dropout
        batch = original(self, part)
        return replace(batch, images=batch.images + torch.randn(batch.images.shape))

    monkeypatch.setattr(Learner, "_to_device", noisy)
    recipe = make_recipe(hardware={"save_every_steps": 1})
    whole = train(recipe, tmp_path / "whole")
    with pytest.raises(Stopped):
        train(recipe, tmp_path / "run", tick=stop_at(4))
    resumed = train(recipe, tmp_path / "run", resume=True)
    first, second = saved_state(whole.folder), saved_state(resumed.folder)
    assert [name for name, value in first.items() if not torch.equal(value, second[name])] == []


def test_the_best_checkpoint_is_a_model_for_meisho_index(whole_run, places, tmp_path, run):
    result, _, _ = whole_run
    code, out, _ = run("index", places, "--to", tmp_path / "c", "--model", result.best, "--workers", 0)
    assert code == 0 and "36 photos" in out
    extractor = load_extractor(str(result.best))
    assert extractor.dim == 16 and extractor.image_options.max_side_px == 64
    best = next(r for r in result.history if r.epoch == result.best_epoch)
    assert best.validation_map == result.best_map == max(r.validation_map for r in result.history)


def test_photos_that_are_not_trained_on_are_accounted_for(places, make_recipe, tmp_path):
    root = shutil.copytree(places, tmp_path / "photos")
    for number in (2, 4):
        for photo in sorted((root / f"place_{number}").iterdir())[1:]:
            photo.unlink()
    lines = []
    recipe = make_recipe(data={"root": str(root)}, validation={"share": 0.0}, schedule={"epochs": 1})
    train(recipe, tmp_path / "run", say=lines.append)
    assert lines[0] == (
        "24 photos of 4 landmarks; no landmarks held out; left out: 2 landmarks (2 photos) with fewer "
        "than data.min_photos=2: place_2, place_4"
    )


def test_a_frozen_part_stays_as_it_was(make_recipe, tmp_path):
    freezes = [{"names": ["backbone", "projection.bias"]}]
    recipe = make_recipe(schedule={"epochs": 1, "freezes": freezes, "freeze_batch_norm": True})
    train(recipe, tmp_path / "run")
    state = saved_state(tmp_path / "run")
    start = build_start(recipe).state_dict()
    for name, value in start.items():
        is_same = torch.equal(value, state[f"network.descriptor.{name}"])
        assert is_same == (name != "projection.weight"), name


def build_start(recipe):
    from meisho.training.network import build_descriptor

    return build_descriptor(recipe.model, seed=recipe.seed)


def test_training_ends_early_when_validation_no_longer_rises(make_recipe, tmp_path, monkeypatch):
    from meisho.training import task

    scores = iter([0.3, 0.5, 0.4, 0.5, 0.9])
    monkeypatch.setattr(
        task.DescriptorTask, "validate", lambda *a, **k: task.Scores(next(scores), float("nan"))
    )
    recipe = make_recipe(schedule={"epochs": 9}, validation={"patience": 2})
    lines = []
    result = train(recipe, tmp_path / "run", say=lines.append)
    assert len(result.history) == 4 and result.best_epoch == 2 and result.best_map == 0.5
    assert "stopped early: 2 validations" in lines[-1]
    resumed = train(recipe, tmp_path / "run", resume=True)  # it has ended and stays so
    assert len(resumed.history) == 4


def test_a_loss_that_is_nan_stops_the_run_and_keeps_the_batch(make_recipe, tmp_path):
    recipe = make_recipe(
        optimiser={"backbone_rate": 1e18, "head_rate": 1e18},
        schedule={"epochs": 9},
        validation={"at_start": True},
    )
    with pytest.raises(
        DivergedError, match=r"training stopped at step \d+ of epoch \d+: loss .*lower"
    ) as error:
        train(recipe, tmp_path / "run")
    assert error.value.exit_code == 6
    assert str(tmp_path / "run" / "last") in str(error.value) and (tmp_path / "run" / "last").is_dir()
    facts = json.loads((tmp_path / "run" / "diverged" / "batch.json").read_text())
    assert facts["cause"] in str(error.value)
    tensors = load_file(tmp_path / "run" / "diverged" / "batch.safetensors")
    assert tensors["images"].shape == (8, 3, 32, 32) and tensors["labels"].tolist() == facts["labels"]
    assert len(facts["ids"]) == 8 and facts["ids"][0].startswith("place_")


@pytest.mark.parametrize(
    ("break_it", "cause"),
    [
        (lambda learner, batch: batch.images[3].fill_(torch.nan), r"images themselves .*place_\d/\d\.png"),
        (
            lambda learner, batch: learner.network.descriptor.projection.weight.data.fill_(torch.inf),
            "the weights 'descriptor.projection.weight' are not finite",
        ),
        (
            lambda learner, batch: learner.network.descriptor.projection.weight.data.fill_(3e38),
            "the layer 'descriptor.projection' gives",
        ),
    ],
)
def test_the_cause_of_a_nan_is_named(make_recipe, tmp_path, monkeypatch, break_it, cause):
    original = Learner._to_device

    def broken(self, part):
        batch = original(self, part)
        with torch.no_grad():
            break_it(self, batch)
        return batch

    monkeypatch.setattr(Learner, "_to_device", broken)
    with pytest.raises(DivergedError, match=cause) as error:
        train(make_recipe(), tmp_path / "run")
    assert "no weights were saved before" in str(error.value) and not (tmp_path / "run" / "last").exists()


def test_parts_of_a_batch_add_up_to_the_batch(make_recipe, tmp_path):
    tables = {
        "model": {"batch_norm": False},
        "optimiser": {"name": "sgd", "backbone_rate": 1e-4, "head_rate": 1e-3},
        "schedule": {"epochs": 1, "freeze_batch_norm": True},
    }
    states = []
    for parts in (1, 4):
        recipe = make_recipe(**tables, hardware={"accumulate": parts})
        train(recipe, tmp_path / str(parts))
        states.append(saved_state(tmp_path / str(parts)))
    for name, value in states[0].items():
        if name.startswith("network."):
            torch.testing.assert_close(value, states[1][name], atol=1e-5, rtol=1e-5)


def test_a_folder_with_a_run_is_not_written_over(whole_run, tmp_path):
    result, recipe, _ = whole_run
    with pytest.raises(InputError, match="holds a run already; go on with it by --resume"):
        train(recipe, result.folder)
    with pytest.raises(InputError, match="holds no saved state to resume"):
        train(recipe, tmp_path / "nothing", resume=True)


def test_a_recipe_that_fails_at_the_start_may_be_repaired(make_recipe, tmp_path):
    with pytest.raises(ConfigError, match="must be a multiple of photos_per_class=999"):
        sampling = {"name": "per_class", "options": {"photos_per_class": 999}}
        train(make_recipe(sampling=sampling), tmp_path / "run")
    assert not (tmp_path / "run" / "recipe.toml").exists()
    recipe = make_recipe(head={"options": {"scale": 10.0}}, schedule={"epochs": 1})
    train(recipe, tmp_path / "run")
    assert load_recipe(tmp_path / "run" / "recipe.toml") == recipe


@pytest.mark.parametrize("place", ["in the first epoch", "while the first state is saved"])
def test_a_run_that_was_stopped_before_its_first_state_starts_anew(make_recipe, tmp_path, monkeypatch, place):
    tick, tables = stop_at(1), {}
    if place != "in the first epoch":
        tick, tables = stop_at(-1), {"validation": {"at_start": True}}

        def stop(self):
            raise Stopped

        monkeypatch.setattr(Loop, "save", stop)  # best/, last/ and history.csv are there already
    with pytest.raises(Stopped):
        train(make_recipe(**tables), tmp_path / "run", tick=tick)
    monkeypatch.undo()
    assert (tmp_path / "run" / "recipe.toml").is_file()
    with pytest.raises(InputError, match="holds no saved state to resume; start it without --resume"):
        train(make_recipe(), tmp_path / "run", resume=True)
    other = make_recipe(schedule={"epochs": 1})
    result = train(other, tmp_path / "run")
    assert len(result.history) == 1 and load_recipe(tmp_path / "run" / "recipe.toml") == other


def test_a_run_without_its_state_is_not_written_over(whole_run, tmp_path):
    result, recipe, _ = whole_run
    ignore = shutil.ignore_patterns("state")
    shutil.copytree(result.folder, tmp_path / "run", ignore=ignore)
    for resume in (True, False):
        with pytest.raises(InputError, match=r"holds a run whose state was removed.* another place"):
            train(recipe, tmp_path / "run", resume=resume)


def test_each_start_of_a_run_is_noted(make_recipe, tmp_path):
    recipe = make_recipe(hardware={"save_every_steps": 1})
    with pytest.raises(Stopped):
        train(recipe, tmp_path / "run", tick=stop_at(3))
    first = json.loads((tmp_path / "run" / "run.json").read_text())
    other = make_recipe(hardware={"save_every_steps": 2})
    train(other, tmp_path / "run", resume=True)
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["starts"][:1] == first["starts"] and facts["data"] == first["data"]
    assert [start["step"] for start in facts["starts"]] == [0, 2]
    assert [start["hardware"]["save_every_steps"] for start in facts["starts"]] == [1, 2]
    assert {start["processes"] for start in facts["starts"]} == {1}


def test_a_script_that_its_workers_would_run_again_is_told(make_recipe, tmp_path, monkeypatch):
    # multiprocessing sets this mark while a new process imports the script that started it
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(InputError, match='if __name__ == "__main__"'):
        train(make_recipe(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_resumed_with_another_recipe_or_other_photos(make_recipe, tmp_path, places):
    import shutil

    root = shutil.copytree(places, tmp_path / "photos")
    recipe = make_recipe(data={"root": str(root)}, schedule={"epochs": 1})
    train(recipe, tmp_path / "run")
    other = make_recipe(data={"root": str(root)}, schedule={"epochs": 2})
    way = r"then -> now: schedule\.epochs: 1 -> 2; resume .* --set model\.weights=.*/last/model\.safetensors"
    with pytest.raises(MismatchError, match=way):
        train(other, tmp_path / "run", resume=True)
    trained_on = set(load_training_data(recipe).train.landmarks)
    held_out = next(folder for folder in sorted(root.iterdir()) if folder.name not in trained_on)
    photo = (held_out / "0.png").read_bytes()
    (held_out / "0.png").write_bytes(photo + b"more")  # the best mAP so far was of other photos
    with pytest.raises(MismatchError, match="the photos are not those"):
        train(recipe, tmp_path / "run", resume=True)
    (held_out / "0.png").write_bytes(photo)
    shutil.copy(root / "place_0" / "0.png", root / "place_0" / "new.png")
    with pytest.raises(MismatchError, match="the photos are not those"):
        train(recipe, tmp_path / "run", resume=True)


def test_a_run_goes_on_where_its_files_have_moved_to(places, make_recipe, tmp_path):
    stop = {"schedule": {"epochs": 2}, "validation": {"patience": 1, "share": 0.34}}
    first = {"root": str(places), "cache": str(tmp_path / "cache")}
    result = train(make_recipe(data=first, **stop), tmp_path / "run")
    shutil.copytree(places, tmp_path / "moved")
    moved = {"root": str(tmp_path / "moved"), "cache": str(tmp_path / "other"), "cache_gigabytes": 1.0}
    recipe = make_recipe(data=moved, **{**stop, "validation": {"share": 0.34}})
    assert train(recipe, tmp_path / "run", resume=True).best_map == result.best_map
    assert load_recipe(tmp_path / "run" / "recipe.toml") == recipe
    without = make_recipe(data={"root": str(places)}, schedule={"epochs": 2})
    with pytest.raises(MismatchError, match=r"then -> now: data\.cache: .*other -> none; resume"):
        train(without, tmp_path / "run", resume=True)  # what JPEG made of the photos


def test_a_run_trains_on_from_the_last_weights_of_another(make_recipe, tmp_path):
    first = train(make_recipe(), tmp_path / "first")
    weights = str(first.folder / "last" / "model.safetensors")
    on = make_recipe(model={"weights": weights}, validation={"at_start": True, "share": 0.34})
    second = train(on, tmp_path / "second")
    assert second.history[0].validation_map == pytest.approx(first.history[-1].validation_map, abs=1e-6)


def test_another_model_teaches(make_recipe, tmp_path):
    from meisho.extractors.checkpoint import save_checkpoint
    from meisho.extractors.network import build_network
    from meisho.extractors.options import TimmGeMOptions

    options = TimmGeMOptions(weights="none:7", max_side_px=64)
    save_checkpoint(build_network("test_resnet", options), "test_resnet", options, tmp_path / "teacher")
    recipe = make_recipe(
        model={"batch_norm": False},
        head={"name": "none"},
        distillation={"teacher": str(tmp_path / "teacher"), "loss": "similarity", "weight": 100.0},
        schedule={"epochs": 4},
    )
    history = train(recipe, tmp_path / "run").history
    assert history[0].head_loss == 0 and history[-1].other_loss < 0.8 * history[0].other_loss


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"head": {"name": "arcfase"}}, "head.name is 'arcfase'; the nearest is 'arcface'"),
        (
            {"head": {"options": {"skale": 1.0}}},
            "'head.options.skale' is not known; the nearest is 'head.options.scale'",
        ),
        ({"pairs": {"name": "quadruplet"}}, "pairs.name is 'quadruplet'; the nearest is"),
        ({"augmentation": {"name": "crops"}}, r"no augmentation is called 'crops'"),
        ({"augmentation": {"options": {"cutuot": 1.0}}}, "the nearest is 'cutout'"),
        ({"sampling": {"name": "even"}}, "sampling.name is 'even'; the nearest is"),
        ({"sampling": {"batch_size": 64}}, "less than one batch"),
        ({"schedule": {"freezes": [{"names": ["trunk"]}]}}, "begins with 'trunk'"),
        ({"head": {"name": "none"}}, "one must not be 'none'"),
        ({"hardware": {"accumulate": 3}}, "sampling.batch_size=8 is no multiple of hardware.accumulate=3"),
        ({"sampling": {"batch_size": 0}}, "sampling.batch_size=0: must be from 1"),
        ({"sampling": {"batch_size": 64}}, "such as --set sampling.batch_size=16"),
        ({"schedule": {"freezes": [{"names": ["layer1"]}]}}, "did you mean 'backbone.layer1'"),
        ({"schedule": {"freezes": [{"names": ["hed"]}]}}, "did you mean 'head'"),
        (
            {"kind": "delg-local", "schedule": {"freezes": [{"names": ["encoder"]}]}},
            "did you mean 'local_head.encoder'",
        ),
        ({"distillation": {"teacher": "self"}}, "needs schedule.ema_decay"),
        ({"sampling": {"name": "per_class", "by_aspect": True}}, "cannot be grouped by aspect ratio"),
        ({"model": {"backbone": "resnet_test"}}, "resnet_test"),
        ({"distillation": {"teacher": "nobody", "weight": 1.0}}, "nobody"),
        ({"mining": {"num_negatives": 1}}, "batch_size=8 in 1 parts holds no whole tuples of 3 photos"),
        ({"mining": {"num_negatives": 6}}, "each is of another landmark, of which there are 3"),
        ({"mining": {"num_negatives": 2, "max_tuples": 1}}, "less than one batch"),
        ({"mining": {"num_negatives": 2}, "sampling": {"by_aspect": True}}, "by_aspect must be false"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_told_before_training(make_recipe, tmp_path, tables, message):
    data = {"cache": str(tmp_path / "cache")}  # filling it may take hours
    with pytest.raises(InputError, match=message):
        train(make_recipe(data=data, **tables), tmp_path / "run")
    assert not (tmp_path / "cache").exists()


@pytest.fixture
def broken_places(places, tmp_path):
    """The places, in which a photo of each of three landmarks cannot be read."""
    root = shutil.copytree(places, tmp_path / "photos")
    for number in range(3):
        path = root / f"place_{number}" / "3.png"
        path.write_bytes(path.read_bytes()[:500])
    return root


def names_skipped(folder):
    with (folder / "skipped.csv").open(newline="") as file:
        return sorted("/".join(Path(row["path"]).parts[-2:]) for row in csv.DictReader(file))


BROKEN = ["place_0/3.png", "place_1/3.png", "place_2/3.png"]


@pytest.mark.parametrize("has_cache", [False, True])
def test_a_run_goes_on_without_photos_that_cannot_be_read(broken_places, make_recipe, tmp_path, has_cache):
    data = {"root": str(broken_places)} | ({"cache": str(tmp_path / "cache")} if has_cache else {})
    tables = {"data": data, "validation": {"share": 0.0}, "hardware": {"save_every_steps": 1}}
    recipe = make_recipe(**tables, whitening={"kind": "pca", "dim": 8}, schedule={"epochs": 3})
    lines = []
    whole = train(recipe, tmp_path / "whole", say=lines.append)
    assert names_skipped(whole.folder) == BROKEN
    said = "\n".join(lines)
    assert all(said.count(f"{name}: ") == 1 for name in BROKEN)
    assert f"(to find all: meisho datasets stats folder --root {broken_places} --photos)" in said
    assert "photos skipped: 3" in next(line for line in lines if line.startswith("epoch   3"))
    if has_cache:  # known before training
        assert lines[1].startswith("3 photos cannot be read, the run goes on without (")

    with pytest.raises(Stopped):
        train(recipe, tmp_path / "run", tick=stop_at(7))
    lines.clear()
    resumed = train(recipe, tmp_path / "run", resume=True, say=lines.append)
    assert names_skipped(resumed.folder) == BROKEN and "cannot be read" not in "\n".join(lines)
    first, second = saved_state(whole.folder), saved_state(resumed.folder)
    assert [name for name, value in first.items() if not torch.equal(value, second[name])] == []


def test_tuples_are_mined_without_photos_that_cannot_be_read(broken_places, make_recipe, tmp_path):
    recipe = make_recipe(
        data={"root": str(broken_places)},
        head={"name": "none"},
        pairs={"name": "contrastive", "options": {"num_negatives": 2}},
        mining={"num_negatives": 2},
        validation={"share": 0.0},
        schedule={"epochs": 1},
    )
    result = train(recipe, tmp_path / "run")
    assert names_skipped(result.folder) == BROKEN and result.history[0].loss > 0


@pytest.mark.parametrize("kind", ["descriptors", "delg-local"])
def test_photos_that_cannot_be_read_are_left_out_of_validation(broken_places, make_recipe, tmp_path, kind):
    recipe = make_recipe(
        kind=kind,
        data={"root": str(broken_places)},
        validation={"landmark_names": ["place_0", "place_1"], "accuracy_photos": 2, "at_start": True},
        local={"dim": 8},
        schedule={"epochs": 1},
    )
    lines = []
    result = train(recipe, tmp_path / "run", say=lines.append)
    assert names_skipped(result.folder)[:2] == BROKEN[:2]
    assert lines[1].startswith("2 photos cannot be read") or lines[1].startswith("3 photos cannot be read")
    assert 0 < result.best_map <= 1


def test_many_photos_that_cannot_be_read_are_told_before_training(broken_places, make_recipe, tmp_path):
    for number in range(3):
        (broken_places / "place_4" / f"{number}.png").write_bytes(b"no photo")
    data = {"root": str(broken_places), "cache": str(tmp_path / "cache")}
    message = (
        r"6 of 36 photos cannot be read; is the drive there[^\n]*(\n  [^\n]*place_\d/\d\.png: [^\n]+){6}$"
    )
    with pytest.raises(DatasetError, match=message):
        train(make_recipe(data=data, validation={"share": 0.0}), tmp_path / "run")
    assert not (tmp_path / "run" / "skipped.csv").exists()


def test_a_cache_changes_no_number(make_recipe, tmp_path):
    results = [
        train(make_recipe(data=data, validation={"share": 0.0}), tmp_path / name)
        for name, data in {
            "plain": {},
            "raw": {"cache": str(tmp_path / "cache"), "cache_encoding": "raw"},
        }.items()
    ]
    losses = [[record.loss for record in result.history] for result in results]
    assert losses[0] == losses[1]
    assert np.isnan(results[0].best_map) and results[0].best_epoch == 2  # nothing held out: the last


def test_bf16_aspect_ratios_and_changes_on_the_device_train_too(make_recipe, tmp_path):
    recipe = make_recipe(
        hardware={"precision": "bf16"},
        sampling={"by_aspect": True},
        augmentation={"name": "blur", "on_device": True},
        head={"name": "curricular", "options": {"scale": 10.0}},
        schedule={"sizes": [{"px": 64}]},
    )
    result = train(recipe, tmp_path / "run")
    assert all(0 < record.loss < 20 for record in result.history)
    assert load_extractor(str(result.best)).dim == 16


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_network_learns_the_same(make_recipe, tmp_path):
    # not Adam, whose first steps have the sign of a gradient, be it as small as rounding
    tables = {
        "schedule": {"epochs": 1},
        "optimiser": {"name": "sgd", "backbone_rate": 1e-4, "head_rate": 1e-4},
    }
    plain = train(make_recipe(**tables), tmp_path / "plain")
    compiled = train(make_recipe(**tables, hardware={"compile": True}), tmp_path / "compiled")
    assert compiled.history[0].loss == pytest.approx(plain.history[0].loss, rel=1e-4)
    first, second = (load_file(result.best / "model.safetensors") for result in (plain, compiled))
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, atol=1e-4, rtol=1e-4)


@pytest.fixture
def no_accelerator_yet():
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.usefixtures("no_accelerator_yet")
def test_training_is_on_the_cpu_where_there_is_neither_cuda_nor_a_tpu(make_recipe, monkeypatch):
    # Accelerate would choose Apple's GPU before all others; validation tells float64, which those do not have
    monkeypatch.setattr("accelerate.state.is_mps_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    accelerator = make_accelerator(make_recipe(hardware={"device": "auto"}).hardware)
    assert accelerator.device.type == "cpu"


def test_a_precision_that_the_device_does_not_have_is_refused(make_recipe, tmp_path):
    with pytest.raises(ConfigError, match="precision='fp16' needs CUDA; on cpu choose float32 or bf16"):
        train(make_recipe(hardware={"precision": "fp16"}), tmp_path / "run")
