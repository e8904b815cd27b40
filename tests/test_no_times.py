"""No test waits for a time, or fails because one has passed: the machine may be busy.

A test waits for what happens instead (`processes.wait_until`, a line that a process writes, its end), and
what never happens is ended by the limit of a test in pyproject.toml.
"""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SOURCES = sorted(path for path in TESTS.rglob("*.py") if path != Path(__file__))
KINDS = {
    "a sleep": r"\bsleep\(",
    "a clock": r"\b(time|monotonic|perf_counter|process_time)(_ns)?\(\)",
    "a limit": r"\btimeout ?= ?(?!None)|\.(wait|join|poll|communicate)\(\d",
    "a timer": r"\bTimer\(",
    "a deadline of hypothesis": r"\bdeadline ?=|HealthCheck\.too_slow",
}

# Where a time is meant: {(file, line): why}. A line that is not there any more is to be taken out.
ALLOWED = {
    (
        "conftest.py",
        '"meisho", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]',
    ): ("decides for all tests that nothing is timed"),
    ("processes.py", "time.sleep(POLL_SECONDS)"): "between two looks at a condition",
    (
        "fetching/test_download.py",
        "def wait(self, timeout=None):",
    ): "stands for the pause, and does not take it",
    (
        "fetching/test_download.py",
        'value = "500" if form == "seconds" else formatdate(time.time() + 500, usegmt=True)',
    ): ("the date that a server names; nothing waits for it"),
    (
        "contracts/test_engines.py",
        'return open_engine(f"milvus:{place}?index={kind}&timeout=600")',
    ): ("so long that nothing fails by it"),
    (
        "contracts/test_engines.py",
        '("milvus:http://host?timeout=soon", "give seconds"),',
    ): ("a text that is read; nothing waits"),
    (
        "contracts/test_engines.py",
        '("milvus:http://host?timeout=0", "timeout"),',
    ): ("a text that is read; nothing waits"),
    (
        "contracts/test_engines.py",
        'text = "milvus:http://host:1?index=IVF_PQ&db=x&consistency=Session&timeout=3&nlist=9&m=4&nprobe=2"',
    ): ("a server that is gone is not waited for"),
    (
        "contracts/test_engines.py",
        'engine = open_engine(f"milvus:{server.uri}?index=FLAT&timeout=600")',
    ): ("so long that nothing fails by it"),
    (
        "contracts/test_engines.py",
        'impatient = open_engine(f"milvus:{server.uri}?index=FLAT&timeout=2").load(tmp_path)',
    ): ("a server that is gone is not waited for"),
    (
        "contracts/test_engines.py",
        'open_engine(f"milvus:{server.uri}?index=FLAT&timeout=1").refresh(tmp_path, more)',
    ): ("a server that is gone is not waited for"),
    (
        "service/browser/test_page_over_milvus.py",
        'environment["MEISHO_TEST_ENGINE"] = f"milvus:{server.uri}?index=FLAT&timeout=60"',
    ): "what a question to a busy server may take, instead of an error",
    (
        "milvus_servers.py",
        "client = MilvusClient(self.uri, timeout=2, dedicated=True)",
    ): ("how long it tries to find a server that answers, again and again"),
    (
        "milvus_servers.py",
        "client.list_collections(timeout=2)",
    ): ("how long it tries to find a server that answers, again and again"),
    (
        "run/test_engines_of_collections.py",
        'DEAD = "milvus:http://127.0.0.1:9?timeout=0.2"  # the port of "discard", where nobody listens',
    ): ("a server that is gone is not waited for"),
}


def lines_of(path):
    for line in path.read_text(encoding="utf-8").splitlines():
        yield line.strip()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(TESTS).as_posix())
def test_no_test_waits_for_a_time(path):
    name = path.relative_to(TESTS).as_posix()
    found = [
        f"{kind}: {line}"
        for line in lines_of(path)
        for kind, pattern in KINDS.items()
        if re.search(pattern, line) and (name, line) not in ALLOWED
    ]
    assert found == []


def test_all_that_is_allowed_is_still_there():
    assert [(name, line) for name, line in ALLOWED if line not in lines_of(TESTS / name)] == []


@pytest.mark.parametrize(
    "line",
    [
        "time.sleep(0.1)",
        "    assert time.monotonic() - started < 2",
        "start = perf_counter()",
        "process.communicate(timeout=60)",
        "process.wait(20)",
        "thread.join(5)",
        "threading.Timer(0.6, stop.set)",
        "@settings(max_examples=40, deadline=None)",
    ],
)
def test_the_kinds_are_seen(line):
    assert any(re.search(pattern, line) for pattern in KINDS.values())
