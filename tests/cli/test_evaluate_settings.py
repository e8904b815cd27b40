"""`meisho evaluate` from a TOML file, and its sweeps, as a user meets them."""

import csv
import json
import tomllib

import numpy as np
import pytest
from PIL import Image

MODEL = ("--model", "timm:test_resnet", "--weights", "none:0", "--size", 64, "--workers", 0)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A labelled folder: 3 places, 4 photos of each."""
    folder = tmp_path_factory.mktemp("labelled") / "places"
    generator = np.random.default_rng(0)
    for place in range(3):
        colours = generator.integers(0, 256, (4, 5, 3))
        for view in range(4):
            noisy = np.clip(colours + generator.normal(0, 40, colours.shape), 0, 255).astype(np.uint8)
            path = folder / f"place{place}" / f"{view}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noisy).resize((64, 64), Image.Resampling.BICUBIC).save(path)
    return folder


def test_a_sweep_is_a_table_and_a_plot(run, places, tmp_path):
    arguments = ("evaluate", "folder", "--root", places, "--to", tmp_path / "a", *MODEL, "--sweep")
    code, out, err = run(*arguments, "--rerank", "alpha-qe:k=1|3", "--rerank", "dba:k=2,superglobal:k=2")
    assert code == 0, err
    for words in ("none", "alpha-qe:k=1", "alpha-qe:k=3", "dba:k=2,superglobal:k=2", "ms per query"):
        assert words in out
    with (tmp_path / "a" / "sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["rerank"] for row in rows[1:]] == ["alpha-qe:k=1", "alpha-qe:k=3", "dba:k=2,superglobal:k=2"]
    assert [float(row["bytes_per_photo"]) > 0 for row in rows] == [False, False, False, True]
    assert rows[0]["on_frontier"] == "true"  # nothing is faster than nothing
    with Image.open(tmp_path / "a" / "sweep.png") as plot:
        assert plot.format == "PNG"
    saved = tomllib.loads((tmp_path / "a" / "run.toml").read_text())
    assert saved["sweep"] == [row["rerank"] for row in rows[1:]]

    again = json.loads(
        run("evaluate", "--config", tmp_path / "a" / "run.toml", "--to", tmp_path / "a", "--json")[1]
    )
    assert [entry["rerank"] for entry in again["entries"]] == ["", *saved["sweep"]]
    figures = {entry["rerank"]: entry["figures"][0]["value"] for entry in again["entries"]}
    assert figures["alpha-qe:k=3"] == float(rows[2][f"{again['entries'][0]['figures'][0]['metric']} all"])


def test_the_file_and_the_command_line_give_the_same_report(run, places, tmp_path):
    arguments = ("evaluate", "folder", "--root", places, *MODEL, "--rerank", "alpha-qe:k=2", "--json")
    typed = json.loads(run(*arguments, "--to", tmp_path / "a")[1])
    written = tmp_path / "mine.toml"
    written.write_text(
        f"""
        dataset = "folder"
        root = {json.dumps(str(places))}
        model = "timm:test_resnet"

        [options]
        weights = "none:0"
        max_side_px = 64

        [[rerank]]
        name = "alpha-qe"
        k = 2
        """
    )
    read = json.loads(run("evaluate", "--config", written, "--to", tmp_path / "b", "--json")[1])
    assert read["figures"] == typed["figures"]
    assert read["rerank_seconds"] > 0

    saved = tomllib.loads((tmp_path / "b" / "run.toml").read_text())
    assert saved["options"]["p"] == 3.0  # every option is said, the defaults too
    assert saved["rerank"] == [{"name": "alpha-qe", "k": 2, "alpha": 3.0, "verified_only": 0}]
    again = json.loads(
        run("evaluate", "--config", tmp_path / "b" / "run.toml", "--to", tmp_path / "b", "--json")[1]
    )
    assert again["figures"] == typed["figures"]

    code, _, err = run("evaluate", "--config", written, "--to", tmp_path / "b", "--pooling", "max")
    assert code == 4  # the command line goes before the file, and the collection is another model's
    assert "pooling: gem / max" in err


def test_an_ensemble_is_evaluated_and_described_in_the_file(run, places, tmp_path):
    both = ("--model", "ensemble:timm:test_resnet*3+timm:test_vit", "--weights", "none:0", "--size", 64)
    arguments = ("evaluate", "folder", "--root", places, "--to", tmp_path / "a", *both, "--workers", 0)
    code, out, err = run(*arguments)
    assert code == 0, err
    assert "model ensemble 3 × timm:test_resnet" in out
    figures = json.loads((tmp_path / "a" / "report.json").read_text())["figures"]
    again = run("evaluate", "--config", tmp_path / "a" / "run.toml", "--to", tmp_path / "a", "--json")
    assert json.loads(again[1])["figures"] == figures


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--rerank", "dba", "--rerank", "alpha-qe"), "--sweep"),
        (("--rerank", "dba:k=2|4"), "k is '2|4'"),
        (("--sweep", "--rerank", "magic"), "magic"),
        (("--sweep", "--model", "random"), "random"),
        (("--rerank", "dba", "--model", "random"), "nothing to rerank by"),
        (("--config", "none.toml"), "none.toml"),
    ],
)
def test_what_cannot_be_is_one_clear_line(run, places, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    code, _, err = run("evaluate", "folder", "--root", places, "--to", "out", *arguments)
    assert code == 2
    assert words in err
    assert not (tmp_path / "out").exists()


def test_a_sweep_of_nothing_named_tries_the_common_chains(run, places, tmp_path):
    arguments = ("evaluate", "folder", "--root", places, "--to", tmp_path / "a", *MODEL, "--sweep", "--json")
    entries = json.loads(run(*arguments)[1])["entries"]
    assert {"", "alpha-qe", "dba,alpha-qe", "superglobal"} <= {entry["rerank"] for entry in entries}
