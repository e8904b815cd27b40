"""Places in stores, on the command line: s3:// is read and written, whatever else looks so is refused."""

import json
from pathlib import Path

import pytest
from test_outputs import WRITES

from meisho.buckets import BucketPath
from meisho.describing import Describer
from meisho.errors import InputError
from meisho.extractors.base import EXTRACTORS
from meisho.outputs import check_output_folder
from meisho.run.indexing import index_folder
from meisho.schemes import refuse_other_schemes
from meisho.store.places import place_of
from service.servers import scene
from toy_features import MeanColor

OTHERS = ("gs://bucket/NAME", "GS://bucket/NAME", "az://c/NAME", "s3a://bucket/NAME", "my.store+x://b/NAME")


def test_no_output_goes_into_a_folder_of_the_name_of_a_store(run, tmp_path, monkeypatch):
    """Every output of every command."""
    monkeypatch.chdir(tmp_path)
    for words in WRITES.values():
        given = [word.partition(">")[0] for word in words]
        option = max(i for i, word in enumerate(given) if word in ("--to", "--html", "--csv", "--work"))
        for start in ("gs://bucket", "file:///tmp"):
            given[option + 1] = f"{start}/{Path(given[option + 1]).name}"
            code, _, err = run(*given)
            assert code == 2 and f"{start}/" in err, given
            assert "speaks S3" in err or "write the path alone" in err
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("place", OTHERS)
@pytest.mark.parametrize(
    "words", [["info"], ["search", "c.meisho"], ["serve"], ["add", "c.meisho"], ["index"], ["check"]]
)
def test_nothing_is_read_from_there(run, tmp_path, monkeypatch, words, place):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(*words, place)
    assert code == 2 and f"{place}: places in a store are written s3://BUCKET/NAME" in err
    assert not [*tmp_path.iterdir()]


def test_a_place_in_a_bucket_that_lost_its_slashes_makes_no_folder(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = run("index", tmp_path, "--to", "s3:photos/c")
    assert code == 2 and "s3:photos/c: places in a bucket are written s3://BUCKET/NAME" in err
    code, _, err = run("index", tmp_path, "--to", "s3://")
    assert code == 2 and "s3://: is no place in a bucket" in err
    assert not [*tmp_path.iterdir()]


def test_what_is_no_such_place_is_left_alone():
    names = ("C:\\photos", "C:/photos", "a/gs:/b", "gs", "gs.meisho", "s3://b/c", "s3:/b", "x:y", "//a/b")
    for name in (*names, Path("s3://b/c"), "milvus:http://127.0.0.1:19530", "ray:host:1", "onnx:x.onnx"):
        refuse_other_schemes(name)
    for path in (Path("gs://b/c"), Path("gs://b"), Path("https://a/b.jpg"), Path("hdfs://host:1/x")):
        for check in (refuse_other_schemes, place_of, check_output_folder):
            with pytest.raises(InputError, match=r"speaks S3|download what is there"):
                check(path)


@pytest.fixture
def stored(bucket, tmp_path, monkeypatch):
    """A collection of three photos in the store, and the photos."""
    monkeypatch.setitem(EXTRACTORS, "mean_color", "toy_features:load_mean_color")
    for seed in range(3):
        scene(seed).save(tmp_path / f"{seed}.png")
        BucketPath.parse(f"{bucket}/photos/{seed}.png").write_bytes((tmp_path / f"{seed}.png").read_bytes())
    index_folder(f"{bucket}/photos", f"{bucket}/c", Describer(MeanColor(), num_workers=0))
    return bucket


def test_a_query_is_read_from_the_store(run, stored, tmp_path):
    query = f"{stored}/asked/1 again.png"
    scene(1, (300, 200)).save(tmp_path / "asked.png")
    BucketPath.parse(query).write_bytes((tmp_path / "asked.png").read_bytes())
    page = tmp_path / "page.html"
    code, out, err = run("search", f"{stored}/c", query, "--json", "--html", page, "--box", "0,0,200,200")
    assert code == 0, err
    found = json.loads(out)
    _, here, _ = run("search", f"{stored}/c", tmp_path / "asked.png", "--json", "--box", "0,0,200,200")
    assert found == json.loads(here) | {"query": query}
    assert page.is_file()
    code, out, err = run("match", query, f"{stored}/photos/1.png", "--to", tmp_path / "match.png", "--json")
    assert code == 0, err
    assert json.loads(out)["query"] == query and (tmp_path / "match.png").is_file()
    code, _, err = run("search", f"{stored}/c", query, f"{stored}/asked/none.png")
    assert code == 2 and f"{stored}/asked/none.png: no such file" in err
    code, _, err = run("search", f"{stored}/c", f"{stored}/asked")
    assert code == 2 and f"{stored}/asked: is a folder; give the photos in it: {stored}/asked/*.jpg" in err


def test_a_store_that_is_gone_is_said_and_no_query_is_missing(run, stored, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    code, _, err = run("match", f"{stored}/photos/1.png", f"{stored}/photos/2.png")
    assert code == 4 and "does not answer as it should" in err and "no such file" not in err


def test_a_photo_is_added_and_removed_by_its_place(run, stored, tmp_path):
    other = BucketPath.parse(f"{stored}/others/9.png")
    scene(9).save(tmp_path / "9.png")
    other.write_bytes((tmp_path / "9.png").read_bytes())
    for words in (("add", f"{stored}/c", other), ("remove", f"{stored}/c", other)):
        code, _, err = run(*words)
        assert code == 0, err
