import numpy as np
import pytest

from meisho.fetching.download import Patience

from .server import serving


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving() as running:
        yield running


@pytest.fixture
def quick():
    """Patience for tests: the same tries, hardly any pauses, and much time for a machine that is busy."""
    return Patience(tries=4, first_wait_seconds=0.01, longest_wait_seconds=0.02, stall_seconds=600)


@pytest.fixture(scope="session")
def data():
    """300 kB that are not the same anywhere."""
    return np.random.default_rng(7).bytes(300_000)
