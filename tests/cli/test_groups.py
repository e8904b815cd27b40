import csv
import json
import shutil

import pytest

from walls import draw_view

SMALL = ("--weights", "none:0", "--size", "64")


@pytest.fixture(scope="module")
def walls(tmp_path_factory):
    """Two views of each of two walls, of which one is there twice, and a third wall."""
    photos = tmp_path_factory.mktemp("walls") / "photos"
    photos.mkdir()
    for wall, views in ((0, ("far", "near")), (1, ("far", "near")), (2, ("far",))):
        for number, name in enumerate(views):
            draw_view(wall, number, photos / f"{wall}-{name}.png")
    shutil.copy(photos / "0-far.png", photos / "0-twice.png")
    return photos


@pytest.fixture
def collection(run, walls, tmp_path):
    path = tmp_path / "walls.meisho"
    assert run("index", walls, "--to", path, *SMALL, "--local", "sift")[0] == 0
    return path


def test_groups_tells_places_and_copies(run, collection, tmp_path):
    code, out, err = run("groups", collection, "--html", tmp_path / "p.html", "--csv", tmp_path / "p.csv")
    assert code == 0, err
    assert "2 places that 4 photos show" in out
    assert "never measured for these models" in err
    found = json.loads(run("groups", collection, "--json")[1])
    assert [{*place["photos"]} for place in found["places"]] == [
        {"0-far.png", "0-near.png"},
        {"1-far.png", "1-near.png"},
    ]
    assert found["places"][0]["copies"] == ["0-twice.png"]
    assert [group["photos"] for group in found["duplicates"]] == [["0-far.png", "0-twice.png"]]
    with (tmp_path / "p.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["kind"] for row in rows] == ["place"] * 4 + ["same"] * 2
    assert {row["photo"] for row in rows if row["group"] == found["places"][1]["id"]} == {
        "1-far.png",
        "1-near.png",
    }
    page = (tmp_path / "p.html").read_text()
    assert page.count("<figure") == 6
    assert "the same file" in page
    assert run("groups", collection, "--html", tmp_path / "p.html", "--csv", tmp_path / "p.csv")[0] == 0


def test_groups_writes_over_no_file_of_a_stranger(run, collection, tmp_path):
    for option, name in (("--html", "mine.html"), ("--csv", "mine.csv")):
        (tmp_path / name).write_text("mine")
        code, _, err = run("groups", collection, option, tmp_path / name)
        assert code == 2
        assert "is there already" in err
        assert (tmp_path / name).read_text() == "mine"


def test_groups_needs_local_features(run, walls, tmp_path):
    assert run("index", walls, "--to", tmp_path / "plain", *SMALL)[0] == 0
    code, _, err = run("groups", tmp_path / "plain")
    assert code != 0
    assert "--local" in err
