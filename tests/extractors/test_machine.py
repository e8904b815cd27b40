import subprocess
import sys
from types import SimpleNamespace

import pytest

from meisho.descriptors import Provenance
from meisho.errors import ConfigError, MissingDependencyError
from meisho.extractors import machine
from meisho.extractors.base import load_extractor
from meisho.extractors.machine import (
    BF16_HINT,
    computes_bf16,
    describe_device,
    has_cuda,
    how_to_describe_faster,
    require_torch,
    split_device,
    why_slow_in_bf16,
)


@pytest.mark.parametrize(
    ("device", "parts"),
    [("auto", ("auto", 0)), ("cpu", ("cpu", 0)), ("cuda", ("cuda", 0)), ("cuda:3", ("cuda", 3))],
)
def test_a_device_is_a_kind_and_a_number(device, parts):
    assert split_device(device) == parts


@pytest.mark.parametrize("device", ["tpu", "cuda:", "cuda:x", "cuda:-1", "cpu0", "auto:1", ""])
def test_another_device_is_named(device):
    with pytest.raises(ConfigError, match=f"device='{device}': choose auto, cpu or cuda"):
        split_device(device)


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_hidden_gpus_are_none_and_torch_is_not_asked(hidden, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert not has_cuda() and describe_device() == "cpu"
    code = "import sys, meisho.extractors.machine as m; m.has_cuda(); print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


def test_signs_of_a_gpu_without_one_are_checked_with_torch(monkeypatch):
    import torch

    monkeypatch.setattr(machine, "shows_gpu", lambda: True)
    assert has_cuda() == torch.cuda.is_available()


def test_missing_packages_are_named_with_the_extra(monkeypatch):
    require_torch("this")
    monkeypatch.setattr(machine, "has_package", lambda name: name != "timm")
    with pytest.raises(MissingDependencyError, match=r"^this needs timm; run pip install 'meisho\[local\]'$"):
        require_torch("this", extra="local")


X86 = "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu sse2 avx2 {}\nbogomips\t: 4200\n\n"
ARM = "processor\t: 0\nBogoMIPS\t: 243.75\nFeatures\t: fp asimd {}\nCPU implementer\t: 0x41\n\n"


@pytest.mark.parametrize(
    ("cpuinfo", "has_bf16"),
    [
        (X86.format(""), False),
        (X86.format("avx512f avx512_vnni avx_vnni"), False),
        (X86.format("avx512f avx512_bf16"), True),
        (X86.format("amx_bf16 avx512_bf16 amx_tile amx_int8"), True),
        (X86.format("amx_tile amx_int8"), False),
        (X86.format("avx512_bf16x"), False),  # a flag is a word
        (ARM.format("i8mm sve"), False),
        (ARM.format("i8mm bf16"), True),
        (ARM.format("svebf16"), False),
        (X86.format("avx512_bf16") + X86.format("avx512_bf16"), True),
        ("processor\t: 0\nisa\t: rv64imafdc\n", None),
        ("", None),
        (None, None),
    ],
)
def test_flags_of_a_processor_say_whether_it_computes_bf16(cpuinfo, has_bf16, tmp_path):
    if cpuinfo is not None:
        (tmp_path / "cpuinfo").write_text(cpuinfo)
    assert computes_bf16(tmp_path / "cpuinfo") is has_bf16


@pytest.mark.parametrize(
    ("device", "has_bf16", "is_slow"),
    [("cpu", False, True), ("cpu", True, False), ("cuda", False, False), ("cuda:1", False, False)],
)
def test_bf16_is_said_to_be_slow_where_the_processor_lacks_it(device, has_bf16, is_slow):
    warning = why_slow_in_bf16(device, has_bf16=has_bf16)
    assert (warning is not None) == is_slow
    assert not is_slow or "more slowly than float32" in warning


def extractor(device=None, **options):
    made = SimpleNamespace(provenance=Provenance.from_options("some", options))
    if device is not None:
        made.device = device
    return made


@pytest.mark.parametrize(
    ("extractor", "has_bf16", "words"),
    [
        (extractor("cpu", precision="float32"), True, BF16_HINT),
        (extractor("cpu", precision="float32"), False, "a GPU would help"),
        (extractor("cpu", precision="bf16"), True, "a GPU would help"),
        (extractor(precision="float32"), True, "a GPU would help"),  # of ONNX Runtime
        (extractor(), True, "a GPU would help"),  # of somebody's own
        (extractor("cuda:1", precision="float32"), True, "in a new collection, --precision bf16 would help"),
        (extractor("cuda", precision="bf16"), False, "a faster GPU would help"),
    ],
)
def test_what_would_describe_faster(extractor, has_bf16, words):
    assert how_to_describe_faster(extractor, has_bf16=has_bf16) == words
    ensemble = SimpleNamespace(members=(extractor, extractor))
    assert how_to_describe_faster(ensemble, has_bf16=has_bf16) == words


def test_of_the_models_only_one_on_torch_gains_from_bf16_on_a_processor():
    on_torch = load_extractor("timm:resnet18", weights="none:0", device="cpu")
    assert how_to_describe_faster(on_torch, has_bf16=True) == BF16_HINT
    on_onnx = load_extractor("default", device="cpu")
    assert how_to_describe_faster(on_onnx, has_bf16=True) == "a GPU would help"
