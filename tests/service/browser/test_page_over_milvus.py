"""The page over a collection that a real Milvus server searches: what it shows is what it shows without it.

`MEISHO_TEST_ENGINE="milvus:URI?index=FLAT" pytest tests/service/browser` runs every module so, over a server
that runs already.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from browsers import missing
from milvus_servers import milvus_server

MODULE = "test_page_answers.py"


@pytest.mark.slow
@pytest.mark.browser
def test_it_answers_as_without_it(tmp_path):
    if reason := missing():
        pytest.skip(reason)
    with milvus_server(tmp_path / "milvus") as server:
        from pymilvus import MilvusClient

        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
        environment["MEISHO_TEST_ENGINE"] = f"milvus:{server.uri}?index=FLAT&timeout=60"
        words = [Path(__file__).with_name(MODULE), "-o", "addopts=", "--basetemp", tmp_path / "within"]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *words], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
        assert " passed" in done.stdout and "skipped" not in done.stdout
        client = MilvusClient(server.uri, dedicated=True)
        (table,) = client.list_collections()
        assert client.query(table, output_fields=["count(*)"])[0]["count(*)"] > 30
        client.close()
