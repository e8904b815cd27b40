"""Collections that meisho made in each format up to the present one: opened, searched, brought up to date.

`collections/format_N.tar.xz` holds three small drawn photos and their collection, made by `meisho index
photos --to formatN.meisho` (from 2 on with `--local sift`) of the program of that time:
format 1 on 2026-11-24, 2 on 2026-11-28, 3 on 2026-11-29.
"""

import json
import shutil
import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from meisho import cli
from meisho.store.collection import Collection
from meisho.store.metadata import FORMAT_VERSION

ARCHIVES = Path(__file__).parent / "collections"
FORMATS = range(1, FORMAT_VERSION + 1)
PHOTOS = (
    "hotel_temna_place_000_00.jpg",
    "hotel_temna_place_000_01.jpg",
    "karowick_post_office_place_001_00.jpg",
)

cli.load_commands()


def run(*words, code=0):
    """Run a command, which must end with `code`; return what it printed."""
    done = CliRunner().invoke(cli.app, [str(word) for word in words])
    assert done.exit_code == code, f"{words}: {done.exit_code} {done.exception}\n{done.output}"
    return done.output


def report(printed):
    """The JSON that a command printed, after the bars."""
    return json.JSONDecoder().raw_decode(printed, printed.index("{"))[0]


def test_there_is_one_of_every_format():
    """A new format keeps an archive of the one before: that is what an upgrade is tested with."""
    assert sorted(path.name for path in ARCHIVES.iterdir()) == [f"format_{n}.tar.xz" for n in FORMATS]


@pytest.fixture(params=FORMATS)
def old(request, tmp_path):
    """A collection of each format, and its photos, in another place than where they were indexed."""
    with tarfile.open(ARCHIVES / f"format_{request.param}.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    collection = tmp_path / f"format{request.param}.meisho"
    assert Collection.open(collection).metadata.format_version == request.param
    return collection, tmp_path / "photos"


def test_it_is_opened_and_searched_as_it_is(old):
    collection, photos = old
    files = {path: path.read_bytes() for path in collection.rglob("*") if path.is_file()}
    assert report(run("info", collection, "--json"))["photos"] == len(PHOTOS)
    for name in PHOTOS:
        found = run("search", collection, photos / name, "--json")
        assert found.index(name) < min(found.index(other) for other in PHOTOS if other != name)
    rows = [path for path in files if path.suffix == ".lance" or path.name == "collection.json"]
    assert all(path.read_bytes() == files[path] for path in rows), "asking has written"


def test_it_is_indexed_again_without_describing_what_it_holds(old):
    collection, photos = old
    done = report(run("index", photos, "--to", collection, "--moved", "--json"))
    assert (done["num_photos"], done["described"], done["local_described"], done["skipped"]) == (3, 0, 0, [])
    shutil.copy(photos / PHOTOS[0], photos / "copy.jpg")
    assert "4 photos" in run("index", photos, "--to", collection, "--local", "sift")
    assert Collection.open(collection).metadata.format_version == FORMAT_VERSION
    assert run("check", collection, "--photos")
    answers = run("search", collection, photos / PHOTOS[0], "--verify", "3", "--json")
    assert PHOTOS[0] in answers
