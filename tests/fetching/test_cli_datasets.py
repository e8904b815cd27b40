import io
import json
import os
import pickle
import pty
import re
import signal
import sys
import tarfile
import threading

import pytest
from PIL import Image

from processes import started

from .server import Answer
from .sets import PublishedSet


@pytest.fixture
def published(server):
    return PublishedSet(server)


@pytest.fixture
def manifest(published, tmp_path):
    return published.write_manifest(tmp_path / "street.json")


@pytest.fixture
def root(tmp_path):
    return tmp_path / "data of [street]"


def test_the_list_names_every_set_its_size_and_its_licence(run):
    code, out, _ = run("datasets", "list")
    assert code == 0
    for name in ("roxford5k", "rparis6k", "revisitop1m", "gldv2_micro", "ukbench", "roxfordparis"):
        assert re.search(rf"^{name}  ", out, re.MULTILINE)
    assert "train 500 GB, index 85 GB, test 10 GB" in out
    assert out.count("licence: ") == 7
    assert "toycity" in out


def test_the_list_is_there_for_machines(run):
    code, out, _ = run("datasets", "list", "--json")
    facts = json.loads(out)
    assert code == 0
    assert {entry["name"]: entry["files"] for entry in facts["get"]}["gldv2"] == 1252
    assert "folder" in facts["load"]


def test_get_then_check(run, manifest, published, root):
    code, out, err = run("datasets", "get", manifest, "--to", root)
    assert code == 0
    assert f"street is in {root} (7 downloaded, 18 unpacked; " in out
    assert "Licence: CC0" in out
    assert "the first download is trusted" in err
    code, out, _ = run("datasets", "get", manifest, "--to", root, "--json")
    assert code == 0
    assert len(json.loads(out)["kept"]) == 7
    code, out, _ = run("datasets", "check", manifest, "--root", root, "--deep")
    assert code == 0
    assert out.count("✓") == 7
    assert "unpacked, all 6 files there; their checksums are right" in out


def test_a_file_that_no_archive_gave_is_not_replaced(run, manifest, published, root):
    place = root / next(iter(published.paths(1)))
    place.parent.mkdir(parents=True)
    place.write_bytes(b"a photo of mine")
    code, _, err = run("datasets", "get", manifest, "--to", root)
    assert code == 5
    assert "is there already and is not what the archive holds" in err
    assert place.read_bytes() == b"a photo of mine"
    place.unlink()
    assert run("datasets", "get", manifest, "--to", root)[0] == 0
    place.write_bytes(b"damaged")  # what was got is mended
    assert run("datasets", "get", manifest, "--to", root)[0] == 0
    assert place.read_bytes() != b"damaged"


def test_the_check_lists_what_is_missing_and_fails(run, manifest, published, root):
    run("datasets", "get", manifest, "--to", root)
    lost = next(iter(published.paths(1)))
    (root / lost).unlink()
    code, out, err = run("datasets", "check", manifest, "--root", root)
    assert code == 2
    assert f"✗ train/images_001.tar: of 6 unpacked files 1 missing: {root / lost}" in out
    assert "the other 6 of 7 files are as they must be" in out
    assert "1 file missing or altered; run 'meisho datasets get' to mend it" in err
    code, out, _ = run("datasets", "check", manifest, "--root", root, "--json")
    assert code == 2
    assert [entry["is_good"] for entry in json.loads(out)["files"]].count(False) == 1


def test_a_dry_run_shows_sources_and_places_and_makes_nothing(run, manifest, root, server):
    code, out, _ = run(
        "datasets", "get", manifest, "--to", root, "--part", "train", "--shards", "1", "--dry-run"
    )
    assert code == 0
    assert f"{server.url}/train/images_001.tar" in out
    assert str(root / "downloads/train/images_001.tar") in out
    assert "2 files" in out and "images_000" not in out
    assert not root.exists() and server.requests == []
    code, out, _ = run("datasets", "get", manifest, "--to", root, "--dry-run", "--json")
    assert [file["checksum"] for file in json.loads(out)["files"]][1] == "in md5sum/md5.images_000.txt"


def test_a_dead_source_is_one_message_and_exit_code_5(run, manifest, root, server):
    del server.files["train/images_001.tar"]
    code, _, err = run("datasets", "get", manifest, "--to", root)
    assert code == 5
    assert "error: street: train/images_001.tar cannot be had:" in err
    assert "404 Not Found" in err and "--mirror PLACE" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["get", "oxford"], "no manifest is called 'oxford'"),
        (["get", "gldv2"], "choose parts with --part: retrieval (22.2 MB)"),
        (["get", "gldv2", "--part", "trian"], "no part is called 'trian'"),
        (
            ["get", "gldv2", "--part", "train", "--shards", "0-500"],
            "no shard 500 in what is chosen (0 to 499)",
        ),
        (["get", "gldv2", "--part", "train", "--shards", "x"], "give numbers and ranges such as 0-3,7"),
        (["get", "gldv2", "--part", "index", "--classes", "3"], "leave --classes out"),
        (["get", "roxford5k", "--mirror", "/nowhere"], "neither a folder nor an https:// address"),
        (["get", "none.json"], "none.json: cannot be read"),
        (["check", "oxford"], "no data set is called 'oxford'"),
        (["check", "roxford5k", "--root", "/nowhere"], "/nowhere: is not there"),
    ],
)
def test_a_wrong_question_is_one_clear_line(run, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    code, _, err = run("datasets", *arguments)
    assert code == 2
    assert said in err and err.strip().count("\n") == 0
    assert list(tmp_path.iterdir()) == []


def test_a_labelled_folder_is_checked_by_its_loader(run, tmp_path):
    for name in ("a/1.jpg", "a/2.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    code, out, _ = run("datasets", "check", "folder", "--root", tmp_path)
    assert code == 0
    assert "it loads as folder: 2 queries, 2 database photos; every photo is there" in out
    command = f"meisho datasets stats folder --root {tmp_path} --photos"
    assert f"Whether each can be read: {command}" in out
    (tmp_path / "a" / "2.jpg").write_bytes((tmp_path / "a" / "2.jpg").read_bytes()[:300])
    (tmp_path / "a" / "text.jpg").write_text("no photo")
    code, _, err = run(*command.split()[1:])
    assert code == 0 and f"broken {tmp_path}/a/2.jpg: " in err and "a/text.jpg: not a photo" in err
    (tmp_path / "a" / "empty.jpg").touch()
    code, out, err = run("datasets", "check", "folder", "--root", tmp_path)
    assert code == 2 and "a/empty.jpg: the file is empty" in out and "datasets stats" not in out
    assert err == f"error: {tmp_path}: it does not load as folder; mend what is named above\n"


@pytest.mark.shared
def test_roxford_comes_from_a_mirror_and_is_judged_by_its_ground_truth(run, tmp_path, shared_data):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    raw = (shared_data / "gnd/gnd_roxford5k.pkl").read_bytes()
    (mirror / "gnd_roxford5k.pkl").write_bytes(raw)
    truth = pickle.loads(raw)
    names = sorted({*truth["imlist"], *truth["qimlist"]})
    with tarfile.open(mirror / "oxbuild_images-v1.tgz", "w:gz", compresslevel=1) as tar:
        for name in names[1:]:
            info = tarfile.TarInfo(f"./oxford/{name}.jpg")
            info.size = 4
            tar.addfile(info, io.BytesIO(b"\xff\xd8\xff\xe0"))
    root = tmp_path / "roxford5k"
    code, out, _ = run("datasets", "get", "roxford5k", "--to", root, "--mirror", mirror)
    assert code == 0
    assert "5,062 unpacked" in out and "meisho evaluate roxford5k --root" in out
    code, out, err = run("datasets", "check", "roxford5k", "--root", root)
    assert code == 2
    assert "70 queries, 4,993 database photos; 1 photo missing:" in out
    assert f"{root}/jpg/{names[0]}.jpg" in out and "1 photo missing" in err
    (root / f"jpg/{names[0]}.jpg").write_bytes(b"\xff\xd8\xff\xe0")  # it came otherwise
    code, _, _ = run("datasets", "check", "roxford5k", "--root", root)
    assert code == 0


def read(terminal):
    """Read what a terminal shows; b"" once nobody writes to it any more."""
    try:
        return os.read(terminal, 1 << 16)
    except OSError:
        return b""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal of Unix")
def test_an_interrupted_command_says_so_shows_bars_and_goes_on(manifest, published, root, server, run):
    byte = threading.Semaphore(1000)
    for number in range(3):
        server.answers[f"train/images_{number:03}.tar"] = [Answer(before_byte=byte.acquire)]
    main, terminal = pty.openpty()
    command = [sys.executable, "-m", "meisho.cli", "datasets", "get", manifest, "--to", root]
    shown, is_interrupted = b"", False
    with started(
        command, stdout=terminal, stderr=terminal, env={**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    ) as process:
        os.close(terminal)
        while piece := read(main):
            shown += piece
            byte.release(3)  # too slow to end, and its threads see that they are to stop
            if not is_interrupted and b"download train/images_00" in shown:
                process.send_signal(signal.SIGINT)
                is_interrupted = True
        os.close(main)
        assert process.wait() == 130
    text = shown.decode()
    assert "download train/images_00" in text
    assert "interrupted: what was done so far is kept; run the same command to go on" in text
    assert "Traceback" not in text
    server.answers.clear()
    assert run("datasets", "get", manifest, "--to", root)[0] == 0
    assert run("datasets", "check", manifest, "--root", root)[0] == 0
