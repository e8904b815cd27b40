"""Exported models: what torch made, ONNX Runtime reads."""

import json
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
from PIL import Image

from meisho.descriptors import Descriptors, Provenance
from meisho.errors import ConfigError, InputError, MismatchError, WeightsError
from meisho.extractors.base import load_extractor
from meisho.extractors.checkpoint import add_whitening, save_checkpoint
from meisho.extractors.network import build_network
from meisho.extractors.onnx_file import OnnxFile
from meisho.extractors.onnx_gem import GRAPHS
from meisho.extractors.options import TimmGeMOptions
from meisho.extractors.restoring import restore_extractor
from meisho.extractors.timm_gem import to_torch
from meisho.training.export import export_onnx
from meisho.whitening import fit_pca_whitening

SHAPES = [(1, 64, 64), (3, 96, 32), (2, 47, 81), (1, 1, 1), (1, 20, 200)]


def random_images(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def save(folder, backbone="test_resnet", **options):
    options = TimmGeMOptions(**{"weights": "none:0", "max_side_px": 64, **options})
    save_checkpoint(build_network(backbone, options), backbone, options, folder)


def fit_on(extractor, dim=8):
    vectors = extractor.extract(random_images(24, 64, 64))
    return fit_pca_whitening(Descriptors(tuple(map(str, range(24))), vectors, extractor.provenance), dim=dim)


def export_and_load(folder, **options):
    """Return a checkpoint on torch, and what was exported of it."""
    export_onnx(str(folder), folder / "model.onnx", side_px=64)
    exported = load_extractor(f"onnx:{folder / 'model.onnx'}", device="cpu", **options)
    assert isinstance(exported, OnnxFile)
    return load_extractor(str(folder), device="cpu", **options), exported


def compare(on_torch, exported, shapes, tolerance=1e-5):
    assert on_torch.provenance.differences(exported.provenance) == []
    for shape in shapes:
        images = random_images(*shape, seed=1)
        np.testing.assert_allclose(exported.extract(images), on_torch.extract(images), rtol=0, atol=tolerance)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    save(folder, projection_dim=16, p=2.5)
    return folder, *export_and_load(folder)


@pytest.fixture(scope="module")
def whitened(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whitened")
    save(folder, projection_dim=16)
    add_whitening(fit_on(load_extractor(str(folder), device="cpu")), folder)
    return folder, *export_and_load(folder)


@pytest.mark.parametrize("kind", ["plain", "whitened"])
def test_descriptors_are_those_of_the_checkpoint(kind, request):
    _, on_torch, exported = request.getfixturevalue(kind)
    compare(on_torch, exported, SHAPES)
    assert exported.dim == on_torch.dim and exported.image_options == on_torch.image_options


@pytest.mark.parametrize("kind", ["plain", "whitened"])
def test_either_is_restored_for_what_the_other_has_made(kind, request):
    folder, on_torch, exported = request.getfixturevalue(kind)
    assert json.loads(exported.provenance.options)["weights"] == str(folder / "model.onnx")
    again = restore_extractor(exported.provenance, device="cpu")
    assert isinstance(again, OnnxFile) and again.provenance == exported.provenance
    on_torch_again = restore_extractor(on_torch.provenance, device="cpu")
    assert on_torch_again.provenance.differences(again.provenance) == []


@pytest.mark.parametrize("kind", ["plain", "whitened"])
def test_a_file_that_was_moved_is_found_by_its_new_place(kind, request, tmp_path):
    folder, _, exported = request.getfixturevalue(kind)
    moved = str(shutil.copy(folder / "model.onnx", tmp_path / "moved.onnx"))
    places = {"weights": moved, **({"whitening": moved} if kind == "whitened" else {})}
    again = restore_extractor(exported.provenance, device="cpu", places=places)
    assert again.provenance.differences(exported.provenance) == []
    assert str(folder) not in again.provenance.options


def test_the_file_names_no_place_of_the_machine_that_made_it(whitened):
    assert str(whitened[0]).encode() not in (whitened[0] / "model.onnx").read_bytes()


@pytest.mark.parametrize("pooling", ["gem", "scale-gem", "avg", "max", "regional-gem"])
def test_several_scales_are_those_of_the_checkpoint(pooling, tmp_path):
    save(tmp_path, pooling=pooling, scales=(1.0, 0.7, 0.3))
    compare(*export_and_load(tmp_path), SHAPES)


def test_one_other_scale_before_a_whitening_is_kept(tmp_path):
    save(tmp_path, scales=(0.7,))
    add_whitening(fit_on(load_extractor(str(tmp_path), device="cpu")), tmp_path)
    compare(*export_and_load(tmp_path), [(2, 64, 96)], tolerance=1e-4)  # it magnifies what it whitens


def test_a_whitening_of_several_scales_is_not_exported(tmp_path):
    save(tmp_path, scales=(1.0, 0.7))
    add_whitening(fit_on(load_extractor(str(tmp_path), device="cpu")), tmp_path)
    with pytest.raises(InputError, match=r"whitens the mean of its scales \[1\.0, 0\.7\]"):
        export_onnx(str(tmp_path), tmp_path / "model.onnx", side_px=64)


def test_a_network_of_one_size_resizes_as_with_torch(tmp_path):
    save(tmp_path, "visformer_tiny", max_side_px=224)
    shapes = [(1, 224, 224), (1, 160, 224), (1, 300, 120), (1, 5, 6)]
    compare(*export_and_load(tmp_path), shapes, tolerance=5e-5)  # Pillow's bicubic filter and torch's


def test_the_default_model_can_be_exported(tmp_path):
    export_onnx("default", tmp_path / "default.onnx", side_px=64)
    exported = load_extractor(f"onnx:{tmp_path / 'default.onnx'}")
    compare(load_extractor("default", device="cpu"), exported, [(2, 96, 128), (1, 97, 131), (1, 1, 40)])


def test_how_the_network_is_fed_can_be_changed(plain, tmp_path):
    changed = {"max_side_px": 96, "multiple_px": 16, "interpolation": "bilinear", "scales": [1, 0.5]}
    on_torch, exported = export_and_load(plain[0], **changed)
    assert on_torch.image_options == exported.image_options
    compare(on_torch, exported, [(2, 96, 64)])
    fit_on(exported, dim=4).save(tmp_path / "w.safetensors")
    on_torch, exported = export_and_load(plain[0], **changed, whitening=str(tmp_path / "w.safetensors"))
    assert exported.dim == 4
    compare(on_torch, exported, [(2, 96, 64)], tolerance=1e-4)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("plain", {"p": 3}, r"p=3\.0: .*model\.onnx was exported with p=2\.5"),
        ("plain", {"pooling": "avg"}, "pooling='avg'"),
        ("plain", {"precision": "bf16"}, "precision='bf16'"),
        ("plain", {"projection_dim": 8}, "projection_dim=8"),
        ("plain", {"weights": "hub"}, "weights='hub': the weights of .* are inside"),
        ("plain", {"pooling": "gems"}, "choose one of"),
        ("plain", {"size": 512}, "max_side_px"),
        ("plain", {"device": "cuda"}, "an exported model runs on the CPU"),
        ("plain", {"device": "tpu"}, "choose auto, cpu or cuda"),
        ("whitened", {"whitening": None}, "whitening=None"),
        ("whitened", {"whitening": "other.safetensors"}, "whitening='other"),
        ("whitened", {"max_side_px": 128}, "max_side_px=128"),
        ("whitened", {"scales": [1, 0.5]}, "scales="),
    ],
)
def test_what_is_inside_cannot_be_changed(kind, options, message, request):
    folder, _, _ = request.getfixturevalue(kind)
    with pytest.raises(ConfigError, match=message):
        load_extractor(f"onnx:{folder / 'model.onnx'}", **options)


def test_a_whitening_of_other_descriptors_is_refused(plain, whitened):
    whitening = str(whitened[0] / "whitening.safetensors")
    with pytest.raises(MismatchError, match="fitted on other descriptors"):
        load_extractor(f"onnx:{plain[0] / 'model.onnx'}", whitening=whitening)


def change_facts(source, path, facts):
    model = onnx.load(source)
    kept = {entry.key: entry.value for entry in model.metadata_props} | facts
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {key: value for key, value in kept.items() if value is not None})
    onnx.save(model, path)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"options": None}, "is no model that this version of 'meisho export' wrote"),
        ({"options": "[]"}, "is no model"),
        ({"options": '{"poolings": "gem"}'}, "is no model"),
        ({"dim": "many"}, "is no model"),
        ({"fixed_size_px": "3"}, "is no model"),
        ({"weights_sha256": None}, "is no model"),
        ({"model": "delg:resnet50"}, "holds a model of another kind, 'delg:resnet50'"),
    ],
)
def test_a_file_that_says_something_else_is_refused(plain, facts, message, tmp_path):
    change_facts(plain[0] / "model.onnx", tmp_path / "x.onnx", facts)
    with pytest.raises(WeightsError, match=message):
        load_extractor(f"onnx:{tmp_path / 'x.onnx'}")


def test_other_files_are_refused(plain, tmp_path):
    (tmp_path / "text.onnx").write_text("hello")
    content = (plain[0] / "model.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(content[: len(content) // 2])
    for name in ("text", "cut"):
        with pytest.raises(WeightsError, match=rf"{name}\.onnx: ONNX Runtime cannot load it"):
            load_extractor(f"onnx:{tmp_path / name}.onnx")
    shutil.copy(GRAPHS / "tf_efficientnet_lite2.onnx", tmp_path / "graph.onnx")
    with pytest.raises(WeightsError, match=r"graph\.onnx: "):
        load_extractor(f"onnx:{tmp_path / 'graph.onnx'}")
    with pytest.raises(WeightsError, match="no such file; 'meisho export' makes one"):
        load_extractor("onnx:missing.onnx")
    with pytest.raises(WeightsError, match=r"no such file.*if files of the model were moved.*--weights FILE"):
        restore_extractor(Provenance("onnx:missing.onnx"))
    with pytest.raises(InputError, match=r"Did you mean 'onnx:.*graph\.onnx'"):
        load_extractor(str(tmp_path / "graph.onnx"))


def test_an_exported_file_is_of_one_backbone_and_not_for_torch(plain):
    with pytest.raises(WeightsError, match="holds the backbone 'test_resnet', not 'resnet34'"):
        load_extractor("timm:resnet34", weights=str(plain[0] / "model.onnx"))
    with pytest.raises(InputError, match="is no timm model or checkpoint that torch can load"):
        to_torch(plain[2])


def test_a_relative_path_is_remembered_whole(plain, monkeypatch):
    monkeypatch.chdir(plain[0])
    assert load_extractor("onnx:model.onnx").provenance == plain[2].provenance


def test_it_is_used_without_torch(whitened):
    code = (
        "import sys\n"
        "for name in ('torch', 'timm', 'onnx'): sys.modules[name] = None\n"
        "import numpy as np\n"
        "import meisho\n"
        f"extractor = meisho.load_extractor('onnx:{whitened[0] / 'model.onnx'}')\n"
        "print(extractor.extract(np.zeros((2, 64, 64, 3), np.uint8)).shape)\n"
    )
    assert subprocess.check_output([sys.executable, "-W", "error", "-c", code], text=True).strip() == "(2, 8)"


def test_a_collection_of_a_checkpoint_takes_the_file_and_the_other_way_round(plain, tmp_path, run):
    folder, _, _ = plain
    models = {"torch": str(folder), "onnx": f"onnx:{folder / 'model.onnx'}"}
    for made_by, refreshed_by in (("torch", "onnx"), ("onnx", "torch")):
        photos, collection = tmp_path / made_by, tmp_path / f"{made_by}-collection"
        photos.mkdir()
        for row, model in enumerate((made_by, refreshed_by)):
            Image.fromarray(random_images(64, 96, seed=row)).save(photos / f"{row}.png")
            code, _, err = run("index", photos, "--to", collection, "--model", models[model])
            assert code == 0, err
        code, out, err = run("search", collection, photos / "1.png")
        assert code == 0, err
        assert out.index("1.png") < out.index("0.png")


@pytest.mark.parametrize(
    "facts",
    [
        {"fixed_size_px": "[Infinity, 1]"},
        {"fixed_size_px": "[-5, 5]"},
        {"fixed_size_px": "[0, 5]"},
        {"fixed_size_px": "[999999999, 999999999]"},
        {"fixed_size_px": "[[[" * 50_000},
        {"options": "[" * 100_000},
        {"options": '{"scales": []}'},
        {"dim": "many"},
    ],
    ids=lambda facts: str(facts)[:40],
)
def test_metadata_that_cannot_be_are_refused_in_words(tmp_path, facts):
    save(tmp_path)
    export_onnx(str(tmp_path), tmp_path / "model.onnx", side_px=64)
    model = onnx.load(tmp_path / "model.onnx")
    props = {each.key: each.value for each in model.metadata_props}
    onnx.helper.set_model_props(model, props | facts)
    onnx.save(model, tmp_path / "hostile.onnx")
    with pytest.raises(WeightsError, match="export the checkpoint with it"):
        load_extractor(f"onnx:{tmp_path / 'hostile.onnx'}", device="cpu")


def test_a_dimension_that_lies_is_found_at_the_first_image(tmp_path):
    save(tmp_path)
    export_onnx(str(tmp_path), tmp_path / "model.onnx", side_px=64)
    model = onnx.load(tmp_path / "model.onnx")
    props = {each.key: each.value for each in model.metadata_props}
    onnx.helper.set_model_props(model, props | {"dim": "7"})
    onnx.save(model, tmp_path / "lie.onnx")
    extractor = load_extractor(f"onnx:{tmp_path / 'lie.onnx'}", device="cpu")
    with pytest.raises(WeightsError, match=r"not \(7,\) as it says"):
        extractor.extract(random_images(2, 64, 64))
