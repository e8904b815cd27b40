import json

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from meisho.describing import Describer
from meisho.descriptors import Descriptors
from meisho.errors import InputError, WeightsError
from meisho.extractors.base import load_extractor
from meisho.extractors.checkpoint import save_checkpoint
from meisho.extractors.network import build_network
from meisho.extractors.options import TimmGeMOptions
from meisho.photos import Photo
from meisho.training import export
from meisho.training.export import export_onnx
from meisho.whitening import fit_pca_whitening


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A checkpoint with a projection and a whitening beside it."""
    folder = tmp_path_factory.mktemp("export")
    options = TimmGeMOptions(weights="none:0", projection_dim=16, max_side_px=64)
    save_checkpoint(build_network("test_resnet", options), "test_resnet", options, folder)
    extractor = load_extractor(str(folder))
    images = np.random.default_rng(0).integers(0, 256, (24, 64, 64, 3), dtype=np.uint8)
    ids = tuple(map(str, range(24)))
    whitening = fit_pca_whitening(Descriptors(ids, extractor.extract(images), extractor.provenance), dim=8)
    whitening.save(folder / "whitening.safetensors")
    return folder


def describe(path, images):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images.transpose(0, 3, 1, 2).astype(np.float32)})[0]


@pytest.mark.parametrize("shape", [(1, 64, 64, 3), (3, 96, 32, 3), (2, 32, 160, 3)])
def test_onnx_runtime_gives_the_same_descriptors(checkpoint, tmp_path, shape):
    summary = export_onnx(str(checkpoint), tmp_path / "model.onnx", side_px=64)
    extractor = load_extractor(str(checkpoint))
    images = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    np.testing.assert_allclose(describe(summary.path, images), extractor.extract(images), atol=1e-5)
    assert summary.dim == 16 and summary.largest_difference < 1e-5


def test_a_whitening_is_part_of_the_exported_model(checkpoint, tmp_path, monkeypatch):
    path = str(checkpoint / "whitening.safetensors")
    extractor = load_extractor(str(checkpoint), whitening=path)
    monkeypatch.setattr(export, "load_extractor", lambda model, **options: extractor)
    summary = export_onnx("any", tmp_path / "model.onnx", side_px=64)
    images = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    np.testing.assert_allclose(describe(summary.path, images), extractor.extract(images), atol=1e-4)
    assert summary.dim == 8


def test_a_network_that_onnx_cannot_express_is_told_in_a_line(tmp_path):
    options = TimmGeMOptions(weights="none:0", max_side_px=64)
    save_checkpoint(build_network("test_vit", options), "test_vit", options, tmp_path / "vit")
    with pytest.raises(InputError, match=r"vit: ONNX cannot say .*upsample_bicubic.*cannot be exported"):
        export_onnx(str(tmp_path / "vit"), tmp_path / "model.onnx", side_px=64)
    assert not (tmp_path / "model.onnx").exists()


def test_the_command_exports_and_says_how_near_it_is(checkpoint, tmp_path, run):
    path = tmp_path / "new" / "model.onnx"
    code, out, _ = run("export", checkpoint, "--to", path, "--side", 64, "--json")
    said = json.loads(out)
    assert code == 0 and said["path"] == str(path) and path.is_file()
    assert 0 <= said["largest_difference"] < 1e-5


def test_who_has_the_file_alone_can_describe_a_photo_with_it(checkpoint, tmp_path, run):
    code, out, _ = run("export", checkpoint, "--to", tmp_path / "model.onnx", "--side", 64)
    assert code == 0 and "resized (bicubic) to 64 px on the longer side, both sides multiples of 32 px" in out
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map
    assert facts["layout"] == "NCHW" and facts["colors"] == "RGB" and facts["range"] == "0 to 255"
    assert facts["model"] == "timm:test_resnet" and len(facts["weights_sha256"]) == 64
    assert json.loads(facts["scales"]) == [1.0] and len(json.loads(facts["mean"])) == 3
    assert str(tmp_path) not in str(facts) and facts["normalization"].startswith("inside")
    pattern = np.random.default_rng(0).integers(0, 256, (6, 10, 3), dtype=np.uint8)
    Image.fromarray(pattern).resize((250, 150)).save(tmp_path / "photo.png")
    with Image.open(tmp_path / "photo.png") as photo:
        side, step = int(facts["max_side_px"]), int(facts["multiple_px"])
        size = [step * round(pixels * side / max(photo.size) / step) for pixels in photo.size]
        resized = np.asarray(photo.resize(size, Image.Resampling[facts["interpolation"].upper()]))
    extractor = load_extractor(str(checkpoint))
    expected = Describer(extractor, num_workers=0).describe([Photo("a", tmp_path / "photo.png")]).vectors
    np.testing.assert_allclose(describe(tmp_path / "model.onnx", resized[None]), expected, atol=1e-3)


def test_a_model_that_comes_out_otherwise_is_not_written(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "_difference", lambda *_: 0.1)
    with pytest.raises(WeightsError, match=r"differ by 0\.1"):
        export_onnx(str(checkpoint), tmp_path / "model.onnx", side_px=64)
    assert list(tmp_path.iterdir()) == []


def test_no_model_is_told(tmp_path):
    with pytest.raises(InputError, match="is no model"):
        export_onnx("nothing", tmp_path / "model.onnx")
