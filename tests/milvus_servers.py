"""A real Milvus server that a test starts, kills and starts again."""

import os
import socket
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from filelock import FileLock

from processes import POLL_SECONDS, kill, started, wait_until

_LOCK = Path(tempfile.gettempdir(), "meisho-tests-milvus.lock")
"""Held while one runs: the etcd inside always takes the ports 2379 and 2380."""
_MOST_STARTS = 20


class MilvusServer:
    """A server over one folder; it listens on all interfaces, which this wheel offers no way to change."""

    def __init__(self, folder):
        self.folder, self.port = folder, _free_port()
        self._stack = ExitStack()
        self.uri = f"http://127.0.0.1:{self.port}"

    def start(self):
        """Start it, and wait until it answers.

        For half a minute after a kill, what the killed one holds in etcd may end a new one as it starts.
        """
        from pymilvus import MilvusClient

        def answers():
            try:
                client = MilvusClient(self.uri, timeout=2, dedicated=True)
                client.list_collections(timeout=2)
                client.close()
            except Exception:
                return False
            return True

        for _ in range(_MOST_STARTS):
            command, options = self._prepare()
            self.process = self._stack.enter_context(started(command, **options))
            wait_until(lambda: answers() or self.process.poll() is not None)
            if self.process.poll() is None:
                return
        raise AssertionError(f"the server ended {_MOST_STARTS} times; see {self.folder / 'logs'}")

    def kill(self):
        """End it as a power cut does."""
        kill(self.process)

    def stop(self):
        """End it in any case."""
        self._stack.close()

    def _prepare(self):
        from milvus import MilvusServerConfig, _initialize_data_files

        config = MilvusServerConfig(data_dir=str(self.folder))
        config.resolve_storage()
        for name in config.configurable_items:  # `resolve` would look for ports, and leave sockets open
            if name.endswith("_port") and name != "etcd_port":
                config.set(name, self.port if name == "proxy_port" else _free_port())
        config.write_config()
        _initialize_data_files(str(self.folder))
        program = self.folder / "bin" / "milvus"
        environment = os.environ | {
            "DEPLOY_MODE": "STANDALONE",
            "METRICS_PORT": str(_free_port()),
            "MILVUS_RUN_DIR": str(self.folder / "run"),
            "LD_LIBRARY_PATH": str(program.parent),
        }
        log = self._stack.enter_context((self.folder / "logs" / "output.log").open("ab"))
        options = {"cwd": self.folder, "env": environment, "stdout": log, "stderr": log}
        return [program, "run", "standalone"], options


@contextmanager
def milvus_server(folder):
    """The only server on this machine; skips, with the reason, where there is no package of it."""
    pytest.importorskip("pymilvus", reason="pymilvus is not installed")
    pytest.importorskip("milvus", reason="the Milvus server is not installed: pip install milvus==2.3.5")
    if sys.platform != "linux":
        pytest.skip("the Milvus server is started on Linux alone")
    with FileLock(_LOCK, poll_interval=POLL_SECONDS * 20):
        server = MilvusServer(folder)
        try:
            server.start()
            yield server
        finally:
            server.stop()


def _free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
