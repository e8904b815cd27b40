import json
import re

import numpy as np
import pytest

from meisho.datasets.base import DATASETS
from meisho.errors import DatasetError, InputError
from meisho.fetching.manifest import load_manifest, manifest_names, read_manifest, say_bytes

GOOD = {
    "name": "street",
    "title": "Our street",
    "licence": "CC0",
    "homepage": "https://example.org",
    "files": [{"path": "a.csv", "urls": ["https://example.org/a.csv"], "size_bytes": 3, "sha256": "0" * 64}],
}


def write(tmp_path, content):
    path = tmp_path / "street.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def changed(**values):
    return {**GOOD, **values}


def with_file(**values):
    file = {**GOOD["files"][0], **values}
    return {**GOOD, "files": [{name: value for name, value in file.items() if value is not None}]}


@pytest.mark.parametrize("name", manifest_names())
def test_every_manifest_that_comes_with_the_package_is_complete(name):
    manifest = load_manifest(name)
    assert manifest.name == name
    assert manifest.licence and manifest.title and manifest.homepage.startswith(("https://", "http://"))
    assert set(manifest.loaders) <= DATASETS.keys()
    for file in manifest.all_files:
        assert file.urls or file.kaggle
        assert "{" not in "".join((file.path, *file.urls, file.md5_in or ""))
        assert file.expected_bytes > 0
        if file.unpack:
            assert file.unpack.max_bytes >= file.expected_bytes


def test_the_known_sets_have_their_manifests():
    wanted = {"roxford5k", "rparis6k", "roxfordparis", "revisitop1m", "gldv2", "gldv2_micro", "ukbench"}
    assert set(manifest_names()) == wanted


def test_gldv2_has_all_shards_each_with_the_md5_of_its_publisher():
    manifest = load_manifest("gldv2")
    for part, count in (("train", 500), ("index", 100), ("test", 20)):
        shards = [file for file in manifest.all_files if file.part == part and file.unpack]
        assert [file.shard for file in shards] == list(range(count))
        last = shards[-1]
        number = f"{count - 1:03}"
        assert last.urls == (f"https://s3.amazonaws.com/google-landmark/{part}/images_{number}.tar",)
        table = manifest.by_path[last.md5_in]
        assert table.urls == (
            f"https://s3.amazonaws.com/google-landmark/md5sum/{part}/md5.images_{number}.txt",
        )


def test_the_distractors_are_a_hundred_archives():
    paths = [file.path for file in load_manifest("revisitop1m").all_files if file.unpack]
    assert paths == [f"revisitop1m.{number}.tar.gz" for number in range(1, 101)]


@pytest.mark.parametrize(
    ("name", "sha256"),
    [
        ("roxford5k", "ba7967754bd2d7d2210a5799f9c45ad5835e269a80ef9d3eba44caa35816c471"),
        ("rparis6k", "d2e729a5293dda7dda8a15c8383424a42e4964a2c4cfea2f32fa85d11d2df499"),
    ],
)
def test_the_ground_truths_are_the_published_ones(name, sha256):
    assert load_manifest(name).by_path[f"gnd_{name}.pkl"].sha256 == sha256


@pytest.mark.shared
@pytest.mark.parametrize("name", ["roxford5k", "rparis6k"])
def test_the_sizes_of_the_ground_truths_are_right(shared_data, name):
    file = load_manifest(name).by_path[f"gnd_{name}.pkl"]
    assert (shared_data / "gnd" / file.path).stat().st_size == file.size_bytes


def test_a_byte_order_mark_and_crlf_do_no_harm(tmp_path):
    text = json.dumps(GOOD, indent=1).replace("\n", "\r\n")
    assert read_manifest(write(tmp_path, b"\xef\xbb\xbf" + text.encode())).name == "street"


def test_shards_stand_for_one_file_each(tmp_path):
    entry = {
        "path": "p_{shard}.tar",
        "urls": ["https://example.org/{shard}/p_{shard}.tar"],
        "about_bytes": 5,
        "shards": {"first": 8, "last": 11, "digits": 2},
    }
    manifest = read_manifest(write(tmp_path, changed(files=[entry])))
    assert [file.path for file in manifest.all_files] == ["p_08.tar", "p_09.tar", "p_10.tar", "p_11.tar"]
    assert manifest.all_files[2].urls == ("https://example.org/10/p_10.tar",)
    assert manifest.part_bytes("all") == 20


MALFORMED = {
    "missing key": ({k: v for k, v in GOOD.items() if k != "licence"}, "the key 'licence' is missing"),
    "unknown key": (changed(licenes="x"), "'licenes' is not known; the nearest is 'licence'"),
    "unknown key of a file": (with_file(sha265="0" * 64), "nearest is 'files[0].sha256'"),
    "wrong type": (changed(title=3), "title is 3, expected text"),
    "wrong type of size": (with_file(size_bytes="3"), "size_bytes is '3', expected a whole number"),
    "number with a point": (with_file(size_bytes=3.0), "expected a whole number"),
    "boolean for a size": (with_file(size_bytes=True), "expected a whole number"),
    "files is no list": (changed(files={}), "files is {}, expected an array"),
    "no files": (changed(files=[]), "files is empty"),
    "a file is no object": (changed(files=["a.csv"]), "files[0] is 'a.csv'"),
    "null": (changed(name=None), "name is None"),
    "a list": ([GOOD], "holds a list of 1, expected an object"),
    "path up": (with_file(path="../a.csv"), "'../a.csv' is not a path below"),
    "path absolute": (with_file(path="/etc/passwd"), "is not a path below"),
    "path of Windows": (with_file(path="a\\b"), "is not a path below"),
    "drive": (with_file(path="C:a"), "is not a path below"),
    "path of ours": (with_file(path=".fetched/record.json"), "is not a path below"),
    "path empty": (with_file(path=""), "is not a path below"),
    "path with NUL": (with_file(path="a\0b"), "is not a path below"),
    "scheme": (with_file(urls=["file:///etc/passwd"]), "is not an https:// or http:// address"),
    "address without host": (with_file(urls=["https:///a"]), "is not an https:// or http:// address"),
    "address with a break": (
        with_file(urls=["https://a/b\r\nX: y"]),
        "is not an https:// or http:// address",
    ),
    "no source": (with_file(urls=None), "give either urls or kaggle"),
    "two sources": (with_file(kaggle="a/b"), "give either urls or kaggle"),
    "kaggle handle": (with_file(urls=None, kaggle="../b"), "expected owner/name"),
    "no size": (with_file(size_bytes=None), "give size_bytes, or about_bytes"),
    "negative size": (with_file(size_bytes=-1), "not negative"),
    "short checksum": (with_file(sha256="00"), "expected 64 hex digits"),
    "checksum in capitals": (with_file(sha256="A" * 64), "expected 64 hex digits"),
    "unknown md5 file": (with_file(md5_in="none.txt"), "'none.txt' is not a file of this manifest"),
    "path twice": (changed(files=GOOD["files"] * 2), "the path 'a.csv' stands twice"),
    "unknown part": (changed(default_parts=["train"]), "no file belongs to the part 'train'"),
    "name": (changed(name="../x"), "name is '../x'"),
    "shards backwards": (with_file(path="{shard}", shards={"first": 3, "last": 1}), "no shards 3 to 1"),
    "shards of one path": (with_file(shards={"first": 1, "last": 2}), "stands twice"),
    "a million shards": (with_file(path="{shard}", shards={"first": 0, "last": 10**6}), "no shards"),
    "unpack outside": (
        with_file(unpack={"max_members": 1, "max_bytes": 1, "to": ".."}),
        "is not a path below",
    ),
    "unpack without limits": (with_file(unpack={"to": "jpg"}), "'files[0].unpack.max_members' is missing"),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_manifest_is_one_clear_line(tmp_path, kind):
    content, said = MALFORMED[kind]
    path = write(tmp_path, content)
    with pytest.raises(DatasetError) as error:
        read_manifest(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ") and said in message
    assert "\n" not in message and len(message) < 600


NOT_JSON = {
    "empty": b"",
    "text": b"street",
    "cut off": json.dumps(GOOD).encode()[:60],
    "key twice": b'{"name": "street", "name": "road"}',
    "not a number": b'{"name": NaN}',
    "not UTF-8": b'{"name": "\xff"}',
    "UTF-16": json.dumps(GOOD).encode("utf-16"),
    "deep": b"[" * 100_000,
    "deep and closed": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "a line of 10 MB": b'{"name": "' + b"x" * 10_000_000 + b'"}',
    "a line of 3 MB": b'{"name": "' + b"x" * 3_000_000 + b'"}',
    "a number of 5,000 digits": b'{"name": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("kind", NOT_JSON)
def test_what_is_no_json_is_one_clear_line(tmp_path, kind):
    path = write(tmp_path, NOT_JSON[kind])
    with pytest.raises(DatasetError) as error:
        read_manifest(path)
    message = str(error.value)
    assert re.match(re.escape(str(path)) + r"(:\d+)?: ", message)
    assert "\n" not in message and len(message) < 600


def test_any_damage_to_a_manifest_is_a_clear_line_or_harmless(tmp_path):
    rng = np.random.default_rng(5)
    whole = json.dumps(GOOD, indent=1).encode()
    refused = 0
    for _ in range(400):
        raw = bytearray(whole)
        for at in rng.integers(len(raw), size=int(rng.integers(1, 4))):
            raw[at] = int(rng.integers(256))
        try:
            read_manifest(write(tmp_path, bytes(raw)))
        except DatasetError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 200


def test_a_missing_manifest_and_an_unknown_name_are_said(tmp_path):
    with pytest.raises(DatasetError, match=r"cannot be read"):
        load_manifest(str(tmp_path / "none.json"))
    with pytest.raises(InputError, match=r"no manifest is called 'oxford'; the nearest is 'roxford5k'"):
        load_manifest("oxford")


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1500, "1.5 kB"),
        (5.25e8, "525 MB"),
        (1.938e9, "1.94 GB"),
        (2e12, "2 TB"),
    ],
)
def test_sizes_are_said_as_a_person_reads_them(size, text):
    assert say_bytes(size) == text
