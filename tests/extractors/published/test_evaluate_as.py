"""`meisho evaluate --as NAME`, with drawn checkpoints of the papers' layouts."""

import json
import tomllib

import numpy as np
import pytest
from checkpoints import CHECKPOINTS
from drawn import draw_images
from PIL import Image

from meisho.evaluate.papers import PAPERS, cut_boxes
from meisho.extractors.published.base import LAYOUTS
from meisho.photos import Box, Photo
from meisho.rerank.chain import build_chain


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A labelled folder, 2 places with 2 photos of each, and a checkpoint of CVNet on ResNet-50."""
    folder = tmp_path_factory.mktemp("made")
    for place in range(2):
        for view, pixels in enumerate(draw_images(64, 64 + 16 * place)):
            path = folder / f"places/{place}/{view}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    CHECKPOINTS["cvnet resnet50"][0](folder / "cvnet.pyth")
    return folder


def words(made, to, *more):
    return ("evaluate", "folder", "--root", made / "places", "--to", to, "--workers", 0, *more)


def test_a_papers_whole_setting_is_followed_said_and_kept(run, made, tmp_path):
    asked = ("--as", "superglobal-r50", "--model", made / "cvnet.pyth")
    code, out, err = run(*words(made, tmp_path / "a", *asked))
    assert code == 0, err
    assert (
        "as superglobal-r50: Shao et al. 2023, arXiv:2308.06954; ShihaoShao-GH/SuperGlobal at 8694696"
        in " ".join(out.split())
    )
    assert "reranked: superglobal" in out
    saved = tomllib.loads((tmp_path / "a" / "run.toml").read_text())
    assert saved["paper"] == "superglobal-r50" and saved["model"] == "published:superglobal"
    assert saved["rerank"] == [{"name": "superglobal", "first": 400, "k": 9, "beta": 0.15}]
    options = saved["options"]
    assert (options["pooling"], options["p"], options["scales"]) == (
        "superglobal",
        4.6,
        [0.7071, 1.0, 1.4142],
    )
    assert (options["enlarge"], options["max_side_px"], options["multiple_px"]) == (False, 65_535, 1)
    report = json.loads((tmp_path / "a" / "report.json").read_text())
    assert report["paper"].startswith("superglobal-r50: Shao")

    again = run("evaluate", "--config", tmp_path / "a" / "run.toml", "--to", tmp_path / "a", "--json")
    assert again[0] == 0, again[2]
    assert json.loads(again[1])["figures"] == report["figures"]
    first = run(*words(made, tmp_path / "b", "--as", "superglobal-r50-first", *asked[2:]))
    assert first[0] == 0 and "reranked" not in first[1]
    compared = run("evaluate", "--compare", tmp_path / "a", tmp_path / "b")[1]
    assert "as: superglobal-r50: Shao" in compared


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("--as", "superglobal"), r"the nearest is 'superglobal-r50' (all: cirtorch-ms, "),
        (
            ("--as", "dolg-r50"),
            "needs the checkpoint as its authors published it: --model FILE",
        ),
        (("--as", "dolg-r50", "--model", "timm:resnet50"), "'timm:resnet50' is none"),
        (("--as", "dolg-r50", "--model", "random"), "'random' is none"),
        (("--as", "dolg-r50", "--model", "FILE", "--size", 512), "max_side_px is 65535 there, not 512"),
        (("--as", "cvnet-r50", "--model", "FILE", "--enlarge", "always"), "enlarge is False there, not True"),
        (("--as", "cvnet-r50", "--model", "FILE", "--scales", "1"), "scales is [0.7071, 1.0, 1.4142] there"),
        (("--as", "cvnet-r50", "--model", "FILE", "--rerank", "dba"), "no reranking; leave --rerank"),
        (("--as", "superglobal-r50", "--model", "FILE", "--sweep"), "--rerank superglobal; leave --rerank"),
        (("--as", "cvnet-r50", "--model", "FILE", "--local", "sift"), "no reranking; leave --rerank"),
        # and what only the checkpoint can tell
        (("--as", "cvnet-r50", "--model", "FILE", "--pooling", "avg"), "pooling is 'gem' there, not 'avg'"),
        (("--as", "cvnet-r101", "--model", "FILE"), "holds a resnet50, the paper's is a resnet101"),
        (("--as", "dolg-r50", "--model", "FILE"), "is no checkpoint for dolg"),
    ],
)
def test_what_contradicts_a_paper_is_refused_in_words(run, made, tmp_path, asked, said):
    given = [made / "cvnet.pyth" if word == "FILE" else word for word in asked]
    code, out, err = run(*words(made, tmp_path / "x", *given))
    assert code in (2, 5) and not out, err
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "x").exists()


def test_a_setting_of_another_option_is_refused_from_a_file_too(run, made, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        f"""
        dataset = "folder"
        root = {json.dumps(str(made / "places"))}
        model = {json.dumps(str(made / "cvnet.pyth"))}
        paper = "cvnet-r50"
        options = {{ crops = "photo" }}
        """
    )
    code, _, err = run("evaluate", "--config", file, "--to", tmp_path / "x", "--workers", 0)
    assert code == 2
    assert "--as cvnet-r50: the paper's setting has no 'crops'" in err


def test_the_table_names_what_there_is():
    for name, paper in PAPERS.items():
        layout = paper.layout.partition(":")[0]
        assert layout in LAYOUTS
        assert " at " in paper.source and "arXiv:" in paper.cites, name
        if paper.rerank:
            assert build_chain(paper.rerank).full_text == "superglobal:first=400:k=9:beta=0.15"


def test_boxes_lose_their_fractions_and_never_all_they_show(tmp_path):
    boxes = [Box(1.9, 2.5, 7.9, 8.1), Box(3.2, 3.2, 3.9, 3.9), None]
    photos = [Photo(str(number), tmp_path, box) for number, box in enumerate(boxes)]
    cut = [photo.box for photo in cut_boxes(photos)]
    assert cut == [Box(1, 2, 7, 8), Box(3, 3, 4, 4), None]


def test_small_photos_stay_small_where_it_is_asked_and_nothing_is_said_where_it_is_not(run, made, tmp_path):
    kept = {}
    for name in ("", "never", "always"):
        more = ("--enlarge", name) if name else ()
        code, _, err = run(
            "index", made / "places", "--to", tmp_path / f"c{name}", "--size", 128, "--workers", 0, *more
        )
        assert code == 0, err
        kept[name] = json.loads(run("info", tmp_path / f"c{name}", "--json")[1])
    text = {name: json.dumps(facts) for name, facts in kept.items()}
    assert "enlarge" not in text[""] and "enlarge" not in text["always"]
    assert "enlarge" in text["never"]
    query = made / "places/0/0.png"
    found = json.loads(run("search", tmp_path / "cnever", query, "--json")[1])
    answers = (found[0] if isinstance(found, list) else found)["answers"]
    assert np.isclose(answers[0]["score"], 1)
    code, _, err = run("index", made / "places", "--to", tmp_path / "c", "--enlarge", "never", "--size", 128)
    assert code == 4 and "enlarge" in err
