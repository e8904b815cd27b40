import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from meisho.errors import ConfigError, InputError
from meisho.extractors.base import load_extractor
from meisho.training import whiten
from meisho.training.recipe import load_recipe
from meisho.training.task import DescriptorTask, Scores
from meisho.training.train import train
from meisho.training.whiten import pair_rows


def test_pairs_are_two_photos_of_one_landmark():
    classes = np.array([2, 0, 1, 0, 2, 2, 3])
    queries, positives = pair_rows(classes, np.random.default_rng(0))
    assert sorted(queries.tolist()) == [0, 1, 3, 4, 5]  # landmarks 1 and 3 have one photo each
    assert (classes[queries] == classes[positives]).all() and (queries != positives).all()
    assert sorted(positives.tolist()) == [0, 1, 3, 4, 5]


def whitened(make_recipe, kind="pca", **tables):
    table = {"kind": kind, "dim": 6, "shrinkage": 1.0}
    return make_recipe(**{"schedule": {"epochs": 1}, "whitening": table, **tables})


def give_map(monkeypatch, value):
    """Let validation say so of the whitened checkpoint."""
    report = SimpleNamespace(headline=SimpleNamespace(value=value))
    monkeypatch.setattr(whiten, "evaluate_descriptors", lambda *arguments, **options: report)


@pytest.mark.parametrize("kind", ["pca", "learned"])
def test_a_whitening_is_fitted_at_the_end_and_belongs_to_the_checkpoint(make_recipe, tmp_path, kind):
    lines = []
    recipe = whitened(make_recipe, kind, validation={"share": 0.0})
    result = train(recipe, tmp_path / "run", say=lines.append)
    assert lines[-1] == f"whitening ({kind}) fitted on 36 photos: 6 dimensions"
    moved = result.best.rename(tmp_path / "elsewhere")  # it must not depend on where it was made
    extractor = load_extractor(str(moved))
    assert extractor.dim == 6
    vectors = extractor.extract(np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert json.loads((moved / "model.json").read_text())["options"]["whitening"] == "whitening.safetensors"
    assert load_extractor(str(moved), whitening=None).dim == 16


def test_a_whitening_with_which_validation_falls_is_left_out(make_recipe, tmp_path, monkeypatch):
    give_map(monkeypatch, 0.01)
    lines = []
    result = train(whitened(make_recipe), tmp_path / "run", say=lines.append)
    fall = f"left out: validation mAP falls from {100 * result.best_map:.2f} to 1.00 with it"
    assert lines[-1] == f"whitening (pca) fitted on 24 photos: 6 dimensions; {fall}"
    assert np.isnan(result.whitened_map) and load_extractor(str(result.best)).dim == 16
    assert [p.name for p in result.best.glob("*.safetensors")] == ["model.safetensors"]
    give_map(monkeypatch, 1.0)  # it is not tried again
    assert load_extractor(str(train(whitened(make_recipe), tmp_path / "run", resume=True).best)).dim == 16


def test_what_a_whitening_gives_is_measured_and_told(make_recipe, tmp_path, monkeypatch):
    lines, values = [], []
    evaluate = whiten.evaluate_descriptors

    def note(*arguments, **options):
        report = evaluate(*arguments, **options)
        values.append(report.headline.value)
        return report

    monkeypatch.setattr(whiten, "evaluate_descriptors", note)
    monkeypatch.setattr(DescriptorTask, "validate", lambda *a, **k: Scores(0.001, math.nan))
    result = train(whitened(make_recipe), tmp_path / "run", say=lines.append)
    assert [result.whitened_map] == values and result.whitened_map > result.best_map == 0.001
    assert lines[-1].endswith(f"validation mAP 0.10 without it, {100 * values[0]:.2f} with it")
    assert load_extractor(str(result.best)).dim == 6


def test_fewer_dimensions_than_asked_for_are_told(make_recipe, tmp_path):
    recipe = make_recipe(
        model={"projection_dim": 40},
        schedule={"epochs": 1},
        whitening={"kind": "pca", "dim": 40},
        validation={"share": 0.0},
    )
    lines = []
    train(recipe, tmp_path / "run", say=lines.append)
    assert lines[-1].endswith("35 dimensions of the 40 asked for: so few photos give no more")


def test_a_finished_run_that_is_resumed_has_the_same_whitening(make_recipe, tmp_path, monkeypatch):
    give_map(monkeypatch, 1.0)
    recipe = whitened(make_recipe)
    result = train(recipe, tmp_path / "run")
    before = {path.name: path.read_bytes() for path in result.best.iterdir()}
    monkeypatch.setattr(whiten, "describe_rows", lambda *arguments, **options: pytest.fail("fitted again"))
    again = train(recipe, tmp_path / "run", resume=True)
    assert again.whitened_map == result.whitened_map == 1.0
    assert load_extractor(str(result.best)).dim == 6
    assert {path.name: path.read_bytes() for path in result.best.iterdir()} == before


def test_a_finished_run_may_be_given_another_whitening(make_recipe, tmp_path, monkeypatch):
    give_map(monkeypatch, 1.0)
    for table, dim in [
        ({"kind": "pca", "dim": 6}, 6),
        ({"kind": "learned", "dim": 5, "shrinkage": 1.0}, 5),
        ({"kind": "none"}, 16),
    ]:
        recipe = make_recipe(schedule={"epochs": 1}, whitening=table)
        result = train(recipe, tmp_path / "run", resume=(tmp_path / "run").exists())
        assert load_extractor(str(result.best)).dim == dim
        assert load_recipe(result.folder / "recipe.toml") == recipe
    assert np.isnan(result.whitened_map)


def test_a_whitening_that_cannot_be_fitted_leaves_a_run_that_can_be_finished(make_recipe, tmp_path):
    tables = {"schedule": {"epochs": 1}, "model": {"projection_dim": 40}}
    with pytest.raises(InputError, match=r"too few different pairs.* Training itself has ended and is kept"):
        train(make_recipe(**tables, whitening={"kind": "learned", "shrinkage": 0.0}), tmp_path / "run")
    result = train(make_recipe(**tables), tmp_path / "run", resume=True)
    assert load_extractor(str(result.best)).dim == 40


@pytest.mark.parametrize("dim", [0, 17])
def test_dimensions_that_cannot_be_are_refused_before_training(make_recipe, tmp_path, dim):
    with pytest.raises(ConfigError, match=f"whitening.dim={dim}: must be from 1 to "):
        train(make_recipe(whitening={"kind": "pca", "dim": dim}), tmp_path / "run")
    assert not (tmp_path / "run").exists()
