"""A service that is asked with bad will stays up, answers in problems, and writes nothing elsewhere."""

import json
import logging
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.hostile_requests import Attacks, send
from service.servers import json_of, serving

_BEGUN = "POST /v1/queries HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 5000\r\n\r\nabc"


@pytest.fixture
def attacked(scenes, tmp_path):
    """A service of a collection of its own, so that what changes it does no harm to other tests."""
    shutil.copytree(scenes.parent, tmp_path / "own")
    with serving(tmp_path / "own" / scenes.name, most_body_bytes=2**20, body_seconds=1) as client:
        yield client


def files_outside(root):
    """All files that are no part of the collection."""
    return {p.relative_to(root) for p in root.rglob("*") if p.is_file() and "scenes.meisho" not in p.parts}


def attack(client, root, numbers, caplog):
    """Send attacks from several threads; what comes back is an answer or a problem, and nothing else."""
    url = client.base_url
    attacks = Attacks(json_of(client.get("/openapi.json")), f"{url.host}:{url.port}")
    before, answered = files_outside(root), 0

    def one(number):
        drawn = attacks.draw(number)
        return number, send((url.host, url.port), drawn)

    with caplog.at_level(logging.ERROR), ThreadPoolExecutor(4) as threads:
        for number, answer in threads.map(one, numbers):
            if answer is None:
                continue
            status, head, content = answer
            answered += 1
            said = (number, status, content[:300])
            assert status < 500 or status in (501, 503), said
            assert b"Traceback" not in content and b"site-packages" not in content, said
            if status >= 400:
                assert "application/problem+json" in head, said
                assert json.loads(content)["status"] == status, said
    assert [record.getMessage() for record in caplog.records if "Traceback" in (record.exc_text or "")] == []
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert [error for error in errors if "playwright" not in error] == []  # left by a browser test before
    assert json_of(client.get("/readyz")) == {"status": "ready"}
    assert json_of(client.post("/v1/search", json={"photo": "place 1/whole.png"}))["answers"]
    assert files_outside(root) == before
    return answered


def test_it_withstands_what_a_hundred_say(attacked, tmp_path, caplog):
    assert attack(attacked, tmp_path, range(100), caplog) > 60


@pytest.mark.slow
def test_it_withstands_what_a_thousand_say(attacked, tmp_path, caplog):
    assert attack(attacked, tmp_path, range(100, 1_100), caplog) > 600


def test_who_sends_slowly_is_left_and_hinders_nobody(attacked):
    """Twenty begin a request and send no more; others are answered, and they are told in the end."""
    url = attacked.base_url
    head = _BEGUN.format(host=url.host, port=url.port).encode()
    slow = [socket.create_connection((url.host, url.port)) for _ in range(20)]
    try:
        for connection in slow:
            connection.sendall(head)
        assert json_of(attacked.post("/v1/search", json={"photo": "place 1/whole.png"}))["answers"]
        for connection in slow:
            assert b" 408 " in connection.recv(65_536).split(b"\r\n")[0]
        assert attacked.service.reading.num_bytes == 0
    finally:
        for connection in slow:
            connection.close()


def test_who_goes_away_while_sending_leaves_nothing(attacked):
    url = attacked.base_url
    head = _BEGUN.format(host=url.host, port=url.port).encode()
    for _ in range(20):
        with socket.create_connection((url.host, url.port)) as connection:
            connection.sendall(head)
    assert json_of(attacked.post("/v1/search", json={"photo": "place 1/whole.png"}))["answers"]
