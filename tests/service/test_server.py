"""`meisho serve` in a process: it tells its address, stops when asked to, and comes back after a kill."""

import io
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from meisho import Client, Finder
from meisho.client import ServiceError
from meisho.describing import Describer
from meisho.extractors.base import load_extractor
from meisho.images import GuardedPhoto, load_sized_image
from meisho.photos import Box, Photo
from meisho.run.indexing import index_folder
from meisho.service.server import listen
from meisho.service.settings import Settings
from processes import kill, wait_until
from service.servers import json_of, scene, serving, serving_process, write_tokens


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A collection by the default model: a process that serves it knows no toy."""
    root = tmp_path_factory.mktemp("real") / "photos"
    root.mkdir()
    for seed in range(4):
        scene(seed).save(root / f"{seed}.png")
    path = root.parent / "real.meisho"
    index_folder(root, path, Describer(load_extractor("default"), num_workers=0))
    return path


def serve(*words):
    """Run `meisho serve` with words that it refuses."""
    command = [sys.executable, "-m", "meisho.cli", "serve", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_without_an_error(real, number):
    with serving_process(real) as (process, client):
        assert json_of(client.get("/v1/collection"))["num_photos"] == 4
        process.send_signal(number)
        out, err = process.communicate()
        assert (process.returncode, out, err) == (0, "", "")
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((client.base_url.host, client.base_url.port))


def test_an_answer_under_way_is_finished_before_it_stops(scenes):
    """The service is asked to stop while an answer is held; the answer comes, then it ends."""
    with serving(scenes, num_threads=1) as client:
        go_on, answers = threading.Event(), []
        client.service.work.submit(go_on.wait)
        ask = threading.Thread(
            target=lambda: answers.append(client.post("/v1/search", json={"photo": "place 0/whole.png"}))
        )
        ask.start()
        wait_until(lambda: client.service.work.num_inside == 2)
        client.server.should_exit = True
        wait_until(lambda: not client.server.servers[0].is_serving())
        go_on.set()
        ask.join()
        assert json_of(answers[0])["answers"]


def test_it_comes_back_after_a_kill(real):
    """Whoever asked before asks again at the same port, and the answer is the same."""
    with serving_process(real) as (process, client):
        port, before = client.base_url.port, json_of(client.post("/v1/search", json={"photo": "1.png"}))
        kill(process)
    with serving_process(real, options=("--port", str(port))) as (_, client):
        assert client.base_url.port == port
        assert json_of(client.get("/readyz")) == {"status": "ready"}
        after = json_of(client.post("/v1/search", json={"photo": "1.png"}))
        assert [a["id"] for a in after["answers"]] == [a["id"] for a in before["answers"]]


@pytest.mark.parametrize("box", [None, "20,10,300,200"])
def test_a_light_model_describes_where_photos_are_decoded(real, box):
    data = io.BytesIO()
    scene(2).save(data, "JPEG")
    query = Photo("query", Path("query"), box and Box.parse(box), data.getvalue())
    (expected,) = Finder.open(real).find(query, top=4)
    with serving(real) as client, Client(str(client.base_url)) as asking:
        found = asking.search(data.getvalue(), top=4, near=False, **({"box": box} if box else {}))
        assert [(each["id"], each["score"]) for each in found["answers"]] == [
            (each.id, round(each.score, 6)) for each in expected
        ]
        assert found["query"]["width_px"] == 320
        assert min(found["timings_ms"][stage] for stage in ("decode", "describe")) > 0
        (opened,) = client.service.collections.values()
        assert opened.finder.describer.extractor._network is None  # nothing was described here
        with pytest.raises(ServiceError, match="the photo: not a photo in a known format"):
            asking.search(b"no photo")


def test_what_is_described_here_is_not_described_elsewhere_too(real):
    with serving(real) as client:
        (opened,) = client.service.collections.values()
        asked = []
        describer = replace(opened.finder.describer, describe_one=lambda *each: asked.append(each))
        photos = [
            GuardedPhoto("q", real / "0.png", content_name="q"),
            Photo("turned", real.parent / "photos/1.png"),
        ]
        query = replace(photos[0], load=lambda photo, options: load_sized_image(photos[1], options))
        assert len(describer.describe([query, photos[1]])) == 2 and not asked


def test_its_decoders_end_with_it(real):
    with serving_process(real) as (process, client):
        assert json_of(client.get("/readyz"))
        children = [int(word) for word in _children(process.pid)]
        assert len(children) >= 2
        kill(process)
        wait_until(lambda: not any(_is_running(pid) for pid in children))


def test_a_decoder_that_is_killed_is_started_again(asked):
    data = io.BytesIO()
    scene(3).save(data, "PNG")
    with Client(str(asked.base_url)) as client:
        for worker in asked.service.decoder._crew.workers:
            process = worker._process
            process.kill()
            process.wait()
        found = client.search(data.getvalue() + bytes(3), top=1)
        assert found["answers"][0]["id"].startswith("place 3/")


REFUSED = {
    "no collection": (["{tmp}/none"], 4, "no collection here"),
    "a file": (["{real}/collection.json"], 4, "is a file, but a collection is a directory"),
    "other machines without tokens": (["{real}", "--host", "0.0.0.0"], 2, "--token-file FILE"),
    "no address of ours": (
        ["{real}", "--host", "192.0.2.1", "--token-file", "{tokens}"],
        2,
        "cannot listen at 192.0.2.1",
    ),
    "no name": (
        ["{real}", "--host", "no.such.name.invalid", "--token-file", "{tokens}"],
        2,
        "cannot listen at",
    ),
    "no tokens": (["{real}", "--token-file", "{tmp}/none"], 2, "cannot be read as a file of tokens"),
    "port": (["{real}", "--port", "70000"], 2, "--port"),
    "taken port": (["{real}", "--port", "{taken}"], 2, "address already in use; give another --port"),
    "memory": (["{real}", "--memory", "much"], 2, "is no size"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_served_is_refused_in_one_line(real, tmp_path, name):
    words, code, said = REFUSED[name]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        known = {
            "real": real,
            "tmp": tmp_path,
            "tokens": write_tokens(tmp_path),
            "taken": taken.getsockname()[1],
        }
        done = serve(*(word.format(**known) for word in words))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1), done.stderr
    assert said in done.stderr


def _children(pid):
    words = subprocess.run(
        ["ps", "--ppid", str(pid), "-o", "pid="], capture_output=True, text=True, check=True
    )
    return words.stdout.split()


def _is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_body_of_an_answer_does_not_wait_until_its_head_is_acknowledged():
    with (
        listen(Settings(collections=(Path("any.meisho"),), port=0)) as listening,
        socket.create_connection(listening.getsockname()),
        listening.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
