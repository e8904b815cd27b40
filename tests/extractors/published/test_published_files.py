"""What wrappers put around a network, what is refused and why, and what is told of what is left out."""

import json
import zipfile
from pathlib import Path

import checkpoints
import drawn
import numpy as np
import pytest
import timm
import torch
from checkpoints import CHECKPOINTS, save_cirtorch, save_dirtorch
from drawn import draw_images
from safetensors.torch import save_file
from torch.nn import functional

from meisho.cli.options import ModelChoice
from meisho.errors import ConfigError, InputError, MissingDependencyError, MissingFileError, WeightsError
from meisho.extractors import machine
from meisho.extractors.backbone import create_backbone
from meisho.extractors.base import load_extractor
from meisho.extractors.published.base import LAYOUTS, PublishedFile, recognise
from meisho.extractors.published.files import read_published, views_of
from meisho.extractors.restoring import restore_extractor
from meisho.extractors.stand_ins import StoredArray, StoredFacts, StoredType
from meisho.extractors.timm_gem import to_torch
from meisho.layers.pooling import GeM


@pytest.fixture(scope="module")
def parts():
    """The state dict of a module with timm's test_resnet as backbone, and a pooling, a neck and a head."""
    torch.manual_seed(0)
    backbone = create_backbone("test_resnet", seed=3)
    neck = torch.nn.Sequential(torch.nn.Linear(backbone.num_features, 24), torch.nn.BatchNorm1d(24))
    neck[1].running_mean.normal_()
    module = torch.nn.ModuleDict({"backbone": backbone, "pool": GeM(2.5, learned=True), "neck": neck})
    module["head"] = torch.nn.Linear(24, 5)
    return module.state_dict()


def under(prefix, state):
    return {f"{prefix}{key}": value for key, value in state.items()}


def zeros(state):
    return {key: torch.zeros_like(value) for key, value in state.items()}


LIGHTNING = {"pytorch-lightning_version": "2.5.0", "epoch": 3, "optimizer_states": [{"state": {}}]}
AVERAGED = {"n_averaged": torch.tensor(5)}
OTHERS = {"loss.weight": torch.ones(3, 2), "criterion.centers": torch.ones(2)}
WRAPPED = {
    # how it is saved: from the right weights to what a file holds
    "state_dict": lambda s: {"state_dict": s},
    "data parallel": lambda s: {"state_dict": under("module.", s), "best": np.float64(0.5)},
    "compiled": lambda s: {"model": under("_orig_mod.", s)},
    "pycls": lambda s: {"model_state": s, "cfg": "A: 1"},
    "lightning": lambda s: {**LIGHTNING, "state_dict": {**under("model.", s), **OTHERS}},
    "lightning, net": lambda s: {**LIGHTNING, "state_dict": {**under("net.", s), **OTHERS}},
    "lightning, averaged beside": lambda s: {
        **LIGHTNING,
        "state_dict": {**under("model.", zeros(s)), **under("ema_model.module.", s)},
    },
    "averaged": lambda s: {"state_dict": {**AVERAGED, **under("module.", s)}},
    "lightning, n_averaged inside": lambda s: {
        **LIGHTNING,
        "state_dict": {**OTHERS, **under("averaged_model.", {**AVERAGED, **under("module.", s)})},
    },
    "ema in a container": lambda s: {"state_dict": zeros(s), "state_dict_ema": s},
}


@pytest.mark.parametrize("name", WRAPPED)
def test_what_wrappers_put_around_is_taken_off(name, parts, tmp_path):
    torch.save({**WRAPPED[name](parts), "arch": "test_resnet"}, tmp_path / "wrapped.ckpt")
    torch.save({"state_dict": parts, "arch": "test_resnet"}, tmp_path / "plain.pth")
    wrapped, plain = (
        load_extractor(str(tmp_path / file), device="cpu") for file in ("wrapped.ckpt", "plain.pth")
    )
    assert wrapped.provenance.weights_sha256 == plain.provenance.weights_sha256
    assert wrapped.provenance.values["p"] == 2.5


def test_parts_are_backbone_gem_and_neck(parts, tmp_path):
    nested = {"backbone": {}, "neck": {}, "head": {}, "p": 2.5, "arch": "test_resnet"}
    for key, value in parts.items():
        first, _, rest = key.partition(".")
        if first in ("backbone", "neck", "head"):
            nested[first][rest] = value
    torch.save(nested, tmp_path / "parts.pth")
    extractor = load_extractor(str(tmp_path / "parts.pth"), device="cpu")
    images = draw_images(64, 96)
    backbone = create_backbone("test_resnet", seed=3)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.inference_mode():
        pixels = (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - mean) / std
        pooled = (backbone.forward_features(pixels).clamp(min=1e-6) ** 2.5).mean(dim=(2, 3)) ** (1 / 2.5)
        linear = pooled @ parts["neck.0.weight"].T + parts["neck.0.bias"]
        slow = (linear - parts["neck.1.running_mean"]) / (parts["neck.1.running_var"] + 1e-5).sqrt()
    np.testing.assert_allclose(extractor.extract(images), functional.normalize(slow).numpy(), atol=1e-5)


def test_a_classifier_and_other_parts_are_not_taken_for_sscd(tmp_path):
    state = drawn.draw_state("sscd-resnet18")
    classes = {"backbone.fc.weight": torch.ones(1000, 512), "backbone.fc.bias": torch.ones(1000)}
    with pytest.raises(WeightsError, match="of no layout"):
        recognise(views_of(tmp_path / "m.pth", {**state, **classes}))
    layout, _, published = recognise(views_of(tmp_path / "m.pth", {**state, "pool.p": torch.ones(1)}))
    assert layout == "parts" and published.left_out == ("backbone.fc.weight", "backbone.fc.bias")


def test_what_is_left_out_is_told(parts, tmp_path, capsys):
    path = tmp_path / "parts.pth"
    torch.save({"state_dict": {**under("model.", parts), **OTHERS}, "arch": "test_resnet"}, path)
    ModelChoice(model=str(path), device="cpu").load()
    assert "parts.pth: 4 tensors of the file are not used: criterion, head, loss" in " ".join(
        capsys.readouterr().err.split()
    )


@pytest.mark.parametrize(("model", "pooling"), [("test_resnet", "avg"), ("test_vit", "token")])
def test_a_folder_of_timm_gives_what_timm_gives(model, pooling, tmp_path):
    network = timm.create_model(model, num_classes=7).eval()
    facts = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4]}
    facts["classifier"] = network.pretrained_cfg["classifier"]
    config = {"architecture": model, "num_classes": 7, "global_pool": pooling, "pretrained_cfg": facts}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    extractor = load_extractor(str(tmp_path), device="cpu")
    network.reset_classifier(0)
    images = draw_images(160, 160)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.4, 0.5, 0.6), (0.2, 0.3, 0.4)))
    with torch.inference_mode():
        pixels = (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - mean) / std
        slow = functional.normalize(network(pixels)).numpy()
    np.testing.assert_allclose(extractor.extract(images), slow, rtol=0, atol=1e-5)
    assert len(extractor.remarks) == 1


@pytest.fixture(scope="module")
def cirtorch(tmp_path_factory):
    path = tmp_path_factory.mktemp("cirtorch") / "model.pth"
    save_cirtorch("resnet18", "gem", path, dim=512)
    return path


def test_the_whitening_of_a_file_is_chosen_by_name(cirtorch):
    images = draw_images(64, 96)
    found = {}
    for choice in ("", ":none", ":retrieval-SfM-30k", ":retrieval-SfM-120k"):
        extractor = load_extractor(f"published:cirtorch{choice}", weights=str(cirtorch), device="cpu")
        found[choice] = extractor.extract(images)
        again = restore_extractor(extractor.provenance, device="cpu")
        assert np.array_equal(again.extract(images), found[choice])
    assert np.array_equal(found[""], found[":retrieval-SfM-120k"])
    assert np.abs(found[""] - found[":none"]).max() > 1e-3
    assert np.abs(found[""] - found[":retrieval-SfM-30k"]).max() > 1e-3
    with pytest.raises(ConfigError, match=r"holds no whitening 'x'; choose one of .*120k, .*30k, none"):
        load_extractor("published:cirtorch:x", weights=str(cirtorch))


def test_options_replace_the_authors(cirtorch):
    plain = load_extractor(str(cirtorch), device="cpu")
    other = load_extractor(str(cirtorch), device="cpu", p=1.0, max_side_px=64)
    assert plain.image_options.max_side_px == 1024 and other.image_options.max_side_px == 64
    assert other.provenance.values["p"] == 1.0 != plain.provenance.values["p"]
    larger = load_extractor(str(cirtorch), device="cpu", enlarge=True)
    assert (plain.image_options.enlarge, larger.image_options.enlarge) == (False, True)
    with pytest.raises(ConfigError, match="enlarge='never'"):
        load_extractor(str(cirtorch), enlarge="never")


def test_what_is_built_for_timm_models_alone_refuses_it(cirtorch):
    with pytest.raises(InputError, match=r"published:cirtorch.*is no timm model"):
        to_torch(load_extractor(str(cirtorch), device="cpu"))


def broken(file, **content):
    state = {"features.0.weight": torch.ones(64, 3, 7, 7), "pool.p": torch.ones(1)}
    return PublishedFile(file, content, state)


RESNET = {"architecture": "resnet18", "pooling": "gem"}
REFUSED = {
    # what is told: what the file holds
    r"architecture 'alexnet' is not in timm": {"meta": {**RESNET, "architecture": "alexnet"}},
    r"pooling is regional": {"meta": {**RESNET, "regional": True}},
    r"pooling is 'rmac'": {"meta": {**RESNET, "pooling": "rmac"}},
    r"linear layer whiten is missing": {"meta": {**RESNET, "whitening": True}},
    r"a whitening in 'Lw' has no mean": {"meta": {**RESNET, "Lw": {"x": {"ss": {"m": 1}, "ms": {}}}}},
    r"of no layout that meisho knows \(cirtorch, .*begin with features\.0\.weight, pool\.p\.": {"epoch": 3},
    r"config\.json is of the kind 'dinov2', not timm's": {"config": {"model_type": "dinov2"}},
}


@pytest.mark.parametrize("told", REFUSED)
def test_what_cannot_be_used_is_refused_with_its_reason(told, tmp_path):
    with pytest.raises(WeightsError, match=rf"m\.pth: .*{told}"):
        recognise([broken(tmp_path / "m.pth", **REFUSED[told])])


def test_a_network_of_dirtorch_that_is_not_built_is_named(tmp_path):
    for told, model in {
        "'resnet50_fpn_rmac' is not built": {"arch": "resnet50_fpn_rmac"},
        "bias towards the centre": {"arch": "resnet18_rmac", "center_bias": 0.5},
    }.items():
        save_dirtorch("dirtorch-resnet18", tmp_path / "m.pt", **model)
        with pytest.raises(WeightsError, match=told):
            load_extractor(str(tmp_path / "m.pt"))


def test_torchscript_is_not_run(tmp_path):
    with zipfile.ZipFile(tmp_path / "sscd.torchscript.pt", "w") as archive:
        archive.writestr("sscd/data.pkl", b"\x80\x02}.")
        archive.writestr("sscd/constants.pkl", b"\x80\x02).")
    with pytest.raises(WeightsError, match=r"sscd\.torchscript\.pt: .*it is TorchScript, a program"):
        load_extractor(str(tmp_path / "sscd.torchscript.pt"))


def test_weights_are_given_once(cirtorch, tmp_path):
    with pytest.raises(ConfigError, match="holds its weights itself"):
        load_extractor(str(cirtorch), weights="none:0")
    with pytest.raises(InputError, match="say which file"):
        load_extractor("published:cirtorch")
    with pytest.raises(ConfigError, match="layout"):
        load_extractor("published:cirtorhc", weights=str(cirtorch))
    with pytest.raises(WeightsError, match="is no checkpoint for cosplace"):
        load_extractor("published:cosplace", weights=str(cirtorch))
    with pytest.raises(ConfigError, match="projection_dim"):
        load_extractor(str(cirtorch), projection_dim=3)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(MissingFileError, match=r"none of model\.safetensors"):
        read_published(tmp_path)


def test_without_torch_it_is_said(cirtorch, monkeypatch):
    monkeypatch.setattr(machine, "has_package", lambda name: name != "torch")
    with pytest.raises(MissingDependencyError, match=r"the published model .* needs torch"):
        load_extractor(str(cirtorch))


def spoil(rng, content):
    """Return a copy of nested dicts in which a few values are gone or something else."""
    spoilt = dict(content)
    for key in rng.choice([*spoilt], min(3, len(spoilt)), replace=False):
        junk = [None, "x" * 300, -1, [], {}, {3: 4}, np.ones(2), torch.ones(()), torch.ones(1, 2, 3, 4, 5)]
        junk += [torch.ones(0), torch.full((2, 2), np.nan), torch.ones(3, dtype=torch.complex64)]
        kind = rng.integers(len(junk) + 3)
        if isinstance(spoilt[key], dict) and kind % 2:
            spoilt[key] = spoil(rng, spoilt[key])
        elif kind < len(junk):
            spoilt[key] = junk[kind]
        else:
            del spoilt[key]
    return spoilt


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_with_something_else_in_it_is_refused_in_words(name, monkeypatch):
    """Weights are views of one number: only what the converters make of names, shapes and facts is asked."""
    kept = {}
    for module in (drawn, checkpoints):
        monkeypatch.setattr(module, "draw_tensor", lambda _key, shape: torch.ones(()).expand(shape))
    monkeypatch.setattr(torch, "save", lambda content, _path: kept.update(content))
    CHECKPOINTS[name][0](Path("m.pth"))
    rng = np.random.default_rng([5, *name.encode()])
    layout = CHECKPOINTS[name][2].partition(":")[0]
    for _ in range(12):
        try:
            recognise(views_of(Path("m.pth"), spoil(rng, kept)), layout)
        except WeightsError as error:
            assert str(error).startswith("m.pth: ") and str(error).isprintable() and len(str(error)) < 1000


WRONG_STATES = {
    "object array": lambda: StoredType("O"),
    "bytes as text": lambda: StoredType("S99999"),
    "type is no text": lambda: StoredType(3),
    "order": lambda: StoredType("f8").__setstate__((3, "x")),
    "shape": lambda: StoredArray().__setstate__((1, (-1,), StoredType("f4"), False, b"0000")),
    "many": lambda: StoredArray().__setstate__((1, (2**40,), StoredType("f4"), False, b"0000")),
    "dimensions": lambda: StoredArray().__setstate__((1, (1,) * 40, StoredType("f4"), False, b"0000")),
    "content": lambda: StoredArray().__setstate__((1, (1,), StoredType("f4"), False, "0000")),
    "untyped": lambda: StoredArray().__setstate__((1, (1,), np.dtype("f4"), False, b"0000")),
    "attributes": lambda: StoredFacts().__setstate__({1: 2}),
}


@pytest.mark.parametrize("name", WRONG_STATES)
def test_stand_ins_check_what_they_are_given(name):
    with pytest.raises(ValueError, match=r"array|object|type"):
        WRONG_STATES[name]()


def test_every_layout_has_a_row_in_the_table(request):
    table = (request.config.rootpath / "docs" / "models.md").read_text()
    assert {name for name in LAYOUTS if f"| `{name}`" in table} == set(LAYOUTS)
