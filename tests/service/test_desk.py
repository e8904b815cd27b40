"""What changes or remembers, asked by a real client of a real server: photos, jobs, marks, scores."""

import csv
import io
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest

import meisho
from meisho.datasets.base import load_dataset
from meisho.describing import Describer
from meisho.extractors.base import load_extractor
from meisho.run.finding import Finder
from meisho.run.indexing import IndexOptions, index_folder
from meisho.service import desk
from processes import kill
from service.conftest import paint
from service.servers import (
    ADMIN,
    READ,
    WRITE,
    bearer,
    copy_place,
    json_of,
    serving,
    serving_process,
    write_tokens,
)
from service.test_uploads import picture

TABLE = "file,label\n" + "".join(f"{n % 3}/{n}.jpg,{n % 3}\n" for n in range(9))


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Nine photos of three labels, by the real model at a small size: a process restores it by its name."""
    root = tmp_path_factory.mktemp("desk")
    for number in range(9):
        known = (
            {"taken": f"2024:05:0{number + 1} 12:00:00", "place": (35 + number, 135)} if number < 6 else {}
        )
        paint(root / "photos" / str(number % 3) / f"{number}.jpg", number, **known)
    describer = Describer(load_extractor("default", max_side_px=64), num_workers=0)
    index_folder(root / "photos", root / "c.meisho", describer, IndexOptions(index="exact"))
    return root


@pytest.fixture
def place(original, tmp_path):
    """A copy of it; the photo folder moves along."""
    return copy_place(original, tmp_path / "copy")


@pytest.fixture
def client(place):
    with serving(place / "c.meisho") as client:
        yield client


def put(client, name, content, status=201, **params):
    return json_of(client.put(f"/v1/photos/{quote(name)}", content=content, params=params), status)


def remove(client, photo_id, status=200, **params):
    return json_of(client.delete(f"/v1/photos/{quote(photo_id, safe='')}", params=params), status)


def search(client, status=200, **fields):
    fields = {"near": False} | fields  # photos of one colour are near copies of each other
    return json_of(client.post("/v1/search", json=fields), status)


def ids(found):
    return [answer["id"] for answer in found["answers"]]


def ended(client, job):
    """The job once it has ended, by the events that the service sends."""
    with client.stream("GET", f"/v1/jobs/{job['id']}/events") as events:
        assert events.headers["content-type"].startswith("text/event-stream")
        told = [json.loads(line[6:]) for line in events.iter_lines() if line.startswith("data: ")]
    assert all(each["id"] == job["id"] for each in told) and told[-1]["ended"]
    return told[-1]


# --- photos


def test_a_query_photo_is_put_without_sending_it_again(client, place):
    query = json_of(client.post("/v1/queries", content=picture(60)))["query"]
    added = json_of(client.put("/v1/photos/asked.jpg", params={"query": query}), 201)
    assert Path(added["id"]).read_bytes() == picture(60)
    forgotten = json_of(client.put("/v1/photos/other.jpg", params={"query": "0" * 64}), 404)
    assert forgotten["type"] == "/problems/query-forgotten"
    assert json_of(client.put("/v1/photos/other.jpg", params={"query": "../x"}), 422)["where"] == "query"
    remove(client, added["id"])


def test_a_photo_is_put_found_and_removed(client, place):
    added = put(client, "trip/塔 #1?.jpg", picture(50))
    assert added["done"] == "added" and added["id"].endswith("uploads/trip/塔 #1_.jpg")
    assert put(client, "trip/塔 #1?.jpg", picture(50), 200)["done"] == "unchanged"
    query = json_of(client.post("/v1/queries", content=picture(50)))["query"]
    found = search(client, query=query, top=1)
    assert ids(found) == [added["id"]] and found["version"] >= added["version"]
    assert json_of(client.get(f"/v1/photos/{quote(added['id'], safe='')}"))["missing"] is False
    assert put(client, "trip/塔 #1?.jpg", picture(51), 409)["type"] == "/problems/conflict"
    assert put(client, "trip/塔 #1?.jpg", picture(51), 200, replace=1)["done"] == "replaced"
    assert remove(client, added["id"])["removed"] is True
    assert remove(client, added["id"])["removed"] is False
    assert remove(client, added["id"], 404, strict=1)["type"] == "/problems/photo-not-found"
    assert (place / "c.meisho" / "uploads" / "trip" / "塔 #1_.jpg").is_file()


@pytest.mark.parametrize("content", [b"", b"no photo", picture(1)[:200]], ids=["empty", "text", "cut"])
def test_a_broken_photo_is_refused_and_leaves_nothing(client, place, content):
    refused = put(client, "a/b.jpg", content, 422)
    assert refused["type"] == "/problems/image" and refused["detail"].startswith("the photo: ")
    assert not [*(place / "c.meisho").glob("uploads/**/*.jpg")]
    assert json_of(client.get("/v1/collection"))["num_photos"] == 9


def test_names_from_outside_stay_inside(client, place):
    for name in (
        "..%2F..%2Fout.jpg",
        "%2Fetc%2Fout.jpg",
        "a%2F..%2F..%2F..%2Fout.jpg",
        ".ssh%2Fout.jpg",
        "%00.jpg",
    ):
        added = json_of(client.put(f"/v1/photos/{name}", content=picture(len(name) + 100)), 201)
        assert added["id"].startswith(str(place / "c.meisho" / "uploads") + "/")
    assert not [path for path in place.parent.rglob("out.jpg") if "uploads" not in path.parts]


def test_files_are_deleted_only_where_it_is_asked_for_twice_and_allowed(place):
    tokens = write_tokens(place)
    with serving(place / "c.meisho", photos_writable=True, token_file=tokens) as client:
        client.headers.update(bearer(READ))
        assert put(client, "a.jpg", picture(50), 403)["type"] == "/problems/not-allowed"
        assert remove(client, "0/0.jpg", 403)["type"] == "/problems/not-allowed"
        client.headers.update(bearer(WRITE))
        assert put(client, "a.jpg", picture(50))["id"] == "a.jpg"
        assert (place / "photos" / "a.jpg").read_bytes() == picture(50)
        assert "right admin" in remove(client, "a.jpg", 403, file="delete", confirm="a.jpg")["detail"]
        client.headers.update(bearer(ADMIN))
        assert remove(client, "a.jpg", 422, file="delete")["where"] == "confirm"
        assert remove(client, "a.jpg", 422, file="delete", confirm="b.jpg")["where"] == "confirm"
        assert (place / "photos" / "a.jpg").is_file()
        removed = remove(client, "a.jpg", file="delete", confirm="a.jpg")
        assert (removed["removed"], removed["file_deleted"]) == (True, True)
        assert not (place / "photos" / "a.jpg").exists()
    with serving(place / "c.meisho") as client:
        refused = remove(client, "0/0.jpg", 403, file="delete", confirm="0/0.jpg")
        assert refused["remedy"].startswith("start the service with --photos-writable")
        assert (place / "photos" / "0" / "0.jpg").is_file()


def test_what_was_acknowledged_survives_a_kill(place):
    acknowledged = []
    for first in (0, 100):
        with serving_process(place / "c.meisho") as (process, client), ThreadPoolExecutor(4) as pool:
            names = range(first, first + 8)
            acknowledged += pool.map(lambda n: put(client, f"{n}.jpg", picture(1000 + n))["id"], names)
            marked = {"photo": "0/0.jpg", "answer": f"0/{3 + first // 100 * 3}.jpg", "same": True}
            json_of(client.put("/v1/feedback", json=marked))
            kill(process)
    with serving(place / "c.meisho") as client:
        held = {photo["id"] for photo in json_of(client.get("/v1/photos", params={"limit": 200}))["photos"]}
        assert {*acknowledged} <= held and len(acknowledged) == 16
        marks = json_of(client.get("/v1/feedback", params={"photo": "0/0.jpg"}))["marks"]
        assert [mark["answer"] for mark in marks] == ["0/3.jpg", "0/6.jpg"]


# --- jobs


def test_indexing_goes_on_beside_answering(client, place):
    paint(place / "photos" / "new" / "10.jpg", 10)
    job = json_of(client.post("/v1/jobs", json={"kind": "index"}), 202)
    assert job["kind"] == "index" and job["state"] in ("waiting", "running")
    assert len(ids(search(client, photo="0/0.jpg", top=5))) == 5  # meanwhile
    done = ended(client, job)
    assert done["state"] == "done" and "10 photos" in done["message"]
    assert json_of(client.get(f"/v1/jobs/{job['id']}")) == done
    assert json_of(client.get("/v1/jobs"))["jobs"] == [done]
    assert json_of(client.get("/v1/collection"))["num_photos"] == 10
    assert json_of(client.delete(f"/v1/jobs/{job['id']}"))["state"] == "done"


def test_jobs_that_cannot_be_are_refused(client):
    assert json_of(client.post("/v1/jobs", json={"kind": "indx"}), 422)["where"] == "kind"
    for ask in (client.get, client.delete):
        assert json_of(ask("/v1/jobs/none"), 404)["type"] == "/problems/not-found"
    assert json_of(client.get("/v1/jobs/none/events"), 404)["type"] == "/problems/not-found"
    failed = ended(
        client, json_of(client.post("/v1/jobs", json={"kind": "local", "options": {"name": "x"}}), 202)
    )
    assert failed["state"] == "failed" and failed["problem"]["type"] == "/problems/input"


def test_a_waiting_job_is_cancelled(client):
    with client.service.desks.of(client.service.collections.choose(None)).uploads._gate.writing():
        job = json_of(client.post("/v1/jobs", json={"kind": "index"}), 202)
        json_of(client.delete(f"/v1/jobs/{job['id']}"))
        assert ended(client, job)["state"] == "cancelled"


def test_a_server_that_stops_says_what_became_of_its_jobs(place):
    with serving(place / "c.meisho") as client:
        gate = client.service.desks.of(client.service.collections.choose(None)).uploads._gate
        gate._holder = "a test"  # for ever
        job = json_of(client.post("/v1/jobs", json={"kind": "index"}), 202)
    with serving(place / "c.meisho") as client:
        (lost,) = json_of(client.get("/v1/jobs"))["jobs"]
        assert lost["id"] == job["id"] and "ended with the service" in lost["problem"]["detail"]


# --- filters


def test_photos_are_chosen_by_folder_day_and_place(client):
    found = search(client, photo="0/0.jpg", folder="1", top=9)
    assert {*ids(found)} == {"1/1.jpg", "1/4.jpg", "1/7.jpg"}
    assert {*ids(search(client, photo="0/0.jpg", after="2024-05-02", before="2024-05-04"))} == {
        "1/1.jpg", "2/2.jpg", "0/3.jpg"
    }  # fmt: skip
    assert ids(search(client, photo="0/0.jpg", gps="36,135,50")) == ["1/1.jpg"]
    assert search(client, 400, photo="0/0.jpg", after="yesterday")["detail"].startswith(
        "after is 'yesterday'"
    )
    where = json_of(client.get("/v1/locations"))
    assert where["points"] == [[35.0 + n, 135.0, 1] for n in range(6)]
    assert (where["located"], where["missing"], where["after"], where["before"]) == (
        6, 0, "2024-05-01", "2024-05-06"
    )  # fmt: skip
    few = json_of(client.get("/v1/locations", params={"most": 2}))["points"]
    assert len(few) <= 2 and sum(number for _, _, number in few) == 6


def test_many_dates_are_read_by_a_job_and_that_is_said(client, monkeypatch):
    monkeypatch.setattr(desk, "READ_WHILE_ASKED", 3)
    refused = client.post("/v1/search", json={"photo": "0/0.jpg", "after": "2024-05-02"})
    problem = json_of(refused, 503)
    assert problem["type"] == "/problems/not-read-yet" and refused.headers["retry-after"]
    assert json_of(client.get("/v1/locations"))["missing"] in (0, 9)
    (job,) = json_of(client.get("/v1/jobs"))["jobs"]
    assert ended(client, job)["state"] == "done"
    assert len(ids(search(client, photo="0/0.jpg", after="2024-05-02"))) == 5


def test_pages_of_answers_keep_the_filter(client):
    found = search(client, photo="0/0.jpg", folder="1", top=2)
    rest = json_of(client.get("/v1/answers", params={"cursor": found["next"]}))
    assert len({*ids(found), *ids(rest)}) == 3 and rest["next"] is None
    assert all(photo_id.startswith("1/") for photo_id in (*ids(found), *ids(rest)))


# --- feedback


def test_marks_are_kept_changed_and_taken_back(client):
    mark = {"photo": "0/0.jpg", "answer": "0/3.jpg", "same": True}
    (kept,) = json_of(client.put("/v1/feedback", json=mark))["marks"]
    assert (kept["answer"], kept["same"], kept["version"]) == ("0/3.jpg", True, kept["version"])
    json_of(client.put("/v1/feedback", json=mark | {"same": False}))
    (changed,) = json_of(client.get("/v1/feedback", params={"photo": "0/0.jpg"}))["marks"]
    assert changed["same"] is False and changed["at"] > kept["at"]
    assert json_of(client.put("/v1/feedback", json=mark | {"same": None}))["marks"] == []
    assert json_of(client.put("/v1/feedback", json=mark | {"answer": "gone"}), 404)["where"] == "id"
    assert json_of(client.put("/v1/feedback", json={"answer": "0/3.jpg", "same": True}), 422)
    assert json_of(client.get("/v1/feedback"), 422)["where"] == "photo"


def test_who_marked_is_kept(place):
    with serving(place / "c.meisho", token_file=write_tokens(place)) as client:
        mark = {"photo": "0/0.jpg", "answer": "0/3.jpg", "same": True}
        json_of(client.put("/v1/feedback", json=mark, headers=bearer(READ)), 403)
        (kept,) = json_of(client.put("/v1/feedback", json=mark, headers=bearer(ADMIN)))["marks"]
        assert kept["made_by"] == "me"


def test_searching_again_from_what_was_marked_moves_towards_it(client, place):
    plain = search(client, photo="0/0.jpg", top=9)
    last = plain["answers"][-1]
    json_of(client.put("/v1/feedback", json={"photo": "0/0.jpg", "answer": last["id"], "same": True}))
    again = search(client, photo="0/0.jpg", top=9, marked=True)
    finder = Finder.open(place / "c.meisho")
    expected = finder.find_like("0/0.jpg", top=9, same=[last["id"]])[0]
    assert {a["id"]: a["score"] for a in again["answers"]} == {
        a.id: round(a.score, 6) for a in expected if a.id != "0/0.jpg"
    }
    score = next(a["score"] for a in again["answers"] if a["id"] == last["id"])
    assert score > last["score"]


def test_marks_of_an_upload_count_for_that_upload(client):
    query = json_of(client.post("/v1/queries", content=picture(77)))["query"]
    first = search(client, query=query)
    json_of(client.put("/v1/feedback", json={"query": query, "answer": ids(first)[-1], "same": True}))
    assert search(client, query=query, marked=True)["answers"] != first["answers"]
    assert (
        json_of(client.get("/v1/feedback", params={"query": query}))["marks"][0]["answer"] == ids(first)[-1]
    )


def test_the_export_is_read_by_evaluate(client, place, tmp_path):
    for answer, same in (("0/3.jpg", True), ("0/6.jpg", True), ("1/1.jpg", False)):
        json_of(client.put("/v1/feedback", json={"photo": "0/0.jpg", "answer": answer, "same": same}))
    export = client.get("/v1/feedback/export", params={"format": "labels.csv"})
    assert export.headers["content-disposition"] == 'attachment; filename="labels.csv"'
    (tmp_path / "labels.csv").write_bytes(export.content)
    dataset = load_dataset("csv", tmp_path / "labels.csv")
    assert [photo.id for photo in dataset.queries] == ["0/0.jpg", "0/3.jpg", "0/6.jpg"]
    assert len(dataset.database) == 4
    pairs = client.get("/v1/feedback/export", params={"format": "pairs.csv"}).text
    assert [row["same"] for row in csv.DictReader(io.StringIO(pairs))] == ["1", "1", "0"]
    assert json_of(client.get("/v1/feedback/export"))["groups"] == [["0/0.jpg", "0/3.jpg", "0/6.jpg"]]


# --- evaluations


def test_a_labelled_set_is_scored_looked_at_and_compared(client):
    jobs = [
        json_of(
            client.post("/v1/evaluations", json={"dataset": TABLE, "name": "mine", "rerank": rerank}), 202
        )
        for rerank in ("", "alpha-qe:k=2")
    ]
    assert [ended(client, job)["state"] for job in jobs] == ["done", "done"]
    a, b = (job["options"]["evaluation"] for job in jobs)
    listed = json_of(client.get("/v1/evaluations"))["evaluations"]
    assert [each["id"] for each in listed] == [b, a] and listed[0]["rerank"] == "alpha-qe:k=2"
    shown = json_of(client.get(f"/v1/evaluations/{a}", params={"limit": 4}))
    assert shown["figure"] == shown["figures"][0] and shown["figure"]["num_queries"] == 9
    assert (shown["figure"]["short"], shown["figure"]["factor"]) == ("mAP", 100)
    assert all("_" not in each["short"] and each["name"] in each["about"] for each in shown["figures"])
    assert shown["name"] == "mine" and len(shown["queries"]) == 4
    rest = json_of(client.get(f"/v1/evaluations/{a}", params={"limit": 9, "cursor": shown["next"]}))
    scores = [query["ap"] for query in (*shown["queries"], *rest["queries"])]
    assert len(scores) == 9 and scores == sorted(scores) and rest["next"] is None
    compared = json_of(client.get("/v1/evaluations/compare", params={"a": a, "b": b}))
    (figure,) = compared["figures"]
    assert figure["num_queries"] == 9 and 0 <= figure["p_value"] <= 1
    assert any("reranking" in difference for difference in compared["differences"])
    gaps = [abs(query["a"] - query["b"]) for query in compared["queries"]]
    assert len(gaps) == 9 and gaps == sorted(gaps, reverse=True)


def test_sets_that_are_none_are_refused_before_a_job_begins(client, place):
    refused = json_of(client.post("/v1/evaluations", json={"dataset": "file,label\n../c,a\n"}), 400)
    assert "outside of the photo folder" in refused["detail"]
    assert json_of(client.get("/v1/evaluations"))["evaluations"] == []
    assert json_of(client.get("/v1/evaluations/" + "0" * 16), 404)["type"] == "/problems/not-found"
    assert json_of(client.get("/v1/evaluations/compare", params={"a": "../x", "b": "0" * 16}), 422)


# --- answers as files


def test_answers_are_exported_as_json_table_and_page(client):
    fields = {"photo": "0/0.jpg", "top": 3, "near": False}
    plain = search(client, **fields)
    found = json_of(client.post("/v1/search/export", json=fields))
    assert found["answers"] == plain["answers"]
    linked = client.get("/v1/search/export", params=fields | {"format": "csv"})
    rows = list(csv.DictReader(io.StringIO(linked.text)))
    assert [row["id"] for row in rows] == ids(plain) and rows[0]["rank"] == "1"
    page = client.post("/v1/search/export", json=fields, params={"format": "html"})
    assert page.headers["content-disposition"] == 'attachment; filename="answers.html"'
    assert "meisho search</title>" in page.text and all(
        photo_id in page.text.replace("<wbr>", "") for photo_id in ids(plain)
    )
    file = client.post(
        "/v1/search/export",
        files={"photo": picture(3)},
        data={"top": "2", "near": "false"},
        params={"format": "csv"},
    )
    assert len(list(csv.DictReader(io.StringIO(file.text)))) == 2
    json_of(client.post("/v1/search/export", json=fields, params={"format": "pdf"}), 422)


def test_what_is_remembered_is_not_found_when_the_folder_is_indexed(client, place):
    put(client, "a.jpg", picture(50))
    json_of(client.put("/v1/feedback", json={"photo": "0/0.jpg", "answer": "0/3.jpg", "same": True}))
    command = [
        sys.executable,
        "-m",
        "meisho.cli",
        "index",
        str(place),
        "--to",
        str(place.parent / "other"),
        "--size",
        "64",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(Finder.open(place.parent / "other")) == 9


# --- programs, and hostile requests


def test_a_program_adds_and_removes_photos(client):
    with meisho.Client(str(client.base_url)) as service:
        added = service.add("from a program/塔.jpg", picture(50))
        assert (
            added["done"] == "added" and service.search(picture(50), top=1)["answers"][0]["id"] == added["id"]
        )
        with pytest.raises(meisho.MeishoError, match="another photo has that name; choose another name"):
            service.add("from a program/塔.jpg", picture(51))
        assert service.remove(added["id"])["removed"] is True
        with pytest.raises(meisho.MeishoError, match="holds no photo"):
            service.remove(added["id"], strict=True)


LONG = "x" * 5000
HOSTILE = [
    ("POST", "/v1/jobs", {"kind": "index", "options": {"prune": [1]}}),
    ("POST", "/v1/jobs", {"kind": "evaluation", "options": {"evaluation": "../../x"}}),
    ("POST", "/v1/jobs", {"kind": "index", "options": {str(n): 1 for n in range(50)}}),
    ("POST", "/v1/jobs", {"kind": ["index"]}),
    ("POST", "/v1/jobs", {}),
    ("GET", "/v1/jobs/..%2f..%2fetc", None),
    ("GET", f"/v1/jobs/{LONG}", None),
    ("PUT", "/v1/feedback", {"photo": "0/0.jpg", "answer": LONG, "same": True}),
    ("PUT", "/v1/feedback", {"photo": "0/0.jpg", "answer": "0/3.jpg", "same": "perhaps"}),
    ("PUT", "/v1/feedback", {"photo": "0/0.jpg", "answer": "0/3.jpg", "same": True, "box": "1,2,3"}),
    ("PUT", "/v1/feedback", {"photo": "0/0.jpg", "answer": "0/3.jpg", "same": True, "more": 1}),
    ("PUT", "/v1/feedback", {"query": "'; DROP TABLE marks; --", "answer": "0/3.jpg", "same": True}),
    ("GET", "/v1/feedback/export?format=exe", None),
    ("PUT", "/v1/dismissals", {"kind": "photo", "id": "x", "dismissed": True}),
    ("PUT", "/v1/dismissals", {"kind": "place", "id": LONG, "dismissed": True}),
    ("POST", "/v1/evaluations", {"dataset": "/etc/passwd"}),
    ("POST", "/v1/evaluations", {"dataset": "../../../../etc"}),
    ("POST", "/v1/evaluations", {"dataset": "file,label\n" + "a,b,c\n" * 9}),
    ("POST", "/v1/evaluations", {"dataset": "\0"}),
    ("POST", "/v1/evaluations", {"dataset": "file,label\na,a\n", "rerank": "geometric:first=-1"}),
    ("GET", "/v1/evaluations/..%2f..%2fcollection.json", None),
    ("GET", "/v1/places?cursor=AAAA", None),
    ("GET", "/v1/places?limit=100000", None),
    ("GET", "/v1/places/..%2f..%2fx", None),
    ("GET", "/v1/locations?most=0", None),
    ("DELETE", "/v1/photos/0%2F0.jpg?file=delete", None),
    ("DELETE", "/v1/photos/%2Fetc%2Fpasswd?file=delete&confirm=%2Fetc%2Fpasswd", None),
    ("DELETE", "/v1/photos/..%2Fc.meisho%2Fa.jpg?file=delete&confirm=..%2Fc.meisho%2Fa.jpg", None),
    ("PUT", "/v1/photos/a.jpg?replace=perhaps", None),
    ("GET", "/v1/search/export?photo=0/0.jpg&top=100000", None),
    ("GET", "/v1/search/export?photo=0/0.jpg&folder=" + LONG, None),
    ("GET", "/v1/search/export?format=html", None),
]  # fmt: skip


def test_hostile_requests_are_refused_and_change_nothing(client, place):
    before = {path: path.read_bytes() for path in (place / "photos").rglob("*.jpg")}
    version = json_of(client.get("/v1/collection"))["version"]
    for method, path, value in HOSTILE:
        answer = client.request(method, path, json=value)
        assert 400 <= answer.status_code < 500, (method, path[:80], answer.status_code, answer.text[:300])
        json_of(answer, answer.status_code)
    assert json_of(client.get("/v1/collection"))["version"] == version
    assert {path: path.read_bytes() for path in (place / "photos").rglob("*.jpg")} == before
    assert (place / "c.meisho" / "collection.json").is_file()
    assert json_of(client.get("/v1/feedback/export"))["marks"] == []
    assert json_of(client.get("/v1/jobs"))["jobs"] == []


def test_bodies_that_are_no_json_are_refused(client):
    for method, path in (
        ("POST", "/v1/jobs"),
        ("PUT", "/v1/feedback"),
        ("PUT", "/v1/dismissals"),
        ("POST", "/v1/evaluations"),
    ):
        for content in (b"", b"{", b"[]", b"\xff\xfe", b'{"a": 1, "a": 2}', b"[" * 10_000):
            json_of(client.request(method, path, content=content), 422)
        json_of(client.request(method, path, content=b"{}", headers={"content-type": "text/plain"}), 415)
