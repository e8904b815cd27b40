import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from shard_worker import train_all

from devices import DEVICES
from meisho.layers.class_shard import Shard

WORKER = Path(__file__).parent / "shard_worker.py"


@pytest.fixture(scope="module", params=DEVICES)
def runs(request, tmp_path_factory):
    """Values of this process alone, and of each of two gloo processes on one device: the same batches."""
    folder = tmp_path_factory.mktemp("shard")
    workers = [
        subprocess.Popen(
            [sys.executable, WORKER, str(rank), folder / "store", folder / f"{rank}.npz", request.param],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    alone = train_all(0, 1, request.param)
    for worker in workers:
        _, errors = worker.communicate()
        assert worker.returncode == 0, errors
    return [alone, *(dict(np.load(folder / f"{rank}.npz")) for rank in range(2))]


@pytest.mark.parametrize(
    "name", ["arcface-sharded", "dynamic-sharded", "curricular-sharded", "curricular-whole"]
)
@pytest.mark.slow
def test_two_processes_train_trunk_and_centres_as_one_does(runs, name):
    one, *ranks = ({k: v for k, v in run.items() if k.startswith(f"{name}/")} for run in runs)
    for rank in ranks:
        assert rank.keys() == one.keys()
        for key, value in one.items():
            np.testing.assert_allclose(rank[key], value, rtol=1e-5, atol=1e-5, err_msg=key)
    assert len(set(one[f"{name}/losses"])) == 3  # it did train


def test_curricular_moves_t_by_the_mean_over_all_ranks(runs):
    values = [run[f"curricular-{kind}/t"] for run in runs for kind in ("sharded", "whole")]
    assert values[0] != 0
    np.testing.assert_allclose(values, values[0], rtol=1e-5)


def test_every_class_is_held_by_one_rank_and_ranks_hold_about_as_many():
    for num_classes, num_ranks in ((23, 2), (81_313, 8), (5, 3), (4, 4)):
        parts = [Shard(rank, num_ranks).classes(num_classes) for rank in range(num_ranks)]
        assert [c for part in parts for c in part] == list(range(num_classes))
        sizes = [len(part) for part in parts]
        assert max(sizes) - min(sizes) <= 1


def test_too_few_classes_are_refused():
    from meisho.layers.margin_heads import make_head

    with pytest.raises(ValueError, match="1 classes are too few"):
        make_head("arcface", 1, 2, shard=Shard(0, 2))
