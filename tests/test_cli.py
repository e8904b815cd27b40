"""The command line as a user meets it: what is printed, what is written, which exit code."""

import json
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import meisho.extractors.restoring
from processes import started


def draw(path, seed, size=(120, 90)):
    """Write a smooth picture that differs by seed."""
    colours = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(colours).resize(size, Image.Resampling.BICUBIC).save(path, quality=92)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for seed in range(6):
        draw(folder / f"trip/{seed}.jpg", seed)
    return folder


SMALL = ("--size", 64, "--workers", 0)


@pytest.mark.parametrize(
    "command", ["demo", "index", "add", "remove", "search", "evaluate", "info", "doctor", "whiten", "match"]
)
def test_help_of_each_command_shows_an_example(run, command):
    code, out, _ = run(command, "--help")
    assert code == 0
    assert f"Example: meisho {command}" in " ".join(out.replace("│", " ").split())


def test_index_again_does_only_what_is_new(run, photos, tmp_path):
    collection = tmp_path / "my.meisho"
    code, out, _ = run("index", photos, "--to", collection, *SMALL, "--json")
    first = json.loads(out)
    assert code == 0
    assert (first["num_photos"], first["described"], first["index"]) == (6, 6, "exact")

    draw(photos / "trip/0.jpg", 100)  # changed
    draw(photos / "new.jpg", 101)
    shutil.copy(photos / "trip/1.jpg", photos / "copy.jpg")
    (photos / "trip/5.jpg").unlink()
    second = json.loads(run("index", photos, "--to", collection, "--json")[1])
    assert second["described"] == 2
    assert second["duplicates"] == 1
    assert second["removed"] == 1
    assert second["unchanged"] == 4
    assert second["num_photos"] == 7

    third = json.loads(run("index", photos, "--to", collection, "--json")[1])
    assert third["described"] == third["duplicates"] == third["removed"] == 0


def test_a_run_that_lasts_says_where_its_time_went(run, photos, tmp_path, monkeypatch):
    code, _, err = run("index", photos, "--to", tmp_path / "a.meisho", *SMALL)
    assert (code, "note: time" in err) == (0, False)
    monkeypatch.setattr("meisho.run.summary.LONG_SECONDS", 0.0)
    code, _, err = run("index", photos, "--to", tmp_path / "b.meisho", *SMALL)
    assert code == 0
    assert re.search(r"^note: time: \w.* \d+%(, \w.* \d+%)*(; \w.*)?$", err, re.MULTILINE)
    summary = json.loads(run("index", photos, "--to", tmp_path / "c.meisho", *SMALL, "--json")[1])
    assert summary["stages"].keys() == {"reading", "decoding", "describing", "saving", "building the index"}


def test_bf16_where_the_processor_is_slow_at_it_is_done_with_a_warning(run, photos, tmp_path, monkeypatch):
    command = ("index", photos, "--device", "cpu", "--precision", "bf16", *SMALL)
    warning = "note: this processor has no instructions for bf16"
    for has_bf16, warned in ((False, True), (True, False), (None, False)):
        monkeypatch.setattr("meisho.extractors.machine.computes_bf16", lambda found=has_bf16: found)
        code, _, err = run(*command, "--to", tmp_path / f"{has_bf16}.meisho")
        assert (code, warning in err) == (0, warned)


def test_a_moved_photo_is_not_described_again(run, photos, tmp_path):
    collection = tmp_path / "my.meisho"
    run("index", photos, "--to", collection, *SMALL)
    (photos / "trip").rename(photos / "journey")
    summary = json.loads(run("index", photos, "--to", collection, "--json")[1])
    assert (summary["described"], summary["duplicates"], summary["removed"]) == (0, 6, 6)
    answers = json.loads(run("search", collection, photos / "journey/2.jpg", "--json")[1])["answers"]
    assert answers[0]["id"] == "journey/2.jpg"


def test_broken_photos_are_named_and_skipped(run, photos, tmp_path):
    (photos / "empty.jpg").touch()
    (photos / "text.png").write_text("not a picture")
    shutil.copy(photos / "text.png", photos / "text too.png")
    collection = tmp_path / "my.meisho"
    code, out, err = run("index", photos, "--to", collection, *SMALL)
    assert code == 0
    assert "6 photos" in out
    assert "3 skipped" in out
    for name in ("empty.jpg", "text.png", "text too.png"):
        assert f"skipped {name}: " in err
    code, _, err = run("index", photos, "--to", collection, "--strict")
    assert code == 3
    assert "3 photos were skipped" in err
    assert "text.png" in run("info", collection)[1]


def test_search_finds_the_photo_itself_and_its_twin(run, photos, tmp_path):
    shutil.copy(photos / "trip/3.jpg", photos / "twin.jpg")
    collection = tmp_path / "my.meisho"
    run("index", photos, "--to", collection, *SMALL)
    page = tmp_path / "out" / "answer.html"
    code, out, _ = run("search", collection, photos / "trip/3.jpg", "--top", 3, "--html", page, "--json")
    answers = json.loads(out)["answers"]
    assert code == 0
    assert answers[0]["id"] == "trip/3.jpg"
    assert answers[0]["copies"] == [{"id": "twin.jpg", "path": str(photos / "twin.jpg")}]
    assert answers[0]["score"] == pytest.approx(1, abs=1e-5)
    assert len(answers) == 3
    assert page.read_text().count("data:image/jpeg;base64,") == 4

    boxed = run("search", collection, photos / "trip/3.jpg", "--box", "10,10,60,60", "--top", 2, "--json")
    assert json.loads(boxed[1])["answers"][0]["score"] < 1 - 1e-3


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("index", "nowhere", "--to", "c"), 2, "no such folder"),
        (("search", "nowhere", "q.jpg"), 4, "nowhere"),
        (("info", "nowhere"), 4, "nowhere"),
        (("evaluate", "folder"), 2, "--root"),
        (("evaluate", "oxfrod5k", "--root", "."), 2, "roxford5k"),
        (("evaluate", "--compare", "a", "b"), 2, "No such file"),
        (("index", ".", "--to", "c", "--model", "timm:resnet43"), 2, "resnet"),
        (("index", ".", "--to", "c", "--scales", "1,x"), 2, "--scales"),
        (("index", ".", "--to", "c", "--model", "random"), 2, "baseline"),
    ],
)
def test_bad_input_is_one_clear_line(run, tmp_path, monkeypatch, arguments, code, words):
    monkeypatch.chdir(tmp_path)
    got, out, err = run(*arguments)
    assert got == code
    assert words in err
    assert "Traceback" not in out + err
    assert not (tmp_path / "c").exists()


def test_bad_boxes_and_unreadable_queries_are_refused(run, photos, tmp_path):
    collection = tmp_path / "my.meisho"
    run("index", photos, "--to", collection, *SMALL)
    for box in ("1,2,3", "5,5,1,9", "a,b,c,d", "900,900,990,990"):
        code, _, err = run("search", collection, photos / "trip/0.jpg", "--box", box)
        assert code == 2, box
        assert "box" in err
    code, _, err = run("search", collection, tmp_path / "none.jpg")
    assert code == 2
    assert "none.jpg" in err


def test_another_option_is_refused_with_both_named(run, photos, tmp_path):
    collection = tmp_path / "my.meisho"
    run("index", photos, "--to", collection, *SMALL)
    code, _, err = run("index", photos, "--to", collection, "--size", 96)
    assert code == 4
    assert "max_side_px: 64 / 96" in err


def test_another_photo_folder_is_refused_unless_it_moved(run, photos, tmp_path):
    collection = tmp_path / "my.meisho"
    run("index", photos, "--to", collection, *SMALL)
    moved = photos.rename(tmp_path / "elsewhere")
    code, _, err = run("index", moved, "--to", collection)
    assert code == 4
    assert "--moved" in err
    assert str(photos) in err
    code, out, _ = run("index", moved, "--to", collection, "--moved", "--json")
    assert code == 0
    assert json.loads(out)["unchanged"] == 6
    answers = json.loads(run("search", collection, moved / "trip/1.jpg", "--json")[1])["answers"]
    assert answers[0]["path"] == str(moved / "trip/1.jpg")


def test_an_emptied_folder_does_not_empty_the_collection(run, photos, tmp_path):
    collection = tmp_path / "my.meisho"
    run("index", photos, "--to", collection, *SMALL)
    shutil.rmtree(photos / "trip")
    code, _, err = run("index", photos, "--to", collection)
    assert code == 2
    assert "nothing was changed" in err
    assert json.loads(run("info", collection, "--json")[1])["photos"] == 6


@pytest.mark.parametrize("kind", ["ivfpq", "hnsw"])
def test_other_search_structures_answer_the_same(run, photos, tmp_path, kind):
    exact, other = tmp_path / "exact", tmp_path / kind
    run("index", photos, "--to", exact, *SMALL)
    assert (
        json.loads(run("index", photos, "--to", other, *SMALL, "--index", kind, "--json")[1])["index"] == kind
    )
    query = photos / "trip/4.jpg"
    expected = json.loads(run("search", exact, query, "--json")[1])
    assert json.loads(run("search", other, query, "--json")[1])["answers"] == expected["answers"]
    draw(photos / "later.jpg", 77)
    run("index", photos, "--to", other)
    found = json.loads(run("search", other, photos / "later.jpg", "--top", 1, "--json")[1])["answers"]
    assert found[0]["id"] == "later.jpg"


def test_evaluate_a_labelled_folder_and_compare_two_runs(run, tmp_path):
    for label in range(3):
        for view in range(4):
            draw(
                tmp_path / f"set/place{label}/{view}.jpg", label * 10 + view // 2
            )  # pairs are the same picture
    arguments = ("evaluate", "folder", "--root", tmp_path / "set", *SMALL)  # a plain run has other options
    code, out, _ = run(*arguments, "--to", tmp_path / "a", "--json")
    report = json.loads(out)
    assert code == 0
    assert report["num_queries"] == report["num_database"] == 12
    assert (tmp_path / "a" / "report.html").read_text().count('class="case"') == 12
    assert (tmp_path / "a" / "per_query.csv").is_file()
    assert run(*arguments, "--to", tmp_path / "b", "--pooling", "max")[0] == 0
    code, out, _ = run("evaluate", "--compare", tmp_path / "a", tmp_path / "b")
    assert code == 0
    assert "pooling" in out
    assert "p = " in out
    code, _, err = run("evaluate", "folder", "--root", tmp_path / "set", "--to", tmp_path / "b")
    assert code == 4  # never another model's descriptors without a word
    assert "pooling: max / gem" in err


def test_a_score_needs_every_photo(run, tmp_path):
    for label in range(2):
        for view in range(2):
            draw(tmp_path / f"set/place{label}/{view}.jpg", label * 10 + view)
    (tmp_path / "set/place0/0.jpg").write_bytes(b"broken")
    code, _, err = run("evaluate", "folder", "--root", tmp_path / "set", "--to", tmp_path / "a", *SMALL)
    assert code == 2
    assert "0.jpg" in err
    assert not (tmp_path / "a" / "report.json").exists()


@pytest.mark.shared
@pytest.mark.parametrize(
    ("dataset", "pickle", "expected"),
    [
        ("roxford5k", "gnd_roxford5k.pkl", (1.0766, 1.7867, 0.9832)),
        ("rparis6k", "gnd_rparis6k.pkl", (1.7032, 4.0668, 2.5176)),
    ],
)
def test_random_baseline_has_the_chapters_values(run, shared_data, tmp_path, dataset, pickle, expected):
    shutil.copy(shared_data / "gnd" / pickle, tmp_path)
    arguments = (
        "evaluate",
        dataset,
        "--root",
        tmp_path,
        "--model",
        "random",
        "--to",
        tmp_path / "out",
        "--json",
    )
    code, out, _ = run(*arguments)
    report = json.loads(out)
    maps = {f["setup"]: 100 * f["value"] for f in report["figures"] if f["metric"] == "revisitop_map"}
    assert code == 0
    assert tuple(maps[s] for s in ("easy", "medium", "hard")) == pytest.approx(expected, abs=1e-4)
    assert any("chance" in warning for warning in report["warnings"])


@pytest.mark.shared
def test_benchmark_without_photos_says_what_is_missing(run, shared_data, tmp_path):
    shutil.copy(shared_data / "gnd" / "gnd_roxford5k.pkl", tmp_path)
    code, _, err = run("evaluate", "roxford5k", "--root", tmp_path, "--to", tmp_path / "out", *SMALL)
    assert code == 2
    assert "all_souls_000013" in err


def test_whitening_is_learned_and_used(run, photos, tmp_path):
    whitening = tmp_path / "new folder" / "w.safetensors"
    (photos / "broken.jpg").write_bytes(b"x")
    assert run("whiten", photos, "--to", whitening, "--dim", 40, *SMALL)[0] == 2  # of so few photos
    code, out, err = run("whiten", photos, "--to", whitening, "--dim", 4, *SMALL)
    assert code == 0
    assert "4 of 1280 dimensions are kept, fewer than 256" in " ".join(err.split())
    assert "pca whitening, 1280 to 4 dimensions" in out
    collection = tmp_path / "white.meisho"
    assert run("index", photos, "--to", collection, *SMALL, "--whitening", whitening)[0] == 0
    assert json.loads(run("info", collection, "--json")[1])["dimensions"] == 4
    moved = whitening.rename(tmp_path / "moved.safetensors")
    arguments = ("search", collection, photos / "trip/2.jpg", "--top", 1, "--json")
    assert run(*arguments)[0] == 2
    answers = json.loads(run(*arguments, "--whitening", moved)[1])["answers"]
    assert answers[0]["id"] == "trip/2.jpg"


def test_learned_whitening_takes_labelled_photos(run, tmp_path):
    for label in range(4):
        for view in range(3):
            draw(tmp_path / f"set/place{label}/{view}.jpg", label * 10 + view)
    arguments = (
        "whiten",
        tmp_path / "set",
        "--to",
        tmp_path / "w.safetensors",
        "--learned",
        *SMALL,
        "--json",
    )
    made = json.loads(run(*arguments)[1])
    assert made["kind"] == "learned"
    assert (tmp_path / "w.safetensors").is_file()


def test_paths_with_brackets_and_spaces_are_printed_as_they_are(run, photos, tmp_path):
    folder = photos.rename(tmp_path / "photos [old] [b]")
    code, out, _ = run("index", folder, "--to", tmp_path / "my [x].meisho", *SMALL)
    assert code == 0
    assert str(tmp_path / "my [x].meisho") in out
    assert f"'{tmp_path / 'my [x].meisho'}'" in out  # quoted, in the command to copy


def test_a_chosen_search_structure_stays(run, photos, tmp_path):
    collection = tmp_path / "c"
    run("index", photos, "--to", collection, *SMALL, "--index", "hnsw")
    assert json.loads(run("index", photos, "--to", collection, "--json")[1])["index"] == "hnsw"
    assert run("index", photos, "--to", collection, "--index", "nonsense")[0] == 2


def test_the_same_folder_by_another_path_is_the_same_folder(run, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(photos)
    assert run("index", "../photos", "--to", "../c", *SMALL)[0] == 0
    monkeypatch.chdir(tmp_path)
    summary = json.loads(run("index", "photos", "--to", "c", "--json")[1])
    assert summary["unchanged"] == 6


def test_demo_draws_scores_and_names_the_next_command(run, tmp_path):
    arguments = ("demo", "--to", tmp_path, "--landmarks", 4, "--views", 4, "--distractors", 4)
    code, out, _ = run(*arguments)
    assert code == 0
    assert "revisitop_map" in out
    assert str(tmp_path / "report.html") in out.replace("\n", "")
    assert "index PATH/TO/YOUR/PHOTOS" in out.splitlines()[-1]
    page = (tmp_path / "report.html").read_text()
    for verdict in ("right", "wrong"):
        assert f'<figure class="{verdict}">' in page


HELD = """
import sys
from meisho.cli import main
from meisho.store.writer import CollectionWriter
def held(self, records, put=CollectionWriter.put_records):
    put(self, records)
    print("committed", flush=True)
    sys.stdin.readline()
CollectionWriter.put_records = held
main()
"""


def test_an_interrupted_index_goes_on_where_it_stopped(run, tmp_path):
    for seed in range(150):
        draw(tmp_path / f"photos/{seed:03}.jpg", seed)
    arguments = ("index", tmp_path / "photos", "--to", tmp_path / "c.meisho", "--json", "--size", "64")
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with started([sys.executable, "-c", HELD, *arguments], **pipes, text=True) as process:
        assert process.stdout.readline() == "committed\n"
        process.send_signal(signal.SIGINT)
        err = process.stderr.read()
        assert process.wait() == 130
    assert "run the same command to go on" in err
    assert "Traceback" not in err
    summary = json.loads(run(*arguments)[1])
    assert summary["num_photos"] == 150
    assert 0 < summary["described"] < 150


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    from meisho.toycity import build_toycity

    root = tmp_path_factory.mktemp("city")
    build_toycity(root / "toycity", landmarks=3, views=5, distractors=2, num_workers=0)
    return root / "toycity"


def test_match_tells_the_same_place_from_another_and_draws_why(run, city, tmp_path):
    queries = sorted((city / "queries").glob("*_q0.jpg"))
    same = next(path for path in (city / "database").glob("*.jpg") if path.stem[:-3] == queries[0].stem[:-3])
    picture = tmp_path / "pictures" / "matches.png"
    code, out, _ = run("match", queries[0], queries[0], "--local", "sift", "--to", picture, "--outliers")
    assert code == 0
    assert "inliers" in out
    with Image.open(picture) as drawn:
        assert drawn.height == 640 + 36  # the photos and what is said of them
    counts = [
        json.loads(run("match", queries[0], other, "--local", "sift", "--json")[1])["inliers"]
        for other in (same, queries[1])
    ]
    assert counts[0] > counts[1]


def test_match_of_shifted_photos_finds_the_shift(run, tmp_path):
    draw(tmp_path / "a.png", 5, size=(600, 400))
    noise = np.random.default_rng(1).integers(0, 256, (50, 75, 3), dtype=np.uint8)
    texture = Image.fromarray(noise).resize((600, 400), Image.Resampling.BICUBIC)
    texture.save(tmp_path / "a.png")
    texture.crop((30, 20, 600, 400)).save(tmp_path / "b.png")
    pair = json.loads(run("match", tmp_path / "a.png", tmp_path / "b.png", "--local", "sift", "--json")[1])
    np.testing.assert_allclose(pair["query_to_database"], [[1, 0, -30], [0, 1, -20], [0, 0, 1]], atol=0.5)
    assert pair["inliers"] > 50
    assert pair["verdict"] == "same place"
    texture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "c.png")
    code, out, _ = run("match", tmp_path / "a.png", tmp_path / "c.png", "--local", "sift")
    assert code == 0
    assert 'verdict: not verified (it takes 15 inliers to say "same place")' in out


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--local", "surf", "sift, xfeat, aliked"),
        ("--matcher", "kdtree", "mutual"),
        ("--geometry", "line", "homography"),
    ],
)
def test_match_names_the_choices(run, city, option, value, words):
    photo = next((city / "queries").glob("*.jpg"))
    code, _, err = run("match", photo, photo, "--local", "sift", option, value)
    assert code == 2
    assert words in err


def test_answers_can_be_verified_by_local_features(run, city, tmp_path):
    collection = tmp_path / "c"
    arguments = ("index", city / "database", "--to", collection, *SMALL)
    assert json.loads(run(*arguments, "--json")[1])["local_described"] == 0
    query = next((city / "queries").glob("*_q0.jpg"))
    code, _, err = run("search", collection, query, "--verify", 5)
    assert code == 2
    assert "--local" in err
    made = json.loads(run(*arguments, "--local", "sift", "--json")[1])
    assert made["local_described"] == made["num_photos"] > 10
    plain = json.loads(run("search", collection, query, "--json", "--top", 12)[1])["answers"]
    verified = json.loads(run("search", collection, query, "--verify", 12, "--json", "--top", 12)[1])[
        "answers"
    ]
    assert {a["id"] for a in verified} == {a["id"] for a in plain}
    scores = [a["score"] for a in verified]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > plain[0]["score"]  # evidence was found
    assert all(a["same_place"] == (a["inliers"] >= 15) for a in verified)
    assert verified[0]["same_place"] and not verified[-1]["same_place"]
    assert "inliers" not in plain[0]
    page = tmp_path / "answer.html"
    code, out, _ = run("search", collection, query, "--verify", 12, "--top", 4, "--html", page)
    assert code == 0
    assert "same place" in out
    links = re.findall(r'<a href="(answer_matches/[^"]+)"', page.read_text())
    assert len(set(links)) == 4
    assert all((tmp_path / link).is_file() for link in links)
    assert json.loads(run("info", collection, "--json")[1])["local_features"] == "sift"


def test_the_device_reaches_local_features(run, photos, tmp_path):
    query, collection = photos / "trip/0.jpg", tmp_path / "c"
    code, _, err = run("match", query, query, "--local", "xfeat", "--device", "cuda:99")
    assert code == 2 and "device='cuda:99'" in err
    assert run("match", query, query, "--local", "sift", "--device", "cuda:99")[0] == 0
    assert run("index", photos, "--to", collection, *SMALL, "--local", "xfeat", "--device", "cpu")[0] == 0
    loaded, load = [], meisho.extractors.restoring.load_local_extractor
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            meisho.extractors.restoring,
            "load_local_extractor",
            lambda *a, **o: (loaded.append(o["device"]), load(*a, **o))[1],
        )
        assert run("search", collection, query, "--verify", 3, "--device", "cpu")[0] == 0
        draw(photos / "new.jpg", 99)
        assert run("index", photos, "--to", collection, "--workers", 0, "--device", "cpu")[0] == 0
    assert loaded == ["cpu", "cpu"]


def test_evaluate_reranks_each_setup_without_its_junk(run, city, tmp_path):
    arguments = ("evaluate", "toycity", "--root", city, *SMALL, "--json")
    plain = json.loads(run(*arguments, "--to", tmp_path / "a")[1])
    code, out, _ = run(
        *arguments, "--to", tmp_path / "b", "--local", "sift", "--rerank", "geometric:first=20"
    )
    assert code == 0
    reranked = json.loads(out)
    assert "junk of each setup" in reranked["reranking"]
    assert [f["setup"] for f in reranked["figures"]] == [f["setup"] for f in plain["figures"]]
    links = re.findall(r'<a href="(report_matches/[^"]+)"', (tmp_path / "b" / "report.html").read_text())
    assert links and all((tmp_path / "b" / link).is_file() for link in links)
    assert "report_matches" not in (tmp_path / "a" / "report.html").read_text()
    assert reranked["figures"] != plain["figures"]
    assert "reranking: none / geometric" in run("evaluate", "--compare", tmp_path / "a", tmp_path / "b")[1]
    assert run(*arguments, "--to", tmp_path / "a", "--rerank", "geometric")[0] == 2  # no local features there
    assert run(*arguments, "--to", tmp_path / "a", "--rerank", "magic")[0] == 2
