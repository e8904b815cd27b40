import json
import shutil

import numpy as np
import pytest

from meisho.errors import InputError, MismatchError, WeightsError
from meisho.extractors.base import load_extractor
from meisho.extractors.delg import build_delg, save_delg
from meisho.extractors.local_base import load_local_extractor
from meisho.extractors.restoring import restore_local_extractor

OPTIONS = {"backbone": "test_resnet", "weights": "none:0", "dim": 8, "max_side_px": 96}


def save_head(folder, *, shift=0.0, **options):
    """Save a head whose attention differs from the random one by a shift of its last bias."""
    network = build_delg("test_resnet", "none:0", None, 8)
    network.local_head.attention[3].bias.data += shift
    save_delg(network, OPTIONS, folder, **options)


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)


def test_a_folder_gives_its_extractor_with_the_options_that_are_asked_for(tmp_path, image):
    save_head(tmp_path / "best", shift=1.0)
    delg = load_local_extractor(str(tmp_path / "best"), max_keypoints=5)
    plain = load_local_extractor("delg", **OPTIONS)
    assert delg.dim == 8 and len(delg.extract(image)) == 5
    assert delg.extract(image).scores[0] > plain.extract(image).scores[0]


def test_a_collection_can_remember_it_from_any_folder_and_notices_another_head(tmp_path, monkeypatch):
    save_head(tmp_path / "best")
    monkeypatch.chdir(tmp_path)
    provenance = load_local_extractor("best").provenance
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert restore_local_extractor(provenance).provenance == provenance
    save_head(tmp_path / "best", shift=1.0)
    with pytest.raises(MismatchError, match=r"local features is not what it was.*weights_sha256"):
        restore_local_extractor(provenance)


def test_the_same_head_in_another_folder_is_the_same_extractor(tmp_path):
    save_head(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    one, two = (load_local_extractor(str(tmp_path / name)).provenance for name in ("one", "two"))
    assert one != two and one.differences(two) == []


def test_with_its_trunk_it_needs_no_other_weights(tmp_path, image):
    save_head(tmp_path / "head", shift=1.0)
    save_head(tmp_path / "whole", shift=1.0, with_trunk=True)
    shutil.move(tmp_path / "whole", tmp_path / "moved")
    head, whole = (load_local_extractor(str(tmp_path / name)) for name in ("head", "moved"))
    assert json.loads(whole.provenance.options)["weights"] == str(tmp_path / "moved" / "trunk.safetensors")
    assert whole.provenance.weights_sha256 == head.provenance.weights_sha256
    assert np.array_equal(whole.extract(image).descriptors, head.extract(image).descriptors)


def test_a_trunk_given_by_a_relative_path_is_found_from_any_folder(tmp_path, monkeypatch):
    save_head(tmp_path, with_trunk=True)
    monkeypatch.chdir(tmp_path)
    network = build_delg("test_resnet", "trunk.safetensors", None, 8)
    save_delg(network, OPTIONS | {"weights": "trunk.safetensors"}, tmp_path / "best")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_local_extractor(str(tmp_path / "best")).dim == 8


def test_what_is_no_checkpoint_of_local_features_is_told_what_is(tmp_path):
    save_head(tmp_path / "run" / "best")
    with pytest.raises(InputError, match=r"did you mean '.*run/best'"):
        load_local_extractor(str(tmp_path / "run"))
    with pytest.raises(InputError, match=r"holds local features: give it by --local"):
        load_extractor(str(tmp_path / "run" / "best"))
    (tmp_path / "global").mkdir()
    (tmp_path / "global" / "model.json").write_text("{}")
    with pytest.raises(InputError, match="it is a model for --model"):
        load_local_extractor(str(tmp_path / "global"))
    for text in ("{", '{"local_extractor": "delg"}', '{"local_extractor": "surf", "options": {}}'):
        (tmp_path / "run" / "best" / "local.json").write_text(text)
        with pytest.raises(WeightsError, match=r"local\.json:"):
            load_local_extractor(str(tmp_path / "run" / "best"))
