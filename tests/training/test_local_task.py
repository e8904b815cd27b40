import numpy as np
import torch
from PIL import Image
from places import write_places
from safetensors.torch import load_file

from meisho.extractors.delg import build_delg
from meisho.extractors.local_base import load_local_extractor
from meisho.training.train import train


def test_a_trained_head_of_delg_finds_local_features(make_recipe, tmp_path):
    recipe = make_recipe(
        kind="delg-local",
        local={"dim": 8},
        schedule={"epochs": 6},
        optimiser={"head_rate": 1e-2},
        validation={"at_start": True},
    )
    result = train(recipe, tmp_path / "run")
    (state,) = (tmp_path / "run" / "state").glob("*.safetensors")
    trunk = {k for k in load_file(state) if k.startswith("network.delg.global_branch")}
    start = build_delg("test_resnet", "none:0", None, 8).state_dict()
    assert trunk and all(
        torch.equal(load_file(state)[k], start[k.removeprefix("network.delg.")]) for k in trunk
    )
    first, last = result.history[1], result.history[-1]
    assert last.other_loss < 0.7 * first.other_loss  # the short descriptors lose less
    assert last.head_loss < first.head_loss
    assert result.history[0].validation_map == result.history[0].validation_map  # measured, not NaN
    delg = load_local_extractor(str(result.best))
    root = write_places(tmp_path / "photos", landmarks=1, photos=1)
    with Image.open(root / "place_0" / "0.png") as photo:
        features = delg.extract(np.asarray(photo))
    assert features.descriptors.shape[1] == 8 and len(features.keypoints) > 0
