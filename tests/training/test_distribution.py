"""Two gloo processes on one machine, against one process with the same batches."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from subprocess import PIPE

import pytest
import torch
from places import recipe_values
from safetensors.torch import load_file

from meisho.config import config_toml, parse_config
from meisho.errors import InputError
from meisho.training.distribution import gradient_norm
from meisho.training.recipe import Recipe
from meisho.training.train import train

RUN = "from meisho.cli import main; main()"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def run_processes(count, recipe, folder, *, program=RUN, code=0):
    """Train in so many processes; returns what each of them wrote to stderr."""
    port, processes = free_port(), []
    for rank in range(count):
        names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
        names |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
        environment = {**os.environ, **{k: str(v) for k, v in names.items()}, "ACCELERATE_USE_CPU": "true"}
        command = [sys.executable, "-c", program, "train", str(recipe), "--to", str(folder)]
        processes.append(subprocess.Popen(command, env=environment, stdout=PIPE, stderr=PIPE, text=True))
    said = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [code] * count, "\n".join(e for _, e in said)
    if code == 0:
        assert [bool(out) for out, _ in said] == [True] + [False] * (count - 1)  # the first one speaks
    return [err for _, err in said]


ASK = """
import os, signal
from meisho.training.loop import Loop
original = Loop._step
def asked(self, parts):
    if self._accelerator.process_index == 1 and self.progress.step == 1:
        os.kill(os.getpid(), signal.SIGTERM)
    return original(self, parts)
Loop._step = asked
"""


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_after_the_same_step(places, tmp_path):
    recipe = parse_config(recipe_values(places), Recipe, source="test")
    (tmp_path / "recipe.toml").write_text(config_toml(recipe))
    messages = run_processes(2, tmp_path / "recipe.toml", tmp_path / "run", program=ASK + RUN, code=130)
    assert "kept up to step 2; go on by the same launcher: " in messages[0]
    assert all("Traceback" not in message for message in messages)
    assert json.loads((tmp_path / "run/state/state.json").read_text())["progress"]["step"] == 2


def trained(folder, rank=0):
    names = json.loads((folder / "state" / "state.json").read_text())["tensors"]
    return load_file(folder / "state" / names[rank])


@pytest.mark.parametrize(("shard", "num_negatives"), [(False, 0), (True, 0), (False, 2)])
@pytest.mark.slow
def test_two_processes_give_the_weights_of_one(places, tmp_path, shard, num_negatives):
    root = shutil.copytree(places, tmp_path / "photos")
    broken = [f"place_{number}/3.png" for number in range(3)]
    for name in broken:
        (root / name).write_bytes(b"no photo")
    values = recipe_values(
        root,
        # the neck's batch norm sees both halves; torch has no such norm for a backbone on CPUs
        schedule={"epochs": 1, "freeze_batch_norm": True, "ema_decay": 0.5},
        head={"options": {"scale": 10.0}, "shard": shard},
        pairs={"name": "contrastive"},
        mining={"num_negatives": num_negatives, "max_tuples": 6},
        optimiser={"name": "sgd", "backbone_rate": 1e-3, "head_rate": 1e-2, "clip_norm": 1.0},
        hardware={"accumulate": 2},
    )
    recipe = parse_config(values, Recipe, source="test")
    (tmp_path / "recipe.toml").write_text(config_toml(recipe))
    result = train(recipe, tmp_path / "one")
    said, other = run_processes(2, tmp_path / "recipe.toml", tmp_path / "two")
    skipped = [set((tmp_path / name / "skipped.csv").read_text().split()) for name in ("one", "two")]
    assert skipped[0] == skipped[1] and all(name in said for name in broken), said
    assert "cannot be read" not in other
    first, second = trained(tmp_path / "one"), trained(tmp_path / "two")
    if shard:
        other = trained(tmp_path / "two", rank=1)
        for name in ("network.head.weight", "average.head.weight"):
            second[name] = torch.cat([second[name], other[name]])
        with pytest.raises(InputError, match=r"over 2 processes, and there are 1; resume with 2"):
            train(recipe, tmp_path / "two", resume=True)
    names = [name for name in first if name.startswith(("network.", "average."))]
    assert len(names) > 100
    for name in names:
        torch.testing.assert_close(second[name], first[name], atol=1e-5, rtol=1e-5)
    assert json.loads((tmp_path / "two" / "run.json").read_text())["starts"][0]["processes"] == 2
    assert result.history[0].loss > 0 and (tmp_path / "two" / "best" / "model.json").is_file()


@pytest.mark.parametrize(
    "tables",
    [
        {"model": {"backbone": "test_convnext"}},  # its last norm stands behind the map that is pooled
        {"kind": "delg-local", "local": {"dim": 8}},  # its trunk is not trained
    ],
)
@pytest.mark.slow
def test_parameters_that_get_no_gradient_stop_no_process(places, tmp_path, tables):
    recipe = parse_config(recipe_values(places, schedule={"epochs": 1}, **tables), Recipe, source="test")
    (tmp_path / "recipe.toml").write_text(config_toml(recipe))
    run_processes(2, tmp_path / "recipe.toml", tmp_path / "run")
    assert trained(tmp_path / "run")


def test_the_norm_of_no_gradients_is_on_the_device_of_the_parameters():
    # a head that is spread and frozen has none, and processes can add up only what is on their GPUs
    frozen = torch.nn.Parameter(torch.zeros(2, device="meta"), requires_grad=False)
    assert gradient_norm([frozen]).device == frozen.device
    assert gradient_norm([]) == 0


BREAK = """
from meisho.training.learner import Learner
original = Learner._to_device
batches = []
def broken(self, part):
    batch = original(self, part)
    batches.append(batch)
    if self._accelerator.process_index == 1 and len(batches) == 2:
        batch.images[2] = {value}
    return batch
Learner._to_device = broken
"""


@pytest.mark.parametrize(
    ("tables", "value", "cause"),
    [
        # each process has its own loss there: the first one's is finite
        ({"kind": "delg-local", "local": {"dim": 8}}, "float('nan')", r"the images themselves .*\({photo}\)"),
        # both have the same loss, and in the first process its neck is the first layer that is broken
        ({}, "3e38", r"the layer 'descriptor\.backbone\.conv1"),
    ],
)
@pytest.mark.slow
def test_a_photo_that_breaks_one_process_stops_all_and_is_kept(places, tmp_path, tables, value, cause):
    recipe = parse_config(recipe_values(places, **tables), Recipe, source="test")
    (tmp_path / "recipe.toml").write_text(config_toml(recipe))
    program = BREAK.format(value=value) + RUN
    messages = run_processes(2, tmp_path / "recipe.toml", tmp_path / "run", program=program, code=6)
    parts = [tmp_path / "run" / "diverged" / name for name in ("batch", "batch-1")]
    ids = [json.loads(part.with_suffix(".json").read_text())["ids"] for part in parts]
    images = [load_file(part.with_suffix(".safetensors"))["images"] for part in parts]
    assert len({*ids[0], *ids[1]}) == 8  # the whole batch
    assert float(images[0].abs().max()) < 10 and not float(images[1][2].abs().max()) < 1e38
    expected = "error: training stopped at step 1 .* in process 1, " + cause.format(photo=ids[1][2])
    assert all(re.search(expected, message) for message in messages), messages
