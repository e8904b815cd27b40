"""Joining: a Ray cluster that is there, or a Ray of its own on this machine, for as long as a run takes."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec

from meisho.errors import ClusterError, ConfigError, MissingDependencyError
from meisho.texts import printable

ANSWER_SECONDS = 5.0
"""A cluster that does not take a connection within this time is not there."""

HEALTH_SECONDS = 30.0
"""What takes the connection and does not say within this time that it is well is no cluster of Ray."""

OWN_STORE_BYTES = 2**29
"""Memory for photos on their way to the workers, where Ray runs on this machine alone."""


@dataclass(frozen=True)
class Cluster:
    """Where Ray runs.

    Attributes:
        address: "HOST:PORT" of its head, or None: Ray is started on this machine, and ends with the run.
    """

    address: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Cluster":
        """Read "ray" or "ray:HOST:PORT".

        Raises:
            ConfigError: It is neither.
        """
        engine, mark, address = text.partition(":")
        host, _, port = address.rpartition(":")
        is_address = bool(host) and "/" not in host and port.isascii() and port.isdecimal()
        if engine != "ray" or (mark and not (is_address and 0 < int(port[:6]) < 2**16)):
            raise ConfigError(
                f"--cluster {printable(text[:200])}: give ray, which starts Ray on this machine, or "
                "ray:HOST:PORT, the address that 'ray start --head' printed"
            )
        return cls(address or None)

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Be a part of the cluster inside; Ray that was started for it ends with it.

        A cluster can only be joined from one of its nodes: `ray start --address=HOST:PORT --num-cpus=0` makes
        one of this machine.

        Raises:
            MissingDependencyError: Ray is not installed.
            ClusterError: Nothing answers at the address, or it is no Ray, or one of another version.
        """
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # else Ray tells its makers about each cluster
        if find_spec("ray") is None:
            raise MissingDependencyError("--cluster ray needs ray; run pip install 'meisho[cluster]'")
        if self.address is not None:
            _require_ray(self.address)
        import ray  # only now: it reads from the environment how to join

        try:
            ray.init(
                address=self.address or "local",
                object_store_memory=None if self.address else OWN_STORE_BYTES,
                include_dashboard=None if self.address else False,
                log_to_driver=False,
                logging_level="ERROR",
            )
        except (RuntimeError, OSError, ValueError, AssertionError) as error:  # it has no common base
            place = f"the Ray cluster at {self.address}" if self.address else "Ray on this machine"
            advice = (
                f"; this machine must be one of its nodes: run 'ray start --address={self.address} "
                "--num-cpus=0' here, with the same versions of Python and Ray"
            )
            raise ClusterError(
                f"cannot join {place}: {_in_one_line(error)}{advice if self.address else ''}"
            ) from error
        try:
            yield
        finally:
            ray.shutdown()


def _require_ray(address: str) -> None:
    """Refuse an address where no Ray answers; `ray.init` would try for minutes, and then end this process.

    Ray that was started with a token wants it of who joins, too, but does not look for it without being told.
    """
    host, _, port = address.rpartition(":")
    advice = "start one by 'ray start --head --port=6379', or leave the address out"
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
    except OSError as error:
        raise ClusterError(
            f"no Ray cluster answers at {address} ({error.strerror or error}); {advice}"
        ) from error
    said = _ask_health(address)
    if "AuthenticationError" in said and "RAY_AUTH_MODE" not in os.environ:
        os.environ["RAY_AUTH_MODE"] = "token"
        said = _ask_health(address)
    if "AuthenticationError" in said:
        raise ClusterError(
            f"the Ray cluster at {address} wants its token: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to "
            "what ~/.ray/auth_token holds on the machine of its head"
        )
    if said:
        raise ClusterError(
            f"what answers at {address} is no Ray cluster, or one of another version; {advice}"
        )


def _ask_health(address: str) -> str:
    """Return what Ray's own command says of a cluster that is not well; nothing of one that is."""
    command = [sys.executable, "-P", "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        asked = subprocess.run(
            command, capture_output=True, check=False, text=True, errors="replace", timeout=HEALTH_SECONDS
        )
    except subprocess.TimeoutExpired:
        return "no answer"
    return asked.stderr or "no answer" if asked.returncode else ""


def _in_one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:400]
