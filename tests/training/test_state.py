import json

import pytest
import torch
from torch import nn

from meisho.errors import InputError
from meisho.sealed import read_sealed
from meisho.training.state import Position, RunState, load_state, save_state, save_tensors


def make_rank(rank, *, num_ranks=2, value=0.0):
    network = nn.Linear(2, 1, bias=False)
    nn.init.constant_(network.weight, value + rank)
    return RunState({"network": network}, torch.optim.AdamW(network.parameters()), None, rank, num_ranks)


def save(folder, step, ranks=(0, 1)):
    """Save as processes do whose weights are step + rank; fewer than both ranks: killed before the others."""
    states, progress = [make_rank(rank, value=step) for rank in range(2)], Position(step=step)
    for rank in ranks:
        save_tensors(folder, states[rank], progress)
    if len(ranks) == 2:
        save_state(folder, states[0], progress, num_updates=step)


def load(folder, rank):
    state = make_rank(rank)
    progress, num_updates = load_state(folder, state)
    assert num_updates == progress.step
    return progress.step, state.networks["network"].weight[0, 0].item()


@pytest.mark.parametrize("written", [(0,), (1,)])
def test_a_kill_between_the_ranks_leaves_the_step_before_to_both(tmp_path, written):
    save(tmp_path, 3)
    save(tmp_path, 4, ranks=written)
    assert [load(tmp_path, rank) for rank in range(2)] == [(3, 3.0), (3, 4.0)]
    save(tmp_path, 5)
    assert [load(tmp_path, rank) for rank in range(2)] == [(5, 5.0), (5, 6.0)]
    assert len(list(tmp_path.iterdir())) == 3


def test_a_save_at_the_end_of_an_epoch_leaves_that_after_its_last_step_whole(tmp_path):
    state = make_rank(0, num_ranks=1, value=1.0)
    save_tensors(tmp_path, state, Position(step=8, epoch=0, step_in_epoch=8))
    save_state(tmp_path, state, Position(step=8, epoch=0, step_in_epoch=8))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    save_tensors(tmp_path, make_rank(0, num_ranks=1, value=2.0), Position(step=8, epoch=1))
    assert before.items() <= {path.name: path.read_bytes() for path in tmp_path.iterdir()}.items()


def test_another_number_of_ranks_is_told_the_one_that_is_needed(tmp_path):
    save(tmp_path, 1)
    for num_ranks in (1, 3):
        with pytest.raises(InputError, match=f"2 processes, and there are {num_ranks}; resume with 2"):
            load_state(tmp_path, make_rank(0, num_ranks=num_ranks))


def test_a_state_that_is_not_whole_or_of_another_version_is_told(tmp_path):
    with pytest.raises(InputError, match="is not the state of this run"):
        load_state(tmp_path, make_rank(0))
    save(tmp_path, 1)
    next(tmp_path.glob("*-1.safetensors")).unlink()
    with pytest.raises(InputError, match="or a file removed"):
        load_state(tmp_path, make_rank(1))
    path = tmp_path / "state.json"
    path.write_text(json.dumps({**read_sealed(path, nan=True), "format": 1}))
    with pytest.raises(InputError, match="another version of meisho"):
        load_state(tmp_path, make_rank(0))
