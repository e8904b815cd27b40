import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load_file

from meisho.errors import ConfigError, InputError
from meisho.extractors.base import load_extractor
from meisho.extractors.checkpoint import average_checkpoints
from meisho.training import averaging
from meisho.training.task import DescriptorTask, Scores
from meisho.training.train import train


def averaged(make_recipe, *shares, **tables):
    return make_recipe(**{"average": {"shares": list(shares)}, **tables})


def weights(folder):
    return load_file(folder / "model.safetensors")


def power(folder):
    return json.loads((folder / "model.json").read_text())["options"]["p"]


def start_of(make_recipe, tmp_path, **tables):
    """The checkpoint of the network before training."""
    nothing = {"optimiser": {"backbone_rate": 0.0, "head_rate": 0.0, "weight_decay": 0.0}}
    frozen = {"schedule": {"epochs": 1, "freeze_batch_norm": True}, "model": {"batch_norm": False}}
    return train(make_recipe(**nothing, **frozen, **tables), tmp_path / "start").best


@pytest.fixture
def recipe(make_recipe):
    """A recipe of a network without a batch norm behind, whose start is what it is built as."""

    def make(*shares, **tables):
        tables = {"model": {"batch_norm": False, "learn_p": True}, **tables}
        return averaged(make_recipe, *shares, **tables)

    return make


def give_maps(monkeypatch, *values):
    """Let validation say so of one checkpoint after another; returns those that are left."""
    left = list(values)
    monkeypatch.setattr(
        averaging,
        "evaluate_descriptors",
        lambda *a, **k: SimpleNamespace(headline=SimpleNamespace(value=left.pop(0))),
    )
    monkeypatch.setattr(DescriptorTask, "validate", lambda *a, **k: Scores(0.5, math.nan))
    return left


def check_mean(folder, share, start, trained):
    """Check that a checkpoint is the mean of two, weight by weight."""
    found, first, last = weights(folder), weights(start), weights(trained)
    assert found.keys() == first.keys() and any((first[name] != last[name]).any() for name in first)
    for name in found:
        expected = last[name]
        if expected.dtype.kind == "f":
            expected = (1 - share) * first[name].astype(float) + share * last[name].astype(float)
        np.testing.assert_allclose(found[name], expected, rtol=1e-6, atol=1e-7)
    assert power(folder) == pytest.approx((1 - share) * power(start) + share * power(trained))


@pytest.fixture
def start(make_recipe, tmp_path):
    return start_of(make_recipe, tmp_path)


def test_the_share_that_validation_likes_best_is_kept(recipe, tmp_path, monkeypatch, start):
    left, lines = give_maps(monkeypatch, 0.6, 0.9, 0.7, 0.4, 0.3, 0.2), []
    result = train(recipe(0.25, 0.5, 0.75), tmp_path / "run", say=lines.append)
    assert left == [] and (result.best_map, result.best_epoch) == (0.9, 1)
    assert (result.average.share, result.average.trained) == (0.5, "trained")
    check_mean(result.best, 0.5, start, tmp_path / "run" / "trained")
    assert load_extractor(str(result.best)).dim == 16
    assert lines[-1].startswith("averaged with the start: validation mAP 50.00 without, 60.00 with 0.25 of")
    assert lines[-1].endswith("20.00 with 0.75 of the last; 0.5 is kept")
    assert not (tmp_path / "run" / "trial").exists() and not (tmp_path / "run" / "start").exists()


def test_what_is_last_is_tried_where_nothing_trained_is_best(recipe, tmp_path, monkeypatch, start):
    give_maps(monkeypatch, 0.7)
    result = train(recipe(0.5, validation={"at_start": True}), tmp_path / "run")
    assert (result.best_epoch, result.average.trained, result.best_map) == (0, "last", 0.7)
    check_mean(result.best, 0.5, start, tmp_path / "run" / "last")


def test_the_trained_weights_stay_where_no_average_is_better(recipe, tmp_path, monkeypatch):
    give_maps(monkeypatch, 0.4, 0.5)
    lines = []
    result = train(recipe(0.5), tmp_path / "run", say=lines.append)
    assert (result.average, result.best_map) == (None, 0.5)
    assert lines[-1].endswith("50.00 with 0.5 of the last; left out")
    assert weights(result.best).keys() == weights(tmp_path / "run" / "trained").keys()
    for name, array in weights(result.best).items():
        np.testing.assert_array_equal(array, weights(tmp_path / "run" / "trained")[name])


def test_a_run_that_has_ended_is_averaged_anew_for_other_shares_alone(recipe, tmp_path, monkeypatch, start):
    run = tmp_path / "run"
    give_maps(monkeypatch, 0.6, 0.4)
    train(recipe(0.5), run)
    trained = (run / "trained" / "model.safetensors").read_bytes()
    give_maps(monkeypatch)  # nothing is measured any more
    again = train(recipe(0.5), run, resume=True)
    assert (again.average.share, again.best_map) == (0.5, 0.6)
    give_maps(monkeypatch, 0.8, 0.4)
    other = train(recipe(0.25), run, resume=True)
    assert (other.average.share, other.best_map) == (0.25, 0.8)
    check_mean(other.best, 0.25, start, run / "trained")
    give_maps(monkeypatch)
    back = train(recipe(), run, resume=True)
    assert (back.average, back.best_map) == (None, 0.5)
    assert (run / "best" / "model.safetensors").read_bytes() == trained


def test_an_average_that_was_interrupted_is_made_again_from_what_was_trained(
    recipe, tmp_path, monkeypatch, start
):
    run, make = tmp_path / "run", averaging.average_checkpoints

    def stop_after_best(checkpoints, shares, to):
        make(checkpoints, shares, to)
        if to.name == "best":
            raise KeyboardInterrupt

    give_maps(monkeypatch, 0.6, 0.4, 0.6, 0.4)
    monkeypatch.setattr(averaging, "average_checkpoints", stop_after_best)
    with pytest.raises(KeyboardInterrupt):
        train(recipe(0.5), run)
    monkeypatch.setattr(averaging, "average_checkpoints", make)
    check_mean(train(recipe(0.5), run, resume=True).best, 0.5, start, run / "trained")


def test_without_validation_the_only_share_is_taken_and_several_are_refused(recipe, tmp_path, start):
    nothing = {"validation": {"share": 0.0}}
    with pytest.raises(InputError, match=r"average\.shares: several .* give one"):
        train(recipe(0.5, 0.25, **nothing), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    lines = []
    result = train(recipe(0.5, **nothing), tmp_path / "run", say=lines.append)
    assert result.average.share == 0.5 and math.isnan(result.best_map)
    assert lines[-1] == "averaged with the start: 0.5 of the trained weights; nothing is held out"


def test_a_whitening_is_fitted_on_the_average(recipe, tmp_path):
    whitening = {"kind": "pca", "dim": 6, "shrinkage": 1.0}
    run, nothing = tmp_path / "run", {"validation": {"share": 0.0}}
    first = train(recipe(0.5, whitening=whitening, **nothing), run)
    before = (first.best / "whitening.safetensors").read_bytes()
    assert load_extractor(str(first.best)).dim == 6
    again = train(recipe(0.25, whitening=whitening, **nothing), run, resume=True)
    assert (again.best / "whitening.safetensors").read_bytes() != before
    assert load_extractor(str(again.best)).dim == 6


def test_checkpoints_of_other_networks_or_uses_are_refused(make_recipe, tmp_path, start):
    other = train(make_recipe(schedule={"epochs": 1}, model={"max_side_px": 32}), tmp_path / "other").best
    with pytest.raises(InputError, match=r"not checkpoints of one network in one use"):
        average_checkpoints([start, other], [1, 1], tmp_path / "mean")
    assert not (tmp_path / "mean").exists()


@pytest.mark.parametrize("shares", [[0.0], [1.0], [0.5, 1.5], [-0.1]])
def test_shares_lie_between_nothing_and_all(make_recipe, shares):
    with pytest.raises(ConfigError, match=r"average\.shares=.*must be above 0 to below 1"):
        averaged(make_recipe, *shares)
