import json

import numpy as np
import pytest

from meisho.extractors.base import load_extractor
from meisho.training.train import train
from meisho.training.whiten import pair_rows


def test_pairs_are_two_photos_of_one_landmark():
    classes = np.array([2, 0, 1, 0, 2, 2, 3])
    queries, positives = pair_rows(classes, np.random.default_rng(0))
    assert sorted(queries.tolist()) == [0, 1, 3, 4, 5]  # landmarks 1 and 3 have one photo each
    assert (classes[queries] == classes[positives]).all() and (queries != positives).all()
    assert sorted(positives.tolist()) == [0, 1, 3, 4, 5]


@pytest.mark.parametrize("kind", ["pca", "learned"])
def test_a_whitening_is_fitted_at_the_end_and_belongs_to_the_checkpoint(make_recipe, tmp_path, kind):
    recipe = make_recipe(schedule={"epochs": 1}, whitening={"kind": kind, "dim": 6, "shrinkage": 1.0})
    lines = []
    result = train(recipe, tmp_path / "run", say=lines.append)
    assert lines[-1].startswith(f"whitening ({kind}) fitted on 24 photos: 6 dimensions; validation mAP")
    moved = result.best.rename(tmp_path / "elsewhere")  # it must not depend on where it was made
    extractor = load_extractor(str(moved))
    assert extractor.dim == 6
    vectors = extractor.extract(np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert json.loads((moved / "model.json").read_text())["options"]["whitening"] == "whitening.safetensors"
    assert load_extractor(str(moved), whitening=None).dim == 16


def test_a_finished_run_that_is_resumed_has_the_same_whitening(make_recipe, tmp_path):
    recipe = make_recipe(schedule={"epochs": 1}, whitening={"kind": "pca", "dim": 6, "shrinkage": 1.0})
    best = train(recipe, tmp_path / "run").best
    before = {path.name: path.read_bytes() for path in best.iterdir()}
    train(recipe, tmp_path / "run", resume=True)
    assert load_extractor(str(best)).dim == 6
    assert {path.name: path.read_bytes() for path in best.iterdir()} == before
