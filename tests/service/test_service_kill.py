"""SIGKILL at any moment under load: the service comes back, and keeps all that it had acknowledged.

Each of some clients writes down what it asks for before it sends it, and that it was acknowledged after. What
was sent and not acknowledged may be there or not; all else must be as it was said.
"""

import random
import threading
from dataclasses import dataclass, field

import httpx
import pytest

from meisho.describing import Describer
from meisho.extractors.base import load_extractor
from meisho.run.checking import check_collection
from meisho.run.indexing import index_folder
from meisho.service.notebook import Notebook
from processes import changes_below, kill, wait_until
from service.conftest import paint
from service.servers import json_of, serving_process

KILLS = 20


@dataclass
class Ledger:
    """What one client knows: facts by what they are about, and what it has sent that was not answered yet."""

    facts: dict[tuple[str, str], object] = field(default_factory=dict)
    sent: tuple[tuple[str, str], object] | None = None
    number: int = 0


@pytest.fixture
def place(tmp_path):
    """A collection of four small photos, by the default model at a small size."""
    for seed in range(4):
        paint(tmp_path / "photos" / f"{seed}.png", seed)
    describer = Describer(load_extractor("default", max_side_px=64), num_workers=0)
    index_folder(tmp_path / "photos", tmp_path / "c", describer)
    return tmp_path / "c"


@pytest.fixture
def drawn(tmp_path):
    """Files of photos; a comment behind a photo makes another content of it."""
    return [paint(tmp_path / "drawn" / f"{seed}.png", seed).read_bytes() for seed in range(10, 14)]


def choose(rng, name, ledger, drawn):
    """Draw what a client does next: (fact, its value, request)."""
    ledger.number += 1
    mine = [photo for kind, photo in ledger.facts if kind == "photo"]
    there = [photo for photo in mine if ledger.facts["photo", photo] is not None]
    chosen = rng.random()
    if chosen < 0.2:
        return None, None, ("POST", "/v1/search", {"json": {"photo": f"{rng.randrange(4)}.png"}})
    if chosen < 0.4:
        same, answer = rng.random() < 0.5, rng.randrange(4)
        asked = f"{ledger.number:x}{name}".rjust(64, "0")
        request = {"json": {"query": asked, "answer": f"{answer}.png", "same": same}}
        return ("mark", asked), (f"{answer}.png", same), ("PUT", "/v1/feedback", request)
    if chosen < 0.5:
        group, dismissed = f"{name}{rng.randrange(6)}", rng.random() < 0.6
        request = {"json": {"kind": "place", "id": group, "dismissed": dismissed}}
        return ("dismissal", group), dismissed, ("PUT", "/v1/dismissals", request)
    if chosen < 0.7 and there:
        photo = rng.choice(there)
        return ("photo", photo), None, ("DELETE", f"/v1/photos/{photo}", {})
    photo, content = f"{name}-{ledger.number}.png", rng.choice(drawn) + f"{name}{ledger.number}".encode()
    return ("photo", photo), content, ("PUT", f"/v1/photos/{photo}", {"content": content})


def work(address, name, ledger, drawn, statuses):
    """Do one thing after another until the service is gone."""
    rng = random.Random(f"{name} {ledger.number}")
    with httpx.Client(base_url=address, timeout=None, trust_env=False) as client:
        while True:
            fact, value, (method, path, more) = choose(rng, name, ledger, drawn)
            ledger.sent = (fact, value) if fact else None
            try:
                answer = client.request(method, path, **more)
            except httpx.HTTPError:
                return
            statuses.add(answer.status_code)
            ledger.sent = None
            if fact:
                ledger.facts[fact] = value


def look(client, place, fact):
    """What the service says of a fact, and the disk of a file."""
    kind, what = fact
    if kind == "mark":
        marks = json_of(client.get("/v1/feedback", params={"query": what}))["marks"]
        return (marks[0]["answer"], marks[0]["same"]) if marks else None
    if kind == "dismissal":
        return what in Notebook.open(place).dismissed("place")
    file = place / "uploads" / what
    answer = client.get("/v1/file", params={"id": str(file), "original": True})
    assert answer.status_code in (200, 404), answer.text
    if answer.status_code == 404:
        assert answer.json()["type"] == "/problems/photo-not-found"
        return None
    assert answer.content == file.read_bytes()
    return answer.content


def assert_kept(client, place, ledgers):
    """All that was acknowledged is there; what was only sent is there or not, and is so from now on."""
    for ledger in ledgers.values():
        if ledger.sent is not None:
            fact, value = ledger.sent
            now = look(client, place, fact)
            assert now in (value, ledger.facts.get(fact, False if fact[0] == "dismissal" else None)), fact
            ledger.facts[fact], ledger.sent = now, None
        for fact, value in ledger.facts.items():
            assert look(client, place, fact) == value, fact


@pytest.mark.slow
def test_nothing_that_was_acknowledged_is_lost_by_twenty_kills(place, drawn):
    rng, ledgers = random.Random(0), {name: Ledger() for name in "abcd"}
    statuses: set[int] = set()
    for _ in range(KILLS):
        with serving_process(place) as (process, client):
            assert_kept(client, place, ledgers)
            clients = [
                threading.Thread(target=work, args=(client.base_url, name, ledger, drawn, statuses))
                for name, ledger in ledgers.items()
            ]
            have_come = changes_below(place, rng.randrange(1, 40))
            for thread in clients:
                thread.start()
            wait_until(have_come, process)
            kill(process)
            for thread in clients:
                thread.join()
    with serving_process(place) as (_, client):
        assert_kept(client, place, ledgers)
    assert statuses <= {200, 201}
    kinds = [kind for ledger in ledgers.values() for kind, _ in ledger.facts]
    assert {"mark", "dismissal", "photo"} <= {*kinds}
    assert not any(part.damaged for part in check_collection(place))
