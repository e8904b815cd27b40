"""Nodes of a Ray cluster, and meisho in processes of its own."""

import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from ray_nodes import Nodes, environment


@pytest.fixture
def nodes():
    """Nodes of a Ray cluster; skips where Ray is not installed."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'meisho[cluster]'")
    folder = Path(tempfile.mkdtemp(prefix="m-"))  # a socket's path must be short
    try:
        with ExitStack() as stack:
            yield Nodes(folder, stack)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def meisho():
    """Run meisho in a process of its own; returns (exit code, stdout, stderr)."""

    def call(*words, **more):
        command = [sys.executable, "-m", "meisho.cli", *map(str, words)]
        done = subprocess.run(command, env=environment(**more), capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    return call
