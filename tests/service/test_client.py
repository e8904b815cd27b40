"""`meisho.Client` against a real service."""

import pytest

from meisho import Client
from meisho.client import ServiceError
from meisho.errors import InputError
from service.servers import scene


@pytest.fixture
def client(asked):
    with Client(str(asked.base_url), token="not needed") as client:
        yield client


def test_it_asks_with_files_bytes_and_stored_photos(client, tmp_path):
    scene(1).save(tmp_path / "q.png")
    by_file = client.search(tmp_path / "q.png", top=3)["answers"]
    assert by_file == client.search((tmp_path / "q.png").read_bytes(), top=3)["answers"]
    assert by_file[0]["id"].startswith("place 1/")
    like = client.search(like="place 1/whole.png", top=3, include_self=True)["answers"]
    assert like[0]["id"] == "place 1/whole.png"
    boxed = client.search(tmp_path / "q.png", box="0,0,100,100", verify=3)
    assert boxed["verified"] and boxed["query"]["box"] == "0,0,100,100"


def test_it_goes_on_through_all_pages(client):
    assert len({photo["id"] for photo in client.photos()}) == 14
    assert len({photo["id"] for photo in client.photos("place 1")}) == 2
    assert [a["rank"] for a in client.pages(like="place 1/whole.png", top=4, near=False)] == list(
        range(1, 13)
    )


def test_it_compares_and_shows(client):
    why = client.match("place 2/small, né 京.jpg", like="place 2/whole.png")
    assert why["verdict"] == "same"
    assert client.thumbnail("place 2/small, né 京.jpg")[:2] == b"\xff\xd8"
    assert client.collection() == client.collections()[0]


def test_what_the_service_refuses_is_raised_with_its_words(client):
    with pytest.raises(ServiceError, match="holds no photo 'none'") as refused:
        client.search(like="none")
    assert refused.value.problem["status"] == 404
    with pytest.raises(ServiceError, match="the photo: "):
        client.search(b"no photo")
    other = Client(str(client._http.base_url), collection="x")
    with other, pytest.raises(ServiceError, match=r"collection 'x'.*name one of scenes"):
        other.collection()
    with pytest.raises(InputError, match="one photo"):
        client.search()
    with pytest.raises(InputError, match="no such file"):
        client.search("none.jpg")


def test_a_service_that_is_not_there_is_named():
    with Client("http://127.0.0.1:1") as nobody, pytest.raises(ServiceError, match="cannot be asked"):
        nobody.collections()
