import os
import subprocess
import sys

import pytest

from meisho.cores import count_cores, count_multiplying


def test_there_is_a_core():
    assert count_cores() >= 1


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("100000 100000\n", 1),
        ("150000 100000\n", 2),
        ("20000 100000\n", 1),
        ("max 100000\n", 8),
        ("9000000 100000\n", 8),
        ("1 0\n", 8),
        ("", 8),
        (None, 8),
    ],
)
def test_a_container_s_quota_bounds_the_cores(quota, cores, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    if quota is not None:
        (tmp_path / "cpu.max").write_text(quota)
    assert count_cores(tmp_path / "cpu.max") == cores


NAMES = ("OMP_WAIT_POLICY", "KMP_BLOCKTIME", "OMP_NUM_THREADS", "OPENBLAS_THREAD_TIMEOUT")


def environment_after(code, **given):
    kept = {name: value for name, value in os.environ.items() if name not in NAMES}
    printed = f"{code}\nimport os\nprint(*(os.environ.get(name) for name in {NAMES!r}))"
    command = [sys.executable, "-c", printed]
    return subprocess.check_output(command, text=True, env=kept | given).split()[-len(NAMES) :]


HELP = """
import sys
from meisho.cli import main
sys.argv[1:] = ["--help"]
try:
    main()
except SystemExit:
    pass
"""


def test_the_command_begins_without_numpy_which_reads_the_environment_once():
    code = "import sys, meisho.cli, meisho.cli.serve\nprint('numpy' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


def test_the_command_lets_threads_rest_and_the_library_leaves_the_environment_alone():
    assert environment_after(HELP) == ["PASSIVE", "0", str(count_cores()), "4"]
    assert environment_after(HELP, OMP_WAIT_POLICY="ACTIVE")[0] == "ACTIVE"
    library = "import meisho\nmeisho.load_extractor('default')"
    assert environment_after(library) == ["None"] * len(NAMES)


SERVE = """
import os, sys
import meisho.cli.serve
from meisho.cli import main
def multiply_alone(said=meisho.cli.serve.multiply_alone):
    said()
    print("numpy" in sys.modules, os.environ["OPENBLAS_NUM_THREADS"])
meisho.cli.serve.multiply_alone = multiply_alone
sys.argv[1:] = ["serve", "no-such-collection", "--device", "cpu"]
main()
"""


@pytest.mark.parametrize(("said", "threads"), [(None, "1"), ("2", "2")])
def test_each_thread_of_a_service_multiplies_alone_unless_the_user_says_otherwise(said, threads):
    kept = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    environment = kept if said is None else kept | {"OPENBLAS_NUM_THREADS": said}
    ran = subprocess.run([sys.executable, "-c", SERVE], stdout=subprocess.PIPE, text=True, env=environment)
    assert ran.stdout.split() == ["False", threads]  # NumPy reads it when it is imported


@pytest.mark.parametrize(
    ("openblas", "openmp", "number"),
    [
        ("3", None, 3),
        ("1", "2", 1),
        (None, "4", 4),
        ("4000", None, 8),
        ("0", "", 8),
        ("-1", "4,2", 8),
        (None, None, 8),
    ],
)
def test_as_many_threads_multiply_as_openblas_is_told(monkeypatch, openblas, openmp, number):
    monkeypatch.setattr("meisho.cores.count_cores", lambda: 8)
    for name, value in (("OPENBLAS_NUM_THREADS", openblas), ("OMP_NUM_THREADS", openmp)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert count_multiplying() == number
