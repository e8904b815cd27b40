"""A client that sends slowly, or takes nothing, is ended by a limit of the service; others do not notice."""

import json
import select
import socket
from contextlib import contextmanager

import pytest

from meisho.extractors.base import EXTRACTORS
from processes import POLL_SECONDS, wait_until
from service.servers import json_of, serving

GET = "GET /openapi.json HTTP/1.1\r\nHost: {name}\r\n"
POST = "POST /v1/queries HTTP/1.1\r\nHost: {name}\r\nContent-Length: 10\r\n\r\n"
UNKNOWN = "PUT /nothing HTTP/1.1\r\nHost: {name}\r\nContent-Length: 10\r\n\r\n"
CHUNKED = "PUT /nothing HTTP/1.1\r\nHost: {name}\r\nTransfer-Encoding: chunked\r\n\r\n"

SLOW = {
    # what a client sends, each part after an answer to the one before -> statuses of the answers
    "says nothing": ([""], []),
    "ends no head": ([GET], [408]),
    "ends no second head": ([GET + "\r\n", GET], [200, 408]),
    "ends no body": ([POST + "abc"], [408]),
    "ends no body that nobody wants": ([UNKNOWN + "abc"], [404]),
    "sends the body after its answer": ([UNKNOWN, "abcdefghij"], [404]),
    "sends a part of the body after its answer": ([UNKNOWN, "abc"], [404]),
    "sends no further chunk after the answer": ([CHUNKED, "3\r\nabc\r\n"], [404]),
    "asks nothing more": ([GET + "\r\n"], [200]),
    "speaks no HTTP": (["what is this?\r\n\r\n"], [400]),
    "stops speaking HTTP": ([GET + "\r\n", "what is this?\r\n\r\n"], [200, 400]),
    "sends no chunk": ([CHUNKED, "what is this?\r\n\r\n"], [404]),
}


@pytest.fixture(scope="module")
def impatient(scenes):
    """A service that waits for nobody; where it waits in vain, the test's own limit shows it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(EXTRACTORS, "mean_color", "toy_features:load_mean_color")
        with serving(scenes, head_seconds=1, body_seconds=1, send_seconds=1) as client:
            yield client


@contextmanager
def connected(client):
    """A bare connection to a service, and the name by which it is asked."""
    url = client.base_url
    with socket.create_connection((url.host, url.port)) as connection:
        yield connection, f"{url.host}:{url.port}"


def read_answer(connection, before=b""):
    """The status and content of the next answer, and what came after it; None where the connection ended."""
    received = before
    while b"\r\n\r\n" not in received:
        part = receive(connection)
        if not part:
            return None, received
        received += part
    head, _, content = received.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:])
    while len(content) < int(fields["content-length"]):
        content += receive(connection)
    length = int(fields["content-length"])
    if (status := int(head.split()[1])) >= 400:
        assert fields["content-type"] == "application/problem+json"
        assert json.loads(content[:length])["status"] == status
    return status, content[length:]


def receive(connection):
    try:
        return connection.recv(65_536)
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize("name", SLOW)
def test_it_is_ended_after_what_it_deserves(impatient, name):
    parts, expected = SLOW[name]
    with connected(impatient) as (connection, own_name):
        statuses, rest = [], b""
        for part in parts:
            connection.sendall(part.format(name=own_name).encode())
            if len(statuses) < len(expected):
                status, rest = read_answer(connection, rest)
                statuses.append(status)
        assert statuses == expected
        assert read_answer(connection, rest) == (None, b"")


def test_bytes_that_trickle_give_no_more_time(impatient):
    """A head of which a byte comes now and then: each is progress, and all the same it is ended."""
    with connected(impatient) as (connection, own_name):
        connection.sendall(GET.format(name=own_name).encode() + b"X-Slow: ")
        while not select.select([connection], [], [], POLL_SECONDS)[0]:
            connection.sendall(b"a")
        assert read_answer(connection)[0] == 408


def test_who_takes_no_answer_is_ended(impatient):
    """Answers are asked for until what lies between the two is full, and never taken."""
    with connected(impatient) as (connection, own_name):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        ask = (GET + "\r\n").format(name=own_name).encode()
        ended, held = False, impatient.server.server_state.connections
        port = connection.getsockname()[1]
        while not ended:
            if select.select([], [connection], [], POLL_SECONDS)[1]:
                try:
                    connection.sendall(ask * 50)
                except (ConnectionResetError, BrokenPipeError):
                    ended = True
        wait_until(lambda: all(each.client[1] != port for each in [*held]))
    assert json_of(impatient.get("/readyz")) == {"status": "ready"}
