"""Fixtures that many tests share."""

import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Before torch and NumPy are imported: several processes run the tests at once, and threads that spin while
# they wait for each other cost a busy machine many times the processor time.
os.environ.setdefault("OMP_NUM_THREADS", "1")

REPOSITORY = Path(__file__).parent.parent

# What is drawn is the same in every run, and no example is timed: the machine may be busy.
settings.register_profile(
    "meisho", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("meisho")

# A shell starts a background job with SIGINT ignored, and what a test starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real photos and ground truths beside the repository; skips where it is missing."""
    root = Path(os.environ.get("MEISHO_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (root / "photos.csv").is_file():
        pytest.skip(f"the shared data are not at {root}; set MEISHO_SHARED_DATA to their folder")
    return root


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command line in this process; returns (exit code, stdout, stderr)."""
    from meisho import cli  # brings typer, which a machine that only runs the tests of a GPU may lack

    def run_cli(*arguments):
        monkeypatch.setattr(sys, "argv", ["meisho", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        return stop.value.code or 0, captured.out, captured.err

    return run_cli


@pytest.fixture(scope="session")
def browser():
    """A real browser; skips, with the reason, where there is none."""
    from browsers import missing, opened_browser

    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if reason := missing():
        pytest.skip(reason)
    with opened_browser(sync_api) as browser:
        yield browser


@pytest.fixture(scope="session")
def object_store(tmp_path_factory):
    """The variables by which a real object store on loopback is found; skips where a package is missing."""
    pytest.importorskip("obstore")
    from object_stores import find_weed, seaweed

    with seaweed(find_weed(), tmp_path_factory.mktemp("store") / "data") as variables:
        yield variables


@pytest.fixture
def bucket(object_store, monkeypatch, tmp_path):
    """A new place, "s3://BUCKET/NAME", in an object store that this process and its children find."""
    from object_stores import new_place, set_variables

    set_variables(monkeypatch, object_store, tmp_path / "cache")
    return new_place()
