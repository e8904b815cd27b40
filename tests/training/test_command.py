import json
import math
from pathlib import Path

import numpy as np
import pytest
from places import recipe_values

from meisho.cli.train import _describe_result
from meisho.config import config_toml, parse_config
from meisho.training.history import EpochRecord
from meisho.training.recipe import Recipe
from meisho.training.train import TrainingResult


@pytest.fixture
def recipe_file(places, tmp_path):
    recipe = parse_config(recipe_values(places, schedule={"epochs": 1}), Recipe, source="test")
    path = tmp_path / "small.toml"
    path.write_text(config_toml(recipe), encoding="utf-8")
    return path


def test_train_says_what_it_does_and_what_to_do_next(recipe_file, tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    code, out, err = run("train", recipe_file)
    assert code == 0, err
    assert "24 photos of 4 landmarks; validation: 12 queries in 12 photos" in err
    assert "epoch   1  32 px  loss" in err and "% waiting for data" in err
    assert "Best after 1 epoch, mAP" in out and "runs/small/best" in out
    assert "index PHOTOS --to my.meisho --model runs/small/best" in out
    code, _, err = run("train", recipe_file)
    assert code == 2 and "go on with it by --resume" in err
    code, _, err = run("train", "runs/small/recipe.toml", "--resume")
    assert code == 0 and "this run has ended already, after epoch 1 (step 3 of 3)" in err
    assert len(list((tmp_path / "runs/small/board").iterdir())) == 1
    code, _, err = run("train", recipe_file, "--to", recipe_file)
    assert code == 2 and "small.toml: is a file; give the folder of a run" in err


def test_processes_that_do_not_know_of_each_other_are_refused(recipe_file, tmp_path, monkeypatch, run):
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, _, err = run("train", recipe_file, "--to", tmp_path / "run")
    assert code == 2 and "start them by torchrun --nproc_per_node 2 -m meisho.cli train" in err
    assert not (tmp_path / "run").exists()


def test_train_takes_changes_resumes_and_prints_json(recipe_file, tmp_path, run):
    changes = ["--set", "schedule.epochs=2", "--set", "head.options.scale=10", "--to", tmp_path / "run"]
    code, out, _ = run("train", recipe_file, *changes, "--json")
    result = json.loads(out)
    assert code == 0 and result["best"] == str(tmp_path / "run" / "best") and len(result["history"]) == 2
    code, out, _ = run("train", recipe_file, *changes, "--json", "--resume")
    assert code == 0 and json.loads(out)["history"] == result["history"]
    code, _, err = run("train", recipe_file, "--to", tmp_path / "run", "--resume")
    assert code == 4 and "then -> now: head.options.scale: 10 -> none; schedule.epochs: 2 -> 1; resume" in err


def test_training_that_does_not_help_is_said_to(recipe_file, tmp_path, run):
    still = ["--set", "optimiser.backbone_rate=0", "--set", "optimiser.head_rate=0"]
    still += ["--set", "schedule.freeze_batch_norm=true", "--set", "model.batch_norm=false"]
    code, out, _ = run(
        "train", recipe_file, "--to", tmp_path / "run", *still, "--set", "validation.at_start=true"
    )
    assert code == 0 and "Best before training, mAP" in out and "no epoch improved on it" in out
    assert str(tmp_path / "run" / "best") in out.replace("\n", "")


@pytest.mark.parametrize(
    ("maps", "told"),
    [
        ([0.5, 0.625], "Best after 1 epoch, mAP 50.00 → 62.50 on validation: best"),
        ([math.nan, 0.625], "Best after 1 epoch, mAP 62.50 on validation: best"),
        ([0.5, 0.4], "Best before training, mAP 50.00 on validation: no epoch improved on it; try lower"),
        (
            [0.98, 0.97],
            "Best before training, mAP 98.00 on validation: no epoch improved on it; what is held",
        ),
    ],
)
def test_the_result_is_compared_with_the_model_before(maps, told):
    best = int(np.nanargmax(maps))
    blank = dict.fromkeys(EpochRecord.__dataclass_fields__, 0.0)
    history = tuple(EpochRecord(**{**blank, "epoch": e, "validation_map": m}) for e, m in enumerate(maps))
    result = TrainingResult(Path("run"), Path("best"), best, maps[best], math.nan, history)
    words = [word if isinstance(word, str) else word[0] for word in _describe_result(result)]
    assert "".join(words).startswith(told)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("schedule.epoch=2", "the nearest is 'schedule.epochs'"),
        ("schedule.epochs=two", "schedule.epochs is 'two', expected a whole number"),
        ("data.root=nowhere", "nowhere"),
        ("head.name=arcfaces", "head.name is 'arcfaces'; the nearest is 'arcface'"),
        ("head.options.scale=abc", "head.options.scale is 'abc', expected a number"),
        ("head.options.shard=1", "the key 'head.options.shard' is not known"),
        ("pairs={name='triplet', options={soft='yes'}}", "pairs.options.soft is 'yes', expected true or"),
        ("sampling.options.batch_size=4", "the key 'sampling.options.batch_size' is not known"),
        (
            "sampling={name='per_class', batch_size=8, options={photos_per_class='abc'}}",
            "sampling.options.photos_per_class is 'abc', expected a whole number",
        ),
        ("data.dataset=oxford5k", "all: folder, csv, toycity, gldv2_train"),
    ],
)
def test_a_wrong_change_is_one_line_and_exit_code_2(recipe_file, tmp_path, run, change, message):
    code, _, err = run("train", recipe_file, "--to", tmp_path / "run", "--set", change)
    assert code == 2 and message in err.replace("\n", " ") and "Traceback" not in err


@pytest.mark.slow
def test_local_features_that_were_trained_serve_every_command(
    recipe_file, places, tmp_path, monkeypatch, run
):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(
        "train", recipe_file, "--set", "kind=delg-local", "--set", "local.dim=8", "--to", "run"
    )
    assert code == 0 and "index PHOTOS --to my.meisho --local run/best" in out, err
    written = (tmp_path / "run" / "best" / "local.json").read_text()
    smaller = written.replace('"dim": 8', '"dim": 8, "max_side_px": 64')
    (tmp_path / "run" / "best" / "local.json").write_text(smaller)
    model = ["--model", "timm:test_resnet", "--weights", "none:0", "--size", "64"]
    code, _, err = run("index", places, "--to", "c.meisho", *model, "--local", "run/best")
    assert code == 0, err
    photo, other = places / "place_0" / "0.png", places / "place_0" / "1.png"
    code, out, err = run("search", "c.meisho", photo, "--verify", "3")
    assert code == 0 and "place_0/0.png" in out, err
    code, out, err = run("match", photo, other, "--local", "run/best", "--json")
    assert code == 0 and min(json.loads(out)["keypoints"]) > 0, err
    evaluated = ["evaluate", "folder", "--root", places, *model, "--to", "report"]
    code, _, err = run(*evaluated, "--local", "run/best", "--rerank", "geometric:first=3")
    assert code == 0, err
    code, _, err = run("index", places, "--to", "c.meisho", *model, "--local", "run")
    assert code == 2 and "did you mean 'run/best'?" in err.replace("\n", " ")
