"""Signals to a real process: what it says, and that the run goes on to the same numbers."""

import os
import shlex
import signal
import subprocess
import sys
import threading

import pytest
from places import recipe_values
from test_train import Stopped, saved_state

from meisho.config import config_toml, parse_config
from meisho.errors import InterruptedRunError
from meisho.training.interruption import noted_signals
from meisho.training.recipe import Recipe
from meisho.training.state import saved_step
from meisho.training.train import train
from processes import started

STEPWISE = """
import os, select, signal, sys
from meisho.cli import main
from meisho.training import interruption
from meisho.training.loop import Loop
interruption._SAME_SECONDS = float("{same_seconds}")
original = Loop._step
woken, wake = os.pipe()
os.set_blocking(wake, False)
signal.set_wakeup_fd(wake)
def stepwise(self, parts):
    done = original(self, parts)
    print("step", self.progress.step, flush=True)
    while 0 not in select.select([0, woken], [], [])[0]:
        os.read(woken, 1)  # a signal may reach another thread, which does not end a plain wait of this one
    os.read(0, 1)
    return done
Loop._step = stepwise
main()
"""


def training(recipe, folder, *arguments, same_seconds):
    """Start to train, as a terminal does it; each step ends when a line is written.

    Signals that come within `same_seconds` count as one.
    """
    script = STEPWISE.format(same_seconds=same_seconds)
    return started(
        [sys.executable, "-c", script, "train", recipe, "--to", folder, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end_step(process):
    process.stdin.write("\n")
    process.stdin.flush()


def wait_for(line, stream):
    """Read up to a line that begins so; returns all that was read."""
    read = []
    for each in stream:
        read.append(each)
        if each.startswith(line):
            return "".join(read)
    pytest.fail(f"it ended before it wrote {line!r}: {''.join(read)}")


@pytest.fixture
def recipe_file(places, tmp_path):
    recipe = parse_config(recipe_values(places, hardware={"workers": 1}), Recipe, source="test")
    path = tmp_path / "small.toml"
    path.write_text(config_toml(recipe), encoding="utf-8")
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals of Unix")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.slow
def test_a_signal_to_all_processes_ends_a_run_after_its_step_and_it_goes_on(
    recipe_file, make_recipe, tmp_path, number, run
):
    folder = tmp_path / "my run"
    rate = ("--set", "optimiser.head_rate=0.02")
    with training(recipe_file, folder, *rate, same_seconds="inf") as process:
        wait_for("step 1", process.stdout)
        end_step(process)
        wait_for("step 2", process.stdout)
        os.killpg(process.pid, number)
        said = wait_for(f"{number.name}: stopping after this step", process.stderr)
        os.killpg(process.pid, number)  # some launchers pass it on as well
        end_step(process)
        err = said + process.stderr.read()
        process.wait()
    assert process.returncode == 130, err
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


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs signals of Unix")
def test_a_second_signal_stops_at_once(recipe_file, tmp_path):
    with training(recipe_file, tmp_path / "run", same_seconds="-inf") as process:
        wait_for("step 1", process.stdout)
        os.killpg(process.pid, signal.SIGINT)
        wait_for("SIGINT: stopping after this step", process.stderr)
        os.killpg(process.pid, signal.SIGINT)
        err = process.stderr.read()
        process.wait()
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
