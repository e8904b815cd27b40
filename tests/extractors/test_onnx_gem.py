"""The default model on ONNX Runtime against the same model on torch."""

import json
import subprocess
import sys

import numpy as np
import pytest

from meisho.descriptors import Descriptors
from meisho.errors import ConfigError, MismatchError, WeightsError
from meisho.extractors import onnx_gem, onnx_session
from meisho.extractors.base import load_extractor
from meisho.extractors.onnx_gem import GRAPHS, OnnxGeM
from meisho.extractors.timm_gem import TimmGeM, to_torch
from meisho.extractors.timm_models import DEFAULT_BACKBONE
from meisho.whitening import fit_pca_whitening


def random_images(count, height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def load_both(**options):
    light = load_extractor("default", device="cpu", **options)
    assert isinstance(light, OnnxGeM)
    return light, to_torch(light, device="cpu")


@pytest.fixture(scope="module")
def both():
    return load_both()


@pytest.mark.parametrize(
    "shape", [(1, 288, 384), (5, 96, 128), (2, 97, 131), (1, 31, 640), (1, 1, 1), (3, 33, 2)]
)
def test_descriptors_are_those_of_torch(both, shape):
    light, on_torch = both
    images = random_images(*shape)
    np.testing.assert_allclose(light.extract(images), on_torch.extract(images), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"p": 3.0},
        {"p": 4.6},
        {"pooling": "avg"},
        {"pooling": "max"},
        {"pooling": "regional-gem"},
        {"scales": (1, 0.7071, 0.5, 1.4142)},
        {"scales": (0.3,)},
        {"pooling": "scale-gem", "scales": (1, 0.7)},
        {"pooling": "superglobal", "scales": (1, 0.5, 0.31), "p": 4.6},
        {"max_side_px": 256, "multiple_px": 8, "interpolation": "bilinear"},
    ],
)
def test_options_do_the_same_as_with_torch(options):
    light, on_torch = load_both(**options)
    assert light.provenance == on_torch.provenance and light.image_options == on_torch.image_options
    for shape in ((2, 96, 160), (1, 47, 201), (1, 5, 6)):
        images = random_images(*shape)
        np.testing.assert_allclose(light.extract(images), on_torch.extract(images), rtol=0, atol=1e-5)


def test_whitening_comes_after_it_as_with_torch(both, tmp_path):
    plain = both[0]
    described = Descriptors(
        tuple(map(str, range(24))), plain.extract(random_images(24, 64, 96)), plain.provenance
    )
    fit_pca_whitening(described, dim=8, shrinkage=0.5).save(tmp_path / "w.safetensors")
    light, on_torch = load_both(whitening=str(tmp_path / "w.safetensors"))
    images = random_images(2, 64, 96, seed=1)
    np.testing.assert_allclose(light.extract(images), on_torch.extract(images), rtol=0, atol=1e-5)
    assert light.dim == 8 and light.provenance == on_torch.provenance
    with pytest.raises(MismatchError, match=r"p: 2\.0 / 3\.0"):
        load_extractor("default", p=3, whitening=str(tmp_path / "w.safetensors"))


def test_a_provenance_loads_it_again(both):
    light, on_torch = both
    assert light.provenance == on_torch.provenance
    again = load_extractor(light.provenance.extractor, **json.loads(light.provenance.options), device="cpu")
    assert isinstance(again, OnnxGeM) and again.provenance == light.provenance


def test_what_onnx_runtime_does_not_do_takes_torch(monkeypatch):
    assert isinstance(load_extractor("default", device="cpu", precision="bf16"), TimmGeM)
    with pytest.raises(ConfigError, match="no class token"):
        load_extractor("default", device="cpu", pooling="cls")
    monkeypatch.setattr("meisho.extractors.timm_models.has_package", lambda name: name != "onnxruntime")
    assert isinstance(load_extractor("default", device="cpu"), TimmGeM)


def test_images_on_several_threads_are_the_same_as_on_one(both, monkeypatch):
    images = random_images(7, 64, 96)
    several = both[0].extract(images)
    monkeypatch.setattr(onnx_session, "count_cores", lambda: 1)
    assert np.array_equal(both[0].extract(images), several)


def test_weights_of_another_shape_are_refused(tmp_path, monkeypatch):
    facts = json.loads((GRAPHS / f"{DEFAULT_BACKBONE}.json").read_text())
    facts["shapes"]["conv_head.weight"][0] = 7
    (tmp_path / f"{DEFAULT_BACKBONE}.json").write_text(json.dumps(facts))
    monkeypatch.setattr(onnx_gem, "GRAPHS", tmp_path)
    with pytest.raises(WeightsError, match=r"conv_head\.weight is of another shape"):
        load_extractor("default", device="cpu")


def run_python(code):
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_default_model_does_not_import_torch():
    code = """
import sys
import numpy as np
import meisho
from meisho.extractors import checkpoint, ensemble, local_base, onnx_file, sift, timm_models
from meisho.extractors.base import load_extractor
from meisho.extractors.local_base import load_local_extractor
from meisho.extractors.machine import describe_device
images = np.zeros((2, 64, 64, 3), np.uint8)
extractor = meisho.load_extractor(device="cpu", scales=[1, 0.7])
extractor.extract(images)
load_extractor("ensemble:default*2+default", device="cpu").extract(images)
load_local_extractor("sift").extract(images[0])
describe_device("cpu")
print(sorted(sys.modules.keys() & {"torch", "timm", "torchvision", "onnx", "lancedb", "pyarrow", "faiss"}))
"""
    assert run_python(code).strip() == "[]"


WITHOUT_TORCH = """
import sys
import numpy as np
for name in ("torch", "timm", "torchvision"):
    sys.modules[name] = None  # as if it were not installed
import meisho
from meisho.extractors.local_base import load_local_extractor
from meisho.extractors.machine import describe_device
def tell(load, *names, **options):
    try:
        print(type(load(*names, **options)).__name__)
    except meisho.MeishoError as error:
        print(type(error).__name__, error)
"""


def test_without_torch_what_needs_it_is_told_with_what_to_run():
    code = WITHOUT_TORCH + (
        "for device in ('auto', 'cpu', 'cuda'): tell(meisho.load_extractor, device=device)\n"
        "tell(meisho.load_extractor, 'timm:resnet34')\n"
        "tell(meisho.load_extractor, precision='bf16')\n"
        "tell(meisho.load_extractor, size=512)\n"
        "tell(meisho.load_extractor, 'resnet34')\n"
        "for name in ('sift', 'xfeat', 'aliked', 'delg'): tell(load_local_extractor, name)\n"
        "print(describe_device())\n"
    )
    lines = run_python(code).splitlines()
    needs = (
        "MissingDependencyError model 'timm:{}' on device={!r} in {} needs torch and timm; run pip install"
    )
    assert lines[:2] == ["OnnxGeM", "OnnxGeM"]
    assert lines[2].startswith(needs.format("tf_efficientnet_lite2", "cuda", "float32") + " 'meisho[torch]'")
    assert lines[3].startswith(needs.format("resnet34", "auto", "float32"))
    assert lines[4].startswith(needs.format("tf_efficientnet_lite2", "auto", "bf16"))
    assert lines[5].startswith("ConfigError the model has no option 'size'; the nearest is 'max_side_px'")
    assert lines[6].startswith("InputError 'resnet34' is no model. ")
    assert lines[7] == "Sift"
    for line, name, extra in zip(
        lines[8:11], ("xfeat", "aliked", "delg"), ("local", "aliked", "torch"), strict=True
    ):
        assert line.startswith(f"MissingDependencyError local features {name!r} needs torch and timm; ")
        assert line.endswith(f"run pip install 'meisho[{extra}]'")
    assert lines[11] == "cpu"


def test_the_packaged_graph_is_what_the_script_makes():
    from meisho.training.feature_graph import make_files

    graph, facts = make_files(DEFAULT_BACKBONE)
    assert (GRAPHS / f"{DEFAULT_BACKBONE}.onnx").read_bytes() == graph
    assert (GRAPHS / f"{DEFAULT_BACKBONE}.json").read_text() == facts


def test_a_backbone_of_other_layers_has_no_graph():
    from meisho.errors import InputError
    from meisho.training.feature_graph import make_files

    with pytest.raises(InputError, match="no graph was made with yet"):
        make_files("efficientnet_b0")
