"""What is said where a cluster cannot be joined, or its workers cannot work."""

import socket
import subprocess
import sys

import pytest

from cluster_photos import draw_photos
from meisho.cluster import joining
from meisho.cluster.joining import Cluster
from meisho.errors import ClusterError, ConfigError, MissingDependencyError
from ray_nodes import environment


def test_what_stands_after_ray_is_an_address():
    assert Cluster.parse("ray") == Cluster(None)
    assert Cluster.parse("ray:head.local:6379") == Cluster("head.local:6379")
    assert Cluster.parse("ray:[fd00::1]:6379") == Cluster("[fd00::1]:6379")


@pytest.mark.parametrize(
    "text", ["", "spark", "ray:", "ray:host", "ray:host:", "ray::6379", "ray:host:0", "ray:host:65536",
             "ray:ray://host:10001", "ray:host:٣", "ray:host:" + "9" * 5000, "RAY"]
)  # fmt: skip
def test_another_word_is_refused(text):
    with pytest.raises(ConfigError, match="give ray, which starts Ray on this machine, or ray:HOST:PORT"):
        Cluster.parse(text)


def test_without_ray_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"needs ray; run pip install 'meisho\[cluster\]'"):
        Cluster().joined().__enter__()


def test_where_nothing_answers_is_said_at_once(run, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed")
    draw_photos(tmp_path / "photos", 1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    words = ["index", tmp_path / "photos", "--to", tmp_path / "c", "--cluster", f"ray:127.0.0.1:{port}"]
    code, _, errors = run(*words)
    assert code == ClusterError.exit_code
    assert f"no Ray cluster answers at 127.0.0.1:{port} (" in errors
    assert not (tmp_path / "c").exists()


def test_what_takes_a_connection_and_says_nothing_is_no_cluster(monkeypatch):
    pytest.importorskip("ray", reason="Ray is not installed")
    monkeypatch.setattr(joining, "HEALTH_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ClusterError, match=f"what answers at {address} is no Ray cluster"):
            joining._require_ray(address)


POOL = """
import os, sys
import ray
from meisho.cluster.pool import Job, Pool, Room
from meisho.errors import ClusterError
from meisho.photos import Photo
from meisho.progress import Stages

class Reader:
    def load(self):
        pass

    def describe(self, photos, contents):
        if b"bad" in contents:
            os._exit(1)
        return [(photo.id, content) for photo, content in zip(photos, contents)]

class Holder:
    def ready(self):
        pass

def jobs():
    for first in range(0, 6, 3):
        ids = [str(number) for number in range(first, first + 3)]
        contents = [b"bad" if each == "4" else each.encode() for each in ids]
        yield Job([Photo(each, each) for each in ids], ray.put(contents))

ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
stages = Stages()
for made in sorted(map(str, Pool(Reader, (), lambda: Room(1)).run(jobs(), stages))):
    print(made)
holder = ray.remote(num_cpus=1)(Holder).remote()
ray.get(holder.ready.remote())
try:
    list(Pool(Reader, (), lambda: Room(1), start_seconds=0).run(jobs(), stages))
except ClusterError as error:
    print(error)
"""


@pytest.mark.slow
def test_real_nodes_say_what_is_wrong(tmp_path, nodes, meisho):
    draw_photos(tmp_path / "photos", 20)
    words = ["index", tmp_path / "photos", "--to", tmp_path / "c", "--cluster", f"ray:{nodes.address}"]

    code, _, errors = meisho(*words, RAY_AUTH_TOKEN="that-of-another")
    assert code == ClusterError.exit_code
    assert f"the Ray cluster at {nodes.address} wants its token: set RAY_AUTH_MODE=token" in errors

    code, _, errors = meisho(*words, "--device", "cuda")
    assert code == ClusterError.exit_code
    assert "no node of the cluster has a GPU" in errors

    # one photo ends each worker that gets it, and is named; then another holds the only processor
    command = [sys.executable, "-c", POOL, nodes.address]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if "(raylet)" not in line]
    assert len(lines) == 7, done.stderr
    assert lines[:5] == [f"('{number}', b'{number}')" for number in "01235"]
    assert "describing it ended 3 workers of the cluster" in lines[5]
    assert "of the cluster's 1 CPUs 0 are free, and a worker takes 1" in lines[6]

    (tmp_path / "hide").mkdir()
    (tmp_path / "hide" / "sitecustomize.py").write_text("import sys; sys.modules['meisho'] = None")
    nodes.add("--num-gpus=1", PYTHONPATH=str(tmp_path / "hide"))
    code, _, errors = meisho(*words, "--device", "cuda")  # only that node has one, or so it says
    assert code == ClusterError.exit_code
    assert "has no meisho, or an older one: install the same version on every node" in errors
