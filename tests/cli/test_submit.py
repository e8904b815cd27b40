"""`meisho submit` as a user runs it, on real photos in the contest's layout too."""

import csv
import json
import os
import shutil

import pytest
import torch
from PIL import Image

from meisho.extractors.base import load_extractor
from meisho.extractors.checkpoint import save_checkpoint
from meisho.extractors.options import TimmGeMOptions
from meisho.submission import read_query_ids


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "best"
    options = {"weights": "none:0", "max_side_px": 64}
    model = load_extractor("timm:test_resnet", device="cpu", **options)
    save_checkpoint(model.network, "test_resnet", TimmGeMOptions(**options), folder)
    return folder


@pytest.fixture
def folders(tmp_path):
    for kind, count in (("test", 3), ("index", 6)):
        for i in range(count):
            path = tmp_path / kind / f"{i:x}" / f"{i}{kind}.png"
            path.parent.mkdir(parents=True)
            Image.effect_mandelbrot((64, 48), (-2 - i / 9, -1.5, 1, 1.5), 20 + i).convert("RGB").save(path)
    return tmp_path


def test_a_submission_is_written_and_scored(run, folders, checkpoint):
    (folders / "solution.csv").write_text("id,images,Usage\n0test,0index,Public\n1test,1index,Private\n")
    arguments = ("--queries", folders / "test", "--database", folders / "index", "--model", checkpoint)
    arguments += (
        "--to",
        folders / "out" / "s.csv",
        "--device",
        "cpu",
        "--solution",
        folders / "solution.csv",
    )
    code, printed, errors = run("submit", "gld-retrieval", *arguments)
    assert code == 0, errors
    assert "3 queries, up to 6 of 6 database photos each" in printed
    assert "gldv2_map_at_100" in printed
    lines = (folders / "out" / "s.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["id", "0test", "1test", "2test"]
    assert all(len(line.split(",")[1].split()) == 6 for line in lines[1:])
    code, printed, _ = run("submit", "gld-retrieval", *arguments, "--model", checkpoint, "--json")
    facts = json.loads(printed)
    assert code == 0
    assert facts["queries"] == facts["answered"] == 3
    assert facts["score"]["protocol"] == "gldv2"


def test_a_reranker_is_asked_by_name(run, folders, checkpoint):
    arguments = ("--queries", folders / "test", "--database", folders / "index", "--model", checkpoint)
    arguments += ("--to", folders / "s.csv", "--device", "cpu", "--rerank", "geometric:first=3")
    code, _, errors = run("submit", "gld-retrieval", *arguments)
    assert code == 2
    assert "--local" in errors
    code, _, errors = run("submit", "gld-retrieval", *arguments, "--local", "sift", "--workers", 0)
    assert code == 0, errors
    assert (folders / "s.csv").is_file()


def test_a_bundle_is_made(run, folders, checkpoint):
    code, printed, _ = run("submit", "bundle", "--model", checkpoint, "--to", folders / "b")
    assert code == 0
    assert "weights/1/model.safetensors" in printed
    assert (folders / "b" / "notebook.ipynb").is_file()
    code, _, errors = run("submit", "bundle", "--model", checkpoint, "--to", folders / "b")
    assert code == 2
    assert "--overwrite" in errors


def test_a_wrong_folder_is_one_line(run, folders, checkpoint):
    code, printed, errors = run(
        "submit", "gld-retrieval", "--queries", folders / "no", "--database", folders / "index",
        "--model", checkpoint, "--to", folders / "s.csv",
    )  # fmt: skip
    assert (code, printed) == (2, "")
    assert "no: no such folder" in errors
    assert not (folders / "s.work").exists()


@pytest.mark.shared
def test_real_photos_in_the_contest_s_layout_answer_the_contest_s_queries(
    run, shared_data, tmp_path, checkpoint
):
    sample = shared_data / "gld" / "sample_submission_retrieval.csv"
    query_ids = read_query_ids(sample)
    with (shared_data / "photos.csv").open(newline="") as file:
        photos = [row for row in csv.DictReader(file) if row["split"] == "eval"]
    landmarks = sorted({row["landmark"] for row in photos})[:2]
    photos = [row for row in photos if row["landmark"] in landmarks and row["role"] in ("query", "gallery")][
        :50
    ]
    right = {landmark: [] for landmark in landmarks}
    asked = {}
    for number, row in enumerate(photos):
        is_query = row["role"] == "query"
        name = query_ids[number] if is_query else f"{number:016x}"
        folder = tmp_path / ("test" if is_query else "index") / name[0] / name[1] / name[2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.jpg").symlink_to(shared_data / "photos" / row["file"])
        if is_query:
            asked[name] = row["landmark"]
        else:
            right[row["landmark"]].append(name)
    rows = [f"{name},{' '.join(right[landmark])},Public\n" for name, landmark in asked.items()]
    (tmp_path / "solution.csv").write_text("id,images,Usage\n" + "".join(rows))
    code, printed, errors = run(
        "submit", "gld-retrieval", "--queries", tmp_path / "test", "--database", tmp_path / "index",
        "--model", checkpoint, "--sample", sample, "--solution", tmp_path / "solution.csv",
        "--to", tmp_path / "s.csv", "--device", "cpu", "--workers", 0, "--json",
    )  # fmt: skip
    assert code == 0, errors
    facts = json.loads(printed)
    assert (facts["queries"], facts["answered"]) == (1_129, len(asked))
    written = (tmp_path / "s.csv").read_bytes().decode().splitlines(keepends=True)
    wanted = sample.read_bytes().decode().splitlines(keepends=True)
    assert written[0] == wanted[0]  # the header, line ends too
    assert [line.split(",")[0] for line in written] == [line.split(",")[0] for line in wanted]
    for line in written[1:]:
        name, found = line.rstrip("\n").split(",")
        assert (
            len(set(found.split()))
            == len(found.split())
            == (min(100, sum(map(len, right.values()))) if name in asked else 0)
        )
        assert set(found.split()) <= {photo for ids in right.values() for photo in ids}
    figures = {(f["metric"], f["setup"]): f["value"] for f in facts["score"]["figures"]}
    assert figures["gldv2_map_at_100", "all"] > 0.2  # random weights


NAMES = {
    "two words": "a space, comma or quote",
    "a,b": "a space, comma or quote",
    os.fsdecode(b"caf\xe9"): "UTF-8",
}


@pytest.mark.parametrize("kind", ["test", "index"])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_no_table_can_hold_is_refused_before_any_work(run, folders, checkpoint, kind, name):
    try:
        shutil.copy(next((folders / kind).rglob("*.png")), folders / kind / f"{name}.png")
    except OSError:
        pytest.skip("this file system takes no such name")
    arguments = ("--queries", folders / "test", "--database", folders / "index", "--model", checkpoint)
    code, printed, errors = run("submit", "gld-retrieval", *arguments, "--to", folders / "s.csv")
    assert (code, printed) == (2, "")
    (line,) = errors.splitlines()
    assert line.startswith("error: ") and NAMES[name] in line and line.endswith("rename the photo")
    assert sorted(path.name for path in folders.iterdir()) == ["index", "test"]
