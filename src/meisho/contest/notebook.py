"""The notebook of a bundle: it installs meisho from there and makes the submission, without a network."""

import json

_ABOUT = """\
# A submission by meisho

This notebook needs no network. It looks for the bundle that it came with (the folder with `bundle.json`)
beside itself or among the inputs of the notebook, installs meisho from the wheel in it, describes the photos
with the weights in it, and writes `submission.csv`. torch, timm, numpy, pillow and safetensors must be there,
as they are on Kaggle.
"""

_SETTINGS = """\
from pathlib import Path

QUERIES = Path({queries!r})    # the folder of the query photos
DATABASE = Path({database!r})  # the folder of the photos that are searched
SAMPLE = {sample}  # the contest's sample submission, which says what to answer; None: every query photo
SUBMISSION = Path("submission.csv")
DEVICE = "auto"

places = [Path.cwd(), *Path("/kaggle/input").glob("*"), *Path("/kaggle/input").glob("*/*")]
BUNDLE = next((place for place in places if (place / "bundle.json").is_file()), None)
assert BUNDLE, "the bundle is not here: add it to the notebook's inputs"
"""

_INSTALL = """\
import subprocess
import sys

site = Path("meisho_site").absolute()
wheels = sorted(map(str, (BUNDLE / "wheels").glob("*.whl")))
pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-cache-dir", "install", "--quiet"]
options = ["--no-index", "--no-deps", "--upgrade", "--target", str(site)]
subprocess.run([*pip, *options, *wheels], check=True)
sys.path.insert(0, str(site))
"""

_RUN = """\
import time

from meisho.contest.bundle import run_bundle

last = 0.0


def show(stage, done, total):
    global last
    if done == total or time.monotonic() - last > 30:
        last = time.monotonic()
        print(f"{stage}: {done} of {total}", flush=True)


entry = run_bundle(BUNDLE, QUERIES, DATABASE, SUBMISSION, sample=SAMPLE, device=DEVICE, progress=show)
print(f"{len(entry.errors)} photos could not be read")
for error in entry.errors[:10]:
    print(" ", error)
for warning in entry.warnings:
    print("warning:", warning)
"""

_LOOK = """\
with SUBMISSION.open() as file:
    lines = file.read().splitlines()
answered = sum(not line.endswith(",") for line in lines[1:])
print(f"{SUBMISSION}: {len(lines) - 1} queries, {answered} answered")
print("\\n".join(line[:100] for line in lines[:4]))
"""


def make_notebook(*, queries: str, database: str, sample: str | None) -> str:
    """Return a notebook, nbformat 4.5, as JSON.

    Args:
        queries: The folder of queries where it will run.
        database: The folder of database photos there.
        sample: The contest's sample submission there, or None.
    """
    settings = _SETTINGS.format(
        queries=queries, database=database, sample=None if sample is None else f"Path({sample!r})"
    )
    cells = [_cell("about", _ABOUT, markdown=True)]
    for name, source in (("settings", settings), ("install", _INSTALL), ("run", _RUN), ("look", _LOOK)):
        cells.append(_cell(name, source))
    content = {
        "cells": cells,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _cell(name: str, source: str, *, markdown: bool = False) -> dict[str, object]:
    lines = source.rstrip("\n").splitlines(keepends=True)
    if markdown:
        return {"cell_type": "markdown", "id": name, "metadata": {}, "source": lines}
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": name,
        "metadata": {},
        "outputs": [],
        "source": lines,
    }
