"""Signals to a real process: what it says, and that the run goes on to the same numbers."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading
import time

import pytest
from places import recipe_values
from test_train import Stopped, saved_state

from meisho.config import config_toml, parse_config
from meisho.errors import InterruptedRunError
from meisho.training.interruption import noted_signals
from meisho.training.recipe import Recipe
from meisho.training.state import saved_step
from meisho.training.train import train

SLOW = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it
from meisho.cli import main
from meisho.training.loop import Loop
original = Loop._step
def slow(self, parts):
    done = original(self, parts)
    print("step", self.progress.step, flush=True)
    time.sleep({seconds})
    return done
Loop._step = slow
main()
"""


@contextlib.contextmanager
def training(recipe, folder, *arguments, seconds=0.3):
    """Start to train in a process group of its own, with slow steps, as a terminal does."""
    command = [sys.executable, "-c", SLOW.format(seconds=seconds), "train", str(recipe), "--to", str(folder)]
    process = subprocess.Popen(
        [*command, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_for_step(process, step):
    for line in process.stdout:
        if line == f"step {step}\n":
            return
    pytest.fail(f"it ended before step {step}: {process.stderr.read()}")


@pytest.fixture
def recipe_file(places, tmp_path):
    recipe = parse_config(recipe_values(places, hardware={"workers": 1}), Recipe, source="test")
    path = tmp_path / "small.toml"
    path.write_text(config_toml(recipe), encoding="utf-8")
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals of Unix")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_processes_ends_a_run_after_its_step_and_it_goes_on(
    recipe_file, make_recipe, tmp_path, number, run
):
    folder = tmp_path / "my run"
    with training(recipe_file, folder, "--set", "optimiser.head_rate=0.02") as process:
        wait_for_step(process, 2)
        os.killpg(process.pid, number)
        os.killpg(process.pid, number)  # some launchers pass it on as well
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert f"{number.name}: stopping after this step" in err
    message = err.splitlines()[-1]
    assert message.startswith("interrupted: the run is kept up to step 2; go on: ")
    assert "Traceback" not in err and "Error" not in err
    command = shlex.split(message.partition("go on: ")[2])
    assert command[1:] == [
        *("train", str(recipe_file), "--to", str(folder), "--set", "optimiser.head_rate=0.02", "--resume")
    ]
    code, _, err = run(*command[1:], "--set", "hardware.workers=0")
    assert code == 0, err
    train(make_recipe(optimiser={"head_rate": 0.02}), tmp_path / "whole")
    first, second = saved_state(tmp_path / "whole"), saved_state(folder)
    assert first.keys() == second.keys()
    assert [name for name, value in first.items() if not value.equal(second[name])] == []


@pytest.mark.parametrize(("stage", "step"), [("train", 1), ("validate", 10)])
def test_a_run_that_is_asked_to_stop_loses_no_step(make_recipe, tmp_path, stage, step):
    recipe = make_recipe(mining={"num_negatives": 2}, validation={"accuracy_photos": 1})
    whole = train(recipe, tmp_path / "whole")

    def ask(at, done, total):
        if at == stage:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(InterruptedRunError, match=f"after step {step} of {whole.history[-1].step}; the run"):
        train(recipe, tmp_path / "run", tick=ask)
    resumed = train(recipe, tmp_path / "run", resume=True)
    first, second = saved_state(whole.folder), saved_state(resumed.folder)
    assert [name for name, value in first.items() if not value.equal(second[name])] == []
    assert [(r.loss, r.gradient_norm) for r in resumed.history] == [
        (r.loss, r.gradient_norm) for r in whole.history
    ]


def test_what_was_learned_is_saved_before_it_is_validated(make_recipe, tmp_path):
    def kill(stage, done, total):
        if stage == "validate":
            raise Stopped

    whole = train(make_recipe(), tmp_path / "whole")
    with pytest.raises(Stopped):
        train(make_recipe(), tmp_path / "run", tick=kill)
    assert saved_step(tmp_path / "run") == 3
    resumed = train(make_recipe(), tmp_path / "run", resume=True)
    first, second = saved_state(whole.folder), saved_state(resumed.folder)
    assert [name for name, value in first.items() if not value.equal(second[name])] == []
    assert [(r.loss, r.gradient_norm) for r in resumed.history] == [
        (r.loss, r.gradient_norm) for r in whole.history
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals of Unix")
def test_a_second_signal_stops_at_once(recipe_file, tmp_path):
    with training(recipe_file, tmp_path / "run", seconds=60) as process:
        wait_for_step(process, 1)
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(1.2)
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert "interrupted: nothing of the run was kept yet; start it again: " in err.splitlines()[-1]
    assert "--resume" not in err and "Traceback" not in err


def test_signals_are_as_they_were_afterwards_and_other_threads_leave_them():
    before = signal.getsignal(signal.SIGTERM)
    with noted_signals(lambda line: None):
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before

    def train_in_thread():
        with noted_signals(lambda line: None) as interruption:
            seen.append((interruption.is_asked, signal.getsignal(signal.SIGTERM)))

    seen = []
    thread = threading.Thread(target=train_in_thread)
    thread.start()
    thread.join()
    assert seen == [(False, before)]
