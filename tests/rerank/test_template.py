"""The template in the docstring of base.py: a newcomer does what it says, and it works."""

import json
import textwrap

import numpy as np
from PIL import Image

import meisho.rerank
from meisho.rerank import base

COMMAND = "meisho search photos.meisho query.jpg --rerank by-number-of-features:first=20"


def follow_the_docstring(folder, monkeypatch):
    """Write the file and the line of the table that it shows."""
    _, code, line = base.__doc__.split("::\n")
    (folder / "by_number_of_features.py").write_text(textwrap.dedent(code.partition("\nand one line")[0]))
    monkeypatch.setattr(meisho.rerank, "__path__", [*meisho.rerank.__path__, str(folder)])
    name, place = line.strip().splitlines()[0].strip().rstrip(",").split(": ")
    monkeypatch.setitem(base.RERANKERS, name.strip('"'), place.strip('"'))
    assert COMMAND in line


def draw(path, num_blobs, size=(160, 120)):
    """Draw a picture with more features the more blobs it has."""
    pixels = np.full((*size[::-1], 3), 128, np.uint8)
    for x, y in np.random.default_rng(num_blobs).integers(10, 100, (num_blobs, 2)):
        pixels[y : y + 7, x : x + 7] = 255
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_the_template_works_in_a_search(run, tmp_path, monkeypatch):
    follow_the_docstring(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    for num_blobs in (0, 3, 9, 27):
        draw(tmp_path / "photos" / f"{num_blobs}.png", num_blobs)
    draw(tmp_path / "query.jpg", 5)
    assert (
        run("index", "photos", "--to", "photos.meisho", "--size", 64, "--local", "sift", "--workers", 0)[0]
        == 0
    )
    code, out, err = run(*COMMAND.split()[1:], "--json")
    assert code == 0, err
    found = [answer["id"] for answer in json.loads(out)["answers"]]
    assert found == ["27.png", "9.png", "3.png", "0.png"]
    code, _, err = run("search", "photos.meisho", "query.jpg", "--rerank", "by-number-of-features:frist=20")
    assert code == 2 and "'frist' is not known; the nearest is 'first'" in " ".join(err.split())
