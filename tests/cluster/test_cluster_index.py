"""Photos indexed on a cluster of real Ray processes: the rows of one machine, whoever dies meanwhile."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from cluster_photos import draw_photos
from meisho.errors import CollectionError
from meisho.store import tables
from meisho.store.collection import Collection
from processes import kill, runs, started, wait_until
from ray_nodes import environment

SIZE = ("--size", "96")


def read(path):
    """Return {id: (content, size, error)}, {id: descriptor} and how many rows the descriptors have."""
    collection = Collection.open(path)
    records, descriptors = collection.records(), collection.snapshot().descriptors
    ids = [record.id for record in records]
    assert len(ids) == len({*ids})
    facts = {r.id: (r.content_sha256, r.width_px, r.height_px, r.size_bytes, r.error) for r in records}
    vectors = dict(zip(descriptors.ids, descriptors.vectors, strict=True))
    return facts, vectors, tables.open_latest(path, tables.DESCRIPTORS).count_rows()


def assert_same(path, home):
    facts, vectors, num_rows = read(path)
    facts_home, vectors_home, num_rows_home = read(home)
    assert facts == facts_home and num_rows == num_rows_home and vectors.keys() == vectors_home.keys()
    for photo_id, vector in vectors_home.items():
        np.testing.assert_allclose(vectors[photo_id], vector, rtol=0, atol=1e-5)


def count_recorded(path):
    try:
        return len(Collection.open(path).records())
    except CollectionError:  # it is being made
        return 0


def kill_as_it_records(path, driver, find):
    """Kill the first process that `find` names, once more photos are recorded and there is one."""
    before, found = count_recorded(path), []

    def is_time():
        found[:] = find()
        return found and count_recorded(path) > before

    wait_until(is_time, driver)
    os.kill(found[0], signal.SIGKILL)


@pytest.mark.slow
def test_an_actor_a_node_and_the_driver_die_and_every_photo_is_there_once(tmp_path, nodes, meisho):
    number = 1200
    draw_photos(tmp_path / "photos", number)
    other = nodes.add()
    words = ["index", tmp_path / "photos", *SIZE, "--json", "--workers", 2]
    on_cluster = [*words, "--to", tmp_path / "c", "--cluster", f"ray:{nodes.address}"]
    command = [sys.executable, "-m", "meisho.cli", *on_cluster]
    with started(command, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE) as driver:
        wait_until(lambda: all(map(nodes.workers, nodes.raylets)), driver)
        kill_as_it_records(tmp_path / "c", driver, lambda: nodes.workers(nodes.raylets[0]))
        kill_as_it_records(tmp_path / "c", driver, lambda: [other])
        wait_until(lambda: not runs(other))
        before = count_recorded(tmp_path / "c")
        wait_until(lambda: count_recorded(tmp_path / "c") > before, driver)
        kill(driver)
    assert 0 < (committed := count_recorded(tmp_path / "c")) < number
    code, said, errors = meisho(*on_cluster)
    assert code == 0, errors
    assert json.loads(said)["described"] <= number - committed
    assert meisho(*words, "--to", tmp_path / "home")[0] == 0
    assert_same(tmp_path / "c", tmp_path / "home")


@pytest.mark.slow
def test_one_node_writes_what_one_machine_writes_and_names_a_bad_photo_as_it_does(tmp_path, nodes, meisho):
    draw_photos(tmp_path / "photos", 40)
    (tmp_path / "photos" / "junk.jpg").write_bytes(b"no photo")
    (tmp_path / "photos" / "twin.jpg").write_bytes((tmp_path / "photos" / "0003.jpg").read_bytes())
    words = ["index", tmp_path / "photos", *SIZE, "--json", "--local", "sift"]
    code, at_home, errors = meisho(*words, "--to", tmp_path / "home")
    assert code == 0, errors
    place = f"ray:{nodes.address}"
    on_cluster = ["--to", tmp_path / "c", "--cluster", place]
    code, there, errors = meisho(*words, *on_cluster, RAY_AUTH_MODE="")  # it finds out that a token is wanted
    assert code == 0, errors
    assert_same(tmp_path / "c", tmp_path / "home")
    summaries = [json.loads(said) for said in (at_home, there)]
    for key in ("described", "duplicates", "skipped", "local_described", "index"):
        assert summaries[0][key] == summaries[1][key], key
    assert summaries[1]["skipped"][0]["id"] == "junk.jpg"
    for photo_id in ("0000.jpg", "0039.jpg"):
        one, other = (features_of(tmp_path / name, photo_id) for name in ("home", "c"))
        np.testing.assert_array_equal(one.keypoints, other.keypoints)
        np.testing.assert_allclose(one.descriptors, other.descriptors, atol=1e-5)
    own = ["--to", tmp_path / "c", "--cluster", "ray"]  # which starts Ray for itself
    code, again, errors = meisho("index", tmp_path / "photos", "--json", *own)
    assert code == 0 and json.loads(again)["described"] == 0 and "Warning" not in errors, errors


def features_of(path, photo_id):
    (features,) = Collection.open(path).local_reader([photo_id]).read(np.array([0]))
    return features
